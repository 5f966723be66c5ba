//! The one integration-test binary.

mod architecture;
#[cfg(test)]
mod budget_sql;
#[cfg(test)]
mod config;
#[cfg(test)]
mod constraints;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod embedded;
#[cfg(test)]
mod engine;
#[cfg(test)]
mod process;
mod providers;
#[cfg(test)]
mod replicas;
#[cfg(test)]
mod report;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod sql;
#[cfg(test)]
mod support;
#[cfg(test)]
mod web;

//! The one integration-test binary.

#[cfg(test)]
mod api;
mod architecture;
#[cfg(test)]
mod bi;
#[cfg(test)]
mod brakes;
#[cfg(test)]
mod budget_sql;
#[cfg(test)]
mod budget_use;
#[cfg(test)]
mod calendar;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod config;
#[cfg(test)]
mod constraints;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod cronjob;
#[cfg(test)]
mod day_report;
#[cfg(test)]
mod dearest;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod deploy;
#[cfg(test)]
mod embedded;
#[cfg(test)]
mod engine;
#[cfg(test)]
mod fact_hash;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod money_out;
#[cfg(test)]
mod mutants;
#[cfg(test)]
mod notify;
#[cfg(test)]
mod observability;
#[cfg(test)]
mod pooler;
#[cfg(test)]
mod process;
#[cfg(test)]
mod providers;
#[cfg(test)]
mod races;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod replicas;
#[cfg(test)]
mod report;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod roles;
#[cfg(test)]
mod sentinel;
#[cfg(test)]
mod shared_token;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod soak;
#[cfg(test)]
mod sql;
#[cfg(test)]
mod support;
#[cfg(test)]
mod upgrade;
#[cfg(test)]
mod upkeep;
#[cfg(test)]
mod verify;
#[cfg(test)]
mod web;
#[cfg(test)]
mod webhooks;

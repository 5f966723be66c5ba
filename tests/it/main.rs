//! The one integration-test binary.

mod architecture;
#[cfg(test)]
mod config;
#[cfg(test)]
mod embedded;
#[cfg(test)]
mod report;
#[cfg(test)]
mod sim;
mod providers;

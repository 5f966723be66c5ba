//! Probes and metrics over real HTTP with a real Postgres: what they say when all is well, when the database is away, when
//! a loop hangs, and whether the numbers are those of the tables.

mod connections;
pub(crate) mod house;
mod metrics;
mod probes;

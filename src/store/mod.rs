//! Postgres: rows in, domain types out; leases, journal, limits, runs. No HTTP and no rules of money.

pub mod embedded;

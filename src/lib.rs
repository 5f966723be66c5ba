//! rekon reconciles QRIS payments. Rooms in reading order; arrows go down only (`ARCHITECTURE.md`).

pub mod domain;
pub mod config;
pub mod telemetry;
pub mod providers;
pub mod store;
pub mod report;
pub mod engine;
pub mod jobs;
pub mod web;
pub mod cli;
pub mod sim;

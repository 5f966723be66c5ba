//! rekon reconciles QRIS payments. Rooms in reading order; arrows go down only (`ARCHITECTURE.md`).

pub mod cli;
pub mod config;
pub mod domain;
pub mod engine;
pub mod hooks;
pub mod jobs;
pub mod providers;
pub mod report;
pub mod sim;
pub mod store;
pub mod telemetry;
pub mod web;

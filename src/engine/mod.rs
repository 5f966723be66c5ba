//! One function per use-case: gather, record, decide, carry out. No apalis, axum or clap.
//!
//! Invariant: no function here holds a database transaction while it calls a provider. `check` and `refund` call with
//! no transaction open; `settle` and the saga's steps write with no provider in scope.

pub mod accept;
pub mod approvals;
pub mod budget;
pub mod ask_raw;
pub mod bus;
pub mod by_hand;
pub mod check;
pub mod clock;
pub mod control;
mod counted;
pub mod day_report;
pub mod decisions;
pub mod doctor;
pub mod drift;
pub mod error;
pub mod explain;
pub mod health;
pub mod hurry;
pub mod import;
pub mod ingest;
pub mod lookup;
pub mod once;
pub mod qr_cancel;
pub mod reconcile;
pub mod people;
pub mod refund;
mod refund_call;
mod refund_limits;
pub mod provider_check;
pub mod released;
pub mod reload;
pub mod replay;
pub mod rulebook;
pub mod runtime;
pub mod sentinel;
pub mod settle;
pub mod settler;
pub mod shared_token;
pub mod strays;
pub mod transfer;
pub mod upkeep;
pub mod verify;
pub mod weather;
pub mod webhooks;

pub use error::EngineError;
pub use runtime::{Ctx, Engine};

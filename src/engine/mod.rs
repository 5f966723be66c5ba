//! One function per use-case: gather, record, decide, carry out. No apalis, axum or clap.
//!
//! Invariant: no function here holds a database transaction while it calls a provider. `check` and `refund` call with
//! no transaction open; `settle` and the saga's steps write with no provider in scope.

pub mod clock;
pub mod decisions;
pub mod error;
pub mod explain;
pub mod import;
pub mod lookup;
pub mod rulebook;
pub mod settle;

pub use error::EngineError;

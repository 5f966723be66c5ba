//! Which use-case runs when: the apalis wiring, one thin file per job. No business logic.

pub mod error;
pub mod setup;

pub use error::JobsError;

//! What can go wrong around the job runtime, told apart by what a person does about it.

use crate::store::StoreError;

/// The job runtime could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum JobsError {
    /// The database went away.
    #[error(transparent)]
    Unavailable(StoreError),
    /// This role may not create an extension that the runtime's tables need.
    #[error(
        "the job runtime needs the extension {extension}, and this database role may not create it: let an administrator run `create extension if not exists {extension}` in this database, then run `rekon migrate` again ({cause})"
    )]
    Extension {
        /// `pgcrypto` or `hstore`.
        extension: &'static str,
        /// What Postgres said.
        cause: String,
    },
    /// Anything else that its migrations met.
    #[error("the job runtime's migrations could not be applied: {0}")]
    Setup(String),
}

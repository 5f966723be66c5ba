//! What can go wrong around the job runtime, told apart by what a person does about it.

use crate::store::StoreError;

/// A failure of the job runtime.
#[derive(Debug, thiserror::Error)]
pub enum JobsError {
    /// The database went away.
    #[error(transparent)]
    Unavailable(#[from] StoreError),
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
    /// A schedule that cannot be run.
    #[error("[jobs.{job}] cron cannot be scheduled: {problem}")]
    Schedule {
        /// The job.
        job: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A worker or the monitor ended badly.
    #[error("the job runtime ended: {0}")]
    Runtime(String),
}

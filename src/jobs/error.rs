//! What can go wrong in the job runtime itself.

use crate::store::StoreError;

/// A failure of the runtime.
#[derive(Debug, thiserror::Error)]
pub enum JobsError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// apalis' own migrations.
    #[error(
        "apalis could not prepare its tables: {0}; it needs CREATE on the database and the extensions pgcrypto and hstore"
    )]
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

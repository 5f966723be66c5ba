//! The tables of the job runtime, in their own schema `apalis` beside ours. Only `rekon migrate` and the first run of a private
//! Postgres call it; everything else expects them to be there.

use apalis_postgres::PostgresStorage;

use crate::{jobs::JobsError, store::Store};

/// The two extensions that apalis' migrations create, and that some managed servers grant to administrators alone.
const EXTENSIONS: [&str; 2] = ["pgcrypto", "hstore"];

/// Applies what is missing of the job runtime's schema; does nothing on a current one.
///
/// # Errors
/// [`JobsError::Extension`] where this role may not create `pgcrypto` or `hstore`.
pub async fn setup(store: &Store) -> Result<(), JobsError> {
    let Err(error) = PostgresStorage::<()>::setup(store.pool()).await else { return Ok(()) };
    // Its error does not tell a lost connection from a refusal; a second question does.
    store.now().await.map_err(JobsError::Unavailable)?;
    let cause = causes(&error);
    Err(match EXTENSIONS.into_iter().find(|name| cause.contains(&format!("extension \"{name}\""))) {
        Some(extension) => JobsError::Extension { extension, cause },
        None => JobsError::Setup(cause),
    })
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
        next = cause.source();
    }
    said
}

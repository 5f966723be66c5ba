//! The tables of the job runtime, in their own schema `apalis` beside ours. Only `rekon migrate` and the first run of a private
//! Postgres call it; everything else expects them to be there.

use apalis_postgres::PostgresStorage;

use crate::{
    jobs::JobsError,
    store::{Store, StoreError},
};

/// The two extensions that apalis' migrations create, and that some managed servers grant to administrators alone.
const EXTENSIONS: [&str; 2] = ["pgcrypto", "hstore"];

/// Applies what is missing of the job runtime's schema; does nothing on a current one.
///
/// # Errors
/// [`JobsError::Extension`] where this role may not create `pgcrypto` or `hstore`.
pub async fn setup(store: &Store) -> Result<(), JobsError> {
    let Err(error) = PostgresStorage::<()>::setup(store.pool()).await else {
        // Its tables too, and those of any later release, belong to what the least-privileged roles may use.
        return store.grant_roles().await.map_err(JobsError::Unavailable);
    };
    // Its error does not tell a lost connection from a refusal; a second question does.
    store.now().await.map_err(JobsError::Unavailable)?;
    let cause = causes(&error);
    Err(match EXTENSIONS.into_iter().find(|name| cause.contains(&format!("extension \"{name}\""))) {
        Some(extension) => JobsError::Extension { extension, cause },
        None => JobsError::Setup(cause),
    })
}

/// What the database lacks of the job runtime's schema, by version and name.
pub async fn missing(store: &Store) -> Result<Vec<String>, StoreError> {
    let there = store.job_migrations().await?;
    let migrations = PostgresStorage::<()>::migrations();
    let lacking = migrations.iter().filter(|m| !there.contains(&m.version));
    Ok(lacking.map(|m| format!("{} {} (of the job runtime)", m.version, m.description)).collect())
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

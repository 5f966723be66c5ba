//! Prepares apalis' own tables (schema `apalis`), from `rekon migrate` and never at a worker's start.

use apalis_postgres::PostgresStorage;

use crate::{jobs::JobsError, store::Store};

/// Applies apalis' migrations; does nothing on a current schema.
pub async fn setup(store: &Store) -> Result<(), JobsError> {
    PostgresStorage::setup(store.pool()).await.map_err(|e| JobsError::Setup(e.to_string()))
}

//! What a replay needs beside the chains: which rows were decided on a day, what order columns were before they changed, and
//! the terms that decisions name. Nothing here writes but the terms, once each.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::Row;

use crate::store::{Store, StoreError, Tx};

/// What a merchant's change replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// Its place in the row's sequence.
    pub seq: i32,
    /// The columns that it changed, as they were; `expires_at` in microseconds since 1970.
    pub was: Value,
}

const DECIDED: &str = "-- store::replay::decided
select distinct transaction_id from rekon.journal where at >= $1 and at < $2 and transaction_id > $3 order by transaction_id limit $4";

const REPLACED: &str = "-- store::replay::replaced
select transaction_id, seq, detail -> 'was' as was from rekon.order_changes
 where transaction_id = any($1) and detail -> 'was' <> '{}' order by transaction_id, seq";

const KEEP_TERMS: &str = "-- store::replay::keep_terms
insert into rekon.terms (hash, kind, body) select * from unnest($1::text[], $2::text[], $3::text[]) on conflict do nothing";

const TERMS: &str = "-- store::replay::terms
select body from rekon.terms where hash = $1 and kind = $2";

impl Store {
    /// Keeps the documents that decisions of this process will name: fingerprint, kind, canonical JSON.
    pub async fn keep_terms(&self, documents: &[(String, &'static str, String)]) -> Result<(), StoreError> {
        sqlx::query(KEEP_TERMS)
            .bind(documents.iter().map(|d| d.0.as_str()).collect::<Vec<_>>())
            .bind(documents.iter().map(|d| d.1).collect::<Vec<_>>())
            .bind(documents.iter().map(|d| d.2.as_str()).collect::<Vec<_>>())
            .execute(self.pool())
            .await?;
        Ok(())
    }
}

/// The document of that kind and fingerprint.
pub async fn terms(tx: &mut Tx, hash: &str, kind: &str) -> Result<Option<String>, StoreError> {
    Ok(sqlx::query_scalar(TERMS).bind(hash).bind(kind).fetch_optional(&mut **tx).await?)
}

/// The next `limit` rows behind an id that were decided in a span of time.
pub async fn decided(
    tx: &mut Tx,
    span: (DateTime<Utc>, DateTime<Utc>),
    behind: i64,
    limit: i64,
) -> Result<Vec<i64>, StoreError> {
    Ok(sqlx::query_scalar(DECIDED).bind(span.0).bind(span.1).bind(behind).bind(limit).fetch_all(&mut **tx).await?)
}

/// What changes of these rows replaced, by row and sequence.
pub async fn replaced(tx: &mut Tx, ids: &[i64]) -> Result<HashMap<i64, Vec<Replaced>>, StoreError> {
    let mut all: HashMap<i64, Vec<Replaced>> = HashMap::new();
    for row in sqlx::query(REPLACED).bind(ids).fetch_all(&mut **tx).await? {
        let replaced = Replaced { seq: row.try_get("seq")?, was: row.try_get("was")? };
        all.entry(row.try_get("transaction_id")?).or_default().push(replaced);
    }
    Ok(all)
}

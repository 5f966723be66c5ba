//! The list of oddities in providers' answers: one row per account and kind, counted up, with the latest sample.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::Row;

use crate::store::{Store, StoreError, limits::interval};

/// Kinds kept per account. Codes are the provider's words, and words that never end are not to fill a table.
const KINDS_MAX: i64 = 200;

/// One kind of oddity of one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DriftRow {
    /// The account.
    pub account: String,
    /// A word, and behind a colon the field or code.
    pub kind: String,
    /// How often.
    pub n: i64,
    /// The first time.
    pub first_at: DateTime<Utc>,
    /// The last time.
    pub last_at: DateTime<Utc>,
    /// The start of the latest answer that showed it, personal data masked.
    pub sample: Option<String>,
}

const COUNT: &str = "-- store::drift::count
insert into rekon.drift (account, kind, n, first_at, last_at, sample)
select u.account, u.kind, u.n, u.first_at, u.last_at, u.sample
  from unnest($1::text[], $2::text[], $3::bigint[], $4::timestamptz[], $5::timestamptz[], $6::text[])
    as u(account, kind, n, first_at, last_at, sample)
 where (select count(*) from rekon.drift d where d.account = u.account) < $7
    or exists (select 1 from rekon.drift d where d.account = u.account and d.kind = u.kind)
 order by u.account, u.kind
on conflict (account, kind) do update
   set n = rekon.drift.n + excluded.n, first_at = least(rekon.drift.first_at, excluded.first_at),
       last_at = greatest(rekon.drift.last_at, excluded.last_at), sample = coalesce(excluded.sample, rekon.drift.sample)";

const LIST: &str = "-- store::drift::list
select account, kind, n, first_at, last_at, sample from rekon.drift where account = $1 order by last_at desc, kind";

const PRUNE: &str = "-- store::drift::prune
delete from rekon.drift where (account, kind) in (
  select account, kind from rekon.drift where last_at < clock_timestamp() - $1::interval limit $2)";

impl Store {
    /// Counts oddities, each (account, kind) once.
    pub async fn count_drift(&self, seen: &[DriftRow]) -> Result<(), StoreError> {
        sqlx::query(COUNT)
            .bind(seen.iter().map(|d| d.account.as_str()).collect::<Vec<_>>())
            .bind(seen.iter().map(|d| d.kind.as_str()).collect::<Vec<_>>())
            .bind(seen.iter().map(|d| d.n).collect::<Vec<_>>())
            .bind(seen.iter().map(|d| d.first_at).collect::<Vec<_>>())
            .bind(seen.iter().map(|d| d.last_at).collect::<Vec<_>>())
            .bind(seen.iter().map(|d| d.sample.as_deref()).collect::<Vec<_>>())
            .bind(KINDS_MAX)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// The oddities of an account, the latest first.
    pub async fn drift(&self, account: &str) -> Result<Vec<DriftRow>, StoreError> {
        let rows = sqlx::query(LIST).bind(account).fetch_all(self.pool()).await?;
        let row = |row: &sqlx::postgres::PgRow| {
            Ok(DriftRow {
                account: row.try_get("account")?,
                kind: row.try_get("kind")?,
                n: row.try_get("n")?,
                first_at: row.try_get("first_at")?,
                last_at: row.try_get("last_at")?,
                sample: row.try_get("sample")?,
            })
        };
        rows.iter().map(row).collect()
    }

    /// Forgets oddities that were not seen for `keep`, at most `limit`.
    pub async fn prune_drift(&self, keep: Duration, limit: i64) -> Result<u64, StoreError> {
        Ok(sqlx::query(PRUNE).bind(interval(keep)).bind(limit).execute(self.pool()).await?.rows_affected())
    }
}

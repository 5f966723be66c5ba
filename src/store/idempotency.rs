//! Idempotency-Keys: who has claimed one, and what was answered under it. Database time decides how old one is.

use std::time::Duration;

use sqlx::Row;

use crate::store::{Store, StoreError, limits::interval};

/// A request under a key.
#[derive(Debug, Clone)]
pub struct Keyed {
    /// Whose key it is.
    pub person: String,
    /// The key.
    pub key: String,
    /// SHA-256 of the request.
    pub request_hash: Vec<u8>,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAnswer {
    /// HTTP status.
    pub status: u16,
    /// Where the new thing is.
    pub location: Option<String>,
    /// The body, JSON.
    pub body: String,
}

/// A key that is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// SHA-256 of the request that took it.
    pub request_hash: Vec<u8>,
    /// What was answered; `None`: it is still worked on.
    pub answer: Option<KeptAnswer>,
}

// A key is free where nobody used it for `keep`, or where the same request took it and did not end within `patience`.
const CLAIM: &str = "-- store::idempotency::claim
insert into rekon.idempotency_keys as k (person, key, request_hash) values ($1, $2, $3)
on conflict (person, key) do update
   set request_hash = excluded.request_hash, claimed_at = clock_timestamp(), claim = k.claim + 1, status = null, location = null, body = null
 where k.claimed_at < clock_timestamp() - $4::interval
    or k.status is null and k.request_hash = excluded.request_hash and k.claimed_at < clock_timestamp() - $5::interval
returning claim";

const TAKEN: &str = "-- store::idempotency::taken
select request_hash, status, location, body from rekon.idempotency_keys where person = $1 and key = $2";

const ANSWER: &str = "-- store::idempotency::answer
update rekon.idempotency_keys set status = $4, location = $5, body = $6 where person = $1 and key = $2 and claim = $3 and status is null";

const GIVE_UP: &str = "-- store::idempotency::give_up
delete from rekon.idempotency_keys where person = $1 and key = $2 and claim = $3 and status is null";

const PRUNE: &str = "-- store::idempotency::prune
delete from rekon.idempotency_keys where (person, key) in (
  select person, key from rekon.idempotency_keys where claimed_at < clock_timestamp() - $1::interval limit $2)";

impl Store {
    /// Claims a key: the claim's number, or `None` where it is taken.
    pub async fn claim_key(
        &self,
        keyed: &Keyed,
        keep: Duration,
        patience: Duration,
    ) -> Result<Option<i64>, StoreError> {
        Ok(sqlx::query_scalar(CLAIM)
            .bind(&keyed.person)
            .bind(&keyed.key)
            .bind(&keyed.request_hash)
            .bind(interval(keep))
            .bind(interval(patience))
            .fetch_optional(self.pool())
            .await?)
    }

    /// What stands under a key; `None`: nothing any more.
    pub async fn taken_key(&self, keyed: &Keyed) -> Result<Option<Taken>, StoreError> {
        let row = sqlx::query(TAKEN).bind(&keyed.person).bind(&keyed.key).fetch_optional(self.pool()).await?;
        let Some(row) = row else { return Ok(None) };
        let status: Option<i16> = row.try_get("status")?;
        let body: Option<String> = row.try_get("body")?;
        let location = row.try_get("location")?;
        let answer = status.and_then(|s| u16::try_from(s).ok()).zip(body);
        Ok(Some(Taken {
            request_hash: row.try_get("request_hash")?,
            answer: answer.map(|(status, body)| KeptAnswer { status, location, body }),
        }))
    }

    /// Keeps what was answered under a claim. False: somebody else has the key by now.
    pub async fn keep_answer(&self, keyed: &Keyed, claim: i64, answer: &KeptAnswer) -> Result<bool, StoreError> {
        let done = sqlx::query(ANSWER)
            .bind(&keyed.person)
            .bind(&keyed.key)
            .bind(claim)
            .bind(i16::try_from(answer.status).unwrap_or(i16::MAX))
            .bind(&answer.location)
            .bind(&answer.body)
            .execute(self.pool())
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Gives a key back that led to nothing.
    pub async fn give_up_key(&self, keyed: &Keyed, claim: i64) -> Result<(), StoreError> {
        sqlx::query(GIVE_UP).bind(&keyed.person).bind(&keyed.key).bind(claim).execute(self.pool()).await?;
        Ok(())
    }

    /// Deletes keys that were claimed `keep` ago, at most `limit`.
    pub async fn prune_keys(&self, keep: Duration, limit: i64) -> Result<u64, StoreError> {
        Ok(sqlx::query(PRUNE).bind(interval(keep)).bind(limit).execute(self.pool()).await?.rows_affected())
    }
}

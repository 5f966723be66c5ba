//! Messages and endpoints as people see them: lists, one message with its body, replays, an endpoint that is let in again.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::Row;

use crate::store::{Store, StoreError};

/// A message as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WebhookRow {
    /// Its number.
    pub id: i64,
    /// The endpoint.
    pub endpoint: String,
    /// The webhook-id.
    pub event_id: String,
    /// The payment's account.
    pub account: String,
    /// The payment's reference.
    pub partner_reference_no: String,
    /// The `sequence` of the message.
    pub entry_no: i32,
    /// The type.
    #[serde(rename = "type")]
    pub kind: String,
    /// `pending`, `delivered` or `dead`.
    pub state: String,
    /// Attempts recorded.
    pub attempts: i32,
    /// How often it was replayed.
    pub replays: i32,
    /// Written when.
    pub created_at: DateTime<Utc>,
    /// Due when.
    pub next_at: Option<DateTime<Utc>>,
    /// Last tried when.
    pub last_attempt_at: Option<DateTime<Utc>>,
    /// The last HTTP status.
    pub last_status: Option<i32>,
    /// What was wrong at last.
    pub last_error: Option<String>,
    /// Delivered when.
    pub delivered_at: Option<DateTime<Utc>>,
    /// A dead letter since when.
    pub dead_at: Option<DateTime<Utc>>,
}

/// Which messages.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// States; empty: all.
    pub states: Vec<String>,
    /// One endpoint.
    pub endpoint: Option<String>,
    /// Written then or later.
    pub since: Option<DateTime<Utc>>,
}

/// What an endpoint has asked for, and what waits for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EndpointRow {
    /// The endpoint.
    pub endpoint: String,
    /// Messages that wait.
    pub pending: i64,
    /// Dead letters.
    pub dead: i64,
    /// The oldest message that waits.
    pub oldest_at: Option<DateTime<Utc>>,
    /// Nothing is sent since.
    pub disabled_at: Option<DateTime<Utc>>,
    /// Why.
    pub disabled_why: Option<String>,
    /// Nothing is sent before.
    pub paused_until: Option<DateTime<Utc>>,
}

/// What a replay did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// Messages that are due again.
    pub replayed: u64,
}

/// Messages replayed by one statement.
const CHUNK: i64 = 2_000;

// Each state by its own name, so that its partial index serves: dead letters and what waits are few, what was delivered is nearly
// all. A message came to its end after it was written, so that `since` bounds both times.
const LIST: &str = "-- store::webhooks::desk::list
with named as (
  select id from rekon.webhooks where state = 'pending' and (cardinality($1::text[]) = 0 or 'pending' = any($1))
     and ($2::text is null or endpoint = $2) and ($3::timestamptz is null or created_at >= $3)
  union all
  select id from rekon.webhooks where state = 'dead' and (cardinality($1) = 0 or 'dead' = any($1))
     and ($2 is null or endpoint = $2) and ($3 is null or created_at >= $3)
  union all
  (select id from rekon.webhooks where state = 'delivered' and (cardinality($1) = 0 or 'delivered' = any($1))
     and ($2 is null or endpoint = $2) and ($3 is null or created_at >= $3) and delivered_at >= coalesce($3, '-infinity')
   order by id desc limit $4)),
picked as (select id from named order by id desc limit $4)
select w.id, w.endpoint, w.event_id, t.account, t.partner_reference_no, w.entry_no, w.type, w.state, w.attempts, w.replays, w.created_at,
       w.next_at, w.last_attempt_at, w.last_status, w.last_error, w.delivered_at, w.dead_at
  from picked join rekon.webhooks w using (id) join rekon.transactions t on t.id = w.transaction_id
 order by w.id desc";

const SHOW: &str = "-- store::webhooks::desk::show
select w.id, w.endpoint, w.event_id, t.account, t.partner_reference_no, w.entry_no, w.type, w.state, w.attempts, w.replays, w.created_at,
       w.next_at, w.last_attempt_at, w.last_status, w.last_error, w.delivered_at, w.dead_at, w.body
  from rekon.webhooks w join rekon.transactions t on t.id = w.transaction_id
 where w.id = any($1) or w.event_id = any($2) order by w.id";

// What waits is due already. Whoever was waited for may have replayed it himself: `state` is looked at again under the lock.
const REPLAY: &str = "-- store::webhooks::desk::replay
with named as (
  (select id from rekon.webhooks where state = 'dead' and 'dead' = any($1::text[]) and id > $4
     and ($2::text is null or endpoint = $2) and ($3::timestamptz is null or created_at >= $3))
  union all
  (select id from rekon.webhooks where state = 'delivered' and 'delivered' = any($1) and id > $4
     and ($2 is null or endpoint = $2) and ($3 is null or created_at >= $3) and delivered_at >= coalesce($3, '-infinity')
   order by id limit $5)),
next as (select id from named order by id limit $5),
picked as (
  select w.id from rekon.webhooks w join next using (id) where w.state = any($1) order by w.id for update of w),
put as (
  update rekon.webhooks w set state = 'pending', rung = 0, replays = w.replays + 1, next_at = clock_timestamp(), delivered_at = null, dead_at = null
    from picked where w.id = picked.id returning w.id, w.endpoint)
select count(*), (select max(id) from next), (select count(*) from next),
       (select count(pg_notify('rekon_webhook', endpoint)) from (select distinct endpoint from put) as told) from put";

const REPLAY_THESE: &str = "-- store::webhooks::desk::replay_these
with put as (
  update rekon.webhooks set state = 'pending', rung = 0, replays = replays + 1, next_at = clock_timestamp(), delivered_at = null, dead_at = null,
                            lease_owner = null, lease_until = null
   where id = any($1) or event_id = any($2) returning endpoint)
select count(*), (select count(pg_notify('rekon_webhook', endpoint)) from (select distinct endpoint from put) as told) from put";

const ENDPOINTS: &str = "-- store::webhooks::desk::endpoints
select n.endpoint, e.disabled_at, e.disabled_why, case when e.paused_until > now() then e.paused_until end as paused_until,
       (select count(*) from rekon.webhooks w where w.endpoint = n.endpoint and w.state = 'pending') as pending,
       (select count(*) from rekon.webhooks w where w.endpoint = n.endpoint and w.state = 'dead') as dead,
       (select min(created_at) from rekon.webhooks w where w.endpoint = n.endpoint and w.state = 'pending') as oldest_at
  from (select unnest($1::text[]) as endpoint
        union select endpoint from rekon.webhook_endpoints
        union select distinct endpoint from rekon.webhooks where state in ('pending', 'dead')) as n
  left join rekon.webhook_endpoints e using (endpoint) order by n.endpoint";

const ENABLE: &str = "-- store::webhooks::desk::enable
with let_in as (
  update rekon.webhook_endpoints set disabled_at = null, disabled_why = null, paused_until = null
   where endpoint = $1 and (disabled_at is not null or paused_until > now()) returning endpoint)
select count(*), count(pg_notify('rekon_webhook', endpoint)) from let_in";

impl Store {
    /// The newest messages that a filter lets through, at most `limit`.
    pub async fn webhooks(&self, filter: &Filter, limit: i64) -> Result<Vec<WebhookRow>, StoreError> {
        let query = sqlx::query(LIST).bind(&filter.states).bind(&filter.endpoint).bind(filter.since).bind(limit);
        query.fetch_all(self.pool()).await?.iter().map(row).collect()
    }

    /// Messages by their numbers or webhook-ids, with their bodies.
    pub async fn webhooks_named(
        &self,
        ids: &[i64],
        event_ids: &[String],
    ) -> Result<Vec<(WebhookRow, String)>, StoreError> {
        let rows = sqlx::query(SHOW).bind(ids).bind(event_ids).fetch_all(self.pool()).await?;
        rows.iter().map(|found| Ok((row(found)?, found.try_get("body")?))).collect()
    }

    /// Makes messages due again that have come to their end, in chunks; what becomes due meanwhile is not taken twice.
    pub async fn replay_webhooks(&self, filter: &Filter) -> Result<Replayed, StoreError> {
        let (mut after, mut replayed) = (0_i64, 0_u64);
        loop {
            let done = sqlx::query(REPLAY)
                .bind(&filter.states)
                .bind(&filter.endpoint)
                .bind(filter.since)
                .bind(after)
                .bind(CHUNK)
                .fetch_one(self.pool())
                .await?;
            let (count, looked_at): (i64, i64) = (done.try_get(0)?, done.try_get(2)?);
            replayed = replayed.saturating_add(count.max(0).unsigned_abs());
            match done.try_get::<Option<i64>, _>(1)? {
                Some(last) if looked_at == CHUNK => after = last,
                Some(_) | None => return Ok(Replayed { replayed }),
            }
        }
    }

    /// Makes these messages due at once, whatever became of them; one that waits waits no longer.
    pub async fn replay_webhooks_named(&self, ids: &[i64], event_ids: &[String]) -> Result<Replayed, StoreError> {
        let done = sqlx::query(REPLAY_THESE).bind(ids).bind(event_ids).fetch_one(self.pool()).await?;
        let count: i64 = done.try_get(0)?;
        Ok(Replayed { replayed: count.max(0).unsigned_abs() })
    }

    /// Endpoints of the configuration, and others that something waits for.
    pub async fn webhook_endpoints(&self, configured: &[String]) -> Result<Vec<EndpointRow>, StoreError> {
        let rows = sqlx::query(ENDPOINTS).bind(configured).fetch_all(self.pool()).await?;
        let endpoint = |row: &sqlx::postgres::PgRow| {
            Ok(EndpointRow {
                endpoint: row.try_get("endpoint")?,
                pending: row.try_get("pending")?,
                dead: row.try_get("dead")?,
                oldest_at: row.try_get("oldest_at")?,
                disabled_at: row.try_get("disabled_at")?,
                disabled_why: row.try_get("disabled_why")?,
                paused_until: row.try_get("paused_until")?,
            })
        };
        rows.iter().map(endpoint).collect()
    }

    /// Lets an endpoint in again that was disabled or wanted a pause; false where it was neither.
    pub async fn enable_webhook_endpoint(&self, endpoint: &str) -> Result<bool, StoreError> {
        let count: i64 = sqlx::query(ENABLE).bind(endpoint).fetch_one(self.pool()).await?.try_get(0)?;
        Ok(count > 0)
    }
}

fn row(row: &sqlx::postgres::PgRow) -> Result<WebhookRow, StoreError> {
    Ok(WebhookRow {
        id: row.try_get("id")?,
        endpoint: row.try_get("endpoint")?,
        event_id: row.try_get("event_id")?,
        account: row.try_get("account")?,
        partner_reference_no: row.try_get("partner_reference_no")?,
        entry_no: row.try_get("entry_no")?,
        kind: row.try_get("type")?,
        state: row.try_get("state")?,
        attempts: row.try_get("attempts")?,
        replays: row.try_get("replays")?,
        created_at: row.try_get("created_at")?,
        next_at: row.try_get("next_at")?,
        last_attempt_at: row.try_get("last_attempt_at")?,
        last_status: row.try_get("last_status")?,
        last_error: row.try_get("last_error")?,
        delivered_at: row.try_get("delivered_at")?,
        dead_at: row.try_get("dead_at")?,
    })
}

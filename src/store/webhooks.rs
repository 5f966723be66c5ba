//! Messages to merchants' endpoints: written in the transaction of the change that they tell of, leased, and brought to their
//! end one by one. What people read of them and do to them is in `desk`.

mod desk;

use std::time::Duration;

use sqlx::Row;

use crate::{
    domain::webhook::{Message, Next},
    store::{Store, StoreError, Tx, limits::interval},
};

pub use desk::{EndpointRow, Filter, Replayed, WebhookRow};

/// A leased message: what is needed to send it.
#[derive(Debug, Clone)]
pub struct LeasedWebhook {
    /// Its row.
    pub id: i64,
    /// This lease's number.
    pub epoch: i64,
    /// The webhook-id.
    pub event_id: String,
    /// The bytes to sign and send.
    pub body: String,
    /// Failures before, since it was written or replayed.
    pub rung: i32,
}

/// What an attempt came to, to be written down.
#[derive(Debug, Clone, Copy)]
pub struct Attempted<'a> {
    /// The endpoint.
    pub endpoint: &'a str,
    /// The message's row.
    pub id: i64,
    /// The lease under which it was sent.
    pub epoch: i64,
    /// Failures before.
    pub rung: i32,
    /// The HTTP status, where there was one.
    pub status: Option<i32>,
    /// What was wrong.
    pub error: Option<&'a str>,
    /// What follows.
    pub next: Next,
}

// One statement for a whole group, and none where nobody is to be told.
const PUT: &str = "-- store::webhooks::put
with put as (
  insert into rekon.webhooks (endpoint, event_id, transaction_id, entry_no, type, body)
  select * from unnest($1::text[], $2::text[], $3::bigint[], $4::int[], $5::text[], $6::text[])
  returning endpoint)
select count(pg_notify('rekon_webhook', endpoint)) from (select distinct endpoint from put) as told";

const CLAIM: &str = "-- store::webhooks::claim
with due as (
  select id from rekon.webhooks
   where endpoint = $1 and next_at <= now() and (lease_until is null or lease_until < now())
     and not exists (select 1 from rekon.webhook_endpoints where endpoint = $1 and (disabled_at is not null or paused_until > now()))
   order by next_at, id limit $2 for update skip locked)
update rekon.webhooks w set lease_owner = $3, lease_until = now() + $4, lease_epoch = w.lease_epoch + 1
  from due where w.id = due.id
returning w.id, w.lease_epoch, w.event_id, w.body, w.rung";

const END: &str = "-- store::webhooks::end
update rekon.webhooks
   set state = $3, rung = $4, attempts = attempts + 1, last_attempt_at = clock_timestamp(), last_status = $5, last_error = $6,
       next_at = case when $3 = 'pending' then clock_timestamp() + greatest($7::interval * (0.8 + 0.4 * random()), $8::interval) end,
       delivered_at = case when $3 = 'delivered' then clock_timestamp() end, dead_at = case when $3 = 'dead' then clock_timestamp() end,
       lease_owner = null, lease_until = null
 where id = $1 and lease_epoch = $2 and state = 'pending'";

const PAUSE: &str = "-- store::webhooks::pause
insert into rekon.webhook_endpoints as e (endpoint, paused_until) values ($1, clock_timestamp() + $2)
on conflict (endpoint) do update set paused_until = greatest(e.paused_until, excluded.paused_until)";

const DISABLE: &str = "-- store::webhooks::disable
insert into rekon.webhook_endpoints as e (endpoint, disabled_at, disabled_why) values ($1, clock_timestamp(), $2)
on conflict (endpoint) do update set disabled_at = coalesce(e.disabled_at, excluded.disabled_at), disabled_why = coalesce(e.disabled_why, excluded.disabled_why)";

const RELEASE: &str = "-- store::webhooks::release
update rekon.webhooks set lease_owner = null, lease_until = null where next_at is not null and lease_owner = $1 and lease_until is not null";

const GIVE_BACK: &str = "-- store::webhooks::give_back
update rekon.webhooks set lease_owner = null, lease_until = null where id = $1 and lease_epoch = $2 and next_at is not null";

// What somebody replays at this moment is left alone.
const PRUNE: &str = "-- store::webhooks::prune
with delivered as (
  select id from rekon.webhooks where state = 'delivered' and delivered_at < clock_timestamp() - $1::interval limit $3 for update skip locked),
dead as (
  select id from rekon.webhooks where state = 'dead' and dead_at < clock_timestamp() - $2::interval limit $3 for update skip locked)
delete from rekon.webhooks where id in (select id from delivered union all select id from dead)";

// An endpoint that is disabled, or that no configuration names any more, must not keep its messages for ever. A replay makes a
// message due anew, however old it is; and one that is being sent comes to its own end.
const GIVE_UP: &str = "-- store::webhooks::give_up
update rekon.webhooks set state = 'dead', dead_at = clock_timestamp(), next_at = null, last_error = 'never_sent', lease_owner = null, lease_until = null
 where id in (select id from rekon.webhooks where state = 'pending' and next_at < clock_timestamp() - $1::interval
                 and (lease_until is null or lease_until < clock_timestamp())
               limit $2 for update skip locked)";

/// Writes messages in the caller's transaction; their journal entries must have been written in it before.
pub async fn put(tx: &mut Tx, messages: &[Message]) -> Result<(), StoreError> {
    if messages.is_empty() {
        return Ok(());
    }
    sqlx::query(PUT)
        .bind(messages.iter().map(|m| m.endpoint.as_str()).collect::<Vec<_>>())
        .bind(messages.iter().map(|m| m.event_id.as_str()).collect::<Vec<_>>())
        .bind(messages.iter().map(|m| m.transaction_id).collect::<Vec<_>>())
        .bind(messages.iter().map(|m| m.entry_no).collect::<Vec<_>>())
        .bind(messages.iter().map(|m| m.kind.as_str()).collect::<Vec<_>>())
        .bind(messages.iter().map(|m| m.body.as_str()).collect::<Vec<_>>())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

impl Store {
    /// Leases up to `limit` due messages of an endpoint, longest due first; none while it is disabled or wants a pause.
    pub async fn claim_webhooks(
        &self,
        endpoint: &str,
        limit: i64,
        owner: &str,
        lease: Duration,
    ) -> Result<Vec<LeasedWebhook>, StoreError> {
        let rows = sqlx::query(CLAIM)
            .bind(endpoint)
            .bind(limit)
            .bind(owner)
            .bind(interval(lease))
            .fetch_all(self.pool())
            .await?;
        let leased = |row: &sqlx::postgres::PgRow| {
            Ok(LeasedWebhook {
                id: row.try_get("id")?,
                epoch: row.try_get("lease_epoch")?,
                event_id: row.try_get("event_id")?,
                body: row.try_get("body")?,
                rung: row.try_get("rung")?,
            })
        };
        rows.iter().map(leased).collect()
    }

    /// Writes down what an attempt came to, and what the receiver asked for; false where somebody else holds the message by now.
    pub async fn end_webhook(&self, attempted: &Attempted<'_>) -> Result<bool, StoreError> {
        let Attempted { endpoint, id, epoch, rung, status, error, next } = *attempted;
        let failed = rung.saturating_add(1);
        let (state, rung, wait, pause) = match next {
            Next::Delivered => ("delivered", rung, Duration::ZERO, Duration::ZERO),
            Next::Again { wait, pause } => ("pending", failed, wait, pause.unwrap_or_default()),
            Next::Dead => ("dead", failed, Duration::ZERO, Duration::ZERO),
            // It waits for whoever enables the endpoint, and has its whole ladder then.
            Next::Gone => ("pending", rung, Duration::ZERO, Duration::ZERO),
        };
        let mut tx = self.begin().await?;
        match next {
            Next::Again { pause: Some(pause), .. } => {
                sqlx::query(PAUSE).bind(endpoint).bind(interval(pause)).execute(&mut *tx).await?;
            }
            Next::Gone => {
                sqlx::query(DISABLE).bind(endpoint).bind("it answered 410 Gone").execute(&mut *tx).await?;
            }
            Next::Delivered | Next::Again { .. } | Next::Dead => {}
        }
        let ended = sqlx::query(END)
            .bind(id)
            .bind(epoch)
            .bind(state)
            .bind(rung)
            .bind(status)
            .bind(error)
            .bind(interval(wait))
            .bind(interval(pause))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(ended.rows_affected() > 0)
    }

    /// Gives back every lease of an owner that has ended in order.
    pub async fn release_webhooks(&self, owner: &str) -> Result<u64, StoreError> {
        Ok(sqlx::query(RELEASE).bind(owner).execute(self.pool()).await?.rows_affected())
    }

    /// Gives back one lease.
    pub async fn give_back_webhook(&self, id: i64, epoch: i64) -> Result<(), StoreError> {
        sqlx::query(GIVE_BACK).bind(id).bind(epoch).execute(self.pool()).await?;
        Ok(())
    }

    /// Deletes messages that were delivered `keep` ago, and dead letters `keep_dead` old; at most `limit` of each.
    pub async fn prune_webhooks(&self, keep: Duration, keep_dead: Duration, limit: i64) -> Result<u64, StoreError> {
        let query = sqlx::query(PRUNE).bind(interval(keep)).bind(interval(keep_dead)).bind(limit);
        Ok(query.execute(self.pool()).await?.rows_affected())
    }

    /// Makes dead letters of messages that have been due for `keep` and that nobody has tried to send, at most `limit`.
    pub async fn give_up_webhooks(&self, keep: Duration, limit: i64) -> Result<u64, StoreError> {
        Ok(sqlx::query(GIVE_UP).bind(interval(keep)).bind(limit).execute(self.pool()).await?.rows_affected())
    }
}

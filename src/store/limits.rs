//! What replicas share about an account's provider: call slots and the breaker. All by the database's clock.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{Row, postgres::types::PgInterval};

use crate::store::{Store, StoreError};

/// Who asks: each class has a reserved share of the account's calls; idle shares are lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallClass {
    /// Refunds and the queries that prove them.
    Refund,
    /// Somebody waits for this payment: a person at the till, or a notification has just announced it.
    Cashier,
    /// `rekon reconcile`, by a calendar or a person: after what is due.
    Adhoc,
    /// Everything due.
    Due,
}

impl CallClass {
    /// Every class.
    pub const ALL: [Self; 4] = [Self::Refund, Self::Cashier, Self::Adhoc, Self::Due];

    /// The word in the table and the metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refund => "refund",
            Self::Cashier => "cashier",
            Self::Adhoc => "adhoc",
            Self::Due => "due",
        }
    }
}

/// What a class asks of an account's budget.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// The class.
    pub class: CallClass,
    /// Slots wanted.
    pub want: i32,
    /// Microseconds between slots.
    pub spacing_us: i64,
    /// Slots that may go at once.
    pub burst: i32,
    /// The class's reserved share, permille.
    pub share_permille: i32,
    /// How far ahead of now lent slots may lie, microseconds.
    pub near_us: i64,
    /// How far ahead of now reserved slots may lie, microseconds.
    pub far_us: i64,
}

/// Slots granted: the i-th is good from `first_us + i × spacing` after the statement on (negative: at once).
#[derive(Debug, Clone, Copy)]
pub struct Slots {
    /// How many; 0: try again after `retry_us`.
    pub granted: i32,
    /// Microseconds to the first.
    pub first_us: i64,
    /// Microseconds until more may be had.
    pub retry_us: i64,
    /// Database time from which they are counted: before the commit that makes them ours.
    pub at: DateTime<Utc>,
}

/// May an account be asked?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Yes.
    Closed,
    /// One call, to see.
    Probe,
    /// No.
    Open,
}

const TAKE: &str = "-- store::limits::take
select granted, first_us, retry_us, clock_timestamp() as at from rekon.take_slots($1, $2, $3, $4, $5, $6, $7, $8)";

// Whoever pushes back no further than somebody just did tells nobody: in a storm of 429s one is enough.
const PUSH_BACK: &str = "-- store::limits::push_back
with before as (
  select tat from rekon.call_budgets where account = $1 and class = 'all'
), moved as (
  insert into rekon.call_budgets (account, class, tat) values ($1, 'all', clock_timestamp() + $2)
  on conflict (account, class) do update set tat = greatest(rekon.call_budgets.tat, excluded.tat))
select pg_notify('rekon_slow', $1) where not exists (select 1 from before where tat > clock_timestamp() + $2 - interval '250 milliseconds')";

const WEATHER: &str = "-- store::limits::weather
select rekon.weather($1, $2, $3)";

const END_PROBE: &str = "-- store::limits::end_probe
update rekon.breakers set probing_until = null where account = $1 and probing_until is not null";

const OPEN: &str = "-- store::limits::open
with opened as (
  insert into rekon.breakers (account, opened_at, probe_at, probes, reason)
  values ($1, clock_timestamp(), clock_timestamp() + $3, 0, $2)
  on conflict (account) do update set opened_at = excluded.opened_at, probe_at = excluded.probe_at, probing_until = null, probes = 0, reason = excluded.reason
   where rekon.breakers.opened_at is null returning opened_at)
insert into rekon.outages (account, from_at) select $1, opened_at from opened";

const CLOSE: &str = "-- store::limits::close
with closed as (update rekon.breakers set opened_at = null, probe_at = null, probing_until = null, probes = 0 where account = $1 and opened_at is not null returning 1)
update rekon.outages set until_at = clock_timestamp() where account = $1 and until_at is null and pause_id is null and exists (select 1 from closed)";

const OPEN_BREAKERS: &str = "-- store::limits::open_breakers
select account, opened_at, coalesce(reason, '') as reason from rekon.breakers where opened_at is not null order by account";

impl Store {
    /// Leases call slots of an account.
    pub async fn take_slots(&self, account: &str, ask: &Ask) -> Result<Slots, StoreError> {
        let row = sqlx::query(TAKE)
            .bind(account)
            .bind(ask.class.as_str())
            .bind(ask.want)
            .bind(ask.spacing_us)
            .bind(ask.burst)
            .bind(ask.share_permille)
            .bind(ask.near_us)
            .bind(ask.far_us)
            .fetch_one(self.pool())
            .await?;
        Ok(Slots {
            granted: row.try_get("granted")?,
            first_us: row.try_get("first_us")?,
            retry_us: row.try_get("retry_us")?,
            at: row.try_get("at")?,
        })
    }

    /// Nobody calls this account for `wait` from now: 429, Retry-After. Tells the processes that hold slots already.
    pub async fn push_back(&self, account: &str, wait: Duration) -> Result<(), StoreError> {
        sqlx::query(PUSH_BACK).bind(account).bind(interval(wait)).execute(self.pool()).await?;
        Ok(())
    }

    /// May the account be asked? A probe is handed to one caller at a time: the next one when [`Store::end_probe`] says that
    /// it has ended, or after `probe_span`, and not before its pause of at most `probe_max` is over.
    pub async fn weather(
        &self,
        account: &str,
        probe_max: Duration,
        probe_span: Duration,
    ) -> Result<Weather, StoreError> {
        let secs = |span: Duration| i32::try_from(span.as_secs()).unwrap_or(i32::MAX);
        let weather = sqlx::query_scalar(WEATHER).bind(account).bind(secs(probe_max)).bind(secs(probe_span));
        let word: String = weather.fetch_one(self.pool()).await?;
        Ok(match word.as_str() {
            "closed" => Weather::Closed,
            "probe" => Weather::Probe,
            _ => Weather::Open,
        })
    }

    /// A probe has ended, and the provider is not back.
    pub async fn end_probe(&self, account: &str) -> Result<(), StoreError> {
        sqlx::query(END_PROBE).bind(account).execute(self.pool()).await?;
        Ok(())
    }

    /// Opens the account's breaker for every replica and begins an outage; no-op on an open one.
    pub async fn open_breaker(&self, account: &str, reason: &str, first_probe: Duration) -> Result<(), StoreError> {
        sqlx::query(OPEN).bind(account).bind(reason).bind(interval(first_probe)).execute(self.pool()).await?;
        Ok(())
    }

    /// Closes it and ends the outage; no-op on a closed one.
    pub async fn close_breaker(&self, account: &str) -> Result<(), StoreError> {
        sqlx::query(CLOSE).bind(account).execute(self.pool()).await?;
        Ok(())
    }

    /// Accounts whose breaker is open: since when and why.
    pub async fn open_breakers(&self) -> Result<Vec<(String, DateTime<Utc>, String)>, StoreError> {
        let rows = sqlx::query(OPEN_BREAKERS).fetch_all(self.pool()).await?;
        rows.iter().map(|r| Ok((r.try_get("account")?, r.try_get("opened_at")?, r.try_get("reason")?))).collect()
    }
}

/// A duration as Postgres takes it.
pub(crate) fn interval(duration: Duration) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX) }
}

//! What `rekon doctor` looks at in the database: how the server is set, and what waits there for somebody. Plain reads.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::Row;

use crate::store::{Store, StoreError, webhooks::EndpointRow};

/// How the server is set, as this connection sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerSigns {
    /// Does a commit reach the disk?
    pub is_fsync_on: bool,
    /// Is the connection encrypted?
    pub is_encrypted: bool,
    /// Does it stay on this machine?
    pub is_local: bool,
    /// Do two connections lead to one and the same session? Only a pooler that lends sessions by transaction does that.
    pub shares_sessions: bool,
    /// When the server ends a statement of ours; zero: never.
    pub statement_timeout: Duration,
    /// When the server ends our wait for a lock; zero: never.
    pub lock_timeout: Duration,
}

/// An account whose refunds do not leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// The account.
    pub account: String,
    /// Why.
    pub why: String,
    /// Since when.
    pub since: Option<DateTime<Utc>>,
}

/// A run that nobody works on, or that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SickRun {
    /// The run.
    pub id: i64,
    /// Its job.
    pub job: String,
    /// Its slot.
    pub slot: String,
    /// Its last sign of life.
    pub heard_at: DateTime<Utc>,
}

/// What waits in the tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableSigns {
    /// Payments that are waited for without an `expires_at`, by account.
    pub open_ended: Vec<(String, i64)>,
    /// Accounts whose refunds do not leave.
    pub stopped: Vec<Stopped>,
    /// Open circuit breakers: account, since when, why.
    pub breakers: Vec<(String, DateTime<Utc>, String)>,
    /// Runs under way without a sign of life for a long time.
    pub silent_runs: Vec<SickRun>,
    /// Jobs whose last run failed.
    pub failed_runs: Vec<SickRun>,
    /// Endpoints for which something waits, or that asked for something.
    pub webhooks: Vec<EndpointRow>,
}

const SERVER: &str = "-- store::doctor::server
select current_setting('fsync') = 'on' as is_fsync_on,
       coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false) as is_encrypted,
       coalesce(inet_server_addr() <<= '127.0.0.0/8'::inet or inet_server_addr() = '::1'::inet, true) as is_local,
       (select setting::bigint from pg_settings where name = 'statement_timeout') as statement_timeout_ms,
       (select setting::bigint from pg_settings where name = 'lock_timeout') as lock_timeout_ms";

const SESSION: &str = "-- store::doctor::session
select pg_backend_pid()";

/// A pooler lends the server connection that came back last, so that the first look shows it unless others are at work.
const LOOKS: u32 = 5;

const OPEN_ENDED: &str = "-- store::doctor::open_ended
select account, count(*) from rekon.transactions
 where state = 'pending' and direction = 'in' and expires_at is null group by account order by account";

const STOPPED: &str = "-- store::doctor::stopped
select account, refunds_stopped, stopped_at from rekon.account_controls where refunds_stopped is not null order by account";

const SILENT_RUNS: &str = "-- store::doctor::silent_runs
select id, job, slot, heartbeat_at from rekon.runs
 where state in ('queued', 'running') and heartbeat_at < clock_timestamp() - interval '10 minutes' order by id limit 20";

const FAILED_RUNS: &str = "-- store::doctor::failed_runs
select id, job, slot, heartbeat_at from (
  select distinct on (job) id, job, slot, state, coalesce(finished_at, heartbeat_at) as heartbeat_at
    from rekon.runs where state in ('done', 'failed', 'incomplete') order by job, id desc) as last
 where state = 'failed' order by job";

impl Store {
    /// How the server is set.
    pub async fn server_signs(&self) -> Result<ServerSigns, StoreError> {
        let row = sqlx::query(SERVER).fetch_one(self.pool()).await?;
        let millis =
            |column: &str| Ok::<_, StoreError>(Duration::from_millis(row.try_get::<i64, _>(column)?.unsigned_abs()));
        Ok(ServerSigns {
            shares_sessions: self.shares_sessions().await?,
            statement_timeout: millis("statement_timeout_ms")?,
            lock_timeout: millis("lock_timeout_ms")?,
            is_fsync_on: row.try_get("is_fsync_on")?,
            is_encrypted: row.try_get("is_encrypted")?,
            is_local: row.try_get("is_local")?,
        })
    }

    /// Are two connections that are open at once answered by the same session? True is certain; false may be chance behind a busy
    /// pooler.
    pub async fn shares_sessions(&self) -> Result<bool, StoreError> {
        let (mut one, mut other) = (self.pool().acquire().await?, self.pool().acquire().await?);
        for _ in 0..LOOKS {
            let of_one: i32 = sqlx::query_scalar(SESSION).fetch_one(&mut *one).await?;
            let of_other: i32 = sqlx::query_scalar(SESSION).fetch_one(&mut *other).await?;
            if of_one == of_other {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What waits in the tables; the schema must be this program's.
    pub async fn table_signs(&self) -> Result<TableSigns, StoreError> {
        let stopped = sqlx::query(STOPPED).fetch_all(self.pool()).await?;
        let stopped = stopped.iter().map(|row| {
            Ok::<_, StoreError>(Stopped { account: row.try_get(0)?, why: row.try_get(1)?, since: row.try_get(2)? })
        });
        Ok(TableSigns {
            open_ended: sqlx::query_as(OPEN_ENDED).fetch_all(self.pool()).await?,
            stopped: stopped.collect::<Result<_, _>>()?,
            breakers: self.open_breakers().await?,
            silent_runs: self.sick_runs(SILENT_RUNS).await?,
            failed_runs: self.sick_runs(FAILED_RUNS).await?,
            webhooks: self.webhook_endpoints(&[]).await?,
        })
    }

    async fn sick_runs(&self, sql: &'static str) -> Result<Vec<SickRun>, StoreError> {
        let rows: Vec<(i64, String, String, DateTime<Utc>)> = sqlx::query_as(sql).fetch_all(self.pool()).await?;
        Ok(rows.into_iter().map(|(id, job, slot, heard_at)| SickRun { id, job, slot, heard_at }).collect())
    }
}

//! Runs of the calendar between their slot and their end: who has one, and which ones nobody has. The truth about a run is
//! its row here; a command on the bus is only a wake-up, and every one of them may be lost.
//!
//! A worker takes a run under a number that grows. Whoever holds an older number has lost it, and whatever he says about it
//! after that is not written. What the run does is not here.

use std::time::Duration;

use crate::store::{
    Store, StoreError, Tx,
    limits::interval,
    runs::{Run, to_run},
};

/// A run that nobody had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// The run.
    pub id: i64,
    /// It was begun so often that it is given up.
    pub given_up: bool,
}

/// When a run counts as lost.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// A queued one that was not taken for so long has no command.
    pub queued: Duration,
    /// A running one without a beat for so long has no worker.
    pub running: Duration,
    /// One that was begun so often is not begun again.
    pub attempts_max: i32,
}

const TAKE: &str = "-- store::slots::take
update rekon.runs set state = 'running', attempts = attempts + 1, heartbeat_at = clock_timestamp(), finished_at = null
 where id = $1 and (state = 'queued' or state = 'running' and heartbeat_at < clock_timestamp() - $2::interval)
returning id, job, slot, params, state, started_at, heartbeat_at, attempts";

const BEAT: &str = "-- store::slots::beat
update rekon.runs set heartbeat_at = clock_timestamp() where id = $1 and attempts = $2 and state = 'running'";

// A run that ended well stays ended: what stopped the process may have come a moment later.
const GIVE_BACK: &str = "-- store::slots::give_back
update rekon.runs set state = case when attempts < $3 then 'queued' else 'failed' end, heartbeat_at = clock_timestamp(),
       finished_at = case when attempts < $3 then null else clock_timestamp() end, report = $4
 where id = $1 and attempts = $2 and state in ('running', 'incomplete')
returning state = 'failed'";

const FIND_LOST: &str = "-- store::slots::find_lost
with lost as (
  select id from rekon.runs
   where (requested_by = 'schedule' or slot like 'api/%') and job = any($1)
     and (state = 'queued' and heartbeat_at < clock_timestamp() - $2::interval
          or state = 'running' and heartbeat_at < clock_timestamp() - $3::interval)
   order by id limit 100 for update skip locked)
update rekon.runs r set state = case when attempts < $4 then 'queued' else 'failed' end, heartbeat_at = clock_timestamp(),
       finished_at = case when attempts < $4 then null else clock_timestamp() end
  from lost where r.id = lost.id
returning r.id, r.state = 'failed'";

/// Puts runs that nobody has back into the queue and names them; the caller puts their commands on the bus in the same
/// transaction. Those of other jobs, made by another version, are left to it.
pub async fn find_lost(tx: &mut Tx, jobs: &[&str], patience: Patience) -> Result<Vec<Lost>, StoreError> {
    let rows: Vec<(i64, bool)> = sqlx::query_as(FIND_LOST)
        .bind(jobs)
        .bind(interval(patience.queued))
        .bind(interval(patience.running))
        .bind(patience.attempts_max)
        .fetch_all(&mut **tx)
        .await?;
    Ok(rows.into_iter().map(|(id, given_up)| Lost { id, given_up }).collect())
}

impl Store {
    /// Takes a run that is queued, or whose worker has been silent for `silent`, under a new number. `None`: it has ended,
    /// or somebody has it.
    pub async fn take_run(&self, id: i64, silent: Duration) -> Result<Option<Run>, StoreError> {
        let row = sqlx::query(TAKE).bind(id).bind(interval(silent)).fetch_optional(self.pool()).await?;
        row.as_ref().map(to_run).transpose()
    }

    /// A sign of life of the worker that holds a run under this number. False: it has lost it.
    pub async fn beat_taken(&self, id: i64, attempt: i32) -> Result<bool, StoreError> {
        Ok(sqlx::query(BEAT).bind(id).bind(attempt).execute(self.pool()).await?.rows_affected() > 0)
    }

    /// Gives back a run that was not finished, with what there is to say; after `attempts_max` attempts it has failed
    /// instead. Returns whether it has; `None` where the run had ended or was lost.
    pub async fn give_back_run(
        &self,
        id: i64,
        attempt: i32,
        attempts_max: i32,
        report: &serde_json::Value,
    ) -> Result<Option<bool>, StoreError> {
        let row = sqlx::query_scalar(GIVE_BACK).bind(id).bind(attempt).bind(attempts_max).bind(report);
        Ok(row.fetch_optional(self.pool()).await?)
    }
}

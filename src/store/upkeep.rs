//! Housekeeping that only the database needs: rows that the command queue left behind, strangers' rows.

use std::time::Duration;

use crate::store::{Store, StoreError, limits::interval};

// First branch: finished with a wrong status. Second: older than any command may take; heartbeats do not renew lock_at.
const RESCUE: &str = "-- store::upkeep::rescue
update apalis.jobs set status = case when attempts >= max_attempts then 'Killed' else 'Pending' end, lock_by = null, lock_at = null
 where status in ('Running', 'Queued') and (done_at >= lock_at or lock_at < now() - $1::interval)";

const PRUNE_COMMANDS: &str = "-- store::upkeep::prune_commands
delete from apalis.jobs where id in (
  select id from apalis.jobs
   where (status in ('Done', 'Killed') or status = 'Failed' and attempts >= max_attempts) and coalesce(done_at, lock_at, run_at) < now() - $1::interval
   limit $2)";

const PRUNE_WORKERS: &str = "-- store::upkeep::prune_workers
delete from apalis.workers where id in (
  select id from apalis.workers w where last_seen < now() - $1::interval and not exists (select 1 from apalis.jobs j where j.lock_by = w.id) limit $2)";

// Skips what a settle is about to name again; see store::settle::heard_again.
const PRUNE_BODIES: &str = "-- store::upkeep::prune_bodies
delete from rekon.raw_answers where hash in (
  select hash from rekon.raw_answers where last_at < clock_timestamp() - $1::interval limit $2 for update skip locked)";

// Before their runs: a run may have selected millions, too many for one cascade.
const PRUNE_ITEMS: &str = "-- store::upkeep::prune_items
delete from rekon.run_items where (run_id, transaction_id) in (
  select i.run_id, i.transaction_id from rekon.runs r join rekon.run_items i on i.run_id = r.id
   where coalesce(r.finished_at, r.heartbeat_at) < clock_timestamp() - $1::interval limit $2)";

// Nobody has finished it and nobody will: a process that died, or a job that another version knew.
const PRUNE_STALE_RUNS: &str = "-- store::upkeep::prune_stale_runs
delete from rekon.runs where id in (
  select id from rekon.runs where state in ('queued', 'running') and heartbeat_at < clock_timestamp() - $1::interval limit $2)";

impl Store {
    /// Deletes raw bodies that no fact has named for `keep`, at most `limit`; their facts and hashes stay.
    pub async fn prune_bodies(&self, keep: Duration, limit: i64) -> Result<u64, StoreError> {
        Ok(sqlx::query(PRUNE_BODIES).bind(interval(keep)).bind(limit).execute(self.pool()).await?.rows_affected())
    }

    /// Deletes the selections of runs that ended, or fell silent, `keep` ago; at most `limit` rows.
    pub async fn prune_items(&self, keep: Duration, limit: i64) -> Result<u64, StoreError> {
        Ok(sqlx::query(PRUNE_ITEMS).bind(interval(keep)).bind(limit).execute(self.pool()).await?.rows_affected())
    }

    /// Deletes runs that never ended and have been silent for `keep`, at most `limit`.
    pub async fn prune_stale_runs(&self, keep: Duration, limit: i64) -> Result<u64, StoreError> {
        Ok(sqlx::query(PRUNE_STALE_RUNS).bind(interval(keep)).bind(limit).execute(self.pool()).await?.rows_affected())
    }

    /// Puts commands back that a dead worker left, if they are older than `longest`.
    pub async fn rescue_commands(&self, longest: Duration) -> Result<u64, StoreError> {
        Ok(sqlx::query(RESCUE).bind(interval(longest)).execute(self.pool()).await?.rows_affected())
    }

    /// Deletes commands that ended, in whatever way, `keep` ago; at most `limit`.
    pub async fn prune_commands(&self, keep: Duration, limit: i64) -> Result<u64, StoreError> {
        Ok(sqlx::query(PRUNE_COMMANDS).bind(interval(keep)).bind(limit).execute(self.pool()).await?.rows_affected())
    }

    /// Deletes workers of processes that ended `keep` ago, at most `limit`; after their commands, which name them.
    pub async fn prune_workers(&self, keep: Duration, limit: i64) -> Result<u64, StoreError> {
        Ok(sqlx::query(PRUNE_WORKERS).bind(interval(keep)).bind(limit).execute(self.pool()).await?.rows_affected())
    }
}

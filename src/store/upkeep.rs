//! Housekeeping that only the database needs: the daily seal, rows that the command queue left behind, strangers' rows.

use std::time::Duration;

use chrono::NaiveDate;

use crate::store::{Store, StoreError, limits::interval};

const SEAL: &str = "-- store::upkeep::seal
insert into rekon.seals (day, chains, head)
select $1, count(*), sha256(coalesce(string_agg(int8send(id) || journal_hash, ''::bytea order by id), ''::bytea))
  from rekon.transactions where journal_no > 0
on conflict (day) do nothing";

// First branch: finished with a wrong status. Second: older than any command may take; heartbeats do not renew lock_at.
const RESCUE: &str = "-- store::upkeep::rescue
update apalis.jobs set status = case when attempts >= max_attempts then 'Killed' else 'Pending' end, lock_by = null, lock_at = null
 where status in ('Running', 'Queued') and (done_at >= lock_at or lock_at < now() - $1::interval)";

const PRUNE_COMMANDS: &str = "-- store::upkeep::prune_commands
delete from apalis.jobs where id in (
  select id from apalis.jobs where status in ('Done', 'Killed') and done_at < now() - $1::interval limit $2)";

const PRUNE_WORKERS: &str = "-- store::upkeep::prune_workers
delete from apalis.workers w where last_seen < now() - $1::interval and not exists (select 1 from apalis.jobs j where j.lock_by = w.id)";

impl Store {
    /// Seals a day: one hash over the heads of all chains. A second seal of the same day is a no-op.
    pub async fn seal(&self, day: NaiveDate) -> Result<bool, StoreError> {
        Ok(sqlx::query(SEAL).bind(day).execute(self.pool()).await?.rows_affected() > 0)
    }

    /// Puts commands back that a dead worker left, if they are older than `longest`.
    pub async fn rescue_commands(&self, longest: Duration) -> Result<u64, StoreError> {
        Ok(sqlx::query(RESCUE).bind(interval(longest)).execute(self.pool()).await?.rows_affected())
    }

    /// Deletes finished commands and dead workers older than `keep`, at most `limit` commands.
    pub async fn prune_commands(&self, keep: Duration, limit: i64) -> Result<u64, StoreError> {
        let commands =
            sqlx::query(PRUNE_COMMANDS).bind(interval(keep)).bind(limit).execute(self.pool()).await?.rows_affected();
        sqlx::query(PRUNE_WORKERS).bind(interval(keep)).execute(self.pool()).await?;
        Ok(commands)
    }
}

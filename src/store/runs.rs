//! Runs: one activation of a job. Who inserts a slot runs it, so that replicas need no leader; a reconciliation keeps
//! the rows it selected here, so that it can be taken up again after a crash.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::Row;

use crate::store::{Store, StoreError, Tx, limits::interval};

/// A run.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its id.
    pub id: i64,
    /// The job.
    pub job: String,
    /// The slot that makes it unique.
    pub slot: String,
    /// What was asked for.
    pub params: serde_json::Value,
    /// `queued`, `running`, `done`, `failed`, `incomplete`.
    pub state: String,
    /// Database time of its start.
    pub started_at: DateTime<Utc>,
    /// The last sign of life.
    pub heartbeat_at: DateTime<Utc>,
    /// The number under which it is held; whoever holds an older one has lost it.
    pub attempt: i32,
}

/// Which rows a reconciliation is about.
#[derive(Debug, Clone)]
pub struct Selection {
    /// Rows created or paid from here on …
    pub from: DateTime<Utc>,
    /// … and before here.
    pub until: DateTime<Utc>,
    /// Every row that is not terminal as well, whatever its day.
    pub unsettled: bool,
    /// The accounts; rows of others cannot be asked.
    pub accounts: Vec<String>,
    /// A terminal row is asked again when its last answer is older than this.
    pub fresh: Duration,
}

/// How far a reconciliation is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Rows selected.
    pub selected: i64,
    /// Rows that must be asked.
    pub must_ask: i64,
    /// Of those, asked since the start.
    pub asked: i64,
    /// Rows with a further look before the deadline.
    pub looks: i64,
    /// Refunds that move before the deadline.
    pub refunds: i64,
}

const BEGIN: &str = "-- store::runs::begin
insert into rekon.runs (job, slot, params, state, requested_by) values ($1, $2, $3, $4, $5)
on conflict (job, slot) do nothing
returning id, job, slot, params, state, started_at, heartbeat_at, attempts";

const UNFINISHED: &str = "-- store::runs::unfinished
select id, job, slot, params, state, started_at, heartbeat_at, attempts from rekon.runs
 where job = $1 and params = $2 and state in ('running', 'incomplete') order by id desc limit 1 for update";

const LAST_SLOT: &str = "-- store::runs::last_slot
select max(slot) from rekon.runs where job = $1 and requested_by = 'schedule'";

const TAKE_UP: &str = "-- store::runs::take_up
update rekon.runs set state = 'running', attempts = attempts + 1, heartbeat_at = clock_timestamp(), finished_at = null where id = $1
returning attempts";

const FINISH: &str = "-- store::runs::finish
update rekon.runs set state = $3, finished_at = clock_timestamp(), report = $4 where id = $1 and attempts = $2 and state = 'running'";

const ITEMS: &str = "-- store::runs::items
insert into rekon.run_items (run_id, transaction_id, must_ask)
select $1, t.id,
       not (t.flags_open && array['unknown_account', 'missing_reference'])
       and (t.state not in ('paid', 'refunded', 'partly_refunded', 'unpaid') or t.last_checked_at is null
            or t.last_checked_at <= clock_timestamp() - $6::interval)
  from rekon.transactions t
 where t.account = any($5)
   and ((t.created_at >= $2 and t.created_at < $3) or (t.paid_at >= $2 and t.paid_at < $3)
        or ($4 and t.state in ('pending', 'held', 'refunding', 'review')))
on conflict do nothing";

const PREVIEW: &str = "-- store::runs::preview
select t.account, count(*) as selected,
       count(*) filter (where not (t.flags_open && array['unknown_account', 'missing_reference'])
         and (t.state not in ('paid', 'refunded', 'partly_refunded', 'unpaid') or t.last_checked_at is null
              or t.last_checked_at <= clock_timestamp() - $5::interval)) as must_ask
  from rekon.transactions t
 where t.account = any($4)
   and ((t.created_at >= $1 and t.created_at < $2) or (t.paid_at >= $1 and t.paid_at < $2)
        or ($3 and t.state in ('pending', 'held', 'refunding', 'review')))
 group by t.account order by t.account";

const PULL_ITEMS: &str = "-- store::runs::pull_items
with chosen as (
  select t.id from rekon.run_items i join rekon.transactions t on t.id = i.transaction_id join rekon.runs r on r.id = i.run_id
   where i.run_id = $1 and i.must_ask and (t.last_checked_at is null or t.last_checked_at < r.started_at)
     and not (t.flags_open && array['unknown_account', 'missing_reference'])
     and (t.next_check_at is null or t.next_check_at > clock_timestamp())
   order by t.id limit $2 for update of t skip locked)
update rekon.transactions t set next_check_at = clock_timestamp() from chosen where t.id = chosen.id";

const PROGRESS: &str = "-- store::runs::progress
select count(*) as selected, count(*) filter (where i.must_ask) as must_ask,
       count(*) filter (where i.must_ask and (t.last_checked_at >= r.started_at
         or t.flags_open && array['unknown_account', 'missing_reference'])) as asked,
       count(*) filter (where t.next_check_at <= $2) as looks,
       coalesce(sum((select count(*) from rekon.refund_saga s where s.transaction_id = t.id and s.next_at <= $2 and s.needs_person is null
                       and s.state in ('approved', 'reserved', 'sending', 'unknown') and not s.blocked)), 0)::bigint as refunds
  from rekon.run_items i join rekon.transactions t on t.id = i.transaction_id join rekon.runs r on r.id = i.run_id
 where i.run_id = $1";

const PRUNE: &str = "-- store::runs::prune
delete from rekon.runs where id in (select id from rekon.runs where state in ('done', 'failed', 'incomplete') and finished_at < clock_timestamp() - $1::interval limit $2)";

pub(super) fn to_run(row: &sqlx::postgres::PgRow) -> Result<Run, StoreError> {
    Ok(Run {
        id: row.try_get("id")?,
        job: row.try_get("job")?,
        slot: row.try_get("slot")?,
        params: row.try_get("params")?,
        state: row.try_get("state")?,
        started_at: row.try_get("started_at")?,
        heartbeat_at: row.try_get("heartbeat_at")?,
        attempt: row.try_get("attempts")?,
    })
}

/// Inserts a run; `None` where its slot is taken.
pub async fn begin(
    tx: &mut Tx,
    job: &str,
    slot: &str,
    params: &serde_json::Value,
    state: &str,
    by: &str,
) -> Result<Option<Run>, StoreError> {
    let row =
        sqlx::query(BEGIN).bind(job).bind(slot).bind(params).bind(state).bind(by).fetch_optional(&mut **tx).await?;
    row.as_ref().map(to_run).transpose()
}

/// The last unfinished run with the same parameters, locked.
pub async fn unfinished(tx: &mut Tx, job: &str, params: &serde_json::Value) -> Result<Option<Run>, StoreError> {
    let row = sqlx::query(UNFINISHED).bind(job).bind(params).fetch_optional(&mut **tx).await?;
    row.as_ref().map(to_run).transpose()
}

/// Fixes the rows of a reconciliation; rows that are in it already stay.
pub async fn select_items(tx: &mut Tx, run_id: i64, selection: &Selection) -> Result<u64, StoreError> {
    let done = sqlx::query(ITEMS)
        .bind(run_id)
        .bind(selection.from)
        .bind(selection.until)
        .bind(selection.unsettled)
        .bind(&selection.accounts)
        .bind(interval(selection.fresh))
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected())
}

/// Marks a run as running again, under a new number, which is returned: whoever had it has lost it.
pub async fn take_up(tx: &mut Tx, id: i64) -> Result<i32, StoreError> {
    Ok(sqlx::query_scalar(TAKE_UP).bind(id).fetch_one(&mut **tx).await?)
}

impl Store {
    /// The last slot that the schedule of a job has used.
    pub async fn last_slot(&self, job: &str) -> Result<Option<String>, StoreError> {
        Ok(sqlx::query_scalar(LAST_SLOT).bind(job).fetch_one(self.pool()).await?)
    }

    /// Ends a run that is held under `attempt` with its report. False: somebody else has it by now, or has ended it, and
    /// nothing was written.
    pub async fn finish_run(
        &self,
        id: i64,
        attempt: i32,
        state: &str,
        report: &serde_json::Value,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(FINISH).bind(id).bind(attempt).bind(state).bind(report).execute(self.pool()).await?;
        Ok(done.rows_affected() > 0)
    }

    /// What a selection would ask: (account, selected, to be asked).
    pub async fn preview(&self, selection: &Selection) -> Result<Vec<(String, i64, i64)>, StoreError> {
        let rows = sqlx::query(PREVIEW)
            .bind(selection.from)
            .bind(selection.until)
            .bind(selection.unsettled)
            .bind(&selection.accounts)
            .bind(interval(selection.fresh))
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(|r| Ok((r.try_get("account")?, r.try_get("selected")?, r.try_get("must_ask")?))).collect()
    }

    /// Makes up to `limit` rows of a run due that have not been asked since its start; returns how many. In portions: a
    /// fresh payment must not queue behind a whole day.
    pub async fn pull_items(&self, run_id: i64, limit: i64) -> Result<u64, StoreError> {
        Ok(sqlx::query(PULL_ITEMS).bind(run_id).bind(limit).execute(self.pool()).await?.rows_affected())
    }

    /// How far a reconciliation is, with what is still due before `deadline`.
    pub async fn progress(&self, run_id: i64, deadline: DateTime<Utc>) -> Result<Progress, StoreError> {
        let row = sqlx::query(PROGRESS).bind(run_id).bind(deadline).fetch_one(self.pool()).await?;
        Ok(Progress {
            selected: row.try_get("selected")?,
            must_ask: row.try_get("must_ask")?,
            asked: row.try_get("asked")?,
            looks: row.try_get("looks")?,
            refunds: row.try_get("refunds")?,
        })
    }

    /// Deletes finished runs older than `keep`, at most `limit`.
    pub async fn prune_runs(&self, keep: Duration, limit: i64) -> Result<u64, StoreError> {
        Ok(sqlx::query(PRUNE).bind(interval(keep)).bind(limit).execute(self.pool()).await?.rows_affected())
    }
}

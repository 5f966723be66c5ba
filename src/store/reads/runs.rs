//! Runs as people and programs look at them: who asked for which job, how far it came, what it reported.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::Row;

use crate::store::{Store, StoreError};

/// One activation of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunSeen {
    /// Its id.
    pub id: i64,
    /// The job.
    pub job: String,
    /// The slot that makes it unique.
    pub slot: String,
    /// `queued`, `running`, `done`, `failed` or `incomplete`.
    pub state: String,
    /// Who asked for it.
    pub requested_by: String,
    /// What was asked for.
    pub params: serde_json::Value,
    /// When it was asked for.
    pub started_at: DateTime<Utc>,
    /// Its last sign of life.
    pub heartbeat_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// How often it was begun.
    pub attempts: i32,
    /// Its figures.
    pub report: Option<serde_json::Value>,
}

/// Which runs a list shows.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Of this job.
    pub job: Option<String>,
    /// In this state.
    pub state: Option<String>,
    /// Behind this run of the list.
    pub after: Option<i64>,
    /// At most so many.
    pub limit: i64,
}

const LIST: &str = "-- store::reads::runs::list
select id, job, slot, state, requested_by, params, started_at, heartbeat_at, finished_at, attempts, report from rekon.runs
 where ($1::text is null or job = $1) and ($2::text is null or state = $2) and ($3::bigint is null or id < $3)
 order by id desc limit $4";

const ONE: &str = "-- store::reads::runs::one
select id, job, slot, state, requested_by, params, started_at, heartbeat_at, finished_at, attempts, report from rekon.runs where id = $1";

const ALIKE: &str = "-- store::reads::runs::alike
select id from rekon.runs
 where job = $1 and params = $2 and (state = 'queued' or state = 'running' and heartbeat_at > clock_timestamp() - interval '2 minutes')
 order by id limit 1";

impl Store {
    /// Runs that pass the filter, newest first.
    pub async fn list_runs(&self, filter: &RunFilter) -> Result<Vec<RunSeen>, StoreError> {
        let rows = sqlx::query(LIST)
            .bind(filter.job.as_deref())
            .bind(filter.state.as_deref())
            .bind(filter.after)
            .bind(filter.limit)
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(seen).collect()
    }

    /// The run with this id.
    pub async fn find_run(&self, id: i64) -> Result<Option<RunSeen>, StoreError> {
        sqlx::query(ONE).bind(id).fetch_optional(self.pool()).await?.as_ref().map(seen).transpose()
    }

    /// A run of the job that waits or works on exactly this.
    pub async fn run_alike(&self, job: &str, params: &serde_json::Value) -> Result<Option<i64>, StoreError> {
        Ok(sqlx::query_scalar(ALIKE).bind(job).bind(params).fetch_optional(self.pool()).await?)
    }
}

fn seen(row: &sqlx::postgres::PgRow) -> Result<RunSeen, StoreError> {
    Ok(RunSeen {
        id: row.try_get("id")?,
        job: row.try_get("job")?,
        slot: row.try_get("slot")?,
        state: row.try_get("state")?,
        requested_by: row.try_get("requested_by")?,
        params: row.try_get("params")?,
        started_at: row.try_get("started_at")?,
        heartbeat_at: row.try_get("heartbeat_at")?,
        finished_at: row.try_get("finished_at")?,
        attempts: row.try_get("attempts")?,
        report: row.try_get("report")?,
    })
}

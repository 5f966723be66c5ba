//! The sums of one screen: how many rows stand where, what is overdue, which money is at risk. One statement each.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::Row;

use super::as_rupiah;
use crate::{
    domain::money::Sen,
    store::{
        Store, StoreError,
        cases::sen,
        control::{StoppedRow, SwitchRow},
        pauses::PauseRow,
        sentinel::Violation,
    },
};

/// Rows of an account in a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StateCount {
    /// The account.
    pub account: String,
    /// The ledger state.
    pub state: String,
    /// How many rows.
    pub rows: i64,
    /// What is expected on them together.
    #[serde(serialize_with = "as_rupiah")]
    pub expected: Sen,
}

/// What waits on an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Backlog {
    /// The account.
    pub account: String,
    /// Rows that are held, in review, or flagged open.
    pub exceptions: i64,
    /// Rows that are due and were not asked yet.
    pub due: i64,
    /// The earliest time that is due and passed.
    pub oldest_due_at: Option<DateTime<Utc>>,
}

/// Money at risk by cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Suspense {
    /// The account.
    pub account: String,
    /// The flag it stands under.
    pub cause: String,
    /// How many rows.
    pub rows: i64,
    /// How much.
    #[serde(serialize_with = "as_rupiah")]
    pub amount: Sen,
}

/// Refunds in a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefundCount {
    /// The saga's state.
    pub state: String,
    /// How many.
    pub refunds: i64,
    /// How much.
    #[serde(serialize_with = "as_rupiah")]
    pub amount: Sen,
}

/// The latest activation of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunRow {
    /// The job.
    pub job: String,
    /// Its slot.
    pub slot: String,
    /// `queued`, `running`, `done`, `failed` or `incomplete`.
    pub state: String,
    /// Who asked for it.
    pub requested_by: String,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
}

/// An account that is not asked because its provider fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpenBreaker {
    /// The account.
    pub account: String,
    /// Since when.
    pub opened_at: DateTime<Utc>,
    /// Why.
    pub reason: String,
}

/// One screen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overview {
    /// Database time of the look.
    pub at: DateTime<Utc>,
    /// Rows by account and state.
    pub states: Vec<StateCount>,
    /// What waits, by account.
    pub backlog: Vec<Backlog>,
    /// Money at risk by account and cause.
    pub at_risk: Vec<Suspense>,
    /// Refunds by state.
    pub refunds: Vec<RefundCount>,
    /// Accounts that are not asked.
    pub breakers_open: Vec<OpenBreaker>,
    /// Accounts that people paused.
    pub paused: Vec<PauseRow>,
    /// Accounts whose refunds do not leave by themselves.
    pub refunds_stopped: Vec<StoppedRow>,
    /// Switches below `auto`, and requests to turn one.
    pub switches: Vec<SwitchRow>,
    /// What breaks a rule of money, as the sentinel last saw it: the oldest of it.
    pub violations: Vec<Violation>,
    /// The latest run of each job.
    pub last_runs: Vec<RunRow>,
}

const STATES: &str = "-- store::reads::overview::states
select account, state, count(*) as n, (sum(amount) * 100)::bigint as expected from rekon.transactions group by account, state order by account, state";

const BACKLOG: &str = "-- store::reads::overview::backlog
select account, count(*) filter (where state in ('held', 'review') or flags_open <> '{}') as exceptions,
       count(*) filter (where next_check_at <= clock_timestamp()) as due,
       min(next_check_at) filter (where next_check_at <= clock_timestamp()) as oldest_due_at
  from rekon.transactions
 where state in ('held', 'review') or flags_open <> '{}' or next_check_at <= clock_timestamp()
 group by account order by account";

const AT_RISK: &str = "-- store::reads::overview::at_risk
select account, substr(suspense, length('suspense:') + 1) as cause, rows as n, (rupiah * 100)::bigint as amount from rekon.suspense order by account, cause";

const REFUNDS: &str = "-- store::reads::overview::refunds
select state, count(*) as n, (sum(amount) * 100)::bigint as amount from rekon.refund_saga group by state order by state";

/// Violations shown; all are counted by their gauge.
const VIOLATIONS_MAX: i64 = 20;

const RUNS: &str = "-- store::reads::overview::runs
select distinct on (job) job, slot, state, requested_by, started_at, finished_at from rekon.runs order by job, started_at desc";

const NEXT_SLOTS: &str = "-- store::reads::overview::next_slots
select account, tat from rekon.call_budgets where class = 'all' and isfinite(tat) order by account";

impl Store {
    /// What waits, by account.
    pub async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        let rows = sqlx::query(BACKLOG).fetch_all(self.pool()).await?;
        rows.iter()
            .map(|row| {
                Ok(Backlog {
                    account: row.try_get("account")?,
                    exceptions: row.try_get("exceptions")?,
                    due: row.try_get("due")?,
                    oldest_due_at: row.try_get("oldest_due_at")?,
                })
            })
            .collect()
    }

    /// When the next call slot of each account is free.
    pub async fn next_slots(&self) -> Result<Vec<(String, DateTime<Utc>)>, StoreError> {
        Ok(sqlx::query_as(NEXT_SLOTS).fetch_all(self.pool()).await?)
    }

    /// Reads the screen.
    pub async fn overview(&self) -> Result<Overview, StoreError> {
        let mut overview = Overview {
            at: self.now().await?,
            states: Vec::new(),
            backlog: self.backlog().await?,
            at_risk: Vec::new(),
            refunds: Vec::new(),
            breakers_open: Vec::new(),
            paused: self.pauses().await?,
            refunds_stopped: self.refunds_stopped().await?,
            switches: self.switches(false).await?,
            violations: self.violations(VIOLATIONS_MAX).await?,
            last_runs: Vec::new(),
        };
        for row in sqlx::query(STATES).fetch_all(self.pool()).await? {
            let (account, state, rows) = (row.try_get("account")?, row.try_get("state")?, row.try_get("n")?);
            overview.states.push(StateCount { account, state, rows, expected: sen(&row, "expected")? });
        }
        for row in sqlx::query(AT_RISK).fetch_all(self.pool()).await? {
            let (account, cause, rows) = (row.try_get("account")?, row.try_get("cause")?, row.try_get("n")?);
            overview.at_risk.push(Suspense { account, cause, rows, amount: sen(&row, "amount")? });
        }
        for row in sqlx::query(REFUNDS).fetch_all(self.pool()).await? {
            let (state, refunds) = (row.try_get("state")?, row.try_get("n")?);
            overview.refunds.push(RefundCount { state, refunds, amount: sen(&row, "amount")? });
        }
        for row in sqlx::query(RUNS).fetch_all(self.pool()).await? {
            overview.last_runs.push(RunRow {
                job: row.try_get("job")?,
                slot: row.try_get("slot")?,
                state: row.try_get("state")?,
                requested_by: row.try_get("requested_by")?,
                started_at: row.try_get("started_at")?,
                finished_at: row.try_get("finished_at")?,
            });
        }
        let open = self.open_breakers().await?;
        let told = |(account, opened_at, reason)| OpenBreaker { account, opened_at, reason };
        overview.breakers_open = open.into_iter().map(told).collect();
        Ok(overview)
    }
}

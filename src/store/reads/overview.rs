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
}

/// What waits on an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Backlog {
    /// The account.
    pub account: String,
    /// Rows that are held, in review, or flagged open.
    pub exceptions: i64,
    /// Rows that are due and were not asked yet; [`DUE_MAX`]: so many or more.
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
    /// Rows by account and state: those that are open, or all.
    pub states: Vec<StateCount>,
    /// What waits, by account.
    pub backlog: Vec<Backlog>,
    /// Money at risk by account and cause.
    pub at_risk: Vec<Suspense>,
    /// Refunds by state: those that are not at their end, or all.
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

// What is open is counted in its own index; whoever wants the rest counted pays for the whole table.
const OPEN_STATES: &str = "-- store::reads::overview::open_states
select account, state, count(*) as n from rekon.transactions
 where state in ('pending', 'held', 'refunding', 'review') group by account, state order by account, state";

const ALL_STATES: &str = "-- store::reads::overview::all_states
select account, state, count(*) as n from rekon.transactions group by account, state order by account, state";

// Accounts are found by jumps through the due index, and what is due is counted to DUE_MAX; both stay quick when everything is due.
const BACKLOG: &str = "-- store::reads::overview::backlog
with recursive names as (
  (select account from rekon.transactions where next_check_at is not null order by account limit 1)
  union all
  select (select t.account from rekon.transactions t where t.next_check_at is not null and t.account > n.account order by t.account limit 1)
    from names n where n.account is not null
), waits as (
  select n.account, d.due, o.next_check_at as oldest_due_at from names n
   cross join lateral (select count(*) as due from (select 1 from rekon.transactions t
                         where t.account = n.account and t.next_check_at <= now() limit $1) first) d
    left join lateral (select t.next_check_at from rekon.transactions t
                        where t.account = n.account and t.next_check_at <= now() order by t.next_check_at limit 1) o on true
   where n.account is not null and d.due > 0
), odd as (
  select account, count(*) as exceptions
    from (select id, account from rekon.transactions where state in ('held', 'review')
          union select id, account from rekon.transactions where flags_open <> '{}') e
   group by account
)
select account, coalesce(exceptions, 0) as exceptions, coalesce(due, 0) as due, oldest_due_at
  from odd full join waits using (account) order by account";

// As the gauge counts it: what is settled holds nothing, and the sentinel proves that.
const AT_RISK: &str = "-- store::reads::overview::at_risk
with unsettled as materialized (
  select id, account from rekon.transactions where state in ('held', 'refunding', 'review')
  union select id, account from rekon.transactions where flags_open <> '{}')
select u.account, substr(p.account, length('suspense:') + 1) as cause, count(*) as n, (sum(p.balance) * 100)::bigint as amount
  from unsettled u cross join lateral
       (select account, sum(credit - debit) as balance from rekon.postings
         where transaction_id = u.id and account like 'suspense:%' group by account having sum(credit - debit) <> 0) p
 group by 1, 2 order by 1, 2";

const LIVE_REFUNDS: &str = "-- store::reads::overview::live_refunds
select state, count(*) as n, (sum(amount) * 100)::bigint as amount from rekon.refund_saga
 where state in ('proposed', 'approved', 'reserved', 'sending', 'unknown') group by state order by state";

const ALL_REFUNDS: &str = "-- store::reads::overview::all_refunds
select state, count(*) as n, (sum(amount) * 100)::bigint as amount from rekon.refund_saga group by state order by state";

/// What is due is counted up to here.
pub const DUE_MAX: i64 = 100_000;
/// Violations shown; all are counted by their gauge.
const VIOLATIONS_MAX: i64 = 20;

const RUNS: &str = "-- store::reads::overview::runs
select distinct on (job) job, slot, state, requested_by, started_at, finished_at from rekon.runs order by job, started_at desc";

const NEXT_SLOTS: &str = "-- store::reads::overview::next_slots
select account, tat from rekon.call_budgets where class = 'all' and isfinite(tat) order by account";

impl Store {
    /// What waits, by account.
    pub async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        let rows = sqlx::query(BACKLOG).bind(DUE_MAX).fetch_all(self.pool()).await?;
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

    /// Reads the screen. With `all`, what is at rest is counted too, which reads every payment and refund there ever was.
    pub async fn overview(&self, all: bool) -> Result<Overview, StoreError> {
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
        let (states, refunds) = if all { (ALL_STATES, ALL_REFUNDS) } else { (OPEN_STATES, LIVE_REFUNDS) };
        for row in sqlx::query(states).fetch_all(self.pool()).await? {
            let (account, state, rows) = (row.try_get("account")?, row.try_get("state")?, row.try_get("n")?);
            overview.states.push(StateCount { account, state, rows });
        }
        for row in sqlx::query(AT_RISK).fetch_all(self.pool()).await? {
            let (account, cause, rows) = (row.try_get("account")?, row.try_get("cause")?, row.try_get("n")?);
            overview.at_risk.push(Suspense { account, cause, rows, amount: sen(&row, "amount")? });
        }
        for row in sqlx::query(refunds).fetch_all(self.pool()).await? {
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

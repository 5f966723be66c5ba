//! Gauges that only the database knows, read at scrape: nothing in the code ever counts them up or down.
//!
//! Every statement stands on a partial index that holds what needs somebody's eye, or on a small table, so the cost follows
//! the open work and not the size of the table. All are read in one snapshot, so they agree with one another, and each is
//! ended by the server after [`STATEMENT_MAX`]. What breaks a rule of money is found by the sentinel; here it is counted.

use std::time::Duration;

use sqlx::Row;

use crate::{
    store::{Store, StoreError, Tx},
    telemetry::{
        board::{Reading, Value},
        catalogue::{self as c, Metric, UNCONFIGURED, UNFLAGGED},
    },
};

/// No statement of a reading runs longer.
pub const STATEMENT_MAX: Duration = Duration::from_secs(2);

/// What a reading is about.
#[derive(Debug, Clone, Default)]
pub struct GaugeScope {
    /// The configured accounts; rows of others are summed under one label.
    pub accounts: Vec<String>,
    /// The configured endpoints of webhooks.
    pub endpoints: Vec<String>,
    /// Every flag, in the order of causes.
    pub flags: Vec<&'static str>,
}

/// A gauge and its readings; combinations of labels that are not here are zero.
#[derive(Debug, Clone)]
pub struct Gauge {
    /// The gauge.
    pub metric: &'static Metric,
    /// Its values.
    pub readings: Vec<Reading>,
}

/// How a gauge is read: a statement that returns the metric's labels as text and a `bigint` in the given unit.
struct Statement {
    metric: &'static Metric,
    sql: &'static str,
    unit: fn(i64) -> Value,
    given: Given,
}

/// The parameters of a statement.
#[derive(Clone, Copy)]
enum Given {
    /// `$1` accounts.
    Accounts,
    /// `$1` accounts, `$2` the label of all others.
    AccountsAndRest,
    /// `$1` accounts, `$2` the label of all others, `$3` flags in the order of causes, `$4` the label of none.
    Flags,
    /// `$1` endpoints.
    Endpoints,
    /// `$1` jobs, `$2` accounts.
    Jobs,
    /// No parameter.
    Nothing,
}

const STATEMENTS: &[Statement] = &[
    Statement { metric: c::OPEN_ROWS, sql: OPEN_ROWS, unit: Value::Count, given: Given::AccountsAndRest },
    Statement { metric: c::OLDEST_OVERDUE, sql: OLDEST_OVERDUE, unit: Value::Millis, given: Given::Accounts },
    Statement { metric: c::EXCEPTIONS, sql: EXCEPTIONS, unit: Value::Count, given: Given::Flags },
    Statement { metric: c::VALUE_AT_RISK, sql: VALUE_AT_RISK, unit: Value::Sen, given: Given::Flags },
    Statement { metric: c::SUSPENSE, sql: SUSPENSE, unit: Value::Sen, given: Given::AccountsAndRest },
    Statement { metric: c::REFUNDS, sql: REFUNDS, unit: Value::Count, given: Given::AccountsAndRest },
    Statement { metric: c::REFUND_IN_FLIGHT, sql: REFUND_IN_FLIGHT, unit: Value::Sen, given: Given::AccountsAndRest },
    Statement {
        metric: c::REFUND_UNKNOWN_AGE,
        sql: REFUND_UNKNOWN,
        unit: Value::Millis,
        given: Given::AccountsAndRest,
    },
    Statement {
        metric: c::REFUND_WINDOW_LEFT,
        sql: REFUND_WINDOW_LEFT,
        unit: Value::Millis,
        given: Given::AccountsAndRest,
    },
    Statement { metric: c::TRANSFERS, sql: TRANSFERS, unit: Value::Count, given: Given::AccountsAndRest },
    Statement { metric: c::REFUNDS_STOPPED, sql: REFUNDS_STOPPED, unit: Value::Count, given: Given::Accounts },
    Statement { metric: c::REFUND_BREAKER_OPEN, sql: REFUND_BREAKER, unit: Value::Count, given: Given::Accounts },
    Statement { metric: c::SWITCH_LOWERED, sql: SWITCH_LOWERED, unit: Value::Count, given: Given::Accounts },
    Statement { metric: c::BREAKER_OPEN, sql: BREAKER_OPEN, unit: Value::Count, given: Given::Accounts },
    Statement { metric: c::ACCOUNT_PAUSED, sql: ACCOUNT_PAUSED, unit: Value::Count, given: Given::Accounts },
    Statement { metric: c::WEBHOOKS_OLDEST, sql: WEBHOOKS_OLDEST, unit: Value::Millis, given: Given::Endpoints },
    Statement { metric: c::WEBHOOKS_DEAD, sql: WEBHOOKS_DEAD, unit: Value::Count, given: Given::Endpoints },
    Statement { metric: c::WEBHOOK_DISABLED, sql: WEBHOOK_DISABLED, unit: Value::Count, given: Given::Endpoints },
    Statement { metric: c::RUN_LAST_SUCCESS, sql: RUN_LAST_SUCCESS, unit: Value::Count, given: Given::Jobs },
    Statement { metric: c::INVARIANT_VIOLATIONS, sql: INVARIANTS, unit: Value::Count, given: Given::Nothing },
    Statement { metric: c::SENTINEL_PASSED, sql: SENTINEL_PASSED, unit: Value::Count, given: Given::Nothing },
    Statement { metric: c::SENTINEL_ROTATED, sql: SENTINEL_ROTATED, unit: Value::Count, given: Given::Nothing },
];

const SNAPSHOT: &str = "-- store::gauges::snapshot
set transaction isolation level repeatable read read only";

/// One connection's worth of work and no more; and no plan that reads a whole table because an index of the open rows
/// looks hardly smaller today.
const BOUNDS: &str = "-- store::gauges::bounds
select set_config('statement_timeout', $1, true), set_config('max_parallel_workers_per_gather', '0', true), set_config('enable_seqscan', 'off', true)";

const OPEN_ROWS: &str = "-- store::gauges::open_rows
select case when account = any($1) then account else $2 end, state, sum(n)::bigint
  from (select account, state, count(*) as n from rekon.transactions
         where state in ('pending', 'held', 'refunding', 'review') group by state, account) as counted
 group by 1, 2";

const OLDEST_OVERDUE: &str = "-- store::gauges::oldest_overdue
select a, coalesce(greatest((extract(epoch from now() - due.next_check_at) * 1000)::bigint, 0), 0)
  from unnest($1::text[]) as a left join lateral
       (select next_check_at from rekon.transactions where account = a and next_check_at is not null order by next_check_at limit 1) as due on true";

const EXCEPTIONS: &str = "-- store::gauges::exceptions
select case when account = any($1) then account else $2 end,
       coalesce((select f from unnest(flags_open) as f order by array_position($3::text[], f) limit 1), $4), count(*)
  from rekon.transactions where state in ('held', 'review') group by 1, 2";

const VALUE_AT_RISK: &str = "-- store::gauges::value_at_risk
select case when account = any($1) then account else $2 end,
       coalesce((select f from unnest(flags_open) as f order by array_position($3::text[], f) limit 1), $4),
       (sum(greatest(coalesce(paid_amount, 0) - refunded_amount - refunded_outside, 0)) * 100)::bigint
  from rekon.transactions where state in ('held', 'review') group by 1, 2";

const SUSPENSE: &str = "-- store::gauges::suspense
with unsettled as materialized (
  select id, account from rekon.transactions where state in ('held', 'refunding', 'review')
  union select id, account from rekon.transactions where flags_open <> '{}')
select case when u.account = any($1) then u.account else $2 end, lines.cause, (sum(lines.rupiah) * 100)::bigint
  from unsettled as u cross join lateral
       (select substr(account, 10) as cause, sum(credit - debit) as rupiah from rekon.postings
         where transaction_id = u.id and account like 'suspense:%' group by account) as lines
 group by 1, 2";

const REFUNDS: &str = "-- store::gauges::refunds
select case when t.account = any($1) then t.account else $2 end, r.state, count(*)
  from rekon.refund_saga as r join rekon.transactions as t on t.id = r.transaction_id
 where r.state in ('proposed', 'approved', 'reserved', 'sending', 'unknown') group by 1, 2";

const REFUND_IN_FLIGHT: &str = "-- store::gauges::refund_in_flight
select case when t.account = any($1) then t.account else $2 end, (sum(r.amount) * 100)::bigint
  from rekon.refund_saga as r join rekon.transactions as t on t.id = r.transaction_id
 where r.state in ('reserved', 'sending', 'unknown') group by 1";

const REFUND_UNKNOWN: &str = "-- store::gauges::refund_unknown
select case when t.account = any($1) then t.account else $2 end,
       greatest((extract(epoch from now() - min(coalesce(r.last_sent_at, r.proposed_at))) * 1000)::bigint, 0)
  from rekon.refund_saga as r join rekon.transactions as t on t.id = r.transaction_id where r.state = 'unknown' group by 1";

const REFUND_WINDOW_LEFT: &str = "-- store::gauges::refund_window_left
select case when t.account = any($1) then t.account else $2 end,
       greatest((extract(epoch from min(r.window_ends_at) - now()) * 1000)::bigint, 1)
  from rekon.refund_saga as r join rekon.transactions as t on t.id = r.transaction_id
 where r.state in ('proposed', 'approved', 'reserved') and r.window_ends_at is not null group by 1";

const TRANSFERS: &str = "-- store::gauges::transfers
select case when t.account = any($1) then t.account else $2 end, r.state, count(*)
  from rekon.refund_saga as r join rekon.transactions as t on t.id = r.transaction_id
 where r.state in ('proposed', 'approved', 'reserved', 'sending') and r.channel = 'manual' group by 1, 2";

const REFUNDS_STOPPED: &str = "-- store::gauges::refunds_stopped
select account, 1::bigint from rekon.account_controls where account = any($1) and refunds_stopped is not null";

const REFUND_BREAKER: &str = "-- store::gauges::refund_breaker
select account, 1::bigint from rekon.account_controls where account = any($1) and breaker_opened_at is not null";

const SWITCH_LOWERED: &str = "-- store::gauges::switch_lowered
select a, 4 - rekon.rung(rekon.ceiling(a))::bigint from unnest($1::text[]) as a";

const BREAKER_OPEN: &str = "-- store::gauges::breaker_open
select account, 1::bigint from rekon.breakers where account = any($1) and opened_at is not null";

const ACCOUNT_PAUSED: &str = "-- store::gauges::account_paused
select a, 1::bigint from unnest($1::text[]) as a where rekon.is_paused(a)";

const WEBHOOKS_OLDEST: &str = "-- store::gauges::webhooks_oldest
select e, coalesce(greatest((extract(epoch from now() - oldest.created_at) * 1000)::bigint, 0), 0)
  from unnest($1::text[]) as e left join lateral
       (select created_at from rekon.webhooks where endpoint = e and state = 'pending' order by created_at limit 1) as oldest on true";

const WEBHOOKS_DEAD: &str = "-- store::gauges::webhooks_dead
select endpoint, count(*) from rekon.webhooks where state = 'dead' and endpoint = any($1) group by endpoint";

const WEBHOOK_DISABLED: &str = "-- store::gauges::webhook_disabled
select endpoint, 1::bigint from rekon.webhook_endpoints where endpoint = any($1) and disabled_at is not null";

// A reconciliation of everything has done its work once each of its rows was asked: fresh payments always have a further look to come.
const RUN_LAST_SUCCESS: &str = "-- store::gauges::run_last_success
select job, extract(epoch from max(finished_at))::bigint from rekon.runs
 where job = any($1) and finished_at is not null
   and case when job <> 'reconcile' then state = 'done'
            else params @> jsonb_build_object('unsettled', true, 'accounts', to_jsonb($2::text[]))
             and (state = 'done' or state = 'incomplete' and (report->>'asked')::bigint >= (report->>'must_ask')::bigint) end
 group by job";

const INVARIANTS: &str = "-- store::gauges::invariants
select invariant, count(*) from rekon.violations group by invariant";

const SENTINEL_PASSED: &str = "-- store::gauges::sentinel_passed
select coalesce(extract(epoch from passed_at)::bigint, 0) from rekon.sentinel";

const SENTINEL_ROTATED: &str = "-- store::gauges::sentinel_rotated
select coalesce(extract(epoch from rotated_at)::bigint, 0) from rekon.sentinel";

impl Store {
    /// Reads every database gauge in one snapshot.
    ///
    /// # Errors
    /// The database cannot be reached, or a statement took longer than [`STATEMENT_MAX`].
    pub async fn gauges(&self, scope: &GaugeScope) -> Result<Vec<Gauge>, StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query(SNAPSHOT).execute(&mut *tx).await?;
        sqlx::query(BOUNDS).bind(STATEMENT_MAX.as_millis().to_string()).execute(&mut *tx).await?;
        let mut gauges = Vec::with_capacity(STATEMENTS.len());
        for statement in STATEMENTS {
            gauges.push(read(&mut tx, statement, scope).await?);
        }
        tx.commit().await?;
        Ok(gauges)
    }
}

async fn read(tx: &mut Tx, statement: &Statement, scope: &GaugeScope) -> Result<Gauge, StoreError> {
    let query = sqlx::query(statement.sql);
    let query = match statement.given {
        Given::Accounts => query.bind(&scope.accounts),
        Given::AccountsAndRest => query.bind(&scope.accounts).bind(UNCONFIGURED),
        Given::Flags => query.bind(&scope.accounts).bind(UNCONFIGURED).bind(&scope.flags).bind(UNFLAGGED),
        Given::Endpoints => query.bind(&scope.endpoints),
        Given::Jobs => query.bind(c::JOBS).bind(&scope.accounts),
        Given::Nothing => query,
    };
    let width = statement.metric.labels.len();
    let mut readings = Vec::new();
    for row in query.fetch_all(&mut **tx).await? {
        let labels = (0..width).map(|column| row.try_get(column)).collect::<Result<Vec<String>, _>>()?;
        readings.push(Reading { labels, value: (statement.unit)(row.try_get(width)?) });
    }
    Ok(Gauge { metric: statement.metric, readings })
}

//! The figures of one run's rows, all of one moment: a repeatable-read snapshot that sees no later change, so that sums of
//! the rows, of the ledger and of the refunds can be held against one another to the sen. Money covers payments only
//! (`direction` in); payouts are counted apart.
//!
//! The rows themselves, page by page in the same snapshot, are in `rows`; those that wait for a person in `waiting`.
//! Deliberately absent: what the figures mean, and any lock.

mod rows;
mod waiting;

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{Row, postgres::PgRow};

use crate::{
    domain::{
        chain::Heads,
        money::Sen,
        refund::RefundState,
        state::{Flag, State},
    },
    store::{Store, StoreError, Tx, cases::sen, error::inconsistent, now_in},
};

pub use rows::DayRow;
pub use waiting::{Entry, OpenRefund, Waiting, WaitingRow};

/// No statement of a snapshot runs longer: sums over a million rows take longer than what serves a payment may.
const STATEMENT_MAX: Duration = Duration::from_mins(10);
/// Chains read at once.
const PAGE: i64 = 20_000;

/// Payments of one account in one state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateSum {
    /// The account.
    pub account: String,
    /// The state.
    pub state: State,
    /// Rows.
    pub rows: i64,
    /// Σ expected.
    pub expected: Sen,
    /// Σ paid, gross.
    pub paid: Sen,
    /// Σ returned by us, confirmed.
    pub refunded: Sen,
    /// Σ returned outside of us.
    pub outside: Sen,
    /// Σ not settled, as the rows' own columns say it where they can; see [`DaySnapshot::figures`].
    pub suspense: Sen,
}

/// Payouts of one account in one state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayoutSum {
    /// The account.
    pub account: String,
    /// The state.
    pub state: State,
    /// Rows.
    pub rows: i64,
    /// Σ expected.
    pub expected: Sen,
}

/// Payments that carry one flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlagSum {
    /// The flag.
    pub flag: Flag,
    /// Rows where it is open.
    pub open: i64,
    /// Rows where it is resolved and stays listed.
    pub resolved: i64,
    /// The balance of `suspense:<flag>`.
    pub at_risk: Sen,
}

/// Refunds in one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefundSum {
    /// The state.
    pub state: RefundState,
    /// Refunds.
    pub refunds: i64,
    /// Σ amount.
    pub amount: Sen,
}

/// Balances of the ledger, each positive on its usual side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LedgerSum {
    /// `provider_clearing` and `bank`, debit minus credit.
    pub provider_clearing: Sen,
    /// Credit minus debit.
    pub merchant_payable: Sen,
    /// Every `suspense:…`, credit minus debit.
    pub suspense: Sen,
    /// Credit minus debit.
    pub refund_in_flight: Sen,
}

/// What happened to the rows since the run began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Doings {
    /// Facts recorded for queries that left since then, with the equal answers after them.
    pub new_facts: i64,
    /// Older facts whose answer was seen again since then. How often is not kept, so each counts as one call.
    pub seen_again: i64,
    /// Refund calls that left since then.
    pub refund_calls: i64,
    /// Refunds confirmed since then.
    pub refunds_confirmed: i64,
}

/// Where the figures come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// Journal entries of the rows.
    pub entries: i64,
    /// Rows that have any.
    pub chains: i64,
    /// SHA-256 over (row id, last hash) of each chain by row id, hex.
    pub head: String,
    /// The content of the newest journal entry of each account, by account.
    pub last_entries: Vec<(String, String)>,
}

/// Everything of a run's rows but the rows.
#[derive(Debug, Clone)]
pub struct DayFigures {
    /// Payments by account and state.
    pub totals: Vec<StateSum>,
    /// Payouts by account and state.
    pub payouts: Vec<PayoutSum>,
    /// Payments by flag.
    pub flags: Vec<FlagSum>,
    /// Refunds of payments by state.
    pub refunds: Vec<RefundSum>,
    /// The ledger.
    pub ledger: LedgerSum,
    /// What happened since the run began.
    pub doings: Doings,
    /// Where it comes from.
    pub origin: Origin,
}

const LIMIT: &str = "-- store::day::limit
select set_config('statement_timeout', $1, true)";

// Suspense: what was paid, less all that went back or is reserved, of rows whose money waits. Rows that rest may hold an
// excess that only the ledger knows apart, and a row that nobody can ask about keeps its money where it was. Lateral, by the
// key: nobody has counted the rows of a run that just began, and a join of two sums planned for one row would be quadratic.
const TOTALS: &str = "-- store::day::totals
select t.account, t.state, count(*) as n, (sum(t.amount) * 100)::bigint as expected, (sum(coalesce(t.paid_amount, 0)) * 100)::bigint as paid,
       (sum(t.refunded_amount) * 100)::bigint as refunded, (sum(t.refunded_outside) * 100)::bigint as outside,
       (sum(case when t.state in ('paid', 'refunded', 'partly_refunded') or t.flags_open && array['unknown_account', 'missing_reference']
                 then coalesce(b.rupiah, 0)
                 else coalesce(t.paid_amount, 0) - t.refunded_amount - t.refunded_outside - t.refund_reserved end) * 100)::bigint as suspense
  from rekon.run_items i join rekon.transactions t on t.id = i.transaction_id
  left join lateral (select sum(p.credit - p.debit) as rupiah from rekon.postings p where p.transaction_id = t.id and p.account like 'suspense:%') b on true
 where i.run_id = $1 and t.direction = 'in' group by t.account, t.state order by t.account, t.state";

const PAYOUTS: &str = "-- store::day::payouts
select t.account, t.state, count(*) as n, (sum(t.amount) * 100)::bigint as expected
  from rekon.run_items i join rekon.transactions t on t.id = i.transaction_id
 where i.run_id = $1 and t.direction = 'out' group by t.account, t.state order by t.account, t.state";

const FLAGS: &str = "-- store::day::flags
with mine as (
  select t.id, t.flags, t.flags_open from rekon.run_items i join rekon.transactions t on t.id = i.transaction_id
   where i.run_id = $1 and t.direction = 'in')
select flag, sum(open)::bigint as open, sum(resolved)::bigint as resolved, (sum(rupiah) * 100)::bigint as at_risk
  from (select f as flag, 1 as open, 0 as resolved, 0 as rupiah from mine, unnest(flags_open) as f
        union all
        select f, 0, 1, 0 from mine, unnest(flags) as f where f <> all(flags_open)
        union all
        select substr(p.account, length('suspense:') + 1), 0, 0, p.credit - p.debit from mine join rekon.postings p on p.transaction_id = mine.id
         where p.account like 'suspense:%') as listed
 group by flag order by flag";

const REFUNDS: &str = "-- store::day::refunds
select r.state, count(*) as n, (sum(r.amount) * 100)::bigint as amount
  from rekon.run_items i join rekon.transactions t on t.id = i.transaction_id join rekon.refund_saga r on r.transaction_id = t.id
 where i.run_id = $1 and t.direction = 'in' group by r.state order by r.state";

const LEDGER: &str = "-- store::day::ledger
select (coalesce(sum(p.debit - p.credit) filter (where p.account in ('provider_clearing', 'bank')), 0) * 100)::bigint as clearing,
       (coalesce(sum(p.credit - p.debit) filter (where p.account = 'merchant_payable'), 0) * 100)::bigint as payable,
       (coalesce(sum(p.credit - p.debit) filter (where p.account like 'suspense:%'), 0) * 100)::bigint as suspense,
       (coalesce(sum(p.credit - p.debit) filter (where p.account = 'refund_in_flight'), 0) * 100)::bigint as in_flight
  from rekon.run_items i join rekon.transactions t on t.id = i.transaction_id join rekon.postings p on p.transaction_id = t.id
 where i.run_id = $1 and t.direction = 'in'";

// A query that never left, for want of a token or of a part of it, is a fact and no call.
const CALLS: &str = "-- store::day::calls
select coalesce(sum(coalesce(s.n, 1)) filter (where f.sent_at >= $2), 0)::bigint as new_facts,
       count(*) filter (where f.sent_at < $2 and s.last_sent_at >= $2) as seen_again
  from rekon.run_items i join rekon.facts f using (transaction_id) left join rekon.sightings s using (transaction_id, seq)
 where i.run_id = $1 and f.source = 'query' and coalesce(f.doubt, '') not in ('no_token', 'unbuildable')";

const REFUND_DOINGS: &str = "-- store::day::refund_doings
select coalesce(sum((select count(*) from rekon.refund_attempts a where a.refund_id = r.id and a.sent_at >= $2)), 0)::bigint as calls,
       count(*) filter (where r.state = 'confirmed' and r.ended_at >= $2) as confirmed
  from rekon.run_items i join rekon.refund_saga r using (transaction_id) where i.run_id = $1";

const CHAINS: &str = "-- store::day::chains
select t.id, t.journal_no, t.journal_hash
  from rekon.run_items i join rekon.transactions t on t.id = i.transaction_id
 where i.run_id = $1 and i.transaction_id > $2 and t.journal_no > 0 order by i.transaction_id limit $3";

// The newest entry is found by its short columns first: the contents of a whole day need not be sorted.
const LAST_ENTRIES: &str = "-- store::day::last_entries
select newest.account, j.content
  from (select distinct on (t.account) t.account, t.id, t.journal_no
          from rekon.run_items i join rekon.transactions t on t.id = i.transaction_id
          join rekon.journal l on l.transaction_id = t.id and l.entry_no = t.journal_no
         where i.run_id = $1 order by t.account, l.at desc, t.id desc) as newest
  join rekon.journal j on j.transaction_id = newest.id and j.entry_no = newest.journal_no
 order by newest.account";

/// A run's rows as of one moment. Dropping it ends the moment.
pub struct DaySnapshot {
    tx: Tx,
    run_id: i64,
    at: DateTime<Utc>,
}

impl Store {
    /// Opens a moment for the rows of a run. It holds one connection until it is dropped.
    pub async fn day(&self, run_id: i64) -> Result<DaySnapshot, StoreError> {
        let mut tx = self.begin_reading().await?;
        sqlx::query(LIMIT).bind(STATEMENT_MAX.as_millis().to_string()).execute(&mut *tx).await?;
        let at = now_in(&mut tx).await?;
        Ok(DaySnapshot { tx, run_id, at })
    }
}

impl DaySnapshot {
    /// Database time of the moment.
    pub const fn at(&self) -> DateTime<Utc> {
        self.at
    }

    /// The figures; doings are counted from `since` on (database time).
    ///
    /// Σ suspense of [`StateSum`] comes from the rows' amounts and not from the postings wherever the row alone says it, so
    /// that comparing it with [`LedgerSum::suspense`] can fail: two sums over the same lines would always agree.
    ///
    /// # Errors
    /// [`StoreError::Inconsistent`] for a word that no column may hold.
    pub async fn figures(&mut self, since: DateTime<Utc>) -> Result<DayFigures, StoreError> {
        let totals = self.by_run(TOTALS).await?.iter().map(state_sum).collect::<Result<_, _>>()?;
        let payouts = self.by_run(PAYOUTS).await?.iter().map(payout_sum).collect::<Result<_, _>>()?;
        let flags = self.by_run(FLAGS).await?.iter().map(flag_sum).collect::<Result<_, _>>()?;
        let refunds = self.by_run(REFUNDS).await?.iter().map(refund_sum).collect::<Result<_, _>>()?;
        let ledger = sqlx::query(LEDGER).bind(self.run_id).fetch_one(&mut *self.tx).await?;
        let ledger = LedgerSum {
            provider_clearing: sen(&ledger, "clearing")?,
            merchant_payable: sen(&ledger, "payable")?,
            suspense: sen(&ledger, "suspense")?,
            refund_in_flight: sen(&ledger, "in_flight")?,
        };
        let (doings, origin) = (self.doings(since).await?, self.origin().await?);
        Ok(DayFigures { totals, payouts, flags, refunds, ledger, doings, origin })
    }

    async fn doings(&mut self, since: DateTime<Utc>) -> Result<Doings, StoreError> {
        let calls = sqlx::query(CALLS).bind(self.run_id).bind(since).fetch_one(&mut *self.tx).await?;
        let refunds = sqlx::query(REFUND_DOINGS).bind(self.run_id).bind(since).fetch_one(&mut *self.tx).await?;
        Ok(Doings {
            new_facts: calls.try_get("new_facts")?,
            seen_again: calls.try_get("seen_again")?,
            refund_calls: refunds.try_get("calls")?,
            refunds_confirmed: refunds.try_get("confirmed")?,
        })
    }

    async fn origin(&mut self) -> Result<Origin, StoreError> {
        let (mut heads, mut entries, mut behind) = (Heads::new(), 0_i64, 0);
        loop {
            let page: Vec<(i64, i32, Vec<u8>)> =
                sqlx::query_as(CHAINS).bind(self.run_id).bind(behind).bind(PAGE).fetch_all(&mut *self.tx).await?;
            let Some(last) = page.last() else { break };
            behind = last.0;
            for (id, journal_no, hash) in &page {
                heads.add(*id, hash);
                entries = entries.saturating_add(i64::from(*journal_no));
            }
        }
        let (chains, head) = heads.finish();
        let last = self.by_run(LAST_ENTRIES).await?;
        Ok(Origin {
            entries,
            chains,
            head: hex::encode(head),
            last_entries: last
                .iter()
                .map(|row| Ok((row.try_get("account")?, row.try_get("content")?)))
                .collect::<Result<_, StoreError>>()?,
        })
    }

    async fn by_run(&mut self, statement: &'static str) -> Result<Vec<PgRow>, StoreError> {
        Ok(sqlx::query(statement).bind(self.run_id).fetch_all(&mut *self.tx).await?)
    }
}

fn state_sum(row: &PgRow) -> Result<StateSum, StoreError> {
    Ok(StateSum {
        account: row.try_get("account")?,
        state: state(row)?,
        rows: row.try_get("n")?,
        expected: sen(row, "expected")?,
        paid: sen(row, "paid")?,
        refunded: sen(row, "refunded")?,
        outside: sen(row, "outside")?,
        suspense: sen(row, "suspense")?,
    })
}

fn payout_sum(row: &PgRow) -> Result<PayoutSum, StoreError> {
    let (account, rows) = (row.try_get("account")?, row.try_get("n")?);
    Ok(PayoutSum { account, state: state(row)?, rows, expected: sen(row, "expected")? })
}

fn flag_sum(row: &PgRow) -> Result<FlagSum, StoreError> {
    let word: String = row.try_get("flag")?;
    Ok(FlagSum {
        flag: Flag::from_word(&word).ok_or_else(|| inconsistent("transactions", "flags", &word))?,
        open: row.try_get("open")?,
        resolved: row.try_get("resolved")?,
        at_risk: sen(row, "at_risk")?,
    })
}

fn refund_sum(row: &PgRow) -> Result<RefundSum, StoreError> {
    let (state, refunds) = (refund_state(row)?, row.try_get("n")?);
    Ok(RefundSum { state, refunds, amount: sen(row, "amount")? })
}

fn state(row: &PgRow) -> Result<State, StoreError> {
    let word: String = row.try_get("state")?;
    State::from_word(&word).ok_or_else(|| inconsistent("transactions", "state", &word))
}

fn refund_state(row: &PgRow) -> Result<RefundState, StoreError> {
    let word: String = row.try_get("state")?;
    RefundState::from_word(&word).ok_or_else(|| inconsistent("refund_saga", "state", &word))
}

fn flags(row: &PgRow, column: &'static str) -> Result<Vec<Flag>, StoreError> {
    let words: Vec<String> = row.try_get(column)?;
    words.iter().map(|word| Flag::from_word(word).ok_or_else(|| inconsistent("transactions", column, word))).collect()
}

//! The rows of a snapshot that wait for a person: held or in review, a refund that is owed and blocked, or a proposal that
//! nobody has approved. With each its journal, because it alone says since when and by which rule.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{Row, postgres::PgRow};

use super::{DaySnapshot, flags, refund_state, state};
use crate::{
    domain::{
        money::Sen,
        refund::RefundState,
        state::{Flag, State},
    },
    store::{
        StoreError,
        cases::{sen, sen_opt},
    },
};

/// A row that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingRow {
    /// Row id.
    pub id: i64,
    /// The account.
    pub account: String,
    /// Our reference.
    pub partner_reference_no: String,
    /// The provider's reference.
    pub reference_no: Option<String>,
    /// The state.
    pub state: State,
    /// The open flags.
    pub flags_open: Vec<Flag>,
    /// Expected.
    pub amount: Sen,
    /// Paid; none while unknown.
    pub paid_amount: Option<Sen>,
    /// Returned by us.
    pub refunded_amount: Sen,
    /// Standing in suspense.
    pub at_risk: Sen,
    /// When the merchant made it.
    pub created_at: DateTime<Utc>,
    /// The refund that a person is asked about: a proposal, else the last one that is not confirmed.
    pub refund: Option<OpenRefund>,
    /// Its journal, oldest first.
    pub journal: Vec<Entry>,
}

/// A refund that is not confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRefund {
    /// Its id.
    pub id: i64,
    /// Where the saga stands.
    pub state: RefundState,
    /// How much.
    pub amount: Sen,
    /// Why it was refused, denied, expired or is blocked.
    pub reason: Option<String>,
}

/// A decision as it was written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When it was decided.
    pub at: DateTime<Utc>,
    /// The state decided.
    pub state: String,
    /// Canonical JSON, as it was hashed.
    pub content: String,
}

/// Rows that wait, and how many there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many wait, listed or not.
    pub count: i64,
    /// Those with the most money at stake.
    pub rows: Vec<WaitingRow>,
}

// Most money first: what stands in suspense or is of unknown fate; of a payout, its amount.
const WAITING: &str = "-- store::day::waiting::most_urgent
with waiting as (
  select t.id from rekon.run_items i join rekon.transactions t on t.id = i.transaction_id
   where i.run_id = $1 and (t.state in ('held', 'review') or 'refund_blocked' = any(t.flags_open))
  union
  select r.transaction_id from rekon.run_items i join rekon.refund_saga r using (transaction_id) where i.run_id = $1 and r.state = 'proposed')
select t.id, t.account, t.partner_reference_no, t.reference_no, t.state, t.flags_open, (t.amount * 100)::bigint as amount,
       (t.paid_amount * 100)::bigint as paid_amount, (t.refunded_amount * 100)::bigint as refunded_amount,
       (coalesce(b.rupiah, 0) * 100)::bigint as at_risk, t.created_at, count(*) over () as n
  from waiting w join rekon.transactions t on t.id = w.id
  left join lateral (select sum(p.credit - p.debit) as rupiah from rekon.postings p where p.transaction_id = t.id and p.account like 'suspense:%') b on true
 order by case t.direction when 'out' then t.amount else coalesce(b.rupiah, 0) + t.refund_reserved end desc, t.created_at, t.id limit $2";

const REFUNDS: &str = "-- store::day::waiting::refunds
select distinct on (transaction_id) transaction_id, id, state, (amount * 100)::bigint as amount, reason
  from rekon.refund_saga where transaction_id = any($1) and state <> 'confirmed'
 order by transaction_id, state = 'proposed' desc, id desc";

const JOURNAL: &str = "-- store::day::waiting::journal
select transaction_id, at, state, content from rekon.journal where transaction_id = any($1) order by transaction_id, entry_no";

impl DaySnapshot {
    /// The rows that wait for a person, payouts too, the most money first, at most `limit`.
    pub async fn waiting(&mut self, limit: i64) -> Result<Waiting, StoreError> {
        let found = sqlx::query(WAITING).bind(self.run_id).bind(limit).fetch_all(&mut *self.tx).await?;
        let Some(first) = found.first() else { return Ok(Waiting::default()) };
        let count = first.try_get("n")?;
        let mut rows = found.iter().map(waiting_row).collect::<Result<Vec<_>, _>>()?;
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        let mut refunds: HashMap<i64, OpenRefund> = HashMap::new();
        for row in sqlx::query(REFUNDS).bind(&ids).fetch_all(&mut *self.tx).await? {
            let refund = OpenRefund {
                id: row.try_get("id")?,
                state: refund_state(&row)?,
                amount: sen(&row, "amount")?,
                reason: row.try_get("reason")?,
            };
            refunds.insert(row.try_get("transaction_id")?, refund);
        }
        let mut journals: HashMap<i64, Vec<Entry>> = HashMap::new();
        for row in sqlx::query(JOURNAL).bind(&ids).fetch_all(&mut *self.tx).await? {
            let entry =
                Entry { at: row.try_get("at")?, state: row.try_get("state")?, content: row.try_get("content")? };
            journals.entry(row.try_get("transaction_id")?).or_default().push(entry);
        }
        for row in &mut rows {
            row.refund = refunds.remove(&row.id);
            row.journal = journals.remove(&row.id).unwrap_or_default();
        }
        Ok(Waiting { count, rows })
    }
}

fn waiting_row(row: &PgRow) -> Result<WaitingRow, StoreError> {
    Ok(WaitingRow {
        id: row.try_get("id")?,
        account: row.try_get("account")?,
        partner_reference_no: row.try_get("partner_reference_no")?,
        reference_no: row.try_get("reference_no")?,
        state: state(row)?,
        flags_open: flags(row, "flags_open")?,
        amount: sen(row, "amount")?,
        paid_amount: sen_opt(row, "paid_amount")?,
        refunded_amount: sen(row, "refunded_amount")?,
        at_risk: sen(row, "at_risk")?,
        created_at: row.try_get("created_at")?,
        refund: None,
        journal: Vec::new(),
    })
}

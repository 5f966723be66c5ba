//! What people look at: rows and refunds, one by one and in lists. Plain reads without a lock; nothing here is
//! the base of a decision. The evidence behind one row is in `evidence`, the sums of
//! one screen in `overview`.

pub mod evidence;
pub mod overview;
pub mod runs;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{Row, postgres::PgRow};

use crate::{
    domain::{
        day::BusinessDay,
        money::Sen,
        order::{Direction, OrderStatus},
        refund::{Channel, RefundState},
        state::State,
    },
    store::{
        Store, StoreError,
        cases::{sen, sen_opt},
        error::inconsistent,
    },
};

pub(crate) use crate::domain::money::{as_rupiah, as_rupiah_opt};

/// A row of `rekon.transactions` as its reader sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TransactionRow {
    /// Row id: the cursor of lists.
    pub id: i64,
    /// The account.
    pub account: String,
    /// Our reference.
    pub partner_reference_no: String,
    /// The provider's reference.
    pub reference_no: Option<String>,
    /// The X-EXTERNAL-ID of the original request.
    pub external_id: Option<String>,
    /// In or out.
    pub direction: Direction,
    /// Expected.
    #[serde(serialize_with = "as_rupiah")]
    pub amount: Sen,
    /// Expected currency.
    pub currency: String,
    /// The merchant's order.
    pub order_status: OrderStatus,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// End of validity; `None`: the profile's default.
    pub expires_at: Option<DateTime<Utc>>,
    /// Ledger state.
    pub state: State,
    /// Open flags and resolved mismatches, sorted.
    pub flags: Vec<String>,
    /// The open ones, sorted.
    pub flags_open: Vec<String>,
    /// Gross; `None` until PAID.
    #[serde(serialize_with = "as_rupiah_opt")]
    pub paid_amount: Option<Sen>,
    /// The provider's fee.
    #[serde(serialize_with = "as_rupiah_opt")]
    pub fee_amount: Option<Sen>,
    /// Returned by us and confirmed.
    #[serde(serialize_with = "as_rupiah")]
    pub refunded_amount: Sen,
    /// Returned by others.
    #[serde(serialize_with = "as_rupiah")]
    pub refunded_outside: Sen,
    /// Reserved, under way or of unknown fate.
    #[serde(serialize_with = "as_rupiah")]
    pub refund_reserved: Sen,
    /// Paid when.
    pub paid_at: Option<DateTime<Utc>>,
    /// Queries sent.
    pub checks: i32,
    /// When the last answer was recorded.
    pub last_checked_at: Option<DateTime<Utc>>,
    /// When it is asked again.
    pub next_check_at: Option<DateTime<Utc>>,
}

/// Which rows a list shows.
#[derive(Debug, Clone, Default)]
pub struct TransactionFilter {
    /// In this state.
    pub state: Option<State>,
    /// With this flag listed, open or resolved.
    pub flag: Option<String>,
    /// Of this account.
    pub account: Option<String>,
    /// Created or paid on this WIB day.
    pub day: Option<BusinessDay>,
    /// Created at this time or later.
    pub created_from: Option<DateTime<Utc>>,
    /// Created before this time.
    pub created_to: Option<DateTime<Utc>>,
    /// With this reference of ours.
    pub partner_reference_no: Option<String>,
    /// Held, in review, or with an open flag.
    pub exceptions_only: bool,
    /// Behind this row of the list.
    pub after: Option<i64>,
    /// At most so many.
    pub limit: i64,
}

const COLUMNS_FOUND: &str = "-- store::reads::find
select id, account, partner_reference_no, reference_no, external_id, direction, (amount * 100)::bigint as amount, currency, order_status, created_at,
       expires_at, state, flags, flags_open, (paid_amount * 100)::bigint as paid_amount, (fee_amount * 100)::bigint as fee_amount,
       (refunded_amount * 100)::bigint as refunded_amount, (refunded_outside * 100)::bigint as refunded_outside,
       (refund_reserved * 100)::bigint as refund_reserved, paid_at, checks, last_checked_at, next_check_at
  from rekon.transactions where partner_reference_no = $1 and ($2::text is null or account = $2) order by account";

// Newest first; the cursor is the id of the last row seen.
const COLUMNS_LISTED: &str = "-- store::reads::list
select id, account, partner_reference_no, reference_no, external_id, direction, (amount * 100)::bigint as amount, currency, order_status, created_at,
       expires_at, state, flags, flags_open, (paid_amount * 100)::bigint as paid_amount, (fee_amount * 100)::bigint as fee_amount,
       (refunded_amount * 100)::bigint as refunded_amount, (refunded_outside * 100)::bigint as refunded_outside,
       (refund_reserved * 100)::bigint as refund_reserved, paid_at, checks, last_checked_at, next_check_at
  from rekon.transactions
 where ($1::text is null or state = $1) and ($2::text is null or $2 = any(flags)) and ($3::text is null or account = $3)
   and ($4::timestamptz is null or (created_at >= $4 and created_at < $5) or (paid_at >= $4 and paid_at < $5))
   and (not $6 or state in ('held', 'review') or flags_open <> '{}') and ($7::bigint is null or id < $7)
   and ($9::timestamptz is null or created_at >= $9) and ($10::timestamptz is null or created_at < $10)
   and ($11::text is null or partner_reference_no = $11)
 order by id desc limit $8";

/// A refund as its reader sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefundRow {
    /// The refund's id.
    pub refund_id: i64,
    /// The account.
    pub account: String,
    /// Whose money it is.
    pub partner_reference_no: String,
    /// Why money is owed.
    pub cause: String,
    /// How much.
    #[serde(serialize_with = "as_rupiah")]
    pub amount: Sen,
    /// Where the saga stands.
    pub state: RefundState,
    /// Our number of it at the provider.
    pub partner_refund_no: Option<String>,
    /// The provider's number of it.
    pub refund_no: Option<String>,
    /// How a confirmation is known.
    pub proof: Option<String>,
    /// Why it was refused, denied, expired or is blocked.
    pub reason: Option<String>,
    /// Who proposed it.
    pub proposed_by: String,
    /// Who approved it.
    pub approved_by: Option<String>,
    /// Attempts so far.
    pub attempts: i32,
    /// When it was proposed.
    pub proposed_at: DateTime<Utc>,
    /// When it was approved.
    pub approved_at: Option<DateTime<Utc>>,
    /// When its number was minted.
    pub reserved_at: Option<DateTime<Utc>>,
    /// When the last attempt left.
    pub last_sent_at: Option<DateTime<Utc>>,
    /// When the saga ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// By API, or by hand.
    pub channel: Channel,
    /// It may not go now; `reason` says why.
    pub blocked: bool,
    /// The same number goes again no earlier.
    pub put_off_until: Option<DateTime<Utc>>,
    /// The provider takes it no longer than this.
    pub window_ends_at: Option<DateTime<Utc>>,
    /// Another order that the money may belong to.
    pub candidate_reference_no: Option<String>,
    /// What speaks for that order.
    pub candidate_why: Option<String>,
    /// The bank's reference of a transfer by hand.
    pub bank_reference: Option<String>,
    /// Who made that transfer.
    pub transferred_by: Option<String>,
    /// What the proposing person said.
    pub why: Option<String>,
    /// Who denied it.
    pub denied_by: Option<String>,
}

const REFUNDS: &str = "-- store::reads::refunds
select refund_id, account, partner_reference_no, cause, (amount * 100)::bigint as amount, state, partner_refund_no, refund_no, proof, reason,
       proposed_by, approved_by, attempts, proposed_at, approved_at, reserved_at, last_sent_at, ended_at,
       channel, blocked, put_off_until, window_ends_at, candidate_why, candidate_reference_no, bank_reference, transferred_by,
       why, denied_by
  from rekon.refunds
 where ($1::text is null or state = $1) and ($2::text is null or account = $2) and ($3::bigint is null or refund_id < $3)
   and ($5::text is null or channel = $5)
 order by refund_id desc limit $4";

const REFUND: &str = "-- store::reads::refund
select refund_id, account, partner_reference_no, cause, (amount * 100)::bigint as amount, state, partner_refund_no, refund_no, proof, reason,
       proposed_by, approved_by, attempts, proposed_at, approved_at, reserved_at, last_sent_at, ended_at,
       channel, blocked, put_off_until, window_ends_at, candidate_why, candidate_reference_no, bank_reference, transferred_by,
       why, denied_by
  from rekon.refunds where partner_refund_no = $1 or refund_id = $2 order by refund_id";

const REFUNDS_OF: &str = "-- store::reads::refunds_of
select r.id as refund_id, t.account, t.partner_reference_no, r.cause, (r.amount * 100)::bigint as amount, r.state, r.partner_refund_no, r.refund_no,
       r.proof, r.reason, r.proposed_by, r.approved_by, r.attempts, r.proposed_at, r.approved_at, r.reserved_at, r.last_sent_at, r.ended_at,
       r.channel, r.blocked, r.put_off_until, r.window_ends_at, r.candidate_why, c.partner_reference_no as candidate_reference_no, r.bank_reference,
       r.transferred_by, r.why, r.denied_by
  from rekon.refund_saga r join rekon.transactions t on t.id = r.transaction_id left join rekon.transactions c on c.id = r.candidate_id
 where r.transaction_id = $1 order by r.id";

/// Which refunds a list shows.
#[derive(Debug, Clone, Default)]
pub struct RefundFilter {
    /// In this state.
    pub state: Option<RefundState>,
    /// Of this account.
    pub account: Option<String>,
    /// Going this way.
    pub channel: Option<Channel>,
    /// Behind this refund of the list.
    pub after: Option<i64>,
    /// At most so many.
    pub limit: i64,
}

const SCHEMA_VERSION: &str = "-- store::reads::schema_version
select coalesce(max(version), 0) from rekon._migrations where success";

impl Store {
    /// The version of the schema in the database.
    pub async fn schema_version(&self) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar(SCHEMA_VERSION).fetch_one(self.pool()).await?)
    }

    /// The rows with this reference of ours, on all accounts or one, by account.
    pub async fn find_transactions(
        &self,
        partner_reference_no: &str,
        account: Option<&str>,
    ) -> Result<Vec<TransactionRow>, StoreError> {
        let rows = sqlx::query(COLUMNS_FOUND).bind(partner_reference_no).bind(account).fetch_all(self.pool()).await?;
        rows.iter().map(transaction).collect()
    }

    /// Rows that pass the filter, newest first.
    pub async fn list_transactions(&self, filter: &TransactionFilter) -> Result<Vec<TransactionRow>, StoreError> {
        let rows = sqlx::query(COLUMNS_LISTED)
            .bind(filter.state.map(State::as_str))
            .bind(filter.flag.as_deref())
            .bind(filter.account.as_deref())
            .bind(filter.day.map(BusinessDay::start))
            .bind(filter.day.map(BusinessDay::end))
            .bind(filter.exceptions_only)
            .bind(filter.after)
            .bind(filter.limit)
            .bind(filter.created_from)
            .bind(filter.created_to)
            .bind(filter.partner_reference_no.as_deref())
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(transaction).collect()
    }

    /// Refunds that pass the filter, newest first.
    pub async fn list_refunds(&self, filter: &RefundFilter) -> Result<Vec<RefundRow>, StoreError> {
        let rows = sqlx::query(REFUNDS)
            .bind(filter.state.map(RefundState::as_str))
            .bind(filter.account.as_deref())
            .bind(filter.after)
            .bind(filter.limit)
            .bind(filter.channel.map(Channel::as_str))
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(refund).collect()
    }

    /// The refund with this number, or this id; two where a number looks like another's id.
    pub async fn find_refunds(&self, partner_refund_no: &str, id: Option<i64>) -> Result<Vec<RefundRow>, StoreError> {
        let rows = sqlx::query(REFUND).bind(partner_refund_no).bind(id).fetch_all(self.pool()).await?;
        rows.iter().map(refund).collect()
    }

    /// A row's refunds, oldest first.
    pub async fn refunds_of(&self, transaction_id: i64) -> Result<Vec<RefundRow>, StoreError> {
        let rows = sqlx::query(REFUNDS_OF).bind(transaction_id).fetch_all(self.pool()).await?;
        rows.iter().map(refund).collect()
    }
}

pub(super) fn transaction(row: &PgRow) -> Result<TransactionRow, StoreError> {
    let direction: String = row.try_get("direction")?;
    let order_status: String = row.try_get("order_status")?;
    let state: String = row.try_get("state")?;
    Ok(TransactionRow {
        id: row.try_get("id")?,
        account: row.try_get("account")?,
        partner_reference_no: row.try_get("partner_reference_no")?,
        reference_no: row.try_get("reference_no")?,
        external_id: row.try_get("external_id")?,
        direction: Direction::from_word(&direction)
            .ok_or_else(|| inconsistent("transactions", "direction", &direction))?,
        amount: sen(row, "amount")?,
        currency: row.try_get("currency")?,
        order_status: OrderStatus::from_word(&order_status)
            .ok_or_else(|| inconsistent("transactions", "order_status", &order_status))?,
        created_at: row.try_get("created_at")?,
        expires_at: row.try_get("expires_at")?,
        state: State::from_word(&state).ok_or_else(|| inconsistent("transactions", "state", &state))?,
        flags: row.try_get("flags")?,
        flags_open: row.try_get("flags_open")?,
        paid_amount: sen_opt(row, "paid_amount")?,
        fee_amount: sen_opt(row, "fee_amount")?,
        refunded_amount: sen(row, "refunded_amount")?,
        refunded_outside: sen(row, "refunded_outside")?,
        refund_reserved: sen(row, "refund_reserved")?,
        paid_at: row.try_get("paid_at")?,
        checks: row.try_get("checks")?,
        last_checked_at: row.try_get("last_checked_at")?,
        next_check_at: row.try_get("next_check_at")?,
    })
}

fn refund(row: &PgRow) -> Result<RefundRow, StoreError> {
    let state: String = row.try_get("state")?;
    let channel: String = row.try_get("channel")?;
    Ok(RefundRow {
        refund_id: row.try_get("refund_id")?,
        account: row.try_get("account")?,
        partner_reference_no: row.try_get("partner_reference_no")?,
        cause: row.try_get("cause")?,
        amount: sen(row, "amount")?,
        state: RefundState::from_word(&state).ok_or_else(|| inconsistent("refund_saga", "state", &state))?,
        partner_refund_no: row.try_get("partner_refund_no")?,
        refund_no: row.try_get("refund_no")?,
        proof: row.try_get("proof")?,
        reason: row.try_get("reason")?,
        proposed_by: row.try_get("proposed_by")?,
        approved_by: row.try_get("approved_by")?,
        attempts: row.try_get("attempts")?,
        proposed_at: row.try_get("proposed_at")?,
        approved_at: row.try_get("approved_at")?,
        reserved_at: row.try_get("reserved_at")?,
        last_sent_at: row.try_get("last_sent_at")?,
        ended_at: row.try_get("ended_at")?,
        channel: Channel::from_word(&channel).ok_or_else(|| inconsistent("refund_saga", "channel", &channel))?,
        blocked: row.try_get("blocked")?,
        put_off_until: row.try_get("put_off_until")?,
        window_ends_at: row.try_get("window_ends_at")?,
        candidate_reference_no: row.try_get("candidate_reference_no")?,
        candidate_why: row.try_get("candidate_why")?,
        bank_reference: row.try_get("bank_reference")?,
        transferred_by: row.try_get("transferred_by")?,
        why: row.try_get("why")?,
        denied_by: row.try_get("denied_by")?,
    })
}

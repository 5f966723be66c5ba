//! The rows of a snapshot, page by page in the order in which the merchant wrote them: a page is all that is held, however
//! many rows a day has. Pages and not one long statement, so that a slow reader runs into no statement's limit.

use chrono::{DateTime, Utc};
use sqlx::{Row, postgres::PgRow};

use super::{DaySnapshot, flags, state};
use crate::{
    domain::{
        money::Sen,
        order::{Direction, OrderStatus},
        state::{Flag, State},
    },
    store::{
        StoreError,
        cases::{sen, sen_opt},
        error::inconsistent,
    },
};

/// Rows per page.
const PAGE: i64 = 2_000;

/// The columns of `rekon.transactions` that are a contract with its readers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the column of the same name")]
pub struct DayRow {
    pub id: i64,
    pub account: String,
    pub partner_reference_no: String,
    pub reference_no: Option<String>,
    pub external_id: Option<String>,
    pub direction: Direction,
    pub amount: Sen,
    pub currency: String,
    pub order_status: OrderStatus,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
    pub qr_content: Option<String>,
    pub state: State,
    pub flags: Vec<Flag>,
    pub paid_amount: Option<Sen>,
    pub fee_amount: Option<Sen>,
    pub refunded_amount: Sen,
    pub refunded_outside: Sen,
    pub paid_at: Option<DateTime<Utc>>,
    pub checks: i32,
    pub last_checked_at: Option<DateTime<Utc>>,
    pub next_check_at: Option<DateTime<Utc>>,
}

const ROWS_AFTER: &str = "-- store::day::rows::after
select t.id, t.account, t.partner_reference_no, t.reference_no, t.external_id, t.direction, (t.amount * 100)::bigint as amount, t.currency,
       t.order_status, t.created_at, t.expires_at, t.qr_content, t.state, t.flags, (t.paid_amount * 100)::bigint as paid_amount,
       (t.fee_amount * 100)::bigint as fee_amount, (t.refunded_amount * 100)::bigint as refunded_amount,
       (t.refunded_outside * 100)::bigint as refunded_outside, t.paid_at, t.checks, t.last_checked_at, t.next_check_at
  from rekon.run_items i join rekon.transactions t on t.id = i.transaction_id
 where i.run_id = $1 and i.transaction_id > $2 order by i.transaction_id limit $3";

impl DaySnapshot {
    /// The page of rows behind a row id; `0` begins, an empty page ends.
    pub async fn rows_after(&mut self, id: i64) -> Result<Vec<DayRow>, StoreError> {
        let rows = sqlx::query(ROWS_AFTER).bind(self.run_id).bind(id).bind(PAGE).fetch_all(&mut *self.tx).await?;
        rows.iter().map(day_row).collect()
    }
}

fn day_row(row: &PgRow) -> Result<DayRow, StoreError> {
    let direction: String = row.try_get("direction")?;
    let order_status: String = row.try_get("order_status")?;
    Ok(DayRow {
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
        qr_content: row.try_get("qr_content")?,
        state: state(row)?,
        flags: flags(row, "flags")?,
        paid_amount: sen_opt(row, "paid_amount")?,
        fee_amount: sen_opt(row, "fee_amount")?,
        refunded_amount: sen(row, "refunded_amount")?,
        refunded_outside: sen(row, "refunded_outside")?,
        paid_at: row.try_get("paid_at")?,
        checks: row.try_get("checks")?,
        last_checked_at: row.try_get("last_checked_at")?,
        next_check_at: row.try_get("next_check_at")?,
    })
}

//! The end of cancelled orders' QRs: one row per order, leased like everything that calls a provider. What an answer means is
//! not decided here.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::Row;

use crate::{
    domain::chain::Link,
    store::{Store, StoreError, Tx, error::inconsistent, limits::interval},
};

/// Where the end of a QR stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QrCancelState {
    /// Nothing has left yet.
    Due,
    /// A call is, or was, under way, and its answer is not known.
    Asking,
    /// The provider says it is done.
    Done,
    /// The provider says no.
    Refused,
    /// Nobody knows; the queries say what became of the payment.
    Unknown,
    /// It was not needed any more.
    Void,
}

impl QrCancelState {
    /// Every state.
    pub const ALL: [Self; 6] = [Self::Due, Self::Asking, Self::Done, Self::Refused, Self::Unknown, Self::Void];

    /// The word in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Asking => "asking",
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::Void => "void",
        }
    }

    fn is_end(self) -> bool {
        !matches!(self, Self::Due | Self::Asking)
    }
}

/// A leased end of a QR.
#[derive(Debug, Clone, Copy)]
pub struct LeasedCancel {
    /// The payment.
    pub transaction_id: i64,
    /// This lease's number.
    pub epoch: i64,
}

/// A row, as far as the next step wants it.
#[derive(Debug, Clone)]
pub struct QrCancel {
    /// Where it stands.
    pub state: QrCancelState,
    /// Calls without a readable answer.
    pub lost: i32,
    /// When the last call was begun.
    pub asked_at: Option<DateTime<Utc>>,
}

/// What one step leaves behind.
#[derive(Debug, Clone)]
pub struct QrCancelStep {
    /// Where it stands now.
    pub state: QrCancelState,
    /// One more call is begun with this step.
    pub begins: bool,
    /// The call got no readable answer.
    pub lost: bool,
    /// A sentence for people.
    pub reason: Option<String>,
    /// The seven digits.
    pub response_code: Option<String>,
    /// SHA-256 of the answer.
    pub raw_hash: Option<Link>,
    /// When it is looked at again; nothing at an end.
    pub next_at: Option<DateTime<Utc>>,
}

impl QrCancelStep {
    /// A step to `state` that says nothing else.
    pub fn to(state: QrCancelState, reason: &str) -> Self {
        Self {
            state,
            begins: false,
            lost: false,
            reason: Some(reason.to_owned()),
            response_code: None,
            raw_hash: None,
            next_at: None,
        }
    }
}

const MAKE: &str = "-- store::qr_cancels::make
insert into rekon.qr_cancels (transaction_id) select unnest($1::bigint[]) on conflict do nothing";

const CLAIM: &str = "-- store::qr_cancels::claim
with due as (
  select c.transaction_id from rekon.qr_cancels c join rekon.transactions t on t.id = c.transaction_id
   where c.next_at <= now() and t.account = $1 and (c.lease_until is null or c.lease_until < now())
   order by c.next_at limit 1 for update of c skip locked)
update rekon.qr_cancels c set lease_owner = $2, lease_until = now() + $3, lease_epoch = c.lease_epoch + 1
  from due where c.transaction_id = due.transaction_id
returning c.transaction_id, c.lease_epoch";

const READ: &str = "-- store::qr_cancels::read
select state, lost, asked_at from rekon.qr_cancels
 where transaction_id = $1 and lease_epoch = $2 and lease_until > clock_timestamp() for update";

const STEP: &str = "-- store::qr_cancels::step
update rekon.qr_cancels
   set state = $3, attempts = attempts + $4::integer, lost = lost + $5::integer, reason = $6, response_code = coalesce($7, response_code),
       raw_hash = coalesce($8, raw_hash), next_at = $9,
       asked_at = case when $4 > 0 then clock_timestamp() else asked_at end,
       ended_at = case when $10 then clock_timestamp() end,
       lease_owner = case when $4 > 0 then lease_owner end, lease_until = case when $4 > 0 then lease_until end
 where transaction_id = $1 and lease_epoch = $2";

/// Puts down that these orders' QRs are to be ended; one that stands already stays.
pub async fn make(tx: &mut Tx, transaction_ids: &[i64]) -> Result<(), StoreError> {
    if !transaction_ids.is_empty() {
        sqlx::query(MAKE).bind(transaction_ids).execute(&mut **tx).await?;
    }
    Ok(())
}

/// Locks and reads one that is still leased under this number.
pub async fn read(tx: &mut Tx, leased: LeasedCancel) -> Result<Option<QrCancel>, StoreError> {
    let row = sqlx::query(READ).bind(leased.transaction_id).bind(leased.epoch).fetch_optional(&mut **tx).await?;
    let Some(row) = row else { return Ok(None) };
    let word: String = row.try_get("state")?;
    let state = QrCancelState::ALL.into_iter().find(|s| s.as_str() == word);
    Ok(Some(QrCancel {
        state: state.ok_or_else(|| inconsistent("qr_cancels", "state", &word))?,
        lost: row.try_get("lost")?,
        asked_at: row.try_get("asked_at")?,
    }))
}

/// Writes a step and gives the lease back, unless a call begins with it.
pub async fn step(tx: &mut Tx, leased: LeasedCancel, step: &QrCancelStep) -> Result<(), StoreError> {
    sqlx::query(STEP)
        .bind(leased.transaction_id)
        .bind(leased.epoch)
        .bind(step.state.as_str())
        .bind(i32::from(step.begins))
        .bind(i32::from(step.lost))
        .bind(step.reason.as_deref())
        .bind(step.response_code.as_deref())
        .bind(step.raw_hash.as_ref().map(Link::as_slice))
        .bind(step.next_at)
        .bind(step.state.is_end())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

impl Store {
    /// Leases one that is due on an account.
    pub async fn claim_qr_cancel(
        &self,
        account: &str,
        owner: &str,
        lease: Duration,
    ) -> Result<Option<LeasedCancel>, StoreError> {
        let row =
            sqlx::query(CLAIM).bind(account).bind(owner).bind(interval(lease)).fetch_optional(self.pool()).await?;
        let leased = |row: sqlx::postgres::PgRow| {
            Ok(LeasedCancel { transaction_id: row.try_get("transaction_id")?, epoch: row.try_get("lease_epoch")? })
        };
        row.map(leased).transpose()
    }
}

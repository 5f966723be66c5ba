//! Writes the refund saga: refunds and their attempts, the row's reservation, the day's budget, the account's switches.
//! Every function works in a transaction that holds the payment's row locked.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::Row;

use crate::{
    domain::{chain::Link, money::Sen, refund::Refund, state::Flag, switch::Level},
    store::{
        Store, StoreError, Tx,
        cases::{self, sen},
    },
};

/// An attempt's end.
#[derive(Debug, Clone)]
pub struct AttemptEnd {
    /// The refund.
    pub refund_id: i64,
    /// Its attempt.
    pub attempt: i32,
    /// The class of the reply.
    pub outcome: String,
    /// The seven digits.
    pub response_code: Option<String>,
    /// SHA-256 of the body.
    pub raw_hash: Option<Link>,
}

/// The switches of an account, locked.
#[derive(Debug, Clone, Default)]
pub struct AccountControl {
    /// Why no refund leaves, if none does.
    pub refunds_stopped: Option<String>,
    /// How far switches and breaker let refunds go; nobody turns them until the transaction is over.
    pub ceiling: Level,
    /// A partial refund's echo was right once.
    pub partial_proven: bool,
    /// The one partial refund that may go before that.
    pub partial_canary: Option<i64>,
}

/// Refunds that left an account lately, and what came in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flow {
    /// Refunds of the last hour.
    pub hour_count: i64,
    /// Their sum.
    pub hour_out: Sen,
    /// Refunds of the last 24 hours.
    pub day_count: i64,
    /// Their sum.
    pub day_out: Sen,
    /// Collected in the last hour.
    pub hour_in: Sen,
    /// Collected in the last 24 hours.
    pub day_in: Sen,
}

const PROPOSE: &str = "-- store::refunds::propose
insert into rekon.refund_saga (transaction_id, cause, sequence, amount, state, proposed_by, approved_by, approved_at, content_hash, next_at,
  channel, reason, window_ends_at, why)
values ($1, $2, coalesce((select max(sequence) filter (where partner_refund_no is not null) from rekon.refund_saga where transaction_id = $1 and cause = $2), 0) + 1,
        $3::bigint::numeric / 100, case when $5::text is null then 'proposed' else 'approved' end, $4, $5,
        $12, $6, $7, $8, $9, $10, $11)
returning id, sequence";

const SAVE: &str = "-- store::refunds::save
update rekon.refund_saga
   set state = $2, approved_by = $3, approved_at = $29,
       content_hash = $4, partner_refund_no = $5, request_body = $6, attempts = $7, unanswered = $8, last_sent_at = $9, last_ended_at = $10,
       refund_no = $11, proof = $12, reason = $13, needs_person = $14, next_at = $15, blocked = $17, resends = $18,
       channel = $19, put_off_since = $20, put_off_until = $21, api_closed = $22, candidate_id = $23, candidate_why = $24,
       bank_reference = $25, transferred_by = $26, window_ends_at = $27, denied_by = $28,
       reserved_at = case when $2 = 'reserved' and state = 'approved' then clock_timestamp() else reserved_at end,
       ended_at = case when $2 in ('confirmed', 'refused', 'denied', 'expired') then clock_timestamp() end,
       lease_owner = case when $16 then null else lease_owner end, lease_until = case when $16 then null else lease_until end
 where id = $1";

const RESERVED: &str = "-- store::refunds::reserved
update rekon.transactions set refund_reserved = $2::bigint::numeric / 100, refunded_amount = $3::bigint::numeric / 100 where id = $1";

const WAKE_ROWS: &str = "-- store::refunds::wake_rows
update rekon.refund_saga set next_at = clock_timestamp()
 where transaction_id = any($1) and state in ('approved', 'reserved', 'unknown') and (next_at is null or next_at > clock_timestamp())
   and needs_person is distinct from 'refund_amount_differs'";

// Of one cause or of all. Re-armed by two people, a breaker counts anew.
const OUTGO: &str = "-- store::refunds::outgo
select count(*) filter (where r.reserved_at > clock_timestamp() - interval '1 hour') as hour_count,
       coalesce(sum(r.amount) filter (where r.reserved_at > clock_timestamp() - interval '1 hour') * 100, 0)::bigint as hour_sen,
       count(*) as day_count, coalesce(sum(r.amount) * 100, 0)::bigint as day_sen
  from rekon.refund_saga r join rekon.transactions t on t.id = r.transaction_id
 where t.account = $1 and ($2::text is null or r.cause = $2) and r.reserved_at > clock_timestamp() - interval '1 day'
   and r.state in ('reserved', 'sending', 'unknown', 'confirmed')
   and r.reserved_at > coalesce((select max(at) from rekon.rearms where account = $1 and confirms is not null), '-infinity')";

const INCOME: &str = "-- store::refunds::income
select coalesce(sum(paid_amount) filter (where paid_at > clock_timestamp() - interval '1 hour') * 100, 0)::bigint as hour_sen,
       coalesce(sum(paid_amount) * 100, 0)::bigint as day_sen
  from rekon.transactions where account = $1 and direction = 'in' and paid_at > clock_timestamp() - interval '1 day'";

const SPEND: &str = "-- store::refunds::spend
insert into rekon.refund_budgets as b (account, day, reserved, cap)
select $1, $2, $3::bigint::numeric / 100, $4::bigint::numeric / 100 where $3 <= $4
on conflict (account, day) do update set reserved = b.reserved + excluded.reserved, cap = excluded.cap
 where b.reserved + excluded.reserved <= excluded.cap
returning 1";

const GIVE_BACK: &str = "-- store::refunds::give_back
update rekon.refund_budgets set reserved = greatest(reserved - $3::bigint::numeric / 100, 0) where account = $1 and day = $2";

const SET_DAY: &str = "-- store::refunds::set_day
update rekon.refund_saga set budget_day = $2 where id = $1";

const TAKE_DAY: &str = "-- store::refunds::take_day
update rekon.refund_saga r set budget_day = null from (select id, budget_day from rekon.refund_saga where id = $1) old
 where r.id = old.id and old.budget_day is not null returning old.budget_day";

const ATTEMPT: &str = "-- store::refunds::attempt
insert into rekon.refund_attempts (refund_id, attempt, call_id) values ($1, $2, $3) returning sent_at";

const ATTEMPT_END: &str = "-- store::refunds::attempt_end
update rekon.refund_attempts set ended_at = clock_timestamp(), outcome = $3, response_code = $4, raw_hash = $5
 where refund_id = $1 and attempt = $2 and ended_at is null";

const CONTROL: &str = "-- store::refunds::control
insert into rekon.account_controls (account) values ($1) on conflict (account) do update set account = excluded.account
returning refunds_stopped, partial_proven, partial_canary";

// A statement of its own, begun under the controls' lock: one that waited for that lock would still see the first refund as
// it was before it left.
const UNDER_WAY: &str = "-- store::refunds::under_way
select r.id from rekon.refund_saga r where r.id = $1 and r.state in ('reserved', 'sending', 'unknown')";

// Likewise: whoever waited for a switch that is being turned must see it turned.
const CEILING: &str = "-- store::refunds::ceiling
select rekon.ceiling_held($1)";

const OPEN_BREAKER: &str = "-- store::refunds::open_breaker
update rekon.account_controls set breaker_opened_at = clock_timestamp(), breaker_reason = $2 where account = $1 and breaker_opened_at is null";

const CANARY: &str = "-- store::refunds::canary
update rekon.account_controls set partial_canary = $2, partial_proven = $3 where account = $1";

const STOP: &str = "-- store::refunds::stop
insert into rekon.account_controls (account, refunds_stopped, stopped_at) values ($1, $2, clock_timestamp())
on conflict (account) do update set refunds_stopped = coalesce(rekon.account_controls.refunds_stopped, excluded.refunds_stopped),
  stopped_at = coalesce(rekon.account_controls.stopped_at, excluded.stopped_at)";

const LEASE_HOLDS: &str = "-- store::refunds::lease_holds
select exists (select 1 from rekon.refund_saga where id = $1 and lease_epoch = $2 and lease_until > clock_timestamp())";

const PARK: &str = "-- store::refunds::park
update rekon.refund_saga set next_at = $3, lease_owner = null, lease_until = null where id = $1 and lease_epoch = $2";

/// Inserts a proposal, approved by `approved_by` where given; sets its id and sequence. It is due at `next_at`.
pub async fn propose(
    tx: &mut Tx,
    transaction_id: i64,
    refund: &mut Refund,
    next_at: Option<DateTime<Utc>>,
) -> Result<(), StoreError> {
    let row = sqlx::query(PROPOSE)
        .bind(transaction_id)
        .bind(refund.cause.as_str())
        .bind(refund.amount.sen())
        .bind(&refund.proposed_by)
        .bind(refund.approved_by.as_deref())
        .bind(&refund.content_hash)
        .bind(next_at)
        .bind(refund.channel.as_str())
        .bind(refund.reason.as_deref())
        .bind(refund.window_ends_at)
        .bind(refund.why.as_deref())
        .bind(refund.approved_at)
        .fetch_one(&mut **tx)
        .await?;
    refund.id = row.try_get("id")?;
    refund.sequence = row.try_get("sequence")?;
    Ok(())
}

/// Writes a refund as it stands; due again at `next_at`.
pub async fn save(
    tx: &mut Tx,
    refund: &Refund,
    next_at: Option<DateTime<Utc>>,
    release_lease: bool,
) -> Result<(), StoreError> {
    sqlx::query(SAVE)
        .bind(refund.id)
        .bind(refund.state.as_str())
        .bind(refund.approved_by.as_deref())
        .bind(&refund.content_hash)
        .bind(refund.partner_refund_no.as_deref())
        .bind(refund.request_body.as_deref())
        .bind(refund.attempts)
        .bind(refund.unanswered)
        .bind(refund.last_sent_at)
        .bind(refund.last_ended_at)
        .bind(refund.refund_no.as_deref())
        .bind(refund.proof.map(crate::domain::refund::Proof::as_str))
        .bind(refund.reason.as_deref())
        .bind(refund.needs_person.map(Flag::as_str))
        .bind(next_at)
        .bind(release_lease)
        .bind(refund.blocked)
        .bind(refund.resends)
        .bind(refund.channel.as_str())
        .bind(refund.put_off_since)
        .bind(refund.put_off_until)
        .bind(refund.api_closed)
        .bind(refund.candidate.as_ref().map(|c| c.transaction_id))
        .bind(refund.candidate.as_ref().map(|c| c.why.as_str()))
        .bind(refund.transfer.as_ref().map(|t| t.bank_reference.as_str()))
        .bind(refund.transfer.as_ref().map(|t| t.by.as_str()))
        .bind(refund.window_ends_at)
        .bind(refund.denied_by.as_deref())
        .bind(refund.approved_at)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Writes a row's reservation and confirmed sum.
pub async fn set_reserved(tx: &mut Tx, transaction_id: i64, reserved: Sen, refunded: Sen) -> Result<(), StoreError> {
    sqlx::query(RESERVED).bind(transaction_id).bind(reserved.sen()).bind(refunded.sen()).execute(&mut **tx).await?;
    Ok(())
}

/// Makes the living refunds of rows due: something was said about their payment.
pub async fn wake_rows(tx: &mut Tx, transaction_ids: &[i64]) -> Result<(), StoreError> {
    if !transaction_ids.is_empty() {
        sqlx::query(WAKE_ROWS).bind(transaction_ids).execute(&mut **tx).await?;
    }
    Ok(())
}

/// What left lately, for one cause or for all, and, `with_income`, what came in; else that is 0. Call it under the account's control
/// row, so that no two reservations count alike.
pub async fn flow(tx: &mut Tx, account: &str, cause: Option<Flag>, with_income: bool) -> Result<Flow, StoreError> {
    let out = sqlx::query(OUTGO).bind(account).bind(cause.map(Flag::as_str)).fetch_one(&mut **tx).await?;
    let (mut hour_in, mut day_in) = (Sen::ZERO, Sen::ZERO);
    if with_income {
        let income = sqlx::query(INCOME).bind(account).fetch_one(&mut **tx).await?;
        (hour_in, day_in) = (sen(&income, "hour_sen")?, sen(&income, "day_sen")?);
    }
    Ok(Flow {
        hour_count: out.try_get("hour_count")?,
        hour_out: sen(&out, "hour_sen")?,
        day_count: out.try_get("day_count")?,
        day_out: sen(&out, "day_sen")?,
        hour_in,
        day_in,
    })
}

/// Takes an amount from the account's budget of a WIB day; false when it does not fit under `cap`.
pub async fn spend(tx: &mut Tx, account: &str, day: NaiveDate, amount: Sen, cap: Sen) -> Result<bool, StoreError> {
    let fits =
        sqlx::query(SPEND).bind(account).bind(day).bind(amount.sen()).bind(cap.sen()).fetch_optional(&mut **tx).await?;
    Ok(fits.is_some())
}

/// Remembers the day whose budget a refund used.
pub async fn set_day(tx: &mut Tx, refund_id: i64, day: NaiveDate) -> Result<(), StoreError> {
    sqlx::query(SET_DAY).bind(refund_id).bind(day).execute(&mut **tx).await?;
    Ok(())
}

/// Gives a refund's amount back to the day it was taken from; nothing where it took none.
pub async fn give_back(tx: &mut Tx, account: &str, refund: &Refund) -> Result<(), StoreError> {
    let day: Option<NaiveDate> = sqlx::query_scalar(TAKE_DAY).bind(refund.id).fetch_optional(&mut **tx).await?;
    if let Some(day) = day {
        sqlx::query(GIVE_BACK).bind(account).bind(day).bind(refund.amount.sen()).execute(&mut **tx).await?;
    }
    Ok(())
}

/// Writes down that an attempt is about to leave; returns its database time.
pub async fn begin_attempt(
    tx: &mut Tx,
    refund_id: i64,
    attempt: i32,
    call_id: &str,
) -> Result<DateTime<Utc>, StoreError> {
    Ok(sqlx::query_scalar(ATTEMPT).bind(refund_id).bind(attempt).bind(call_id).fetch_one(&mut **tx).await?)
}

/// Ends an attempt.
pub async fn end_attempt(tx: &mut Tx, end: &AttemptEnd) -> Result<(), StoreError> {
    sqlx::query(ATTEMPT_END)
        .bind(end.refund_id)
        .bind(end.attempt)
        .bind(&end.outcome)
        .bind(end.response_code.as_deref())
        .bind(end.raw_hash.as_ref().map(Link::as_slice))
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Locks and reads an account's switches.
pub async fn control(tx: &mut Tx, account: &str) -> Result<AccountControl, StoreError> {
    let row = sqlx::query(CONTROL).bind(account).fetch_one(&mut **tx).await?;
    // A first refund that is no longer under way has proved nothing and holds nobody up.
    let first: Option<i64> = row.try_get("partial_canary")?;
    let partial_canary = match first {
        Some(id) => sqlx::query_scalar(UNDER_WAY).bind(id).fetch_optional(&mut **tx).await?,
        None => None,
    };
    let ceiling: String = sqlx::query_scalar(CEILING).bind(account).fetch_one(&mut **tx).await?;
    Ok(AccountControl {
        ceiling: cases::level(&ceiling)?,
        refunds_stopped: row.try_get("refunds_stopped")?,
        partial_proven: row.try_get("partial_proven")?,
        partial_canary,
    })
}

/// Sets which partial refund goes first, and whether one has proved itself.
pub async fn set_canary(tx: &mut Tx, account: &str, canary: Option<i64>, proven: bool) -> Result<(), StoreError> {
    sqlx::query(CANARY).bind(account).bind(canary).bind(proven).execute(&mut **tx).await?;
    Ok(())
}

/// Opens an account's refund breaker: its refunds leave by two people only, until two people re-arm it.
pub async fn open_breaker(tx: &mut Tx, account: &str, reason: &str) -> Result<(), StoreError> {
    sqlx::query(OPEN_BREAKER).bind(account).bind(reason).execute(&mut **tx).await?;
    Ok(())
}

/// Stops an account's refunds; the first reason stays.
pub async fn stop_refunds(tx: &mut Tx, account: &str, reason: &str) -> Result<(), StoreError> {
    sqlx::query(STOP).bind(account).bind(reason).execute(&mut **tx).await?;
    Ok(())
}

/// Is this lease of a refund still ours?
pub async fn lease_holds(tx: &mut Tx, refund_id: i64, epoch: i64) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar(LEASE_HOLDS).bind(refund_id).bind(epoch).fetch_one(&mut **tx).await?)
}

impl Store {
    /// Gives a refund back until `next_at`, unless somebody else holds it by now.
    pub async fn park_refund(
        &self,
        refund_id: i64,
        epoch: i64,
        next_at: Option<DateTime<Utc>>,
    ) -> Result<(), StoreError> {
        sqlx::query(PARK).bind(refund_id).bind(epoch).bind(next_at).execute(self.pool()).await?;
        Ok(())
    }
}

//! The call of a refund: mints its identity once, sends the stored bytes, and stores what came back. Whether it may be
//! sent at all is decided in `refund`, under the row's lock.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::{
    domain::{
        order::{Order, later},
        refund::{Refund, RefundState},
        reply::{self, Fate, Outcome, RefundReply, Sent},
        saga,
    },
    engine::{
        Ctx, EngineError,
        check::{self, SlotPermit},
        counted, drift, refund,
        runtime::AccountRuntime,
    },
    providers::{CallError, RefundOrder, RefundResult},
    store::{
        self, StoreError, Tx,
        cases::{self, Loaded},
        leases::LeasedRefund,
        limits::CallClass,
        refunds::{self, AttemptEnd},
        settle::RawAnswer,
    },
};

/// A stored attempt, about to leave.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    /// The refund, `sending`, with this attempt counted.
    pub(crate) refund: Refund,
    /// The refund as it was before this attempt.
    pub(crate) before: Refund,
    /// The payment's order.
    pub(crate) order: Order,
    /// It leaves by then or not now: the PAID answer it stands on must be fresh when it leaves.
    pub(crate) leave_by: Option<Instant>,
}

/// Mints number and body, once. `Err` is a sentence for people: it cannot be built.
pub(crate) fn mint(account: &AccountRuntime, row: &Loaded, refund: &mut Refund) -> Result<(), String> {
    if refund.partner_refund_no.is_some() && (refund.is_manual() || refund.request_body.is_some()) {
        return Ok(());
    }
    let order = &row.case.order;
    let line = account.client.account();
    let number = saga::partner_refund_no(
        line.provider.name(),
        &line.client_id,
        &line.merchant_id,
        &order.partner_reference_no,
        refund.cause,
        refund.sequence,
    );
    if refund.is_manual() {
        // Written into the transfer, so that the bank's statement names the refund.
        refund.partner_refund_no = Some(number);
        refund.request_body = None;
        return Ok(());
    }
    let body = {
        let order = RefundOrder {
            asked: account.client.asked(
                &order.partner_reference_no,
                order.reference_no.as_deref(),
                order.external_id.as_deref(),
            ),
            partner_refund_no: &number,
            amount: refund.amount,
            currency: &order.currency,
            reason: refund.cause.as_str(),
            approval_code: row.case.first_paid().and_then(|f| f.answer.approval_code.as_deref()),
        };
        line.provider
            .refund_body(line, &order)
            .map_err(|e| format!("the refund cannot be written for this provider: {e}"))?
    };
    refund.partner_refund_no = Some(number);
    refund.request_body = Some(body);
    Ok(())
}

/// Sends a stored attempt and stores its end.
pub(crate) async fn send(
    ctx: &Ctx,
    account: &AccountRuntime,
    leased: LeasedRefund,
    attempt: Attempt,
    permit: &SlotPermit<'_>,
) -> Result<(), EngineError> {
    let order = &attempt.order;
    let asked =
        account.client.asked(&order.partner_reference_no, order.reference_no.as_deref(), order.external_id.as_deref());
    let body = attempt.refund.request_body.as_deref().unwrap_or_default();
    let Ok(_in_flight) = account.line(CallClass::Refund).acquire().await else { return Ok(()) };
    let end = match account.client.refund(&asked, body, permit).await {
        Ok(result) => {
            counted::refund(&account.name, &result, permit.took());
            End::Answered(Box::new(result))
        }
        Err(CallError::Denied(_)) => End::NotSent("no call slot".into()),
        Err(CallError::Build(error)) => End::NotSent(error.to_string()),
    };
    let stored = keep_end(ctx, account, leased, &attempt, &end).await;
    // What the answer says about the provider comes after what it says about the money.
    if let End::Answered(result) = &end {
        check::slow_down(ctx, account, result.meta.http_status, result.meta.retry_after_secs).await;
        check::count_calls(ctx, account, permit).await;
        drift::refund(ctx, &account.name, result).await;
    }
    stored
}

/// Stores the end of an attempt. What the provider said is kept for a database that is away, as long as nobody else may hold the
/// refund and this process is not to end; a process that is to end tries again where only a lock was in the way.
async fn keep_end(
    ctx: &Ctx,
    account: &AccountRuntime,
    leased: LeasedRefund,
    attempt: &Attempt,
    end: &End,
) -> Result<(), EngineError> {
    let give_up = Instant::now() + ctx.limits.lease / 2;
    let mut locked_out = 0_u32;
    loop {
        match store_end(ctx, account, leased, attempt, end).await {
            Err(error) if error.is_transient() && Instant::now() < give_up => {
                if ctx.stop.is_cancelled() {
                    locked_out = locked_out.saturating_add(1);
                    if error.is_unavailable() || locked_out > LOCKED_OUT_MAX {
                        return Err(error);
                    }
                }
                tracing::warn!(refund = leased.id, %error, "the refund's answer could not be stored; trying again");
                tokio::time::sleep(STORE_AGAIN).await;
            }
            stored => return stored,
        }
    }
}

/// Pause between attempts to store an answer.
const STORE_AGAIN: Duration = Duration::from_millis(500);
/// A process that is to end tries so often again.
const LOCKED_OUT_MAX: u32 = 2;

enum End {
    Answered(Box<RefundResult>),
    NotSent(String),
}

async fn store_end(
    ctx: &Ctx,
    account: &AccountRuntime,
    leased: LeasedRefund,
    attempt: &Attempt,
    end: &End,
) -> Result<(), EngineError> {
    let mut tx = ctx.store.begin().await?;
    let Some(mut row) = cases::lock(&mut tx, &[leased.transaction_id]).await?.pop() else { return Ok(()) };
    let now = store::now_in(&mut tx).await?;
    let Some(mut refund) = row.case.refunds.iter().find(|r| r.id == leased.id).cloned() else { return Ok(()) };
    let is_ours = refund.attempts == attempt.refund.attempts
        && matches!(refund.state, RefundState::Sending | RefundState::Unknown);
    let (raw, outcome, code) = match end {
        End::Answered(result) => {
            (result.raw.clone(), format!("{:?}", result.reply.class).to_lowercase(), result.reply.response_code.clone())
        }
        End::NotSent(why) => (Vec::new(), format!("not sent: {why}"), None),
    };
    let raw_hash = (!raw.is_empty()).then(|| Sha256::digest(&raw).into());
    if let Some(hash) = raw_hash {
        store::settle::raws(&mut tx, &[RawAnswer { hash, body: Arc::new(raw) }]).await?;
    }
    let number = attempt.refund.attempts;
    refunds::end_attempt(
        &mut tx,
        &AttemptEnd { refund_id: refund.id, attempt: number, outcome, response_code: code, raw_hash },
    )
    .await?;
    if is_ours {
        let next_at = match end {
            End::Answered(result) => judge(ctx, account, &mut tx, &row, attempt, &mut refund, result, now).await?,
            End::NotSent(why) => {
                not_sent(attempt, &mut refund, why.clone());
                Some(later(now, 1))
            }
        };
        refund::transition(ctx, &mut tx, &mut row, &refund, next_at, true, now).await?;
    }
    tx.commit().await.map_err(StoreError::from)?;
    Ok(())
}

/// Nothing left: the refund stands as before the attempt, with the attempt counted.
fn not_sent(attempt: &Attempt, refund: &mut Refund, why: String) {
    refund.reason = Some(why);
    if refund.state == RefundState::Sending {
        refund.last_sent_at = attempt.before.last_sent_at;
        refund.last_ended_at = attempt.before.last_ended_at;
        refund.resends = attempt.before.resends;
        refund.state = if attempt.before.unanswered { RefundState::Unknown } else { RefundState::Reserved };
    }
}

/// Applies what the reply means; returns when the saga goes on.
#[expect(clippy::too_many_arguments, reason = "the parts of one locked row, named once")]
async fn judge(
    ctx: &Ctx,
    account: &AccountRuntime,
    tx: &mut Tx,
    row: &Loaded,
    attempt: &Attempt,
    refund: &mut Refund,
    result: &RefundResult,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, EngineError> {
    let reply = &result.reply;
    let sent = Sent {
        partner_refund_no: attempt.refund.partner_refund_no.as_deref().unwrap_or_default(),
        amount: attempt.refund.amount,
        repeat: attempt.before.last_sent_at.is_some(),
        earlier_unanswered: attempt.before.unanswered,
        refund_no: attempt.before.refund_no.as_deref(),
    };
    let Outcome { fate, opens_breaker } = reply::judge(&sent, reply);
    refund.last_ended_at = Some(now);
    refund.reason =
        reply.doubt.clone().or_else(|| reply.response_code.as_ref().map(|c| format!("the provider answered {c}")));
    if reply.refund_no.is_some() && refund.refund_no.is_none() {
        refund.refund_no.clone_from(&reply.refund_no);
    }
    if let Some(why) = opens_breaker {
        tracing::error!(account = %account.name, refund = refund.id, why, "refunds of the account are stopped");
        refunds::stop_refunds(tx, &account.name, why).await?;
    }
    let partial = row.case.paid_amount().is_some_and(|paid| !refund.is_full(paid));
    Ok(match fate {
        Fate::Confirmed(proof) => {
            refund.state = RefundState::Confirmed;
            refund.proof = Some(proof);
            refund.reason = None;
            if partial && reply.amount == Some(refund.amount) {
                refunds::set_canary(tx, &account.name, None, true).await?;
            }
            None
        }
        Fate::Refused | Fate::Closed => {
            refund.state = RefundState::Refused;
            refund.api_closed = fate == Fate::Closed;
            // The account's controls before its budget, as in `reserve`: the other way round the two lock each other out.
            if partial {
                free_canary(tx, &account.name, refund.id).await?;
            }
            refunds::give_back(tx, &account.name, refund).await?;
            None
        }
        Fate::Later => {
            if refund.state == RefundState::Sending {
                refund.state = RefundState::Reserved;
            }
            Some(put_off(ctx, account, refund, reply, now))
        }
        Fate::Unknown => {
            refund.state = RefundState::Unknown;
            refund.unanswered = true;
            Some(now)
        }
        Fate::NeedsPerson(flag) => {
            refund.state = RefundState::Unknown;
            refund.unanswered = true;
            refund.needs_person = Some(flag);
            None
        }
    })
}

/// A refused canary makes room for the next one.
async fn free_canary(tx: &mut Tx, account: &str, refund_id: i64) -> Result<(), EngineError> {
    let control = refunds::control(tx, account).await?;
    if control.partial_canary == Some(refund_id) {
        refunds::set_canary(tx, account, None, control.partial_proven).await?;
    }
    Ok(())
}

/// The provider says "not now": the same bytes go again, at a time that stands on the row beside the reason.
fn put_off(
    ctx: &Ctx,
    account: &AccountRuntime,
    refund: &mut Refund,
    reply: &RefundReply,
    now: DateTime<Utc>,
) -> DateTime<Utc> {
    let ability = ctx.rulebook.terms(&account.name).profile.and_then(|p| p.refund.as_ref());
    let code = reply.response_code.as_deref();
    let until = match ability {
        Some(ability) => saga::again_at(ability, refund, code, reply.retry_after_secs, now),
        None => later(now, reply.retry_after_secs.unwrap_or(0).max(NO_PROFILE_SECS)),
    };
    refund.put_off_since = refund.put_off_since.or(Some(now));
    refund.put_off_until = Some(until);
    refund.blocked = true;
    let said =
        code.map_or_else(|| "the provider shut its door".to_owned(), |code| format!("the provider answered {code}"));
    refund.reason = Some(format!("{said}: not now; the same number goes again after {}", until.to_rfc3339()));
    until
}

/// Pause of a refund whose account has lost its profile, seconds.
const NO_PROFILE_SECS: i64 = 60;

//! Ends a cancelled order's QR at the provider (service 77), so that nobody pays for what is no longer sold. One record per
//! order; the call stands between two transactions; whatever it answers, the payment is asked about right after it.
//!
//! The answer is evidence and never a verdict: a "done" closes nothing and a "no" proves no payment. Only queries do. So a
//! lost answer is harmless: the query comes first, and ending a QR twice ends it once.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::{
    domain::{
        observation::Observation,
        order::{OrderStatus, later},
        state::State,
    },
    engine::{
        Ctx, EngineError,
        check::{self, SlotPermit},
        counted,
        runtime::AccountRuntime,
    },
    providers::{
        ByHandResult, CallError, Failure,
        by_hand::{Cancel, Ended},
    },
    store::{
        self, StoreError,
        cases::{self, Loaded},
        leases,
        limits::CallClass,
        qr_cancels::{self, LeasedCancel, QrCancel, QrCancelState, QrCancelStep},
        settle::RawAnswer,
    },
};

/// Calls without a readable answer before it is left to the queries alone.
const LOST_MAX: i32 = 3;
/// Pause before a lost call is repeated, seconds: the query goes first.
const AGAIN_SECS: i64 = 60;
/// Pause of one that found no call slot, seconds.
const NO_SLOT_SECS: i64 = 5;
/// What the provider is told.
const REASON: &str = "the order was cancelled";

/// Makes the call that is due, if it still is.
pub async fn advance(ctx: &Ctx, account: &Arc<AccountRuntime>, leased: LeasedCancel) -> Result<(), EngineError> {
    let latest = Instant::now() + ctx.limits.lease / 2;
    let Some(row) = begin(ctx, leased).await? else { return Ok(()) };
    let order = &row.case.order;
    let cancel = Cancel {
        partner_reference_no: &order.partner_reference_no,
        reference_no: order.reference_no.as_deref(),
        reason: REASON,
    };
    let permit = SlotPermit::new(ctx, account, CallClass::Due, latest);
    let called = match tokio::time::timeout_at(latest, account.line(CallClass::Due).acquire()).await {
        Ok(Ok(_in_flight)) => account.client.cancel_qr(cancel, &permit).await,
        Ok(Err(_)) | Err(_) => Err(CallError::Denied(crate::providers::Denied)),
    };
    if let Ok(result) = &called {
        counted::qr_cancel(&account.name, result, permit.took());
        check::slow_down(ctx, account, result.meta.http_status, result.meta.retry_after_secs).await;
        let failed = result.failure.map(Failure::as_str);
        if let Err(error) = account.weather.count(&ctx.store, failed, account.weather.is_bad()).await {
            tracing::warn!(account = %account.name, %error, "the breaker could not be moved");
        }
    }
    store_end(ctx, account, leased, called).await
}

/// Writes down that a call is about to leave; `None` where none is to leave.
async fn begin(ctx: &Ctx, leased: LeasedCancel) -> Result<Option<Loaded>, EngineError> {
    let mut tx = ctx.store.begin().await?;
    let Some(row) = cases::lock(&mut tx, &[leased.transaction_id]).await?.pop() else { return Ok(None) };
    let Some(cancel) = qr_cancels::read(&mut tx, leased).await? else { return Ok(None) };
    let now = store::now_in(&mut tx).await?;
    let step = next_step(&row, &cancel, now);
    qr_cancels::step(&mut tx, leased, &step).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(step.begins.then_some(row))
}

/// Is a call still wanted? A first one only while nobody has paid; a repeat only while the queries since the lost one have
/// not said what became of the QR.
fn next_step(row: &Loaded, cancel: &QrCancel, now: DateTime<Utc>) -> QrCancelStep {
    let case = &row.case;
    let asked_before = cancel.state == QrCancelState::Asking;
    let over = |reason: &str| {
        QrCancelStep::to(if asked_before { QrCancelState::Unknown } else { QrCancelState::Void }, reason)
    };
    let moved = case.query_facts().any(|f| matches!(f.heard(), Observation::Paid | Observation::Reversed));
    if moved {
        return over("it was paid");
    }
    if case.order.order_status != OrderStatus::Cancelled || case.prior.state != State::Pending {
        return over("the payment is no longer pending");
    }
    let since = case.last_answer().filter(|f| cancel.asked_at.is_some_and(|asked| f.last_sent_at > asked));
    if asked_before && since.is_some_and(|f| f.heard().is_dead()) {
        return QrCancelStep::to(QrCancelState::Done, "its answer was lost; a query since then calls the QR dead");
    }
    if cancel.lost >= LOST_MAX {
        return QrCancelStep::to(QrCancelState::Unknown, "no call was answered; the queries go on");
    }
    // Due at once should this process die: whoever takes the dead lease finds `asking`.
    let next_at = Some(now);
    QrCancelStep { begins: true, reason: None, next_at, ..QrCancelStep::to(QrCancelState::Asking, "") }
}

/// Writes down what came of the call, and makes the payment due with it: the customer may have paid while the call was under
/// way, and only a query can tell. In one transaction, so that no death between the two loses the query.
async fn store_end(
    ctx: &Ctx,
    account: &AccountRuntime,
    leased: LeasedCancel,
    called: Result<ByHandResult, CallError>,
) -> Result<(), EngineError> {
    let mut tx = ctx.store.begin().await?;
    // The payment's row is locked before the record of its QR's end, as everywhere. Of a call that never left nobody heard anything.
    if called.is_ok() {
        leases::pull(&mut tx, &account.name, &[leased.transaction_id]).await?;
    }
    let Some(cancel) = qr_cancels::read(&mut tx, leased).await? else {
        return Ok(tx.commit().await.map_err(StoreError::from)?);
    };
    let now = store::now_in(&mut tx).await?;
    let step = match called {
        Ok(result) => {
            let raw_hash = (!result.raw.is_empty()).then(|| Sha256::digest(&result.raw).into());
            if let Some(hash) = raw_hash {
                store::settle::raws(&mut tx, &[RawAnswer { hash, body: Arc::new(result.raw.clone()) }]).await?;
            }
            QrCancelStep { raw_hash, ..answered(&result, now) }
        }
        Err(CallError::Denied(_)) => {
            let state = if cancel.lost == 0 { QrCancelState::Due } else { QrCancelState::Asking };
            QrCancelStep { next_at: Some(later(now, NO_SLOT_SECS)), ..QrCancelStep::to(state, "no call slot") }
        }
        Err(CallError::Build(error)) => QrCancelStep::to(QrCancelState::Unknown, &error.to_string()),
    };
    qr_cancels::step(&mut tx, leased, &step).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(())
}

fn answered(result: &ByHandResult, now: DateTime<Utc>) -> QrCancelStep {
    let reply = &result.reply;
    let said = |state| QrCancelStep {
        reason: None,
        response_code: reply.response_code.clone(),
        ..QrCancelStep::to(state, "")
    };
    match reply.ended {
        Ended::Done => said(QrCancelState::Done),
        // A shut door (401, 429) refuses the caller and says nothing about the QR.
        Ended::Refused if !matches!(result.meta.http_status, Some(401 | 429)) => said(QrCancelState::Refused),
        Ended::Refused | Ended::Unknown => QrCancelStep {
            lost: true,
            reason: reply.doubt.clone(),
            next_at: Some(later(now, AGAIN_SECS)),
            ..said(QrCancelState::Asking)
        },
    }
}

//! Takes a refund through its saga, one step at a time: each step locks the row, loads everything anew, asks
//! `saga::next_step`, and commits what it did before anything leaves. The call itself stands between two transactions:
//! the first has stored number, body and attempt, the second stores what came back.

mod reserve;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::{
    domain::{
        order::later,
        refund::{Channel, Refund, RefundState},
        saga::{self, Step},
        state::Flag,
    },
    engine::{
        Ctx, EngineError,
        check::{self, SlotPermit},
        decisions::{Occasion, Written},
        refund_call,
        runtime::AccountRuntime,
        settle,
    },
    store::{
        self, StoreError, Tx,
        cases::{self, Loaded},
        leases::{self, Leased, LeasedRefund},
        limits::CallClass,
        refunds,
    },
    telemetry::metrics,
};

/// Steps taken under one lease at most; then the refund goes back and comes again.
const STEPS_AT_ONCE: usize = 6;
/// Pause before a refund that could not get a call slot, or is switched off, is looked at again, seconds.
const BLOCKED_SECS: i64 = 60;
/// Pause of a partial refund that waits for the account's first one, seconds.
const CANARY_SECS: i64 = 2;

/// What a step left to do outside of its transaction.
enum Next {
    /// The refund was given back.
    Done,
    /// Another step may follow at once.
    Again,
    /// Ask about the payment, then another step.
    Ask(Box<Leased>),
    /// The attempt is stored: make the call.
    Call(Box<refund_call::Attempt>),
}

/// Takes the steps that can be taken now.
pub async fn advance(ctx: &Ctx, account: &Arc<AccountRuntime>, leased: LeasedRefund) -> Result<(), EngineError> {
    let latest = Instant::now() + ctx.limits.lease / 2;
    for _ in 0..STEPS_AT_ONCE {
        match step(ctx, account, leased).await? {
            Next::Done => return Ok(()),
            Next::Again => {}
            Next::Ask(row) => {
                if !ask(ctx, account, &row, latest).await? {
                    return park(ctx, leased, 1).await;
                }
            }
            Next::Call(attempt) => {
                let leave_by = attempt.leave_by.map_or(latest, |by| by.min(latest));
                let permit = SlotPermit::new(ctx, account, CallClass::Refund, leave_by);
                refund_call::send(ctx, account, leased, *attempt, &permit).await?;
                return Ok(());
            }
        }
    }
    park(ctx, leased, 1).await
}

async fn park(ctx: &Ctx, leased: LeasedRefund, secs: i64) -> Result<(), EngineError> {
    let at = later(ctx.store.now().await?, secs);
    Ok(ctx.store.park_refund(leased.id, leased.epoch, Some(at)).await?)
}

/// Asks about the refund's payment and settles the answer; false where no slot could be had.
async fn ask(ctx: &Ctx, account: &AccountRuntime, row: &Leased, latest: Instant) -> Result<bool, EngineError> {
    let Some(mut answered) = check::ask(ctx, account, row, CallClass::Refund, latest).await? else { return Ok(false) };
    // The row is held by the refund's lease; a sweep that holds it at the same time loses nothing.
    answered.epoch = None;
    let report = settle::settle(&ctx.store, &ctx.rulebook, &[answered]).await?;
    Ok(report.settled > 0)
}

async fn step(ctx: &Ctx, account: &AccountRuntime, leased: LeasedRefund) -> Result<Next, EngineError> {
    let mut tx = ctx.store.begin().await?;
    let Some(mut row) = cases::lock(&mut tx, &[leased.transaction_id]).await?.pop() else { return Ok(Next::Done) };
    if !refunds::lease_holds(&mut tx, leased.id, leased.epoch).await? {
        return Ok(Next::Done);
    }
    let now = store::now_in(&mut tx).await?;
    let Some(refund) = row.case.refunds.iter().find(|r| r.id == leased.id).cloned() else { return Ok(Next::Done) };
    let step = saga::next_step(&row.case, &refund, &ctx.rulebook.terms(&account.name), now);
    tracing::debug!(refund = leased.id, state = refund.state.as_str(), ?step, "saga");
    let mut at = At { ctx, account, tx: &mut tx, row: &mut row, refund, now };
    let next = match step {
        Step::Wait(until) => at.wait(until).await?,
        Step::Blocked { reason, until } => at.block(reason, until.unwrap_or_else(|| later(now, BLOCKED_SECS))).await?,
        Step::BeDue(until) => at.be_due(until).await?,
        Step::Ask => Next::Ask(Box::new(to_ask(&row))),
        Step::Reserve => at.reserve().await?,
        Step::Send => at.send().await?,
        Step::BackToProposed { reason } => at.back_to_proposed(reason).await?,
        Step::ByHand { reason } => at.by_hand(reason).await?,
        Step::HandOver => {
            at.become_(RefundState::Sending, None, true).await?;
            Next::Done
        }
        Step::MarkUnknown => {
            at.refund.unanswered = true;
            at.refund.last_ended_at = Some(now);
            at.become_(RefundState::Unknown, Some(now), false).await?;
            Next::Again
        }
        Step::Confirm(proof) => {
            at.refund.proof = Some(proof);
            at.refund.needs_person = None;
            at.become_(RefundState::Confirmed, None, true).await?;
            Next::Done
        }
        Step::CallPerson(flag) => at.call_person(flag).await?,
    };
    tx.commit().await.map_err(StoreError::from)?;
    Ok(next)
}

fn to_ask(row: &Loaded) -> Leased {
    let order = &row.case.order;
    Leased {
        id: order.id,
        epoch: row.lease_epoch,
        partner_reference_no: order.partner_reference_no.clone(),
        reference_no: order.reference_no.clone(),
        external_id: order.external_id.clone(),
        is_payout: false,
        due_at: row.next_check_at,
    }
}

/// One step, in its transaction.
struct At<'a> {
    ctx: &'a Ctx,
    account: &'a AccountRuntime,
    tx: &'a mut Tx,
    row: &'a mut Loaded,
    refund: Refund,
    now: DateTime<Utc>,
}

impl At<'_> {
    async fn wait(&mut self, until: Option<DateTime<Utc>>) -> Result<Next, EngineError> {
        refunds::save(self.tx, &self.refund, until, true).await?;
        Ok(Next::Done)
    }

    /// The row is asked about in its turn, and should have been by now.
    async fn be_due(&mut self, until: DateTime<Utc>) -> Result<Next, EngineError> {
        if self.row.next_check_at.is_none_or(|at| at > self.now) {
            leases::pull(self.tx, &self.account.name, &[self.row.case.order.id]).await?;
        }
        self.wait(Some(until)).await
    }

    /// It stays where it is, and the row says why.
    async fn block(&mut self, reason: String, until: DateTime<Utc>) -> Result<Next, EngineError> {
        let is_news = !self.refund.blocked || self.refund.reason.as_deref() != Some(reason.as_str());
        self.refund.reason = Some(reason);
        self.refund.blocked = true;
        if is_news {
            transition(self.ctx, self.tx, self.row, &self.refund, Some(until), true, self.now).await?;
        } else {
            refunds::save(self.tx, &self.refund, Some(until), true).await?;
        }
        Ok(Next::Done)
    }

    /// Stores the attempt before it leaves. The first partial refund of an account goes alone.
    async fn send(&mut self) -> Result<Next, EngineError> {
        let control = refunds::control(self.tx, &self.account.name).await?;
        if let Some(why) = control.refunds_stopped {
            return self
                .block(format!("refunds of this account are stopped: {why}"), later(self.now, BLOCKED_SECS))
                .await;
        }
        if control.ceiling < self.row.case.ceiling {
            return Ok(Next::Again);
        }
        let partial = self.row.case.paid_amount().is_some_and(|paid| !self.refund.is_full(paid));
        if partial && !control.partial_proven {
            match control.partial_canary {
                Some(first) if first != self.refund.id => {
                    let why =
                        "the first partial refund of this account goes alone; this one waits for its answer".to_owned();
                    return self.block(why, later(self.now, CANARY_SECS)).await;
                }
                _ => refunds::set_canary(self.tx, &self.account.name, Some(self.refund.id), false).await?,
            }
        }
        let before = self.refund.clone();
        let leave_by = (before.state == RefundState::Reserved).then(|| self.fresh_until());
        self.refund.attempts = self.refund.attempts.saturating_add(1);
        if before.state == RefundState::Unknown {
            self.refund.resends = self.refund.resends.saturating_add(1);
        }
        let call_id = self.ctx.ids.next(self.now);
        let sent_at = refunds::begin_attempt(self.tx, self.refund.id, self.refund.attempts, &call_id).await?;
        self.refund.last_sent_at = Some(sent_at);
        // Due at once should this process die: whoever takes the dead lease finds `sending` and calls it unknown.
        self.become_(RefundState::Sending, Some(self.now), false).await?;
        Ok(Next::Call(Box::new(refund_call::Attempt {
            refund: self.refund.clone(),
            before,
            order: self.row.case.order.clone(),
            leave_by,
        })))
    }

    /// When the PAID answer that a first send stands on is no longer fresh.
    fn fresh_until(&self) -> Instant {
        let answered_at = self.row.case.last_answer().map_or(self.now, |f| f.last_at);
        let left = later(answered_at, saga::FRESH_PAID_SECS).signed_duration_since(self.now);
        Instant::now() + left.to_std().unwrap_or_default()
    }

    async fn back_to_proposed(&mut self, reason: String) -> Result<Next, EngineError> {
        if self.refund.state == RefundState::Reserved {
            refunds::give_back(self.tx, &self.account.name, &self.refund).await?;
        }
        self.refund.reason = Some(reason);
        self.refund.approved_by = None;
        self.refund.approved_at = None;
        self.refund.needs_person = None;
        self.refund.put_off_since = None;
        self.refund.put_off_until = None;
        let profile = self.ctx.rulebook.terms(&self.account.name).profile;
        let ends = saga::window_ends_at(&self.row.case, profile).filter(|_| !self.refund.is_manual());
        self.refund.window_ends_at = ends;
        self.become_(RefundState::Proposed, ends.map(|at| later(at, 1)), true).await?;
        Ok(Next::Done)
    }

    /// Another way out is agreed to anew.
    async fn by_hand(&mut self, reason: String) -> Result<Next, EngineError> {
        self.refund.channel = Channel::Manual;
        self.refund.partner_refund_no = None;
        self.refund.request_body = None;
        self.refund.window_ends_at = None;
        if self.refund.state == RefundState::Proposed {
            self.refund.reason = Some(reason);
            self.become_(RefundState::Proposed, None, true).await?;
            return Ok(Next::Done);
        }
        self.back_to_proposed(reason).await
    }

    async fn call_person(&mut self, flag: Flag) -> Result<Next, EngineError> {
        self.refund.needs_person = Some(flag);
        if flag == Flag::RefundBlocked && self.refund.put_off_since.is_none() {
            self.refund.reason = Some("it cannot go by API any more, and its number may have left".into());
        }
        self.become_(self.refund.state, None, true).await?;
        Ok(Next::Done)
    }

    /// Writes the refund in its new state, then decides the row anew, so that ledger and journal follow in the same
    /// transaction.
    async fn become_(
        &mut self,
        state: RefundState,
        next_at: Option<DateTime<Utc>>,
        release: bool,
    ) -> Result<(), EngineError> {
        self.refund.state = state;
        self.refund.blocked = false;
        transition(self.ctx, self.tx, self.row, &self.refund, next_at, release, self.now).await
    }
}

/// Writes a refund's transition and the decision that follows from it.
#[expect(clippy::too_many_arguments, reason = "the transaction's parts, named once")]
pub(crate) async fn transition(
    ctx: &Ctx,
    tx: &mut Tx,
    row: &mut Loaded,
    refund: &Refund,
    next_at: Option<DateTime<Utc>>,
    release: bool,
    now: DateTime<Utc>,
) -> Result<(), EngineError> {
    for known in row.case.refunds.iter_mut().filter(|r| r.id == refund.id) {
        known.clone_from(refund);
    }
    refunds::save(tx, refund, next_at, release).await?;
    metrics::refund_transition(&row.case.order.account, refund.state.as_str());
    let mut written = Written::default();
    written.decide(row, &ctx.rulebook, now, &Occasion::refund(&format!("refund {}", refund.state.as_str())));
    written.write(tx).await?;
    if !refund.state.occupies_cause() || refund.state == RefundState::Confirmed {
        // The row's one place in flight is free: a refund for another cause may go.
        refunds::wake_rows(tx, &[row.case.order.id]).await?;
    }
    Ok(())
}

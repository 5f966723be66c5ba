//! Takes an approved refund out of what may be returned: the account's stop and limits, another order that the money may
//! belong to, the day's budget, and then its number. All in the transaction that holds the payment's row.

use super::{At, BLOCKED_SECS, Next};
use crate::{
    domain::{
        day::BusinessDay,
        decide,
        money::Sen,
        order::later,
        policy::RefundBreaker,
        refund::{Candidate, CandidateWhy, RefundState},
        state::Flag,
        switch::Level,
    },
    engine::{EngineError, refund_call, refund_limits},
    store::{
        counter::{self, Search},
        refunds,
    },
};

impl At<'_> {
    pub(super) async fn reserve(&mut self) -> Result<Next, EngineError> {
        let soon = later(self.now, BLOCKED_SECS);
        let control = refunds::control(self.tx, &self.account.name).await?;
        if let Some(why) = control.refunds_stopped {
            return self.block(format!("refunds of this account are stopped: {why}"), soon).await;
        }
        if control.ceiling < self.row.case.ceiling {
            // A switch was turned after the row was read: read it again.
            return Ok(Next::Again);
        }
        if let Some(candidate) = self.new_candidate().await? {
            let reason = named(&candidate);
            self.refund.candidate = Some(candidate);
            return self.back_to_proposed(reason).await;
        }
        if !self.refund.is_approved_by_person()
            && let Some(why) = self.limit_passed().await?
        {
            return self.open_breaker(why).await;
        }
        let today = BusinessDay::of(self.now);
        let cap = Sen::new(self.ctx.rulebook.policy.refunds.daily_budget_sen);
        if !refunds::spend(self.tx, &self.account.name, today.date(), self.refund.amount, cap).await? {
            return self
                .block(format!("the refund budget of {today} is used up; it goes on the next day"), today.end())
                .await;
        }
        refunds::set_day(self.tx, self.refund.id, today.date()).await?;
        if let Err(reason) = refund_call::mint(self.account, self.row, &mut self.refund) {
            refunds::give_back(self.tx, &self.account.name, &self.refund).await?;
            return self.block(reason, soon).await;
        }
        self.refund.reason = None;
        self.become_(RefundState::Reserved, Some(self.now), false).await?;
        Ok(Next::Again)
    }

    /// The first limit that this refund would pass: of all refunds of the account, then of those for its cause.
    async fn limit_passed(&mut self) -> Result<Option<String>, EngineError> {
        let terms = &self.ctx.rulebook.policy.refunds;
        if let Some(why) = self.passed(&terms.breaker, None).await? {
            return Ok(Some(why));
        }
        let cause = self.refund.cause;
        let Some(limits) = terms.by_cause.terms(cause.as_str()).map(|own| own.breaker) else { return Ok(None) };
        let passed = self.passed(&limits, Some(cause)).await?;
        Ok(passed.map(|why| format!("{why}, of {} alone", cause.as_str())))
    }

    /// The same for one set of limits. What left and what came in is added up only where a limit asks for it: it is the day's
    /// refunds, and the day's payments, under the lock for which all refunds of the account wait.
    async fn passed(&mut self, limits: &RefundBreaker, cause: Option<Flag>) -> Result<Option<String>, EngineError> {
        if *limits == RefundBreaker::default() {
            return Ok(None);
        }
        let flow = refunds::flow(self.tx, &self.account.name, cause, limits.has_ratio()).await?;
        Ok(refund_limits::passed(limits, &flow, self.refund.amount))
    }

    /// A limit is passed: from here on refunds of the account leave by two people only, this one too.
    async fn open_breaker(&mut self, why: String) -> Result<Next, EngineError> {
        tracing::error!(account = %self.account.name, %why, "the refund breaker opens");
        refunds::open_breaker(self.tx, &self.account.name, &why).await?;
        self.row.case.ceiling = self.row.case.ceiling.min(Level::Propose);
        self.back_to_proposed(why).await
    }

    /// Another order that the money may belong to, unless a person has approved the refund with one in sight.
    async fn new_candidate(&mut self) -> Result<Option<Candidate>, EngineError> {
        let looked_at = self.refund.candidate.is_some() && self.refund.is_approved_by_person();
        let case = &self.row.case;
        let (Some(paid), Some(paid_at), false) = (case.paid_amount(), decide::paid_at(case), looked_at) else {
            return Ok(None);
        };
        let rules = self.ctx.rulebook.policy.refunds.counter_evidence;
        let unique = self.ctx.rulebook.terms(&self.account.name).profile.is_some_and(|p| p.payment_id_is_unique);
        let mut payment_ids: Vec<&str> = case.query_facts().filter_map(|f| f.answer.payment_id.as_deref()).collect();
        payment_ids.sort_unstable();
        payment_ids.dedup();
        let (from, to) = (later(paid_at, rules.within_secs.saturating_neg()), later(paid_at, rules.within_secs));
        let search = Search {
            transaction_id: case.order.id,
            account: &case.order.account,
            payment_ids,
            same_payment: rules.same_payment && unique,
            same_id_and_amount: rules.same_id_and_amount.then_some((paid, from, to)),
            amounts: vec![paid, self.refund.amount],
            near: rules.same_amount.then_some((from, to)),
        };
        Ok(counter::candidate(self.tx, &search).await?)
    }
}

/// The candidate as a sentence for people.
fn named(candidate: &Candidate) -> String {
    let other = &candidate.partner_reference_no;
    match candidate.why {
        CandidateWhy::SamePayment => {
            format!("{other} carries the same payment: keep the money for it, or approve the refund")
        }
        CandidateWhy::OpenOrder => {
            format!("{other} waits for the same amount: keep the money for it, or approve the refund")
        }
        CandidateWhy::PaidNearby => {
            format!(
                "{other} was paid the same amount within minutes: look whether one of the two is meant, then approve the refund or keep the money"
            )
        }
    }
}

//! What the answers about a paid row amount to: amount, currency, time, cancellation, contradictions, reversals.
//! Each raises its flag with its reason; no state is chosen here.

use crate::domain::{
    case::Case,
    decide::{
        evidence::{self, Lateness, Match, Regression},
        outcome,
        verdict::Verdict,
    },
    explain::{Reason, Rule},
    fact::Fact,
    money::Sen,
    observation::Observation,
    order::OrderStatus,
    policy::{FlagAction, Policy},
    profile::Profile,
    refund::{Proof, Refund, RefundState},
    state::Flag,
};

/// Amount, currency, time and cancellation of a paid row.
pub(super) fn paid(case: &Case, profile: &Profile, policy: &Policy, first: &Fact, v: &mut Verdict) {
    v.known_paid(first);
    amount(case, policy, first, v);
    if case.duplicate_reference {
        v.raise(
            Flag::DuplicateReference,
            Reason::new(Rule::DuplicateReference)
                .with("reference_no", case.order.reference_no.as_deref().unwrap_or("")),
        );
    }
    cancellation(case, policy, first, v);
    timing(case, profile, policy, first, v);
}

fn amount(case: &Case, policy: &Policy, first: &Fact, v: &mut Verdict) {
    let amount = first.answer.amount.unwrap_or(Sen::ZERO);
    let reason = |rule| Reason::new(rule).with("expected", case.order.amount).with("paid", amount).on(first.seq);
    if first.answer.currency.as_deref() == Some(case.order.currency.as_str()) {
        match evidence::compare(case, amount, first.answer.fee_amount) {
            Match::Exact => v.because.push(reason(Rule::PaidExact)),
            Match::WithTip => v.because.push(reason(Rule::PaidWithTip)),
            Match::WithFee => v.because.push(reason(Rule::PaidWithFee)),
            Match::Truncated => v.because.push(reason(Rule::PaidTruncated)),
            Match::Scale => v.raise(Flag::Scale, reason(Rule::AmountScale)),
            Match::Under => differing(policy, Flag::Underpaid, reason(Rule::AmountUnder), v),
            Match::Over => {
                v.excess = evidence::excess_over(case, amount);
                differing(policy, Flag::Overpaid, reason(Rule::AmountOver).with("excess", v.excess), v);
            }
        }
    } else {
        let theirs = first.answer.currency.clone().unwrap_or_default();
        v.raise(Flag::Currency, reason(Rule::CurrencyDiffers).with("currency", theirs));
    }
}

/// Raises a mismatch, unless the policy accepts it: then it is listed as resolved.
fn differing(policy: &Policy, flag: Flag, reason: Reason, v: &mut Verdict) {
    if policy.action(flag.as_str()) == FlagAction::Accept {
        v.resolved.insert(flag);
        v.because.push(reason);
        v.because.push(Reason::new(Rule::PaidAccepted).with("flag", flag.as_str()));
    } else {
        v.raise(flag, reason);
    }
}

fn cancellation(case: &Case, policy: &Policy, first: &Fact, v: &mut Verdict) {
    if case.order.order_status != OrderStatus::Cancelled {
        return;
    }
    let cancelled_before = case.order_status_before(first.seq) == OrderStatus::Cancelled;
    if cancelled_before && !case.was_ever_fulfilled() {
        let reason = Reason::new(Rule::CancelledBefore).on(first.seq);
        differing(policy, Flag::PaidAfterCancel, reason, v);
    } else {
        v.raise(Flag::CancelledAfterPaid, Reason::new(Rule::CancelledAfter).on(first.seq));
    }
}

fn timing(case: &Case, profile: &Profile, policy: &Policy, first: &Fact, v: &mut Verdict) {
    if let Some(at) = first.answer.paid_time.filter(|_| evidence::is_skewed(first)) {
        v.raise(
            Flag::TimeSkew,
            Reason::new(Rule::TimeSkew)
                .with("paid_time", at.to_rfc3339())
                .with("answered_at", first.answered_at.to_rfc3339())
                .on(first.seq),
        );
    }
    if let Some(raw) = evidence::unzoned(first) {
        // Listed and not open: it is the provider's habit, and nobody can mend it on a single payment.
        v.resolved.insert(Flag::TimeSkew);
        v.because.push(Reason::new(Rule::TimeWithoutZone).with("paid_time", raw).on(first.seq));
    }
    if let Some(closed) = case.prior.closed_seq.filter(|closed| first.seq > *closed) {
        differing(
            policy,
            Flag::PaidAfterClose,
            Reason::new(Rule::AfterClose).with("closed_at_seq", closed).on(first.seq),
            v,
        );
        return;
    }
    match evidence::lateness(case, profile, first) {
        Lateness::NotProven => {}
        Lateness::PaidTime(at) => {
            let reason = Reason::new(Rule::LateByPaidTime).with("paid_time", at.to_rfc3339()).on(first.seq);
            differing(policy, Flag::PaidLate, reason, v);
        }
        Lateness::UnpaidAnswer(seq) => {
            differing(policy, Flag::PaidLate, Reason::new(Rule::LateByAnswer).on(seq).on(first.seq), v);
        }
    }
}

/// Later answers that do not fit the first PAID.
pub(super) fn contradictions(case: &Case, policy: &Policy, first: &Fact, v: &mut Verdict) {
    let changed = evidence::changed_amounts(case, first);
    if !changed.is_empty() {
        let twice = changed.len() > 1;
        let rule = if twice { Rule::AmountChangedTwice } else { Rule::AmountChanged };
        let reason = Reason { rule, inputs: Vec::new(), facts: changed };
        if twice {
            v.raise_for_person(Flag::AmountChanged, reason);
        } else {
            v.raise(Flag::AmountChanged, reason);
        }
    }
    let others = evidence::other_payments(case);
    if !others.is_empty() {
        let reason = Reason { rule: Rule::DuplicatePayment, inputs: Vec::new(), facts: others };
        differing(policy, Flag::DuplicatePayment, reason, v);
    }
    // What went back in full may well be called dead by its provider.
    if !outcome::all_back(case) {
        match evidence::regression(case, policy, first) {
            Regression::None => {}
            Regression::Once(seq) => v.because.push(Reason::new(Rule::RegressionOnce).on(seq)),
            Regression::Twice(facts) => {
                let reason = Reason { rule: Rule::RegressionTwice, inputs: Vec::new(), facts };
                v.raise_for_person(Flag::Regression, reason);
            }
        }
    }
}

/// What REVERSED answers mean beside our own refunds.
pub(super) fn reversals(case: &Case, v: &mut Verdict) {
    let Some(reversed) = case.query_facts().rev().find(|f| f.heard() == Observation::Reversed) else {
        return;
    };
    let paid = v.paid_amount.unwrap_or(Sen::ZERO);
    // A transfer by hand is nothing that the provider knows of: what it calls reversed is another matter.
    let ours = || case.refunds.iter().filter(|r| !r.is_manual());
    let in_full = |state| ours().find(|r| r.is_full(paid) && r.state == state);
    if let Some(refund) = in_full(RefundState::Confirmed) {
        reversed_after_ours(case, refund, reversed, v);
        return;
    }
    let waits = in_full(RefundState::Unknown).is_some() || ours().any(|r| r.state == RefundState::Sending);
    if waits {
        v.because.push(Reason::new(Rule::ReversedWhileSending).on(reversed.seq));
        return;
    }
    v.raise_for_person(Flag::RefundedOutside, Reason::new(Rule::ReversedOutside).on(reversed.seq));
}

/// A REVERSED that our own full refund explains; a proof that two later PAID answers contradict is none.
fn reversed_after_ours(case: &Case, refund: &Refund, reversed: &Fact, v: &mut Verdict) {
    if refund.proof != Some(Proof::Query) {
        v.because.push(Reason::new(Rule::ReversedOurs).on(reversed.seq));
        return;
    }
    let ended = refund.last_ended_at.or(refund.last_sent_at);
    let proof =
        case.query_facts().find(|f| f.heard() == Observation::Reversed && Some(f.sent_at) > ended).unwrap_or(reversed);
    let paid_since: Vec<i32> = evidence::paid_facts(case).filter(|f| f.seq > proof.seq).map(|f| f.seq).collect();
    if paid_since.len() < 2 {
        v.because.push(Reason::new(Rule::RefundProvedByQuery).on(proof.seq));
        return;
    }
    let mut reason = Reason::new(Rule::RefundContradicted).on(proof.seq);
    reason.facts.extend(paid_since);
    v.raise_for_person(Flag::RefundUnknown, reason);
}

/// Refunds that the saga has given to a person.
pub(super) fn doubtful_refunds(case: &Case, v: &mut Verdict) {
    for refund in case.refunds.iter().filter(|r| r.state.holds_reservation()) {
        if let Some(flag) = refund.needs_person {
            let rule = if flag == Flag::RefundAmountDiffers {
                Rule::RefundAmountDiffers
            } else if flag == Flag::RefundBlocked {
                Rule::RefundBlocked
            } else {
                Rule::RefundUnknown
            };
            let reason = Reason::new(rule).with("cause", refund.cause.as_str()).with("sequence", refund.sequence);
            v.raise_for_person(flag, reason);
        }
    }
}

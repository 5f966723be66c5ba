//! From evidence to a state: which flags are open, which of them decides, and what the row therefore is.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::domain::{
    case::Case,
    decide::{
        Action,
        evidence::{self, Lateness, Match, Regression},
        owed,
    },
    explain::{Reason, Rule},
    fact::Fact,
    money::Sen,
    observation::Observation,
    order::{OrderStatus, later},
    policy::{FlagAction, Policy},
    profile::Profile,
    refund::{Proof, RefundState},
    state::{Flag, State},
};

/// A decision without its bookkeeping.
pub(super) struct Verdict {
    pub(super) state: State,
    pub(super) open: BTreeSet<Flag>,
    pub(super) resolved: BTreeSet<Flag>,
    pub(super) paid_amount: Option<Sen>,
    pub(super) fee_amount: Option<Sen>,
    pub(super) paid_at: Option<DateTime<Utc>>,
    pub(super) closed_seq: Option<i32>,
    pub(super) excess: Sen,
    pub(super) actions: Vec<Action>,
    pub(super) because: Vec<Reason>,
}

impl Verdict {
    fn new(case: &Case) -> Self {
        Self {
            state: State::Pending,
            open: BTreeSet::new(),
            resolved: BTreeSet::new(),
            paid_amount: None,
            fee_amount: None,
            paid_at: None,
            closed_seq: case.prior.closed_seq,
            excess: Sen::ZERO,
            actions: Vec::new(),
            because: Vec::new(),
        }
    }

    fn raise(&mut self, flag: Flag, reason: Reason) {
        self.open.insert(flag);
        self.because.push(reason);
    }
}

/// Money in.
pub(super) fn pay_in(case: &Case, profile: &Profile, policy: &Policy, now: DateTime<Utc>) -> Verdict {
    let mut v = Verdict::new(case);
    let mut needs_person = identity(case, &mut v);
    let reversed = case.query_facts().find(|f| f.answer.observation == Observation::Reversed);
    match case.first_paid() {
        Some(first) => {
            paid(case, profile, policy, first, &mut v);
            needs_person |= contradictions(case, policy, first, &mut v);
            needs_person |= reversals(case, &mut v);
            needs_person |= doubtful_refunds(case, &mut v);
            settle_state(case, profile, policy, needs_person, &mut v);
        }
        None => match reversed {
            Some(fact) => {
                v.raise(Flag::RefundedOutside, Reason::new(Rule::ReversedOutside).on(fact.seq));
                v.state = State::Review;
            }
            None => unpaid_so_far(case, profile, policy, now, needs_person, &mut v),
        },
    }
    v
}

/// Payouts are observed only: paid, pending, or a person's.
pub(super) fn payout(case: &Case, profile: &Profile, policy: &Policy, now: DateTime<Utc>) -> Verdict {
    let mut v = Verdict::new(case);
    let needs_person = identity(case, &mut v);
    if let Some(first) = case.first_paid() {
        v.paid_amount = first.answer.amount;
        v.fee_amount = first.answer.fee_amount;
        v.paid_at = Some(first.answer.paid_time.unwrap_or(first.answered_at));
        v.state = State::Paid;
        v.because.push(Reason::new(Rule::PayoutPaid).on(first.seq));
    }
    let dead: Vec<&Fact> = case.query_facts().filter(|f| f.answer.observation.is_dead()).collect();
    let times = dead.iter().map(|f| f.sightings).fold(0, i32::saturating_add);
    if let (true, Some(last)) = (times >= 2, dead.last()) {
        v.raise(Flag::PayoutNotDone, Reason::new(Rule::PayoutNotDone).on(last.seq));
        v.state = State::Review;
    } else if needs_person {
        v.state = State::Review;
    } else if v.state == State::Pending {
        let stuck_at = later(evidence::watch_ends(case, profile, policy), policy.stuck_after_secs);
        stuck(case, stuck_at, now, &mut v);
    }
    v
}

/// Wrong references or another merchant: a flag at once, a person at the third in a row.
fn identity(case: &Case, v: &mut Verdict) -> bool {
    let (count, facts) = evidence::wrong_echoes(case);
    if count == 0 {
        return false;
    }
    let rule = if count >= 3 { Rule::IdentityThrice } else { Rule::IdentityDiffers };
    v.raise(Flag::Identity, Reason { rule, inputs: vec![("in_a_row", count.to_string())], facts });
    count >= 3
}

/// No PAID yet: keep asking, close when enough was heard, call a person when nothing was.
fn unpaid_so_far(
    case: &Case,
    profile: &Profile,
    policy: &Policy,
    now: DateTime<Utc>,
    needs_person: bool,
    v: &mut Verdict,
) {
    let deadline = evidence::watch_ends(case, profile, policy);
    if needs_person {
        v.state = State::Review;
    } else if case.prior.state == State::Unpaid {
        v.state = State::Unpaid;
        v.because.push(Reason::new(Rule::ClosedUnpaid));
    } else if let Some(facts) = evidence::closing(case, policy, deadline) {
        v.state = State::Unpaid;
        v.closed_seq = Some(case.last_seq());
        v.because.push(Reason {
            rule: Rule::ClosedUnpaid,
            inputs: vec![("watch_ended", deadline.to_rfc3339())],
            facts,
        });
    } else {
        stuck(case, later(deadline, policy.stuck_after_secs), now, v);
        if v.state == State::Pending {
            let last = case.last_answer();
            let reason = Reason::new(if last.is_some() { Rule::NotPaidYet } else { Rule::NothingSaid });
            v.because.push(match last {
                Some(f) => reason.with("last", f.answer.observation.as_str()).on(f.seq),
                None => reason,
            });
        }
    }
}

/// Outages do not age a row: the time in which nobody could ask is added to the limit.
fn stuck(case: &Case, stuck_at: DateTime<Utc>, now: DateTime<Utc>, v: &mut Verdict) {
    let paused = case.outage_secs(case.order.created_at, now);
    if now >= later(stuck_at, paused) {
        v.raise(Flag::Stuck, Reason::new(Rule::Stuck).with("limit", stuck_at.to_rfc3339()).with("outage_secs", paused));
        v.state = State::Review;
    }
}

/// Amount, currency, time and cancellation of a paid row.
fn paid(case: &Case, profile: &Profile, policy: &Policy, first: &Fact, v: &mut Verdict) {
    v.paid_amount = first.answer.amount;
    v.fee_amount = first.answer.fee_amount;
    v.paid_at = Some(first.answer.paid_time.unwrap_or(first.answered_at));
    let amount = first.answer.amount.unwrap_or(Sen::ZERO);
    let reason = |rule| Reason::new(rule).with("expected", case.order.amount).with("paid", amount).on(first.seq);
    if first.answer.currency.as_deref() != Some(case.order.currency.as_str()) {
        let theirs = first.answer.currency.clone().unwrap_or_default();
        v.raise(Flag::Currency, reason(Rule::CurrencyDiffers).with("currency", theirs));
    } else {
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
    }
    if case.duplicate_reference {
        v.raise(
            Flag::DuplicateReference,
            Reason::new(Rule::DuplicateReference)
                .with("reference_no", case.order.reference_no.as_deref().unwrap_or("")),
        );
    }
    cancellation(case, first, v);
    timing(case, profile, policy, first, v);
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

fn cancellation(case: &Case, first: &Fact, v: &mut Verdict) {
    if case.order.order_status != OrderStatus::Cancelled {
        return;
    }
    let cancelled_before = case.order_status_before(first.seq) == OrderStatus::Cancelled;
    if cancelled_before && !case.was_ever_fulfilled() {
        v.raise(Flag::PaidAfterCancel, Reason::new(Rule::CancelledBefore).on(first.seq));
    } else {
        v.raise(Flag::CancelledAfterPaid, Reason::new(Rule::CancelledAfter).on(first.seq));
    }
}

fn timing(case: &Case, profile: &Profile, policy: &Policy, first: &Fact, v: &mut Verdict) {
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
            differing(policy, Flag::PaidLate, Reason::new(Rule::LateByAnswer).on(seq).on(first.seq), v)
        }
    }
}

/// Later answers that do not fit the first PAID. True where a person must look.
fn contradictions(case: &Case, policy: &Policy, first: &Fact, v: &mut Verdict) -> bool {
    let mut needs_person = false;
    let changed = evidence::changed_amounts(case, first);
    if !changed.is_empty() {
        let twice = changed.len() > 1;
        needs_person |= twice;
        let rule = if twice { Rule::AmountChangedTwice } else { Rule::AmountChanged };
        v.raise(Flag::AmountChanged, Reason { rule, inputs: Vec::new(), facts: changed });
    }
    let others = evidence::other_payments(case, first);
    if !others.is_empty() {
        v.raise(Flag::DuplicatePayment, Reason { rule: Rule::DuplicatePayment, inputs: Vec::new(), facts: others });
    }
    let all_back =
        case.refunds.iter().any(|r| r.state == RefundState::Confirmed && v.paid_amount.is_some_and(|p| r.is_full(p)));
    if !all_back {
        match evidence::regression(case, policy, first) {
            Regression::None => {}
            Regression::Once(seq) => v.because.push(Reason::new(Rule::RegressionOnce).on(seq)),
            Regression::Twice(facts) => {
                v.raise(Flag::Regression, Reason { rule: Rule::RegressionTwice, inputs: Vec::new(), facts });
                needs_person = true;
            }
        }
    }
    needs_person
}

/// What a REVERSED answer means beside our own refunds. True where a person must look.
fn reversals(case: &Case, v: &mut Verdict) -> bool {
    let Some(reversed) = case.query_facts().rev().find(|f| f.answer.observation == Observation::Reversed) else {
        return false;
    };
    let paid = v.paid_amount.unwrap_or(Sen::ZERO);
    let full = case
        .refunds
        .iter()
        .find(|r| r.is_full(paid) && (r.state == RefundState::Confirmed || r.state.holds_reservation()));
    if let Some(refund) = full.filter(|r| r.state == RefundState::Confirmed) {
        let paid_since =
            case.query_facts().filter(|f| f.seq > reversed.seq && f.answer.observation == Observation::Paid).count();
        if refund.proof == Some(Proof::Query) && paid_since >= 2 {
            v.raise(Flag::RefundUnknown, Reason::new(Rule::RefundContradicted).on(reversed.seq));
            return true;
        }
        v.because.push(Reason::new(Rule::ReversedOurs).on(reversed.seq));
        return false;
    }
    let waits = case.refunds.iter().any(|r| r.state == RefundState::Sending)
        || full.is_some_and(|r| r.state == RefundState::Unknown);
    if waits {
        v.because.push(Reason::new(Rule::ReversedWhileSending).on(reversed.seq));
        return false;
    }
    v.raise(Flag::RefundedOutside, Reason::new(Rule::ReversedOutside).on(reversed.seq));
    true
}

/// Refunds that the saga has given to a person.
fn doubtful_refunds(case: &Case, v: &mut Verdict) -> bool {
    let mut needs_person = false;
    for refund in &case.refunds {
        if let Some(flag) = refund.needs_person {
            let rule = if flag == Flag::RefundAmountDiffers { Rule::RefundAmountDiffers } else { Rule::RefundUnknown };
            v.raise(flag, Reason::new(rule).with("cause", refund.cause.as_str()).with("sequence", refund.sequence));
            needs_person = true;
        }
    }
    needs_person
}

/// Chooses the state of a paid row from its open flags and its refunds.
fn settle_state(case: &Case, profile: &Profile, policy: &Policy, needs_person: bool, v: &mut Verdict) {
    settle_causes(case, v);
    let deciding = v.open.iter().copied().find(|f| f.is_blocker() || f.is_cause());
    let owed = owed::refunds(case, profile, policy, deciding);
    v.actions.extend(owed.actions);
    v.because.extend(owed.because);
    if owed.blocked {
        v.open.insert(Flag::RefundBlocked);
    }
    let paid = v.paid_amount.unwrap_or(Sen::ZERO);
    let own = |keep: fn(RefundState) -> bool| {
        case.refunds.iter().filter(|r| r.is_own_money() && keep(r.state)).fold(Sen::ZERO, |sum, r| sum.plus(r.amount))
    };
    let returned = own(|s| s == RefundState::Confirmed);
    let all_returned =
        case.refunds.iter().filter(|r| r.state == RefundState::Confirmed).fold(Sen::ZERO, |sum, r| sum.plus(r.amount));
    v.state = if needs_person {
        State::Review
    } else if own(RefundState::holds_reservation).is_positive() {
        v.because.push(Reason::new(Rule::Refunding));
        State::Refunding
    } else if returned.is_positive() && all_returned >= paid {
        v.because.push(Reason::new(Rule::RefundedInFull).with("returned", all_returned));
        State::Refunded
    } else if returned.is_positive() {
        v.because.push(Reason::new(Rule::RefundedInPart).with("returned", returned));
        State::PartlyRefunded
    } else if let Some(flag) = deciding.filter(|f| holds_row(case, policy, *f)) {
        v.because.push(Reason::new(Rule::HeldByCause).with("cause", flag.as_str()));
        State::Held
    } else {
        State::Paid
    };
}

/// A cause whose money went back is settled: the flag stays listed and blocks nothing.
fn settle_causes(case: &Case, v: &mut Verdict) {
    for refund in case.refunds.iter().filter(|r| r.state == RefundState::Confirmed) {
        if v.open.remove(&refund.cause) {
            v.resolved.insert(refund.cause);
        }
    }
    let all_back =
        case.refunds.iter().any(|r| r.state == RefundState::Confirmed && v.paid_amount.is_some_and(|p| r.is_full(p)));
    if all_back {
        let causes: Vec<Flag> = v.open.iter().copied().filter(|f| f.is_cause()).collect();
        for flag in causes {
            v.open.remove(&flag);
            v.resolved.insert(flag);
        }
    }
}

/// Does this flag, deciding, keep the money from the merchant? An amount changed once, and an identity slip on a paid
/// row, freeze refunds and leave the row paid until they are seen again.
fn holds_row(case: &Case, policy: &Policy, flag: Flag) -> bool {
    match flag {
        Flag::AmountChanged | Flag::Identity => false,
        Flag::Overpaid => owed::action_for(case, policy, flag) == FlagAction::Hold,
        _ => owed::action_for(case, policy, flag) != FlagAction::Accept,
    }
}

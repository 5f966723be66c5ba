//! From a case to its verdict: who is asked which question in which order. What a paid row's answers amount to is
//! `paid`; which state its flags and refunds make is `outcome`.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::domain::{
    case::Case,
    decide::{
        Action, evidence, outcome,
        paid::{contradictions, doubtful_refunds, paid, reversals},
        people,
    },
    explain::{Reason, Rule},
    fact::Fact,
    money::Sen,
    observation::Observation,
    order::{OrderStatus, later},
    policy::Policy,
    profile::Profile,
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
    /// Flags that no rule can settle while they are open.
    pub(super) for_person: BTreeSet<Flag>,
    /// The answers that raised each flag.
    pub(super) raised_on: BTreeMap<Flag, Vec<i32>>,
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
            for_person: BTreeSet::new(),
            raised_on: BTreeMap::new(),
        }
    }

    /// Takes over what the first PAID says about the money.
    pub(super) fn known_paid(&mut self, first: &Fact) {
        self.paid_amount = first.answer.amount;
        self.fee_amount = first.answer.fee_amount;
        self.paid_at = Some(evidence::trusted_paid_time(first).unwrap_or(first.answered_at));
    }

    pub(super) fn raise(&mut self, flag: Flag, reason: Reason) {
        self.open.insert(flag);
        self.raised_on.entry(flag).or_default().extend(&reason.facts);
        self.because.push(reason);
    }

    /// The same where a person must look.
    pub(super) fn raise_for_person(&mut self, flag: Flag, reason: Reason) {
        self.for_person.insert(flag);
        self.raise(flag, reason);
    }

    /// Is a flag open that only a person can settle?
    pub(super) fn needs_person(&self) -> bool {
        self.for_person.iter().any(|flag| self.open.contains(flag))
    }
}

/// Money in.
pub(super) fn pay_in(case: &Case, profile: &Profile, policy: &Policy, now: DateTime<Utc>) -> Verdict {
    let mut v = Verdict::new(case);
    identity(case, &mut v);
    let reversed = case.query_facts().find(|f| f.heard() == Observation::Reversed);
    if let Some(first) = case.first_paid() {
        paid(case, profile, policy, first, &mut v);
        contradictions(case, policy, first, &mut v);
        reversals(case, &mut v);
        doubtful_refunds(case, &mut v);
        people::requested(case, &mut v);
        people::settle(case, &mut v);
        outcome::settle(case, &outcome::Settled { profile, policy, now }, &mut v);
        return v;
    }
    if let Some(fact) = reversed {
        v.raise_for_person(Flag::RefundedOutside, Reason::new(Rule::ReversedOutside).on(fact.seq));
        v.state = State::Review;
    } else {
        people::settle(case, &mut v);
        unpaid_so_far(case, profile, policy, now, &mut v);
    }
    people::close(case, &mut v);
    cancel_qr(case, profile, now, &mut v);
    v
}

/// The QR of a cancelled order that nobody has paid is ended at the provider, once, where the profile allows it and while
/// it could still be paid. Whether it was paid in between, the next query says.
fn cancel_qr(case: &Case, profile: &Profile, now: DateTime<Utc>, v: &mut Verdict) {
    let payable = v.state == State::Pending && now < case.order.valid_until(profile.default_validity_secs);
    let cancelled = case.order.order_status == OrderStatus::Cancelled;
    if profile.cancel_qr && cancelled && payable && !case.qr_cancel_asked {
        v.because.push(Reason::new(Rule::QrCancelAsked));
        v.actions.push(Action::CancelQr);
    }
}

/// Payouts are observed only: paid, pending, or a person's.
pub(super) fn payout(case: &Case, profile: &Profile, policy: &Policy, now: DateTime<Utc>) -> Verdict {
    let mut v = Verdict::new(case);
    identity(case, &mut v);
    if let Some(first) = case.first_paid() {
        v.known_paid(first);
        v.state = State::Paid;
        v.because.push(Reason::new(Rule::PayoutPaid).on(first.seq));
    }
    let dead: Vec<&Fact> =
        case.query_facts().filter(|f| f.heard().is_dead() || f.heard() == Observation::Reversed).collect();
    let times = dead.iter().map(|f| f.sightings).fold(0, i32::saturating_add);
    if let (true, Some(last)) = (times >= 2, dead.last()) {
        v.raise_for_person(Flag::PayoutNotDone, Reason::new(Rule::PayoutNotDone).on(last.seq));
    }
    people::settle(case, &mut v);
    if v.needs_person() {
        v.state = State::Review;
    } else if v.state == State::Pending {
        let stuck_at = later(evidence::watch_ends(case, profile, policy), policy.stuck_after_secs);
        stuck(case, stuck_at, now, &mut v);
        not_paid_yet(case, &mut v);
    }
    v
}

/// Wrong references or another merchant: a flag at once, a person at the third in a row.
fn identity(case: &Case, v: &mut Verdict) {
    let (count, facts) = evidence::wrong_echoes(case);
    if count == 0 {
        return;
    }
    let rule = if count >= 3 { Rule::IdentityThrice } else { Rule::IdentityDiffers };
    let reason = Reason { rule, inputs: vec![("in_a_row", count.to_string())], facts };
    if count >= 3 {
        v.raise_for_person(Flag::Identity, reason);
    } else {
        v.raise(Flag::Identity, reason);
    }
}

/// No PAID yet: keep asking, close when enough was heard, call a person when nothing was.
fn unpaid_so_far(case: &Case, profile: &Profile, policy: &Policy, now: DateTime<Utc>, v: &mut Verdict) {
    let deadline = evidence::watch_ends(case, profile, policy);
    if v.needs_person() {
        v.state = State::Review;
    } else if let Some(closed) = still_closed(case, deadline, now, v) {
        v.state = State::Unpaid;
        v.closed_seq = Some(closed);
        v.because.push(Reason::new(Rule::ClosedUnpaid).with("closed_at_seq", closed));
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
        not_paid_yet(case, v);
    }
}

/// Says why a row is pending, if it still is.
fn not_paid_yet(case: &Case, v: &mut Verdict) {
    if v.state != State::Pending {
        return;
    }
    v.because.push(match case.last_answer() {
        Some(last) => Reason::new(Rule::NotPaidYet).with("last", last.heard().as_str()).on(last.seq),
        None => Reason::new(Rule::NothingSaid),
    });
}

/// A closed row stays closed until somebody says PAID, or the merchant gives it a validity whose watch is not over:
/// then its QR can be paid in time again, and it is asked as if it had never been closed.
fn still_closed(case: &Case, deadline: DateTime<Utc>, now: DateTime<Utc>, v: &mut Verdict) -> Option<i32> {
    if case.prior.state != State::Unpaid {
        return None;
    }
    let closed = case.prior.closed_seq.unwrap_or_else(|| case.last_seq());
    let mended = case.changes.iter().find(|c| c.seq > closed && c.from == c.to).filter(|_| now < deadline);
    if let Some(change) = mended {
        v.closed_seq = None;
        v.because.push(
            Reason::new(Rule::Reopened).with("watch_ends", deadline.to_rfc3339()).with("changed_at_seq", change.seq),
        );
        return None;
    }
    Some(closed)
}

/// Outages do not age a row: the time in which nobody could ask is added to the limit.
fn stuck(case: &Case, stuck_at: DateTime<Utc>, now: DateTime<Utc>, v: &mut Verdict) {
    let paused = case.outage_secs(case.order.created_at, now);
    if now >= later(stuck_at, paused) {
        v.raise(Flag::Stuck, Reason::new(Rule::Stuck).with("limit", stuck_at.to_rfc3339()).with("outage_secs", paused));
        v.state = State::Review;
    }
}

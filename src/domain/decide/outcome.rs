//! Which state a paid row's open flags and refunds make of it. Who raised the flags is `paid`; what is owed is `owed`.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::domain::{
    case::Case,
    decide::{Action, evidence, owed, verdict::Verdict},
    explain::{Reason, Rule},
    money::Sen,
    policy::{FlagAction, Policy},
    profile::Profile,
    refund::{Refund, RefundState},
    state::{Flag, State},
};

/// Under what a paid row is settled.
#[derive(Clone, Copy)]
pub(super) struct Settled<'a> {
    pub(super) profile: &'a Profile,
    pub(super) policy: &'a Policy,
    pub(super) now: DateTime<Utc>,
}

/// Chooses the state, and proposes, approves or ends refunds.
pub(super) fn settle(case: &Case, terms: &Settled<'_>, v: &mut Verdict) {
    let policy = terms.policy;
    settle_causes(case, v);
    let deciding = v.open.iter().copied().find(|f| f.is_blocker() || f.is_cause());
    let owed = owed::refunds(case, terms, &v.open);
    v.actions.extend(owed.actions);
    v.because.extend(owed.because);
    if owed.blocked {
        v.open.insert(Flag::RefundBlocked);
    }
    let ended = expired_ids(&v.actions);
    let own =
        |keep: fn(RefundState) -> bool| sum(case, |r| r.is_own_money() && keep(r.state) && !ended.contains(&r.id));
    let returned = own(|s| s == RefundState::Confirmed);
    v.state = if v.needs_person() {
        State::Review
    } else if own(RefundState::holds_reservation).is_positive() {
        v.because.push(Reason::new(Rule::Refunding));
        State::Refunding
    } else if returned.is_positive() && all_back(case) {
        v.because.push(Reason::new(Rule::RefundedInFull).with("returned", confirmed(case)));
        State::Refunded
    } else if let Some(flag) = deciding.filter(|f| holds_row(case, policy, *f)) {
        v.because.push(Reason::new(Rule::HeldByCause).with("cause", flag.as_str()));
        State::Held
    } else if returned.is_positive() {
        v.because.push(Reason::new(Rule::RefundedInPart).with("returned", returned));
        State::PartlyRefunded
    } else {
        State::Paid
    };
}

/// Refunds that these actions end.
pub(super) fn expired_ids(actions: &[Action]) -> BTreeSet<i64> {
    actions
        .iter()
        .filter_map(|a| match a {
            Action::Expire { refund_id, .. } => Some(*refund_id),
            Action::Propose { .. } | Action::Approve { .. } | Action::CancelQr => None,
        })
        .collect()
}

fn sum(case: &Case, keep: impl Fn(&Refund) -> bool) -> Sen {
    case.refunds.iter().filter(|r| keep(r)).fold(Sen::ZERO, |sum, r| sum.plus(r.amount))
}

fn confirmed(case: &Case) -> Sen {
    sum(case, |r| r.state == RefundState::Confirmed)
}

/// Has all that was paid gone back by our own, confirmed refunds?
pub(super) fn all_back(case: &Case) -> bool {
    let back = confirmed(case);
    back.is_positive() && case.paid_amount().is_some_and(|paid| back >= paid)
}

/// A cause whose money went back is settled: the flag stays listed and blocks nothing.
fn settle_causes(case: &Case, v: &mut Verdict) {
    let everything = all_back(case);
    let settled: Vec<Flag> =
        v.open.iter().copied().filter(|f| f.is_cause() && (everything || is_settled(case, *f))).collect();
    for flag in settled {
        v.open.remove(&flag);
        v.resolved.insert(flag);
    }
}

/// Is there a confirmed refund for this cause? An excess is settled only once all of it went back.
fn is_settled(case: &Case, cause: Flag) -> bool {
    let back = sum(case, |r| r.cause == cause && r.state == RefundState::Confirmed);
    let debt = match (cause, case.paid_amount()) {
        (Flag::Overpaid, Some(paid)) => evidence::excess_over(case, paid),
        _ => Sen::ZERO,
    };
    back.is_positive() && back >= debt
}

/// Does this flag, deciding, keep the money from the merchant? A slip of identity on a paid row does not: an answer
/// about another payment is no answer about this one. It freezes refunds until it is healed or a person looks.
fn holds_row(case: &Case, policy: &Policy, flag: Flag) -> bool {
    let action = owed::action_for(case, policy, flag);
    if flag == Flag::Identity || flag == Flag::Requested {
        false
    } else if flag == Flag::Overpaid {
        action == FlagAction::Hold
    } else {
        action != FlagAction::Accept
    }
}

//! What is owed back, and which refunds are proposed, approved or expired because of it. Whether and when money
//! really leaves is the saga's.

use crate::domain::{
    case::Case,
    decide::{Action, evidence},
    explain::{Reason, Rule},
    money::Sen,
    policy::{FlagAction, Policy, RefundMode},
    profile::Profile,
    refund::{POLICY_ACTOR, Refund, RefundState},
    saga,
    state::Flag,
};

/// What the policy does about a cause on this row: `refund_full` never leaves an order that was ever fulfilled.
pub(crate) fn action_for(case: &Case, policy: &Policy, cause: Flag) -> FlagAction {
    if cause.is_blocker() || cause == Flag::CancelledAfterPaid {
        return FlagAction::Hold;
    }
    match policy.action(cause.as_str()) {
        FlagAction::RefundFull if case.was_ever_fulfilled() => FlagAction::Hold,
        action => action,
    }
}

/// What is still owed for a cause: the debt less all that is reserved, unknown, confirmed or returned outside.
pub(crate) fn owed(case: &Case, policy: &Policy, cause: Flag, except: Option<i64>) -> Sen {
    let Some(paid) = case.paid_amount() else {
        return Sen::ZERO;
    };
    let debt = match action_for(case, policy, cause) {
        FlagAction::RefundFull => paid,
        FlagAction::RefundDifference => evidence::excess_over(case, paid),
        FlagAction::Hold | FlagAction::Accept => Sen::ZERO,
    };
    let gone = case
        .refunds
        .iter()
        .filter(|r| Some(r.id) != except || r.id == 0)
        .filter(|r| r.state == RefundState::Confirmed || r.state.holds_reservation())
        .fold(case.refunded_outside, |sum, r| sum.plus(r.amount));
    let rest = debt.minus(gone);
    if rest.is_positive() { rest } else { Sen::ZERO }
}

/// Refund actions of a decision, and whether something owed cannot go.
pub(super) struct Owed {
    pub(super) actions: Vec<Action>,
    pub(super) because: Vec<Reason>,
    pub(super) blocked: bool,
}

/// Decides about the refund of the first open cause.
pub(super) fn refunds(case: &Case, profile: &Profile, policy: &Policy, cause: Option<Flag>) -> Owed {
    let mut out = Owed { actions: Vec::new(), because: Vec::new(), blocked: false };
    expire_what_no_longer_stands(case, cause, &mut out);
    let Some(cause) = cause.filter(|c| c.is_cause()) else {
        return out;
    };
    let wanted = owed(case, policy, cause, None);
    let living = case.refunds.iter().find(|r| r.cause == cause && r.state.occupies_cause());
    if let Some(refund) = living {
        approve_by_policy(case, policy, refund, &mut out);
        out.blocked |= refund.state == RefundState::Approved && refund.reason.is_some();
        return out;
    }
    if wanted < Sen::new(policy.refunds.min_refund_sen)
        || !wanted.is_positive()
        || policy.refunds.mode == RefundMode::Off
    {
        return out;
    }
    let full = case.paid_amount() == Some(wanted);
    let able = profile.refund.as_ref().is_some_and(|ability| full || ability.partial);
    let hash = saga::content_hash(case, None);
    let settled_no = case.refunds.iter().any(|r| {
        r.cause == cause
            && (r.state == RefundState::Refused || (r.state == RefundState::Denied && r.content_hash == hash))
    });
    if !able || settled_no {
        out.blocked = !case.refunds.iter().any(|r| r.cause == cause && r.state == RefundState::Denied) || !able;
        if out.blocked {
            out.because.push(
                Reason::new(Rule::RefundBlocked)
                    .with("cause", cause.as_str())
                    .with("amount", wanted)
                    .with("by_api", able),
            );
        }
        return out;
    }
    let approve = policy.refunds.mode == RefundMode::Auto && wanted <= Sen::new(policy.refunds.auto_limit_sen);
    out.because.push(
        Reason::new(Rule::RefundProposed)
            .with("cause", cause.as_str())
            .with("amount", wanted)
            .with("approved", approve),
    );
    out.actions.push(Action::Propose { cause, amount: wanted, approve, content_hash: hash });
    out
}

/// An unsent refund whose cause is no longer the one that decides, or that a blocker freezes for good, ends.
fn expire_what_no_longer_stands(case: &Case, cause: Option<Flag>, out: &mut Owed) {
    let ending = match cause {
        Some(flag @ (Flag::CancelledAfterPaid | Flag::RefundedOutside | Flag::Regression)) => Some(flag),
        _ => None,
    };
    for refund in case.refunds.iter().filter(|r| r.state.is_unsent()) {
        if let Some(flag) = ending {
            out.actions.push(Action::Expire {
                refund_id: refund.id,
                reason: format!("{} came up before it was sent", flag.as_str()),
            });
            out.because.push(
                Reason::new(Rule::RefundExpired).with("cause", refund.cause.as_str()).with("because", flag.as_str()),
            );
        }
    }
}

/// In `auto` mode a proposal of the policy itself goes on without a person, up to the limit.
fn approve_by_policy(case: &Case, policy: &Policy, refund: &Refund, out: &mut Owed) {
    let auto = policy.refunds.mode == RefundMode::Auto
        && refund.state == RefundState::Proposed
        && refund.proposed_by == POLICY_ACTOR
        && refund.amount <= Sen::new(policy.refunds.auto_limit_sen)
        && refund.amount == owed(case, policy, refund.cause, Some(refund.id));
    if auto {
        out.because
            .push(Reason::new(Rule::RefundApproved).with("cause", refund.cause.as_str()).with("amount", refund.amount));
        out.actions
            .push(Action::Approve { refund_id: refund.id, content_hash: saga::content_hash(case, Some(refund.id)) });
    }
}

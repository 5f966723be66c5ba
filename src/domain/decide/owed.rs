//! What is owed back, and which refunds are proposed, approved or expired because of it. Whether and when money
//! really leaves is the saga's.

use std::collections::BTreeSet;

use crate::domain::{
    case::Case,
    decide::{Action, evidence, outcome::Settled},
    explain::{Reason, Rule},
    money::Sen,
    policy::{FlagAction, Policy, RefundMode},
    refund::{POLICY_ACTOR, Refund, RefundState},
    saga,
    state::Flag,
};

/// What the policy does about a cause on this row: `refund_full` never leaves an order that was ever fulfilled.
pub(crate) fn action_for(case: &Case, policy: &Policy, cause: Flag) -> FlagAction {
    if cause.is_blocker() || cause == Flag::CancelledAfterPaid || case.is_kept(cause) {
        return FlagAction::Hold;
    }
    let action = policy.action(cause.as_str());
    if action == FlagAction::RefundFull && case.was_ever_fulfilled() { FlagAction::Hold } else { action }
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

/// Decides about the refund of the first open flag that decides: a blocker lets nothing new leave.
pub(super) fn refunds(case: &Case, terms: &Settled<'_>, open: &BTreeSet<Flag>) -> Owed {
    let policy = terms.policy;
    let mut out = Owed { actions: Vec::new(), because: Vec::new(), blocked: false };
    expire_what_no_longer_stands(case, policy, open, &mut out);
    if case.is_disputed() {
        out.because.push(Reason::new(Rule::RefundDisputed));
        return out;
    }
    let deciding = open.iter().find(|f| f.is_blocker() || f.is_cause());
    let Some(cause) = deciding.copied().filter(|c| c.is_cause()) else {
        return out;
    };
    let living = case.refunds.iter().find(|r| r.cause == cause && r.state.occupies_cause());
    if let Some(refund) = living {
        // One that ends now is followed by the next decision.
        if out.actions.is_empty() {
            approve_by_policy(case, policy, refund, &mut out);
        }
        // A transfer by hand stays in people's eyes until one of them has made it.
        let waits = Reason::new(Rule::RefundBlocked).with("cause", cause.as_str()).with("amount", refund.amount);
        let why = refund.reason.clone().unwrap_or_default();
        if refund.is_manual() && refund.state != RefundState::Confirmed {
            out.blocked = true;
            out.because.push(Reason { rule: Rule::RefundByHand, ..waits }.with("state", refund.state.as_str()));
        } else if refund.state.is_unsent() && refund.blocked {
            out.blocked = true;
            out.because.push(waits.with("reason", why));
        } else if let Some(candidate) = refund.candidate.as_ref().filter(|_| refund.state == RefundState::Proposed) {
            out.blocked = true;
            out.because.push(waits.with("reason", why).with("candidate", &candidate.partner_reference_no));
        }
        return out;
    }
    let wanted = owed(case, policy, cause, None);
    if wanted < Sen::new(policy.refunds.min_refund_sen)
        || !wanted.is_positive()
        || case.refund_mode(policy, cause) == RefundMode::Off
    {
        return out;
    }
    propose(case, terms, (cause, wanted), &mut out);
    out
}

/// Proposes what is owed, unless it was answered before, or has a number whose fate is open. What cannot go by API is
/// proposed as a transfer by hand, which no rule approves.
fn propose(case: &Case, terms: &Settled<'_>, (cause, wanted): (Flag, Sen), out: &mut Owed) {
    let Settled { profile, policy, now } = *terms;
    let hash = saga::content_hash(case, None);
    let mut earlier = case.refunds.iter().filter(|r| r.cause == cause);
    let was_closed = earlier.clone().any(|r| r.state == RefundState::Refused && r.api_closed);
    let by_hand = if was_closed {
        Some("an earlier refund was refused for good".to_owned())
    } else {
        saga::closed(case, profile, wanted, now)
    };
    let stopped = earlier.clone().any(blocks_another);
    if by_hand.is_some() || stopped {
        out.blocked = true;
        let why = by_hand.as_deref().unwrap_or("an earlier refund was refused, or ended after it had been sent");
        out.because.push(
            Reason::new(Rule::RefundBlocked)
                .with("cause", cause.as_str())
                .with("amount", wanted)
                .with("by_api", by_hand.is_none())
                .with("reason", why),
        );
    }
    if stopped || earlier.any(|r| r.state == RefundState::Denied && r.content_hash == hash) {
        return;
    }
    if by_hand.is_some() {
        out.because.push(Reason::new(Rule::RefundByHand).with("cause", cause.as_str()).with("amount", wanted));
        out.actions.push(Action::Propose { cause, amount: wanted, approve: false, content_hash: hash, by_hand });
        return;
    }
    let approve =
        case.refund_mode(policy, cause) == RefundMode::Auto && wanted <= Sen::new(policy.refunds.auto_limit_sen);
    out.because.push(
        Reason::new(Rule::RefundProposed)
            .with("cause", cause.as_str())
            .with("amount", wanted)
            .with("approved", approve),
    );
    out.actions.push(Action::Propose { cause, amount: wanted, approve, content_hash: hash, by_hand: None });
}

/// Was this refund refused, or did it end after its number had been sent? Another number for the cause is then a
/// person's to ask for: the first was answered no, or was never refused for good.
fn blocks_another(refund: &Refund) -> bool {
    match refund.state {
        RefundState::Refused => !refund.api_closed,
        RefundState::Denied | RefundState::Expired => refund.was_ever_sent(),
        RefundState::Proposed
        | RefundState::Approved
        | RefundState::Reserved
        | RefundState::Sending
        | RefundState::Unknown
        | RefundState::Confirmed => false,
    }
}

/// Ends the unsent refunds that nothing stands behind any more.
fn expire_what_no_longer_stands(case: &Case, policy: &Policy, open: &BTreeSet<Flag>, out: &mut Owed) {
    for refund in case.refunds.iter().filter(|r| r.state.is_unsent()) {
        if let Some(reason) = why_it_ends(case, policy, open, refund) {
            out.because
                .push(Reason::new(Rule::RefundExpired).with("cause", refund.cause.as_str()).with("because", &reason));
            out.actions.push(Action::Expire { refund_id: refund.id, reason });
        }
    }
}

fn why_it_ends(case: &Case, policy: &Policy, open: &BTreeSet<Flag>, refund: &Refund) -> Option<String> {
    let by_policy = refund.proposed_by == POLICY_ACTOR;
    // What a person proposed *because* of the cancellation stands on it.
    let for_the_cancel = refund.cause == Flag::CancelledAfterPaid && !by_policy;
    let came_up = if open.contains(&Flag::RefundedOutside) {
        Some(Flag::RefundedOutside)
    } else if open.contains(&Flag::CancelledAfterPaid) && !for_the_cancel {
        Some(Flag::CancelledAfterPaid)
    } else {
        None
    };
    if let Some(flag) = came_up {
        return Some(format!("{} came up before it was sent", flag.as_str()));
    }
    // A proposal of the rules lives as long as its debt. What was approved goes back to `proposed` first (the saga).
    if !by_policy || refund.state != RefundState::Proposed {
        return None;
    }
    if !open.contains(&refund.cause) {
        return Some(format!("{} no longer stands", refund.cause.as_str()));
    }
    let owed = owed(case, policy, refund.cause, Some(refund.id));
    (owed != refund.amount).then(|| format!("{owed} is owed now"))
}

/// In `auto` mode a proposal of the policy itself goes on without a person, up to the limit.
fn approve_by_policy(case: &Case, policy: &Policy, refund: &Refund, out: &mut Owed) {
    let auto = case.refund_mode(policy, refund.cause) == RefundMode::Auto
        && refund.state == RefundState::Proposed
        && refund.proposed_by == POLICY_ACTOR
        && !refund.is_manual()
        && refund.candidate.is_none()
        && refund.amount <= Sen::new(policy.refunds.auto_limit_sen)
        && refund.amount == owed(case, policy, refund.cause, Some(refund.id));
    if auto {
        out.because
            .push(Reason::new(Rule::RefundApproved).with("cause", refund.cause.as_str()).with("amount", refund.amount));
        out.actions
            .push(Action::Approve { refund_id: refund.id, content_hash: saga::content_hash(case, Some(refund.id)) });
    }
}

//! A transfer by hand: the same proofs, reservation and budget as a refund by API, and people where the call would be. One
//! person approves it; it is handed over once the payment has just been seen paid; another one makes the transfer and says
//! so with the bank's reference.

use chrono::{DateTime, Utc};

use super::{Step, approved, reserved, still_stands};
use crate::domain::{
    case::{Case, Terms},
    refund::{Refund, RefundState},
};

/// The next step of a refund that goes by hand.
pub(super) fn next_step(case: &Case, refund: &Refund, terms: &Terms<'_>, now: DateTime<Utc>) -> Step {
    let Some(profile) = terms.profile.filter(|_| refund.state != RefundState::Sending) else {
        // Handed over: nothing but a person's word moves it. A row whose account is gone waits for the configuration.
        return Step::Wait(None);
    };
    if let Err(reason) = still_stands(case, refund, terms, now) {
        return Step::BackToProposed { reason };
    }
    if !refund.is_approved_by_person() {
        return Step::BackToProposed { reason: "a transfer by hand wants a person's approval".into() };
    }
    if refund.state == RefundState::Approved {
        return approved(case, refund, terms.policy, now);
    }
    let step = reserved(case, &profile.ladder.default, terms.policy, now);
    if step == Step::Send { Step::HandOver } else { step }
}

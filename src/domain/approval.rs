//! What a person may propose and approve. That proposer and approver are two people with the right to it is held by the
//! database; here is what of a payment can go back at all, and that nobody approves what the saga would void at once.

use chrono::{DateTime, Utc};

use crate::domain::{
    case::{Case, Terms},
    money::Sen,
    order::Direction,
    policy::RefundMode,
    refund::{Refund, RefundState},
    resolution,
    saga::{self, Step},
    state::Flag,
};

/// Why it cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Objection {
    /// There is nothing to return.
    #[error("{0}")]
    Nothing(&'static str),
    /// A blocker is open.
    #[error("{0} is open: nothing new leaves until it is settled (`rekon exceptions resolve`)")]
    Blocked(&'static str),
    /// The cause named is not the one that decides.
    #[error("{0} decides on this row now: propose under it, or settle it first")]
    OtherCause(&'static str),
    /// The cause has a refund that lives or is done.
    #[error("refund {id} for {cause} is {state}: one refund per cause")]
    Occupied {
        /// Its id.
        id: i64,
        /// Its cause.
        cause: &'static str,
        /// Its state.
        state: &'static str,
    },
    /// More than there is, or less than is sent.
    #[error("the amount must be from {least} to {most}")]
    Amount {
        /// The smallest refund sent.
        least: Sen,
        /// What is left of the payment.
        most: Sen,
    },
    /// The saga would void the approval at once.
    #[error("{0}")]
    Void(String),
    /// It is past that.
    #[error("refund {id} is {state}: only {may} one can be")]
    State {
        /// Its id.
        id: i64,
        /// Its state.
        state: &'static str,
        /// Which could.
        may: &'static str,
    },
}

/// Under which cause and with which amount a person's wish becomes a proposal: the cause that decides now, or `requested` where
/// none does; all that is left, unless he says less.
///
/// # Errors
/// The first objection.
pub fn propose(
    case: &Case,
    terms: &Terms<'_>,
    cause: Option<Flag>,
    amount: Option<Sen>,
) -> Result<(Flag, Sen), Objection> {
    if case.order.direction == Direction::Out {
        return Err(Objection::Nothing("a payout is never refunded"));
    }
    let most = resolution::returnable(case);
    if !most.is_positive() {
        return Err(Objection::Nothing("nothing of this payment is left to return"));
    }
    if case.is_disputed() {
        return Err(Objection::Nothing("a dispute is open: nothing new leaves"));
    }
    let deciding = case.prior.flags.first_deciding().filter(|flag| *flag != Flag::Requested);
    if let Some(blocker) = deciding.filter(|flag| flag.is_blocker()) {
        return Err(Objection::Blocked(blocker.as_str()));
    }
    let cause = match (cause, deciding) {
        (Some(named), Some(deciding)) if named != deciding => return Err(Objection::OtherCause(deciding.as_str())),
        (Some(named), None) if named != Flag::Requested => {
            return Err(Objection::OtherCause(Flag::Requested.as_str()));
        }
        (_, deciding) => deciding.unwrap_or(Flag::Requested),
    };
    if case.refund_mode(terms.policy, cause) == RefundMode::Off {
        return Err(Objection::Nothing("refunds are switched off: nothing is proposed (`rekon switch show`)"));
    }
    if let Some(other) = case.refunds.iter().find(|r| r.cause == cause && r.state.occupies_cause()) {
        return Err(Objection::Occupied { id: other.id, cause: cause.as_str(), state: other.state.as_str() });
    }
    let amount = amount.unwrap_or(most);
    let least = Sen::new(terms.policy.refunds.min_refund_sen);
    if amount > most || amount < least || !amount.is_positive() {
        return Err(Objection::Amount { least, most });
    }
    Ok((cause, amount))
}

/// The refund as this person's approval makes it: bound to what is known now.
///
/// # Errors
/// It is not proposed, or the saga would void the approval at its first step.
pub fn approve(
    case: &Case,
    refund: &Refund,
    terms: &Terms<'_>,
    by: &str,
    now: DateTime<Utc>,
) -> Result<Refund, Objection> {
    if refund.state != RefundState::Proposed {
        return Err(Objection::State { id: refund.id, state: refund.state.as_str(), may: "a proposed" });
    }
    let approved = Refund {
        state: RefundState::Approved,
        approved_by: Some(by.to_owned()),
        approved_at: Some(now),
        content_hash: saga::content_hash(case, Some(refund.id)),
        blocked: false,
        reason: None,
        ..refund.clone()
    };
    match saga::next_step(case, &approved, terms, now) {
        Step::BackToProposed { reason } => Err(Objection::Void(reason)),
        Step::Wait(_)
        | Step::Blocked { .. }
        | Step::BeDue(_)
        | Step::Ask
        | Step::Reserve
        | Step::Send
        | Step::ByHand { .. }
        | Step::HandOver
        | Step::MarkUnknown
        | Step::Confirm(_)
        | Step::CallPerson(_) => Ok(approved),
    }
}

/// The refund as a person's no makes it. A reserved one may be denied as long as no attempt of it is unanswered.
///
/// # Errors
/// It left, or it is at its end.
pub fn deny(case: &Case, refund: &Refund, by: &str, reason: &str) -> Result<Refund, Objection> {
    if !refund.state.is_unsent() || refund.unanswered {
        return Err(Objection::State { id: refund.id, state: refund.state.as_str(), may: "an unsent" });
    }
    // The no stands on what is known now, so that the same is not proposed again. An approval's content is fixed.
    let content_hash = if refund.state == RefundState::Proposed {
        saga::content_hash(case, Some(refund.id))
    } else {
        refund.content_hash.clone()
    };
    Ok(Refund {
        state: RefundState::Denied,
        denied_by: Some(by.to_owned()),
        reason: Some(reason.to_owned()),
        content_hash,
        blocked: false,
        ..refund.clone()
    })
}

#[cfg(test)]
mod tests;

//! The one function that holds the rules of money. It folds what is known about a row into a state, flags, money
//! owed and the time of the next look. No I/O, no clock, no randomness: the same case, terms and time give the same
//! decision, which is what makes a day replayable.
//!
//! Absent on purpose: sending anything. `decide` proposes; the saga (`domain::saga`) lets money leave.

mod evidence;
mod look;
mod outcome;
mod owed;
mod paid;
mod people;
#[cfg(test)]
pub(crate) mod tests;
mod verdict;

use chrono::{DateTime, Utc};

pub use evidence::paid_at;
pub use evidence::{TwoObservations, excess_over, two_observations};
pub(crate) use owed::owed;

use crate::domain::{
    case::{Case, Terms},
    explain::{Reason, Rule},
    fact::Fact,
    money::Sen,
    observation::Observation,
    order::Direction,
    posting::{self, Posting},
    profile::RequiredReferences,
    state::{Flag, Flags, State},
    switch::Level,
};

/// Something to do because of a decision, in the same database transaction as the decision itself.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub enum Action {
    /// Put a refund into the saga.
    Propose {
        /// Why money is owed.
        cause: Flag,
        /// How much.
        amount: Sen,
        /// The policy approves it alone.
        approve: bool,
        /// What the approval stands on.
        content_hash: String,
        /// It goes by bank transfer, and this is why: a sentence for people.
        by_hand: Option<String>,
    },
    /// The policy approves a proposal that it has made itself.
    Approve {
        /// The refund.
        refund_id: i64,
        /// What the approval stands on.
        content_hash: String,
    },
    /// End a refund that was never sent.
    Expire {
        /// The refund.
        refund_id: i64,
        /// Why, one sentence.
        reason: String,
    },
    /// End the cancelled order's QR at the provider.
    CancelQr,
}

/// What follows from a case.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a decision that is not written down did not happen"]
pub struct Decision {
    /// The ledger state.
    pub state: State,
    /// Flags, open and resolved.
    pub flags: Flags,
    /// Paid, gross, without fee: the first PAID's amount.
    pub paid_amount: Option<Sen>,
    /// The provider's fee on the first PAID.
    pub fee_amount: Option<Sen>,
    /// Trusted paid time, else the time of the first PAID answer.
    pub paid_at: Option<DateTime<Utc>>,
    /// The sequence at which the row was closed as unpaid, if ever.
    pub closed_seq: Option<i32>,
    /// What to do.
    pub actions: Vec<Action>,
    /// When to ask again; `None`: nothing is due.
    pub next_check_at: Option<DateTime<Utc>>,
    /// Why.
    pub because: Vec<Reason>,
    /// Lines that bring the row's money to where the state wants it.
    pub postings: Vec<Posting>,
}

/// Decides a case under terms at a time (UTC).
pub fn decide(case: &Case, terms: &Terms<'_>, now: DateTime<Utc>) -> Decision {
    let Some(profile) = terms.profile else {
        return standing(
            case,
            Flag::UnknownAccount,
            Reason::new(Rule::AccountUnknown).with("account", &case.order.account),
        );
    };
    let required = profile.demands().of(case.order.direction);
    let missing = required.and_then(|required| missing_reference(case, required));
    // What once said that money moved is decided by what it said; nothing else can be asked on.
    let of_money = |f: &Fact| matches!(f.heard(), Observation::Paid | Observation::Reversed);
    if !case.query_facts().any(of_money) {
        if required.is_none() {
            let reason = Reason::new(Rule::PayoutUnaskable).with("account", &case.order.account);
            return standing(case, Flag::UnknownAccount, reason.with("provider", &profile.provider));
        }
        if let Some(column) = missing {
            return standing(case, Flag::MissingReference, Reason::new(Rule::ReferenceMissing).with("column", column));
        }
    }
    let can_be_asked = required.is_some() && missing.is_none();
    let verdict = match case.order.direction {
        Direction::Out => verdict::payout(case, profile, terms.policy, now),
        Direction::In => verdict::pay_in(case, profile, terms.policy, now),
    };
    let next_check_at = look::next(case, profile, terms.policy, &verdict, now).filter(|_| can_be_asked);
    finish(case, verdict, next_check_at)
}

/// The column without which this provider cannot be asked, where it is empty.
fn missing_reference(case: &Case, required: RequiredReferences) -> Option<&'static str> {
    if required.reference_no && case.order.reference_no.is_none() {
        Some("reference_no")
    } else if required.external_id && case.order.external_id.is_none() {
        Some("external_id")
    } else {
        None
    }
}

/// A row that cannot even be asked: a person mends the row or the configuration.
fn standing(case: &Case, flag: Flag, reason: Reason) -> Decision {
    // What was open stays open: nothing was settled by losing the means to ask.
    let mut open = case.prior.flags.open.clone();
    open.insert(flag);
    let flags = carry_over(&case.prior.flags, open);
    let first = case.first_paid();
    Decision {
        state: State::Review,
        flags,
        paid_amount: case.paid_amount(),
        fee_amount: first.and_then(|f| f.answer.fee_amount),
        paid_at: first.map(|f| evidence::trusted_paid_time(f).unwrap_or(f.answered_at)),
        closed_seq: case.prior.closed_seq,
        actions: Vec::new(),
        next_check_at: None,
        because: vec![reason],
        postings: Vec::new(),
    }
}

/// The flags that are open now, and the mismatches that were open once and stay listed.
fn carry_over(prior: &Flags, open: std::collections::BTreeSet<Flag>) -> Flags {
    let settled = prior.open.union(&prior.resolved).copied();
    let resolved = settled.filter(|f| !open.contains(f) && !f.leaves_when_healed()).collect();
    Flags { open, resolved }
}

fn finish(case: &Case, verdict: verdict::Verdict, next_check_at: Option<DateTime<Utc>>) -> Decision {
    let mut flags = carry_over(&case.prior.flags, verdict.open);
    flags.resolved.extend(verdict.resolved.iter().filter(|f| !flags.open.contains(*f)).copied().collect::<Vec<_>>());
    let expired = outcome::expired_ids(&verdict.actions);
    let postings = match (verdict.paid_amount, case.order.direction) {
        (Some(paid), Direction::In) if case.ceiling >= Level::Post => {
            let refunds: Vec<_> = case
                .refunds
                .iter()
                .filter(|r| !expired.contains(&r.id))
                .map(|r| posting::Moved { cause: r.cause, amount: r.amount, state: r.state, channel: r.channel })
                .collect();
            let money = posting::Money {
                paid,
                outside: case.refunded_outside,
                excess: verdict.excess,
                state: verdict.state,
                cause: flags.first_deciding(),
                overpaid_open: flags.open.contains(&Flag::Overpaid),
                refunds: &refunds,
            };
            posting::postings(&case.balances, &posting::target_balances(&money))
        }
        _ => Vec::new(),
    };
    Decision {
        state: verdict.state,
        flags,
        paid_amount: verdict.paid_amount,
        fee_amount: verdict.fee_amount,
        paid_at: verdict.paid_at,
        closed_seq: verdict.closed_seq,
        actions: verdict.actions,
        next_check_at,
        because: verdict.because,
        postings,
    }
}

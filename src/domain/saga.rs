//! The refund saga: when money may leave, when it must be looked for, and when a person must. Every step is taken
//! under the row's lock on a freshly loaded case; this module only says which step is next.
//!
//! Absent on purpose: a way to mint a second number while the first one's fate is open.

mod by_hand;
mod door;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

pub(crate) use door::closed;
pub use door::{again_at, window_ends_at};

use crate::domain::{
    case::{Case, Terms},
    decide::{self, TwoObservations},
    fact::Fact,
    money::Sen,
    observation::Observation,
    order::{OrderStatus, later, secs_between},
    policy::{Policy, RefundMode},
    profile::{RefundAbility, RefundRepeat},
    refund::{POLICY_ACTOR, Proof, Refund, RefundState},
    state::Flag,
    window::Door,
};

/// Right before the first send a PAID answer no older than this must stand.
pub const FRESH_PAID_SECS: i64 = 30;
/// So long after the second look was due an approved refund sees to it that the row is due.
const LOOK_MISSED_SECS: i64 = 60;
/// Pause of an approved refund whose second look is under way: the answer wakes it.
const LOOK_PAUSE_SECS: i64 = 15;

/// The next step of one refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing before this time; `None`: nothing until a person or a fact moves it.
    Wait(Option<DateTime<Utc>>),
    /// Wait, and say on the row why it cannot go.
    Blocked {
        /// One sentence for people.
        reason: String,
        /// When it is looked at again, where that is known.
        until: Option<DateTime<Utc>>,
    },
    /// Wait for the row's own look, which must be due.
    BeDue(DateTime<Utc>),
    /// Ask the provider about the payment first, now.
    Ask,
    /// Take it from what may be returned, and from the day's budget.
    Reserve,
    /// Send it, for the first time or again with the same number and bytes.
    Send,
    /// The approval no longer stands: back to `proposed`, reservation released.
    BackToProposed {
        /// One sentence for people.
        reason: String,
    },
    /// It cannot go by API: a proposal again, of a transfer by hand.
    ByHand {
        /// One sentence for people.
        reason: String,
    },
    /// Hand it to the people who transfer money.
    HandOver,
    /// A call was cut off by a crash: nobody knows.
    MarkUnknown,
    /// It went back; how that is known.
    Confirm(Proof),
    /// A person must find out.
    CallPerson(Flag),
}

/// Says what comes next for `refund` of `case`.
pub fn next_step(case: &Case, refund: &Refund, terms: &Terms<'_>, now: DateTime<Utc>) -> Step {
    match refund.state {
        RefundState::Confirmed | RefundState::Refused | RefundState::Denied | RefundState::Expired => {
            return Step::Wait(None);
        }
        RefundState::Proposed => return proposed(case, refund, terms, now),
        RefundState::Approved | RefundState::Reserved | RefundState::Unknown | RefundState::Sending => {}
    }
    if refund.is_manual() {
        return by_hand::next_step(case, refund, terms, now);
    }
    if refund.state == RefundState::Sending {
        // Nobody but the sender may hold a `sending` refund: whoever reads it here reads what a crash left behind.
        return Step::MarkUnknown;
    }
    let Some(profile) = terms.profile else {
        return Step::Blocked { reason: format!("account {} is not configured", case.order.account), until: None };
    };
    if refund.state == RefundState::Unknown {
        return match &profile.refund {
            Some(ability) => unknown(case, refund, ability, terms.policy, now),
            None => Step::Blocked {
                reason: "its fate is unknown, and the profile has no refund by API any more".into(),
                until: None,
            },
        };
    }
    if let Err(reason) = still_stands(case, refund, terms, now) {
        return Step::BackToProposed { reason };
    }
    if refund.needs_person.is_some() {
        return Step::Wait(None);
    }
    if let Some(step) = door::gate(case, refund, profile, now) {
        return step;
    }
    if refund.state == RefundState::Approved {
        approved(case, refund, terms.policy, now)
    } else {
        let ladder = profile.refund.as_ref().map_or(&profile.ladder.default, |a| &a.ladder_secs);
        reserved(case, ladder, terms.policy, now)
    }
}

/// A proposal waits for people; but not past the end of the provider's window, after which another way is proposed.
fn proposed(case: &Case, refund: &Refund, terms: &Terms<'_>, now: DateTime<Utc>) -> Step {
    let Some(profile) = terms.profile.filter(|_| !refund.is_manual() && refund.attempts == 0) else {
        return Step::Wait(None);
    };
    match window_ends_at(case, Some(profile)) {
        Some(end) if end < now => {
            let reason = closed(case, profile, refund.amount, now);
            Step::ByHand { reason: reason.unwrap_or_else(|| "the provider's refund window is over".into()) }
        }
        end => Step::Wait(end.map(|at| later(at, 1))),
    }
}

fn approved(case: &Case, refund: &Refund, policy: &Policy, now: DateTime<Utc>) -> Step {
    let another_under_way = case.refunds.iter().any(|r| r.id != refund.id && r.state.holds_reservation());
    if another_under_way {
        return Step::Wait(None);
    }
    match decide::two_observations(case, policy) {
        TwoObservations::Stand { .. } => Step::Reserve,
        // The row's own next look is set by `decide`; the refund wakes when that answer has been settled. One that has not come by
        // now waits behind others, or was never looked for: an answer out of its turn (its worker's lease was over) may have undone
        // what `decide` had stood on.
        TwoObservations::Missing { not_before: Some(at) } if now < at => Step::Wait(Some(at.max(later(now, 1)))),
        TwoObservations::Missing { not_before: Some(at) } => {
            let until = later(now, LOOK_PAUSE_SECS);
            if secs_between(at, now) >= LOOK_MISSED_SECS { Step::BeDue(until) } else { Step::Wait(Some(until)) }
        }
        TwoObservations::Missing { not_before: None } => Step::Wait(None),
    }
}

fn reserved(case: &Case, ladder: &[i64], policy: &Policy, now: DateTime<Utc>) -> Step {
    let ask_at = match decide::two_observations(case, policy) {
        TwoObservations::Stand { last_answered_at } if secs_between(last_answered_at, now) <= FRESH_PAID_SECS => {
            return Step::Send;
        }
        TwoObservations::Stand { .. } => now,
        TwoObservations::Missing { not_before: Some(at) } => at,
        // OPEN, ABSENT, dead or silent: back off along the ladder.
        TwoObservations::Missing { not_before: None } => case.last_answer().map_or(now, |f| {
            let nth = usize::try_from(f.sightings).unwrap_or(1).saturating_sub(1);
            later(f.last_at, ladder_secs(ladder, nth))
        }),
    };
    if now >= ask_at { Step::Ask } else { Step::Wait(Some(ask_at)) }
}

/// Does everything that the approval stood on still hold? Decided afresh, because order, mode and policy may have
/// changed since the last decision was written. `Err` names what does not.
fn still_stands(case: &Case, refund: &Refund, terms: &Terms<'_>, now: DateTime<Utc>) -> Result<(), String> {
    let policy = terms.policy;
    if case.refund_mode(policy, refund.cause) == RefundMode::Off {
        return Err("refunds are switched off".into());
    }
    if case.is_disputed() {
        return Err("a dispute is open: nothing leaves until it is over".into());
    }
    if refund.content_hash != content_hash(case, Some(refund.id)) {
        return Err("what was approved is no longer what is known: approve it again".into());
    }
    let fresh = decide::decide(case, terms, now);
    let deciding = fresh.flags.first_deciding();
    if deciding != Some(refund.cause) || refund.cause.is_blocker() {
        let other = deciding.map_or("the cause is settled", Flag::as_str);
        return Err(format!("another cause decides now: {other}"));
    }
    let by_policy = refund.proposed_by == POLICY_ACTOR;
    if by_policy && refund.is_own_money() && case.was_ever_fulfilled() {
        return Err("the order was fulfilled: no rule takes its money back".into());
    }
    if refund.is_approved_by_person() {
        return approval_is_young(refund, policy, now);
    }
    if case.refund_mode(policy, refund.cause) != RefundMode::Auto {
        return Err("the policy no longer approves refunds alone".into());
    }
    if refund.amount > Sen::new(policy.refunds.auto_limit_sen) {
        return Err("the amount is above auto_limit: a person must approve it".into());
    }
    if decide::owed(case, policy, refund.cause, Some(refund.id)) != refund.amount {
        return Err("another amount is owed now".into());
    }
    Ok(())
}

/// A person agreed to what he saw, on the day he saw it. A number that is out there is past that.
fn approval_is_young(refund: &Refund, policy: &Policy, now: DateTime<Utc>) -> Result<(), String> {
    let ends = refund.approved_at.map(|at| later(at, policy.refunds.approval_ttl_secs));
    if refund.unanswered || ends.is_none_or(|ends| now < ends) {
        return Ok(());
    }
    Err("the approval is older than approval_ttl: approve it again".into())
}

/// Finds out the fate of a refund that nobody knows, and repeats it only where a repeat is proved to act once.
fn unknown(case: &Case, refund: &Refund, ability: &RefundAbility, policy: &Policy, now: DateTime<Utc>) -> Step {
    let Some(ended) = refund.last_ended_at.or(refund.last_sent_at) else {
        return Step::CallPerson(Flag::RefundUnknown);
    };
    let full = case.paid_amount().is_some_and(|paid| refund.is_full(paid));
    // Only a query that left after the attempt had ended can have seen what became of it.
    let after: Vec<&Fact> = case.query_facts().filter(|f| f.last_sent_at > ended).collect();
    let reversed = after.iter().any(|f| f.heard() == Observation::Reversed);
    if reversed && full {
        return Step::Confirm(Proof::Query);
    }
    if refund.needs_person.is_some() {
        return Step::Wait(None);
    }
    if reversed {
        // Ours in part, or somebody's in full: a 04 does not say, so nothing is repeated.
        return Step::CallPerson(Flag::RefundUnknown);
    }
    let paid = paid_at_the_end(&after, ended);
    let seen_twice = paid
        .first()
        .zip(paid.last())
        .is_some_and(|(first, last)| secs_between(first.answered_at, last.sent_at) >= policy.confirm_after_secs);
    if !seen_twice {
        return look_again(&after, &paid, ability, policy, now);
    }
    if ability.repeat == RefundRepeat::Unproven
        || refund.resends >= i32::try_from(policy.refunds.resends).unwrap_or(i32::MAX)
    {
        return Step::CallPerson(Flag::RefundUnknown);
    }
    if case.refund_mode(policy, refund.cause) == RefundMode::Off {
        return Step::Blocked { reason: "refunds are switched off; this one is still unknown".into(), until: None };
    }
    if matches!(decide::paid_at(case).map(|at| ability.window.door(at, now)), Some(Door::Closed(_))) {
        return Step::CallPerson(Flag::RefundUnknown);
    }
    let nth = usize::try_from(refund.resends).unwrap_or(0);
    let due = later(ended, ladder_secs(&ability.ladder_secs, nth)).max(ability.window.out_of_blackout(now));
    if now >= due { Step::Send } else { Step::Wait(Some(due)) }
}

/// The unbroken run of PAID answers at the end, in sequence. Silence does not break it; any other word does.
fn paid_at_the_end<'c>(after: &[&'c Fact], ended: DateTime<Utc>) -> Vec<&'c Fact> {
    let mut run: Vec<&Fact> = after
        .iter()
        .copied()
        .rev()
        .filter(|f| f.heard() != Observation::Indeterminate)
        .take_while(|f| f.heard() == Observation::Paid)
        .filter(|f| f.answer.warnings.is_empty() && f.sent_at > ended)
        .collect();
    run.reverse();
    run
}

fn look_again(after: &[&Fact], paid: &[&Fact], ability: &RefundAbility, policy: &Policy, now: DateTime<Utc>) -> Step {
    let due = match (paid.first(), after.last()) {
        (Some(first), Some(last)) if last.heard() == Observation::Paid => {
            later(first.answered_at, policy.confirm_after_secs)
        }
        (_, Some(last)) => {
            let looks = after.iter().map(|f| f.sightings).fold(0, i32::saturating_add);
            let nth = usize::try_from(looks).unwrap_or(1).saturating_sub(1);
            later(last.last_at, ladder_secs(&ability.ladder_secs, nth))
        }
        (_, None) => now,
    };
    if now >= due { Step::Ask } else { Step::Wait(Some(due)) }
}

fn ladder_secs(ladder: &[i64], nth: usize) -> i64 {
    ladder.get(nth).or_else(|| ladder.last()).copied().unwrap_or(60)
}

/// What an approval binds to: what was paid under which references, whether the order is cancelled, and the row's
/// other refunds. A change of any of these voids the approval.
pub fn content_hash(case: &Case, except: Option<i64>) -> String {
    let first = case.first_paid();
    let mut others: Vec<(String, i64, String)> = case
        .refunds
        .iter()
        .filter(|r| Some(r.id) != except && r.state.occupies_cause())
        .map(|r| {
            let money_out = r.state == RefundState::Confirmed || r.state.holds_reservation();
            (r.cause.as_str().to_owned(), r.amount.sen(), if money_out { "out" } else { "open" }.to_owned())
        })
        .collect();
    others.sort_unstable();
    let content = serde_json::json!({
        "account": case.order.account,
        "partner_reference_no": case.order.partner_reference_no,
        "reference_no": case.order.reference_no,
        "paid": first.and_then(|f| f.answer.amount).map(Sen::sen),
        "currency": first.and_then(|f| f.answer.currency.clone()),
        "payment_id": first.and_then(|f| f.answer.payment_id.clone()),
        "cancelled": case.order.order_status == OrderStatus::Cancelled,
        "refunded_outside": case.refunded_outside.sen(),
        "others": others,
    });
    hex::encode(Sha256::digest(content.to_string().as_bytes()))
}

/// The idempotency handle: a pure function of who pays whom for what, never of a row id or a configuration name.
/// 32 characters `[A-Za-z0-9]`.
pub fn partner_refund_no(
    provider: &str,
    client_id: &str,
    merchant_id: &str,
    partner_reference_no: &str,
    cause: Flag,
    sequence: i32,
) -> String {
    // Length-prefixed parts: no two different inputs can run together into one text.
    let mut digest = Sha256::new();
    for part in [provider, client_id, merchant_id, partner_reference_no, cause.as_str(), &sequence.to_string()] {
        digest.update(part.len().to_string().as_bytes());
        digest.update(b":");
        digest.update(part.as_bytes());
    }
    let hash = hex::encode(digest.finalize());
    let short: String = hash.chars().take(30).collect();
    format!("RK{short}")
}

#[cfg(test)]
mod tests;

//! The refund saga: when money may leave, when it must be looked for, and when a person must. Every step is taken
//! under the row's lock on a freshly loaded case; this module only says which step is next.
//!
//! Absent on purpose: a way to mint a second number while the first one's fate is open.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use crate::domain::{
    case::{Case, Terms},
    decide::{self, TwoObservations},
    money::Sen,
    observation::Observation,
    order::{OrderStatus, later, secs_between},
    policy::{Policy, RefundMode},
    profile::{RefundAbility, RefundRepeat},
    refund::{Proof, Refund, RefundState},
    state::Flag,
};

/// Right before the first send a PAID answer no older than this must stand.
pub const FRESH_PAID_SECS: i64 = 30;

/// The next step of one refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing before this time; `None`: nothing until a person or a fact moves it.
    Wait(Option<DateTime<Utc>>),
    /// Wait, and say on the row why it cannot go.
    Blocked {
        /// One sentence for people.
        reason: String,
    },
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
    /// A call was cut off by a crash: nobody knows.
    MarkUnknown,
    /// It went back; how that is known.
    Confirm(Proof),
    /// A person must find out.
    CallPerson(Flag),
}

/// Says what comes next for `refund` of `case`.
pub fn next_step(case: &Case, refund: &Refund, terms: &Terms<'_>, now: DateTime<Utc>) -> Step {
    let Some(ability) = terms.profile.and_then(|p| p.refund.as_ref()) else {
        return Step::Blocked { reason: "the provider has no refund by API: return it by bank transfer".into() };
    };
    match refund.state {
        RefundState::Proposed
        | RefundState::Confirmed
        | RefundState::Refused
        | RefundState::Denied
        | RefundState::Expired => Step::Wait(None),
        RefundState::Approved => approved(case, refund, terms.policy, now),
        RefundState::Reserved => reserved(case, refund, ability, terms.policy, now),
        RefundState::Sending => Step::MarkUnknown,
        RefundState::Unknown => unknown(case, refund, ability, terms.policy, now),
    }
}

fn approved(case: &Case, refund: &Refund, policy: &Policy, now: DateTime<Utc>) -> Step {
    if let Err(reason) = still_stands(case, refund, policy) {
        return stands_no_longer(policy, reason);
    }
    if case.refunds.iter().any(|r| r.id != refund.id && r.state.holds_reservation()) {
        return Step::Wait(None);
    }
    match decide::two_observations(case, policy) {
        TwoObservations::Stand { .. } => Step::Reserve,
        // The row's own next look is set by `decide`; the refund wakes when that answer has been settled.
        TwoObservations::Missing { not_before: Some(at) } => Step::Wait(Some(at.max(later(now, 1)))),
        TwoObservations::Missing { not_before: None } => Step::Wait(None),
    }
}

fn reserved(case: &Case, refund: &Refund, ability: &RefundAbility, policy: &Policy, now: DateTime<Utc>) -> Step {
    // A number that has been sent and definitely put off goes out again under the terms it went out under.
    if let Err(reason) = still_stands(case, refund, policy) {
        return stands_no_longer(policy, reason);
    }
    match decide::two_observations(case, policy) {
        TwoObservations::Stand { last_answered_at } if secs_between(last_answered_at, now) <= FRESH_PAID_SECS => {
            Step::Send
        }
        TwoObservations::Stand { .. } => Step::Ask,
        TwoObservations::Missing { .. } => {
            let last = case.last_answer();
            let backs_off = last.map_or(now, |f| {
                later(f.last_at, ladder_secs(ability, usize::try_from(f.sightings).unwrap_or(1).saturating_sub(1)))
            });
            if now >= backs_off { Step::Ask } else { Step::Wait(Some(backs_off)) }
        }
    }
}

/// With the mode off everything stays where it is; otherwise the approval is void and a new one is needed.
fn stands_no_longer(policy: &Policy, reason: String) -> Step {
    if policy.refunds.mode == RefundMode::Off { Step::Blocked { reason } } else { Step::BackToProposed { reason } }
}

/// Does everything that the approval stood on still hold? `Err` names what does not.
fn still_stands(case: &Case, refund: &Refund, policy: &Policy) -> Result<(), String> {
    if policy.refunds.mode == RefundMode::Off {
        return Err("refunds are switched off".into());
    }
    if refund.content_hash != content_hash(case, Some(refund.id)) {
        return Err("what was approved is no longer what is known: approve it again".into());
    }
    let flags = &case.prior.flags;
    if flags.first_deciding() != Some(refund.cause) {
        let other = flags.first_deciding().map_or("the cause is settled", Flag::as_str);
        return Err(format!("another cause decides now: {other}"));
    }
    if refund.is_approved_by_person() {
        return Ok(());
    }
    if policy.refunds.mode != RefundMode::Auto {
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

fn unknown(case: &Case, refund: &Refund, ability: &RefundAbility, policy: &Policy, now: DateTime<Utc>) -> Step {
    let Some(ended) = refund.last_ended_at.or(refund.last_sent_at) else {
        return Step::CallPerson(Flag::RefundUnknown);
    };
    let full = case.paid_amount().is_some_and(|paid| refund.is_full(paid));
    let after: Vec<_> = case.query_facts().filter(|f| f.last_sent_at > ended).collect();
    if full && after.iter().any(|f| f.answer.observation == Observation::Reversed) {
        return Step::Confirm(Proof::Query);
    }
    if refund.needs_person.is_some() {
        return Step::Wait(None);
    }
    let paid: Vec<_> =
        after.iter().filter(|f| f.answer.observation == Observation::Paid && f.sent_at > ended).collect();
    let seen_twice = paid
        .first()
        .zip(paid.last())
        .is_some_and(|(first, last)| secs_between(first.answered_at, last.sent_at) >= policy.confirm_after_secs);
    if !seen_twice {
        return look_again(&after, &paid, ability, policy, now);
    }
    let resends = refund.attempts.saturating_sub(1);
    if ability.repeat == RefundRepeat::Unproven || resends >= i32::try_from(policy.refunds.resends).unwrap_or(i32::MAX)
    {
        return Step::CallPerson(Flag::RefundUnknown);
    }
    if policy.refunds.mode == RefundMode::Off {
        return Step::Blocked { reason: "refunds are switched off; this one is still unknown".into() };
    }
    let due = later(ended, ladder_secs(ability, usize::try_from(resends).unwrap_or(0)));
    if now >= due { Step::Send } else { Step::Wait(Some(due)) }
}

fn look_again(
    after: &[&crate::domain::fact::Fact],
    paid: &[&&crate::domain::fact::Fact],
    ability: &RefundAbility,
    policy: &Policy,
    now: DateTime<Utc>,
) -> Step {
    let due = match (paid.first(), after.iter().map(|f| f.last_at).max()) {
        (Some(first), Some(last)) if first.last_at == last => later(first.answered_at, policy.confirm_after_secs),
        (_, Some(last)) => {
            let looks = after.iter().map(|f| f.sightings).fold(0, i32::saturating_add);
            later(last, ladder_secs(ability, usize::try_from(looks).unwrap_or(1).saturating_sub(1)))
        }
        (_, None) => now,
    };
    if now >= due { Step::Ask } else { Step::Wait(Some(due)) }
}

fn ladder_secs(ability: &RefundAbility, nth: usize) -> i64 {
    ability.ladder_secs.get(nth).or_else(|| ability.ladder_secs.last()).copied().unwrap_or(60)
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

//! Whether a refund may go by API at all, and when: the provider's window and hours, its least amount, and its own "not
//! now". What cannot go by API becomes a transfer by hand, unless its number may have left: then a person decides.

use chrono::{DateTime, Utc};

use super::{Step, ladder_secs};
use crate::domain::{
    case::Case,
    decide,
    money::Sen,
    order::secs_between,
    profile::{Profile, RefundAbility},
    refund::Refund,
    state::Flag,
    window::Door,
};

/// Why an amount cannot go back by API, in a sentence for people; `None` where it can.
pub(crate) fn closed(case: &Case, profile: &Profile, amount: Sen, now: DateTime<Utc>) -> Option<String> {
    let Some(ability) = &profile.refund else {
        return Some("the provider has no refund by API".into());
    };
    if !ability.partial && case.paid_amount().is_some_and(|paid| amount < paid) {
        return Some("the provider returns whole payments only".into());
    }
    if amount < ability.min_amount {
        return Some(format!("the provider returns {} at least", ability.min_amount));
    }
    match decide::paid_at(case).map(|paid_at| ability.window.door(paid_at, now)) {
        Some(Door::Closed(since)) => {
            Some(format!("the provider took refunds of this payment until {}", since.to_rfc3339()))
        }
        Some(Door::Open | Door::OpensAt(_)) | None => None,
    }
}

/// The end of the provider's window for this payment, UTC; `None` where none is known.
pub fn window_ends_at(case: &Case, profile: Option<&Profile>) -> Option<DateTime<Utc>> {
    let ability = profile.and_then(|p| p.refund.as_ref())?;
    ability.window.ends_at(decide::paid_at(case)?)
}

/// What keeps an unsent refund, or one that was put off, from going now; `None` where nothing does.
pub(super) fn gate(case: &Case, refund: &Refund, profile: &Profile, now: DateTime<Utc>) -> Option<Step> {
    if let Some(reason) = closed(case, profile, refund.amount, now) {
        // A number that was counted as sent keeps its way: what became of it is not guessed at.
        return Some(if refund.attempts == 0 {
            Step::ByHand { reason }
        } else {
            Step::CallPerson(Flag::RefundBlocked)
        });
    }
    let ability = profile.refund.as_ref()?;
    if refund.put_off_since.is_some_and(|since| secs_between(since, now) > ability.later_for_secs) {
        return Some(Step::CallPerson(Flag::RefundBlocked));
    }
    if let Some(until) = refund.put_off_until.filter(|until| *until > now) {
        return Some(Step::Wait(Some(until)));
    }
    opens_at(case, ability, now).map(|until| Step::Blocked {
        reason: format!("the provider takes no refund of this payment before {}", until.to_rfc3339()),
        until: Some(until),
    })
}

/// When the provider takes refunds of this payment again, where it does not now.
pub(super) fn opens_at(case: &Case, ability: &RefundAbility, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    match decide::paid_at(case).map(|paid_at| ability.window.door(paid_at, now)) {
        Some(Door::OpensAt(at)) => Some(at),
        Some(Door::Open | Door::Closed(_)) | None => None,
    }
}

/// When a number that its provider answered "not now" leaves again: as the code's row or the ladder says, no earlier than
/// Retry-After, and not in the hours in which nothing is taken.
pub fn again_at(
    ability: &RefundAbility,
    refund: &Refund,
    response_code: Option<&str>,
    retry_after_secs: Option<i64>,
    now: DateTime<Utc>,
) -> DateTime<Utc> {
    let nth = usize::try_from(refund.attempts.saturating_sub(1)).unwrap_or(0);
    let step = ladder_secs(&ability.ladder_secs, nth).max(retry_after_secs.unwrap_or(0));
    let by_code = ability.codes.wait(response_code).until(now, step);
    let asked_for = crate::domain::order::later(now, retry_after_secs.unwrap_or(0));
    ability.window.out_of_blackout(by_code.max(asked_for))
}

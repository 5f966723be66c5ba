//! When to ask again. The ladder is data of the profile; a money question overrides it; a row that rests is not asked.

use chrono::{DateTime, Utc};

use crate::domain::{
    case::Case,
    decide::{
        evidence::{self, Regression, TwoObservations},
        verdict::Verdict,
    },
    observation::Observation,
    order::{later, secs_between},
    policy::Policy,
    profile::Profile,
    refund::RefundState,
    state::{Flag, State},
};

/// A row older than this is asked rarely …
const YOUNG_SECS: i64 = 24 * 3600;
/// … at most every so often.
const OLD_STEP_SECS: i64 = 12 * 3600;
/// A paid row is looked at once more after this long.
const PAID_RELOOK_SECS: i64 = 24 * 3600;

/// The next look at a row for which `verdict` was reached.
pub(super) fn next(
    case: &Case,
    profile: &Profile,
    policy: &Policy,
    verdict: &Verdict,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    match verdict.state {
        State::Pending => Some(pending(case, profile, policy, now)),
        State::Review if verdict.open.contains(&Flag::Stuck) => {
            Some(jittered(case, now, stretched(case, now, profile.ladder.last_step_secs())))
        }
        State::Review | State::Unpaid => None,
        State::Refunded | State::PartlyRefunded => None,
        State::Paid => confirmation(case, profile, policy, verdict, now).or_else(|| relook(case, profile, now)),
        State::Held | State::Refunding => confirmation(case, profile, policy, verdict, now),
    }
}

/// The ladder up to the end of the watch, then every half `close_spread`.
fn pending(case: &Case, profile: &Profile, policy: &Policy, now: DateTime<Utc>) -> DateTime<Utc> {
    let deadline = evidence::watch_ends(case, profile, policy);
    if now >= deadline {
        let half = policy.close_spread_secs.checked_div(2).unwrap_or(policy.close_spread_secs);
        // One second more, so that close_answers = 3 span the whole spread.
        return later(now, half.saturating_add(1));
    }
    let Some(last) = case.last_answer() else {
        return now;
    };
    let nth = usize::try_from(in_a_row(case).saturating_sub(1)).unwrap_or(0);
    let step = stretched(case, now, profile.ladder.step_secs(last.answer.observation, nth));
    // A step never jumps over the end of the watch: the first answer after it is the first that may close.
    jittered(case, now, step).min(later(deadline, 1))
}

/// How many answers in a row said what the last one said.
fn in_a_row(case: &Case) -> i32 {
    let Some(last) = case.last_answer() else {
        return 0;
    };
    case.query_facts()
        .rev()
        .take_while(|f| f.answer.observation == last.answer.observation)
        .fold(0, |n, f| n.saturating_add(f.sightings))
}

fn stretched(case: &Case, now: DateTime<Utc>, step: i64) -> i64 {
    if secs_between(case.order.created_at, now) > YOUNG_SECS { step.max(OLD_STEP_SECS) } else { step }
}

/// The second look that a refund, a dead answer or a changed amount asks for.
fn confirmation(
    case: &Case,
    profile: &Profile,
    policy: &Policy,
    verdict: &Verdict,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let first = case.first_paid()?;
    let last = case.last_answer()?;
    let soon = later(last.last_at, policy.confirm_after_secs);
    if let Regression::Once(_) = evidence::regression(case, policy, first) {
        return Some(soon.max(now));
    }
    if verdict.open.contains(&Flag::AmountChanged) || verdict.open.contains(&Flag::Identity) {
        return Some(soon.max(now));
    }
    let leaving =
        verdict.actions.iter().any(|a| matches!(a, super::Action::Propose { .. } | super::Action::Approve { .. }))
            || case.refunds.iter().any(|r| matches!(r.state, RefundState::Proposed | RefundState::Approved));
    if !leaving {
        return None;
    }
    match evidence::two_observations(case, policy) {
        TwoObservations::Stand { .. } => None,
        TwoObservations::Missing { not_before: Some(at) } => Some(at.max(now)),
        TwoObservations::Missing { not_before: None } => {
            Some(jittered(case, now, profile.ladder.step_secs(last.answer.observation, 0)))
        }
    }
}

/// A paid row is asked once more a day later, until an answer that says something has come.
fn relook(case: &Case, profile: &Profile, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let first = case.first_paid()?;
    let due = later(first.answered_at, PAID_RELOOK_SECS);
    let looked = case.query_facts().any(|f| f.last_at >= due && f.answer.observation != Observation::Indeterminate);
    if looked {
        None
    } else if now < due {
        Some(due)
    } else {
        Some(jittered(case, now, profile.ladder.last_step_secs()))
    }
}

/// `secs` from now × 0.8–1.2. Taken from the row and the number of its answers, so that a replay jitters alike.
fn jittered(case: &Case, now: DateTime<Utc>, secs: i64) -> DateTime<Utc> {
    let answers = case.query_facts().map(|f| i64::from(f.sightings)).fold(0, i64::saturating_add);
    let seed = case.order.id.wrapping_mul(0x9E37_79B9).wrapping_add(answers.wrapping_mul(0x85EB_CA6B));
    let mixed = (seed ^ (seed >> 13)).wrapping_mul(0xC2B2_AE35);
    let permille = (mixed ^ (mixed >> 16)).rem_euclid(401).saturating_add(800);
    let millis = secs.saturating_mul(permille);
    chrono::Duration::try_milliseconds(millis).and_then(|d| now.checked_add_signed(d)).unwrap_or(now)
}

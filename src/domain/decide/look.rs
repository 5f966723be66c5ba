//! When to ask again. The ladder is data of the profile; a money question overrides it; a row that rests is not asked.

use chrono::{DateTime, Utc};

use crate::domain::{
    case::Case,
    decide::{
        evidence::{self, TwoObservations},
        verdict::Verdict,
    },
    fact::Source,
    order::{later, secs_between},
    policy::Policy,
    profile::Profile,
    refund::RefundState,
    resolution::ResolutionKind,
    state::{Flag, State},
};

/// A row older than this is asked rarely …
const YOUNG_SECS: i64 = 24 * 3600;
/// … at most every so often.
const OLD_STEP_SECS: i64 = 12 * 3600;
/// A paid row is looked at once more after this long.
const PAID_RELOOK_SECS: i64 = 24 * 3600;

/// The next look at a row for which `verdict` was reached. It follows from the last answer, not from the moment of
/// deciding: deciding again does not put it off.
pub(super) fn next(
    case: &Case,
    profile: &Profile,
    policy: &Policy,
    verdict: &Verdict,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    if is_hinted(case) || is_asked_for(case) {
        return Some(now);
    }
    let due = match verdict.state {
        State::Pending => Some(pending(case, profile, policy, now)),
        State::Review if verdict.open.contains(&Flag::Stuck) => {
            Some(rarely(case, profile.ladder.last_step_secs(), now))
        }
        State::Unpaid => unanswered_nudge(case, profile, now),
        State::Review | State::Refunded | State::PartlyRefunded => None,
        State::Paid => confirmation(case, profile, policy, verdict, now).or_else(|| relook(case, profile, now)),
        State::Held | State::Refunding => confirmation(case, profile, policy, verdict, now),
    };
    due.map(|at| at.max(now))
}

/// Has a notification come since the last question left? Whatever the state, nobody has asked about it yet: an answer that
/// was under way when it came cannot know what it knows. What the notification says plays no part.
fn is_hinted(case: &Case) -> bool {
    let hint = case.facts.iter().rev().find(|f| f.source == Source::Notification);
    hint.is_some_and(|hint| case.last_answer().is_none_or(|answer| answer.last_sent_at < hint.answered_at))
}

/// Did a person ask since the last question left?
fn is_asked_for(case: &Case) -> bool {
    let wish = case.resolutions.iter().rev().find(|r| r.kind == ResolutionKind::AskAgain);
    wish.is_some_and(|wish| case.last_answer().is_none_or(|answer| answer.last_sent_at < wish.at))
}

/// The ladder up to the end of the watch, then every half `close_spread`.
fn pending(case: &Case, profile: &Profile, policy: &Policy, now: DateTime<Utc>) -> DateTime<Utc> {
    let Some(last) = case.last_answer() else {
        return now;
    };
    let deadline = evidence::watch_ends(case, profile, policy);
    if last.last_at > deadline {
        // Rounded up, so that three answers span the whole spread.
        let half = policy.close_spread_secs.saturating_add(1).div_euclid(2);
        return later(last.last_at, half);
    }
    // A step never jumps over the end of the watch: the first answer after it is the first that may close.
    by_ladder(case, profile, now).min(later(deadline, 1))
}

/// The next step of the ladder after the last answer.
fn by_ladder(case: &Case, profile: &Profile, now: DateTime<Utc>) -> DateTime<Utc> {
    let Some(last) = case.last_answer() else {
        return now;
    };
    let nth = usize::try_from(in_a_row(case).saturating_sub(1)).unwrap_or(0);
    rarely(case, profile.ladder.step_secs(last.heard(), nth), now)
}

/// `step` after the last answer; on an old row at least half a day.
fn rarely(case: &Case, step: i64, now: DateTime<Utc>) -> DateTime<Utc> {
    let Some(last) = case.last_answer() else {
        return now;
    };
    let at = jittered(case, last.last_at, step);
    if secs_between(case.order.created_at, now) > YOUNG_SECS {
        // The spread of old rows goes one way: half a day is the least.
        let half_a_day = jittered(case, last.last_at, OLD_STEP_SECS);
        at.max(half_a_day).max(later(last.last_at, OLD_STEP_SECS))
    } else {
        at
    }
}

/// How many answers in a row said what the last one said.
fn in_a_row(case: &Case) -> i32 {
    let Some(last) = case.last_answer() else {
        return 0;
    };
    case.query_facts().rev().take_while(|f| f.heard() == last.heard()).fold(0, |n, f| n.saturating_add(f.sightings))
}

/// A closed row is asked by a notification or a person only; but what was asked and not answered, or answered with
/// "somebody is paying", is asked on: money must not come to rest under `unpaid`.
fn unanswered_nudge(case: &Case, profile: &Profile, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let last = case.last_answer()?;
    (!last.heard().is_negative()).then(|| by_ladder(case, profile, now))
}

/// The second look that a refund, a dead answer, a changed amount or a slip of identity asks for.
fn confirmation(
    case: &Case,
    profile: &Profile,
    policy: &Policy,
    verdict: &Verdict,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let first = case.first_paid()?;
    let last = case.last_answer()?;
    if let Some(doubt) = evidence::doubt(case, first) {
        let second = later(doubt.answered_at, policy.confirm_after_secs);
        // Asked since and still in doubt (silence, another doubt): by the ladder, not every minute.
        return Some(if last.last_sent_at < second { second } else { by_ladder(case, profile, now) });
    }
    let leaving =
        verdict.actions.iter().any(|a| matches!(a, super::Action::Propose { .. } | super::Action::Approve { .. }))
            || case.refunds.iter().any(|r| matches!(r.state, RefundState::Proposed | RefundState::Approved));
    if !leaving {
        return None;
    }
    match evidence::two_observations(case, policy) {
        TwoObservations::Stand { .. } => None,
        TwoObservations::Missing { not_before: Some(at) } => Some(at),
        TwoObservations::Missing { not_before: None } => Some(by_ladder(case, profile, now)),
    }
}

/// A paid row is asked once more a day later, until an answer that says something has come.
fn relook(case: &Case, profile: &Profile, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let first = case.first_paid()?;
    let last = case.last_answer()?;
    let due = later(first.answered_at, PAID_RELOOK_SECS);
    let looked = case.last_verdict().is_some_and(|f| f.last_at >= due);
    if looked {
        None
    } else if last.last_at < due {
        Some(due)
    } else {
        Some(by_ladder(case, profile, now))
    }
}

/// `secs` from `at` × 0.8–1.2. Taken from the row and the number of its answers, so that a replay jitters alike.
fn jittered(case: &Case, at: DateTime<Utc>, secs: i64) -> DateTime<Utc> {
    let answers = case.query_facts().map(|f| i64::from(f.sightings)).fold(0, i64::saturating_add);
    let seed = case.order.id.wrapping_mul(0x9E37_79B9).wrapping_add(answers.wrapping_mul(0x85EB_CA6B));
    let mixed = (seed ^ (seed >> 13)).wrapping_mul(0xC2B2_AE35);
    let permille = (mixed ^ (mixed >> 16)).rem_euclid(401).saturating_add(800);
    let millis = secs.saturating_mul(permille);
    chrono::Duration::try_milliseconds(millis).and_then(|d| at.checked_add_signed(d)).unwrap_or(at)
}

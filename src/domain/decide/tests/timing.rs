//! When a row is asked again, when it closes, and when a person is called. Jitter is a fifth either way.

use chrono::{DateTime, Utc};

use super::{
    build::{DAY, HOUR, VALID_SECS, auto, case, paid, profile, says, silence, t, wrong},
    world::{Event, World},
};
use crate::domain::{
    case::{Case, Outage, Terms},
    decide::{Decision, decide},
    observation::Observation::{Absent, Failed, InFlight, Open, Reversed},
    state::State,
};

/// The end of the watch over the test order.
const WATCHED: i64 = VALID_SECS + 48 * HOUR;

fn next_and_state(case: &Case, secs: i64) -> (Option<DateTime<Utc>>, State) {
    let (profile, policy) = (profile(), auto());
    let decision = decide(case, &Terms { profile: Some(&profile), policy: &policy }, t(secs));
    (decision.next_check_at, decision.state)
}

fn next(case: &Case, secs: i64) -> Option<DateTime<Utc>> {
    next_and_state(case, secs).0
}

fn state(case: &Case, secs: i64) -> State {
    next_and_state(case, secs).1
}

#[track_caller]
fn assert_between(at: Option<DateTime<Utc>>, from: i64, to: i64) {
    assert!(at.is_some_and(|at| at >= t(from) && at <= t(to)), "{at:?} is not {}–{}", t(from), t(to));
}

#[test]
fn a_row_that_was_never_asked_is_due_at_once_however_old() {
    for secs in [0, DAY, WATCHED + 1] {
        assert_eq!(next(&case(), secs), Some(t(secs)));
    }
}

#[test]
fn the_ladder_climbs_with_every_equal_answer_and_starts_again_with_another() {
    let first = case().hear(0, says(Open));
    assert_between(next(&first, 1), 5, 7);
    let second = first.hear(10, says(Open));
    assert_between(next(&second, 11), 23, 29);
    let other = second.hear(30, says(Absent));
    assert_between(next(&other, 31), 35, 37);
}

#[test]
fn deciding_again_does_not_put_the_next_look_off() {
    let case = case().hear(0, says(Open)).hear(10, says(Open));
    assert_eq!(next(&case, 11), next(&case, 20));
}

#[test]
fn after_a_day_a_step_is_at_least_half_a_day() {
    let case = case().hear(DAY + 10, says(Open));
    assert_between(next(&case, DAY + 11), DAY + 11 + 12 * HOUR, DAY + 11 + 15 * HOUR);
}

#[test]
fn no_step_jumps_over_the_end_of_the_watch() {
    let case = case().hear(WATCHED - 60, says(Open));
    assert_eq!(next(&case, WATCHED - 59), Some(t(WATCHED + 1)));
}

#[test]
fn after_the_watch_a_row_is_asked_every_half_spread_until_three_negatives_close_it() {
    let mut case = case();
    let mut due = WATCHED + 1;
    for n in 1..=3 {
        assert_eq!(state(&case, due), State::Pending, "before answer {n}");
        case = case.hear(due, says(Absent));
        let expected = if n < 3 { State::Pending } else { State::Unpaid };
        let (next, state) = next_and_state(&case, due + 1);
        assert_eq!(state, expected, "after answer {n}");
        assert_eq!(next, (n < 3).then(|| t(due + 1 + HOUR)));
        due += 1 + HOUR;
    }
}

#[test]
fn answers_before_the_end_of_the_watch_or_too_close_together_do_not_close() {
    let early = (0..9).fold(case(), |c, n| c.hear(WATCHED - 20 + n, says(Absent)));
    assert_eq!(state(&early.hear(WATCHED + 3 * HOUR, says(Absent)), WATCHED + 3 * HOUR + 1), State::Pending);
    let close = (0..9).fold(case(), |c, n| c.hear(WATCHED + 1 + n, says(Absent)));
    assert_eq!(state(&close, WATCHED + 60), State::Pending);
}

#[test]
fn a_fact_that_straddles_the_end_of_the_watch_proves_one_answer_after_it() {
    let mut case = case().hear(WATCHED - 2 * HOUR, says(Absent));
    if let Some(fact) = case.facts.last_mut() {
        fact.sightings = 9;
        fact.last_sent_at = t(WATCHED + 2 * HOUR);
        fact.last_at = t(WATCHED + 2 * HOUR + 1);
    }
    assert_eq!(state(&case, WATCHED + 2 * HOUR + 1), State::Pending);
    let case = case.hear(WATCHED + 3 * HOUR, says(Open)).hear(WATCHED + 4 * HOUR + 2, says(Open));
    assert_eq!(state(&case, WATCHED + 4 * HOUR + 3), State::Unpaid);
}

#[test]
fn in_flight_and_silence_never_count_and_bad_weather_does_not_close() {
    let at = |n: i64| WATCHED + 1 + n * HOUR;
    let mixed =
        case().hear(at(0), says(Absent)).hear(at(1), says(InFlight)).hear(at(2), silence()).hear(at(3), says(Absent));
    assert_eq!(state(&mixed, at(3) + 1), State::Pending);
    let mut closing = mixed.hear(at(4), says(Absent));
    assert_eq!(state(&closing, at(4) + 1), State::Unpaid);
    if let Some(fact) = closing.facts.last_mut() {
        fact.bad_weather = true;
    }
    assert_eq!(state(&closing, at(4) + 1), State::Pending);
}

#[test]
fn an_outage_does_not_age_a_row() {
    let mut case = case().hear(WATCHED, silence());
    let limit = WATCHED + 24 * HOUR;
    assert_eq!(state(&case, limit - 1), State::Pending);
    assert_eq!(state(&case, limit), State::Review);
    case.outages.push(Outage { from: t(WATCHED), until: Some(t(WATCHED + HOUR)) });
    assert_eq!(state(&case, limit), State::Pending);
    assert_eq!(state(&case, limit + HOUR), State::Review);
    case.outages.push(Outage { from: t(limit), until: None });
    assert_eq!(state(&case, limit + 9 * HOUR), State::Pending);
}

#[test]
fn an_hour_in_which_a_pause_and_an_open_breaker_overlap_counts_once() {
    let mut case = case().hear(WATCHED, silence());
    let limit = WATCHED + 24 * HOUR;
    case.outages.push(Outage { from: t(WATCHED + HOUR), until: Some(t(WATCHED + 3 * HOUR)) });
    case.outages.push(Outage { from: t(WATCHED), until: Some(t(WATCHED + 2 * HOUR)) });
    case.outages.push(Outage { from: t(WATCHED + HOUR), until: Some(t(WATCHED + 2 * HOUR)) });
    assert_eq!(state(&case, limit + 3 * HOUR - 1), State::Pending);
    assert_eq!(state(&case, limit + 3 * HOUR), State::Review);
}

#[test]
fn a_closed_row_is_not_asked_unless_a_nudge_went_unanswered() {
    let mut world = World::new(vec![(0, says(Absent)), (5 * DAY, silence()), (5 * DAY + HOUR, paid(100_000))]);
    world.run(4 * DAY);
    assert_eq!((world.state(), world.due_secs()), (State::Unpaid, None));
    world.events.push((5 * DAY, Event::Nudge));
    world.run(7 * DAY);
    assert_eq!(world.row(), "held{paid_after_close}");
}

#[test]
fn a_notification_makes_the_row_due_until_a_later_question_is_answered_whatever_the_state() {
    for case in [case(), case().hear(0, says(Open)), case().hear(9, paid(100_000)), case().hear(9, says(Reversed))] {
        let told = case.told(20, says(Failed));
        assert_eq!(next(&told, 25), Some(t(25)));
        // The question left before the notification came: its answer cannot know what it knows.
        assert_eq!(next(&told.clone().hear(20, says(Open)), 30), Some(t(30)));
        let asked = told.hear(22, silence());
        assert_ne!(next(&asked, 24), Some(t(24)));
    }
}

#[test]
fn what_a_notification_claims_decides_nothing() {
    let cases = || [case(), case().hear(0, says(Open)), case().hear(9, paid(100_000)), case().hear(9, paid(150_000))];
    for before in cases() {
        for claim in [paid(100_000), paid(1), paid(999_999_999), says(Failed), says(Reversed), says(Absent), wrong()] {
            let apart_from_time = |case: &Case| {
                let (profile, policy) = (profile(), auto());
                let decision = decide(case, &Terms { profile: Some(&profile), policy: &policy }, t(90));
                Decision { next_check_at: None, ..decision }
            };
            let told = before.clone().told(40, claim.clone()).told(41, claim);
            assert_eq!(apart_from_time(&told), apart_from_time(&before));
        }
    }
}

#[test]
fn the_first_paid_asks_for_the_second_when_money_is_to_leave() {
    assert_eq!(next(&case().hear(9, paid(150_000)), 10), Some(t(70)));
    let doubtful = {
        let mut answer = paid(150_000);
        answer.warnings.push(crate::domain::fact::Warning::Amount);
        case().hear(9, answer)
    };
    assert_between(next(&doubtful, 10), 14, 16);
}

#[test]
fn a_paid_row_is_looked_at_once_more_after_a_day() {
    let case = case().hear(9, paid(100_000));
    assert_eq!(next(&case, 10), Some(t(DAY + 10)));
    assert_eq!(next(&case, 2 * DAY), Some(t(2 * DAY)));
    let unanswered = case.clone().hear(DAY + 10, silence());
    assert_between(next(&unanswered, DAY + 11), DAY + 11 + 12 * HOUR, DAY + 11 + 15 * HOUR);
    assert_eq!(next(&case.hear(DAY + 10, says(Open)), DAY + 11), None);
}

#[test]
fn a_doubt_is_looked_at_again_after_confirm_after_and_then_by_the_ladder() {
    for doubt in [says(Failed), paid(90_000), wrong()] {
        let once = case().hear(0, paid(100_000)).hear(100, doubt);
        assert_eq!(next(&once, 101), Some(t(161)));
        let nights = (0..6).fold(once, |c, n| c.hear(161 + n * 10, silence()));
        let at = next(&nights, 220);
        assert!(at.is_some_and(|at| at > t(220 + HOUR)), "asked every minute for ever: {at:?}");
    }
}

#[test]
fn a_changed_amount_that_is_taken_back_is_not_polled_for_ever() {
    let case = case().hear(0, paid(100_000)).hear(100, paid(90_000)).hear(161, paid(100_000));
    assert_eq!(next_and_state(&case, 162), (None, State::Held));
}

#[test]
fn a_refund_that_waits_for_a_second_paid_climbs_the_ladder_too() {
    let open = (0..6).fold(case().hear(0, paid(150_000)), |c, n| c.hear(100 + n * 10, says(Open)));
    assert_between(next(&open, 160), 151 + 4 * HOUR / 5, 151 + 3 * HOUR);
}

#[test]
fn a_payment_proven_late_needs_the_unpaid_answer_to_come_after_the_validity() {
    let early = case().hear(VALID_SECS - 10, says(Open)).hear(VALID_SECS + 10, paid(100_000));
    assert_eq!(state(&early, VALID_SECS + 11), State::Paid);
    let late = case().hear(VALID_SECS + 1, says(Absent)).hear(VALID_SECS + 10, paid(100_000));
    assert_eq!(state(&late, VALID_SECS + 11), State::Held);
    let failed = case().hear(VALID_SECS + 1, says(Failed)).hear(VALID_SECS + 10, paid(100_000));
    assert_eq!(state(&failed, VALID_SECS + 11), State::Paid);
}

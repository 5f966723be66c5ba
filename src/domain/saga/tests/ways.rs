//! Which way money goes and when: the provider's window and hours, its "not now", and transfers by hand.

use super::{Situation, assert_back, cancelled, case, seen_twice, wait};
use crate::domain::{
    decide::tests::build::{DAY, HOUR, paid, refund, says, t},
    money::Sen,
    observation::Observation::Open,
    policy::RefundMode,
    profile::RefundAbility,
    refund::{Channel, RefundState},
    refund_codes::{CodeMeaning, CodeMeans, RefundCodes},
    saga::{Step, again_at, content_hash},
    state::Flag,
    window::{Hours, RefundWindow},
};

/// Every situation of the tests begins at 10:00 WIB.
fn with_window(state: RefundState, window: &RefundWindow) -> Situation {
    Situation::overpaid(seen_twice(), state).but(|s| ability(s).window.clone_from(window))
}

fn ability(s: &mut Situation) -> &mut RefundAbility {
    s.profile.refund.as_mut().expect("refunds by API")
}

fn blackout(hours: &str) -> RefundWindow {
    RefundWindow { blackout: Hours::parse(hours).into_iter().collect(), ..RefundWindow::default() }
}

fn age(min: Option<i64>, max: Option<i64>) -> RefundWindow {
    RefundWindow { min_age_secs: min, max_age_secs: max, ..RefundWindow::default() }
}

#[track_caller]
fn assert_blocked_until(step: &Step, secs: i64) {
    assert!(matches!(step, Step::Blocked { until, .. } if *until == Some(t(secs))), "{step:?}");
}

#[track_caller]
fn assert_by_hand(step: &Step, why: &str) {
    assert!(matches!(step, Step::ByHand { reason } if reason.contains(why)), "{step:?}");
}

fn put_off(since: i64, until: i64) -> Situation {
    Situation::overpaid(seen_twice(), RefundState::Reserved).but(|s| {
        s.refund.attempts = 1;
        s.refund.last_sent_at = Some(t(since));
        s.refund.put_off_since = Some(t(since));
        s.refund.put_off_until = Some(t(until));
        s.refund.blocked = true;
    })
}

#[test]
fn before_its_window_and_in_the_night_a_refund_waits_for_the_hour() {
    for state in [RefundState::Approved, RefundState::Reserved] {
        // The payment was seen at 2 s.
        assert_blocked_until(&with_window(state, &age(Some(900), None)).step(80), 902);
        assert_blocked_until(&with_window(state, &blackout("09:30-11:00")).step(80), HOUR);
        assert_blocked_until(
            &with_window(state, &RefundWindow { min_age_secs: Some(900), ..blackout("10:10-11:00") }).step(80),
            HOUR,
        );
    }
    assert_eq!(with_window(RefundState::Approved, &age(Some(60), None)).step(80), Step::Reserve);
    assert_eq!(with_window(RefundState::Reserved, &blackout("09:30-10:01")).step(80), Step::Send);
}

#[test]
fn what_cannot_go_by_api_becomes_a_transfer_while_its_number_has_not_left() {
    for state in [RefundState::Approved, RefundState::Reserved] {
        assert_by_hand(&with_window(state, &age(None, Some(60))).step(80), "until");
        let small = Situation::overpaid(seen_twice(), state).but(|s| ability(s).min_amount = Sen::rupiah(50_001));
        assert_by_hand(&small.step(71), "at least");
        let just = Situation::overpaid(seen_twice(), state).but(|s| ability(s).min_amount = Sen::rupiah(50_000));
        assert!(matches!(just.step(71), Step::Reserve | Step::Send));
        let whole = Situation::overpaid(seen_twice(), state).but(|s| ability(s).partial = false);
        assert_by_hand(&whole.step(71), "whole payments");
        let counted = with_window(state, &age(None, Some(60))).but(|s| s.refund.attempts = 1);
        assert_eq!(counted.step(80), Step::CallPerson(Flag::RefundBlocked), "its number may have left");
    }
}

#[test]
fn a_proposal_that_waits_for_people_does_not_outlive_the_window() {
    let proposed = with_window(RefundState::Proposed, &age(None, Some(DAY)));
    assert_eq!(proposed.step(100), wait(2 + DAY + 1));
    assert_eq!(proposed.step(2 + DAY), wait(2 + DAY + 1));
    assert_by_hand(&proposed.step(2 + DAY + 1), "until");
    let endless = with_window(RefundState::Proposed, &RefundWindow::default());
    assert_eq!(endless.step(900 * DAY), Step::Wait(None));
}

#[test]
fn a_number_that_was_put_off_waits_is_seen_paid_again_and_ends_at_a_person() {
    assert_eq!(put_off(75, 675).step(80), wait(675), "fresh as the last answer is");
    assert_eq!(put_off(75, 675).step(675), Step::Ask, "an old PAID answer is asked for anew");
    let seen_again = put_off(75, 675).but(|s| {
        s.case = s.case.clone().hear(676, paid(150_000));
        s.refund.content_hash = content_hash(&s.case, Some(1));
    });
    assert_eq!(seen_again.step(678), Step::Send);
    assert_eq!(put_off(75, 75 + 3 * DAY).step(75 + 3 * DAY + 1), Step::CallPerson(Flag::RefundBlocked));
    let with_person = put_off(75, 675).but(|s| s.refund.needs_person = Some(Flag::RefundBlocked));
    assert_eq!(with_person.step(9 * DAY), Step::Wait(None));
    let off = put_off(75, 675).but(|s| s.policy.refunds.mode = RefundMode::Off);
    assert_back(&off.step(80), "switched off");
}

#[test]
fn not_now_lasts_as_long_as_the_code_the_header_and_the_night_say() {
    let table = |wait: &str| {
        let row = CodeMeaning { means: CodeMeans::Later, wait: wait.into(), note: String::new() };
        RefundCodes::try_new(&[("403xx14".to_owned(), row)].into(), |text| text.strip_suffix('s')?.parse().ok())
            .expect("a row")
    };
    let mut api = Situation::overpaid(seen_twice(), RefundState::Reserved).profile.refund.expect("refunds");
    let mut number = refund(Flag::Overpaid, 50_000, RefundState::Reserved);
    number.attempts = 2;
    let at = |api: &RefundAbility, header| again_at(api, &number, Some("4037814"), header, t(100));
    assert_eq!(at(&api, None), t(220), "the second step of the ladder");
    assert_eq!(at(&api, Some(900)), t(1000), "Retry-After is longer");
    api.codes = table("5000s");
    assert_eq!(at(&api, None), t(5100));
    assert_eq!(at(&api, Some(9000)), t(9100));
    api.codes = table("next_day");
    assert_eq!(at(&api, None), t(14 * HOUR), "midnight in Indonesia");
    api.window = blackout("23:30-06:00");
    assert_eq!(at(&api, None), t(20 * HOUR), "and then the night");
}

#[test]
fn an_unknown_refund_is_repeated_neither_in_the_night_nor_after_the_window() {
    let seen = || case().hear(1, paid(150_000)).hear(101, paid(150_000)).hear(165, paid(150_000));
    let unknown =
        |window: RefundWindow| Situation::unknown(seen(), Flag::Overpaid, 50_000).but(|s| ability(s).window = window);
    assert_eq!(unknown(RefundWindow::default()).step(200), Step::Send);
    assert_eq!(unknown(blackout("09:30-11:00")).step(200), wait(HOUR));
    assert_eq!(unknown(age(None, Some(150))).step(200), Step::CallPerson(Flag::RefundUnknown));
}

fn manual(state: RefundState) -> Situation {
    Situation::new(cancelled().hear(69, paid(100_000)), refund(Flag::PaidAfterCancel, 100_000, state)).but(|s| {
        s.profile.refund = None;
        s.refund.channel = Channel::Manual;
        s.refund.approved_by = (state != RefundState::Proposed).then(|| "rina".to_owned());
    })
}

#[test]
fn a_transfer_is_proved_like_a_refund_and_then_handed_to_people() {
    assert_eq!(manual(RefundState::Proposed).step(71), Step::Wait(None));
    assert_eq!(manual(RefundState::Approved).step(71), Step::Reserve);
    let once = manual(RefundState::Approved).but(|s| s.case = cancelled());
    assert_eq!(once.step(10), wait(62), "two observations, as for every refund");
    assert_eq!(manual(RefundState::Reserved).step(71), Step::HandOver);
    assert_eq!(manual(RefundState::Reserved).step(200), Step::Ask, "seen paid just before");
    assert_eq!(manual(RefundState::Sending).step(9 * DAY), Step::Wait(None), "no crash, no time makes it unknown");
    let open = manual(RefundState::Reserved).but(|s| {
        s.case = s.case.clone().hear(80, says(Open));
        s.refund.content_hash = content_hash(&s.case, Some(1));
    });
    assert_eq!(open.step(82), wait(86), "an OPEN backs off");
}

#[test]
fn no_rule_lets_a_transfer_go_and_what_changed_takes_it_back() {
    assert_back(
        &manual(RefundState::Approved).but(|s| s.refund.approved_by = Some("policy".into())).step(71),
        "person",
    );
    for state in [RefundState::Approved, RefundState::Reserved] {
        assert_back(&manual(state).but(|s| s.policy.refunds.mode = RefundMode::Off).step(71), "switched off");
        assert_back(&manual(state).but(|s| s.case.duplicate_reference = true).step(71), "duplicate_reference");
        assert_back(&manual(state).but(|s| s.refund.content_hash = "old".into()).step(71), "no longer what is known");
    }
}

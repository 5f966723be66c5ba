//! The rules of money one sentence at a time: amounts, causes, contradictions, what cannot be asked, payouts.

use super::{
    build::{
        DAY, HOUR, VALID_SECS, auto, balances, case, decided, decided_by, paid, profile, row, rules, says, silence, t,
        wrong,
    },
    world::{Event, World},
};
use crate::domain::{
    case::{Case, Terms},
    decide::{Action, decide},
    explain::Rule,
    money::Sen,
    observation::Observation::{Absent, Failed, Open, Reversed},
    order::Direction,
    policy::FlagAction,
    posting::LedgerAccount::{MerchantPayable, ProviderClearing},
    profile::{Profile, RequiredReferences},
    state::{Flag, State},
};

#[test]
fn expected_is_met_exactly_with_tip_with_fee_and_truncated() {
    let mut fee = paid(100_700);
    fee.fee_amount = Some(Sen::rupiah(700));
    let mut with_fee_apart = paid(100_000);
    with_fee_apart.fee_amount = Some(Sen::rupiah(700));
    let mut sen = case();
    sen.order.amount = Sen::new(10_000_025);
    let mut tip = case();
    tip.order.tip = Some(Sen::rupiah(5_000));
    for (told, case, rule) in [
        ("exact", case().hear(1, paid(100_000)), Rule::PaidExact),
        ("fee beside", case().hear(1, with_fee_apart), Rule::PaidExact),
        ("fee inside", case().hear(1, fee), Rule::PaidWithFee),
        ("sen cut off", sen.hear(1, paid(100_000)), Rule::PaidTruncated),
        ("tip", tip.clone().hear(1, paid(105_000)), Rule::PaidWithTip),
        ("tip not paid", tip.clone().hear(1, paid(100_000)), Rule::PaidExact),
    ] {
        let decision = decided(&case, 2);
        assert_eq!((row(&decision).as_str(), rules(&decision)), ("paid{}", vec![rule]), "{told}");
    }
    let more_than_the_tip = decided(&tip.hear(1, paid(106_000)), 2);
    assert!(matches!(
        more_than_the_tip.actions.as_slice(),
        [Action::Propose { amount, .. }] if *amount == Sen::rupiah(1_000)
    ));
}

#[test]
fn paid_amount_is_the_first_amount_without_fee_whatever_is_said_later() {
    let case = case().hear(1, paid(150_000)).hear(100, says(Reversed)).hear(200, paid(90_000));
    assert_eq!(decided(&case, 201).paid_amount, Some(Sen::rupiah(150_000)));
}

#[test]
fn a_changed_amount_holds_at_once_and_needs_a_person_when_seen_twice() {
    let once = case().hear(1, paid(100_000)).hear(100, paid(90_000));
    assert_eq!(row(&decided(&once, 101)), "held{amount_changed}");
    let twice = once.hear(200, paid(90_000));
    assert_eq!(row(&decided(&twice, 201)), "review{amount_changed}");
    let mut dollars = paid(100_000);
    dollars.currency = Some("USD".into());
    let currency = case().hear(1, paid(100_000)).hear(100, dollars);
    assert_eq!(row(&decided(&currency, 101)), "held{amount_changed}");
}

#[test]
fn what_a_policy_accepts_is_listed_and_hides_no_other_cause() {
    let mut policy = auto();
    policy.flags.underpaid = FlagAction::Accept;
    let under = decided_by(&case().hear(1, paid(90_000)), &policy, 2);
    assert_eq!(row(&under), "paid{underpaid}");
    assert_eq!(balances(&under), [(ProviderClearing, 90_000), (MerchantPayable, -90_000)]);
    let mut policy = auto();
    policy.flags.duplicate_payment = FlagAction::Accept;
    let mut second = paid(90_000);
    second.payment_id = Some("RRN-2".into());
    let doubled = case().hear(1, paid(90_000)).hear(100, second);
    assert_eq!(row(&decided_by(&doubled, &policy, 101)), "held{duplicate_payment,underpaid}");
}

#[test]
fn two_payments_are_told_apart_even_if_the_first_answer_named_none() {
    let mut nameless = paid(100_000);
    nameless.payment_id = None;
    let mut second = paid(100_000);
    second.payment_id = Some("RRN-2".into());
    let case = case().hear(1, nameless).hear(100, paid(100_000));
    assert_eq!(row(&decided(&case, 101)), "paid{}");
    assert_eq!(row(&decided(&case.hear(200, second), 201)), "held{duplicate_payment}");
}

#[test]
fn an_answer_without_our_reference_is_no_answer_about_money() {
    let mut nameless = paid(100_000);
    nameless.echo = crate::domain::fact::Echo::Silent;
    assert_eq!(row(&decided(&case().hear(1, nameless), 2)), "pending{}");
    let mut foreign = paid(100_000);
    foreign.echo = crate::domain::fact::Echo::Wrong;
    let case = case().hear(1, foreign.clone());
    assert_eq!(row(&decided(&case, 2)), "pending{identity}");
    let case = case.hear(10, foreign.clone()).hear(20, foreign);
    assert_eq!(row(&decided(&case, 21)), "review{identity}");
}

#[test]
fn a_right_echo_heals_an_identity_flag_and_leaves_no_trace_in_the_column() {
    let mut case = case().hear(1, wrong());
    case.prior.flags = decided(&case, 2).flags;
    assert!(case.prior.flags.open.contains(&Flag::Identity));
    assert_eq!(row(&decided(&case.hear(10, paid(100_000)), 11)), "paid{}");
}

#[test]
fn an_identity_slip_freezes_a_refund_and_leaves_a_paid_row_paid() {
    let decision = decided(&case().hear(1, paid(150_000)).hear(70, wrong()), 71);
    assert_eq!(row(&decision), "paid{identity,overpaid}");
    assert!(decision.actions.is_empty());
}

#[test]
fn a_dead_answer_after_paid_freezes_and_is_a_regression_only_when_seen_twice_apart() {
    let once = case().hear(1, paid(100_000)).hear(100, says(Failed));
    assert_eq!(row(&decided(&once, 101)), "paid{}");
    let too_soon = once.clone().hear(130, says(Failed));
    assert_eq!(row(&decided(&too_soon, 131)), "paid{}");
    let twice = once.hear(161, says(Failed));
    assert_eq!(row(&decided(&twice, 162)), "review{regression}");
}

#[test]
fn open_in_flight_and_absent_change_nothing_after_paid() {
    let case = case().hear(1, paid(100_000)).hear(100, says(Open)).hear(DAY, says(Absent));
    assert_eq!(row(&decided(&case, DAY + 1)), "paid{}");
}

#[test]
fn one_provider_reference_on_two_orders_holds_a_paid_row() {
    let mut case = case().hear(1, paid(150_000));
    case.duplicate_reference = true;
    let decision = decided(&case, 2);
    assert_eq!(row(&decision), "held{duplicate_reference,overpaid}");
    assert!(decision.actions.is_empty());
}

#[test]
fn a_paid_time_in_the_future_is_flagged_and_dates_nothing() {
    let mut answer = paid(100_000);
    answer.paid_time = Some(t(7 * HOUR));
    let decision = decided(&case().hear(1, answer), 2);
    assert_eq!(row(&decision), "paid{time_skew}");
    assert_eq!(decision.paid_at, Some(t(2)));
}

#[test]
fn a_paid_time_without_a_zone_is_flagged_and_dates_nothing() {
    for (raw, end) in [
        ("2026-11-20 00:30:00", "paid{time_skew}"),
        ("20261120003000", "paid{time_skew}"),
        ("-", "paid{time_skew}"),
        ("2026-11-20T00:30:00+07:00", "paid{}"),
    ] {
        let mut answer = paid(100_000);
        answer.paid_time_raw = Some(raw.to_owned());
        let decision = decided(&case().hear(1, answer), 2);
        assert_eq!(row(&decision), end, "{raw}");
        assert_eq!(decision.paid_at, Some(t(2)), "{raw}");
    }
}

#[test]
fn a_row_that_cannot_be_asked_waits_for_its_mending() {
    let policy = auto();
    let unknown = decide(&case(), &Terms { profile: None, policy: &policy }, t(1));
    assert_eq!((row(&unknown).as_str(), unknown.next_check_at), ("review{unknown_account}", None));
    let mut mended = case();
    mended.prior.state = unknown.state;
    mended.prior.flags = unknown.flags;
    let decision = decided(&mended, 5 * DAY);
    assert_eq!((row(&decision).as_str(), decision.next_check_at), ("review{stuck}", Some(t(5 * DAY))));
    let mut strict = profile();
    strict.required.reference_no = true;
    let terms = Terms { profile: Some(&strict), policy: &policy };
    assert_eq!(row(&decide(&case(), &terms, t(1))), "review{missing_reference}");
    let mut mended = case();
    mended.order.reference_no = Some("R-1".into());
    let decision = decide(&mended, &terms, t(1));
    assert_eq!((row(&decision).as_str(), decision.next_check_at), ("pending{}", Some(t(1))));
    // A profile that comes to require more cannot be asked on, and unsays no money.
    let asked = decide(&case().hear(1, says(Open)), &terms, t(9));
    assert_eq!((row(&asked).as_str(), asked.next_check_at), ("review{missing_reference}", None));
    let known = decide(&case().hear(1, paid(100_000)), &terms, t(9));
    assert_eq!((row(&known).as_str(), known.next_check_at), ("paid{}", None));
}

#[test]
fn a_payout_is_asked_by_its_own_demands_and_waits_where_nobody_knows_payouts() {
    let policy = auto();
    let mut payout = case();
    payout.order.direction = Direction::Out;
    let mut strict = profile();
    strict.required.reference_no = true;
    let by = |profile: &Profile, case: &Case| {
        let decision = decide(case, &Terms { profile: Some(profile), policy: &policy }, t(1));
        (row(&decision), decision.next_check_at)
    };
    // What a payment must hold is not asked of a payout.
    assert_eq!(by(&strict, &payout), ("pending{}".to_owned(), Some(t(1))));
    strict.required_out = Some(RequiredReferences { external_id: true, ..RequiredReferences::default() });
    assert_eq!(by(&strict, &payout), ("review{missing_reference}".to_owned(), None));
    payout.order.external_id = Some("X-1".into());
    assert_eq!(by(&strict, &payout), ("pending{}".to_owned(), Some(t(1))));
    // Nobody to ask: no look is due, and no money that was heard of before is unsaid.
    strict.required_out = None;
    assert_eq!(by(&strict, &payout), ("review{unknown_account}".to_owned(), None));
    assert_eq!(by(&strict, &payout.clone().hear(1, paid(100_000))), ("paid{}".to_owned(), None));
    // A payment of the same account goes on.
    let mut payment = case();
    payment.order.reference_no = Some("R-1".into());
    assert_eq!(by(&strict, &payment), ("pending{}".to_owned(), Some(t(1))));
}

#[test]
fn an_account_taken_out_of_the_configuration_settles_no_flag() {
    let mut case = case().hear(1, paid(90_000));
    case.prior.flags = decided(&case, 2).flags;
    let policy = auto();
    let decision = decide(&case, &Terms { profile: None, policy: &policy }, t(3));
    assert!(decision.flags.open.contains(&Flag::Underpaid));
}

#[test]
fn a_longer_validity_reopens_a_closed_row_and_money_in_it_is_in_time() {
    let mut world = World::new(vec![(0, says(Open)), (6 * DAY, paid(100_000))]);
    world.run(5 * DAY);
    assert_eq!(world.row(), "unpaid{}");
    world.events.push((5 * DAY + 1, Event::ValidUntil(9 * DAY)));
    world.run(8 * DAY);
    assert_eq!(world.row(), "paid{}");
    assert!(world.decisions.iter().any(|d| rules(d).contains(&Rule::Reopened)));
}

#[test]
fn payouts_are_pending_paid_or_a_persons_and_never_close_or_move_money() {
    let mut out = case();
    out.order.direction = Direction::Out;
    let paid_out = decided(&out.clone().hear(1, paid(100_000)), 2);
    assert_eq!(row(&paid_out), "paid{}");
    assert!(paid_out.postings.is_empty() && paid_out.actions.is_empty());
    let once = out.clone().hear(1, says(Failed));
    assert_eq!(row(&decided(&once, 2)), "pending{}");
    assert_eq!(row(&decided(&once.hear(100, says(Failed)), 101)), "review{payout_not_done}");
    let bounced = out.clone().hear(1, paid(100_000)).hear(100, says(Failed)).hear(200, says(Failed));
    assert_eq!(row(&decided(&bounced, 201)), "review{payout_not_done}");
    let end = VALID_SECS + 48 * HOUR;
    let negatives = (1..6).fold(out, |c, n| c.hear(end + n * 2 * HOUR, says(Absent)));
    assert_eq!(row(&decided(&negatives, end + 11 * HOUR)), "pending{}");
    assert_eq!(row(&decided(&negatives, end + 25 * HOUR)), "review{stuck}");
}

#[test]
fn a_payout_that_came_back_is_looked_at_twice_and_then_a_persons() {
    let mut world = World::by_call(vec![paid(100_000), says(Reversed)]);
    world.case.order.direction = Direction::Out;
    world.run(3 * DAY);
    assert_eq!((world.row().as_str(), world.checks), ("review{payout_not_done}", 3));
}

#[test]
fn silence_after_a_stuck_review_changes_nothing() {
    let mut case = case().hear(5 * DAY, silence());
    case.prior.state = State::Review;
    let decision = decided(&case, 5 * DAY + 1);
    assert_eq!(row(&decision), "review{stuck}");
    assert!(decision.next_check_at.is_some());
}

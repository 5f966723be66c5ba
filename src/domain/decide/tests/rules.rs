//! The rules of money one sentence at a time: amounts, causes, reversals, accounts, what is proposed and what ends.

use super::{
    build::{DAY, HOUR, VALID_SECS, auto, case, paid, profile, refund, says, silence, t, wrong},
    world::{Event, World},
};
use crate::domain::{
    case::{Case, Terms},
    decide::{Action, Decision, decide},
    explain::Rule,
    money::Sen,
    observation::Observation::{Absent, Failed, Open, Reversed},
    order::{Direction, OrderStatus},
    policy::{FlagAction, Policy, RefundMode},
    posting::LedgerAccount::{self, MerchantPayable, ProviderClearing, RefundInFlight, Suspense},
    refund::{Proof, Refund, RefundState},
    state::{Flag, State},
};

fn decided_by(case: &Case, policy: &Policy, secs: i64) -> Decision {
    let profile = profile();
    let terms = Terms { profile: Some(&profile), policy };
    decide(case, &terms, t(secs))
}

fn decided(case: &Case, secs: i64) -> Decision {
    decided_by(case, &auto(), secs)
}

fn row(decision: &Decision) -> String {
    format!("{}{{{}}}", decision.state.as_str(), decision.flags.listed().join(","))
}

fn with_refund(mut case: Case, refund: Refund) -> Case {
    case.refunds.push(refund);
    case
}

fn rules(decision: &Decision) -> Vec<Rule> {
    decision.because.iter().map(|r| r.rule).collect()
}

fn balances(decision: &Decision) -> Vec<(LedgerAccount, i64)> {
    decision.postings.iter().map(|p| (p.account, p.sen / 100)).collect()
}

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
fn reversed_beside_our_own_refunds() {
    let full = |state| refund(Flag::PaidAfterCancel, 100_000, state);
    let part = |state| refund(Flag::Overpaid, 50_000, state);
    for (told, paid_rupiah, ours, expected) in [
        ("none of ours", 100_000, None, "review{refunded_outside}"),
        ("ours proposed", 150_000, Some(part(RefundState::Proposed)), "review{overpaid,refunded_outside}"),
        ("ours reserved", 150_000, Some(part(RefundState::Reserved)), "review{overpaid,refunded_outside}"),
        ("ours sending", 150_000, Some(part(RefundState::Sending)), "paid{overpaid}"),
        ("our partial unknown", 150_000, Some(part(RefundState::Unknown)), "review{overpaid,refunded_outside}"),
        ("our partial confirmed", 150_000, Some(part(RefundState::Confirmed)), "review{overpaid,refunded_outside}"),
        ("our full unknown", 100_000, Some(full(RefundState::Unknown)), "refunding{paid_after_cancel}"),
        ("our full confirmed", 100_000, Some(full(RefundState::Confirmed)), "refunded{paid_after_cancel}"),
    ] {
        let mut case = case();
        if paid_rupiah == 100_000 && ours.is_some() {
            case = case.becomes(0, OrderStatus::Cancelled);
        }
        case = case.hear(1, paid(paid_rupiah)).hear(100, says(Reversed));
        let unsent = ours.as_ref().is_some_and(|r| r.state.is_unsent());
        case.refunds.extend(ours);
        let decision = decided(&case, 101);
        assert_eq!(row(&decision), expected, "{told}");
        let expires = decision.actions.iter().any(|a| matches!(a, Action::Expire { .. }));
        assert_eq!(expires, unsent, "{told}");
        assert_eq!(decision.paid_amount, Some(Sen::rupiah(paid_rupiah)), "{told}");
    }
}

#[test]
fn two_paid_answers_after_a_proof_by_query_call_a_person_for_good() {
    let mut ours = refund(Flag::PaidAfterCancel, 100_000, RefundState::Confirmed);
    ours.proof = Some(Proof::Query);
    ours.last_ended_at = Some(t(50));
    let case = case().becomes(0, OrderStatus::Cancelled).hear(1, paid(100_000)).hear(60, says(Reversed));
    let case = with_refund(case, ours).hear(100, paid(100_000));
    assert_eq!(row(&decided(&case, 101)), "refunded{paid_after_cancel}");
    let case = case.hear(200, paid(100_000));
    assert_eq!(row(&decided(&case, 201)), "review{paid_after_cancel,refund_unknown}");
    let case = case.hear(300, says(Reversed));
    assert_eq!(decided(&case, 301).state, State::Review);
}

#[test]
fn a_denied_proposal_comes_back_only_when_something_changed() {
    let mut world = World::new(vec![(0, paid(150_000))]);
    world.policy.refunds.mode = RefundMode::Propose;
    world.events = vec![(100, Event::Deny), (200, Event::Nudge), (300, Event::Nudge)];
    world.run(400);
    assert_eq!(world.case.refunds.len(), 1);
    assert_eq!(world.row(), "paid{overpaid}");
    world.case.order.reference_no = Some("R-9".into());
    world.settle();
    assert_eq!(world.case.refunds.len(), 2);
}

#[test]
fn no_second_number_after_one_that_was_sent_and_put_off() {
    let mut put_off = refund(Flag::Overpaid, 50_000, RefundState::Expired);
    put_off.attempts = 1;
    let decision = decided(&with_refund(case().hear(1, paid(150_000)), put_off), 2);
    assert_eq!(row(&decision), "paid{overpaid,refund_blocked}");
    assert!(decision.actions.is_empty());
}

#[test]
fn a_cancel_ends_what_rules_proposed_and_spares_what_a_person_proposed_for_it() {
    let case = case().hear(1, paid(150_000)).becomes(10, OrderStatus::Cancelled);
    let by_rule = with_refund(case.clone(), refund(Flag::Overpaid, 50_000, RefundState::Reserved));
    assert!(matches!(decided(&by_rule, 11).actions.as_slice(), [Action::Expire { refund_id: 1, .. }]));
    let mut goodwill = refund(Flag::CancelledAfterPaid, 150_000, RefundState::Proposed);
    goodwill.proposed_by = "budi".into();
    let by_person = decided(&with_refund(case, goodwill), 11);
    assert!(by_person.actions.is_empty());
    assert_eq!(row(&by_person), "held{cancelled_after_paid,overpaid}");
}

#[test]
fn a_proposal_whose_debt_changed_ends_and_another_takes_its_place() {
    let mut world = World::new(vec![(0, paid(150_000))]);
    world.policy.refunds.mode = RefundMode::Propose;
    world.run(100);
    assert_eq!(world.case.refunds.len(), 1);
    world.case.refunded_outside = Sen::rupiah(20_000);
    world.settle();
    let told: Vec<_> = world.case.refunds.iter().map(|r| (r.state, r.amount)).collect();
    assert_eq!(told, [(RefundState::Expired, Sen::rupiah(50_000)), (RefundState::Proposed, Sen::rupiah(30_000)),]);
}

#[test]
fn an_order_that_was_ever_fulfilled_is_never_refunded_in_full_by_a_rule() {
    let mut policy = auto();
    policy.flags.underpaid = FlagAction::RefundFull;
    let open = decided_by(&case().hear(1, paid(90_000)), &policy, 2);
    assert!(matches!(open.actions.as_slice(), [Action::Propose { .. }]));
    let fulfilled = case().hear(1, paid(90_000)).becomes(2, OrderStatus::Fulfilled);
    let decision = decided_by(&fulfilled, &policy, 3);
    assert_eq!((row(&decision).as_str(), decision.actions.len()), ("held{underpaid}", 0));
}

#[test]
fn money_stands_where_the_state_says() {
    let held = decided(&case().hear(1, paid(90_000)), 2);
    assert_eq!(balances(&held), [(ProviderClearing, 90_000), (Suspense(Flag::Underpaid), -90_000)]);
    let over = decided(&case().hear(1, paid(150_000)), 2);
    assert_eq!(
        balances(&over),
        [(ProviderClearing, 150_000), (MerchantPayable, -100_000), (Suspense(Flag::Overpaid), -50_000)]
    );
    let with = |state| with_refund(case().hear(1, paid(150_000)), refund(Flag::Overpaid, 50_000, state));
    assert_eq!(
        balances(&decided(&with(RefundState::Unknown), 2)),
        [(ProviderClearing, 150_000), (MerchantPayable, -100_000), (RefundInFlight, -50_000)]
    );
    let back = decided(&with(RefundState::Confirmed), 2);
    assert_eq!(balances(&back), [(ProviderClearing, 100_000), (MerchantPayable, -100_000)]);
    assert_eq!(row(&back), "paid{overpaid}");
    assert!(back.flags.open.is_empty());
}

#[test]
fn a_refund_that_ends_in_this_decision_no_longer_counts_in_it() {
    let case = case().becomes(0, OrderStatus::Cancelled).hear(1, paid(100_000)).hear(50, says(Reversed));
    let case = with_refund(case, refund(Flag::PaidAfterCancel, 100_000, RefundState::Reserved));
    let decision = decided(&case, 51);
    assert_eq!(decision.state, State::Review);
    assert!(balances(&decision).iter().all(|(account, _)| *account != RefundInFlight));
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
fn silence_after_a_stuck_review_changes_nothing() {
    let mut case = case().hear(5 * DAY, silence());
    case.prior.state = State::Review;
    let decision = decided(&case, 5 * DAY + 1);
    assert_eq!(row(&decision), "review{stuck}");
    assert!(decision.next_check_at.is_some());
}

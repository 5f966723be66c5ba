//! What decisions make of refunds: reversals beside them, what is proposed and what ends, where the money stands.

use super::{
    build::{self, DAY, HOUR, auto, balances, case, decided, decided_by, paid, refund, row, says, t},
    world::{Event, Fault, World},
};
use crate::domain::{
    case::Case,
    decide::Action,
    money::Sen,
    observation::Observation::{Open, Reversed},
    order::OrderStatus,
    policy::{FlagAction, RefundMode},
    posting::LedgerAccount::{Bank, MerchantPayable, ProviderClearing, RefundInFlight, Suspense},
    refund::{Channel, Proof, Refund, RefundState},
    state::{Flag, State},
    window::{Hours, RefundWindow},
};

fn with_refund(mut case: Case, refund: Refund) -> Case {
    case.refunds.push(refund);
    case
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
    put_off.last_sent_at = Some(t(1));
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
fn a_part_of_an_excess_that_went_back_does_not_settle_the_rest() {
    let part = refund(Flag::Overpaid, 20_000, RefundState::Confirmed);
    let decision = decided(&with_refund(case().hear(1, paid(150_000)), part), 2);
    assert!(decision.flags.open.contains(&Flag::Overpaid));
    assert_eq!(
        balances(&decision),
        [(ProviderClearing, 130_000), (MerchantPayable, -100_000), (Suspense(Flag::Overpaid), -30_000)]
    );
}

#[test]
fn a_cancel_takes_a_reserved_refund_back_into_suspense_in_the_same_decision() {
    let mut policy = auto();
    policy.flags.underpaid = FlagAction::RefundFull;
    let case = case().hear(1, paid(90_000)).becomes(10, OrderStatus::Cancelled);
    let case = with_refund(case, refund(Flag::Underpaid, 90_000, RefundState::Reserved));
    let decision = decided_by(&case, &policy, 11);
    assert_eq!(row(&decision), "held{cancelled_after_paid,underpaid}");
    assert_eq!(balances(&decision), [(ProviderClearing, 90_000), (Suspense(Flag::CancelledAfterPaid), -90_000)]);
}

#[test]
fn out_of_budget_an_approved_refund_is_blocked_until_it_may_go() {
    let mut approved = refund(Flag::Overpaid, 50_000, RefundState::Approved);
    approved.reason = Some("the budget of the day is used up".into());
    approved.blocked = true;
    let mut case = with_refund(case().hear(1, paid(150_000)), approved);
    let decision = decided(&case, 2);
    assert_eq!(row(&decision), "paid{overpaid,refund_blocked}");
    case.prior.flags = decision.flags;
    for refund in &mut case.refunds {
        refund.reason = None;
        refund.blocked = false;
    }
    assert_eq!(row(&decided(&case, 3)), "paid{overpaid}");
}

#[test]
fn a_proposal_that_waited_for_a_person_goes_by_itself_once_the_mode_is_auto() {
    let mut world = World::new(vec![(0, paid(150_000))]);
    world.policy.refunds.mode = RefundMode::Propose;
    world.run(200);
    assert_eq!(world.provider.total_returned(), Sen::ZERO);
    world.events.push((300, Event::Policy(Box::new(auto()))));
    world.run(600);
    assert_eq!(world.provider.total_returned(), Sen::rupiah(50_000));
}

fn by_hand_only(mut world: World) -> World {
    if let Some(profile) = &mut world.profile {
        profile.refund = None;
    }
    world
}

fn cancelled_then_paid() -> World {
    let mut world = World::new(vec![(0, says(Open)), (200, paid(100_000))]);
    world.events = vec![(100, Event::Becomes(OrderStatus::Cancelled))];
    world
}

#[test]
fn where_no_api_returns_money_two_people_do_and_the_books_follow() {
    let mut world = by_hand_only(cancelled_then_paid());
    world.run(DAY);
    let task = &world.case.refunds[0];
    assert_eq!((world.case.refunds.len(), task.is_manual(), task.state), (1, true, RefundState::Proposed));
    assert_eq!(world.row(), "held{paid_after_cancel,refund_blocked}", "before a person acts");
    world.events = vec![(DAY + 10, Event::Approve)];
    world.run(DAY + 100);
    assert_eq!(world.row(), "refunding{paid_after_cancel,refund_blocked}", "handed over, not yet made");
    assert_eq!(world.case.refunds[0].state, RefundState::Sending);
    world.events = vec![(2 * DAY, Event::Transfer)];
    world.run(3 * DAY);
    assert_eq!(world.row(), "refunded{paid_after_cancel}");
    assert_eq!(world.provider.total_returned(), Sen::ZERO);
    let books: Vec<_> = world.case.balances.iter().map(|(account, sen)| (*account, sen / 100)).collect();
    // The provider still owes what the merchant's bank has paid out.
    assert_eq!(books, [(ProviderClearing, 100_000), (Bank, -100_000)]);
}

#[test]
fn a_transfer_that_came_back_is_proposed_anew_under_another_number() {
    let mut world = by_hand_only(cancelled_then_paid());
    world.events.extend([(10_000, Event::Approve), (20_000, Event::SentBack)]);
    world.run(DAY);
    let told: Vec<_> = world.case.refunds.iter().map(|r| (r.state, r.sequence, r.is_manual())).collect();
    assert_eq!(told, [(RefundState::Refused, 1, true), (RefundState::Proposed, 2, true)]);
    assert_eq!(world.row(), "held{paid_after_cancel,refund_blocked}");
}

#[test]
fn a_no_that_closes_the_api_opens_the_way_by_hand_and_any_other_no_does_not() {
    let play = |fault| {
        let mut world = World::new(vec![(0, paid(150_000))]);
        world.provider.faults = vec![fault];
        world.run(DAY);
        let told: Vec<_> = world.case.refunds.iter().map(|r| (r.state, r.is_manual())).collect();
        (told, world.row())
    };
    let blocked = "paid{overpaid,refund_blocked}".to_owned();
    let (refused, proposed) = ((RefundState::Refused, false), (RefundState::Proposed, true));
    assert_eq!(play(Fault::Close), (vec![refused, proposed], blocked.clone()));
    assert_eq!(play(Fault::Refuse), (vec![refused], blocked));
}

#[test]
fn a_reversal_is_never_explained_by_a_transfer_of_our_own() {
    for state in [RefundState::Sending, RefundState::Confirmed] {
        let mut ours = refund(Flag::PaidAfterCancel, 100_000, state);
        ours.channel = Channel::Manual;
        ours.approved_by = Some("rina".into());
        let case = case().becomes(0, OrderStatus::Cancelled).hear(1, paid(100_000)).hear(100, says(Reversed));
        let decision = decided(&with_refund(case, ours), 101);
        assert_eq!(decision.state, State::Review, "{state:?}");
        assert!(decision.flags.open.contains(&Flag::RefundedOutside), "{state:?}");
    }
}

#[test]
fn a_refund_whose_money_may_belong_to_another_order_waits_for_a_person() {
    let mut world = World::new(vec![(0, paid(150_000))]);
    world.events = vec![(30, Event::Candidate)];
    world.run(DAY);
    assert_eq!(world.provider.total_returned(), Sen::ZERO);
    assert_eq!(world.row(), "paid{overpaid,refund_blocked}");
    let named = world
        .decisions
        .last()
        .expect("decided")
        .because
        .iter()
        .any(|r| r.inputs.contains(&("candidate", "INV-99".to_owned())));
    assert!(named, "{:?}", world.decisions.last());
    world.events = vec![(DAY + 1, Event::Approve)];
    world.run(2 * DAY);
    assert_eq!((world.row().as_str(), world.provider.total_returned()), ("paid{overpaid}", Sen::rupiah(50_000)));
}

#[test]
fn a_refund_outside_its_hours_goes_in_the_morning_and_one_too_late_goes_by_hand() {
    let window = |window: RefundWindow| {
        let mut world = World::new(vec![(0, paid(150_000))]);
        world.profile.as_mut().and_then(|p| p.refund.as_mut()).expect("refunds").window = window;
        world
    };
    // The world begins at 10:00 WIB.
    let mut night =
        window(RefundWindow { blackout: Hours::parse("09:00-12:00").into_iter().collect(), ..RefundWindow::default() });
    night.run(2 * HOUR - 1);
    assert_eq!((night.row().as_str(), night.provider.total_returned()), ("paid{overpaid,refund_blocked}", Sen::ZERO));
    night.run(3 * HOUR);
    assert_eq!((night.row().as_str(), night.provider.total_returned()), ("paid{overpaid}", Sen::rupiah(50_000)));
    let mut late = window(RefundWindow { max_age_secs: Some(30), ..RefundWindow::default() });
    late.run(DAY);
    assert_eq!((late.row().as_str(), late.provider.total_returned()), ("paid{overpaid,refund_blocked}", Sen::ZERO));
    assert!(late.case.refunds.iter().all(Refund::is_manual));
}

#[test]
fn the_qr_of_a_cancelled_order_is_ended_once_and_only_while_it_can_be_paid() {
    let mut profile = build::profile();
    profile.cancel_qr = true;
    let policy = auto();
    let asks = |case: &Case, secs| {
        let terms = crate::domain::case::Terms { profile: Some(&profile), policy: &policy };
        crate::domain::decide::decide(case, &terms, t(secs)).actions.contains(&Action::CancelQr)
    };
    let cancelled = || case().becomes(10, OrderStatus::Cancelled);
    assert!(asks(&cancelled(), 11));
    assert!(asks(&cancelled().hear(12, says(Open)), 13));
    assert!(!asks(&case(), 11), "an open order");
    assert!(!asks(&cancelled(), build::VALID_SECS), "it has run out by itself");
    assert!(!asks(&cancelled().hear(5, paid(100_000)), 11), "it is paid");
    assert!(!asks(&cancelled().hear(5, says(Reversed)), 11), "it was paid");
    let mut asked = cancelled();
    asked.qr_cancel_asked = true;
    assert!(!asks(&asked, 11), "once");
    assert!(!decided(&cancelled(), 11).actions.contains(&Action::CancelQr), "the profile does not");
}

//! What decisions make of refunds: reversals beside them, what is proposed and what ends, where the money stands.

use super::{
    build::{auto, balances, case, decided, decided_by, paid, refund, row, says, t},
    world::{Event, World},
};
use crate::domain::{
    case::Case,
    decide::Action,
    money::Sen,
    observation::Observation::Reversed,
    order::OrderStatus,
    policy::{FlagAction, RefundMode},
    posting::LedgerAccount::{MerchantPayable, ProviderClearing, RefundInFlight, Suspense},
    refund::{Proof, Refund, RefundState},
    state::{Flag, State},
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

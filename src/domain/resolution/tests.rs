//! Which resolution is possible where, and what it makes of the row.

use super::{About, Objection, Resolution, ResolutionKind as Kind, check, returnable};
use crate::domain::{
    case::Case,
    decide::tests::build::{case, decided, decided_by, paid, refund, row, rules, says, silence, t, wrong},
    explain::Rule,
    money::Sen,
    observation::Observation::{Failed, Reversed},
    order::{Direction, OrderStatus},
    policy::Policy,
    posting::LedgerAccount::{MerchantPayable, ProviderClearing},
    refund::{Proof, RefundState},
    state::{Flag, State},
    switch::Level,
};

fn flag(flag: Flag) -> About {
    About { flag: Some(flag), ..About::default() }
}

/// The case as the last decision left it.
fn settled(mut case: Case, at: i64) -> Case {
    let decision = decided(&case, at);
    case.prior.state = decision.state;
    case.prior.flags = decision.flags;
    case.prior.closed_seq = decision.closed_seq;
    case
}

/// People decide this, at `secs`.
fn resolved(mut case: Case, secs: i64, kind: Kind, about: About) -> Case {
    let seq = case.last_seq().saturating_add(1);
    case.resolutions.push(Resolution {
        seq,
        at: t(secs),
        kind,
        about,
        made_by: "budi".into(),
        confirmed_by: kind.needs_two().then(|| "sari".into()),
        reason: "so".into(),
    });
    case
}

fn held() -> Case {
    settled(case().hear(1, paid(90_000)), 2)
}

#[test]
fn what_is_possible_depends_on_the_open_flags_and_the_refunds() {
    let regressed = settled(case().hear(1, paid(100_000)).hear(100, says(Failed)).hear(200, says(Failed)), 201);
    let mut unknown = held();
    unknown.refunds.push(refund(Flag::Underpaid, 90_000, RefundState::Unknown));
    let mut by_person = held();
    by_person.refunds.push(refund(Flag::Underpaid, 90_000, RefundState::Proposed));
    by_person.refunds[0].proposed_by = "budi".into();
    let disputed = resolved(held(), 3, Kind::Dispute, About::default());
    let plain = settled(case().hear(1, paid(100_000)), 2);
    let none = About::default();
    for (told, case, kind, about, possible) in [
        ("accept the one cause", &held(), Kind::AcceptAsPaid, none, true),
        ("accept it by name", &held(), Kind::AcceptAsPaid, flag(Flag::Underpaid), true),
        ("accept what is not open", &held(), Kind::AcceptAsPaid, flag(Flag::Overpaid), false),
        ("accept where nothing is open", &plain, Kind::AcceptAsPaid, none, false),
        ("accept a blocker", &regressed, Kind::AcceptAsPaid, flag(Flag::Regression), false),
        ("accept while a refund is out", &unknown, Kind::AcceptAsPaid, none, false),
        ("accept while a person wants it back", &by_person, Kind::AcceptAsPaid, none, false),
        ("close a cause", &held(), Kind::CloseAsIs, flag(Flag::Underpaid), false),
        ("close a contradiction", &regressed, Kind::CloseAsIs, none, true),
        ("close while a refund is out", &unknown, Kind::CloseAsIs, none, false),
        ("return", &held(), Kind::Return, none, true),
        ("return under a blocker", &regressed, Kind::Return, none, false),
        ("return in a dispute", &disputed, Kind::Return, none, false),
        ("keep", &held(), Kind::KeepInSuspense, none, true),
        ("keep nothing", &plain, Kind::KeepInSuspense, none, false),
        ("done, and one is unknown", &unknown, Kind::RefundDone, none, true),
        ("not done, another one", &unknown, Kind::RefundNotDone, About { refund_id: Some(77), ..none }, false),
        ("done, and none is unknown", &held(), Kind::RefundDone, none, false),
        ("dispute", &plain, Kind::Dispute, none, true),
        ("dispute twice", &disputed, Kind::Dispute, none, false),
        ("end a dispute", &disputed, Kind::Undispute, none, true),
        ("end none", &plain, Kind::Undispute, none, false),
        ("ask again", &plain, Kind::AskAgain, none, true),
        (
            "outside without the flag",
            &plain,
            Kind::OutsideRefund,
            About { amount: Some(Sen::rupiah(1)), ..none },
            false,
        ),
    ] {
        assert_eq!(check(case, kind, about).is_ok(), possible, "{told}: {:?}", check(case, kind, about));
    }
    let mut payout = plain;
    payout.order.direction = Direction::Out;
    assert!(check(&payout, Kind::Dispute, none).is_err());
}

#[test]
fn accepted_less_is_the_merchants_and_nothing_reopens_it_but_news() {
    let case = resolved(held(), 3, Kind::AcceptAsPaid, flag(Flag::Underpaid));
    let decision = decided(&case, 4);
    assert_eq!(row(&decision), "paid{underpaid}");
    assert!(decision.flags.open.is_empty() && rules(&decision).contains(&Rule::SettledByPerson));
    let (clearing, payable) = (Sen::rupiah(90_000).sen(), -Sen::rupiah(90_000).sen());
    let lines: Vec<_> = decision.postings.iter().map(|p| (p.account, p.sen)).collect();
    assert_eq!(lines, [(ProviderClearing, clearing), (MerchantPayable, payable)]);
    // Cancelled later: another flag, which nobody settled.
    let cancelled = settled(case, 4).becomes(5, OrderStatus::Cancelled);
    assert_eq!(row(&decided(&cancelled, 6)), "held{cancelled_after_paid,underpaid}");
}

#[test]
fn a_blocker_blocks_until_exactly_it_is_settled() {
    let dead = case().hear(1, paid(90_000)).hear(100, says(Failed)).hear(200, says(Failed));
    let case = settled(dead, 201);
    assert_eq!(row(&decided(&case, 201)), "review{regression,underpaid}");
    let accepted = resolved(case.clone(), 202, Kind::AcceptAsPaid, flag(Flag::Underpaid));
    assert_eq!(row(&decided(&accepted, 203)), "review{regression,underpaid}");
    assert!(decided(&accepted, 203).flags.open.contains(&Flag::Regression));
    let closed = resolved(case, 202, Kind::CloseAsIs, flag(Flag::Regression));
    assert_eq!(row(&decided(&closed, 203)), "held{regression,underpaid}");
    assert_eq!(decided(&closed, 203).flags.open, [Flag::Underpaid].into());
}

#[test]
fn the_same_said_again_is_no_news_and_something_else_is() {
    let dead = case().hear(1, paid(100_000)).hear(100, says(Failed)).hear(200, says(Failed));
    let case = resolved(settled(dead, 201), 202, Kind::CloseAsIs, flag(Flag::Regression));
    let again = case.clone().hear(300, says(Failed)).hear(400, says(Failed));
    assert_eq!(row(&decided(&again, 401)), "paid{regression}");
    let other = case.hear(300, paid(70_000)).hear(400, paid(70_000));
    assert_eq!(row(&decided(&other, 401)), "review{amount_changed,regression}");
}

#[test]
fn a_reversal_is_settled_by_saying_how_much_went_back() {
    let case = settled(case().hear(1, paid(100_000)).hear(100, says(Reversed)), 101);
    assert_eq!(case.prior.state, State::Review);
    let about = |rupiah| About { amount: Some(Sen::rupiah(rupiah)), ..About::default() };
    assert_eq!(check(&case, Kind::OutsideRefund, about(100_001)), Err(Objection::Amount(Sen::rupiah(100_000))));
    assert_eq!(check(&case, Kind::OutsideRefund, about(0)), Err(Objection::Amount(Sen::rupiah(100_000))));
    let known = check(&case, Kind::OutsideRefund, about(40_000)).unwrap();
    let mut case = resolved(case, 102, Kind::OutsideRefund, known);
    case.refunded_outside = Sen::rupiah(40_000);
    let decision = decided(&case.clone().hear(200, says(Reversed)), 201);
    assert_eq!(row(&decision), "paid{refunded_outside}");
    assert_eq!(returnable(&case), Sen::rupiah(60_000));
}

#[test]
fn a_stuck_row_is_closed_as_unpaid_and_a_later_paid_reopens_it() {
    let day = 24 * 3600;
    let stuck = settled(case().hear(1, silence()), 10 * day);
    assert_eq!(row(&decided(&stuck, 10 * day)), "review{stuck}");
    let closed = settled(resolved(stuck, 10 * day, Kind::CloseAsIs, flag(Flag::Stuck)), 10 * day + 1);
    assert_eq!((closed.prior.state, closed.prior.closed_seq), (State::Unpaid, Some(2)));
    assert_eq!(row(&decided(&closed, 10 * day + 2)), "unpaid{}");
    assert_eq!(row(&decided(&closed.hear(11 * day, paid(100_000)), 11 * day + 1)), "held{paid_after_close}");
}

#[test]
fn an_explained_identity_goes_on_being_asked() {
    let lost = settled(case().hear(1, wrong()).hear(10, wrong()).hear(20, wrong()), 21);
    assert_eq!(row(&decided(&lost, 21)), "review{identity}");
    let told = resolved(lost, 22, Kind::CloseAsIs, flag(Flag::Identity));
    assert_eq!(row(&decided(&told, 23)), "pending{}");
    assert!(decided(&told, 23).next_check_at.is_some());
}

#[test]
fn what_is_kept_is_not_returned_by_the_policy_and_may_be_given_free_again() {
    let over = settled(case().hear(1, paid(150_000)).hear(100, paid(150_000)), 101);
    assert_eq!(decided(&over, 101).actions.len(), 1, "the policy would return the excess");
    let kept = resolved(over, 102, Kind::KeepInSuspense, flag(Flag::Overpaid));
    let decision = decided(&kept, 103);
    assert!(decision.actions.is_empty() && rules(&decision).contains(&Rule::KeptByPerson), "{decision:?}");
    assert_eq!(row(&decision), "held{overpaid}");
    let free = resolved(kept, 104, Kind::AcceptAsPaid, flag(Flag::Overpaid));
    assert_eq!(row(&decided(&free, 105)), "paid{overpaid}");
}

#[test]
fn in_a_dispute_nothing_is_proposed_and_after_it_as_before() {
    let over = settled(case().hear(1, paid(150_000)).hear(100, paid(150_000)), 101);
    let disputed = resolved(over, 102, Kind::Dispute, About::default());
    assert!(
        decided(&disputed, 103).actions.is_empty() && rules(&decided(&disputed, 103)).contains(&Rule::RefundDisputed)
    );
    let over = resolved(disputed, 104, Kind::Undispute, About::default());
    assert_eq!(decided(&over, 105).actions.len(), 1);
}

#[test]
fn a_wish_to_ask_is_due_at_once_in_every_state_and_until_it_was_asked() {
    let closed = settled(case().hear(1, paid(100_000)), 2);
    let wish = resolved(closed, 50, Kind::AskAgain, About::default());
    assert_eq!(decided(&wish, 51).next_check_at, Some(t(51)));
    let asked = wish.hear(60, paid(100_000));
    assert_ne!(decided(&asked, 62).next_check_at, Some(t(62)));
}

#[test]
fn the_ceiling_takes_away_postings_then_proposals_then_solitude() {
    let mut over = case().hear(1, paid(150_000)).hear(100, paid(150_000));
    for (level, postings, proposed, approved) in [
        (Level::Observe, false, false, false),
        (Level::Post, true, false, false),
        (Level::Propose, true, true, false),
        (Level::Auto, true, true, true),
    ] {
        over.ceiling = level;
        let decision = decided(&over, 101);
        assert_eq!(row(&decision), "paid{overpaid}", "{level:?}");
        assert_eq!(!decision.postings.is_empty(), postings, "{level:?}");
        assert_eq!(!decision.actions.is_empty(), proposed, "{level:?}");
        let alone = decision
            .actions
            .iter()
            .any(|a| matches!(a, crate::domain::decide::Action::Propose { approve, .. } if *approve));
        assert_eq!(alone, approved, "{level:?}");
    }
    over.ceiling = Level::Auto;
    assert!(decided_by(&over, &Policy::default(), 101).postings.len() > 1, "the built-in mode proposes");
}

#[test]
fn a_persons_refund_without_a_cause_is_listed_while_it_lives_and_when_it_is_done() {
    let mut case = case().hear(1, paid(100_000)).hear(100, paid(100_000));
    let mut wish = refund(Flag::Requested, 30_000, RefundState::Proposed);
    wish.proposed_by = "budi".into();
    case.refunds.push(wish);
    for (state, expected) in [
        (RefundState::Proposed, "paid{requested}"),
        (RefundState::Reserved, "refunding{requested}"),
        (RefundState::Confirmed, "partly_refunded{requested}"),
        (RefundState::Denied, "paid{}"),
        (RefundState::Refused, "paid{}"),
    ] {
        case.refunds[0].state = state;
        case.refunds[0].proof = (state == RefundState::Confirmed).then_some(Proof::Answer);
        case = settled(case, 101);
        assert_eq!(row(&decided(&case, 101)), expected, "{state:?}");
    }
}

#[test]
fn a_causes_own_mode_holds_its_refunds_and_no_others() {
    let over = case().hear(1, paid(150_000)).hear(100, paid(150_000));
    let mut policy = crate::domain::decide::tests::build::auto();
    policy.refunds.by_cause.overpaid.mode = Some(crate::domain::policy::RefundMode::Off);
    assert!(decided_by(&over, &policy, 101).actions.is_empty());
    let cancelled = case().becomes(0, OrderStatus::Cancelled).hear(1, paid(100_000)).hear(100, paid(100_000));
    assert_eq!(decided_by(&cancelled, &policy, 101).actions.len(), 1);
}

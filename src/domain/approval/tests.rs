//! What people may propose, approve and deny.

use super::{Objection, approve, deny, propose};
use crate::domain::{
    case::{Case, Terms},
    decide::tests::build::{auto, case, decided, paid, profile, refund, says, t},
    money::Sen,
    observation::Observation::Failed,
    order::OrderStatus,
    policy::{Policy, RefundMode},
    refund::{Refund, RefundState},
    saga::{self, Step},
    state::Flag,
    switch::Level,
};

fn settled(mut case: Case, at: i64) -> Case {
    let decision = decided(&case, at);
    case.prior.state = decision.state;
    case.prior.flags = decision.flags;
    case
}

fn exact() -> Case {
    settled(case().hear(1, paid(100_000)).hear(100, paid(100_000)), 101)
}

fn wished(case: &Case, cause: Option<Flag>, rupiah: Option<i64>) -> Result<(Flag, Sen), Objection> {
    let (profile, policy) = (profile(), Policy::default());
    propose(case, &Terms { profile: Some(&profile), policy: &policy }, cause, rupiah.map(Sen::rupiah))
}

#[test]
fn a_wish_stands_under_the_cause_that_decides_or_under_its_own() {
    assert_eq!(wished(&exact(), None, None), Ok((Flag::Requested, Sen::rupiah(100_000))));
    assert_eq!(wished(&exact(), None, Some(1)), Ok((Flag::Requested, Sen::rupiah(1))));
    assert!(matches!(wished(&exact(), Some(Flag::Overpaid), None), Err(Objection::OtherCause("requested"))));
    let less = settled(case().hear(1, paid(90_000)), 2);
    assert_eq!(wished(&less, None, Some(5)), Ok((Flag::Underpaid, Sen::rupiah(5))));
    assert!(matches!(wished(&less, Some(Flag::Requested), None), Err(Objection::OtherCause("underpaid"))));
    assert!(matches!(wished(&exact(), None, Some(100_001)), Err(Objection::Amount { .. })));
    assert!(matches!(wished(&exact(), None, Some(0)), Err(Objection::Amount { .. })));
    assert!(matches!(wished(&case(), None, None), Err(Objection::Nothing(_))));
    let dead = settled(case().hear(1, paid(100_000)).hear(100, says(Failed)).hear(200, says(Failed)), 201);
    assert!(matches!(wished(&dead, None, None), Err(Objection::Blocked("regression"))));
    let mut twice = exact();
    twice.refunds.push(refund(Flag::Requested, 1, RefundState::Confirmed));
    assert!(matches!(wished(&twice, None, None), Err(Objection::Occupied { .. })));
    let mut switched = exact();
    switched.ceiling = Level::Post;
    assert!(matches!(wished(&switched, None, None), Err(Objection::Nothing(_))));
}

fn proposed(case: &mut Case, by: &str) -> Refund {
    let mut refund = refund(Flag::Requested, 30_000, RefundState::Proposed);
    refund.proposed_by = by.into();
    refund.approved_by = None;
    refund.content_hash = saga::content_hash(case, None);
    case.refunds.push(refund.clone());
    *case = settled(case.clone(), 101);
    refund
}

#[test]
fn an_approval_that_would_be_void_at_once_is_refused_and_says_why() {
    let profile = profile();
    let mut case = exact();
    let refund = proposed(&mut case, "budi");
    let by = |case: &Case, policy: &Policy| {
        approve(case, &refund, &Terms { profile: Some(&profile), policy }, "sari", t(102)).map(|r| r.state)
    };
    assert_eq!(by(&case, &Policy::default()), Ok(RefundState::Approved));
    let mut off = Policy::default();
    off.refunds.mode = RefundMode::Off;
    assert!(matches!(by(&case, &off), Err(Objection::Void(why)) if why.contains("switched off")));
    let cancelled = settled(case.becomes(102, OrderStatus::Cancelled), 103);
    assert!(matches!(by(&cancelled, &auto()), Err(Objection::Void(why)) if why.contains("cancelled_after_paid")));
}

#[test]
fn a_persons_approval_ends_and_a_number_that_is_out_there_does_not() {
    let (profile, policy) = (profile(), Policy::default());
    let terms = Terms { profile: Some(&profile), policy: &policy };
    let mut case = exact();
    let refund = proposed(&mut case, "budi");
    let mut approved = approve(&case, &refund, &terms, "sari", t(102)).unwrap();
    let ends = 102 + policy.refunds.approval_ttl_secs;
    assert_eq!(saga::next_step(&case, &approved, &terms, t(ends - 1)), Step::Reserve);
    let step = saga::next_step(&case, &approved, &terms, t(ends));
    assert!(matches!(&step, Step::BackToProposed { reason } if reason.contains("approval_ttl")), "{step:?}");
    approved.state = RefundState::Reserved;
    approved.unanswered = true;
    assert!(!matches!(saga::next_step(&case, &approved, &terms, t(ends)), Step::BackToProposed { .. }));
}

#[test]
fn what_has_left_is_not_denied() {
    let case = exact();
    for state in RefundState::ALL {
        let mut one = refund(Flag::Requested, 1, state);
        let denied = deny(&case, &one, "sari", "no").is_ok();
        assert_eq!(denied, state.is_unsent(), "{state:?}");
        one.unanswered = true;
        assert!(deny(&case, &one, "sari", "no").is_err(), "{state:?}");
    }
}

//! Every situation of a refund, and every answer to a refund call, with the step and the fate that must follow.

mod ways;

use super::{Step, content_hash, next_step};
use crate::domain::{
    case::{Case, Terms},
    decide::tests::build::{HOUR, auto, case, paid, profile, refund, says, silence, t},
    fact::Warning,
    money::Sen,
    observation::Observation::{Failed, Open, Reversed},
    order::OrderStatus,
    policy::{Policy, RefundMode},
    profile::{Profile, RefundRepeat},
    refund::{Proof, Refund, RefundState},
    reply::{Fate, RefundReply, ReplyClass, Sent, judge},
    state::Flag,
};

/// Overpaid by Rp 50 000, seen twice a minute apart, the second time at 70 s.
fn seen_twice() -> Case {
    case().hear(1, paid(150_000)).hear(69, paid(150_000))
}

/// Cancelled, then paid in full, seen at 1 s.
fn cancelled() -> Case {
    case().becomes(0, OrderStatus::Cancelled).hear(1, paid(100_000))
}

struct Situation {
    case: Case,
    refund: Refund,
    profile: Profile,
    policy: Policy,
}

impl Situation {
    /// `case` with one refund of it, whose approval stands on what is known.
    fn new(case: Case, mut refund: Refund) -> Self {
        let profile = profile();
        refund.content_hash = content_hash(&case, Some(refund.id));
        Self { case, refund, profile, policy: auto() }
    }

    fn overpaid(case: Case, state: RefundState) -> Self {
        Self::new(case, refund(Flag::Overpaid, 50_000, state))
    }

    /// The only attempt ended without an answer at 100 s.
    fn unknown(case: Case, cause: Flag, rupiah: i64) -> Self {
        let mut refund = refund(cause, rupiah, RefundState::Unknown);
        refund.attempts = 1;
        refund.unanswered = true;
        refund.last_sent_at = Some(t(90));
        refund.last_ended_at = Some(t(100));
        Self::new(case, refund)
    }

    fn but(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn unproven(self) -> Self {
        self.but(|s| {
            if let Some(api) = &mut s.profile.refund {
                api.repeat = RefundRepeat::Unproven;
            }
        })
    }

    fn step(&self, secs: i64) -> Step {
        let mut case = self.case.clone();
        case.refunds.push(self.refund.clone());
        let terms = Terms { profile: Some(&self.profile), policy: &self.policy };
        next_step(&case, &self.refund, &terms, t(secs))
    }
}

fn wait(secs: i64) -> Step {
    Step::Wait(Some(t(secs)))
}

#[track_caller]
fn assert_back(step: &Step, why: &str) {
    assert!(matches!(step, Step::BackToProposed { reason } if reason.contains(why)), "{step:?}");
}

#[test]
fn a_refund_that_rests_is_left_alone() {
    for state in
        [RefundState::Proposed, RefundState::Confirmed, RefundState::Refused, RefundState::Denied, RefundState::Expired]
    {
        assert_eq!(Situation::overpaid(seen_twice(), state).step(71), Step::Wait(None), "{state:?}");
    }
}

#[test]
fn an_approved_refund_is_reserved_only_after_two_observations() {
    let step = |case: Case| Situation::overpaid(case, RefundState::Approved).step(80);
    let first = || case().hear(1, paid(150_000));
    assert_eq!(step(seen_twice()), Step::Reserve);
    assert_eq!(step(first()), wait(95), "the time has come, the answer has not: it wakes the refund");
    assert_eq!(Situation::overpaid(first(), RefundState::Approved).step(10), wait(62));
    assert_eq!(Situation::overpaid(first(), RefundState::Approved).step(121), wait(136));
    assert_eq!(
        Situation::overpaid(first(), RefundState::Approved).step(122),
        Step::BeDue(t(137)),
        "nobody asked for it"
    );
    // 61 s after the first answer was recorded is soon enough, 59 s is not.
    assert_eq!(step(first().hear(62, paid(150_000))), Step::Reserve);
    assert_eq!(step(first().hear(61, paid(150_000))), wait(95));
    assert_eq!(step(first().hear(69, says(Open))), Step::Wait(None));
    assert_eq!(step(first().hear(69, silence())), Step::Wait(None));
    let mut warned = paid(150_000);
    warned.warnings.push(Warning::Amount);
    assert_eq!(step(first().hear(69, warned)), Step::Wait(None));
    let mut other = paid(150_000);
    other.payment_id = None;
    assert_eq!(step(first().hear(69, other)), wait(130));
}

#[test]
fn one_refund_of_a_row_is_in_flight_at_a_time() {
    let another = |s: &mut Situation| {
        let mut other = refund(Flag::Underpaid, 1_000, RefundState::Unknown);
        other.id = 2;
        s.case.refunds.push(other);
        s.refund.content_hash = content_hash(&s.case, Some(1));
        s.refund.amount = Sen::rupiah(49_000);
    };
    let situation = Situation::overpaid(seen_twice(), RefundState::Approved).but(another);
    assert_eq!(situation.step(71), Step::Wait(None));
}

#[test]
fn right_before_the_first_send_a_fresh_paid_must_stand() {
    let step = |case: Case, secs| Situation::overpaid(case, RefundState::Reserved).step(secs);
    assert_eq!(step(seen_twice(), 100), Step::Send);
    assert_eq!(step(seen_twice(), 101), Step::Ask);
    let open = seen_twice().hear(104, says(Open));
    assert_eq!(step(open.clone(), 106), wait(135), "OPEN backs off");
    assert_eq!(step(open.clone(), 135), Step::Ask);
    let paid_again = open.hear(135, paid(150_000));
    assert_eq!(step(paid_again.clone(), 137), wait(196), "one PAID is not two");
    assert_eq!(step(paid_again.hear(196, paid(150_000)), 198), Step::Send);
}

#[test]
fn what_an_approval_stood_on_is_read_again_before_money_leaves() {
    for state in [RefundState::Approved, RefundState::Reserved] {
        let ready = || Situation::overpaid(seen_twice(), state);
        assert_back(&ready().but(|s| s.policy.refunds.mode = RefundMode::Off).step(71), "switched off");
        assert_back(&ready().but(|s| s.policy.refunds.mode = RefundMode::Propose).step(71), "alone");
        assert_back(&ready().but(|s| s.policy.refunds.auto_limit_sen = 1).step(71), "auto_limit");
        assert_back(&ready().but(|s| s.refund.amount = Sen::rupiah(40_000)).step(71), "another amount");
        assert_back(&ready().but(|s| s.refund.content_hash = "old".into()).step(71), "no longer what is known");
        let cancelled = |s: &mut Situation| {
            s.case = s.case.clone().becomes(70, OrderStatus::Cancelled);
            s.refund.content_hash = content_hash(&s.case, Some(1));
        };
        assert_back(&ready().but(cancelled).step(71), "cancelled_after_paid");
        let blocked = |s: &mut Situation| s.case.duplicate_reference = true;
        assert_back(&ready().but(blocked).step(71), "duplicate_reference");
    }
}

#[test]
fn what_a_person_approved_goes_on_unless_the_mode_is_off() {
    let approved = || {
        Situation::overpaid(seen_twice(), RefundState::Reserved).but(|s| {
            s.refund.approved_by = Some("rina".into());
            s.policy.refunds.auto_limit_sen = 1;
            s.policy.refunds.mode = RefundMode::Propose;
        })
    };
    assert_eq!(approved().step(71), Step::Send);
    assert_back(&approved().but(|s| s.policy.refunds.mode = RefundMode::Off).step(71), "switched off");
}

#[test]
fn not_even_a_person_lets_a_rule_take_back_a_fulfilled_order() {
    let mut situation = Situation::new(
        case().hear(1, paid(90_000)).hear(69, paid(90_000)),
        refund(Flag::Underpaid, 90_000, RefundState::Reserved),
    );
    situation.refund.approved_by = Some("rina".into());
    assert_eq!(situation.step(71), Step::Send);
    situation.case = situation.case.clone().becomes(70, OrderStatus::Fulfilled);
    assert_back(&situation.step(71), "fulfilled");
}

#[test]
fn a_call_that_a_crash_cut_off_is_unknown_even_where_refunds_were_switched_away() {
    let sending = Situation::overpaid(seen_twice(), RefundState::Sending);
    assert_eq!(sending.step(200), Step::MarkUnknown);
    assert_eq!(sending.but(|s| s.profile.refund = None).step(200), Step::MarkUnknown);
    let reserved = Situation::overpaid(seen_twice(), RefundState::Reserved).but(|s| s.profile.refund = None);
    assert!(matches!(reserved.step(71), Step::ByHand { .. }));
}

#[test]
fn an_unknown_full_refund_is_proved_by_a_reversed_that_was_asked_after_it_ended() {
    let step = |case: Case| Situation::unknown(case, Flag::PaidAfterCancel, 100_000).step(500);
    assert_eq!(step(cancelled().hear(101, says(Reversed))), Step::Confirm(Proof::Query));
    assert_eq!(step(cancelled().hear(99, says(Reversed))), Step::Ask, "it left before the send ended");
    let mut with_person = Situation::unknown(cancelled().hear(101, says(Reversed)), Flag::PaidAfterCancel, 100_000);
    with_person.refund.needs_person = Some(Flag::RefundUnknown);
    assert_eq!(with_person.step(500), Step::Confirm(Proof::Query), "a proof spares the person");
}

#[test]
fn an_unknown_partial_refund_is_never_proved_nor_repeated_on_a_reversed() {
    let case = seen_twice().hear(101, says(Reversed)).hear(200, paid(150_000)).hear(300, paid(150_000));
    let step = Situation::unknown(case, Flag::Overpaid, 50_000).step(500);
    assert_eq!(step, Step::CallPerson(Flag::RefundUnknown));
}

#[test]
fn an_unknown_refund_is_sent_again_only_after_two_paid_answers_and_where_that_is_safe() {
    let situation = |case: Case| Situation::unknown(case, Flag::PaidAfterCancel, 100_000);
    let once = || cancelled().hear(101, paid(100_000));
    let twice = || once().hear(170, paid(100_000));
    assert_eq!(situation(cancelled()).step(100), Step::Ask);
    assert_eq!(situation(once()).step(110), wait(162));
    assert_eq!(situation(twice()).step(172), Step::Send);
    assert_eq!(situation(twice()).unproven().step(172), Step::CallPerson(Flag::RefundUnknown));
    // What was said before the attempt ended says nothing about it.
    let early = cancelled().hear(95, paid(100_000)).hear(170, paid(100_000));
    assert_eq!(situation(early).step(172), wait(231));
    // Silence between does not count, and does not break; another word does.
    let silent = once().hear(120, silence()).hear(170, paid(100_000));
    assert_eq!(situation(silent).step(172), Step::Send);
    let dead = once().hear(120, says(Failed)).hear(170, paid(100_000));
    assert_eq!(situation(dead).step(172), wait(231));
}

#[test]
fn resends_wait_along_the_ladder_end_after_five_and_stop_when_refunds_are_off() {
    let twice = || {
        Situation::unknown(
            cancelled().hear(101, paid(100_000)).hear(170, paid(100_000)),
            Flag::PaidAfterCancel,
            100_000,
        )
    };
    let after = |resends: i32| twice().but(|s| s.refund.resends = resends);
    assert_eq!(after(1).step(172), wait(220));
    assert_eq!(after(3).step(172), wait(100 + HOUR));
    assert_eq!(after(4).step(100 + HOUR), Step::Send, "the fifth repeat");
    let put_off = after(0).but(|s| s.refund.attempts = 9);
    assert_eq!(put_off.step(172), Step::Send, "attempts that were put off spend no repeat");
    assert_eq!(after(5).step(100 + HOUR), Step::CallPerson(Flag::RefundUnknown));
    let off = twice().but(|s| s.policy.refunds.mode = RefundMode::Off);
    assert!(matches!(off.step(172), Step::Blocked { .. }));
    let with_person = twice().but(|s| s.refund.needs_person = Some(Flag::RefundUnknown));
    assert_eq!(with_person.step(172), Step::Wait(None));
}

#[test]
fn finishing_an_unknown_refund_is_exempt_from_blockers() {
    let case = cancelled().hear(101, paid(100_000)).hear(170, paid(100_000));
    let blocked = Situation::unknown(case, Flag::PaidAfterCancel, 100_000).but(|s| s.case.duplicate_reference = true);
    assert_eq!(blocked.step(172), Step::Send);
}

#[test]
fn an_approval_binds_to_the_money_the_cancellation_and_the_other_refunds() {
    let base = content_hash(&seen_twice(), None);
    assert_eq!(content_hash(&seen_twice().hear(200, says(Open)), None), base, "more of the same changes nothing");
    let mut other = seen_twice();
    other.refunds.push(refund(Flag::Underpaid, 1_000, RefundState::Approved));
    let mut denied = seen_twice();
    denied.refunds.push(refund(Flag::Underpaid, 1_000, RefundState::Denied));
    let mut outside = seen_twice();
    outside.refunded_outside = Sen::new(1);
    assert_ne!(content_hash(&case().hear(1, paid(140_000)), None), base);
    assert_ne!(content_hash(&seen_twice().becomes(80, OrderStatus::Cancelled), None), base);
    assert_ne!(content_hash(&other, None), base);
    assert_eq!(content_hash(&other, Some(1)), base, "its own row is no other refund");
    assert_eq!(content_hash(&denied, None), base);
    assert_ne!(content_hash(&outside, None), base);
}

fn reply(class: ReplyClass) -> RefundReply {
    let mut reply = RefundReply::unknown("");
    reply.class = class;
    reply.doubt = None;
    reply
}

/// A success that echoes everything.
fn success() -> RefundReply {
    let mut reply = reply(ReplyClass::Success);
    reply.partner_refund_no = Some("RK1".into());
    reply.amount = Some(Sen::rupiah(50_000));
    reply.refund_no = Some("P-1".into());
    reply
}

/// (repeat, an earlier attempt went unanswered, the provider's number as known)
fn sent(repeat: bool, earlier_unanswered: bool, refund_no: Option<&str>) -> Sent<'_> {
    Sent { partner_refund_no: "RK1", amount: Sen::rupiah(50_000), repeat, earlier_unanswered, refund_no }
}

#[test]
fn every_class_of_answer_has_its_fate_on_a_first_attempt_a_repeat_and_after_silence() {
    use Fate::{Confirmed, Later, NeedsPerson, Refused, Unknown};
    let differs = NeedsPerson(Flag::RefundAmountDiffers);
    let stop = NeedsPerson(Flag::RefundUnknown);
    for (class, first, repeated, after_silence) in [
        (ReplyClass::AlreadyDone, Unknown, Confirmed(Proof::Repeat), Confirmed(Proof::Repeat)),
        (ReplyClass::Inconsistent, differs, differs, differs),
        (ReplyClass::Refusal, Refused, Refused, Unknown),
        (ReplyClass::Closed, Fate::Closed, Fate::Closed, Unknown),
        (ReplyClass::Later, Later, Later, Unknown),
        (ReplyClass::Stop, stop, stop, stop),
        (ReplyClass::Unknown, Unknown, Unknown, Unknown),
    ] {
        let fates = [(false, false), (true, false), (true, true)].map(|(repeat, silence)| {
            let outcome = judge(&sent(repeat, silence, None), &reply(class));
            assert_eq!(outcome.opens_breaker, None, "{class:?}");
            outcome.fate
        });
        assert_eq!(fates, [first, repeated, after_silence], "{class:?}");
    }
    assert_eq!(judge(&sent(false, false, None), &success()).fate, Confirmed(Proof::Answer));
    assert_eq!(judge(&sent(true, true, None), &success()).fate, Confirmed(Proof::Repeat));
}

#[test]
fn a_success_that_echoes_something_else_confirms_nothing_and_opens_the_breaker() {
    let change = |change: fn(&mut RefundReply)| {
        let mut reply = success();
        change(&mut reply);
        judge(&sent(false, false, Some("P-1")), &reply)
    };
    for (told, outcome, fate) in [
        ("no number", change(|r| r.partner_refund_no = None), Fate::Unknown),
        ("another number", change(|r| r.partner_refund_no = Some("RK2".into())), Fate::Unknown),
        ("no amount", change(|r| r.amount = None), Fate::Unknown),
        (
            "another amount",
            change(|r| r.amount = Some(Sen::rupiah(50_001))),
            Fate::NeedsPerson(Flag::RefundAmountDiffers),
        ),
        ("a second refundNo", change(|r| r.refund_no = Some("P-2".into())), Fate::NeedsPerson(Flag::RefundUnknown)),
    ] {
        assert_eq!(outcome.fate, fate, "{told}");
        assert!(outcome.opens_breaker.is_some(), "{told}");
    }
    assert_eq!(change(|_| ()).opens_breaker, None);
}

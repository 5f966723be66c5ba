//! The table of end states of the design, each row played to its end: policy of the contract, mode auto, time enough.

use super::{
    build::{DAY, HOUR, VALID_SECS, paid, says, silence, t},
    world::{Event, Fault, World},
};
use crate::domain::{
    fact::Answer,
    money::Sen,
    observation::Observation::{Absent, Cancelled, Expired, Failed, InFlight, Open, Reversed},
    order::OrderStatus,
    profile::RefundRepeat,
};

/// Long after validity, watch, closing and `stuck_after`.
const THE_END: i64 = 12 * DAY;
/// After the row above was closed as unpaid.
const CLOSED: i64 = 4 * DAY;

/// What happens, and what must come of it: `state{flags}` and the rupiah that the provider really returned.
struct Row {
    told: &'static str,
    world: World,
    ends: &'static str,
    returned: i64,
}

fn row(told: &'static str, world: World, ends: &'static str, returned: i64) -> Row {
    Row { told, world, ends, returned }
}

fn always(answer: Answer) -> World {
    World::new(vec![(0, answer)])
}

fn calls(answers: &[Answer]) -> World {
    World::by_call(answers.to_vec())
}

fn with(mut world: World, change: impl FnOnce(&mut World)) -> World {
    change(&mut world);
    world
}

fn cancelled_at(secs: i64, world: World) -> World {
    with(world, |w| {
        w.events.push((secs, Event::Becomes(OrderStatus::Cancelled)));
    })
}

fn without_refund_api(world: World) -> World {
    with(world, |w| {
        if let Some(profile) = &mut w.profile {
            profile.refund = None;
        }
    })
}

fn unproven(world: World) -> World {
    with(world, |w| {
        let profile = w.profile.as_mut().expect("a profile");
        profile.refund.as_mut().expect("refunds").repeat = RefundRepeat::Unproven;
    })
}

fn faulty(faults: &[Fault], world: World) -> World {
    with(world, |w| w.provider.faults = faults.to_vec())
}

fn in_currency(currency: &str) -> Answer {
    let mut answer = paid(100_000);
    answer.currency = Some(currency.into());
    answer
}

fn paid_at(secs: i64) -> Answer {
    let mut answer = paid(100_000);
    answer.paid_time = Some(t(secs));
    answer
}

fn second_payment() -> Answer {
    let mut answer = paid(100_000);
    answer.payment_id = Some("RRN-2".into());
    answer
}

fn without_amount() -> Answer {
    let mut answer = paid(100_000);
    answer.amount = None;
    answer
}

fn of_the_design() -> Vec<Row> {
    let over = || always(paid(150_000));
    vec![
        row("exact", always(paid(100_000)), "paid{}", 0),
        row("more", over(), "paid{overpaid}", 50_000),
        row("less", always(paid(99_999)), "held{underpaid}", 0),
        row("× 10", always(paid(1_000_000)), "held{scale}", 0),
        row("× 100", always(paid(10_000_000)), "held{scale}", 0),
        row("÷ 100", always(paid(1_000)), "held{scale}", 0),
        row("other currency", always(in_currency("USD")), "held{currency}", 0),
        row(
            "cancelled before the first 00",
            cancelled_at(100, World::new(vec![(0, says(Open)), (200, paid(100_000))])),
            "refunded{paid_after_cancel}",
            100_000,
        ),
        row("proven late by the paid time", always(paid_at(VALID_SECS + 1)), "held{paid_late}", 0),
        row(
            "proven late by an OPEN after the validity",
            World::new(vec![(0, says(Open)), (VALID_SECS + HOUR, paid(100_000))]),
            "held{paid_late}",
            0,
        ),
        row(
            "closed, then 00",
            with(World::new(vec![(0, says(Absent)), (CLOSED, paid(100_000))]), |w| {
                w.events.push((CLOSED, Event::Nudge));
            }),
            "held{paid_after_close}",
            0,
        ),
        row("first answer 04", always(says(Reversed)), "review{refunded_outside}", 0),
        row("00, then 06 twice", calls(&[paid(100_000), says(Failed)]), "review{regression}", 0),
        row("00, 03, 00", calls(&[paid(100_000), says(Open), paid(100_000)]), "paid{}", 0),
        row("06, then 00 in time", calls(&[says(Failed), paid(100_000)]), "paid{}", 0),
        row("07, then 00 in time", calls(&[says(Absent), paid(100_000)]), "paid{}", 0),
        row("05 and EXPIRED, then 00 in time", calls(&[says(Cancelled), says(Expired), paid(100_000)]), "paid{}", 0),
        row("02 to the end", always(says(InFlight)), "review{stuck}", 0),
        row("only silence to the end", always(silence()), "review{stuck}", 0),
        row("03 to the end", always(says(Open)), "unpaid{}", 0),
        row("07 to the end", always(says(Absent)), "unpaid{}", 0),
        row("05 to the end", always(says(Cancelled)), "unpaid{}", 0),
        row("EXPIRED to the end", always(says(Expired)), "unpaid{}", 0),
        row("06 to the end", always(says(Failed)), "unpaid{}", 0),
        row("more, no refund by API", without_refund_api(over()), "paid{overpaid,refund_blocked}", 0),
        row(
            "cancelled before the first 00, no refund by API",
            without_refund_api(cancelled_at(100, World::new(vec![(0, says(Open)), (200, paid(100_000))]))),
            "held{paid_after_cancel,refund_blocked}",
            0,
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "one table")]
fn of_the_rules_text() -> Vec<Row> {
    let over = || always(paid(150_000));
    let cancelled = || cancelled_at(3, World::new(vec![(0, says(Open)), (4, paid(100_000))]));
    vec![
        row(
            "late and more: the hold holds the whole row",
            always(with_amount(paid_at(VALID_SECS + 1), 150_000)),
            "held{overpaid,paid_late}",
            0,
        ),
        row(
            "an OPEN after the validity, and a trusted paid time in time",
            World::new(vec![(0, says(Open)), (VALID_SECS + HOUR, paid_at(VALID_SECS))]),
            "paid{}",
            0,
        ),
        row("cancelled after the first 00", cancelled_at(100, always(paid(100_000))), "held{cancelled_after_paid}", 0),
        row(
            "cancelled while the excess was not sent yet",
            cancelled_at(20, over()),
            "held{cancelled_after_paid,overpaid}",
            0,
        ),
        row(
            "cancelled after the excess went back",
            cancelled_at(HOUR, over()),
            "held{cancelled_after_paid,overpaid}",
            50_000,
        ),
        row(
            "fulfilled, cancelled, then paid",
            with(World::new(vec![(0, says(Open)), (200, paid(100_000))]), |w| {
                w.events.push((50, Event::Becomes(OrderStatus::Fulfilled)));
                w.events.push((60, Event::Becomes(OrderStatus::Cancelled)));
            }),
            "held{cancelled_after_paid}",
            0,
        ),
        row("two payments", calls(&[paid(100_000), second_payment()]), "held{duplicate_payment}", 0),
        row("another amount, twice", calls(&[paid(100_000), paid(90_000)]), "review{amount_changed}", 0),
        row("PAID without an amount", always(without_amount()), "review{stuck}", 0),
        row("stuck, then answered", World::new(vec![(0, silence()), (6 * DAY, says(Absent))]), "unpaid{}", 0),
        row(
            "stuck, then paid in time after all",
            World::new(vec![(0, silence()), (6 * DAY, paid_at(10))]),
            "paid{}",
            0,
        ),
        row(
            "too little to be worth a refund",
            with(over(), |w| {
                w.policy.refunds.min_refund_sen = Sen::rupiah(50_001).sen();
            }),
            "paid{overpaid}",
            0,
        ),
        row(
            "above the limit of the policy",
            with(over(), |w| {
                w.policy.refunds.auto_limit_sen = Sen::rupiah(49_999).sen();
            }),
            "paid{overpaid}",
            0,
        ),
        row(
            "above the limit, and a person agrees",
            with(over(), |w| {
                w.policy.refunds.auto_limit_sen = Sen::rupiah(49_999).sen();
                w.events.push((HOUR, Event::Approve));
            }),
            "paid{overpaid}",
            50_000,
        ),
        row(
            "the refund is refused",
            faulty(&[Fault::Refuse], cancelled()),
            "held{paid_after_cancel,refund_blocked}",
            0,
        ),
        row(
            "the refund is put off, then done",
            faulty(&[Fault::Later, Fault::Later], cancelled()),
            "refunded{paid_after_cancel}",
            100_000,
        ),
        row(
            "the answer of a full refund is lost",
            faulty(&[Fault::LostAfter], cancelled()),
            "refunded{paid_after_cancel}",
            100_000,
        ),
        row(
            "the same where a repeat is unproven: 04 proves it",
            unproven(faulty(&[Fault::LostAfter], cancelled())),
            "refunded{paid_after_cancel}",
            100_000,
        ),
        row(
            "the worker dies before sending, a repeat is safe",
            faulty(&[Fault::CrashBefore], cancelled()),
            "refunded{paid_after_cancel}",
            100_000,
        ),
        row(
            "the worker dies before sending, a repeat is unproven",
            unproven(faulty(&[Fault::CrashBefore], cancelled())),
            "review{paid_after_cancel,refund_unknown}",
            0,
        ),
        row(
            "the answer of a partial refund is lost, a repeat is safe",
            faulty(&[Fault::LostAfter], over()),
            "paid{overpaid}",
            50_000,
        ),
        row(
            "the answer of a partial refund is lost, a repeat is unproven",
            unproven(faulty(&[Fault::LostAfter], over())),
            "review{overpaid,refund_unknown}",
            50_000,
        ),
        row(
            "every answer is lost: five repeats, then a person",
            faulty(&[Fault::LostBefore; 20], over()),
            "review{overpaid,refund_unknown}",
            0,
        ),
    ]
}

fn with_amount(mut answer: Answer, rupiah: i64) -> Answer {
    answer.amount = Some(Sen::rupiah(rupiah));
    answer
}

#[test]
fn every_row_of_the_design_comes_to_its_end_state() {
    let mut wrong = Vec::new();
    for mut row in of_the_design().into_iter().chain(of_the_rules_text()) {
        row.world.run(THE_END);
        let returned = row.world.provider.total_returned();
        if row.world.row() != row.ends || returned != Sen::rupiah(row.returned) {
            wrong.push(format!(
                "{}: expected {} and {} back, got {} and {returned} back",
                row.told,
                row.ends,
                row.returned,
                row.world.row()
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

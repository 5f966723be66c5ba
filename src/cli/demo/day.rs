//! The demo's day: which calendar day it is, how many payments of which kind it has, what the merchant writes down about each and
//! what the provider will say. Drawn from a seed; the same seed and day give the same payments.

use chrono::{DateTime, Utc};

use crate::{
    cli::sim::ACCOUNT,
    domain::{
        day::BusinessDay,
        money::Sen,
        order::{later, secs_between},
    },
    report::format,
    sim::{Answer, Rng, Scenario, SimPayment, scripted},
};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
/// `[policy] watch` and `stuck_after` of the demo's configuration, seconds.
const WATCH: i64 = HOUR;
/// Every payment is at least this old, so that validity, watch and `stuck_after` of a stuck one are over.
const AGE_MIN: i64 = 150 * MINUTE;
/// The fewest payments of any kind.
pub(super) const KIND_MIN: u32 = 10;
/// Smallest and largest amount, in rupiah.
const AMOUNTS: (i64, i64) = (10_000, 500_000);

/// How long a code can be paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Validity {
    /// A day: still valid when the demo runs.
    Day,
    /// A quarter of an hour: over, and its watch and `stuck_after` as well.
    Short,
    /// Until its watch has just ended: negative answers close it now.
    Closing,
}

/// What becomes of a payment at the provider between the first run and the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Nothing new: its script goes on.
    None,
    /// Its payment is called failed from now on.
    Fails,
    /// It is paid after all.
    IsPaid,
}

/// One kind of payment.
#[derive(Debug)]
pub(super) struct Kind {
    /// The name in `expected_ends.txt`.
    pub(super) name: &'static str,
    scenario: Scenario,
    /// Of two thousand payments so many.
    share: u32,
    validity: Validity,
    turn: Turn,
}

const fn kind(name: &'static str, scenario: Scenario, share: u32) -> Kind {
    Kind { name, scenario, share, validity: Validity::Day, turn: Turn::None }
}

const fn short(name: &'static str, scenario: Scenario, share: u32) -> Kind {
    Kind { validity: Validity::Short, ..kind(name, scenario, share) }
}

const fn closing(name: &'static str, share: u32, turn: Turn) -> Kind {
    Kind { validity: Validity::Closing, turn, ..kind(name, Scenario::NeverPaid, share) }
}

/// Every kind; the first one takes what the others leave.
pub(super) const KINDS: [Kind; 22] = [
    kind("exact", Scenario::Exact, 0),
    kind("integers_for_strings", Scenario::IntegersForStrings, 40),
    kind("pending_then_paid", Scenario::PendingThenPaid, 80),
    kind("failed_then_paid", Scenario::FailedThenPaid, 40),
    kind("not_found_then_paid", Scenario::NotFoundThenPaid, 40),
    kind("wrong_echo_then_right", Scenario::WrongEchoThenRight, 20),
    kind("flip_flop", Scenario::FlipFlop, 20),
    kind("overpaid", Scenario::Overpaid, 120),
    kind("refund_answer_lost", Scenario::RefundAnswerLost, 30),
    kind("refund_lost_before_effect", Scenario::RefundLostBeforeEffect, 20),
    kind("refund_refused", Scenario::RefundRefused, 20),
    kind("cancelled_then_paid", Scenario::CancelledThenPaid, 60),
    kind("underpaid", Scenario::Underpaid, 60),
    kind("scale_x100", Scenario::ScaleX100, 20),
    kind("other_currency", Scenario::OtherCurrency, 20),
    short("paid_late", Scenario::PaidLate, 40),
    kind("reversed_first", Scenario::ReversedFirst, 20),
    Kind { turn: Turn::Fails, ..kind("regression", Scenario::Regression, 20) },
    short("in_flight_forever", Scenario::InFlightForever, 20),
    short("indeterminate_forever", Scenario::IndeterminateForever, 20),
    closing("never_paid", 80, Turn::None),
    closing("paid_after_close", 20, Turn::IsPaid),
];

/// The fewest payments with which every kind has its ten.
pub(super) const PAYMENTS_MIN: i64 = 240;

/// One expected payment, and what the provider knows about it.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) kind: &'static Kind,
    pub(super) payment: SimPayment,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
}

/// The day and its payments, in the order of their creation.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) day: BusinessDay,
    pub(super) rows: Vec<Planned>,
}

impl Plan {
    /// Draws a day that has just passed at `now`.
    pub(super) fn draw(payments: u32, seed: u64, now: DateTime<Utc>) -> Self {
        let mut rng = Rng::new(seed);
        let (day, from, until) = span(now);
        let mut kinds = mixture(payments);
        shuffle(&mut kinds, &mut rng);
        let mut times: Vec<i64> = kinds.iter().map(|_| rng.between(0, secs_between(from, until))).collect();
        times.sort_unstable();
        let rows = kinds
            .into_iter()
            .zip(times)
            .zip(1..)
            .map(|((kind, secs), number)| Planned::draw(kind, (day, number), (later(from, secs), now), &mut rng))
            .collect();
        Self { day, rows }
    }

    /// The file that the merchant would hand over.
    pub(super) fn csv(&self) -> String {
        let mut csv =
            "account,partner_reference_no,reference_no,amount,order_status,created_at,expires_at\n".to_owned();
        for row in &self.rows {
            let SimPayment { partner_reference_no, reference_no, expected_sen, .. } = &row.payment;
            let order_status = if row.kind.scenario == Scenario::CancelledThenPaid { "cancelled" } else { "open" };
            let (amount, created_at, expires_at) =
                (Sen::new(*expected_sen), format::iso(row.created_at), format::iso(row.expires_at));
            let cells = [
                ACCOUNT,
                partner_reference_no,
                reference_no,
                &amount.to_string(),
                order_status,
                &created_at,
                &expires_at,
            ];
            csv.push_str(&cells.join(","));
            csv.push('\n');
        }
        csv
    }

    /// The first row of a kind, as `ACCOUNT/REF`.
    pub(super) fn example(&self, name: &str) -> String {
        let row = self.rows.iter().find(|row| row.kind.name == name);
        row.map_or_else(String::new, |row| format!("{ACCOUNT}/{}", row.payment.partner_reference_no))
    }
}

impl Planned {
    fn draw(
        kind: &'static Kind,
        (day, number): (BusinessDay, u32),
        (created_at, now): (DateTime<Utc>, DateTime<Utc>),
        rng: &mut Rng,
    ) -> Self {
        let amount = Sen::rupiah(rng.between(AMOUNTS.0, AMOUNTS.1));
        let mut payment = scripted(kind.scenario, amount.sen(), rng);
        payment.partner_reference_no = format!("INV-{}-{number:05}", day.to_string().replace('-', ""));
        payment.registered_at = Some(later(created_at, rng.between(20, 5 * MINUTE)));
        match kind.scenario {
            // Its time has come already: it was paid, late.
            Scenario::PaidLate => payment.script = payment.script.pop().into_iter().collect(),
            // Failed only after the day's first look.
            Scenario::Regression => payment.script = vec![Answer::paid()],
            _ => {}
        }
        let expires_at = match kind.validity {
            Validity::Day => later(created_at, 24 * HOUR),
            Validity::Short => later(created_at, 15 * MINUTE),
            Validity::Closing => later(now, -(WATCH + MINUTE)),
        };
        Self { kind, payment, created_at, expires_at }
    }

    /// What the provider says from now on, where that changes between the two runs.
    pub(super) fn turn(&self) -> Option<Vec<Answer>> {
        match self.kind.turn {
            Turn::None => None,
            Turn::Fails => Some(vec![Answer::status("06")]),
            Turn::IsPaid => Some(vec![Answer::paid()]),
        }
    }
}

/// A business day whose payments are all younger than a day (older ones are asked twice a day at most) and old enough:
/// today's from six in the morning on or, before noon, yesterday's afternoon and evening.
fn span(now: DateTime<Utc>) -> (BusinessDay, DateTime<Utc>, DateTime<Utc>) {
    let today = BusinessDay::of(now);
    if secs_between(today.start(), now) >= 12 * HOUR {
        (today, later(today.start(), 6 * HOUR), later(now, -AGE_MIN))
    } else {
        let day = today.previous();
        (day, later(day.start(), 13 * HOUR), later(day.end(), -AGE_MIN))
    }
}

fn mixture(payments: u32) -> Vec<&'static Kind> {
    let mut kinds = Vec::new();
    for kind in KINDS.iter().filter(|kind| kind.share > 0) {
        let scaled = u64::from(kind.share) * u64::from(payments) / 2_000;
        let rows = u32::try_from(scaled).unwrap_or(u32::MAX).max(KIND_MIN);
        kinds.extend((0..rows).map(|_| kind));
    }
    let wanted = usize::try_from(payments).unwrap_or(usize::MAX);
    if let Some(rest) = KINDS.iter().find(|kind| kind.share == 0) {
        kinds.resize(wanted.max(kinds.len()), rest);
    }
    kinds
}

/// Fisher and Yates.
fn shuffle<T>(items: &mut [T], rng: &mut Rng) {
    for last in (1..items.len()).rev() {
        let drawn = rng.between(0, i64::try_from(last).unwrap_or(0));
        items.swap(last, usize::try_from(drawn).unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&Utc)
    }

    #[test]
    fn at_any_hour_the_day_is_one_day_and_its_payments_are_neither_too_young_nor_a_day_old() {
        for minute in 0..24 * 60 {
            let now = later(at("2026-11-20T00:00:00+07:00"), minute * MINUTE);
            let (day, from, until) = span(now);
            assert!(day.contains(from) && day.contains(until), "{now}");
            assert!(secs_between(from, until) >= 3 * HOUR, "{now}");
            assert!(secs_between(until, now) >= AGE_MIN, "{now}");
            assert!(secs_between(from, now) < 24 * HOUR - 10 * MINUTE, "{now}");
        }
    }

    #[test]
    fn every_kind_has_its_ten_and_two_thousand_payments_make_a_hundred_refunds() {
        for payments in [240, 300, 2_000, 5_000] {
            let mut rows: BTreeMap<&str, usize> = BTreeMap::new();
            for kind in mixture(payments) {
                *rows.entry(kind.name).or_default() += 1;
            }
            assert_eq!(rows.len(), KINDS.len());
            assert!(rows.values().all(|rows| *rows >= 10), "{rows:?}");
            assert_eq!(rows.values().sum::<usize>(), usize::try_from(payments).unwrap());
            let refunds: usize =
                ["overpaid", "cancelled_then_paid", "refund_answer_lost"].iter().map(|kind| rows[kind]).sum();
            assert!(payments < 2_000 || refunds >= 100, "{refunds}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_day() {
        let now = at("2026-11-20T15:00:00+07:00");
        assert_eq!(Plan::draw(300, 7, now).csv(), Plan::draw(300, 7, now).csv());
        assert_ne!(Plan::draw(300, 7, now).csv(), Plan::draw(300, 8, now).csv());
    }
}

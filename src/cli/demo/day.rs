//! The demo's day: which calendar day it is, what the merchant writes down about each payment and what its provider will say.
//! Drawn from a seed; the same seed and day give the same payments.

use chrono::{DateTime, Utc};

use crate::{
    domain::{
        day::BusinessDay,
        money::Sen,
        order::{Direction, later, secs_between},
    },
    report::format,
    sim::{Answer, Rng, Scenario, SimPayment, scripted},
};

use super::{
    accounts::Account,
    kinds::{Kind, Turn, Validity, mixture},
};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
/// `[policy] watch` and `stuck_after` of the demo's configuration, seconds.
const WATCH: i64 = HOUR;
/// Every payment is at least this old, so that validity, watch and `stuck_after` of a stuck one are over.
const AGE_MIN: i64 = 150 * MINUTE;
/// Smallest and largest amount, in rupiah.
const AMOUNTS: (i64, i64) = (10_000, 500_000);

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
        let mut csv = "account,partner_reference_no,reference_no,direction,amount,order_status,created_at,expires_at\n"
            .to_owned();
        for row in &self.rows {
            let SimPayment { partner_reference_no, reference_no, expected_sen, .. } = &row.payment;
            let order_status = if row.kind.scenario == Scenario::CancelledThenPaid { "cancelled" } else { "open" };
            let (amount, created_at, expires_at) =
                (Sen::new(*expected_sen), format::iso(row.created_at), format::iso(row.expires_at));
            let cells = [
                row.kind.account.name,
                partner_reference_no,
                reference_no,
                row.kind.direction.as_str(),
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
    pub(super) fn example(&self, account: &Account, name: &str) -> String {
        let row = self.rows.iter().find(|row| row.kind.account == account && row.kind.name == name);
        row.map_or_else(String::new, Planned::named)
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
        let letters = if kind.direction == Direction::In { "INV" } else { "PAYOUT" };
        kind.account.client_id.clone_into(&mut payment.client_id);
        payment.partner_reference_no = format!("{letters}-{}-{number:05}", day.to_string().replace('-', ""));
        payment.registered_at = Some(later(created_at, rng.between(20, 5 * MINUTE)));
        if let Some(script) = kind.script() {
            payment.script = script;
        } else if kind.scenario == Scenario::PaidLate {
            // Its time has come already: it was paid, late.
            payment.script = payment.script.pop().into_iter().collect();
        }
        let expires_at = match kind.validity {
            Validity::Day => later(created_at, 24 * HOUR),
            Validity::Short => later(created_at, 15 * MINUTE),
            Validity::Closing => later(now, -(WATCH + MINUTE)),
        };
        Self { kind, payment, created_at, expires_at }
    }

    /// `ACCOUNT/REF`.
    pub(super) fn named(&self) -> String {
        format!("{}/{}", self.kind.account.name, self.payment.partner_reference_no)
    }

    /// When the customer paid, if he did.
    pub(super) fn paid_at(&self) -> DateTime<Utc> {
        self.payment.registered_at.unwrap_or(self.created_at)
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

/// Fisher and Yates.
fn shuffle<T>(items: &mut [T], rng: &mut Rng) {
    for last in (1..items.len()).rev() {
        let drawn = rng.between(0, i64::try_from(last).unwrap_or(0));
        items.swap(last, usize::try_from(drawn).unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
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
    fn the_same_seed_gives_the_same_day() {
        let now = at("2026-11-20T15:00:00+07:00");
        assert_eq!(Plan::draw(500, 7, now).csv(), Plan::draw(500, 7, now).csv());
        assert_ne!(Plan::draw(500, 7, now).csv(), Plan::draw(500, 8, now).csv());
    }
}

//! The kinds of payment of the demo's day: at which account, how many, what the provider will say and what turns between the
//! two runs. What each must come to stands in `expected_ends.txt` and nowhere here.

use crate::{
    domain::order::Direction,
    sim::{Answer, Scenario},
};

use super::accounts::{Account, BRICK, DOKU, PAYDIA};

/// How long a code can be paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Validity {
    /// A day: still valid when the demo runs.
    Day,
    /// A quarter of an hour: over, and its watch and `stuck_after` as well.
    Short,
    /// Until its watch has just ended: negative answers close it now.
    Closing,
}

/// What becomes of a payment at the provider between the first run and the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
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
    pub(super) account: &'static Account,
    /// The name in `expected_ends.txt`, once in an account.
    pub(super) name: &'static str,
    pub(super) direction: Direction,
    pub(super) scenario: Scenario,
    /// Statuses in turn, the last one for ever, where the scenario's own answers are not meant.
    statuses: &'static [&'static str],
    /// Of two thousand payments so many.
    pub(super) share: u32,
    pub(super) validity: Validity,
    pub(super) turn: Turn,
}

impl Kind {
    /// The answers that replace the scenario's own, if any do.
    pub(super) fn script(&self) -> Option<Vec<Answer>> {
        let answers = self.statuses.iter().map(|status| Answer::status(*status));
        (!self.statuses.is_empty()).then(|| answers.collect())
    }

    const fn short(self) -> Self {
        Self { validity: Validity::Short, ..self }
    }

    const fn closing(self) -> Self {
        Self { validity: Validity::Closing, ..self }
    }

    const fn saying(self, statuses: &'static [&'static str]) -> Self {
        Self { statuses, ..self }
    }

    const fn turning(self, turn: Turn) -> Self {
        Self { turn, ..self }
    }
}

const fn kind(account: &'static Account, name: &'static str, scenario: Scenario, share: u32) -> Kind {
    let (validity, turn, direction) = (Validity::Day, Turn::None, Direction::In);
    Kind { account, name, direction, scenario, statuses: &[], share, validity, turn }
}

const fn doku(name: &'static str, scenario: Scenario, share: u32) -> Kind {
    kind(&DOKU, name, scenario, share)
}

const fn payout(name: &'static str, statuses: &'static [&'static str], share: u32) -> Kind {
    Kind { direction: Direction::Out, ..kind(&DOKU, name, Scenario::Exact, share) }.saying(statuses)
}

const fn paydia(name: &'static str, scenario: Scenario, share: u32) -> Kind {
    kind(&PAYDIA, name, scenario, share)
}

const fn brick(name: &'static str, scenario: Scenario, share: u32) -> Kind {
    kind(&BRICK, name, scenario, share)
}

/// Every kind; the first one takes what the others leave.
pub(super) static KINDS: [Kind; 42] = [
    doku("exact", Scenario::Exact, 0),
    doku("integers_for_strings", Scenario::IntegersForStrings, 40),
    doku("pending_then_paid", Scenario::PendingThenPaid, 80),
    doku("failed_then_paid", Scenario::FailedThenPaid, 40),
    doku("not_found_then_paid", Scenario::NotFoundThenPaid, 40),
    doku("wrong_echo_then_right", Scenario::WrongEchoThenRight, 20),
    doku("flip_flop", Scenario::FlipFlop, 20),
    doku("overpaid", Scenario::Overpaid, 120),
    doku("refund_answer_lost", Scenario::RefundAnswerLost, 30),
    doku("refund_lost_before_effect", Scenario::RefundLostBeforeEffect, 20),
    doku("refund_refused", Scenario::RefundRefused, 20),
    doku("cancelled_then_paid", Scenario::CancelledThenPaid, 60),
    doku("underpaid", Scenario::Underpaid, 60),
    doku("scale_x100", Scenario::ScaleX100, 20),
    doku("other_currency", Scenario::OtherCurrency, 20),
    doku("paid_late", Scenario::PaidLate, 40).short(),
    doku("reversed_first", Scenario::ReversedFirst, 20),
    // Failed only after the day's first look.
    doku("regression", Scenario::Exact, 20).turning(Turn::Fails),
    doku("in_flight_forever", Scenario::InFlightForever, 20).short(),
    doku("indeterminate_forever", Scenario::IndeterminateForever, 20).short(),
    doku("never_paid", Scenario::NeverPaid, 80).closing(),
    doku("paid_after_close", Scenario::NeverPaid, 20).closing().turning(Turn::IsPaid),
    payout("payout_done", &["00"], 60),
    payout("payout_pending_then_done", &["01", "03", "00"], 20),
    payout("payout_pending", &["03"], 20),
    payout("payout_failed", &["06"], 20),
    payout("payout_cancelled", &["03", "05"], 20),
    paydia("exact", Scenario::Exact, 100),
    paydia("pending_then_paid", Scenario::PendingThenPaid, 20),
    paydia("not_found_then_paid", Scenario::NotFoundThenPaid, 20),
    paydia("overpaid", Scenario::Overpaid, 20),
    paydia("underpaid", Scenario::Underpaid, 20),
    paydia("cancelled_then_paid", Scenario::CancelledThenPaid, 20),
    paydia("in_flight_forever", Scenario::InFlightForever, 20).short(),
    paydia("not_found_forever", Scenario::NeverPaid, 20).saying(&["07"]).closing(),
    brick("exact", Scenario::Exact, 60),
    brick("paying_is_paid", Scenario::Exact, 40).saying(&["02"]),
    brick("paying_then_settled", Scenario::Exact, 20).saying(&["02", "00"]),
    brick("overpaid", Scenario::Overpaid, 20),
    brick("underpaid", Scenario::Underpaid, 20),
    brick("cancelled_then_paid", Scenario::CancelledThenPaid, 20),
    brick("expired", Scenario::NeverPaid, 20).saying(&["05"]).closing(),
];

/// The fewest payments of any kind.
pub(super) const KIND_MIN: u32 = 10;
/// The fewest payments with which every kind has its ten.
pub(super) const PAYMENTS_MIN: i64 = 490;

/// So many payments, kind by kind.
pub(super) fn mixture(payments: u32) -> Vec<&'static Kind> {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_kind_has_its_ten_most_are_dokus_and_two_thousand_payments_make_a_hundred_refunds() {
        for payments in [490, 500, 2_000, 5_000] {
            let mut rows: BTreeMap<(&str, &str), usize> = BTreeMap::new();
            for kind in mixture(payments) {
                *rows.entry((kind.account.name, kind.name)).or_default() += 1;
            }
            assert_eq!(rows.len(), KINDS.len());
            assert!(rows.values().all(|rows| *rows >= 10), "{rows:?}");
            assert_eq!(rows.values().sum::<usize>(), usize::try_from(payments).unwrap());
            let of = |name: &'static str| rows[&("doku", name)];
            let refunds = of("overpaid") + of("cancelled_then_paid") + of("refund_answer_lost");
            assert!(payments < 2_000 || refunds >= 100, "{refunds}");
            let doku: usize = rows.iter().filter(|((account, _), _)| *account == "doku").map(|(_, n)| n).sum();
            assert!(doku * 2 > usize::try_from(payments).unwrap(), "{doku}");
        }
    }
}

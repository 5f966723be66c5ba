//! Where each payment must come to rest, written from the rules of money and not from the program: state and flags, and the sen
//! that went back. Where a lost answer may leave rekon with less than the provider said, there is more than one right end.

use rekon::sim::{FaultKind, Play, Truth};

/// What the merchant does with an order while it is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing.
    Stays,
    /// Hands out the goods.
    Fulfils,
    /// Changes his mind, before or after the payment is known.
    Cancels,
}

/// One payment, what may become of it, and what is true at the provider.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    pub(super) reference: String,
    pub(super) account: usize,
    pub(super) kind: FaultKind,
    /// State with flags, and sen that went back.
    pub(super) ends: Vec<(String, i64)>,
    /// What was said to be paid and what was taken are the same.
    pub(super) is_told_truly: bool,
}

impl Expected {
    /// The ends of a play.
    pub(super) fn of(play: &Play, account: usize, turn: Turn) -> Self {
        let paid_sen = play.payment.expected_sen;
        let nothing = |end: &str| (end.to_owned(), 0);
        let ends = match (play.kind, play.truth, turn) {
            (FaultKind::ScaleX100, ..) => vec![nothing("held{scale}")],
            (FaultKind::PaidAfterExpiry, ..) => vec![nothing("held{paid_late}")],
            (FaultKind::DoublePay, Truth::Overpaid(excess_sen), _) => {
                let doubled = "held{duplicate_payment,overpaid}";
                // Rekon may hear of one of the two alone, where the answer that named the other was lost.
                vec![nothing(doubled), ("paid{overpaid}".to_owned(), excess_sen), (doubled.to_owned(), excess_sen)]
            }
            (FaultKind::PartialRefundOutside, ..) => {
                vec![nothing("review{overpaid,refunded_outside}"), nothing("review{refunded_outside}")]
            }
            // "Accepted" is no answer, and a no to a repeat says nothing about what came before it.
            (FaultKind::RefundInProgressThenFail, ..) => vec![nothing("review{overpaid,refund_unknown}")],
            (_, Truth::Overpaid(excess_sen), _) => vec![("paid{overpaid}".to_owned(), excess_sen)],
            (_, Truth::Cancelled, _) => vec![("refunded{paid_after_cancel}".to_owned(), paid_sen)],
            (_, Truth::Exact, Turn::Cancels) => {
                vec![("refunded{paid_after_cancel}".to_owned(), paid_sen), nothing("held{cancelled_after_paid}")]
            }
            (_, Truth::Exact, Turn::Stays | Turn::Fulfils) => vec![nothing("paid{}")],
        };
        let is_told_truly =
            !matches!(play.kind, FaultKind::ScaleX100 | FaultKind::DoublePay | FaultKind::PartialRefundOutside);
        Self { reference: play.payment.partner_reference_no.clone(), account, kind: play.kind, ends, is_told_truly }
    }

    /// An order that nobody pays.
    pub(super) fn never_paid(reference: String, account: usize) -> Self {
        let ends = vec![("unpaid{}".to_owned(), 0)];
        Self { reference, account, kind: FaultKind::Ok, ends, is_told_truly: true }
    }

    /// An excess that the provider refuses to return. Where a death came between, its no answers a repeat, and proves nothing.
    pub(super) fn refused_for_good(reference: String, account: usize) -> Self {
        let ends = ["paid{overpaid,refund_blocked}", "review{overpaid,refund_unknown}"].map(|end| (end.to_owned(), 0));
        Self { reference, account, kind: FaultKind::Ok, ends: ends.to_vec(), is_told_truly: true }
    }

    /// May it rest like this?
    pub(super) fn allows(&self, end: &str, returned_sen: i64) -> bool {
        self.ends.iter().any(|(name, sen)| name == end && *sen == returned_sen)
    }
}

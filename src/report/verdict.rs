//! What a day comes to: whether the figures tie, and the one line that finance reads first.
//!
//! It says "clean", never "closed": closing and signing a day is an act of a person. Deliberately absent: thresholds and exit
//! codes, which belong to the command.

use crate::{
    domain::{money::Sen, refund::RefundState, state::State},
    report::{
        day::{DayReport, Stop, Unfinished},
        format,
    },
};

/// What a day comes to, the gravest thing first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A control figure does not tie: nothing else in the report can be relied on.
    DoesNotTie {
        /// How many checks fail.
        failed: u64,
    },
    /// Not every row was looked at.
    Incomplete {
        /// What was left undone.
        unfinished: Unfinished,
        /// Rows that wait for a person, as far as known.
        exceptions: u64,
        /// Σ suspense, as far as known.
        at_risk: Sen,
    },
    /// Rows wait for a person.
    Exceptions {
        /// How many.
        exceptions: u64,
        /// Σ suspense.
        at_risk: Sen,
    },
    /// Nobody has to do anything.
    Clean {
        /// Rows still being asked, or with their money on its way back.
        open: u64,
        /// Σ suspense and refunds in flight: on its way, or waiting for an approval.
        moving: Sen,
    },
}

impl Verdict {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DoesNotTie { .. } => "does_not_tie",
            Self::Incomplete { .. } => "incomplete",
            Self::Exceptions { .. } => "exceptions",
            Self::Clean { .. } => "clean",
        }
    }
}

/// Two figures that must be equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// What is compared with what.
    pub name: &'static str,
    /// The figure of the first named.
    pub left: Sen,
    /// The figure of the second named.
    pub right: Sen,
}

impl Check {
    /// Left minus right.
    pub const fn difference(self) -> Sen {
        self.left.minus(self.right)
    }

    /// Equal to the sen.
    pub fn ties(self) -> bool {
        self.left == self.right
    }
}

/// Sums over the payments of a report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Rows.
    pub count: u64,
    /// Σ expected.
    pub expected: Sen,
    /// Σ paid.
    pub paid: Sen,
    /// Σ returned by us.
    pub refunded: Sen,
    /// Σ returned outside of us.
    pub outside: Sen,
    /// Σ suspense.
    pub suspense: Sen,
}

impl DayReport {
    /// Sums of the payments by state, of one account or (`None`) of all.
    pub fn sums(&self, account: Option<&str>) -> Sums {
        let mine = self.totals.iter().filter(|t| account.is_none_or(|name| name == t.account));
        mine.fold(Sums::default(), |sum, t| Sums {
            count: sum.count.saturating_add(t.count),
            expected: sum.expected.plus(t.expected),
            paid: sum.paid.plus(t.paid),
            refunded: sum.refunded.plus(t.refunded),
            outside: sum.outside.plus(t.outside),
            suspense: sum.suspense.plus(t.suspense),
        })
    }

    /// The control figures: every sen paid is somewhere, and the table, the ledger, the flags and the refunds agree on where.
    pub fn checks(&self) -> Vec<Check> {
        let sums = self.sums(None);
        let ledger = self.ledger;
        let owed = ledger.merchant_payable.plus(ledger.suspense).plus(ledger.refund_in_flight);
        let returned = sums.refunded.plus(sums.outside);
        let refunds = |keep: fn(RefundState) -> bool| {
            self.refunds.iter().filter(|r| keep(r.state)).fold(Sen::ZERO, |sum, r| sum.plus(r.amount))
        };
        let flagged = self.flags.iter().fold(Sen::ZERO, |sum, f| sum.plus(f.at_risk));
        let check = |name, left, right| Check { name, left, right };
        vec![
            check("paid: rows = accounted for", sums.paid, owed.plus(returned)),
            check("clearing: rows = ledger", sums.paid.minus(returned), ledger.provider_clearing),
            check("clearing: ledger balances", ledger.provider_clearing, owed),
            check("suspense: rows = ledger", sums.suspense, ledger.suspense),
            check("suspense: flags = ledger", flagged, ledger.suspense),
            check("returned: rows = refunds", sums.refunded, refunds(|s| s == RefundState::Confirmed)),
            check("in flight: refunds = ledger", refunds(RefundState::holds_reservation), ledger.refund_in_flight),
        ]
    }

    /// Rows that wait for a person. The list may be cut short and the totals do not know of blocked refunds, so the larger
    /// figure counts: a report must never look cleaner than the ledger.
    pub fn exception_count(&self) -> u64 {
        let counted = self.count_where(State::is_exception);
        counted.max(self.exceptions_total).max(u64::try_from(self.exceptions.len()).unwrap_or(u64::MAX))
    }

    fn count_where(&self, keep: impl Fn(State) -> bool) -> u64 {
        let payments = self.totals.iter().map(|t| (t.state, t.count));
        let all = payments.chain(self.payouts.iter().map(|p| (p.state, p.count)));
        all.filter(|(state, _)| keep(*state)).fold(0, |sum, (_, count)| sum.saturating_add(count))
    }

    /// What the day comes to.
    pub fn verdict(&self) -> Verdict {
        let failed = self.checks().into_iter().filter(|check| !check.ties()).count();
        if failed > 0 {
            return Verdict::DoesNotTie { failed: u64::try_from(failed).unwrap_or(u64::MAX) };
        }
        let (exceptions, at_risk) = (self.exception_count(), self.sums(None).suspense);
        if let Some(unfinished) = self.run.as_ref().and_then(|run| run.unfinished) {
            return Verdict::Incomplete { unfinished, exceptions, at_risk };
        }
        if exceptions > 0 {
            return Verdict::Exceptions { exceptions, at_risk };
        }
        Verdict::Clean {
            open: self.count_where(|state| !state.is_terminal()),
            moving: at_risk.plus(self.ledger.refund_in_flight),
        }
    }

    /// `19 November 2026`, with `and every open row` where those are in it.
    pub fn title(&self) -> String {
        let days = format::days(self.first, self.last);
        if self.with_open_rows { format!("{days} and every open row") } else { days }
    }

    /// The line that finance reads first.
    pub fn headline(&self) -> String {
        let days = format::days(self.first, self.last);
        let rows = |n| format::counted(n, "row", "rows");
        match self.verdict() {
            Verdict::DoesNotTie { failed } => format!(
                "{days} does not tie: {}. Sign nothing; run `rekon verify` and show the control figures to an engineer.",
                format::counted(failed, "control figure differs", "control figures differ")
            ),
            Verdict::Incomplete { unfinished, exceptions, at_risk } => format!(
                "{days} is incomplete: {} left {}. So far: {}, {} at risk.",
                rows(unfinished.rows),
                stopped(unfinished.stopped_by),
                format::counted(exceptions, "exception", "exceptions"),
                format::rupiah(at_risk)
            ),
            Verdict::Exceptions { exceptions, at_risk } => {
                format!("{days} is not clean: {}, {} at risk.", rows(exceptions), format::rupiah(at_risk))
            }
            Verdict::Clean { open, moving } => self.clean_line(&days, open, moving),
        }
    }

    fn clean_line(&self, days: &str, open: u64, moving: Sen) -> String {
        let sums = self.sums(None);
        if sums.count == 0 && self.payouts.is_empty() {
            return format!("{days} is empty: no row was expected or paid. If that is a surprise, look at the import.");
        }
        let paid =
            format!("{}, {} paid", format::counted(sums.count, "payment", "payments"), format::rupiah(sums.paid));
        if open == 0 && moving == Sen::ZERO {
            return format!("{days} is clean: {paid}, nothing open, nothing at risk.");
        }
        let open = (open > 0).then(|| format::counted(open, "row is still open", "rows are still open"));
        let moving = (moving != Sen::ZERO).then(|| format!("{} is still to go back", format::rupiah(moving)));
        let rest: Vec<String> = open.into_iter().chain(moving).collect();
        format!("{days} is clean so far: {paid}; {}.", rest.join(", "))
    }
}

const fn stopped(by: Stop) -> &'static str {
    match by {
        Stop::Deadline => "when the deadline came",
        Stop::Budget => "when the call budget ran out",
        Stop::Provider => "because the provider could not be asked",
        Stop::Interrupt => "when the run was stopped",
    }
}

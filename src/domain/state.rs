//! Ledger states and flags: the words of `rekon.transactions.state` and `.flags`. How they come about is `decide`.

use std::collections::BTreeSet;

/// Where a payment stands in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not known to be paid; still being asked.
    Pending,
    /// A query proved it and the merchant may fulfil.
    Paid,
    /// Money was taken but something does not reconcile; it stands in suspense.
    Held,
    /// The order's own money is going back.
    Refunding,
    /// It went back in full.
    Refunded,
    /// It went back in part.
    PartlyRefunded,
    /// Closed as unpaid; a later PAID reopens it.
    Unpaid,
    /// No rule can decide it: a person must.
    Review,
}

impl State {
    /// Every state, in the order of the design.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Paid,
        Self::Held,
        Self::Refunding,
        Self::Refunded,
        Self::PartlyRefunded,
        Self::Unpaid,
        Self::Review,
    ];

    /// The word in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Paid => "paid",
            Self::Held => "held",
            Self::Refunding => "refunding",
            Self::Refunded => "refunded",
            Self::PartlyRefunded => "partly_refunded",
            Self::Unpaid => "unpaid",
            Self::Review => "review",
        }
    }

    /// The reverse of [`State::as_str`].
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == word)
    }

    /// Rests unless something new is said: no sweep owes it a look.
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Paid | Self::Refunded | Self::PartlyRefunded | Self::Unpaid => true,
            Self::Pending | Self::Held | Self::Refunding | Self::Review => false,
        }
    }

    /// Waits for a person.
    pub const fn is_exception(self) -> bool {
        match self {
            Self::Held | Self::Review => true,
            Self::Pending | Self::Paid | Self::Refunding | Self::Refunded | Self::PartlyRefunded | Self::Unpaid => {
                false
            }
        }
    }
}

/// Why a payment does not reconcile. Declared in the order of causes of the design: the first open one decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flag {
    /// Paid in another currency.
    Currency,
    /// Paid = expected × 10ⁿ: a unit slip.
    Scale,
    /// The answer spoke of another payment or merchant.
    Identity,
    /// A later PAID of the same payment has another amount.
    AmountChanged,
    /// One provider reference stands on two orders.
    DuplicateReference,
    /// The provider called a paid payment dead.
    Regression,
    /// Money went back that we did not send back.
    RefundedOutside,
    /// A refund's fate could not be found out.
    RefundUnknown,
    /// A refund was confirmed with another amount than asked.
    RefundAmountDiffers,
    /// The order was cancelled after the payment was known.
    CancelledAfterPaid,
    /// The order was cancelled before the payment was known.
    PaidAfterCancel,
    /// Paid after we had closed it as unpaid.
    PaidAfterClose,
    /// Proven to be paid after the QR's validity.
    PaidLate,
    /// Two different payments for one order.
    DuplicatePayment,
    /// Less than expected.
    Underpaid,
    /// More than expected.
    Overpaid,
    /// A person proposed to return money that no other cause owes.
    Requested,
    /// A refund is owed and cannot go by API, or was refused, or is out of budget.
    RefundBlocked,
    /// Neither closed nor paid long after the watch.
    Stuck,
    /// The provider's times are off.
    TimeSkew,
    /// The row names an account that the configuration lacks.
    UnknownAccount,
    /// The row lacks a reference without which the provider cannot be asked.
    MissingReference,
    /// A payout was called paid and then dead.
    PayoutNotDone,
}

impl Flag {
    /// Every flag, in the order of causes.
    pub const ALL: [Self; 23] = [
        Self::Currency,
        Self::Scale,
        Self::Identity,
        Self::AmountChanged,
        Self::DuplicateReference,
        Self::Regression,
        Self::RefundedOutside,
        Self::RefundUnknown,
        Self::RefundAmountDiffers,
        Self::CancelledAfterPaid,
        Self::PaidAfterCancel,
        Self::PaidAfterClose,
        Self::PaidLate,
        Self::DuplicatePayment,
        Self::Underpaid,
        Self::Overpaid,
        Self::Requested,
        Self::RefundBlocked,
        Self::Stuck,
        Self::TimeSkew,
        Self::UnknownAccount,
        Self::MissingReference,
        Self::PayoutNotDone,
    ];

    /// The word in `flags`, in `[policy.flags]` and in metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Currency => "currency",
            Self::Scale => "scale",
            Self::Identity => "identity",
            Self::AmountChanged => "amount_changed",
            Self::DuplicateReference => "duplicate_reference",
            Self::Regression => "regression",
            Self::RefundedOutside => "refunded_outside",
            Self::RefundUnknown => "refund_unknown",
            Self::RefundAmountDiffers => "refund_amount_differs",
            Self::CancelledAfterPaid => "cancelled_after_paid",
            Self::PaidAfterCancel => "paid_after_cancel",
            Self::PaidAfterClose => "paid_after_close",
            Self::PaidLate => "paid_late",
            Self::DuplicatePayment => "duplicate_payment",
            Self::Underpaid => "underpaid",
            Self::Overpaid => "overpaid",
            Self::Requested => "requested",
            Self::RefundBlocked => "refund_blocked",
            Self::Stuck => "stuck",
            Self::TimeSkew => "time_skew",
            Self::UnknownAccount => "unknown_account",
            Self::MissingReference => "missing_reference",
            Self::PayoutNotDone => "payout_not_done",
        }
    }

    /// The reverse of [`Flag::as_str`].
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.as_str() == word)
    }

    /// While it is open nothing new leaves, whatever the policy says.
    pub fn is_blocker(self) -> bool {
        self <= Self::RefundAmountDiffers
    }

    /// A cause for which money may be owed back, in the order of causes.
    pub fn is_cause(self) -> bool {
        self > Self::RefundAmountDiffers && self <= Self::Requested
    }

    /// Leaves the column when healed; a resolved mismatch stays listed.
    pub const fn leaves_when_healed(self) -> bool {
        matches!(
            self,
            Self::Identity
                | Self::Requested
                | Self::RefundUnknown
                | Self::RefundBlocked
                | Self::Stuck
                | Self::MissingReference
                | Self::UnknownAccount
        )
    }
}

/// A row's flags: the open ones, and the resolved mismatches that stay listed.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Flags {
    /// Block or explain now.
    pub open: BTreeSet<Flag>,
    /// Were open and are settled.
    pub resolved: BTreeSet<Flag>,
}

impl Flags {
    /// What the column `flags` shows: sorted words, open and resolved.
    pub fn listed(&self) -> Vec<&'static str> {
        let mut words: Vec<&'static str> = self.open.union(&self.resolved).map(|f| f.as_str()).collect();
        words.sort_unstable();
        words
    }

    /// The first open flag in the order of causes that decides what may leave: a blocker or a cause.
    pub fn first_deciding(&self) -> Option<Flag> {
        self.open.iter().copied().find(|f| f.is_blocker() || f.is_cause())
    }
}

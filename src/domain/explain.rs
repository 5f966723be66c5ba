//! Why a decision came out as it did: stable rule ids with the values they looked at and the facts they stood on.
//! The prose of a rule is `docs/rules.md`; nothing here formats for a screen.

/// A rule. The text form is stable: it is stored, counted and documented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each rule has its text id beside it and its prose in docs/rules.md")]
pub enum Rule {
    AccountUnknown,
    ReferenceMissing,
    NothingSaid,
    NotPaidYet,
    IdentityDiffers,
    IdentityThrice,
    ClosedUnpaid,
    Reopened,
    Stuck,
    PaidExact,
    PaidWithTip,
    PaidWithFee,
    PaidTruncated,
    PaidAccepted,
    AmountOver,
    AmountUnder,
    AmountScale,
    AmountChanged,
    AmountChangedTwice,
    CurrencyDiffers,
    DuplicateReference,
    DuplicatePayment,
    CancelledBefore,
    CancelledAfter,
    QrCancelAsked,
    LateByPaidTime,
    LateByAnswer,
    AfterClose,
    TimeSkew,
    TimeWithoutZone,
    RegressionOnce,
    RegressionTwice,
    ReversedOutside,
    ReversedOurs,
    ReversedWhileSending,
    RefundProposed,
    RefundApproved,
    RefundExpired,
    RefundRequested,
    RefundDisputed,
    SettledByPerson,
    KeptByPerson,
    ClosedByPerson,
    RefundProvedByQuery,
    RefundContradicted,
    RefundBlocked,
    RefundByHand,
    RefundUnknown,
    RefundAmountDiffers,
    RefundedInFull,
    RefundedInPart,
    Refunding,
    HeldByCause,
    PayoutPaid,
    PayoutNotDone,
    PayoutUnaskable,
}

impl Rule {
    /// Every rule, for the catalogue.
    pub const ALL: [Self; 56] = [
        Self::AccountUnknown,
        Self::ReferenceMissing,
        Self::NothingSaid,
        Self::NotPaidYet,
        Self::IdentityDiffers,
        Self::IdentityThrice,
        Self::ClosedUnpaid,
        Self::Reopened,
        Self::Stuck,
        Self::PaidExact,
        Self::PaidWithTip,
        Self::PaidWithFee,
        Self::PaidTruncated,
        Self::PaidAccepted,
        Self::AmountOver,
        Self::AmountUnder,
        Self::AmountScale,
        Self::AmountChanged,
        Self::AmountChangedTwice,
        Self::CurrencyDiffers,
        Self::DuplicateReference,
        Self::DuplicatePayment,
        Self::CancelledBefore,
        Self::CancelledAfter,
        Self::QrCancelAsked,
        Self::LateByPaidTime,
        Self::LateByAnswer,
        Self::AfterClose,
        Self::TimeSkew,
        Self::TimeWithoutZone,
        Self::RegressionOnce,
        Self::RegressionTwice,
        Self::ReversedOutside,
        Self::ReversedOurs,
        Self::ReversedWhileSending,
        Self::RefundProposed,
        Self::RefundApproved,
        Self::RefundExpired,
        Self::RefundRequested,
        Self::RefundDisputed,
        Self::SettledByPerson,
        Self::KeptByPerson,
        Self::ClosedByPerson,
        Self::RefundProvedByQuery,
        Self::RefundContradicted,
        Self::RefundBlocked,
        Self::RefundByHand,
        Self::RefundUnknown,
        Self::RefundAmountDiffers,
        Self::RefundedInFull,
        Self::RefundedInPart,
        Self::Refunding,
        Self::HeldByCause,
        Self::PayoutPaid,
        Self::PayoutNotDone,
        Self::PayoutUnaskable,
    ];

    /// The stable id.
    pub const fn id(self) -> &'static str {
        match self {
            Self::AccountUnknown => "account.unknown",
            Self::ReferenceMissing => "reference.missing",
            Self::NothingSaid => "pending.nothing_said",
            Self::NotPaidYet => "pending.not_paid_yet",
            Self::IdentityDiffers => "identity.differs",
            Self::IdentityThrice => "identity.thrice",
            Self::ClosedUnpaid => "close.unpaid",
            Self::Reopened => "close.reopened",
            Self::Stuck => "close.stuck",
            Self::PaidExact => "amount.exact",
            Self::PaidWithTip => "amount.with_tip",
            Self::PaidWithFee => "amount.with_fee",
            Self::PaidTruncated => "amount.truncated",
            Self::PaidAccepted => "amount.accepted",
            Self::AmountOver => "amount.over",
            Self::AmountUnder => "amount.under",
            Self::AmountScale => "amount.scale",
            Self::AmountChanged => "amount.changed",
            Self::AmountChangedTwice => "amount.changed_twice",
            Self::CurrencyDiffers => "currency.differs",
            Self::DuplicateReference => "duplicate.reference",
            Self::DuplicatePayment => "duplicate.payment",
            Self::CancelledBefore => "cancel.before_paid",
            Self::CancelledAfter => "cancel.after_paid",
            Self::QrCancelAsked => "cancel.qr_asked",
            Self::LateByPaidTime => "late.paid_time",
            Self::LateByAnswer => "late.unpaid_answer_after_expiry",
            Self::AfterClose => "late.after_close",
            Self::TimeSkew => "time.skew",
            Self::TimeWithoutZone => "time.without_zone",
            Self::RegressionOnce => "regression.once",
            Self::RegressionTwice => "regression.twice",
            Self::ReversedOutside => "reversed.outside",
            Self::ReversedOurs => "reversed.ours",
            Self::ReversedWhileSending => "reversed.while_sending",
            Self::RefundProposed => "refund.proposed",
            Self::RefundApproved => "refund.approved",
            Self::RefundExpired => "refund.expired",
            Self::RefundRequested => "refund.requested",
            Self::RefundDisputed => "refund.disputed",
            Self::SettledByPerson => "person.settled",
            Self::KeptByPerson => "person.kept",
            Self::ClosedByPerson => "person.closed",
            Self::RefundProvedByQuery => "refund.proved_by_query",
            Self::RefundContradicted => "refund.contradicted",
            Self::RefundBlocked => "refund.blocked",
            Self::RefundByHand => "refund.by_hand",
            Self::RefundUnknown => "refund.unknown",
            Self::RefundAmountDiffers => "refund.amount_differs",
            Self::RefundedInFull => "refund.in_full",
            Self::RefundedInPart => "refund.in_part",
            Self::Refunding => "refund.under_way",
            Self::HeldByCause => "held.by_cause",
            Self::PayoutPaid => "payout.paid",
            Self::PayoutNotDone => "payout.not_done",
            Self::PayoutUnaskable => "payout.unaskable",
        }
    }
}

/// One reason of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The rule.
    pub rule: Rule,
    /// What it looked at: name and value, amounts as `1200.00`, times as RFC 3339.
    pub inputs: Vec<(&'static str, String)>,
    /// Sequence numbers of the facts it stood on.
    pub facts: Vec<i32>,
}

impl Reason {
    /// A reason that needs no values.
    pub const fn new(rule: Rule) -> Self {
        Self { rule, inputs: Vec::new(), facts: Vec::new() }
    }

    /// Adds a value.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "callers hand over amounts, numbers and texts alike")]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.inputs.push((name, value.to_string()));
        self
    }

    /// Adds a fact.
    #[must_use]
    pub fn on(mut self, seq: i32) -> Self {
        self.facts.push(seq);
        self
    }
}

impl serde::Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(Some(3))?;
        // In the alphabet's order, as the journal's canonical text wants it.
        map.serialize_entry("facts", &self.facts)?;
        let inputs: std::collections::BTreeMap<_, _> = self.inputs.iter().map(|(k, v)| (*k, v)).collect();
        map.serialize_entry("inputs", &inputs)?;
        map.serialize_entry("rule", self.rule.id())?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const PROSE: &str = include_str!("../../docs/rules.md");

    #[test]
    fn every_rule_has_its_heading_and_every_heading_its_rule() {
        let headings: Vec<&str> = PROSE.lines().filter_map(|l| l.strip_prefix("## ")).collect();
        let distinct: BTreeSet<&str> = headings.iter().copied().collect();
        let rules: BTreeSet<&str> = Rule::ALL.iter().map(|r| r.id()).collect();
        assert_eq!(distinct, rules);
        assert_eq!(headings.len(), Rule::ALL.len(), "a heading or an id stands twice");
    }

    #[test]
    fn every_rule_says_what_you_can_do_and_says_it_in_indonesian_too() {
        for section in PROSE.split("\n## ").skip(1) {
            let id = section.lines().next().unwrap_or("");
            assert_eq!(section.matches("\n**You can** ").count(), 1, "{id}");
            assert_eq!(section.matches("\nBahasa: ").count(), 1, "{id}");
        }
    }
}

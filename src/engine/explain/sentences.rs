//! Each rule in one sentence for the person who asks why, in his language. The longer prose with examples is
//! `docs/rules.md`, where both sentences stand.

use crate::{
    domain::{
        explain::Rule,
        state::{Flag, State},
    },
    engine::{explain::indonesian, lookup},
};

/// A language of explanations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// Indonesian.
    Id,
}

impl Lang {
    /// Every language.
    pub const ALL: [Self; 2] = [Self::En, Self::Id];

    /// Its code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Id => "id",
        }
    }

    /// The reverse of [`Lang::as_str`]; a locale such as `id_ID.UTF-8` is read by its language.
    pub fn from_word(word: &str) -> Option<Self> {
        let language = word.split(['_', '-', '.']).next().unwrap_or_default().to_lowercase();
        Self::ALL.into_iter().find(|lang| lang.as_str() == language)
    }

    /// The rule in one sentence.
    pub const fn rule(self, rule: Rule) -> &'static str {
        match self {
            Self::En => sentence(rule),
            Self::Id => indonesian::rule(rule),
        }
    }

    /// What a flag says, and what a person does about it.
    pub const fn flag(self, flag: Flag) -> (&'static str, &'static str) {
        match self {
            Self::En => lookup::flag_words(flag),
            Self::Id => indonesian::flag(flag),
        }
    }

    /// What would move a row out of this state.
    pub const fn outlook(self, state: State) -> &'static str {
        match self {
            Self::En => outlook(state),
            Self::Id => indonesian::outlook(state),
        }
    }

    /// What a person does with a proposed refund whose money may be meant for the order `other`, and `why` it may.
    pub fn candidate(self, refund: i64, other: &str, why: &str) -> String {
        match self {
            Self::En => format!(
                "Refund {refund}: its money may be meant for {other} ({why}); compare the two orders. If it is, resolve this row with accept_as_paid \
                 and fulfil {other} with that money: rekon moves none between orders. If it is not, approve refund {refund}."
            ),
            Self::Id => format!(
                "Refund {refund}: uangnya mungkin untuk {other} ({why}); bandingkan kedua pesanan. Bila benar, selesaikan baris ini dengan \
                 accept_as_paid dan penuhi {other} dengan uang itu: rekon tidak memindahkan uang antar pesanan. Bila tidak, setujui refund {refund}."
            ),
        }
    }

    /// One of two texts.
    pub const fn pick<'a>(self, english: &'a str, indonesian: &'a str) -> &'a str {
        match self {
            Self::En => english,
            Self::Id => indonesian,
        }
    }
}

const fn outlook(state: State) -> &'static str {
    match state {
        State::Pending => {
            "A PAID answer to a query settles it; enough negative answers after its watch close it as unpaid."
        }
        State::Paid => "A reversal, a dead answer seen twice, another amount or a cancelled order would move it.",
        State::Held => "It leaves when its deciding flag is settled: by a refund, by policy or by a person.",
        State::Refunding => "It leaves when the refund is confirmed, refused or given up before it was sent.",
        State::Refunded => "It rests; a PAID answer after a refund proved by query would reopen it.",
        State::PartlyRefunded => "It rests; a further cause or a reversal would move it.",
        State::Unpaid => "It rests; a later PAID answer reopens it as held with paid_after_close.",
        State::Review => "A person decides, unless its flag heals by itself.",
    }
}

/// The rule in one sentence.
pub const fn sentence(rule: Rule) -> &'static str {
    match rule {
        Rule::AccountUnknown => "The account is not configured, so nobody can be asked.",
        Rule::ReferenceMissing => "A reference is missing without which this provider cannot be asked.",
        Rule::NothingSaid => "The provider has not said anything yet.",
        Rule::NotPaidYet => "The last answer did not say that it is paid.",
        Rule::IdentityDiffers => "An answer spoke of another payment or merchant; it counts for nothing.",
        Rule::IdentityThrice => "Three answers in a row spoke of another payment or merchant.",
        Rule::ClosedUnpaid => "Enough negative answers came after its validity and watch.",
        Rule::Reopened => "It was closed as unpaid, and a later expires_at opened it again.",
        Rule::Stuck => "Long after its watch it is neither paid nor closed.",
        Rule::PaidExact => "Exactly the expected amount was paid.",
        Rule::PaidWithTip => "The expected amount and the tip that the QR fixes were paid.",
        Rule::PaidWithFee => "The expected amount and the fee that the answer names were paid.",
        Rule::PaidTruncated => "The expected amount was paid, with its sen cut off.",
        Rule::PaidAccepted => "The policy accepts this difference.",
        Rule::AmountOver => "More than expected was paid; the excess stands in suspense.",
        Rule::AmountUnder => "Less than expected was paid.",
        Rule::AmountScale => "The paid amount is the expected one times a power of ten: a slip of the unit.",
        Rule::AmountChanged => "A later PAID answer named another amount.",
        Rule::AmountChangedTwice => "Two later PAID answers named another amount.",
        Rule::CurrencyDiffers => "It was paid in another currency.",
        Rule::DuplicateReference => "Another order carries the same provider reference.",
        Rule::DuplicatePayment => "Two different payments were made for this order.",
        Rule::CancelledBefore => "The order was already cancelled when the first PAID answer came.",
        Rule::CancelledAfter => "The order was cancelled after it was known to be paid.",
        Rule::QrCancelAsked => "The order was cancelled before anybody paid: its QR is to be ended at the provider.",
        Rule::LateByPaidTime => "The provider's paid time lies after the validity.",
        Rule::LateByAnswer => "After the validity an answer still said unpaid: so it was paid late.",
        Rule::AfterClose => "It was paid after it had been closed as unpaid.",
        Rule::TimeSkew => "The paid time lies in the future of its own answer: a clock or a zone is wrong.",
        Rule::TimeWithoutZone => "The paid time names no zone, or is no time; it dates nothing.",
        Rule::RegressionOnce => "A paid payment was called dead once; refunds wait for a second look.",
        Rule::RegressionTwice => "A paid payment was called dead twice.",
        Rule::ReversedOutside => "The provider says that it was reversed, and we sent nothing back that explains it.",
        Rule::ReversedOurs => "The provider says that it was reversed: that is our own refund.",
        Rule::ReversedWhileSending => "The provider says that it was reversed while our refund is under way.",
        Rule::RefundProposed => "Money is owed back and a refund is proposed.",
        Rule::RefundApproved => "The policy approves this refund alone.",
        Rule::RefundRequested => "A person asked to return money that no rule owes.",
        Rule::RefundDisputed => "A person marked a dispute: nothing new leaves until it is over.",
        Rule::SettledByPerson => "People settled this flag.",
        Rule::KeptByPerson => "A person keeps this money in suspense: no rule returns it.",
        Rule::ClosedByPerson => "People closed it as it stands.",
        Rule::RefundExpired => "What a refund stood on no longer holds.",
        Rule::RefundProvedByQuery => "A reversal seen after our full refund was sent proves it.",
        Rule::RefundContradicted => "Two PAID answers contradict a refund that a query had proved.",
        Rule::RefundBlocked => "Money is owed back and cannot go by itself.",
        Rule::RefundByHand => "Money is owed back and goes by bank transfer: people approve it, make it and record it.",
        Rule::RefundUnknown => "Nobody could find out whether a refund happened.",
        Rule::RefundAmountDiffers => "A refund happened with another amount than asked.",
        Rule::RefundedInFull => "Everything that was paid went back.",
        Rule::RefundedInPart => "A part of what was paid went back.",
        Rule::Refunding => "Money of the order is going back.",
        Rule::HeldByCause => "This cause keeps the money from the merchant until it is settled.",
        Rule::PayoutPaid => "The payout reached its receiver.",
        Rule::PayoutNotDone => "A payout was called dead twice.",
        Rule::PayoutUnaskable => "This account\'s provider has no service that knows payouts, so nobody can be asked.",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const PROSE: &str = include_str!("../../../docs/rules.md");

    #[test]
    fn every_rule_has_both_sentences_and_they_stand_in_the_manual() {
        let mut all = BTreeSet::new();
        for rule in Rule::ALL {
            let heading = format!("\n## {}\n", rule.id());
            let section = PROSE.split_once(&heading).map(|(_, rest)| rest).unwrap_or_default();
            for lang in Lang::ALL {
                let sentence = lang.rule(rule);
                assert!(sentence.len() > 20 && sentence.ends_with('.'), "{} {lang:?}: {sentence:?}", rule.id());
                assert!(all.insert(sentence), "{sentence:?} stands twice");
                let line = format!("> {}: {sentence}", lang.as_str());
                let is_there = section.lines().take(4).any(|l| l == line);
                assert!(is_there, "docs/rules.md lacks {line:?} under {}", rule.id());
            }
        }
    }

    #[test]
    fn every_flag_and_state_speaks_both_languages() {
        for flag in Flag::ALL {
            let texts = Lang::ALL.map(|lang| lang.flag(flag));
            assert!(texts.iter().all(|(why, step)| !why.is_empty() && !step.is_empty()), "{flag:?}");
            assert_ne!(texts[0], texts[1], "{flag:?}");
        }
        for state in State::ALL {
            assert_ne!(Lang::En.outlook(state), Lang::Id.outlook(state), "{state:?}");
        }
    }

    #[test]
    fn a_locale_names_its_language() {
        let words = ["id", "ID", "id_ID.UTF-8", "en-GB", "fr"].map(Lang::from_word);
        assert_eq!(words, [Some(Lang::Id), Some(Lang::Id), Some(Lang::Id), Some(Lang::En), None]);
    }
}

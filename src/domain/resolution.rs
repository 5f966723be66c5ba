//! What people decide about a row that no rule can settle. A resolution stands in the row's own sequence beside facts and order
//! changes, so that `decide` folds it like they, and a replay gives the same. Which one is possible where is said here; that two
//! different people stand behind whatever moves money is held by the database.

use chrono::{DateTime, Utc};

use crate::domain::{case::Case, fact::Fact, money::Sen, order::Direction, refund::RefundState, state::Flag};

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResolutionKind {
    /// The merchant keeps what was paid under this cause and may fulfil.
    AcceptAsPaid,
    /// The contradiction is explained, or nothing more will come: this flag blocks no more.
    CloseAsIs,
    /// All that is left of the payment goes back: a refund is proposed, which somebody else must approve.
    Return,
    /// The money stays in suspense under this cause: no rule returns it.
    KeepInSuspense,
    /// A refund of unknown fate was found to have happened.
    RefundDone,
    /// A refund of unknown fate was found not to have happened: its reservation is free again.
    RefundNotDone,
    /// So much went back that rekon did not send.
    OutsideRefund,
    /// Ask the provider again, now.
    AskAgain,
    /// The payer disputes the payment elsewhere: nothing new leaves.
    Dispute,
    /// The dispute is over.
    Undispute,
}

impl ResolutionKind {
    /// Every kind, in the order in which messages list them.
    pub const ALL: [Self; 10] = [
        Self::AcceptAsPaid,
        Self::CloseAsIs,
        Self::Return,
        Self::KeepInSuspense,
        Self::RefundDone,
        Self::RefundNotDone,
        Self::OutsideRefund,
        Self::AskAgain,
        Self::Dispute,
        Self::Undispute,
    ];

    /// The word in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AcceptAsPaid => "accept_as_paid",
            Self::CloseAsIs => "close_as_is",
            Self::Return => "return",
            Self::KeepInSuspense => "keep_in_suspense",
            Self::RefundDone => "refund_done",
            Self::RefundNotDone => "refund_not_done",
            Self::OutsideRefund => "outside_refund",
            Self::AskAgain => "ask_again",
            Self::Dispute => "dispute",
            Self::Undispute => "undispute",
        }
    }

    /// The reverse of [`ResolutionKind::as_str`].
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Does it move money, or let money move again? Then it takes two people. `return` only proposes: its second person is the
    /// refund's approver. The same list stands in the database as `rekon.needs_two`.
    pub const fn needs_two(self) -> bool {
        match self {
            Self::AcceptAsPaid
            | Self::CloseAsIs
            | Self::RefundDone
            | Self::RefundNotDone
            | Self::OutsideRefund
            | Self::Undispute => true,
            Self::Return | Self::KeepInSuspense | Self::AskAgain | Self::Dispute => false,
        }
    }

    /// Is it about a flag?
    pub const fn is_about_a_flag(self) -> bool {
        matches!(self, Self::AcceptAsPaid | Self::CloseAsIs | Self::Return | Self::KeepInSuspense)
    }
}

/// What a resolution is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct About {
    /// The flag it settles or keeps.
    pub flag: Option<Flag>,
    /// The refund whose fate was found out.
    pub refund_id: Option<i64>,
    /// What went back outside.
    pub amount: Option<Sen>,
}

/// One resolution in force.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Resolution {
    /// Place in the row's sequence.
    pub seq: i32,
    /// Database time.
    pub at: DateTime<Utc>,
    /// What was decided.
    pub kind: ResolutionKind,
    /// About what.
    pub about: About,
    /// Who asked for it, or decided alone.
    pub made_by: String,
    /// Who confirmed it.
    pub confirmed_by: Option<String>,
    /// What was said.
    pub reason: String,
}

/// Why a resolution cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Objection {
    /// It must name a flag, and none or several could be meant.
    #[error("name the flag that it is about; open are: {0}")]
    WhichFlag(String),
    /// The flag is not open, or not of the kind that this settles.
    #[error("{kind} does not settle {flag}: {why}")]
    NotThisFlag {
        /// The resolution.
        kind: &'static str,
        /// The flag.
        flag: &'static str,
        /// What would.
        why: &'static str,
    },
    /// The row is not in a state for it.
    #[error("{0}")]
    NotNow(&'static str),
    /// The amount is missing or cannot be.
    #[error("at most {0} can have gone back outside, and more than nothing")]
    Amount(Sen),
}

/// Contradictions that a person may declare explained. A flag that hangs on a refund is settled by that refund's fate, one that
/// hangs on the row or the configuration by mending these.
const CLOSABLE: [Flag; 11] = [
    Flag::Currency,
    Flag::Scale,
    Flag::Identity,
    Flag::AmountChanged,
    Flag::DuplicateReference,
    Flag::Regression,
    Flag::RefundedOutside,
    // Where it hangs on no refund any more: a proof by query that later answers contradict.
    Flag::RefundUnknown,
    Flag::Stuck,
    Flag::TimeSkew,
    Flag::PayoutNotDone,
];

/// Is this resolution possible on this row as it stands? `about.flag` may be left out where one flag alone can be meant.
///
/// # Errors
/// The first objection, a sentence for people.
pub fn check(case: &Case, kind: ResolutionKind, mut about: About) -> Result<About, Objection> {
    if kind.is_about_a_flag() {
        about.flag = Some(flag_meant(case, kind, about.flag)?);
    }
    match kind {
        ResolutionKind::AcceptAsPaid => {
            nothing_in_flight(case)?;
            let persons = |r: &crate::domain::refund::Refund| {
                Some(r.cause) == about.flag
                    && r.state.is_unsent()
                    && r.proposed_by != crate::domain::refund::POLICY_ACTOR
            };
            if case.refunds.iter().any(persons) {
                return Err(Objection::NotNow("a person proposed a refund for this cause: deny it first"));
            }
        }
        ResolutionKind::Return => {
            nothing_in_flight(case)?;
            if case.prior.flags.open.iter().any(|flag| flag.is_blocker()) {
                return Err(Objection::NotNow("a blocker is open: settle it first"));
            }
            if case.is_disputed() {
                return Err(Objection::NotNow("a dispute is open: nothing new leaves"));
            }
        }
        ResolutionKind::CloseAsIs => {
            nothing_in_flight(case)?;
            if case.order.direction == Direction::Out && case.first_paid().is_none() {
                return Err(Objection::NotNow(
                    "nothing says that this payout was made: ask again until something does",
                ));
            }
        }
        ResolutionKind::RefundDone | ResolutionKind::RefundNotDone => {
            let unknown = case.refunds.iter().find(|r| r.state == RefundState::Unknown);
            let meant = unknown.filter(|r| about.refund_id.is_none_or(|id| id == r.id));
            about.refund_id =
                Some(meant.ok_or(Objection::NotNow("no such refund of this payment is of unknown fate"))?.id);
        }
        ResolutionKind::OutsideRefund => {
            let rest = returnable(case);
            about.flag = Some(Flag::RefundedOutside);
            if !case.prior.flags.open.contains(&Flag::RefundedOutside) {
                return Err(Objection::NotNow("refunded_outside is not open"));
            }
            if !about.amount.is_some_and(|amount| amount.is_positive() && amount <= rest) {
                return Err(Objection::Amount(rest));
            }
        }
        ResolutionKind::Dispute if case.is_disputed() => {
            return Err(Objection::NotNow("it is marked as disputed already"));
        }
        ResolutionKind::Undispute if !case.is_disputed() => {
            return Err(Objection::NotNow("it is not marked as disputed"));
        }
        ResolutionKind::Dispute if case.order.direction == Direction::Out => {
            return Err(Objection::NotNow("a payout is not disputed here"));
        }
        ResolutionKind::KeepInSuspense
        | ResolutionKind::AskAgain
        | ResolutionKind::Dispute
        | ResolutionKind::Undispute => {}
    }
    Ok(about)
}

fn flag_meant(case: &Case, kind: ResolutionKind, named: Option<Flag>) -> Result<Flag, Objection> {
    let open = &case.prior.flags.open;
    let fits = |flag: Flag| {
        if kind == ResolutionKind::CloseAsIs {
            CLOSABLE.contains(&flag)
        } else {
            flag.is_cause() && flag != Flag::Requested
        }
    };
    let Some(flag) = named else {
        let mut fitting = open.iter().copied().filter(|flag| fits(*flag));
        return match (fitting.next(), fitting.next()) {
            (Some(flag), None) => Ok(flag),
            _ => Err(Objection::WhichFlag(open.iter().map(|f| f.as_str()).collect::<Vec<_>>().join(", "))),
        };
    };
    let object = |why| Err(Objection::NotThisFlag { kind: kind.as_str(), flag: flag.as_str(), why });
    if !open.contains(&flag) {
        object("it is not open on this row")
    } else if fits(flag) {
        Ok(flag)
    } else if kind == ResolutionKind::CloseAsIs {
        object("a cause is accepted, kept or returned; a refund's fate is stated; a missing thing is mended")
    } else {
        object("it is no cause for which money is owed: close_as_is settles a contradiction")
    }
}

fn nothing_in_flight(case: &Case) -> Result<(), Objection> {
    if case.refunds.iter().any(|r| r.state.holds_reservation()) {
        return Err(Objection::NotNow("a refund of this payment is under way or of unknown fate: find that out first"));
    }
    Ok(())
}

/// What is left of a payment: paid, less all that is reserved, confirmed or returned outside.
pub fn returnable(case: &Case) -> Sen {
    let paid = case.paid_amount().unwrap_or(Sen::ZERO);
    let gone = case
        .refunds
        .iter()
        .filter(|r| r.state == RefundState::Confirmed || r.state.holds_reservation())
        .fold(case.refunded_outside, |sum, r| sum.plus(r.amount));
    paid.minus(gone).max(Sen::ZERO)
}

/// The resolution that settles a flag, if one does. It stands for what was said before it and for the same said again; the
/// answers in `facts` after it that say anything else raise the flag anew.
pub fn standing<'c>(case: &'c Case, flag: Flag, facts: &[i32]) -> Option<&'c Resolution> {
    let about_it = |r: &&Resolution| r.about.flag == Some(flag) && r.kind != ResolutionKind::Return;
    let last = case.resolutions.iter().rev().find(about_it)?;
    let settles =
        matches!(last.kind, ResolutionKind::AcceptAsPaid | ResolutionKind::CloseAsIs | ResolutionKind::OutsideRefund);
    let said = |seq: i32| case.facts.iter().find(|f| f.seq == seq);
    let same = |a: &Fact, b: &Fact| {
        a.heard() == b.heard()
            && a.answer.echo == b.answer.echo
            && a.answer.amount == b.answer.amount
            && a.answer.currency == b.answer.currency
            && a.answer.payment_id == b.answer.payment_id
    };
    let is_new = |fact: &Fact| !case.facts.iter().any(|earlier| earlier.seq < last.seq && same(earlier, fact));
    let something_new = facts.iter().filter(|seq| **seq > last.seq).filter_map(|seq| said(*seq)).any(is_new);
    (settles && !something_new).then_some(last)
}

#[cfg(test)]
mod tests;

//! A refund and the states of its saga. How one state follows another is `saga`; what is owed is `decide`.

use chrono::{DateTime, Utc};

use crate::domain::{money::Sen, state::Flag};

/// A step of the saga.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundState {
    /// A rule or a person says that money is owed.
    Proposed,
    /// The policy or a second person agreed.
    Approved,
    /// Taken from what may be returned; the number and the body are fixed.
    Reserved,
    /// A call is under way.
    Sending,
    /// The money went back, and there is a proof.
    Confirmed,
    /// The provider said a definite no.
    Refused,
    /// Nobody knows. The reservation stays.
    Unknown,
    /// A person said no.
    Denied,
    /// What it stood on no longer holds.
    Expired,
}

impl RefundState {
    /// Every state.
    pub const ALL: [Self; 9] = [
        Self::Proposed,
        Self::Approved,
        Self::Reserved,
        Self::Sending,
        Self::Confirmed,
        Self::Refused,
        Self::Unknown,
        Self::Denied,
        Self::Expired,
    ];

    /// The word in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Approved => "approved",
            Self::Reserved => "reserved",
            Self::Sending => "sending",
            Self::Confirmed => "confirmed",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::Denied => "denied",
            Self::Expired => "expired",
        }
    }

    /// The reverse of [`RefundState::as_str`].
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == word)
    }

    /// Money may be on its way: the reservation counts as spent.
    pub const fn holds_reservation(self) -> bool {
        match self {
            Self::Reserved | Self::Sending | Self::Unknown => true,
            Self::Proposed | Self::Approved | Self::Confirmed | Self::Refused | Self::Denied | Self::Expired => false,
        }
    }

    /// Never sent yet and still alive.
    pub const fn is_unsent(self) -> bool {
        match self {
            Self::Proposed | Self::Approved | Self::Reserved => true,
            Self::Sending | Self::Unknown | Self::Confirmed | Self::Refused | Self::Denied | Self::Expired => false,
        }
    }

    /// Occupies its cause: no second refund for it may live beside.
    pub const fn occupies_cause(self) -> bool {
        match self {
            Self::Refused | Self::Denied | Self::Expired => false,
            Self::Proposed | Self::Approved | Self::Reserved | Self::Sending | Self::Unknown | Self::Confirmed => true,
        }
    }

    /// May `self` become `next`? The same table stands in the database as a trigger.
    pub fn may_become(self, next: Self) -> bool {
        use RefundState::{Approved, Confirmed, Denied, Expired, Proposed, Refused, Reserved, Sending, Unknown};
        match self {
            Proposed => matches!(next, Approved | Denied | Expired),
            Approved => matches!(next, Reserved | Proposed | Denied | Expired),
            // Refused: it was put off so long that a person took it for a no.
            Reserved => matches!(next, Sending | Proposed | Refused | Denied | Expired),
            Sending => matches!(next, Confirmed | Refused | Unknown | Reserved),
            Unknown => matches!(next, Sending | Confirmed | Refused),
            Confirmed | Refused | Denied | Expired => false,
        }
    }
}

/// Which way the money goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// By a call to the provider.
    Api,
    /// By a bank transfer that a person makes.
    Manual,
}

impl Channel {
    /// Both, as messages list them.
    pub const ALL: [Self; 2] = [Self::Api, Self::Manual];

    /// The word in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Manual => "manual",
        }
    }

    /// The reverse of [`Channel::as_str`].
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.as_str() == word)
    }
}

/// Why money that would go back may belong to another order of the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CandidateWhy {
    /// The other order carries the same payment.
    SamePayment,
    /// The other order still waits for this amount.
    OpenOrder,
    /// The same amount was paid for the other order within minutes: the customer may have paid twice.
    PaidNearby,
}

impl CandidateWhy {
    /// Every reason, strongest first.
    pub const ALL: [Self; 3] = [Self::SamePayment, Self::OpenOrder, Self::PaidNearby];

    /// The word in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SamePayment => "same_payment",
            Self::OpenOrder => "open_order",
            Self::PaidNearby => "paid_nearby",
        }
    }

    /// The reverse of [`CandidateWhy::as_str`].
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|w| w.as_str() == word)
    }
}

/// Another order that the money may belong to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Candidate {
    /// Its row.
    pub transaction_id: i64,
    /// Its reference.
    pub partner_reference_no: String,
    /// What speaks for it.
    pub why: CandidateWhy,
}

/// What a person said about a transfer that was made.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Transfer {
    /// Who made it.
    pub by: String,
    /// The bank's reference, as it stands on the statement.
    pub bank_reference: String,
}

/// How a confirmation was proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// A success that echoed number and amount.
    Answer,
    /// The provider calls the payment reversed, asked after the last attempt had ended; full refunds only.
    Query,
    /// A success, or "already done", to a byte-identical repeat.
    Repeat,
    /// A person said so.
    Person,
}

impl Proof {
    /// The word in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Query => "query",
            Self::Repeat => "repeat",
            Self::Person => "person",
        }
    }

    /// The reverse of [`Proof::as_str`].
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Answer, Self::Query, Self::Repeat, Self::Person].into_iter().find(|p| p.as_str() == word)
    }
}

/// The name under which rules propose and approve.
pub const POLICY_ACTOR: &str = "policy";

/// One refund of one row.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Refund {
    /// Row id; 0 while not stored. Never part of an identity at the provider.
    pub id: i64,
    /// Why money is owed.
    pub cause: Flag,
    /// Which way it goes.
    pub channel: Channel,
    /// Counts the numbers minted for this cause, from 1.
    pub sequence: i32,
    /// How much goes back.
    pub amount: Sen,
    /// Where the saga stands.
    pub state: RefundState,
    /// Who proposed it.
    pub proposed_by: String,
    /// What the person said who proposed it; `None` where the policy did.
    pub why: Option<String>,
    /// Who approved it; `POLICY_ACTOR` where the policy did alone.
    pub approved_by: Option<String>,
    /// When, database time; an approval by a person ends `approval_ttl` after it.
    pub approved_at: Option<DateTime<Utc>>,
    /// Who denied it.
    pub denied_by: Option<String>,
    /// What the approval stands on (`saga::content_hash`).
    pub content_hash: String,
    /// The idempotency handle; minted at `reserved`.
    pub partner_refund_no: Option<String>,
    /// The exact bytes that are sent and sent again.
    pub request_body: Option<String>,
    /// Attempts begun under this number.
    pub attempts: i32,
    /// An attempt of this number never got a readable answer.
    pub unanswered: bool,
    /// When the last attempt left, database time.
    pub last_sent_at: Option<DateTime<Utc>>,
    /// When the last attempt ended (or was found dead), database time.
    pub last_ended_at: Option<DateTime<Utc>>,
    /// The provider's number of the refund.
    pub refund_no: Option<String>,
    /// How it was proved.
    pub proof: Option<Proof>,
    /// Why it was refused, denied, expired or is blocked; one sentence.
    pub reason: Option<String>,
    /// It may not go now: a switch, a limit, the budget, the hour, the provider; `reason` says which.
    pub blocked: bool,
    /// Times it truly went out again while its fate was unknown.
    pub resends: i32,
    /// The provider takes it no longer than this, where an end is known.
    pub window_ends_at: Option<DateTime<Utc>>,
    /// How it was made, where a person made it.
    pub transfer: Option<Transfer>,
    /// Since when its provider says "not now".
    pub put_off_since: Option<DateTime<Utc>>,
    /// The same number leaves again no earlier.
    pub put_off_until: Option<DateTime<Utc>>,
    /// Its refusal closes the way by API.
    pub api_closed: bool,
    /// Another order that the money may belong to: only a person lets it go then.
    pub candidate: Option<Candidate>,
    /// A person must look: `refund_unknown`, `refund_amount_differs` or `refund_blocked`.
    pub needs_person: Option<Flag>,
}

impl Refund {
    /// A person, not the policy, agreed to it.
    pub fn is_approved_by_person(&self) -> bool {
        self.approved_by.as_deref().is_some_and(|who| who != POLICY_ACTOR)
    }

    /// Has its number ever left? An attempt that found no call slot was counted and never left.
    pub fn was_ever_sent(&self) -> bool {
        self.last_sent_at.is_some()
    }

    /// Is it a bank transfer?
    pub fn is_manual(&self) -> bool {
        self.channel == Channel::Manual
    }

    /// Returns all that was paid.
    pub fn is_full(&self, paid: Sen) -> bool {
        self.amount >= paid
    }

    /// Returns the order's own money, not an excess.
    pub fn is_own_money(&self) -> bool {
        self.cause != Flag::Overpaid && self.cause != Flag::DuplicatePayment
    }
}

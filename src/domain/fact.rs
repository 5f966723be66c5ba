//! Facts: what somebody said about a payment, once, immutable. A fact never decides; it is evidence for `decide`.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::domain::{money::Sen, observation::Observation};

/// Who said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The provider, asked by us over an authenticated connection. The only source that moves a state.
    Query,
    /// The provider's notification: a hint to ask, never a verdict.
    Notification,
}

impl Source {
    /// The word in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Notification => "notification",
        }
    }

    /// The reverse of [`Source::as_str`].
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Query, Self::Notification].into_iter().find(|s| s.as_str() == word)
    }
}

/// Did the answer speak of the payment we asked about?
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Echo {
    /// At least one right reference and none wrong.
    Right,
    /// No reference in the answer.
    Silent,
    /// A wrong reference or merchant.
    Wrong,
}

impl Echo {
    /// The word in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Silent => "silent",
            Self::Wrong => "wrong",
        }
    }

    /// The reverse of [`Echo::as_str`].
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Right, Self::Silent, Self::Wrong].into_iter().find(|e| e.as_str() == word)
    }
}

/// A doubt that keeps money from leaving. Odd spelling without doubt is drift and not listed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Warning {
    /// The amount could not be read, or is missing on a paid answer.
    Amount,
    /// The currency is missing or unreadable.
    Currency,
    /// A reference is of a wrong kind.
    Reference,
    /// Status and response code, or body and HTTP status, contradict one another.
    Status,
}

impl Warning {
    /// The word in the table and the metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Amount => "amount",
            Self::Currency => "currency",
            Self::Reference => "reference",
            Self::Status => "status",
        }
    }

    /// The reverse of [`Warning::as_str`].
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Amount, Self::Currency, Self::Reference, Self::Status].into_iter().find(|w| w.as_str() == word)
    }
}

/// Why an answer is INDETERMINATE, for people and metrics; one short word such as `timeout` or `unknown_code`.
pub type Doubt = String;

/// What one answer said, normalised. Two answers are *equal* when these are equal.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Answer {
    /// The normalised status.
    pub observation: Observation,
    /// Whether the references and the merchant are ours.
    pub echo: Echo,
    /// The seven digits, where there were any.
    pub response_code: Option<String>,
    /// The two digits, where there were any.
    pub latest_transaction_status: Option<String>,
    /// The provider's amount, gross, without fee.
    pub amount: Option<Sen>,
    /// The provider's currency as it stands there.
    pub currency: Option<String>,
    /// The provider's fee.
    pub fee_amount: Option<Sen>,
    /// What tells two payments of one order apart, as the profile names it.
    pub payment_id: Option<String>,
    /// The approval code, which DOKU wants back on a refund.
    pub approval_code: Option<String>,
    /// `paidTime` read, when it parsed and the profile trusts it.
    pub paid_time: Option<DateTime<Utc>>,
    /// `paidTime` as it stands in the answer.
    pub paid_time_raw: Option<String>,
    /// Doubts that keep money from leaving.
    pub warnings: Vec<Warning>,
    /// Why it is INDETERMINATE, where it is.
    pub doubt: Option<Doubt>,
}

impl Answer {
    /// What the rules may take this answer for. Of another payment or merchant it says nothing; and money is said to
    /// have come or gone only by an answer that names one of our references, and for PAID an amount.
    pub fn heard(&self) -> Observation {
        let of_money = matches!(self.observation, Observation::Paid | Observation::Reversed);
        let nameless = of_money && self.echo == Echo::Silent;
        let amountless = self.observation == Observation::Paid && self.amount.is_none();
        if self.echo == Echo::Wrong || nameless || amountless { Observation::Indeterminate } else { self.observation }
    }

    /// An answer that says nothing: no connection, no time, no sense.
    pub fn indeterminate(doubt: &str) -> Self {
        Self {
            observation: Observation::Indeterminate,
            echo: Echo::Silent,
            response_code: None,
            latest_transaction_status: None,
            amount: None,
            currency: None,
            fee_amount: None,
            payment_id: None,
            approval_code: None,
            paid_time: None,
            paid_time_raw: None,
            warnings: Vec::new(),
            doubt: Some(doubt.to_owned()),
        }
    }
}

/// One answer of one call, with its place in the row's sequence. Answers other than PAID and REVERSED that repeat the
/// last one are counted in `sightings` instead of becoming facts.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Fact {
    /// Place in the row's sequence of facts and order changes.
    pub seq: i32,
    /// Who said it.
    pub source: Source,
    /// What was said. Shared: the case, the evidence and the store's columns look at one copy.
    #[serde(serialize_with = "shared")]
    pub answer: Arc<Answer>,
    /// Database time when the request left.
    pub sent_at: DateTime<Utc>,
    /// Database time when the answer was recorded, the first time.
    pub answered_at: DateTime<Utc>,
    /// When the last equal answer was recorded.
    pub last_at: DateTime<Utc>,
    /// When the request of the last equal answer left.
    pub last_sent_at: DateTime<Utc>,
    /// How many equal answers in a row, this one included.
    pub sightings: i32,
    /// The account's breaker was not closed when it was recorded.
    pub bad_weather: bool,
}

impl Fact {
    /// What the rules may take it for ([`Answer::heard`]).
    pub fn heard(&self) -> Observation {
        self.answer.heard()
    }

    /// Can `answer` be counted as one more sighting of this fact? PAID and REVERSED are always new facts. `deadline`
    /// parts the watch from the time when negatives close: answers on its two sides are never folded together,
    /// nor are answers before and after the end of validity, nor fair and bad weather.
    pub fn absorbs(&self, answer: &Answer, at: DateTime<Utc>, bad_weather: bool, boundaries: &[DateTime<Utc>]) -> bool {
        let always_new = matches!(answer.observation, Observation::Paid | Observation::Reversed);
        let same_side = boundaries.iter().all(|b| (self.answered_at <= *b) == (at <= *b));
        !always_new && self.bad_weather == bad_weather && same_side && *self.answer == *answer
    }
}

fn shared<S: serde::Serializer>(answer: &Arc<Answer>, serializer: S) -> Result<S::Ok, S::Error> {
    serde::Serialize::serialize(&**answer, serializer)
}

//! What the merchant expects: one row he wrote, and what he changed about it since. Nothing a provider said is here.

use chrono::{DateTime, Duration, Utc};

use crate::domain::money::Sen;

/// Money in, or money out (a payout, which is observed and never refunded).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// A customer pays the merchant.
    In,
    /// The merchant pays somebody.
    Out,
}

/// Where the merchant's own order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Waiting for the money or for the goods.
    Open,
    /// The goods have left.
    Fulfilled,
    /// Called off.
    Cancelled,
}

impl Direction {
    /// The word in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }

    /// The reverse of [`Direction::as_str`].
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::In, Self::Out].into_iter().find(|d| d.as_str() == word)
    }
}

impl OrderStatus {
    /// The word in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Fulfilled => "fulfilled",
            Self::Cancelled => "cancelled",
        }
    }

    /// The reverse of [`OrderStatus::as_str`].
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Open, Self::Fulfilled, Self::Cancelled].into_iter().find(|s| s.as_str() == word)
    }
}

/// A change of the merchant's row that a rule looks at, in the row's own sequence.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct OrderChange {
    /// Place in the row's sequence of facts and changes.
    pub seq: i32,
    /// Database time of the change.
    pub at: DateTime<Utc>,
    /// The order's status before it.
    pub from: OrderStatus,
    /// The order's status after it; equal to `from` where only a reference or the validity changed.
    pub to: OrderStatus,
}

/// The merchant's expectation.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Order {
    /// Row id; inside the database only, never part of an identity at a provider.
    pub id: i64,
    /// The account's name in the configuration.
    pub account: String,
    /// Our reference.
    pub partner_reference_no: String,
    /// The provider's reference.
    pub reference_no: Option<String>,
    /// The X-EXTERNAL-ID of the original request.
    pub external_id: Option<String>,
    /// In or out.
    pub direction: Direction,
    /// Expected, without tip.
    pub amount: Sen,
    /// Expected currency.
    pub currency: String,
    /// The tip that the QR itself fixes, where there is one.
    pub tip: Option<Sen>,
    /// Now.
    pub order_status: OrderStatus,
    /// When the merchant made it.
    pub created_at: DateTime<Utc>,
    /// End of the QR's validity as the merchant knows it.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Order {
    /// End of validity: the merchant's, else creation plus the profile's default (seconds).
    pub fn valid_until(&self, default_validity_secs: i64) -> DateTime<Utc> {
        self.expires_at.unwrap_or_else(|| later(self.created_at, default_validity_secs))
    }
}

/// `at` plus `secs` seconds; stays at `at` where the calendar ends.
pub fn later(at: DateTime<Utc>, secs: i64) -> DateTime<Utc> {
    Duration::try_seconds(secs).and_then(|d| at.checked_add_signed(d)).unwrap_or(at)
}

/// Whole seconds from `from` to `to`; negative where `to` is earlier.
pub fn secs_between(from: DateTime<Utc>, to: DateTime<Utc>) -> i64 {
    to.signed_duration_since(from).num_seconds()
}

//! How each provider wants to be asked and what its answer says. Pure mapping per provider, one transport; it decides
//! nothing and knows no database.
//!
//! A provider is one pure file (`doku.rs`), one profile (`profiles/doku.toml`), one fixture folder
//! (`tests/fixtures/providers/doku`) and one line in [`PROVIDERS`]. Reading order: `doku`, `snap`, `json`, `client`.

pub mod account;
pub mod brick;
pub mod by_hand;
pub mod client;
pub mod customer;
pub mod doku;
pub mod ids;
pub mod json;
pub mod paydia;
pub mod profile;
mod seal;
pub mod service;
pub mod shelf;
pub mod sign;
pub mod snap;
pub mod token;
pub mod transport;
pub mod winpay;
pub mod wire;

use std::fmt;

use chrono::{DateTime, Utc};

use crate::domain::{fact::Answer, money::Sen, reply::RefundReply, snap_code::ResponseCode};
use token::{GrantedToken, TokenError};
use wire::{HttpRequest, HttpResponse};

pub use crate::domain::observe::Asked;
pub use account::{Account, AccountError, AccountSettings};
pub use by_hand::{ByHand, ByHandReply, Ended};
pub use client::{
    AccountClient, ByHandResult, CallError, CallKind, Denied, Failure, Permit, QueryResult, RefundResult,
};
pub use customer::{CustomerGrant, CustomerToken};
pub use ids::ExternalIds;
pub use profile::{ProfileError, ProviderProfile};
pub use service::Service;
pub use shelf::{Shelf, ShelfAway};
pub use transport::{Transport, TransportError};

/// Every provider that rekon knows.
static PROVIDERS: [&dyn Provider; 4] = [&doku::Doku, &paydia::Paydia, &brick::Brick, &winpay::Winpay];

/// Every provider that rekon knows.
pub fn providers() -> &'static [&'static dyn Provider] {
    &PROVIDERS
}

/// The provider of that name.
pub fn provider(name: &str) -> Option<&'static dyn Provider> {
    PROVIDERS.iter().copied().find(|p| p.name() == name)
}

/// One provider: builds requests as data and reads answers. No method waits, logs or knows the time.
pub trait Provider: fmt::Debug + Send + Sync {
    /// Its name in `jobs.toml`.
    fn name(&self) -> &'static str;

    /// Its embedded profile, as text.
    fn profile_toml(&self) -> &'static str;

    /// What this adapter can do. Its profile describes exactly these, and both are compared at start; the methods below
    /// are called for nothing else.
    fn services(&self) -> &'static [Service];

    /// What this adapter only believes, beside what its profile says of itself: a word, a colon, a sentence.
    fn unproven(&self) -> &'static [&'static str] {
        &[]
    }

    /// The request for a B2B token; by the standard.
    fn token_request(&self, account: &Account, at: DateTime<Utc>) -> Result<HttpRequest, BuildError> {
        snap::token_request(account, at)
    }

    /// The token in its answer; by the standard.
    fn read_token(&self, response: &HttpResponse) -> Result<GrantedToken, TokenError> {
        snap::read_token(response)
    }

    /// The request for what became of a payment, or of a payout ([`Account::inquiry_of`]).
    fn query_request(&self, account: &Account, asked: &Asked<'_>, call: &Call<'_>) -> Result<HttpRequest, BuildError>;

    /// What its answer says; by the standard.
    fn read_query(&self, account: &Account, asked: &Asked<'_>, response: &HttpResponse) -> QueryReading {
        snap::read_query(account, asked, response)
    }

    /// The body of a refund: stored before the first call, and sent and sent again byte for byte.
    fn refund_body(&self, account: &Account, _refund: &RefundOrder<'_>) -> Result<String, BuildError> {
        Err(BuildError::Unsupported { provider: account.provider.name(), service: Service::Refund })
    }

    /// A refund request around a stored body; by the standard.
    fn refund_request(&self, account: &Account, body: &str, call: &Call<'_>) -> Result<HttpRequest, BuildError> {
        snap::transaction(account, Service::Refund, body.as_bytes().to_vec(), call)
    }

    /// What its answer says; by the standard.
    fn read_refund(&self, account: &Account, asked: &Asked<'_>, response: &HttpResponse) -> RefundReading {
        snap::read_refund(account, asked, response)
    }

    /// A request that a person makes.
    fn by_hand_request(
        &self,
        account: &Account,
        asked: &ByHand<'_>,
        _call: &Call<'_>,
    ) -> Result<HttpRequest, BuildError> {
        Err(BuildError::Unsupported { provider: account.provider.name(), service: asked.service() })
    }

    /// What its answer says; by the standard.
    fn read_by_hand(&self, asked: &ByHand<'_>, response: &HttpResponse) -> ByHandReply {
        by_hand::read(asked, response)
    }

    /// The request for a customer's token; by the standard.
    fn customer_token_request(
        &self,
        account: &Account,
        grant: CustomerGrant<'_>,
        at: DateTime<Utc>,
    ) -> Result<HttpRequest, BuildError> {
        customer::request(account, grant, at)
    }

    /// The token in its answer; by the standard.
    fn read_customer_token(&self, response: &HttpResponse) -> Result<CustomerToken, TokenError> {
        customer::read(response)
    }
}

/// What differs from call to call.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The B2B token, without "Bearer "; `None` where the provider has none.
    pub token: Option<&'a str>,
    /// The customer's token, where the call is made for another customer than the account's.
    pub customer_token: Option<&'a str>,
    /// X-EXTERNAL-ID: new for every HTTP call, unless the account's is fixed.
    pub external_id: &'a str,
    /// The time of the call; becomes X-TIMESTAMP.
    pub at: DateTime<Utc>,
}

/// A refund as the saga has minted it.
#[derive(Debug, Clone, Copy)]
pub struct RefundOrder<'a> {
    /// The payment that is returned.
    pub asked: Asked<'a>,
    /// The number under which it is returned.
    pub partner_refund_no: &'a str,
    /// How much goes back.
    pub amount: Sen,
    /// Its currency.
    pub currency: &'a str,
    /// Why; printable ASCII, and best without blanks: some providers strip them before they hash.
    pub reason: &'a str,
    /// The approval code of the query's answer, as received.
    pub approval_code: Option<&'a str>,
}

/// What an answer to a query says, and how oddly it was spelt.
#[derive(Debug, Clone)]
pub struct QueryReading {
    /// The meaning.
    pub answer: Answer,
    /// Harmless oddities.
    pub drift: Vec<Drift>,
}

/// What an answer to a refund says, and how oddly it was spelt.
#[derive(Debug, Clone)]
pub struct RefundReading {
    /// The readable parts.
    pub reply: RefundReply,
    /// Harmless oddities.
    pub drift: Vec<Drift>,
}

/// A harmless oddity of an answer; its `Display` is the metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Drift {
    /// This field came as a JSON number and is documented as a string.
    NumberForText(&'static str),
    /// This field came as a JSON string and is documented as a number.
    TextForNumber(&'static str),
    /// `responseCode` names another service than the one that was called.
    OtherService,
    /// `paidTime` names no zone, or is no time.
    TimeWithoutZone,
    /// An answer to a refund bears a code that neither the standard nor the profile names.
    UnknownRefundCode(ResponseCode),
}

/// A request that cannot be built. Nothing has left.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The row lacks a reference that this provider requires.
    #[error("{0} is missing and the provider requires it: set transactions.{0}")]
    MissingReference(&'static str),
    /// A field that the provider would refuse.
    #[error("{name} must be 1 to {max} printable ASCII characters at this provider")]
    Field {
        /// The field, by its wire name.
        name: &'static str,
        /// The longest it may be.
        max: usize,
    },
    /// The provider has no such call, or rekon does not know it.
    #[error("{provider} has no `{service}` that rekon knows")]
    Unsupported {
        /// The provider.
        provider: &'static str,
        /// The call.
        service: Service,
    },
    /// The call is made on a customer's behalf, and nobody said whose.
    #[error("the call needs the customer's B2B2C token: set customer_token in jobs.toml, or give one")]
    NoCustomerToken,
    /// Real money, by hand.
    #[error("`{0}` by hand is for the sandbox, and this account's base_url is none")]
    NotSandbox(Service),
    /// The account has no private key.
    #[error("the account has no private_key, and the provider's token or signature needs one: set it in jobs.toml")]
    NoPrivateKey,
    /// The private key did not sign.
    #[error("the request could not be signed")]
    Key(#[from] sign::KeyError),
    /// The body could not be written.
    #[error("the request's body could not be written as JSON")]
    Json(#[from] serde_json::Error),
}

#[cfg(test)]
pub(crate) mod fixture;

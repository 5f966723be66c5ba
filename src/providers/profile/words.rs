//! The words of a profile: how one call is made, typed and signed. What they hold together is checked in `profile`.

use serde::Deserialize;

use crate::providers::wire::Method;

/// How transactions are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMode {
    /// HMAC-SHA512 with the client secret, over the token too.
    Symmetric,
    /// SHA256withRSA with the private key, without the token.
    Asymmetric,
}

/// How amounts are typed in requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AmountAs {
    /// `"1200.00"`, as the standard has it.
    String,
    /// `1200`, `1200.25`.
    Number,
}

/// How digits-only identifiers are typed in requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdsAs {
    /// `"2997"`.
    String,
    /// `2997`, unless a leading zero would be lost.
    Number,
}

/// How a code is typed in an answer, as documented. Both are read alike; the other type than the documented one is drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodeAs {
    /// `"2005100"`, as the standard has it.
    String,
    /// `2005100`.
    Number,
    /// The document shows both, or names one and shows what only the other can spell.
    Either,
}

/// The field that tells two payments of one order apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentId {
    /// `additionalInfo.approvalCode`.
    ApprovalCode,
    /// `originalReferenceNo`.
    ReferenceNo,
    /// `additionalInfo.rrn`.
    Rrn,
}

/// What becomes of a B2B token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenUse {
    /// Kept until it is nearly over.
    Cached,
    /// A new one for every call, each a call of its own in the budget.
    OneTime,
    /// There are none: transactions are signed with the private key alone.
    None,
}

/// Which path is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignedPath {
    /// Everything after the host.
    Full,
    /// The operation's own path, without the one inside `base_url`.
    Operation,
}

/// How the customer's token stands in Authorization-Customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CustomerTokenAs {
    /// The token alone.
    Bare,
    /// After "Bearer ".
    Bearer,
}

/// Where the parameters of a call stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParamsIn {
    /// In the body, as JSON.
    #[default]
    JsonBody,
    /// In the URL's query; there is no body.
    Query,
}

/// One call of a provider.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// The HTTP method.
    pub method: Method,
    /// The path after the account's `base_url`.
    pub path: String,
    /// The service's two digits.
    pub service_code: String,
    /// `serviceCode` in the body, where the call has one.
    #[serde(default)]
    pub sent_service_code: Option<String>,
    /// Authorization-Customer, where the call has one.
    #[serde(default)]
    pub customer_token: Option<CustomerTokenAs>,
    /// How its amounts are typed, where it differs from the profile's `amount_as`.
    #[serde(default)]
    pub amount_as: Option<AmountAs>,
    /// How its answer types `responseCode`, where it differs from the profile's `response_code_as`.
    #[serde(default)]
    pub response_code_as: Option<CodeAs>,
    /// Where its parameters stand.
    #[serde(default)]
    pub params_in: ParamsIn,
    /// Of a call for a token: its body, sent as it stands.
    #[serde(default)]
    pub body: Option<String>,
}

/// How hard a provider may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Calls per second, of every kind and all replicas together.
    pub per_second: u32,
    /// Calls that may come at once after a pause.
    pub burst: u32,
    /// Calls in flight per process.
    pub concurrency: u32,
}

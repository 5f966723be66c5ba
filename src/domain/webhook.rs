//! What a merchant's endpoint is told when a payment changes: the message, whom it concerns, and what follows from the
//! receiver's answer. The shape of the message and the ladder follow the Standard Webhooks specification (1.0.0).
//!
//! Absent on purpose: names, cards, the provider's own texts. A message says what `GET /api/v1/transactions` would, and no more.

use std::{collections::BTreeSet, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::domain::{
    chain::Link,
    money::{Sen, as_rupiah, as_rupiah_opt},
    order::Order,
    state::State,
};

/// The version of the message's shape. Fields are added without a new one; nothing is renamed or dropped under the same.
pub const VERSION: u32 = 1;

/// The type of a message about a payment whose state stayed and whose flags moved.
pub const FLAGS_CHANGED: &str = "transaction.flags_changed";
/// The type of the message that `rekon webhooks test` sends.
pub const TEST: &str = "rekon.test";

/// Every type of message about a payment.
pub fn types() -> Vec<String> {
    State::ALL.into_iter().map(type_of_state).chain([FLAGS_CHANGED.to_owned()]).collect()
}

fn type_of_state(state: State) -> String {
    format!("transaction.{}", state.as_str())
}

/// Which messages an endpoint wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The endpoint's name in the configuration.
    pub endpoint: String,
    /// Types; empty: all.
    pub types: BTreeSet<String>,
    /// Accounts; empty: all.
    pub accounts: BTreeSet<String>,
}

impl Subscription {
    fn wants(&self, account: &str, kind: &str) -> bool {
        (self.accounts.is_empty() || self.accounts.contains(account))
            && (self.types.is_empty() || self.types.contains(kind))
    }
}

/// A change of a payment, as it stands after its decision.
#[derive(Debug)]
pub struct Change<'a> {
    /// What the merchant expects.
    pub order: &'a Order,
    /// State before.
    pub from: State,
    /// State now.
    pub to: State,
    /// Flags now, sorted.
    pub flags: Vec<&'static str>,
    /// Paid, gross.
    pub paid_amount: Option<Sen>,
    /// Fee.
    pub fee_amount: Option<Sen>,
    /// Confirmed refunds of ours.
    pub refunded_amount: Sen,
    /// Returned outside of us.
    pub refunded_outside: Sen,
    /// Paid when.
    pub paid_at: Option<DateTime<Utc>>,
    /// Number of the journal entry: grows with every change of this payment, with gaps.
    pub entry_no: i32,
    /// Hash of that entry.
    pub entry_hash: &'a Link,
    /// Database time of the decision.
    pub at: DateTime<Utc>,
}

/// A message to one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The endpoint.
    pub endpoint: String,
    /// The webhook-id.
    pub event_id: String,
    /// The payment's row.
    pub transaction_id: i64,
    /// The journal entry.
    pub entry_no: i32,
    /// The type.
    pub kind: String,
    /// The bytes that are signed and sent.
    pub body: String,
}

#[derive(Serialize)]
struct Envelope<'a, D> {
    #[serde(rename = "type")]
    kind: &'a str,
    timestamp: String,
    version: u32,
    data: D,
}

#[derive(Serialize)]
struct Payment<'a> {
    account: &'a str,
    partner_reference_no: &'a str,
    reference_no: Option<&'a str>,
    direction: &'static str,
    sequence: i32,
    state: &'static str,
    previous_state: &'static str,
    flags: &'a [&'static str],
    order_status: &'static str,
    currency: &'static str,
    #[serde(serialize_with = "as_rupiah")]
    amount: Sen,
    #[serde(serialize_with = "as_rupiah_opt")]
    paid_amount: Option<Sen>,
    #[serde(serialize_with = "as_rupiah_opt")]
    fee_amount: Option<Sen>,
    #[serde(serialize_with = "as_rupiah")]
    refunded_amount: Sen,
    #[serde(serialize_with = "as_rupiah")]
    refunded_outside: Sen,
    created_at: String,
    paid_at: Option<String>,
}

/// The messages that a change makes; none where nobody wants it.
pub fn messages(subscriptions: &[Subscription], change: &Change<'_>) -> Vec<Message> {
    let kind = if change.from == change.to { FLAGS_CHANGED.to_owned() } else { type_of_state(change.to) };
    let account = change.order.account.as_str();
    let mut wanting = subscriptions.iter().filter(|s| s.wants(account, &kind)).peekable();
    if wanting.peek().is_none() {
        return Vec::new();
    }
    let (event_id, body) = (event_id(change), body(change, &kind));
    wanting
        .map(|subscription| Message {
            endpoint: subscription.endpoint.clone(),
            event_id: event_id.clone(),
            transaction_id: change.order.id,
            entry_no: change.entry_no,
            kind: kind.clone(),
            body: body.clone(),
        })
        .collect()
}

/// The body of the message that only tries the line. It belongs to no payment.
pub fn test_body(endpoint: &str, at: DateTime<Utc>) -> String {
    #[derive(Serialize)]
    struct Trial<'a> {
        endpoint: &'a str,
    }
    text(&Envelope { kind: TEST, timestamp: utc(at), version: VERSION, data: Trial { endpoint } })
}

/// Made of what it tells of, so that it is the same at every attempt, and another in another database.
fn event_id(change: &Change<'_>) -> String {
    let mut digest = Sha256::new();
    let order = change.order;
    for part in [order.account.as_bytes(), order.partner_reference_no.as_bytes(), &change.entry_no.to_be_bytes()] {
        digest.update(part);
        digest.update([0]);
    }
    digest.update(change.entry_hash);
    format!("msg_{}", hex::encode(digest.finalize()).chars().take(32).collect::<String>())
}

fn body(change: &Change<'_>, kind: &str) -> String {
    let order = change.order;
    let data = Payment {
        account: &order.account,
        partner_reference_no: &order.partner_reference_no,
        reference_no: order.reference_no.as_deref(),
        direction: order.direction.as_str(),
        sequence: change.entry_no,
        state: change.to.as_str(),
        previous_state: change.from.as_str(),
        flags: &change.flags,
        order_status: order.order_status.as_str(),
        currency: "IDR",
        amount: order.amount,
        paid_amount: change.paid_amount,
        fee_amount: change.fee_amount,
        refunded_amount: change.refunded_amount,
        refunded_outside: change.refunded_outside,
        created_at: utc(order.created_at),
        paid_at: change.paid_at.map(utc),
    };
    text(&Envelope { kind, timestamp: utc(change.at), version: VERSION, data })
}

fn utc(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Texts, numbers and lists of them always have a JSON form.
fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// What an attempt came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// An answer; and for how long the receiver wants to be left alone, where it says so.
    Status {
        /// The HTTP status.
        status: u16,
        /// Its Retry-After.
        retry_after: Option<Duration>,
    },
    /// None: a word for why.
    Silence(&'static str),
}

/// What follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It has arrived.
    Delivered,
    /// It is sent again after this long, before jitter.
    Again {
        /// The ladder's step.
        wait: Duration,
        /// Nobody sends anything to the endpoint before.
        pause: Option<Duration>,
    },
    /// The ladder is at its end.
    Dead,
    /// The receiver is gone for good: nothing is sent to it any more.
    Gone,
}

/// Judges an attempt after `rung` failures before it.
pub fn judge(reply: Reply, rung: usize, ladder: &[Duration]) -> Next {
    let pause = match reply {
        Reply::Status { status: 200..=299, .. } => return Next::Delivered,
        Reply::Status { status: 410, .. } => return Next::Gone,
        Reply::Status { status: 429 | 503, retry_after } => retry_after,
        Reply::Status { .. } | Reply::Silence(_) => None,
    };
    match ladder.get(rung) {
        Some(wait) => Next::Again { wait: *wait, pause },
        None => Next::Dead,
    }
}

#[cfg(test)]
mod tests;

//! The text of a fact as `rekon.fact_text` writes it, and its hash. Made here and not by the database, where it would cost
//! more than the rest of the insert; the sentinel and `verify` hold the one against the other.

use crate::{
    domain::{
        chain::{self, Link},
        money::Sen,
    },
    store::settle::NewFact,
};

/// The hash that is stored with the fact.
pub(super) fn hash(new: &NewFact) -> Link {
    chain::sha256(&text(new))
}

/// As `jsonb` prints an array: a comma and a space, amounts with two decimals, times as microseconds.
fn text(new: &NewFact) -> Vec<u8> {
    let (fact, said) = (&new.fact, &*new.fact.answer);
    let mut row = JsonArray(Vec::with_capacity(512));
    row.plain(&new.transaction_id);
    row.plain(&fact.seq);
    row.text(Some(fact.source.as_str()));
    row.text(Some(&new.call_id));
    row.text(Some(said.observation.as_str()));
    row.text(Some(said.echo.as_str()));
    row.text(said.response_code.as_deref());
    row.text(said.latest_transaction_status.as_deref());
    row.amount(said.amount);
    row.text(said.currency.as_deref());
    row.amount(said.fee_amount);
    row.text(said.payment_id.as_deref());
    row.text(said.approval_code.as_deref());
    row.optional(said.paid_time.map(|at| at.timestamp_micros()).as_ref());
    row.text(said.paid_time_raw.as_deref());
    let mut warnings = JsonArray(Vec::new());
    said.warnings.iter().for_each(|warning| warnings.text(Some(warning.as_str())));
    row.bytes(&warnings.end());
    row.text(said.doubt.as_deref());
    row.plain(&fact.bad_weather);
    row.plain(&fact.sent_at.timestamp_micros());
    row.plain(&fact.answered_at.timestamp_micros());
    row.text(new.raw_hash.map(hex::encode).as_deref());
    row.text(Some(&new.profile_hash));
    row.end()
}

/// A JSON array in the making.
struct JsonArray(Vec<u8>);

impl JsonArray {
    fn bytes(&mut self, item: &[u8]) {
        self.0.extend_from_slice(if self.0.is_empty() { b"[" } else { b", " });
        self.0.extend_from_slice(item);
    }

    fn plain(&mut self, item: &impl std::fmt::Display) {
        self.bytes(item.to_string().as_bytes());
    }

    fn optional(&mut self, item: Option<&impl std::fmt::Display>) {
        match item {
            Some(item) => self.plain(item),
            None => self.bytes(b"null"),
        }
    }

    fn amount(&mut self, amount: Option<Sen>) {
        self.optional(amount.as_ref());
    }

    fn text(&mut self, text: Option<&str>) {
        // Texts always have a JSON form.
        self.bytes(&serde_json::to_vec(&text).unwrap_or_default());
    }

    fn end(mut self) -> Vec<u8> {
        if self.0.is_empty() {
            self.0.push(b'[');
        }
        self.0.push(b']');
        self.0
    }
}

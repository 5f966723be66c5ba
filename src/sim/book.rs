//! The book of money: what was truly taken and what truly went back, whatever the simulator told anybody. Tests judge by it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::grammar::FaultKind;

/// One movement of money back to a customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Returned {
    /// The merchant's number of the refund.
    pub partner_refund_no: String,
    /// The provider's number of the refund.
    pub refund_no: String,
    /// Sen.
    pub amount_sen: i64,
    /// When it moved (UTC).
    pub at: DateTime<Utc>,
}

/// One payment's page in the book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BookEntry {
    /// Whose payment.
    pub client_id: String,
    /// The merchant's reference.
    pub partner_reference_no: String,
    /// The provider's reference.
    pub reference_no: String,
    /// What the merchant asked for, in sen.
    pub expected_sen: i64,
    /// What was taken from the customer, in sen.
    pub taken_sen: i64,
    /// What went back without the merchant's API, in sen.
    pub returned_outside_sen: i64,
    /// Every movement back that the merchant's refund calls made.
    pub returned: Vec<Returned>,
    /// Queries that passed the door.
    pub queries: u64,
    /// Refund calls that passed the door.
    pub refund_calls: u64,
    /// How often which kind of fault was played.
    pub played: BTreeMap<FaultKind, u64>,
}

impl BookEntry {
    /// Everything that the merchant's refund calls gave back, in sen.
    pub fn returned_sen(&self) -> i64 {
        self.returned.iter().map(|returned| returned.amount_sen).sum()
    }

    /// Whether more went back than was taken.
    pub fn is_returned_beyond_taken(&self) -> bool {
        self.returned_sen().saturating_add(self.returned_outside_sen) > self.taken_sen
    }
}

/// A snapshot of the whole book, sorted by client and reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Book {
    /// Sum over all entries, in sen.
    pub taken_sen: i64,
    /// Sum over all entries, in sen; without what went back outside.
    pub returned_sen: i64,
    /// The pages.
    pub entries: Vec<BookEntry>,
}

impl Book {
    pub(super) fn new(mut entries: Vec<BookEntry>) -> Self {
        entries.sort_by(|one, other| {
            (&one.client_id, &one.partner_reference_no).cmp(&(&other.client_id, &other.partner_reference_no))
        });
        Self {
            taken_sen: entries.iter().map(|entry| entry.taken_sen).sum(),
            returned_sen: entries.iter().map(BookEntry::returned_sen).sum(),
            entries,
        }
    }

    /// How often which kind of fault was played, over all payments.
    pub fn played(&self) -> BTreeMap<FaultKind, u64> {
        let mut played = BTreeMap::new();
        for (kind, times) in self.entries.iter().flat_map(|entry| &entry.played) {
            *played.entry(*kind).or_default() += times;
        }
        played
    }

    /// The pages of payments for which money went back more than once.
    pub fn refunded_more_than_once(&self) -> Vec<&BookEntry> {
        self.entries.iter().filter(|entry| entry.returned.len() > 1).collect()
    }

    /// The pages of payments for which more went back than was taken.
    pub fn returned_beyond_taken(&self) -> Vec<&BookEntry> {
        self.entries.iter().filter(|entry| entry.is_returned_beyond_taken()).collect()
    }
}

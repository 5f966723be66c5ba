//! A row as it stood before each of its journal entries, put together from what is stored today: facts and changes up to the
//! entry's place in the sequence, and from the entries what each decision found and left.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::{
    domain::{
        case::{Case, Outage, Prior},
        order::Order,
        posting::LedgerAccount,
    },
    engine::decisions::content::Remembered,
    store::{
        cases::Loaded,
        replay::Replaced,
        verify::{Chain, StoredEntry},
    },
};

/// A row and its story.
pub(super) struct Past {
    chain: Chain,
    replaced: Vec<Replaced>,
    remembered: Vec<Option<Remembered>>,
}

impl Past {
    pub(super) fn new(chain: Chain, replaced: Vec<Replaced>) -> Self {
        let remembered = chain.entries.iter().map(|entry| serde_json::from_str(&entry.content).ok()).collect();
        Self { chain, replaced, remembered }
    }

    /// The row's order, as it stands today.
    pub(super) const fn order(&self) -> &Order {
        &self.chain.row.case.order
    }

    /// The case as it stands today.
    pub(super) const fn today(&self) -> &Case {
        &self.chain.row.case
    }

    /// The row as it stands today.
    pub(super) fn row_today(&self) -> Loaded {
        self.chain.row.clone()
    }

    /// How many entries there are.
    pub(super) const fn entries(&self) -> usize {
        self.chain.entries.len()
    }

    /// An entry, from 0.
    pub(super) fn entry(&self, nth: usize) -> Option<&StoredEntry> {
        self.chain.entries.get(nth)
    }

    /// When it was written.
    pub(super) fn at(&self, nth: usize) -> Option<DateTime<Utc>> {
        self.entry(nth).map(|entry| entry.at)
    }

    /// What it says of the decision.
    pub(super) fn remembered(&self, nth: usize) -> Option<&Remembered> {
        self.remembered.get(nth).and_then(Option::as_ref)
    }

    /// The row as the decision of an entry had it before it.
    pub(super) fn before(&self, nth: usize) -> Option<Loaded> {
        let remembered = self.remembered(nth)?;
        let mut row = self.chain.row.clone();
        self.rewind(&mut row.case, remembered.upto_seq, remembered.at);
        remembered.restore(&mut row.case);
        let previous = nth.checked_sub(1).map(|before| (self.entry(before), self.remembered(before)));
        row.case.prior = match previous {
            None => Prior::default(),
            Some((_, remembered)) => remembered?.prior(),
        };
        row.case.balances = self.balances(nth);
        row.seq = remembered.upto_seq;
        row.paid_amount = previous.and_then(|(_, remembered)| remembered?.paid_amount());
        row.journal_no = previous.and_then(|(entry, _)| entry).map_or(0, |entry| entry.entry_no);
        row.journal_hash = previous.and_then(|(entry, _)| entry).map(|entry| entry.hash.clone());
        Some(row)
    }

    /// What the entries before this one have posted.
    pub(super) fn balances(&self, nth: usize) -> BTreeMap<LedgerAccount, i64> {
        let mut balances = BTreeMap::new();
        for (account, sen) in self.chain.entries.iter().take(nth).flat_map(|entry| &entry.postings) {
            if let Some(account) = LedgerAccount::from_word(account) {
                let balance: &mut i64 = balances.entry(account).or_insert(0);
                *balance = balance.saturating_add(sen.sen());
            }
        }
        balances.retain(|_, sen| *sen != 0);
        balances
    }

    /// Takes back what was heard, changed and known after a place in the sequence and a time.
    pub(super) fn rewind(&self, case: &mut Case, seq: i32, at: DateTime<Utc>) {
        let status = case.order_status_before(seq.saturating_add(1));
        case.order.order_status = status;
        case.cut_to(seq);
        // The last change first, so that the oldest value stands in the end.
        for replaced in self.replaced.iter().rev().filter(|replaced| replaced.seq > seq) {
            put_back(&mut case.order, replaced);
        }
        case.outages.retain(|outage| outage.from <= at);
        for outage in &mut case.outages {
            *outage = Outage { until: outage.until.filter(|until| *until <= at), ..*outage };
        }
    }
}

/// A column that a change set was empty before; a validity that it moved was what it says.
fn put_back(order: &mut Order, replaced: &Replaced) {
    let had = |name: &str| replaced.was.get(name);
    if had("reference_no").is_some() {
        order.reference_no = None;
    }
    if had("external_id").is_some() {
        order.external_id = None;
    }
    if had("qr_content").is_some() {
        order.tip = None;
    }
    if let Some(was) = had("expires_at") {
        order.expires_at = was.as_i64().and_then(DateTime::from_timestamp_micros);
    }
}

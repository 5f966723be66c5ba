//! The hash chain of a row's journal: each entry's hash covers its own content and the hash before it, so that one
//! changed byte in the past is found and named. One chain per transaction, so that writers do not queue.

use sha2::{Digest, Sha256};

use crate::domain::{
    fact::{Answer, Fact},
    order::OrderChange,
    resolution::Resolution,
};

/// The 32 bytes of a link.
pub type Link = [u8; 32];

/// What stands before the first entry of a chain.
pub const GENESIS: Link = [0; 32];

/// The hash of an entry: over the previous link and the entry's canonical text (as stored in `journal.content`).
pub fn link(previous: &Link, content: &str) -> Link {
    let mut digest = Sha256::new();
    digest.update(previous);
    digest.update(content.as_bytes());
    digest.finalize().into()
}

/// SHA-256 of a text as it is stored.
pub fn sha256(text: &[u8]) -> Link {
    Sha256::digest(text).into()
}

/// The hash of a document such as a profile or a policy in its canonical JSON; short enough to read aloud.
pub fn fingerprint(canonical: &str) -> String {
    hex::encode(Sha256::digest(canonical.as_bytes())).chars().take(16).collect()
}

/// The hash of what a decision had seen: every fact, order change and resolution, by sequence. A journal entry names it, so that a
/// changed fact is found by the chain. Times count in microseconds, as the database keeps them; sightings are not in it,
/// because they go on changing.
pub fn evidence(facts: &[Fact], changes: &[OrderChange], resolutions: &[Resolution]) -> String {
    evidence_of(evidence_lines(facts, changes, resolutions).iter().map(|line| line.text.as_str()))
}

/// The text of one fact, change or resolution as [`evidence`] hashes it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct EvidenceLine {
    /// Place in the row's sequence.
    pub seq: i32,
    /// What is hashed.
    pub text: String,
}

/// The lines that [`evidence`] hashes, in its order: facts first, then changes, then resolutions.
pub fn evidence_lines(facts: &[Fact], changes: &[OrderChange], resolutions: &[Resolution]) -> Vec<EvidenceLine> {
    let fact_line = |fact: &Fact| {
        let text = fact_text(fact);
        EvidenceLine { seq: fact.seq, text: format!("{}{text}", text.len()) }
    };
    let change_line = |change: &OrderChange| {
        let (from, to) = (change.from.as_str(), change.to.as_str());
        let text = format!("{}:{}:{from}:{to};", change.seq, change.at.timestamp_micros());
        EvidenceLine { seq: change.seq, text }
    };
    let resolution_line = |resolution: &Resolution| {
        let parts = (resolution.seq, resolution.at.timestamp_micros(), resolution.kind, &resolution.about);
        let words = (&resolution.made_by, &resolution.confirmed_by, &resolution.reason);
        let text = serde_json::to_string(&(parts, words)).unwrap_or_default();
        EvidenceLine { seq: resolution.seq, text: format!("{}{text}", text.len()) }
    };
    let changes = changes.iter().map(change_line);
    facts.iter().map(fact_line).chain(changes).chain(resolutions.iter().map(resolution_line)).collect()
}

/// Every field of an answer by name, so that a new one cannot be left out unseen.
fn fact_text(fact: &Fact) -> String {
    let Answer {
        observation,
        echo,
        response_code,
        latest_transaction_status,
        amount,
        currency,
        fee_amount,
        payment_id,
        approval_code,
        paid_time,
        paid_time_raw,
        warnings,
        doubt,
    } = &*fact.answer;
    let place = (fact.seq, fact.source, fact.bad_weather);
    let times = (fact.sent_at.timestamp_micros(), fact.answered_at.timestamp_micros());
    let said = (observation, echo, response_code, latest_transaction_status, warnings, doubt);
    let money = (amount, currency, fee_amount, payment_id, approval_code);
    let paid = (paid_time.map(|t| t.timestamp_micros()), paid_time_raw);
    serde_json::to_string(&(place, times, said, money, paid)).unwrap_or_default()
}

/// The hash over evidence lines, hex.
pub fn evidence_of<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let mut digest = Sha256::new();
    lines.for_each(|line| digest.update(line.as_bytes()));
    hex::encode(digest.finalize())
}

/// A seal in the making: SHA-256 over the head of the seal before, its own number and day, and the last entry of each
/// chain that has moved since, by row id. Row ids and numbers as big-endian bytes.
#[derive(Debug, Clone)]
pub struct Seal {
    digest: Sha256,
    chains: i64,
}

impl Seal {
    /// Begins the seal of a day upon the one before ([`GENESIS`] under the first).
    pub fn begin(prev_head: &[u8], no: i32, day: chrono::NaiveDate) -> Self {
        let mut digest = Sha256::new();
        digest.update(prev_head);
        digest.update(no.to_be_bytes());
        digest.update(day.to_string().as_bytes());
        Self { digest, chains: 0 }
    }

    /// Adds a chain's last entry; the caller keeps to ascending row ids.
    pub fn add(&mut self, transaction_id: i64, entry_no: i32, hash: &[u8]) {
        self.digest.update(transaction_id.to_be_bytes());
        self.digest.update(entry_no.to_be_bytes());
        self.digest.update(hash);
        self.chains = self.chains.saturating_add(1);
    }

    /// How many chains there were, and the seal's head.
    pub fn finish(self) -> (i64, Link) {
        (self.chains, self.digest.finalize().into())
    }
}

/// One hash over the last links of many chains: SHA-256 over (row id as eight bytes, last hash) by row id: the head that a
/// report names.
#[derive(Debug, Clone, Default)]
pub struct Heads {
    digest: Sha256,
    chains: i64,
}

impl Heads {
    /// No chains yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a chain; the caller keeps to ascending ids.
    pub fn add(&mut self, id: i64, hash: &[u8]) {
        self.digest.update(id.to_be_bytes());
        self.digest.update(hash);
        self.chains = self.chains.saturating_add(1);
    }

    /// How many there were, and their hash.
    pub fn finish(self) -> (i64, Link) {
        (self.chains, self.digest.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_changes_every_later_link() {
        let first = link(&GENESIS, "a");
        assert_ne!(link(&first, "b"), link(&link(&GENESIS, "A"), "b"));
        assert_eq!(link(&first, "b"), link(&link(&GENESIS, "a"), "b"));
    }

    #[test]
    fn a_seal_is_another_one_upon_another_seal_on_another_day_and_over_another_chain() {
        let day: chrono::NaiveDate = "2026-11-19".parse().unwrap();
        let seal = |prev: &Link, no, day, id, entry_no, hash: &Link| {
            let mut seal = Seal::begin(prev, no, day);
            seal.add(id, entry_no, hash);
            seal.finish()
        };
        let first = seal(&GENESIS, 1, day, 7, 3, &GENESIS);
        assert_eq!(first.0, 1);
        for other in [
            seal(&first.1, 1, day, 7, 3, &GENESIS),
            seal(&GENESIS, 2, day, 7, 3, &GENESIS),
            seal(&GENESIS, 1, day.succ_opt().unwrap(), 7, 3, &GENESIS),
            seal(&GENESIS, 1, day, 8, 3, &GENESIS),
            seal(&GENESIS, 1, day, 7, 2, &GENESIS),
            seal(&GENESIS, 1, day, 7, 3, &first.1),
        ] {
            assert_ne!(first, other);
        }
    }
}

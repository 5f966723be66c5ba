//! The hash chain of a row's journal: each entry's hash covers its own content and the hash before it, so that one
//! changed byte in the past is found and named. One chain per transaction, so that writers do not queue.

use sha2::{Digest, Sha256};

use crate::domain::{
    fact::{Answer, Fact},
    order::OrderChange,
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

/// The hash of a document such as a profile or a policy in its canonical JSON; short enough to read aloud.
pub fn fingerprint(canonical: &str) -> String {
    hex::encode(Sha256::digest(canonical.as_bytes())).chars().take(16).collect()
}

/// The hash of what a decision had seen: every fact and order change, by sequence. A journal entry names it, so that a
/// changed fact is found by the chain. Times count in microseconds, as the database keeps them; sightings are not in it,
/// because they go on changing.
pub fn evidence(facts: &[Fact], changes: &[OrderChange]) -> String {
    let mut digest = Sha256::new();
    let mut text = Vec::with_capacity(512);
    for fact in facts {
        text.clear();
        // Writing JSON into memory cannot fail.
        drop(write_evidence(&mut text, fact));
        digest.update(text.len().to_string().as_bytes());
        digest.update(&text);
    }
    for change in changes {
        let text =
            format!("{}:{}:{}:{};", change.seq, change.at.timestamp_micros(), change.from.as_str(), change.to.as_str());
        digest.update(text.as_bytes());
    }
    hex::encode(digest.finalize())
}

/// Every field of an answer by name, so that a new one cannot be left out unseen.
fn write_evidence(text: &mut Vec<u8>, fact: &Fact) -> serde_json::Result<()> {
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
    serde_json::to_writer(text, &(place, times, said, money, paid))
}

/// One hash over the last links of many chains: SHA-256 over (row id as eight bytes, last hash) by row id. The daily seal
/// and the head that a report names are made by it.
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
}

//! Makes every seal again while the chains go by in the order of their ids: one running hash a seal, whatever the number of
//! chains.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::{
    domain::chain::{GENESIS, Seal},
    engine::verify::record::ChainRecord,
    store::seals::StoredSeal,
};

/// A seal as it is stored; hashes in hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SealRecord {
    pub(super) no: i32,
    pub(super) day: NaiveDate,
    pub(super) chains: i64,
    pub(super) prev_head: String,
    pub(super) head: String,
}

impl From<StoredSeal> for SealRecord {
    fn from(seal: StoredSeal) -> Self {
        let StoredSeal { no, day, chains, prev_head, head, .. } = seal;
        Self { no, day, chains, prev_head: hex::encode(prev_head), head: hex::encode(head) }
    }
}

/// The seals, each being made again.
#[derive(Debug, Default)]
pub(super) struct Seals(BTreeMap<i32, (SealRecord, Seal)>);

impl Seals {
    /// Begins a seal again.
    pub(super) fn begin(&mut self, record: SealRecord) {
        let prev_head = hex::decode(&record.prev_head).unwrap_or_default();
        let seal = Seal::begin(&prev_head, record.no, record.day);
        self.0.insert(record.no, (record, seal));
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Adds what the seals cover of a chain; says what of it is no longer as it was sealed.
    pub(super) fn add(&mut self, chain: &ChainRecord) -> Vec<(Option<i32>, String)> {
        let mut found = Vec::new();
        for sealed in &chain.sealed {
            let Some((record, seal)) = self.0.get_mut(&sealed.seal_no) else {
                found.push((
                    Some(sealed.entry_no),
                    format!("it was sealed by seal {}, which is missing", sealed.seal_no),
                ));
                continue;
            };
            let entry = chain.entries.iter().find(|entry| entry.entry_no == sealed.entry_no);
            let day = record.day;
            match entry {
                None => {
                    let what =
                        format!("the seal of {day} covers this entry, and it is gone: the chain's tail was cut off");
                    found.push((Some(sealed.entry_no), what));
                }
                Some(entry) if entry.hash != sealed.hash => {
                    found.push((
                        Some(sealed.entry_no),
                        format!("the seal of {day} covers it with another hash: it was rewritten"),
                    ));
                }
                Some(_) => {}
            }
            let hash = entry.and_then(|entry| hex::decode(&entry.hash).ok()).unwrap_or_default();
            seal.add(chain.id, sealed.entry_no, &hash);
        }
        found
    }

    /// What is wrong with the seals themselves, first to last.
    pub(super) fn finish(self) -> Vec<(NaiveDate, String)> {
        let (mut found, mut before) = (Vec::new(), hex::encode(GENESIS));
        for (expected_no, (record, seal)) in (1_i32..).zip(self.0.into_values()) {
            let (chains, head) = seal.finish();
            let mut say = |what: String| found.push((record.day, what));
            if record.no != expected_no {
                say(format!("seal {} stands in the place of seal {expected_no}: one is missing", record.no));
            }
            if record.prev_head != before {
                say("it does not stand upon the seal before it".to_owned());
            }
            if record.chains != chains {
                say(format!("it covers {} chains, and {chains} are there", record.chains));
            }
            if record.head != hex::encode(head) {
                say("its chains do not give its hash: a chain, what it covers, or the seal itself was changed"
                    .to_owned());
            }
            before.clone_from(&record.head);
        }
        found
    }
}

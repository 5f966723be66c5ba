//! A row and its chain as a document: read from the database or from an export, judged alike.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    domain::{
        chain::{self, EvidenceLine},
        money::Sen,
        refund::{Refund, RefundState},
    },
    engine::decisions::content::ContentRefund,
    store::verify::{Chain, HashedText, StoredEntry},
};

/// A row and its chain.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChainRecord {
    pub(super) id: i64,
    pub(super) account: String,
    pub(super) partner_reference_no: String,
    pub(super) row: RowRecord,
    pub(super) facts: Vec<TextRecord>,
    pub(super) changes: Vec<TextRecord>,
    pub(super) evidence: Vec<EvidenceLine>,
    pub(super) refunds: Vec<Value>,
    pub(super) entries: Vec<EntryRecord>,
    pub(super) sealed: Vec<SealedRecord>,
    pub(super) stray_postings: usize,
}

/// The row as it stands. Amounts in rupiah, hashes in hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RowRecord {
    pub(super) state: String,
    pub(super) flags_open: Vec<String>,
    pub(super) amount: String,
    pub(super) paid_amount: Option<String>,
    pub(super) refund_reserved: String,
    pub(super) refunded_amount: String,
    /// What its refunds add up to: in flight, and confirmed.
    pub(super) refunds_say: (String, String),
    pub(super) seq: i32,
    pub(super) journal_no: i32,
    pub(super) journal_hash: Option<String>,
}

/// A fact or an order change as it is hashed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TextRecord {
    pub(super) seq: i32,
    pub(super) text: String,
    pub(super) hash: String,
}

/// A journal entry.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EntryRecord {
    pub(super) entry_no: i32,
    pub(super) at_micros: i64,
    pub(super) upto_seq: i32,
    pub(super) kind: String,
    pub(super) state: String,
    pub(super) content: String,
    pub(super) prev_hash: String,
    pub(super) hash: String,
    pub(super) postings: Vec<(String, String)>,
}

/// What a seal covers of the chain.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SealedRecord {
    pub(super) entry_no: i32,
    pub(super) seal_no: i32,
    pub(super) hash: String,
}

impl From<Chain> for ChainRecord {
    fn from(chain: Chain) -> Self {
        let case = &chain.row.case;
        Self {
            id: case.order.id,
            account: case.order.account.clone(),
            partner_reference_no: case.order.partner_reference_no.clone(),
            row: row(&chain),
            evidence: chain::evidence_lines(&case.facts, &case.changes, &case.resolutions),
            refunds: case.refunds.iter().map(refund).collect(),
            facts: chain.facts.into_iter().map(TextRecord::from).collect(),
            changes: chain.changes.into_iter().map(TextRecord::from).collect(),
            entries: chain.entries.into_iter().map(EntryRecord::from).collect(),
            sealed: chain
                .sealed
                .into_iter()
                .map(|s| SealedRecord { entry_no: s.entry_no, seal_no: s.seal_no, hash: hex::encode(s.hash) })
                .collect(),
            stray_postings: chain.stray_postings,
        }
    }
}

fn row(chain: &Chain) -> RowRecord {
    let (row, case) = (&chain.row, &chain.row.case);
    let sum = |keep: fn(RefundState) -> bool| {
        let kept = case.refunds.iter().filter(|r| keep(r.state));
        kept.fold(Sen::ZERO, |sum, r| sum.plus(r.amount)).to_string()
    };
    let mut flags_open: Vec<String> = case.prior.flags.open.iter().map(|f| f.as_str().to_owned()).collect();
    flags_open.sort_unstable();
    RowRecord {
        state: case.prior.state.as_str().to_owned(),
        flags_open,
        amount: case.order.amount.to_string(),
        paid_amount: row.paid_amount.map(|amount| amount.to_string()),
        refund_reserved: row.refund_reserved.to_string(),
        refunded_amount: row.refunded_amount.to_string(),
        refunds_say: (sum(RefundState::holds_reservation), sum(|state| state == RefundState::Confirmed)),
        seq: row.seq,
        journal_no: row.journal_no,
        journal_hash: row.journal_hash.as_ref().map(hex::encode),
    }
}

/// A refund as a journal entry writes it.
fn refund(refund: &Refund) -> Value {
    serde_json::to_value(ContentRefund::from(refund)).unwrap_or_default()
}

impl From<HashedText> for TextRecord {
    fn from(text: HashedText) -> Self {
        Self { seq: text.seq, text: text.text, hash: hex::encode(text.hash) }
    }
}

impl From<StoredEntry> for EntryRecord {
    fn from(entry: StoredEntry) -> Self {
        Self {
            entry_no: entry.entry_no,
            at_micros: entry.at.timestamp_micros(),
            upto_seq: entry.upto_seq,
            kind: entry.kind,
            state: entry.state,
            content: entry.content,
            prev_hash: hex::encode(entry.prev_hash),
            hash: hex::encode(entry.hash),
            postings: entry.postings.into_iter().map(|(account, sen)| (account, sen.to_string())).collect(),
        }
    }
}

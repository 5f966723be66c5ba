//! Judges one chain: every link, every entry against its columns, postings and evidence, the row against its last entry.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    domain::chain::{self, Link},
    engine::verify::record::{ChainRecord, EntryRecord, TextRecord},
};

/// A break of a chain: the entry, where it is about one, and what differs.
pub(super) type Found = (Option<i32>, String);

/// The breaks of one chain, first to last.
pub(super) fn breaks_of(chain: &ChainRecord) -> Vec<Found> {
    let mut found = Vec::new();
    texts(&chain.facts, "fact", &mut found);
    texts(&chain.changes, "order change", &mut found);
    sequence(chain, &mut found);
    let mut previous: Link = chain::GENESIS;
    for (expected_no, entry) in (1_i32..).zip(&chain.entries) {
        let mut say = |what: &str| found.push((Some(entry.entry_no), what.to_owned()));
        if entry.entry_no != expected_no {
            say("an entry before it is missing");
        }
        if entry.prev_hash != hex::encode(previous) {
            say("it does not link to the entry before it");
        }
        if entry.hash != hex::encode(chain::link(&previous, &entry.content)) {
            say("its content does not give its hash: it was changed");
        }
        previous = hex::decode(&entry.hash).ok().and_then(|h| h.try_into().ok()).unwrap_or(chain::GENESIS);
        match serde_json::from_str::<Value>(&entry.content) {
            Ok(content) => compare_entry(chain, entry, &content, &mut say),
            Err(_) => say("its content is no JSON"),
        }
    }
    if chain.stray_postings > 0 {
        found.push((None, format!("{} postings belong to no entry", chain.stray_postings)));
    }
    compare_row(chain, &mut found);
    found
}

/// Every fact and change gives the hash that was stored with it.
fn texts(texts: &[TextRecord], what: &str, found: &mut Vec<Found>) {
    let changed = texts.iter().filter(|t| t.hash != hex::encode(Sha256::digest(t.text.as_bytes())));
    found.extend(changed.map(|t| (None, format!("{what} #{} does not give its hash: it was changed", t.seq))));
}

/// Facts and changes share one sequence without gaps, up to the row's.
fn sequence(chain: &ChainRecord, found: &mut Vec<Found>) {
    let mut numbers: Vec<i32> = chain.evidence.iter().map(|line| line.seq).collect();
    numbers.sort_unstable();
    if !numbers.iter().copied().eq(1..=chain.row.seq) {
        let what = format!("its facts and order changes are not numbered from 1 to {}: one is missing", chain.row.seq);
        found.push((None, what));
    }
}

fn word<'a>(content: &'a Value, key: &str) -> &'a str {
    content.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn compare_entry(chain: &ChainRecord, entry: &EntryRecord, content: &Value, say: &mut impl FnMut(&str)) {
    let upto = content.get("upto_seq").and_then(Value::as_i64);
    let at = word(content, "at").parse::<DateTime<Utc>>().map(|at| at.timestamp_micros()).ok();
    if word(content, "state") != entry.state
        || word(content, "kind") != entry.kind
        || upto != Some(i64::from(entry.upto_seq))
        || at != Some(entry.at_micros)
    {
        say("its columns differ from its content");
    }
    if word(content, "account") != chain.account
        || word(content, "partner_reference_no") != chain.partner_reference_no
        || word(content, "amount") != chain.row.amount
    {
        say("it is about another payment, or about another amount");
    }
    let lines = content.get("postings").and_then(Value::as_array);
    let lines: Vec<(&str, &str)> =
        lines.into_iter().flatten().map(|line| (word(line, "account"), word(line, "amount"))).collect();
    if !lines.into_iter().eq(entry.postings.iter().map(|(account, amount)| (account.as_str(), amount.as_str()))) {
        say("its postings differ from its content");
    }
    let seen = chain.evidence.iter().filter(|line| line.seq <= entry.upto_seq);
    if word(content, "evidence") != chain::evidence_of(seen.map(|line| line.text.as_str())) {
        say("a fact, an order change or a resolution that it had seen was changed");
    }
}

/// The row and its refunds must stand as the last entry left them.
fn compare_row(chain: &ChainRecord, found: &mut Vec<Found>) {
    let row = &chain.row;
    let last = chain.entries.last();
    if row.journal_no != last.map_or(0, |e| e.entry_no) || row.journal_hash.as_ref() != last.map(|e| &e.hash) {
        found.push((None, "the row's journal head is not its last entry".into()));
    }
    if (&row.refund_reserved, &row.refunded_amount) != (&row.refunds_say.0, &row.refunds_say.1) {
        found.push((None, "the row's reserved and refunded amounts are not the sums of its refunds".into()));
    }
    let Some(content) = last.and_then(|e| serde_json::from_str::<Value>(&e.content).ok()) else {
        if row.state != "pending" || row.paid_amount.is_some() || !chain.refunds.is_empty() {
            found.push((None, "the row is not as it was born, and no entry says why".into()));
        }
        return;
    };
    let flags = content.get("flags").and_then(Value::as_array);
    let flags = flags.into_iter().flatten().filter_map(Value::as_str);
    if word(&content, "state") != row.state
        || word(&content, "paid_amount") != row.paid_amount.as_deref().unwrap_or_default()
        || !flags.eq(row.flags_open.iter().map(String::as_str))
    {
        found.push((None, "the row's state, flags or paid amount are not what its last entry says".into()));
    }
    let written = content.get("refunds").and_then(Value::as_array);
    if !written.into_iter().flatten().eq(&chain.refunds) {
        found.push((None, "a refund is not what the row's last entry says".into()));
    }
}

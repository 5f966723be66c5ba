//! Proves the ledger from what is stored: every chain links, every entry says what its columns, postings, facts and
//! refunds say, every row stands as its last entry left it. Names what does not, row by row, the first break first.

use serde::Serialize;
use serde_json::Value;

use crate::{
    domain::{
        chain::{self, Link},
        money::Sen,
    },
    engine::EngineError,
    store::{
        Store, StoreError, Tx,
        verify::{self, Chain, StoredEntry},
    },
};

/// Rows read at once.
const PAGE: i64 = 500;
/// Bodies proved at once, so that no statement's time depends on how many there are.
const BODIES: i64 = 2_000;
/// Breaks that are listed; all are counted.
pub const MOST_LISTED: usize = 100;

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Break {
    /// The account.
    pub account: String,
    /// The payment.
    pub partner_reference_no: String,
    /// The journal entry; `None` where the row itself differs.
    pub entry_no: Option<i32>,
    /// What differs, one sentence.
    pub what: String,
}

/// The outcome of a proof.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[must_use = "an unread proof proves nothing"]
pub struct Proof {
    /// Rows looked at.
    pub rows: u64,
    /// Journal entries looked at.
    pub entries: u64,
    /// Breaks found.
    pub broken: u64,
    /// The first of them.
    pub breaks: Vec<Break>,
}

/// Proves every chain. One moment of the database, page by page.
pub async fn verify(store: &Store, mut seen: impl FnMut(&Proof)) -> Result<Proof, EngineError> {
    let mut tx = store.begin_reading().await?;
    let mut proof = Proof::default();
    let mut behind = 0;
    loop {
        let chains = verify::page(&mut tx, behind, PAGE).await?;
        let Some(last) = chains.last() else { break };
        behind = last.row.case.order.id;
        for one in &chains {
            proof.rows = proof.rows.saturating_add(1);
            proof.entries = proof.entries.saturating_add(u64::try_from(one.entries.len()).unwrap_or(0));
            for (entry_no, what) in breaks_of(one) {
                proof.note(one, entry_no, what);
            }
        }
        seen(&proof);
    }
    let bodies = broken_bodies(&mut tx).await?;
    if bodies > 0 {
        proof.broken = proof.broken.saturating_add(bodies);
        let what = format!("{bodies} stored bodies do not match their hash");
        proof.breaks.push(Break { account: String::new(), partner_reference_no: String::new(), entry_no: None, what });
    }
    tx.commit().await.map_err(StoreError::from)?;
    Ok(proof)
}

/// How many stored bodies do not match their hash.
async fn broken_bodies(tx: &mut Tx) -> Result<u64, StoreError> {
    let (mut broken, mut behind) = (0_u64, Vec::new());
    while let Some(page) = verify::bodies(tx, &behind, BODIES).await? {
        broken = broken.saturating_add(page.broken);
        behind = page.last;
    }
    Ok(broken)
}

impl Proof {
    fn note(&mut self, chain: &Chain, entry_no: Option<i32>, what: String) {
        self.broken = self.broken.saturating_add(1);
        if self.breaks.len() < MOST_LISTED {
            let order = &chain.row.case.order;
            self.breaks.push(Break {
                account: order.account.clone(),
                partner_reference_no: order.partner_reference_no.clone(),
                entry_no,
                what,
            });
        }
    }
}

/// The breaks of one chain, first to last.
fn breaks_of(chain: &Chain) -> Vec<(Option<i32>, String)> {
    let mut found = Vec::new();
    let mut previous: Link = chain::GENESIS;
    for (expected_no, entry) in (1_i32..).zip(&chain.entries) {
        let mut say = |what: &str| found.push((Some(entry.entry_no), what.to_owned()));
        if entry.entry_no != expected_no {
            say("an entry before it is missing");
        }
        if entry.prev_hash != previous {
            say("it does not link to the entry before it");
        }
        if entry.hash != chain::link(&previous, &entry.content) {
            say("its content does not give its hash: it was changed");
        }
        previous = entry.hash.as_slice().try_into().unwrap_or(chain::GENESIS);
        match serde_json::from_str::<Value>(&entry.content) {
            Ok(content) => compare_entry(chain, entry, &content, &mut say),
            Err(_) => say("its content is no JSON"),
        }
    }
    compare_row(chain, &mut found);
    found
}

fn word<'a>(content: &'a Value, key: &str) -> &'a str {
    content.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn compare_entry(chain: &Chain, entry: &StoredEntry, content: &Value, say: &mut impl FnMut(&str)) {
    let upto = content.get("upto_seq").and_then(Value::as_i64);
    if word(content, "state") != entry.state
        || word(content, "kind") != entry.kind
        || upto != Some(i64::from(entry.upto_seq))
    {
        say("its columns differ from its content");
    }
    let lines: Vec<(String, String)> = content
        .get("postings")
        .and_then(Value::as_array)
        .map(|lines| lines.iter().map(|l| (word(l, "account").to_owned(), word(l, "amount").to_owned())).collect())
        .unwrap_or_default();
    let stored: Vec<(String, String)> =
        entry.postings.iter().map(|(account, sen)| (account.clone(), sen.to_string())).collect();
    if lines != stored {
        say("its postings differ from its content");
    }
    let facts: Vec<_> = chain.row.case.facts.iter().filter(|f| f.seq <= entry.upto_seq).cloned().collect();
    let changes: Vec<_> = chain.row.case.changes.iter().filter(|c| c.seq <= entry.upto_seq).cloned().collect();
    let case = &chain.row.case;
    let resolutions: Vec<_> = case.resolutions.iter().filter(|r| r.seq <= entry.upto_seq).cloned().collect();
    if word(content, "evidence") != chain::evidence(&facts, &changes, &resolutions) {
        say("a fact, an order change or a resolution that it had seen was changed");
    }
}

/// The row and its refunds must stand as the last entry left them.
fn compare_row(chain: &Chain, found: &mut Vec<(Option<i32>, String)>) {
    let row = &chain.row;
    let last = chain.entries.last();
    if row.journal_no != last.map_or(0, |e| e.entry_no)
        || row.journal_hash.as_deref() != last.map(|e| e.hash.as_slice())
    {
        found.push((None, "the row's journal head is not its last entry".into()));
    }
    let Some(content) = last.and_then(|e| serde_json::from_str::<Value>(&e.content).ok()) else { return };
    if word(&content, "state") != row.case.prior.state.as_str()
        || word(&content, "paid_amount") != amount(row.paid_amount)
    {
        found.push((None, "the row's state or paid amount is not what its last entry says".into()));
    }
    let stored: Vec<Value> = row
        .case
        .refunds
        .iter()
        .map(|r| {
            serde_json::json!({"cause": r.cause.as_str(), "amount": r.amount.to_string(), "state": r.state.as_str(),
                               "content_hash": r.content_hash, "approved_by": r.approved_by, "proposed_by": r.proposed_by, "why": r.why,
                               "denied_by": r.denied_by})
        })
        .collect();
    let written: Vec<Value> = content
        .get("refunds")
        .and_then(Value::as_array)
        .map(|refunds| {
            let keys = ["cause", "amount", "state", "content_hash", "approved_by", "proposed_by", "why", "denied_by"];
            refunds.iter().map(|r| pick(r, &keys)).collect()
        })
        .unwrap_or_default();
    if stored != written {
        found.push((None, "a refund is not what the row's last entry says".into()));
    }
}

fn amount(sen: Option<Sen>) -> String {
    sen.map(|s| s.to_string()).unwrap_or_default()
}

fn pick(value: &Value, keys: &[&str]) -> Value {
    keys.iter().map(|key| ((*key).to_owned(), value.get(*key).cloned().unwrap_or(Value::Null))).collect()
}

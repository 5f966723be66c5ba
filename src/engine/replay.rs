//! Decides a day again from what is stored: for every journal entry of the day the case is put together as it stood then, the
//! same pure function decides at the entry's own time under the entry's own terms, and what it says must be the entry, byte
//! for byte. Nothing is written and nobody is asked. With another policy it tells what would have happened (`what_if`).

mod past;
mod what_if;

use std::collections::HashMap;

use serde::Serialize;
use serde_json::Value;

pub use what_if::{CauseDiff, LedgerDiff, RowDiff, WhatIf};

use crate::{
    domain::{day::BusinessDay, policy::Policy, profile::Profile},
    engine::{EngineError, decisions::Written, replay::past::Past, rulebook::Rulebook},
    store::{
        Store, StoreError, Tx, replay,
        verify::{self, StoredEntry},
    },
};

/// Rows whose ids are read at once.
const IDS: i64 = 20_000;
/// Chains read at once.
const PAGE: usize = 500;
/// Differences that are listed; all are counted.
pub const MOST_LISTED: usize = 100;

/// An entry that the same rules would not write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The account.
    pub account: String,
    /// The payment.
    pub partner_reference_no: String,
    /// The entry.
    pub entry_no: i32,
    /// What differs: field, as stored, as decided again.
    pub what: Vec<(String, Value, Value)>,
}

/// A day decided again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[must_use = "an unread replay proves nothing"]
pub struct Replay {
    /// The WIB day.
    pub day: BusinessDay,
    /// Rows that were decided on it.
    pub rows: u64,
    /// Entries decided again.
    pub entries: u64,
    /// Entries that came out otherwise.
    pub different: u64,
    /// The first of them.
    pub differences: Vec<Difference>,
    /// What another policy would have done.
    pub what_if: Option<WhatIf>,
}

/// Decides a day again; under `other` terms too, where given.
pub async fn replay(
    store: &Store,
    day: BusinessDay,
    other: Option<&Rulebook>,
    mut seen: impl FnMut(&Replay),
) -> Result<Replay, EngineError> {
    let mut tx = store.begin_reading().await?;
    let mut replay = Replay {
        day,
        rows: 0,
        entries: 0,
        different: 0,
        differences: Vec::new(),
        what_if: other.map(|_| WhatIf::default()),
    };
    let (mut books, mut behind) = (Books::default(), 0);
    loop {
        let ids = replay::decided(&mut tx, (day.start(), day.end()), behind, IDS).await?;
        let Some(last) = ids.last() else { break };
        behind = *last;
        for page in ids.chunks(PAGE) {
            let mut replaced = replay::replaced(&mut tx, page).await?;
            for chain in verify::chains(&mut tx, page).await? {
                let replaced = replaced.remove(&chain.row.case.order.id).unwrap_or_default();
                let past = Past::new(chain, replaced);
                replay.rows = replay.rows.saturating_add(1);
                replay.row(&mut tx, &past, &mut books).await?;
                if let (Some(what_if), Some(other)) = (&mut replay.what_if, other) {
                    what_if.row(&past, other, day);
                }
            }
            seen(&replay);
        }
    }
    tx.commit().await.map_err(StoreError::from)?;
    Ok(replay)
}

impl Replay {
    /// Decides the day's entries of a row again.
    async fn row(&mut self, tx: &mut Tx, past: &Past, books: &mut Books) -> Result<(), EngineError> {
        for nth in (0..past.entries()).filter(|nth| past.at(*nth).is_some_and(|at| self.day.contains(at))) {
            self.entries = self.entries.saturating_add(1);
            let Some((entry, what)) = decide_again(tx, past, nth, books).await? else { continue };
            self.different = self.different.saturating_add(1);
            if self.differences.len() < MOST_LISTED {
                let order = past.order();
                self.differences.push(Difference {
                    account: order.account.clone(),
                    partner_reference_no: order.partner_reference_no.clone(),
                    entry_no: entry.entry_no,
                    what,
                });
            }
        }
        Ok(())
    }
}

type Fields = Vec<(String, Value, Value)>;

/// The entry and what of it comes out otherwise; `None` where nothing does.
async fn decide_again<'a>(
    tx: &mut Tx,
    past: &'a Past,
    nth: usize,
    books: &mut Books,
) -> Result<Option<(&'a StoredEntry, Fields)>, EngineError> {
    let Some(entry) = past.entry(nth) else { return Ok(None) };
    let cannot = |why: &str| Ok(Some((entry, vec![("(entry)".to_owned(), Value::from(why), Value::Null)])));
    let Some(remembered) = past.remembered(nth) else { return cannot("it cannot be read") };
    let account = &past.order().account;
    let Some(rulebook) = books.of(tx, account, &remembered.policy, &remembered.profile).await? else {
        return cannot("the policy or the profile that it names is not kept");
    };
    let Some(mut row) = past.before(nth) else { return cannot("what stood before it cannot be read") };
    let again = Written::again(&mut row, rulebook, remembered.at, &remembered.occasion());
    let text = again.map(|entry| entry.content).unwrap_or_default();
    Ok((text != entry.content).then(|| (entry, fields(&entry.content, &text))))
}

/// The fields in which two contents differ.
fn fields(stored: &str, again: &str) -> Fields {
    let read = |text: &str| serde_json::from_str::<serde_json::Map<String, Value>>(text).unwrap_or_default();
    let (stored, again) = (read(stored), read(again));
    let names: std::collections::BTreeSet<&String> = stored.keys().chain(again.keys()).collect();
    let of = |map: &serde_json::Map<String, Value>, name: &str| map.get(name).cloned().unwrap_or_default();
    names
        .into_iter()
        .filter(|name| stored.get(*name) != again.get(*name))
        .map(|name| (name.clone(), of(&stored, name), of(&again, name)))
        .collect()
}

/// The terms that entries name, as they were kept.
#[derive(Default)]
struct Books(HashMap<(String, String, String), Option<Rulebook>>);

impl Books {
    /// The rulebook under which an account was decided; `None` where it is not kept, or this version reads it otherwise.
    async fn of(
        &mut self,
        tx: &mut Tx,
        account: &str,
        policy: &str,
        profile: &str,
    ) -> Result<Option<&Rulebook>, EngineError> {
        let key = (account.to_owned(), policy.to_owned(), profile.to_owned());
        if !self.0.contains_key(&key) {
            let book = kept(tx, account, policy, profile).await?;
            self.0.insert(key.clone(), book);
        }
        Ok(self.0.get(&key).and_then(Option::as_ref))
    }
}

async fn kept(tx: &mut Tx, account: &str, policy: &str, profile: &str) -> Result<Option<Rulebook>, EngineError> {
    let body = replay::terms(tx, policy, "policy").await?;
    let Some(rules) = body.and_then(|body| serde_json::from_str::<Policy>(&body).ok()) else { return Ok(None) };
    let mut accounts = Vec::new();
    // A dash: the account was not configured.
    if profile != "-" {
        let body = replay::terms(tx, profile, "profile").await?;
        let Some(rules) = body.and_then(|body| serde_json::from_str::<Profile>(&body).ok()) else { return Ok(None) };
        accounts.push((account.to_owned(), rules));
    }
    let book = Rulebook::new(rules, accounts);
    Ok((book.policy_hash == policy && book.profile_hash(account) == profile).then_some(book))
}

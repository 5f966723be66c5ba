//! Proves the ledger from what is stored: every fact gives its hash, every chain links, every entry says what its columns,
//! postings, facts and refunds say, every row stands as its last entry left it, every seal is made again from the chains that
//! it covers. Names what does not, row by row, the first break first. The same judge reads an export, with no database.

mod export;
mod judge;
mod record;
mod seals;

use std::io::Write;

use chrono::NaiveDate;
use serde::Serialize;

pub use export::verify_export;

use crate::{
    engine::{
        EngineError,
        verify::{
            export::Export,
            record::ChainRecord,
            seals::{SealRecord, Seals},
        },
    },
    store::{
        self, Store, StoreError, Tx,
        verify::{self as stored, Chain, Totals},
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
    /// The day of the seal that differs.
    pub seal: Option<NaiveDate>,
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
    /// Seals made again.
    pub seals: u64,
    /// Bodies of answers that give their hash; none in an export.
    pub bodies: u64,
    /// Facts whose body was pruned: their own hash is proved, the provider's words can no longer be shown.
    pub facts_without_body: u64,
    /// Breaks found.
    pub broken: u64,
    /// The first of them.
    pub breaks: Vec<Break>,
}

/// Proves every chain and every seal. One moment of the database, page by page.
pub async fn verify(store: &Store, seen: impl FnMut(&Proof)) -> Result<Proof, EngineError> {
    prove(store, None, seen).await
}

/// The same, and writes what is proved to `out`, for a proof without the database.
pub async fn verify_to(
    store: &Store,
    out: &mut (dyn Write + Send),
    seen: impl FnMut(&Proof),
) -> Result<Proof, EngineError> {
    prove(store, Some(out), seen).await
}

async fn prove(
    store: &Store,
    export: Option<&mut (dyn Write + Send)>,
    mut seen: impl FnMut(&Proof),
) -> Result<Proof, EngineError> {
    let mut tx = store.begin_reading().await?;
    let mut prover = Prover::default();
    let at = store::now_in(&mut tx).await?;
    let mut export = export.map(|out| Export::begin(out, at)).transpose()?;
    for seal in store::seals::all(&mut tx).await? {
        let seal = SealRecord::from(seal);
        if let Some(export) = &mut export {
            export.seal(&seal)?;
        }
        prover.seals.begin(seal);
    }
    let (mut behind, mut read) = (0, Totals::default());
    loop {
        let ids = stored::page(&mut tx, behind, PAGE).await?;
        let Some(last) = ids.last() else { break };
        behind = *last;
        let bodiless = stored::facts_without_body(&mut tx, &ids).await?;
        prover.proof.facts_without_body = prover.proof.facts_without_body.saturating_add(bodiless);
        for chain in chains(&mut tx, &ids, &mut prover).await? {
            let chain = ChainRecord::from(chain);
            count(&mut read, &chain);
            prover.chain(&chain);
            if let Some(export) = &mut export {
                export.chain(chain)?;
            }
        }
        seen(&prover.proof);
    }
    if let Some(export) = export {
        export.end(&prover.proof)?;
    }
    for (what, there, seen) in ownerless(stored::totals(&mut tx).await?, read) {
        prover.say(format!("{} {what} belong to no payment", there.saturating_sub(seen)));
    }
    let (bodies, broken) = bodies(&mut tx).await?;
    prover.proof.bodies = bodies.saturating_sub(broken);
    if broken > 0 {
        prover.say(format!("{broken} stored bodies do not match their hash"));
        prover.proof.broken = prover.proof.broken.saturating_add(broken.saturating_sub(1));
    }
    tx.commit().await.map_err(StoreError::from)?;
    Ok(prover.finish())
}

/// The chains of these rows. One that cannot be read is a break and not the end of the proof.
async fn chains(tx: &mut Tx, ids: &[i64], prover: &mut Prover) -> Result<Vec<Chain>, StoreError> {
    match stored::chains(tx, ids).await {
        Err(StoreError::Inconsistent { .. }) => {}
        read => return read,
    }
    let mut readable = Vec::new();
    for id in ids {
        match stored::chains(tx, &[*id]).await {
            Ok(chain) => readable.extend(chain),
            Err(error @ StoreError::Inconsistent { .. }) => {
                let (account, partner_reference_no) = stored::name(tx, *id).await?;
                let what = format!("it cannot be read: {error}");
                prover.note(Break { account, partner_reference_no, entry_no: None, seal: None, what });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(readable)
}

/// Adds what hangs on a row.
fn count(read: &mut Totals, chain: &ChainRecord) {
    let add = |sum: &mut i64, n: usize| *sum = sum.saturating_add(i64::try_from(n).unwrap_or(i64::MAX));
    add(&mut read.facts, chain.facts.len());
    add(&mut read.changes, chain.changes.len());
    add(&mut read.entries, chain.entries.len());
    add(&mut read.postings, chain.entries.iter().map(|e| e.postings.len()).sum::<usize>());
    add(&mut read.postings, chain.stray_postings);
    add(&mut read.refunds, chain.refunds.len());
    add(&mut read.sealed, chain.sealed.len());
}

/// What there is more of than hangs on rows: whoever cut a row out left it behind.
fn ownerless(there: Totals, read: Totals) -> impl Iterator<Item = (&'static str, i64, i64)> {
    [
        ("facts", there.facts, read.facts),
        ("order changes", there.changes, read.changes),
        ("journal entries", there.entries, read.entries),
        ("postings", there.postings, read.postings),
        ("refunds", there.refunds, read.refunds),
        ("sealed entries", there.sealed, read.sealed),
    ]
    .into_iter()
    .filter(|(_, there, read)| there != read)
}

/// How many stored bodies there are, and how many of them do not match their hash.
async fn bodies(tx: &mut Tx) -> Result<(u64, u64), StoreError> {
    let (mut all, mut broken, mut behind) = (0_u64, 0_u64, Vec::new());
    while let Some(page) = stored::bodies(tx, &behind, BODIES).await? {
        all = all.saturating_add(page.bodies);
        broken = broken.saturating_add(page.broken);
        behind = page.last;
    }
    Ok((all, broken))
}

/// A proof in the making: chains come one by one, by id.
#[derive(Default)]
struct Prover {
    proof: Proof,
    seals: Seals,
}

impl Prover {
    /// Judges the next chain.
    fn chain(&mut self, chain: &ChainRecord) {
        self.proof.rows = self.proof.rows.saturating_add(1);
        self.proof.entries = self.proof.entries.saturating_add(u64::try_from(chain.entries.len()).unwrap_or(0));
        let mut found = judge::breaks_of(chain);
        found.extend(self.seals.add(chain));
        for (entry_no, what) in found {
            self.note(Break {
                account: chain.account.clone(),
                partner_reference_no: chain.partner_reference_no.clone(),
                entry_no,
                seal: None,
                what,
            });
        }
    }

    /// Says what is about no payment.
    fn say(&mut self, what: String) {
        let (account, partner_reference_no) = (String::new(), String::new());
        self.note(Break { account, partner_reference_no, entry_no: None, seal: None, what });
    }

    fn note(&mut self, found: Break) {
        self.proof.broken = self.proof.broken.saturating_add(1);
        if self.proof.breaks.len() < MOST_LISTED {
            self.proof.breaks.push(found);
        }
    }

    /// Judges the seals.
    fn finish(mut self) -> Proof {
        self.proof.seals = u64::try_from(self.seals.count()).unwrap_or(0);
        for (day, what) in std::mem::take(&mut self.seals).finish() {
            let (account, partner_reference_no) = (String::new(), String::new());
            self.note(Break { account, partner_reference_no, entry_no: None, seal: Some(day), what });
        }
        self.proof
    }
}

//! Reads chains for a proof: pages of rows with their whole journal, postings, seals and hashed texts, bodies that no longer
//! match their hash, and how much there is of everything. Nothing is judged here.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::Row;

use crate::{
    domain::money::Sen,
    store::{
        StoreError, Tx,
        cases::{self, Loaded},
        seals::{self, SealedEntry},
    },
};

/// A stored journal entry with its lines.
#[derive(Debug, Clone)]
pub struct StoredEntry {
    /// Its number.
    pub entry_no: i32,
    /// When it was decided.
    pub at: DateTime<Utc>,
    /// What it had seen.
    pub upto_seq: i32,
    /// Its kind.
    pub kind: String,
    /// Its state.
    pub state: String,
    /// Its content.
    pub content: String,
    /// The link before, as stored.
    pub prev_hash: Vec<u8>,
    /// Its link, as stored.
    pub hash: Vec<u8>,
    /// Its lines: account, debit minus credit.
    pub postings: Vec<(String, Sen)>,
}

/// A row and its chain.
#[derive(Debug, Clone)]
pub struct Chain {
    /// The row, as a decision would see it.
    pub row: Loaded,
    /// Its entries, by number.
    pub entries: Vec<StoredEntry>,
    /// Its facts as they are hashed, by sequence.
    pub facts: Vec<HashedText>,
    /// Its order changes as they are hashed, by sequence.
    pub changes: Vec<HashedText>,
    /// What seals cover of it.
    pub sealed: Vec<SealedEntry>,
    /// Lines of the ledger under a number that no entry has.
    pub stray_postings: usize,
}

/// The text of a fact or change, as the database makes it now, and the hash that was stored with it.
#[derive(Debug, Clone)]
pub struct HashedText {
    /// Place in the row's sequence.
    pub seq: i32,
    /// The text.
    pub text: String,
    /// The stored hash.
    pub hash: Vec<u8>,
}

/// How much there is of what hangs on a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Facts.
    pub facts: i64,
    /// Order changes.
    pub changes: i64,
    /// Journal entries.
    pub entries: i64,
    /// Lines of the ledger.
    pub postings: i64,
    /// Refunds.
    pub refunds: i64,
    /// Sealed entries.
    pub sealed: i64,
}

const PAGE: &str = "-- store::verify::page
select id from rekon.transactions where id > $1 order by id limit $2";

const NAME: &str = "-- store::verify::name
select account, partner_reference_no from rekon.transactions where id = $1";

const ENTRIES: &str = "-- store::verify::entries
select transaction_id, entry_no, at, upto_seq, kind, state, content, prev_hash, hash
  from rekon.journal where transaction_id = any($1) order by transaction_id, entry_no";

const POSTINGS: &str = "-- store::verify::postings
select transaction_id, entry_no, account, ((debit - credit) * 100)::bigint as sen
  from rekon.postings where transaction_id = any($1) order by transaction_id, entry_no, line";

const FACTS: &str = "-- store::verify::facts
select transaction_id, seq, rekon.fact_text(f) as text, hash from rekon.facts f where transaction_id = any($1) order by transaction_id, seq";

const CHANGES: &str = "-- store::verify::changes
select transaction_id, seq, rekon.order_change_text(c) as text, hash from rekon.order_changes c where transaction_id = any($1) order by transaction_id, seq";

const TOTALS: &str = "-- store::verify::totals
select (select count(*) from rekon.facts) as facts, (select count(*) from rekon.order_changes) as changes, (select count(*) from rekon.journal) as entries,
       (select count(*) from rekon.postings) as postings, (select count(*) from rekon.refund_saga) as refunds, (select count(*) from rekon.sealed) as sealed";

const BODIES: &str = "-- store::verify::bodies
select hash, sha256(body) = hash from rekon.raw_answers where hash > $1 order by hash limit $2";

const WITHOUT_BODY: &str = "-- store::verify::without_body
select count(*) from rekon.facts f
 where transaction_id = any($1) and raw_hash is not null and not exists (select 1 from rekon.raw_answers r where r.hash = f.raw_hash)";

/// The next `limit` rows after `behind`, by id; none at the end.
pub async fn page(tx: &mut Tx, behind: i64, limit: i64) -> Result<Vec<i64>, StoreError> {
    Ok(sqlx::query_scalar(PAGE).bind(behind).bind(limit).fetch_all(&mut **tx).await?)
}

/// What a row is called: account and reference.
pub async fn name(tx: &mut Tx, id: i64) -> Result<(String, String), StoreError> {
    Ok(sqlx::query_as(NAME).bind(id).fetch_one(&mut **tx).await?)
}

/// The chains of these rows, by id.
///
/// # Errors
/// [`StoreError::Inconsistent`] where a row of a table holds a word that nothing of ours wrote.
pub async fn chains(tx: &mut Tx, ids: &[i64]) -> Result<Vec<Chain>, StoreError> {
    let mut lines: HashMap<(i64, i32), Vec<(String, Sen)>> = HashMap::new();
    for row in sqlx::query(POSTINGS).bind(ids).fetch_all(&mut **tx).await? {
        let key = (row.try_get("transaction_id")?, row.try_get("entry_no")?);
        lines.entry(key).or_default().push((row.try_get("account")?, cases::sen(&row, "sen")?));
    }
    let mut entries: HashMap<i64, Vec<StoredEntry>> = HashMap::new();
    for row in sqlx::query(ENTRIES).bind(ids).fetch_all(&mut **tx).await? {
        let id: i64 = row.try_get("transaction_id")?;
        let entry_no = row.try_get("entry_no")?;
        entries.entry(id).or_default().push(StoredEntry {
            entry_no,
            at: row.try_get("at")?,
            upto_seq: row.try_get("upto_seq")?,
            kind: row.try_get("kind")?,
            state: row.try_get("state")?,
            content: row.try_get("content")?,
            prev_hash: row.try_get("prev_hash")?,
            hash: row.try_get("hash")?,
            postings: lines.remove(&(id, entry_no)).unwrap_or_default(),
        });
    }
    let (mut facts, mut changes) = (texts(tx, FACTS, ids).await?, texts(tx, CHANGES, ids).await?);
    let mut sealed: HashMap<i64, Vec<SealedEntry>> = HashMap::new();
    for entry in seals::of_chains(tx, ids).await? {
        sealed.entry(entry.transaction_id).or_default().push(entry);
    }
    let mut strays: HashMap<i64, usize> = HashMap::new();
    for ((id, _), left) in lines {
        let stray = strays.entry(id).or_default();
        *stray = stray.saturating_add(left.len());
    }
    let rows = cases::read(tx, ids).await?;
    let chain = |row: Loaded| {
        let id = row.case.order.id;
        Chain {
            row,
            entries: entries.remove(&id).unwrap_or_default(),
            facts: facts.remove(&id).unwrap_or_default(),
            changes: changes.remove(&id).unwrap_or_default(),
            sealed: sealed.remove(&id).unwrap_or_default(),
            stray_postings: strays.remove(&id).unwrap_or_default(),
        }
    };
    Ok(rows.into_iter().map(chain).collect())
}

async fn texts(tx: &mut Tx, sql: &'static str, ids: &[i64]) -> Result<HashMap<i64, Vec<HashedText>>, StoreError> {
    let mut texts: HashMap<i64, Vec<HashedText>> = HashMap::new();
    for row in sqlx::query(sql).bind(ids).fetch_all(&mut **tx).await? {
        let text = HashedText { seq: row.try_get("seq")?, text: row.try_get("text")?, hash: row.try_get("hash")? };
        texts.entry(row.try_get("transaction_id")?).or_default().push(text);
    }
    Ok(texts)
}

/// How much there is of everything.
pub async fn totals(tx: &mut Tx) -> Result<Totals, StoreError> {
    let row = sqlx::query(TOTALS).fetch_one(&mut **tx).await?;
    Ok(Totals {
        facts: row.try_get("facts")?,
        changes: row.try_get("changes")?,
        entries: row.try_get("entries")?,
        postings: row.try_get("postings")?,
        refunds: row.try_get("refunds")?,
        sealed: row.try_get("sealed")?,
    })
}

/// A page of stored bodies, proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bodies {
    /// The last hash of the page; the next one begins behind it.
    pub last: Vec<u8>,
    /// How many there are.
    pub bodies: u64,
    /// How many of them do not match their hash.
    pub broken: u64,
}

/// The next `limit` stored bodies behind a hash, proved by the database; `None` at the end. Empty: from the first one on.
pub async fn bodies(tx: &mut Tx, behind: &[u8], limit: i64) -> Result<Option<Bodies>, StoreError> {
    let rows: Vec<(Vec<u8>, bool)> = sqlx::query_as(BODIES).bind(behind).bind(limit).fetch_all(&mut **tx).await?;
    let broken = rows.iter().fold(0_u64, |broken, (_, whole)| broken.saturating_add(u64::from(!whole)));
    let bodies = u64::try_from(rows.len()).unwrap_or(u64::MAX);
    Ok(rows.into_iter().next_back().map(|(last, _)| Bodies { last, bodies, broken }))
}

/// How many facts of these rows name a body that is there no more.
pub async fn facts_without_body(tx: &mut Tx, ids: &[i64]) -> Result<u64, StoreError> {
    let facts: i64 = sqlx::query_scalar(WITHOUT_BODY).bind(ids).fetch_one(&mut **tx).await?;
    Ok(facts.unsigned_abs())
}

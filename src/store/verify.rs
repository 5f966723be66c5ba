//! Reads chains for a proof: pages of rows with their whole journal and postings, and bodies that no longer match their
//! hash. Nothing is judged here.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::Row;

use crate::{
    domain::money::Sen,
    store::{
        StoreError, Tx,
        cases::{self, Loaded},
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
}

const PAGE: &str = "-- store::verify::page
select id from rekon.transactions where id > $1 order by id limit $2";

const ENTRIES: &str = "-- store::verify::entries
select transaction_id, entry_no, at, upto_seq, kind, state, content, prev_hash, hash
  from rekon.journal where transaction_id = any($1) order by transaction_id, entry_no";

const POSTINGS: &str = "-- store::verify::postings
select transaction_id, entry_no, account, ((debit - credit) * 100)::bigint as sen
  from rekon.postings where transaction_id = any($1) order by transaction_id, entry_no, line";

const BODIES: &str = "-- store::verify::bodies
select hash, sha256(body) = hash from rekon.raw_answers where hash > $1 order by hash limit $2";

/// The chains of the next `limit` rows after `behind`, by id; empty at the end.
pub async fn page(tx: &mut Tx, behind: i64, limit: i64) -> Result<Vec<Chain>, StoreError> {
    let ids: Vec<i64> = sqlx::query_scalar(PAGE).bind(behind).bind(limit).fetch_all(&mut **tx).await?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut lines: HashMap<(i64, i32), Vec<(String, Sen)>> = HashMap::new();
    for row in sqlx::query(POSTINGS).bind(&ids).fetch_all(&mut **tx).await? {
        let key = (row.try_get("transaction_id")?, row.try_get("entry_no")?);
        lines.entry(key).or_default().push((row.try_get("account")?, cases::sen(&row, "sen")?));
    }
    let mut entries: HashMap<i64, Vec<StoredEntry>> = HashMap::new();
    for row in sqlx::query(ENTRIES).bind(&ids).fetch_all(&mut **tx).await? {
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
    let rows = cases::read(tx, &ids).await?;
    Ok(rows
        .into_iter()
        .map(|row| Chain { entries: entries.remove(&row.case.order.id).unwrap_or_default(), row })
        .collect())
}

/// A page of stored bodies, proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bodies {
    /// The last hash of the page; the next one begins behind it.
    pub last: Vec<u8>,
    /// How many do not match their hash.
    pub broken: u64,
}

/// The next `limit` stored bodies behind a hash, proved by the database; `None` at the end. Empty: from the first one on.
pub async fn bodies(tx: &mut Tx, behind: &[u8], limit: i64) -> Result<Option<Bodies>, StoreError> {
    let rows: Vec<(Vec<u8>, bool)> = sqlx::query_as(BODIES).bind(behind).bind(limit).fetch_all(&mut **tx).await?;
    let broken = rows.iter().fold(0_u64, |broken, (_, whole)| broken.saturating_add(u64::from(!whole)));
    Ok(rows.into_iter().next_back().map(|(last, _)| Bodies { last, broken }))
}

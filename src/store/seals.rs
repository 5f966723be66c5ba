//! Seals: one hash a day over every chain that has moved, upon the seal before. A seal remembers which entry of which chain
//! it covers, so that it can be made again at any later time. Proving that is `engine::verify`.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::Row;

use crate::{
    domain::chain::{GENESIS, Seal},
    store::{Store, StoreError, Tx},
};

/// Chains sealed at once.
const PAGE: i64 = 5_000;

/// A seal as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSeal {
    /// Its place among the seals, from 1.
    pub no: i32,
    /// The WIB day that it closes.
    pub day: NaiveDate,
    /// When it was made.
    pub at: DateTime<Utc>,
    /// How many chains had moved.
    pub chains: i64,
    /// The seal before.
    pub prev_head: Vec<u8>,
    /// Its hash.
    pub head: Vec<u8>,
}

/// What a seal covers of one chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedEntry {
    /// The row.
    pub transaction_id: i64,
    /// Its last entry then.
    pub entry_no: i32,
    /// The seal.
    pub seal_no: i32,
    /// The entry's hash then.
    pub hash: Vec<u8>,
}

// Two sealers go one after the other; readers are not held up. The first statement, so that the transaction sees what the
// other one committed.
const ALONE: &str = "-- store::seals::alone
lock table rekon.seal_turn in share row exclusive mode";

const ONE_MOMENT: &str = "-- store::seals::one_moment
set transaction isolation level repeatable read";

const IS_SEALED: &str = "-- store::seals::is_sealed
select exists (select 1 from rekon.seals where day = $1)";

const LAST: &str = "-- store::seals::last
select no, head from rekon.seals order by no desc limit 1";

const COVER: &str = "-- store::seals::cover
with page as (
  select id, journal_no, journal_hash from rekon.transactions where id > $1 and journal_no > 0 order by id limit $2),
moved as (
  insert into rekon.sealed (transaction_id, entry_no, seal_no, hash)
  select id, journal_no, $3, journal_hash from page
   where not exists (select 1 from rekon.sealed s where s.transaction_id = page.id and s.entry_no = page.journal_no)
  returning transaction_id)
select id, journal_no, journal_hash, id in (select transaction_id from moved) as is_moved from page order by id";

const SEAL: &str = "-- store::seals::seal
insert into rekon.seals (no, day, chains, prev_head, head) values ($1, $2, $3, $4, $5)";

const SEALS: &str = "-- store::seals::seals
select no, day, at, chains, prev_head, head from rekon.seals order by no";

const OF_CHAINS: &str = "-- store::seals::of_chains
select transaction_id, entry_no, seal_no, hash from rekon.sealed where transaction_id = any($1) order by transaction_id, entry_no";

impl Store {
    /// Seals a day, as of one moment and page by page, because a table has no largest size. A second seal of the same day is
    /// a no-op.
    pub async fn seal(&self, day: NaiveDate) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query(ONE_MOMENT).execute(&mut *tx).await?;
        sqlx::query(ALONE).execute(&mut *tx).await?;
        if sqlx::query_scalar(IS_SEALED).bind(day).fetch_one(&mut *tx).await? {
            return Ok(false);
        }
        let last: Option<(i32, Vec<u8>)> = sqlx::query_as(LAST).fetch_optional(&mut *tx).await?;
        let (before, prev_head) = last.unwrap_or((0, GENESIS.to_vec()));
        let no = before.saturating_add(1);
        let (mut seal, mut behind) = (Seal::begin(&prev_head, no, day), 0);
        loop {
            let page: Vec<(i64, i32, Vec<u8>, bool)> =
                sqlx::query_as(COVER).bind(behind).bind(PAGE).bind(no).fetch_all(&mut *tx).await?;
            let Some(last) = page.last() else { break };
            behind = last.0;
            for (id, entry_no, hash, _) in page.iter().filter(|row| row.3) {
                seal.add(*id, *entry_no, hash);
            }
        }
        let (chains, head) = seal.finish();
        sqlx::query(SEAL)
            .bind(no)
            .bind(day)
            .bind(chains)
            .bind(prev_head)
            .bind(head.as_slice())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(true)
    }
}

/// Every seal, in the order in which they were made: one a day.
pub async fn all(tx: &mut Tx) -> Result<Vec<StoredSeal>, StoreError> {
    let seals = sqlx::query(SEALS).fetch_all(&mut **tx).await?;
    seals
        .iter()
        .map(|row| {
            Ok(StoredSeal {
                no: row.try_get("no")?,
                day: row.try_get("day")?,
                at: row.try_get("at")?,
                chains: row.try_get("chains")?,
                prev_head: row.try_get("prev_head")?,
                head: row.try_get("head")?,
            })
        })
        .collect()
}

/// What seals cover of these chains, by row and entry.
pub async fn of_chains(tx: &mut Tx, ids: &[i64]) -> Result<Vec<SealedEntry>, StoreError> {
    let rows = sqlx::query(OF_CHAINS).bind(ids).fetch_all(&mut **tx).await?;
    rows.iter()
        .map(|row| {
            Ok(SealedEntry {
                transaction_id: row.try_get("transaction_id")?,
                entry_no: row.try_get("entry_no")?,
                seal_no: row.try_get("seal_no")?,
                hash: row.try_get("hash")?,
            })
        })
        .collect()
}

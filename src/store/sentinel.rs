//! The invariant sentinel's memory and its look at the tables: which rows are next, what breaks a rule of money among them,
//! what it found. Whose pass it is is decided here; when, and what follows, is `engine::sentinel`.

mod proofs;

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::Row;

pub use proofs::{Invariant, PROOFS};

use crate::{
    domain::order::later,
    store::{Store, StoreError, Tx, limits::interval, refunds},
};

/// A pass that has not ended by then is given up: another one may begin. Longer than whoever makes one gives it.
const GIVEN_UP: Duration = Duration::from_mins(1);
/// However slow the server, a pass looks at so many rows.
pub const ROWS_AT_LEAST: i64 = 100;

/// Stands for every account.
pub const ALL_ACCOUNTS: &str = "*";

/// Slices of what is new that one pass reads at most; the next pass goes on there.
const NEW_SLICES: i64 = 4;
/// Seconds. A transaction that is open now may yet commit an earlier entry: once a pass has read to the end, the next one begins so
/// much before it. An entry that comes later still is found by the slow look.
const OVERLAP_SECS: i64 = 30;

/// The journal entry behind which everything was read, in the order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behind {
    /// Its time.
    pub at: DateTime<Utc>,
    /// Its row.
    pub transaction_id: i64,
    /// Its number in the row's chain.
    pub entry_no: i32,
}

/// Where the sentinel goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// The number of this pass.
    pub pass: i64,
    /// Database time at its beginning.
    pub now: DateTime<Utc>,
    /// Rows with a journal entry behind this one are new.
    pub new_behind: Behind,
    /// The slow look goes on behind this id.
    pub behind_id: i64,
    /// Rows of one slice.
    pub rows: i64,
}

/// How the next pass is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Pause until it is due.
    pub pause: Duration,
    /// Rows of one slice.
    pub rows: i64,
}

/// The rows of a pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picked {
    /// Their ids.
    pub ids: Vec<i64>,
    /// Where the next pass goes on with what is new.
    pub new_behind: Behind,
    /// Where the slow look goes on; 0: it came to the end of the table.
    pub behind_id: i64,
}

/// Something that breaks a rule of money.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Violation {
    /// The rule.
    pub invariant: String,
    /// Its account; [`ALL_ACCOUNTS`] where it concerns all of them.
    pub account: String,
    /// The payment; 0 where it is about none.
    pub transaction_id: i64,
    /// What is wrong, in a few words.
    pub what: String,
}

// One replica makes the pass, and nobody begins another before it has ended or is given up; one that dies in it loses nothing but this
// pass, and leaves half the rows to the next. Who made the last one may make the next before its time.
const TURN: &str = "-- store::sentinel::turn
with before as (select least(coalesce(rows_at_once, $3), $3) as rows from rekon.sentinel
                 where next_at <= clock_timestamp() or passes = $2 for update)
update rekon.sentinel set passes = passes + 1, next_at = clock_timestamp() + $1::interval, rows_at_once = greatest(before.rows / 2, least($4, $3))
  from before
returning passes, clock_timestamp() as now, new_from, new_id, new_entry_no, behind_id, before.rows";

// Between two times, because the journal's index by time finds ranges of pages and no order: without an end to it every slice would
// read and sort all that came since.
const NEW: &str = "-- store::sentinel::new
select at, transaction_id, entry_no from rekon.journal
 where at >= $1 and at <= $4 and (at, transaction_id, entry_no) > ($1, $2, $3) order by at, transaction_id, entry_no limit $5";

const NEXT: &str = "-- store::sentinel::next
select id from rekon.transactions where id > $1 order by id limit $2";

const FOUND_BEFORE: &str = "-- store::sentinel::found_before
select distinct transaction_id from rekon.violations where transaction_id > 0 order by transaction_id limit $1";

const STORE: &str = "-- store::sentinel::store
insert into rekon.violations as v (invariant, account, transaction_id, what)
select * from unnest($1::text[], $2::text[], $3::bigint[], $4::text[])
on conflict (invariant, account, transaction_id) do update set what = excluded.what, last_at = clock_timestamp()";

// A proof over everything speaks for every row; one over some rows for those.
const MENDED: &str = "-- store::sentinel::mended
delete from rekon.violations v
 where (v.transaction_id = any($1) or v.transaction_id = 0 or v.invariant = any($2))
   and not exists (select 1 from unnest($3::text[], $4::text[], $5::bigint[]) as u(invariant, account, transaction_id)
                    where (u.invariant, u.account, u.transaction_id) = (v.invariant, v.account, v.transaction_id))";

const PASSED: &str = "-- store::sentinel::passed
update rekon.sentinel set passed_at = clock_timestamp(), new_from = $2, new_id = $4, new_entry_no = $5, behind_id = $3::bigint,
       next_at = clock_timestamp() + $6::interval, rows_at_once = $7, rotated_at = case when $3::bigint = 0 then clock_timestamp() else rotated_at end
 where passes = $1";

const VIOLATIONS: &str = "-- store::sentinel::violations
select invariant, account, transaction_id, what from rekon.violations order by first_at, invariant, account, transaction_id limit $1";

impl Store {
    /// The next pass, if one is due and nobody else makes it, or if pass `mine` was the last; of `slice` rows at most.
    pub async fn sentinel_turn(&self, slice: i64, mine: Option<i64>) -> Result<Option<Turn>, StoreError> {
        let turn = sqlx::query(TURN).bind(interval(GIVEN_UP)).bind(mine).bind(slice).bind(ROWS_AT_LEAST);
        let row = turn.fetch_optional(self.pool()).await?;
        row.map(|row| {
            Ok(Turn {
                pass: row.try_get("passes")?,
                now: row.try_get("now")?,
                new_behind: Behind {
                    at: row.try_get("new_from")?,
                    transaction_id: row.try_get("new_id")?,
                    entry_no: row.try_get("new_entry_no")?,
                },
                behind_id: row.try_get("behind_id")?,
                rows: row.try_get("rows")?,
            })
        })
        .transpose()
    }

    /// What was found and still stands, oldest first.
    pub async fn violations(&self, limit: i64) -> Result<Vec<Violation>, StoreError> {
        let rows = sqlx::query(VIOLATIONS).bind(limit).fetch_all(self.pool()).await?;
        rows.iter()
            .map(|row| {
                Ok(Violation {
                    invariant: row.try_get("invariant")?,
                    account: row.try_get("account")?,
                    transaction_id: row.try_get("transaction_id")?,
                    what: row.try_get("what")?,
                })
            })
            .collect()
    }
}

/// The rows of a pass: what is new, the next slice of all rows, what was found before. At most a slice of each, and of what is new
/// four times as many.
pub async fn pick(tx: &mut Tx, turn: &Turn) -> Result<Picked, StoreError> {
    let slice = turn.rows;
    let (new, new_behind) = read_new(tx, turn, slice).await?;
    let next: Vec<i64> = sqlx::query_scalar(NEXT).bind(turn.behind_id).bind(slice).fetch_all(&mut **tx).await?;
    let before: Vec<i64> = sqlx::query_scalar(FOUND_BEFORE).bind(slice).fetch_all(&mut **tx).await?;
    let is_last = i64::try_from(next.len()).unwrap_or(0) < slice;
    let behind_id = if is_last { 0 } else { next.last().copied().unwrap_or(0) };
    let mut ids: Vec<i64> = new.into_iter().chain(next).chain(before).collect();
    ids.sort_unstable();
    ids.dedup();
    Ok(Picked { ids, new_behind, behind_id })
}

/// Rows of the entries behind the last pass's, and where the next pass goes on. It never goes back but from the end, whatever the
/// number of entries of one time.
async fn read_new(tx: &mut Tx, turn: &Turn, slice: i64) -> Result<(Vec<i64>, Behind), StoreError> {
    let mut behind = turn.new_behind;
    let mut ids = Vec::new();
    let mut left = slice.saturating_mul(NEW_SLICES);
    // Seconds read at once; grows over times in which nothing was decided.
    let mut window = OVERLAP_SECS;
    loop {
        let until = later(behind.at, window);
        let limit = slice.min(left);
        let entries: Vec<(DateTime<Utc>, i64, i32)> = sqlx::query_as(NEW)
            .bind(behind.at)
            .bind(behind.transaction_id)
            .bind(behind.entry_no)
            .bind(until)
            .bind(limit)
            .fetch_all(&mut **tx)
            .await?;
        ids.extend(entries.iter().map(|(_, id, _)| *id));
        let read = i64::try_from(entries.len()).unwrap_or(limit);
        left = left.saturating_sub(read);
        match entries.last() {
            Some((at, transaction_id, entry_no)) if read >= limit => {
                behind = Behind { at: *at, transaction_id: *transaction_id, entry_no: *entry_no };
                window = OVERLAP_SECS;
                if left == 0 {
                    return Ok((ids, behind));
                }
            }
            _ if until >= turn.now => {
                let overlap = later(turn.now, OVERLAP_SECS.saturating_neg());
                return Ok((ids, Behind { at: overlap, transaction_id: 0, entry_no: 0 }));
            }
            _ => {
                behind = Behind { at: until, transaction_id: i64::MAX, entry_no: i32::MAX };
                window = window.saturating_mul(2);
            }
        }
    }
}

/// What breaks a rule among these rows, and what breaks one that is about no single row.
pub async fn look(tx: &mut Tx, ids: &[i64]) -> Result<Vec<Violation>, StoreError> {
    let mut found = Vec::new();
    for proof in PROOFS {
        for row in proofs::run(tx, proof, ids).await? {
            found.push(Violation {
                invariant: proof.id.to_owned(),
                account: row.try_get("account")?,
                transaction_id: row.try_get("id")?,
                what: row.try_get("what")?,
            });
        }
    }
    found.sort();
    found.dedup_by(|a, b| (&a.invariant, &a.account, a.transaction_id) == (&b.invariant, &b.account, b.transaction_id));
    Ok(found)
}

/// Writes down what a pass found, forgets what is mended, stops the refunds of the accounts concerned, and says when and how the next
/// pass is made.
pub async fn write(
    tx: &mut Tx,
    turn: &Turn,
    picked: &Picked,
    (found, stops): (&[Violation], &[(String, String)]),
    pace: Pace,
) -> Result<(), StoreError> {
    let invariants: Vec<&str> = found.iter().map(|v| v.invariant.as_str()).collect();
    let accounts: Vec<&str> = found.iter().map(|v| v.account.as_str()).collect();
    let rows: Vec<i64> = found.iter().map(|v| v.transaction_id).collect();
    let what: Vec<&str> = found.iter().map(|v| v.what.as_str()).collect();
    let over_everything: Vec<&str> = PROOFS.iter().filter(|p| p.is_over_everything).map(|p| p.id).collect();
    sqlx::query(MENDED)
        .bind(&picked.ids)
        .bind(over_everything)
        .bind(&invariants)
        .bind(&accounts)
        .bind(&rows)
        .execute(&mut **tx)
        .await?;
    sqlx::query(STORE).bind(invariants).bind(accounts).bind(rows).bind(what).execute(&mut **tx).await?;
    for (account, why) in stops {
        refunds::stop_refunds(tx, account, why).await?;
    }
    sqlx::query(PASSED)
        .bind(turn.pass)
        .bind(picked.new_behind.at)
        .bind(picked.behind_id)
        .bind(picked.new_behind.transaction_id)
        .bind(picked.new_behind.entry_no)
        .bind(interval(pace.pause))
        .bind(pace.rows)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

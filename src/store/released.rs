//! Brakes that people let go of: which rows must be looked at again is written in the very transaction that lets go, and walked
//! over afterwards, chunk by chunk, without ever waiting for a row. Who walks, and when, is decided elsewhere.

use chrono::{DateTime, Utc};
use sqlx::Row;

use crate::store::{Store, StoreError, Tx};

/// Held rows that are kept in mind; with so many the walk waits for them before it goes on.
const HELD_MAX: usize = 10_000;

/// What a brake held up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Refunds that did not leave, or took two people.
    Refunds,
    /// Postings of what was decided since then.
    Postings(DateTime<Utc>),
}

/// A brake whose rows do not all know yet that it is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Released {
    /// Its account; `*` for every account.
    pub account: String,
    /// `refunds` or `postings`.
    pub what: String,
}

/// What came of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Walk {
    /// There is more.
    On,
    /// The rest is held by somebody.
    Waits,
    /// Every row is due; the record is gone.
    Over,
    /// Somebody else walks.
    Taken,
}

// Let go of twice before the walk is over, it begins anew.
const RELEASE: &str = "-- store::released::release
insert into rekon.released as r (account, what, since) values ($1, $2, $3)
on conflict (account, what) do update set since = least(r.since, excluded.since), at = clock_timestamp(), behind_id = 0, held = '{}'";

const ALL: &str = "-- store::released::all
select account, what from rekon.released order by at, account, what";

const TAKE: &str = "-- store::released::take
select since, behind_id, held from rekon.released where account = $1 and what = $2 for update skip locked";

const PAGE: &str = "-- store::released::page
select max(id) as last, count(*) as rows from (select id from rekon.transactions where id > $1 order by id limit $2) as page";

// What letting go can change: a cause of a refund is open, or a refund that is owed cannot go. And rows that are leased: somebody
// may just now decide one by what held before.
const REFUNDS: &str = "-- store::released::refunds
select id from rekon.transactions
 where id > $1 and id <= $2 and ($3 = '*' or account = $3) and direction = 'in'
   and (flags_open && $4::text[] and paid_amount is not null or lease_until >= clock_timestamp())";

// A little earlier than the brake: what was decided while it was being pulled may bear the time before.
const POSTINGS: &str = "-- store::released::postings
select id from rekon.transactions t
 where id > $1 and id <= $2 and ($3 = '*' or account = $3) and direction = 'in'
   and (paid_amount is not null
        and (last_checked_at >= $4::timestamptz - interval '1 minute'
             or exists (select 1 from rekon.refund_saga r where r.transaction_id = t.id and r.ended_at >= $4::timestamptz - interval '1 minute'))
        or lease_until >= clock_timestamp())";

// Gives the rows that nobody holds; those among them that are due already stay where they are in the line.
const WAKE: &str = "-- store::released::wake
with free as (select id from rekon.transactions where id = any($1) order by id for update skip locked),
woken as (
  update rekon.transactions t set next_check_at = clock_timestamp()
    from free where t.id = free.id and coalesce(t.next_check_at > clock_timestamp(), true))
select id from free";

const WALKED: &str = "-- store::released::walked
update rekon.released set behind_id = $3, held = $4 where account = $1 and what = $2";

const OVER: &str = "-- store::released::over
delete from rekon.released where account = $1 and what = $2";

/// Writes down that a brake is let go of; in the transaction that does it.
pub async fn release(tx: &mut Tx, account: &str, what: What) -> Result<(), StoreError> {
    let (what, since) = match what {
        What::Refunds => ("refunds", None),
        What::Postings(since) => ("postings", Some(since)),
    };
    sqlx::query(RELEASE).bind(account).bind(what).bind(since).execute(&mut **tx).await?;
    Ok(())
}

impl Store {
    /// Brakes that were let go of and whose rows do not all know it, oldest first.
    pub async fn released(&self) -> Result<Vec<Released>, StoreError> {
        let rows = sqlx::query(ALL).fetch_all(self.pool()).await?;
        rows.iter().map(|row| Ok(Released { account: row.try_get("account")?, what: row.try_get("what")? })).collect()
    }

    /// Makes the rows due that a brake held up: those among the next `limit` of all rows, and those that were held before. One
    /// transaction: a process that dies in it has done nothing. `causes` are the flags for which a refund may be owed.
    pub async fn walk(&self, brake: &Released, causes: &[&str], limit: i64) -> Result<Walk, StoreError> {
        let mut tx = self.begin().await?;
        let Some(row) = sqlx::query(TAKE).bind(&brake.account).bind(&brake.what).fetch_optional(&mut *tx).await? else {
            return Ok(Walk::Taken);
        };
        let mut asleep: Vec<i64> = row.try_get("held")?;
        let mut behind: Option<i64> = row.try_get("behind_id")?;
        let mut has_walked = false;
        if let Some(from) = behind.filter(|_| asleep.len() < HELD_MAX) {
            let (last, rows): (Option<i64>, i64) =
                sqlx::query_as(PAGE).bind(from).bind(limit).fetch_one(&mut *tx).await?;
            if let Some(last) = last {
                let since: Option<DateTime<Utc>> = row.try_get("since")?;
                let found = sqlx::query_scalar::<_, i64>(if since.is_some() { POSTINGS } else { REFUNDS });
                let found = found.bind(from).bind(last).bind(&brake.account);
                let found = if let Some(since) = since { found.bind(since) } else { found.bind(causes) };
                asleep.extend(found.fetch_all(&mut *tx).await?);
            }
            behind = last.filter(|_| rows >= limit);
            has_walked = true;
        }
        let free: Vec<i64> = sqlx::query_scalar(WAKE).bind(&asleep).fetch_all(&mut *tx).await?;
        let free: std::collections::HashSet<i64> = free.into_iter().collect();
        asleep.retain(|id| !free.contains(id));
        let walk = match behind {
            None if asleep.is_empty() => Walk::Over,
            Some(_) if has_walked => Walk::On,
            _ => Walk::Waits,
        };
        let (account, what) = (&brake.account, &brake.what);
        match walk {
            Walk::Over => sqlx::query(OVER).bind(account).bind(what).execute(&mut *tx).await?,
            _ => sqlx::query(WALKED).bind(account).bind(what).bind(behind).bind(&asleep).execute(&mut *tx).await?,
        };
        tx.commit().await?;
        Ok(walk)
    }
}

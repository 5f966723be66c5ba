//! What a group of notifications reads and writes: the rows they speak of, locked; what is recorded of them already; the
//! allowance of unverifiable ones; and those that become no fact. Facts themselves are written by `settle`.

use std::{collections::BTreeSet, time::Duration};

use chrono::{DateTime, Utc};
use sqlx::Row;

use crate::{
    domain::fact::Source,
    store::{Store, StoreError, Tx, leases::put_forward, limits::interval},
};

/// A row that a notification names, locked.
#[derive(Debug, Clone)]
pub struct Target {
    /// The row.
    pub id: i64,
    /// Its account.
    pub account: String,
    /// Its reference.
    pub partner_reference_no: String,
    /// Last number of its sequence.
    pub seq: i32,
}

/// A notification that is a fact already.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Its row.
    pub id: i64,
    /// Its identity among the facts of the row.
    pub call_id: String,
    /// Why it was not believed.
    pub doubt: Option<String>,
}

/// A row's sequence after its new facts, and whether it is asked now.
#[derive(Debug, Clone, Copy)]
pub struct Moved {
    /// The row.
    pub id: i64,
    /// Last number of its sequence.
    pub seq: i32,
    /// Before all others: it is signed. One that is not waits its turn, so that a forger moves nobody aside.
    pub is_first: bool,
}

/// A notification that became no fact.
#[derive(Debug, Clone)]
pub struct Apart {
    /// The account.
    pub account: String,
    /// SHA-256 of the payload.
    pub payload_hash: Vec<u8>,
    /// The reference it names.
    pub reference: String,
    /// Why it is no fact.
    pub outcome: &'static str,
    /// Is it signed?
    pub is_verified: bool,
    /// It, personal data masked.
    pub body: serde_json::Value,
    /// How often it came.
    pub n: i32,
}

// Nobody is waited for: a merchant's transaction may stay open for as long as it likes. A row without a sequence is one that
// somebody else holds.
const LOCK: &str = "-- store::notifications::lock
with named as (
  select t.id, t.account, t.partner_reference_no
    from unnest($1::text[], $2::text[]) as u(account, reference)
    join rekon.transactions t on t.account = u.account and t.partner_reference_no = u.reference),
locked as (
  select t.id, t.seq from rekon.transactions t where t.id in (select id from named) order by t.id for update skip locked)
select named.*, locked.seq from named left join locked using (id) order by id";

const RECORDED: &str = "-- store::notifications::recorded
select transaction_id, call_id, doubt from rekon.facts where transaction_id = any($1) and source = 'notification'";

const LIMITS: &str = "-- store::notifications::limits
insert into rekon.notification_limits (account) select * from unnest($1::text[]) as a order by a on conflict do nothing";

const ALLOWANCES: &str = "-- store::notifications::allowances
select account, nullif(tat, '-infinity') as tat from rekon.notification_limits where account = any($1) order by account for update";

const SPEND: &str = "-- store::notifications::spend
update rekon.notification_limits l set tat = u.tat from unnest($1::text[], $2::timestamptz[]) as u(account, tat) where l.account = u.account";

const MOVE: &str = "-- store::notifications::move
update rekon.transactions t set seq = u.seq, next_check_at = least(coalesce(t.next_check_at, now()), now())
  from unnest($1::bigint[], $2::int[]) as u(id, seq) where t.id = u.id";

const WAKE: &str = "-- store::notifications::wake
select count(pg_notify('rekon_wake', a)) from unnest($1::text[]) as a";

const APART: &str = "-- store::notifications::apart
with standing as (select account, count(*) as n from rekon.notifications where account = any($1) group by account)
insert into rekon.notifications (account, payload_hash, reference, outcome, is_verified, body, n)
select u.account, u.hash, u.reference, u.outcome, u.verified, u.body, u.n
  from (select v.*, row_number() over (partition by v.account order by v.hash) as place
          from unnest($1::text[], $2::bytea[], $3::text[], $4::text[], $5::bool[], $6::jsonb[], $7::int[])
            as v(account, hash, reference, outcome, verified, body, n)) as u
  left join standing s on s.account = u.account
 where coalesce(s.n, 0) + u.place <= $8
 order by u.account, u.hash
on conflict (account, payload_hash) do update set n = rekon.notifications.n + excluded.n, last_at = clock_timestamp()";

const PRUNE: &str = "-- store::notifications::prune
delete from rekon.notifications where (account, payload_hash) in (
  select account, payload_hash from rekon.notifications where last_at < clock_timestamp() - $1::interval limit $2)";

// Facts and journal are append-only, so xmin is the transaction that wrote the line.
const WRITTEN_WITH: &str = "-- store::notifications::written_with
select count(*) from rekon.journal j
 where exists (select from rekon.facts f where f.transaction_id = j.transaction_id and f.source = $1 and f.xmin = j.xmin)";

/// The rows that notifications name.
#[derive(Debug, Clone, Default)]
pub struct Named {
    /// Locked now, in the order of their ids.
    pub locked: Vec<Target>,
    /// Held by somebody else: (account, reference).
    pub held: BTreeSet<(String, String)>,
}

/// Locks the rows that have these (account, reference), each pair once, apart from those that somebody else holds.
pub async fn lock(tx: &mut Tx, pairs: &[(&str, &str)]) -> Result<Named, StoreError> {
    let accounts: Vec<&str> = pairs.iter().map(|p| p.0).collect();
    let references: Vec<&str> = pairs.iter().map(|p| p.1).collect();
    let rows = sqlx::query(LOCK).bind(accounts).bind(references).fetch_all(&mut **tx).await?;
    let mut named = Named::default();
    for row in rows {
        let (account, partner_reference_no) = (row.try_get("account")?, row.try_get("partner_reference_no")?);
        match row.try_get("seq")? {
            Some(seq) => named.locked.push(Target { id: row.try_get("id")?, account, partner_reference_no, seq }),
            None => drop(named.held.insert((account, partner_reference_no))),
        }
    }
    Ok(named)
}

/// The notifications that are facts of these rows already.
pub async fn recorded(tx: &mut Tx, ids: &[i64]) -> Result<Vec<Recorded>, StoreError> {
    let rows = sqlx::query(RECORDED).bind(ids).fetch_all(&mut **tx).await?;
    let recorded = |row: &sqlx::postgres::PgRow| {
        let (id, call_id) = (row.try_get("transaction_id")?, row.try_get("call_id")?);
        Ok(Recorded { id, call_id, doubt: row.try_get("doubt")? })
    };
    rows.iter().map(recorded).collect()
}

/// Locks the allowances of accounts: (account, time of the next free slot; `None`: none was ever used).
pub async fn allowances(tx: &mut Tx, accounts: &[&str]) -> Result<Vec<(String, Option<DateTime<Utc>>)>, StoreError> {
    sqlx::query(LIMITS).bind(accounts).execute(&mut **tx).await?;
    let rows = sqlx::query(ALLOWANCES).bind(accounts).fetch_all(&mut **tx).await?;
    rows.iter().map(|row| Ok((row.try_get("account")?, row.try_get("tat")?))).collect()
}

/// Writes back what was used of the allowances.
pub async fn spend(tx: &mut Tx, spent: &[(String, DateTime<Utc>)]) -> Result<(), StoreError> {
    let accounts: Vec<&str> = spent.iter().map(|s| s.0.as_str()).collect();
    let tats: Vec<DateTime<Utc>> = spent.iter().map(|s| s.1).collect();
    sqlx::query(SPEND).bind(accounts).bind(tats).execute(&mut **tx).await?;
    Ok(())
}

/// Moves the sequences of rows, makes them due now, and wakes the sweepers of these accounts at the commit.
pub async fn move_and_wake(tx: &mut Tx, moved: &[Moved], accounts: &[&str]) -> Result<(), StoreError> {
    let ids: Vec<i64> = moved.iter().map(|m| m.id).collect();
    let seqs: Vec<i32> = moved.iter().map(|m| m.seq).collect();
    sqlx::query(MOVE).bind(ids).bind(seqs).execute(&mut **tx).await?;
    let first: Vec<i64> = moved.iter().filter(|m| m.is_first).map(|m| m.id).collect();
    if !first.is_empty() {
        put_forward(tx, &first).await?;
    }
    sqlx::query(WAKE).bind(accounts).execute(&mut **tx).await?;
    Ok(())
}

/// Keeps notifications that became no fact, each (account, payload) once, at most `kept_max` an account.
pub async fn keep_apart(tx: &mut Tx, apart: &[Apart], kept_max: i64) -> Result<(), StoreError> {
    sqlx::query(APART)
        .bind(apart.iter().map(|a| a.account.as_str()).collect::<Vec<_>>())
        .bind(apart.iter().map(|a| a.payload_hash.as_slice()).collect::<Vec<_>>())
        .bind(apart.iter().map(|a| a.reference.as_str()).collect::<Vec<_>>())
        .bind(apart.iter().map(|a| a.outcome).collect::<Vec<_>>())
        .bind(apart.iter().map(|a| a.is_verified).collect::<Vec<_>>())
        .bind(apart.iter().map(|a| &a.body).collect::<Vec<_>>())
        .bind(apart.iter().map(|a| a.n).collect::<Vec<_>>())
        .bind(kept_max)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

impl Store {
    /// How many journal entries, and with them states and postings, stand in the very database transaction that wrote down a
    /// fact of this source. With notifications there must be none: what one claims decides nothing.
    pub async fn entries_written_with(&self, source: Source) -> Result<i64, StoreError> {
        Ok(sqlx::query(WRITTEN_WITH).bind(source.as_str()).fetch_one(self.pool()).await?.try_get(0)?)
    }

    /// Deletes notifications that became no fact and did not come again for `keep`, at most `limit`.
    pub async fn prune_notifications(&self, keep: Duration, limit: i64) -> Result<u64, StoreError> {
        Ok(sqlx::query(PRUNE).bind(interval(keep)).bind(limit).execute(self.pool()).await?.rows_affected())
    }
}

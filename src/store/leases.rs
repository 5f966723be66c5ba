//! Leases: a temporary right to act on a row. Claiming is one statement; an expired lease is claimable, which is the
//! whole of the reaper. There is no lower bound on due: a row that waited through an outage is found.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::Row;

use crate::store::{Store, StoreError, Tx, limits::interval};

/// Due rows of an account that are looked through for leases to give back: some times what all replicas lease at once.
const RELEASE_MAX: i64 = 20_000;

/// A leased row: what is needed to ask for it.
#[derive(Debug, Clone)]
pub struct Leased {
    /// The row.
    pub id: i64,
    /// This lease's number.
    pub epoch: i64,
    /// Our reference.
    pub partner_reference_no: String,
    /// The provider's reference.
    pub reference_no: Option<String>,
    /// X-EXTERNAL-ID of the original request.
    pub external_id: Option<String>,
    /// Is it money out?
    pub is_payout: bool,
    /// When it was due; `None` where nothing was.
    pub due_at: Option<DateTime<Utc>>,
}

/// A leased refund.
#[derive(Debug, Clone, Copy)]
pub struct LeasedRefund {
    /// The refund.
    pub id: i64,
    /// Its row.
    pub transaction_id: i64,
    /// This lease's number.
    pub epoch: i64,
}

/// Rows claimed, and the database's time of it.
#[derive(Debug, Clone)]
pub struct Claim<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Database time at the claim.
    pub at: DateTime<Utc>,
}

// Joined by ctid: the rows are locked where they were found, so that they need not be looked up again by id.
const CLAIM_DUE: &str = "-- store::leases::claim_due
with due as (
  select ctid from rekon.transactions
   where account = $1 and next_check_at <= now() and (lease_until is null or lease_until < now())
   order by next_check_at limit $2 for update skip locked)
update rekon.transactions t set lease_owner = $3, lease_until = now() + $4, lease_epoch = t.lease_epoch + 1
  from due where t.ctid = due.ctid
returning t.id, t.lease_epoch, t.partner_reference_no, t.reference_no, t.external_id, t.direction = 'out' as is_payout, t.next_check_at as due_at, now() as at";

// An entry has done its work when its row is leased, and is idle where the row was asked since; a row that somebody holds
// keeps its entry until he lets go. Those that the owner itself holds are named beside, unlocked: what was just leased is not
// among them, because they are read as they stood before.
const CLAIM_PULLED: &str = "-- store::leases::claim_pulled
with free as (
  select p.transaction_id as id from rekon.pulled p join rekon.transactions t on t.id = p.transaction_id
   where p.account = $1 and (t.lease_until is null or t.lease_until < now())
   order by p.at limit $2 for update skip locked),
gone as (delete from rekon.pulled p using free where p.transaction_id = free.id),
leased as (
  update rekon.transactions t set lease_owner = $3, lease_until = now() + $4, lease_epoch = t.lease_epoch + 1
    from free where t.id = free.id and t.next_check_at <= now()
  returning t.id, t.lease_epoch, t.partner_reference_no, t.reference_no, t.external_id, t.direction = 'out' as is_payout, t.next_check_at as due_at, now() as at),
held as (
  select t.id from rekon.pulled p join rekon.transactions t on t.id = p.transaction_id
   where p.account = $1 and t.lease_owner = $3 and t.lease_until >= now() order by p.at limit $2)
select *, false as is_held from leased
union all
select id, 0, '', null, null, false, null, now(), true from held";

const CLAIM_ONE: &str = "-- store::leases::claim_one
update rekon.transactions t set lease_owner = $2, lease_until = now() + $3, lease_epoch = t.lease_epoch + 1
 where t.id = $1 and (t.lease_until is null or t.lease_until < now())
returning t.id, t.lease_epoch, t.partner_reference_no, t.reference_no, t.external_id, t.direction = 'out' as is_payout, t.next_check_at as due_at, now() as at";

const CLAIM_REFUNDS: &str = "-- store::leases::claim_refunds
with due as (
  select r.id from rekon.refund_saga r join rekon.transactions t on t.id = r.transaction_id
   where r.next_at <= now() and t.account = $1 and (r.lease_until is null or r.lease_until < now())
   order by r.next_at limit $2 for update of r skip locked)
update rekon.refund_saga r set lease_owner = $3, lease_until = now() + $4, lease_epoch = r.lease_epoch + 1
  from due where r.id = due.id
returning r.id, r.transaction_id, r.lease_epoch, now() as at";

const IS_DUE: &str = "-- store::leases::is_due
select exists (select 1 from rekon.transactions
  where account = $1 and next_check_at <= now() and (lease_until is null or lease_until < now()))";

const IS_REFUND_DUE: &str = "-- store::leases::is_refund_due
select exists (select 1 from rekon.refund_saga r join rekon.transactions t on t.id = r.transaction_id
  where r.next_at <= now() and t.account = $1 and (r.lease_until is null or r.lease_until < now()))";

// No index knows an owner, and a leased row stays due until it is settled: of each account the oldest due rows are looked through,
// among which those of a sweep are. One that lies behind them all, because somebody waited for it in a long backlog, runs out.
const RELEASE: &str = "-- store::leases::release
with recursive account (name) as (
  (select t.account from rekon.transactions t where t.next_check_at is not null order by t.account, t.next_check_at limit 1)
  union all
  select (select t.account from rekon.transactions t where t.next_check_at is not null and t.account > a.name
           order by t.account, t.next_check_at limit 1)
    from account a where a.name is not null
), mine as (
  select due.id from account a cross join lateral (
    select id, lease_owner, lease_until from rekon.transactions
     where account = a.name and next_check_at <= now() order by next_check_at limit $2) as due
   where due.lease_owner = $1 and due.lease_until is not null)
update rekon.transactions t set lease_owner = null, lease_until = null
  from mine where t.id = mine.id and t.lease_owner = $1 and t.lease_until is not null";

// What is not due at any time is leased by nobody.
const RELEASE_REFUNDS: &str = "-- store::leases::release_refunds
update rekon.refund_saga set lease_owner = null, lease_until = null where lease_owner = $1 and lease_until is not null and next_at is not null";

const RELEASE_ROWS: &str = "-- store::leases::release_rows
update rekon.transactions t set lease_owner = null, lease_until = null
  from unnest($1::bigint[], $2::bigint[]) as u(id, epoch) where t.id = u.id and t.lease_epoch = u.epoch";

// Jumps from account to account along the due index: what known accounts have due, however much, is not looked at.
const STRAYS: &str = "-- store::leases::strays
with recursive account (name) as (
  (select t.account from rekon.transactions t where t.next_check_at is not null order by t.account, t.next_check_at limit 1)
  union all
  select (select t.account from rekon.transactions t where t.next_check_at is not null and t.account > a.name
           order by t.account, t.next_check_at limit 1)
    from account a where a.name is not null
), stray as (
  select due.id from account a cross join lateral (
    select id from rekon.transactions
     where account = a.name and next_check_at <= now() and (lease_until is null or lease_until < now())
     order by next_check_at limit $2 for update skip locked) as due
   where not (a.name = any($1)) limit $2)
update rekon.transactions t set lease_owner = $3, lease_until = now() + $4, lease_epoch = t.lease_epoch + 1
  from stray where t.id = stray.id returning t.id";

const FOUND_AGAIN: &str = "-- store::leases::found_again
update rekon.transactions set next_check_at = now()
 where state = 'review' and next_check_at is null and 'unknown_account' = any(flags_open)
   and (direction = 'in' and account = any($1) or direction = 'out' and account = any($2))";

const PULL: &str = "-- store::leases::pull
update rekon.transactions set next_check_at = least(coalesce(next_check_at, now()), now()) where id = any($1)";

const PUT_FORWARD: &str = "-- store::leases::put_forward
insert into rekon.pulled (transaction_id, account) select id, account from rekon.transactions where id = any($1) order by id
on conflict do nothing";

const WAKE: &str = "-- store::leases::wake
select pg_notify('rekon_wake', $1)";

impl Store {
    async fn claim(
        &self,
        sql: &'static str,
        account: &str,
        limit: i64,
        owner: &str,
        lease: Duration,
    ) -> Result<Vec<sqlx::postgres::PgRow>, StoreError> {
        let claim = sqlx::query(sql).bind(account).bind(limit).bind(owner).bind(interval(lease));
        Ok(claim.fetch_all(self.pool()).await?)
    }

    /// Leases up to `limit` due rows of an account.
    pub async fn claim_due(
        &self,
        account: &str,
        limit: i64,
        owner: &str,
        lease: Duration,
    ) -> Result<Claim<Leased>, StoreError> {
        claimed(&self.claim(CLAIM_DUE, account, limit, owner, lease).await?)
    }

    /// Leases up to `limit` rows of an account that somebody waits for, longest wait first; and names the ones that `owner`
    /// holds already.
    pub async fn claim_pulled(
        &self,
        account: &str,
        limit: i64,
        owner: &str,
        lease: Duration,
    ) -> Result<(Claim<Leased>, Vec<i64>), StoreError> {
        let rows = self.claim(CLAIM_PULLED, account, limit, owner, lease).await?;
        let mut leased = Vec::new();
        let mut held = Vec::new();
        for row in rows {
            if row.try_get("is_held")? {
                held.push(row.try_get("id")?);
            } else {
                leased.push(row);
            }
        }
        Ok((claimed(&leased)?, held))
    }

    /// Leases one row, due or not; empty while somebody else holds it.
    pub async fn claim_one(&self, id: i64, owner: &str, lease: Duration) -> Result<Claim<Leased>, StoreError> {
        let rows = sqlx::query(CLAIM_ONE).bind(id).bind(owner).bind(interval(lease)).fetch_all(self.pool()).await?;
        claimed(&rows)
    }

    /// Leases up to `limit` due refunds of an account.
    pub async fn claim_refunds(
        &self,
        account: &str,
        limit: i64,
        owner: &str,
        lease: Duration,
    ) -> Result<Vec<LeasedRefund>, StoreError> {
        let rows = self.claim(CLAIM_REFUNDS, account, limit, owner, lease).await?;
        let leased = |row: &sqlx::postgres::PgRow| {
            Ok(LeasedRefund {
                id: row.try_get("id")?,
                transaction_id: row.try_get("transaction_id")?,
                epoch: row.try_get("lease_epoch")?,
            })
        };
        rows.iter().map(leased).collect()
    }

    /// Could [`Store::claim_due`] lease a row of the account now?
    pub async fn is_due(&self, account: &str) -> Result<bool, StoreError> {
        Ok(sqlx::query_scalar(IS_DUE).bind(account).fetch_one(self.pool()).await?)
    }

    /// Could [`Store::claim_refunds`] lease a refund of the account now?
    pub async fn is_refund_due(&self, account: &str) -> Result<bool, StoreError> {
        Ok(sqlx::query_scalar(IS_REFUND_DUE).bind(account).fetch_one(self.pool()).await?)
    }

    /// Gives back the leases of an owner that has ended in order, on rows, refunds and webhooks; returns how many. What it costs goes
    /// by what is due and not by the table: a lease that it does not come to runs out by itself.
    pub async fn release(&self, owner: &str) -> Result<u64, StoreError> {
        let rows = sqlx::query(RELEASE).bind(owner).bind(RELEASE_MAX).execute(self.pool()).await?.rows_affected();
        let refunds = sqlx::query(RELEASE_REFUNDS).bind(owner).execute(self.pool()).await?.rows_affected();
        Ok(rows.saturating_add(refunds).saturating_add(self.release_webhooks(owner).await?))
    }

    /// Gives back leases that were not used, unless somebody else holds them by now: (row, epoch).
    pub async fn release_rows(&self, leases: &[(i64, i64)]) -> Result<(), StoreError> {
        let ids: Vec<i64> = leases.iter().map(|l| l.0).collect();
        let epochs: Vec<i64> = leases.iter().map(|l| l.1).collect();
        sqlx::query(RELEASE_ROWS).bind(ids).bind(epochs).execute(self.pool()).await?;
        Ok(())
    }

    /// Leases due rows whose account is not among `known`.
    pub async fn claim_strays(
        &self,
        known: &[String],
        limit: i64,
        owner: &str,
        lease: Duration,
    ) -> Result<Vec<i64>, StoreError> {
        let rows = sqlx::query(STRAYS)
            .bind(known)
            .bind(limit)
            .bind(owner)
            .bind(interval(lease))
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(|r| Ok(r.try_get("id")?)).collect()
    }

    /// Makes rows due about which nobody could be asked and somebody can be now; returns how many. `of_payouts` are those of
    /// the `known` accounts that can be asked about payouts.
    pub async fn find_again(&self, known: &[String], of_payouts: &[String]) -> Result<u64, StoreError> {
        Ok(sqlx::query(FOUND_AGAIN).bind(known).bind(of_payouts).execute(self.pool()).await?.rows_affected())
    }

    /// Makes rows due now, before all others of `account`, and wakes its sweepers.
    pub async fn pull(&self, account: &str, ids: &[i64]) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        pull(&mut tx, account, ids).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Makes rows due now, before all others of `account`, and wakes its sweepers once this transaction is committed.
pub async fn pull(tx: &mut Tx, account: &str, ids: &[i64]) -> Result<(), StoreError> {
    sqlx::query(PULL).bind(ids).execute(&mut **tx).await?;
    put_forward(tx, ids).await?;
    sqlx::query(WAKE).bind(account).execute(&mut **tx).await?;
    Ok(())
}

/// Rows that are due are asked before all others of their accounts.
pub(super) async fn put_forward(tx: &mut Tx, ids: &[i64]) -> Result<(), StoreError> {
    sqlx::query(PUT_FORWARD).bind(ids).execute(&mut **tx).await?;
    Ok(())
}

/// Rows of a claim as they were returned.
pub(super) fn claimed(rows: &[sqlx::postgres::PgRow]) -> Result<Claim<Leased>, StoreError> {
    let at = rows.first().map(|r| r.try_get("at")).transpose()?.unwrap_or_default();
    let leased = |row: &sqlx::postgres::PgRow| -> Result<Leased, StoreError> {
        Ok(Leased {
            id: row.try_get("id")?,
            epoch: row.try_get("lease_epoch")?,
            partner_reference_no: row.try_get("partner_reference_no")?,
            reference_no: row.try_get("reference_no")?,
            external_id: row.try_get("external_id")?,
            is_payout: row.try_get("is_payout")?,
            due_at: row.try_get("due_at")?,
        })
    };
    Ok(Claim { rows: rows.iter().map(leased).collect::<Result<_, _>>()?, at })
}

//! Leases what is due when there is more of it than calls: most of a chunk goes to the rows with the most rupiah at stake,
//! the rest to those that waited longest. Plain first come, first served is `leases`.
//!
//! Amounts stand in no index of what is due, because such an index would be written at every settle. So a window of the
//! oldest due rows is read and chosen from; what lies behind the window waits for its turn.

use std::{cmp::Reverse, time::Duration};

use sqlx::Row;

use crate::store::{
    Store, StoreError,
    leases::{Claim, Leased, claimed},
    limits::interval,
};

/// How many rows, and chosen from how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Rows to lease.
    pub limit: i64,
    /// Of them, rows that waited longest.
    pub oldest: i64,
    /// Rows that are looked at, the longest due ones.
    pub window: i64,
}

// What is at stake is rupiah times the time since they were due and a minute more: what has just become due is not worth
// nothing, and a small payment overtakes a large one in the end. Rows are locked after they were chosen: whoever chooses the same ones at the same moment gets the rest. By ctid, and as arrays:
// whatever the planner guesses of their number, it cannot take a scan of the table for it.
const CLAIM: &str = "-- store::dearest::claim
with waiting as materialized (
  select ctid as place, amount * (60 + extract(epoch from now() - next_check_at)::bigint) as stake,
         row_number() over (order by next_check_at) as nth
    from (select ctid, amount, next_check_at from rekon.transactions
           where account = $1 and next_check_at <= now() and (lease_until is null or lease_until < now())
           order by next_check_at limit $2) as due
), chosen as (
  select place from waiting order by nth > $3, stake desc limit $4
), held as (
  select ctid as place from rekon.transactions
   where ctid = any(array(select place from chosen))
     and account = $1 and next_check_at <= now() and (lease_until is null or lease_until < now())
   for update skip locked)
update rekon.transactions t set lease_owner = $5, lease_until = now() + $6, lease_epoch = t.lease_epoch + 1
 where t.ctid = any(array(select place from held))
returning t.id, t.lease_epoch, t.partner_reference_no, t.reference_no, t.external_id, t.direction = 'out' as is_payout, t.next_check_at as due_at, now() as at,
          (t.amount * (60 + extract(epoch from now() - t.next_check_at)::bigint))::bigint as stake";

impl Store {
    /// Leases due rows of an account, the dearest first in the answer; of a backlog as large as the limit simply all.
    pub async fn claim_dearest(
        &self,
        account: &str,
        choice: Choice,
        owner: &str,
        lease: Duration,
    ) -> Result<Claim<Leased>, StoreError> {
        let mut rows = sqlx::query(CLAIM)
            .bind(account)
            .bind(choice.window)
            .bind(choice.oldest)
            .bind(choice.limit)
            .bind(owner)
            .bind(interval(lease))
            .fetch_all(self.pool())
            .await?;
        rows.sort_by_cached_key(|row| Reverse(row.try_get::<i64, _>("stake").unwrap_or_default()));
        claimed(&rows)
    }
}

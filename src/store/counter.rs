//! Looks for another order that a payment may belong to, before money is reserved. A payment's id that is unique goes by its
//! own index, what needs an amount, too, by the pages of a time span; no search reads the table.

use chrono::{DateTime, Utc};
use sqlx::Row;

use crate::{
    domain::{
        money::Sen,
        refund::{Candidate, CandidateWhy},
    },
    store::{StoreError, Tx, error::inconsistent},
};

/// What is searched for.
#[derive(Debug, Clone)]
pub struct Search<'a> {
    /// The payment's own row, which is no candidate.
    pub transaction_id: i64,
    /// The account: money belongs nowhere else.
    pub account: &'a str,
    /// Ids of the payment.
    pub payment_ids: Vec<&'a str>,
    /// Is another order with such an id evidence by itself? Only where the provider gives an id to one payment alone.
    pub same_payment: bool,
    /// What was paid and from when to when another order counts that has such an id and this amount; `None`: it does not.
    pub same_id_and_amount: Option<(Sen, DateTime<Utc>, DateTime<Utc>)>,
    /// What was paid, and what would go back: amounts that another order may wait for.
    pub amounts: Vec<Sen>,
    /// From when to when an order of the same amount counts; `None`: it does not.
    pub near: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

const SAME_PAYMENT: &str = "-- store::counter::same_payment
select o.id, o.partner_reference_no, 'same_payment' as why
  from rekon.facts f join rekon.transactions o on o.id = f.transaction_id
 where f.unique_payment_id = any($3) and f.transaction_id <> $2 and o.account = $1 and o.direction = 'in'
 order by f.answered_at limit 1";

/// By the time of payment; the facts of the few rows of that time and amount by their key. Not `exists`: the planner would be
/// free to begin with the facts, which have no index on such an id.
const SAME_ID_AND_AMOUNT: &str = "-- store::counter::same_id_and_amount
select o.id, o.partner_reference_no, 'same_payment' as why
  from rekon.transactions o
 where o.paid_at between $5 and $6 and o.account = $1 and o.id <> $2 and o.direction = 'in' and o.paid_amount * 100 = $4::bigint
   and (select true from rekon.facts f
         where f.transaction_id = o.id and f.observation = 'PAID' and f.payment_id = any($3) limit 1)
 order by o.paid_at, o.id limit 1";

const SAME_AMOUNT: &str = "-- store::counter::same_amount
(select o.id, o.partner_reference_no, 'open_order' as why
   from rekon.transactions o
  where o.created_at between $4 and $5 and o.account = $1 and o.id <> $2 and o.direction = 'in' and o.amount * 100 = any($3::bigint[])
    and o.state in ('pending', 'unpaid') and o.order_status = 'open'
  order by o.created_at, o.id limit 1)
union all
(select o.id, o.partner_reference_no, 'paid_nearby' as why
   from rekon.transactions o
  where o.paid_at between $4 and $5 and o.account = $1 and o.id <> $2 and o.direction = 'in' and o.paid_amount * 100 = any($3::bigint[])
    and o.state in ('paid', 'held')
  order by o.paid_at, o.id limit 1)
limit 1";

/// The first order that the payment may belong to, strongest evidence first.
pub async fn candidate(tx: &mut Tx, search: &Search<'_>) -> Result<Option<Candidate>, StoreError> {
    let has_id = !search.payment_ids.is_empty();
    if has_id && search.same_payment {
        let same = sqlx::query(SAME_PAYMENT)
            .bind(search.account)
            .bind(search.transaction_id)
            .bind(&search.payment_ids)
            .fetch_optional(&mut **tx)
            .await?;
        if let Some(row) = same {
            return Ok(Some(read(&row)?));
        }
    }
    if let Some((paid, from, to)) = search.same_id_and_amount.filter(|_| has_id) {
        let alike = sqlx::query(SAME_ID_AND_AMOUNT)
            .bind(search.account)
            .bind(search.transaction_id)
            .bind(&search.payment_ids)
            .bind(paid.sen())
            .bind(from)
            .bind(to)
            .fetch_optional(&mut **tx)
            .await?;
        if let Some(row) = alike {
            return Ok(Some(read(&row)?));
        }
    }
    let Some((from, to)) = search.near else { return Ok(None) };
    let amounts: Vec<i64> = search.amounts.iter().map(|amount| amount.sen()).collect();
    let near = sqlx::query(SAME_AMOUNT)
        .bind(search.account)
        .bind(search.transaction_id)
        .bind(amounts)
        .bind(from)
        .bind(to)
        .fetch_optional(&mut **tx)
        .await?;
    near.map(|row| read(&row)).transpose()
}

fn read(row: &sqlx::postgres::PgRow) -> Result<Candidate, StoreError> {
    let why: String = row.try_get("why")?;
    Ok(Candidate {
        transaction_id: row.try_get("id")?,
        partner_reference_no: row.try_get("partner_reference_no")?,
        why: CandidateWhy::from_word(&why).ok_or_else(|| inconsistent("refund_saga", "candidate_why", &why))?,
    })
}

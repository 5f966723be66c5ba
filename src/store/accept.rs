//! Expected payments that come in one request: inserted where they are new, compared where they are not. For a handful of
//! rows at a time; a file goes by COPY and a temporary table (`import`), which would cost each request its catalogue.

use sqlx::Row;

use crate::{
    domain::order::OrderStatus,
    store::{
        StoreError, Tx,
        import::NewRow,
        reads::{TransactionRow, transaction},
    },
};

/// What stands under a row's reference after the insert.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Which row of the request, from 0.
    pub line: i64,
    /// What stands.
    pub row: TransactionRow,
    /// Where the request says otherwise, as `amount 1300.00 here, 1200.00 there`.
    pub differs: Vec<String>,
}

// In the order of the keys, so that two requests with the same rows wait for one another instead of deadlocking.
const INSERT: &str = "-- store::accept::insert
insert into rekon.transactions (account, partner_reference_no, reference_no, external_id, direction, amount, order_status, created_at, expires_at,
                                qr_content)
select distinct on (account, partner_reference_no) account, partner_reference_no, reference_no, external_id, direction, sen::numeric / 100,
       coalesce(order_status, 'open'), coalesce(created_at, now()), expires_at, qr_content
  from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::text[], $9::timestamptz[],
              $10::timestamptz[], $11::text[])
       as g (line, account, partner_reference_no, reference_no, external_id, direction, sen, order_status, created_at, expires_at, qr_content)
 order by account, partner_reference_no, line
on conflict (account, partner_reference_no) do nothing
returning id";

// What a row leaves empty says nothing and agrees with whatever stands; direction and amount always say something.
const STANDS: &str = "-- store::accept::stands
select g.line, t.id, t.account, t.partner_reference_no, t.reference_no, t.external_id, t.direction, (t.amount * 100)::bigint as amount, t.currency,
       t.order_status, t.created_at, t.expires_at, t.state, t.flags, t.flags_open, (t.paid_amount * 100)::bigint as paid_amount,
       (t.fee_amount * 100)::bigint as fee_amount, (t.refunded_amount * 100)::bigint as refunded_amount,
       (t.refunded_outside * 100)::bigint as refunded_outside, (t.refund_reserved * 100)::bigint as refund_reserved, t.paid_at, t.checks,
       t.last_checked_at, t.next_check_at,
       array_remove(array[
         case when g.sen <> t.amount * 100 then format('amount %s here, %s there', (g.sen::numeric / 100)::numeric(18, 2), t.amount) end,
         case when g.direction <> t.direction then format('direction %s here, %s there', g.direction, t.direction) end,
         case when g.order_status <> t.order_status then format('order_status %s here, %s there', g.order_status, t.order_status) end,
         case when g.reference_no is distinct from t.reference_no and g.reference_no is not null
              then format('reference_no %s here, %s there', g.reference_no, coalesce(t.reference_no, 'none')) end,
         case when g.external_id is distinct from t.external_id and g.external_id is not null
              then format('external_id %s here, %s there', g.external_id, coalesce(t.external_id, 'none')) end,
         case when g.created_at is distinct from t.created_at and g.created_at is not null then 'created_at' end,
         case when g.expires_at is distinct from t.expires_at and g.expires_at is not null then 'expires_at' end,
         case when g.qr_content is distinct from t.qr_content and g.qr_content is not null then 'qr_content' end
       ], null) as differs
  from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::text[], $9::timestamptz[],
              $10::timestamptz[], $11::text[])
       as g (line, account, partner_reference_no, reference_no, external_id, direction, sen, order_status, created_at, expires_at, qr_content)
  join rekon.transactions t on t.account = g.account and t.partner_reference_no = g.partner_reference_no
 order by g.line";

/// Inserts the rows whose reference does not stand yet, the first of each: their ids.
pub async fn insert(tx: &mut Tx, rows: &[NewRow]) -> Result<Vec<i64>, StoreError> {
    Ok(bound(sqlx::query(INSERT), rows)
        .fetch_all(&mut **tx)
        .await?
        .iter()
        .map(|row| row.try_get("id"))
        .collect::<Result<_, _>>()?)
}

/// What stands under each row's reference, in the order of the request.
pub async fn stands(tx: &mut Tx, rows: &[NewRow]) -> Result<Vec<Standing>, StoreError> {
    let found = bound(sqlx::query(STANDS), rows).fetch_all(&mut **tx).await?;
    found
        .iter()
        .map(|row| {
            Ok(Standing { line: row.try_get("line")?, row: transaction(row)?, differs: row.try_get("differs")? })
        })
        .collect()
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

/// Binds the rows column by column.
fn bound<'q>(query: Query<'q>, rows: &[NewRow]) -> Query<'q> {
    fn column<T>(rows: &[NewRow], value: impl Fn(&NewRow) -> T) -> Vec<T> {
        rows.iter().map(value).collect()
    }
    query
        .bind(column(rows, |row| row.line))
        .bind(column(rows, |row| row.account.clone()))
        .bind(column(rows, |row| row.partner_reference_no.clone()))
        .bind(column(rows, |row| row.reference_no.clone()))
        .bind(column(rows, |row| row.external_id.clone()))
        .bind(column(rows, |row| row.direction.as_str()))
        .bind(column(rows, |row| row.amount.sen()))
        .bind(column(rows, |row| row.order_status.map(OrderStatus::as_str)))
        .bind(column(rows, |row| row.created_at))
        .bind(column(rows, |row| row.expires_at))
        .bind(column(rows, |row| row.qr_content.clone()))
}

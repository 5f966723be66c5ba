//! Many expected payments at once: lines are copied into a temporary table, compared there with what stands, and inserted in
//! one statement. One transaction; whoever drops a [`Stage`] has written nothing. What a line may hold is not judged here.

use chrono::{DateTime, Utc};
use sqlx::Row;

use crate::{
    domain::{
        money::Sen,
        order::{Direction, OrderStatus},
    },
    store::{Store, StoreError, Tx},
};

/// One expected payment as the merchant wrote it. `None` where he wrote nothing and the default holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRow {
    /// The line of the file it began on, from 1; tells it from all others of its import.
    pub line: i64,
    /// A configured account.
    pub account: String,
    /// Our reference.
    pub partner_reference_no: String,
    /// The provider's reference.
    pub reference_no: Option<String>,
    /// The X-EXTERNAL-ID of the original request.
    pub external_id: Option<String>,
    /// In or out.
    pub direction: Direction,
    /// Expected.
    pub amount: Sen,
    /// The merchant's order.
    pub order_status: Option<OrderStatus>,
    /// When it was made; to the microsecond.
    pub created_at: Option<DateTime<Utc>>,
    /// End of validity; to the microsecond.
    pub expires_at: Option<DateTime<Utc>>,
    /// The QRIS payload.
    pub qr_content: Option<String>,
}

/// A staged line that contradicts what stands under its reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The staged line.
    pub line: i64,
    /// The earlier line of the same import it contradicts; `None`: the row that stands in the ledger.
    pub first_line: Option<i64>,
    /// What differs, as `amount 1300.00 here, 1200.00 there`.
    pub columns: Vec<String>,
}

/// An import under way.
#[derive(Debug)]
pub struct Stage {
    tx: Tx,
    staged: u64,
}

const PATIENCE: &str = "-- store::import::patience
select set_config('statement_timeout', '0', true)";

const CREATE: &str = "-- store::import::create
create temporary table rekon_import (
  line bigint not null, account text not null, partner_reference_no text not null, reference_no text, external_id text, direction text not null,
  amount numeric(18, 2) not null, order_status text, created_at timestamptz, expires_at timestamptz, qr_content text
)";

const DROP: &str = "-- store::import::drop
drop table if exists pg_temp.rekon_import";

const COPY: &str = "copy pg_temp.rekon_import (line, account, partner_reference_no, reference_no, external_id, direction, amount, order_status,
created_at, expires_at, qr_content) from stdin";

const ANALYZE: &str = "-- store::import::analyze
analyze pg_temp.rekon_import";

// What a line leaves empty says nothing and agrees with whatever stands; direction and amount always say something.
const DIFFERENCES: &str = "-- store::import::differences
with doubled as (
  select account, partner_reference_no, min(line) as first_line from pg_temp.rekon_import group by account, partner_reference_no having count(*) > 1
), stands as (
  select t.account, t.partner_reference_no, null::bigint as first_line, t.reference_no, t.external_id, t.direction, t.amount, t.order_status,
         t.created_at, t.expires_at, t.qr_content
    from rekon.transactions t
   where exists (select 1 from pg_temp.rekon_import s where s.account = t.account and s.partner_reference_no = t.partner_reference_no)
  union all
  select s.account, s.partner_reference_no, s.line, s.reference_no, s.external_id, s.direction, s.amount, coalesce(s.order_status, 'open'),
         s.created_at, s.expires_at, s.qr_content
    from doubled d join pg_temp.rekon_import s on s.line = d.first_line
   where not exists (select 1 from rekon.transactions t where t.account = s.account and t.partner_reference_no = s.partner_reference_no)
), compared as (
  select s.line, b.first_line, array_remove(array[
      case when s.amount <> b.amount then format('amount %s here, %s there', s.amount, b.amount) end,
      case when s.direction <> b.direction then format('direction %s here, %s there', s.direction, b.direction) end,
      case when s.order_status <> b.order_status then format('order_status %s here, %s there', s.order_status, b.order_status) end,
      case when s.reference_no is distinct from b.reference_no and s.reference_no is not null
           then format('reference_no %s here, %s there', s.reference_no, coalesce(b.reference_no, 'none')) end,
      case when s.external_id is distinct from b.external_id and s.external_id is not null
           then format('external_id %s here, %s there', s.external_id, coalesce(b.external_id, 'none')) end,
      case when s.created_at is distinct from b.created_at and s.created_at is not null then 'created_at' end,
      case when s.expires_at is distinct from b.expires_at and s.expires_at is not null then 'expires_at' end,
      case when s.qr_content is distinct from b.qr_content and s.qr_content is not null then 'qr_content' end
    ], null) as columns
    from pg_temp.rekon_import s join stands b using (account, partner_reference_no)
   where b.first_line is null or s.line <> b.first_line
)
select line, first_line, columns, count(*) over () as total from compared where cardinality(columns) > 0 order by line limit $1";

const NEW_KEYS: &str = "-- store::import::new_keys
select count(*) from (select distinct account, partner_reference_no from pg_temp.rekon_import) s
 where not exists (select 1 from rekon.transactions t where t.account = s.account and t.partner_reference_no = s.partner_reference_no)";

// In the order of the keys, so that two imports of the same file wait for one another instead of deadlocking.
const INSERT: &str = "-- store::import::insert
insert into rekon.transactions (account, partner_reference_no, reference_no, external_id, direction, amount, order_status, created_at, expires_at,
                                qr_content)
select distinct on (account, partner_reference_no) account, partner_reference_no, reference_no, external_id, direction, amount,
       coalesce(order_status, 'open'), coalesce(created_at, now()), expires_at, qr_content
  from pg_temp.rekon_import order by account, partner_reference_no, line
on conflict (account, partner_reference_no) do nothing";

impl Stage {
    /// Begins: one transaction with a temporary table that lives in it. Statements may take as long as they need.
    pub async fn begin(store: &Store) -> Result<Self, StoreError> {
        let mut tx = store.begin().await?;
        sqlx::query(PATIENCE).execute(&mut *tx).await?;
        sqlx::query(CREATE).execute(&mut *tx).await?;
        Ok(Self { tx, staged: 0 })
    }

    /// Copies rows into the temporary table.
    pub async fn load(&mut self, rows: &[NewRow]) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        let text: String = rows.iter().map(copy_line).collect();
        let mut copy = self.tx.copy_in_raw(COPY).await?;
        copy.send(text.into_bytes()).await?;
        let copied = copy.finish().await?;
        self.staged = self.staged.saturating_add(copied);
        Ok(())
    }

    /// How many rows were loaded.
    pub fn staged(&self) -> u64 {
        self.staged
    }

    /// Tells the planner what was loaded; call it once after the last row.
    pub async fn loaded(&mut self) -> Result<(), StoreError> {
        sqlx::query(ANALYZE).execute(&mut *self.tx).await?;
        Ok(())
    }

    /// Staged lines that contradict what stands: how many, and the first `limit` of them by line.
    pub async fn differences(&mut self, limit: i64) -> Result<(u64, Vec<Difference>), StoreError> {
        let rows = sqlx::query(DIFFERENCES).bind(limit.max(1)).fetch_all(&mut *self.tx).await?;
        let total: i64 = rows.first().map_or(Ok(0), |row| row.try_get("total"))?;
        let differences = rows
            .iter()
            .map(|row| {
                Ok(Difference {
                    line: row.try_get("line")?,
                    first_line: row.try_get("first_line")?,
                    columns: row.try_get("columns")?,
                })
            })
            .collect::<Result<Vec<_>, StoreError>>()?;
        Ok((u64::try_from(total).unwrap_or(0), differences))
    }

    /// Inserts every staged reference that does not stand yet, its first line each: how many were expected to be new, and
    /// how many were. The two differ where somebody else inserted in between; compare again then.
    pub async fn insert(&mut self) -> Result<(u64, u64), StoreError> {
        let expected: i64 = sqlx::query_scalar(NEW_KEYS).fetch_one(&mut *self.tx).await?;
        let inserted = sqlx::query(INSERT).execute(&mut *self.tx).await?.rows_affected();
        Ok((u64::try_from(expected).unwrap_or(0), inserted))
    }

    /// Makes it true.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        sqlx::query(DROP).execute(&mut *self.tx).await?;
        Ok(self.tx.commit().await?)
    }

    /// Takes it all back.
    pub async fn roll_back(self) -> Result<(), StoreError> {
        Ok(self.tx.rollback().await?)
    }
}

/// One line of COPY's text format.
fn copy_line(row: &NewRow) -> String {
    let time = |at: &Option<DateTime<Utc>>| at.map(|at| at.to_rfc3339());
    let fields = [
        Some(row.line.to_string()),
        Some(escaped(&row.account)),
        Some(escaped(&row.partner_reference_no)),
        row.reference_no.as_deref().map(escaped),
        row.external_id.as_deref().map(escaped),
        Some(row.direction.as_str().to_owned()),
        Some(row.amount.to_string()),
        row.order_status.map(|status| status.as_str().to_owned()),
        time(&row.created_at),
        time(&row.expires_at),
        row.qr_content.as_deref().map(escaped),
    ];
    let mut line = fields.map(|field| field.unwrap_or_else(|| "\\N".to_owned())).join("\t");
    line.push('\n');
    line
}

fn escaped(text: &str) -> String {
    if !text.contains(['\\', '\t', '\n', '\r']) {
        return text.to_owned();
    }
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copied_line_keeps_what_copy_would_take_for_its_own_signs() {
        let row = NewRow {
            line: 7,
            account: "shop".into(),
            partner_reference_no: "a\\N\tb".into(),
            reference_no: None,
            external_id: None,
            direction: Direction::In,
            amount: Sen::new(120_005),
            order_status: None,
            created_at: None,
            expires_at: None,
            qr_content: None,
        };
        assert_eq!(copy_line(&row), "7\tshop\ta\\\\N\\tb\t\\N\t\\N\tin\t1200.05\t\\N\t\\N\t\\N\t\\N\n");
    }
}

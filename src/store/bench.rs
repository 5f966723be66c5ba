//! What `rekon bench` does to its own throw-away cluster: fills it, and reads counters that no other command needs. Works
//! only as superuser; nothing else in this program calls it. Absent on purpose: any statement of the measured path.

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, Executor as _, Row};

use crate::store::{Store, StoreError};

/// Rows to add: references are `prefix` and eight digits, the provider's the same behind an `R`.
#[derive(Debug, Clone, Copy)]
pub struct Supply<'a> {
    /// Their account.
    pub account: &'a str,
    /// What their references begin with.
    pub prefix: &'a str,
    /// Number of the first.
    pub first: i64,
    /// How many.
    pub count: i64,
    /// Expected, sen.
    pub amount_sen: i64,
    /// Due now; else in a month or later.
    pub is_due: bool,
}

/// What a span of time left behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Rows whose answer was settled.
    pub checks: i64,
    /// Facts.
    pub facts: i64,
    /// Journal entries.
    pub entries: i64,
    /// Lines of the ledger.
    pub postings: i64,
}

// Loads past the triggers, as an old table would stand there: rows that are not due cannot be inserted by the front door.
const LOAD: &str = "-- store::bench::load
set local session_replication_role = replica";

const SUPPLY: &str = "-- store::bench::supply
insert into rekon.transactions (account, partner_reference_no, reference_no, amount, created_at, next_check_at)
select $1, r, 'R' || r, $5::bigint::numeric / 100, now() - (n % 3600) * interval '1 second',
       case when $6 then now() else now() + interval '30 days' + n * interval '1 second' end
  from (select n, $2 || lpad(n::text, 8, '0') as r from generate_series($3::bigint, $3 + $4::bigint - 1) as n) as s";

const WRITTEN: &str = "-- store::bench::written
select (select count(*) from rekon.transactions where last_checked_at >= $1 and last_checked_at < $2) as checks,
       (select count(*) from rekon.facts where answered_at >= $1 and answered_at < $2) as facts,
       (select count(*) from rekon.journal where at >= $1 and at < $2) as entries,
       (select count(*) from rekon.postings p join rekon.journal j using (transaction_id, entry_no) where j.at >= $1 and j.at < $2) as postings";

const INSTANCES: &str = "-- store::bench::instances
select setval('rekon.instances', $1)";

const DUE_ROWS: &str = "-- store::bench::due_rows
select count(*) from rekon.transactions where account = $1 and next_check_at <= now()";

const NOTIFIED: &str = "-- store::bench::notified
select count(distinct t.id) from rekon.transactions t join rekon.facts f on f.transaction_id = t.id
 where t.account = $1 and t.partner_reference_no = any($2) and f.source = 'notification'";

const SETTING: &str = "-- store::bench::setting
select current_setting($1)";

impl Store {
    /// Makes a database beside this one.
    pub async fn create_database(&self, name: &'static str) -> Result<(), StoreError> {
        self.pool().execute(AssertSqlSafe(format!("create database {name}"))).await?;
        Ok(())
    }

    /// Counts processes from here on: two databases before one provider must not number theirs alike, or their requests would
    /// carry the same X-EXTERNAL-ID.
    pub async fn count_instances_from(&self, first: i64) -> Result<(), StoreError> {
        sqlx::query(INSTANCES).bind(first).execute(self.pool()).await?;
        Ok(())
    }

    /// Adds rows.
    pub async fn supply(&self, supply: &Supply<'_>) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        tx.execute(sqlx::raw_sql("set local statement_timeout = 0")).await?;
        tx.execute(LOAD).await?;
        sqlx::query(SUPPLY)
            .bind(supply.account)
            .bind(supply.prefix)
            .bind(supply.first)
            .bind(supply.count)
            .bind(supply.amount_sen)
            .bind(supply.is_due)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Brings the payments' statistics and visibility up to date and writes dirty pages out, so that no measurement pays
    /// for a load. The other tables are left to autovacuum, as they are in a new database: one that is vacuumed while it
    /// is empty is taken for empty by every plan that is made then.
    pub async fn settle_down(&self) -> Result<(), StoreError> {
        let mut connection = self.pool().acquire().await?;
        for statement in
            ["set statement_timeout = 0", "vacuum analyze rekon.transactions", "checkpoint", "reset statement_timeout"]
        {
            connection.execute(sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))).await?;
        }
        Ok(())
    }

    /// What was written in a span of database time.
    pub async fn written(&self, from: DateTime<Utc>, until: DateTime<Utc>) -> Result<Written, StoreError> {
        let row = sqlx::query(WRITTEN).bind(from).bind(until).fetch_one(self.pool()).await?;
        Ok(Written {
            checks: row.try_get("checks")?,
            facts: row.try_get("facts")?,
            entries: row.try_get("entries")?,
            postings: row.try_get("postings")?,
        })
    }

    /// How many rows of the account are due.
    pub async fn due_rows(&self, account: &str) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar(DUE_ROWS).bind(account).fetch_one(self.pool()).await?)
    }

    /// How many of these payments have a notification written down.
    pub async fn notified(&self, account: &str, references: &[String]) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar(NOTIFIED).bind(account).bind(references).fetch_one(self.pool()).await?)
    }

    /// A setting of the server as it says it itself.
    pub async fn setting(&self, name: &str) -> Result<String, StoreError> {
        Ok(sqlx::query_scalar(SETTING).bind(name).fetch_one(self.pool()).await?)
    }

    /// Begins counting statements; false where the server has no pg_stat_statements.
    pub async fn count_statements(&self) -> Result<bool, StoreError> {
        if !self.setting("shared_preload_libraries").await?.contains("pg_stat_statements") {
            return Ok(false);
        }
        self.pool().execute(sqlx::raw_sql("create extension if not exists pg_stat_statements")).await?;
        Ok(true)
    }

    /// Statements of this database since the counters were last reset, BEGIN and COMMIT included, as clients sent them.
    pub async fn statements(&self) -> Result<i64, StoreError> {
        let sum =
            "-- without a name to be prepared by: only the bench's own cluster has this extension
                    select coalesce(sum(calls), 0)::bigint from pg_stat_statements s join pg_database d on d.oid = s.dbid
                    where d.datname = current_database()";
        Ok(sqlx::query_scalar(sum).fetch_one(self.pool()).await?)
    }
}

//! Postgres: rows in, domain types out; leases, journal, limits, runs. No HTTP and no rules of money.
//!
//! Statements are constants that begin with `-- store::<file>::<name>`; a test prepares every one of them against the
//! migrated schema. Transactions are begun by [`Store::begin`] and closed by their owner; nothing that could reach a
//! provider is ever in scope of one.

pub mod accept;
pub mod bench;
pub mod embedded;
pub mod cases;
pub mod counter;
pub mod control;
pub mod day;
pub mod doctor;
pub mod dearest;
pub mod drift;
pub mod error;
pub mod gauges;
pub mod idempotency;
pub mod import;
pub mod leases;
pub mod limits;
pub mod notifications;
pub mod pauses;
pub mod provider_tokens;
pub mod people;
pub mod reads;
pub mod qr_cancels;
pub mod refunds;
pub mod released;
pub mod replay;
pub mod runs;
pub mod seals;
pub mod sentinel;
pub mod settle;
pub mod slots;
mod target;
pub mod upkeep;
pub mod verify;
pub mod wake;
pub mod webhooks;

use std::time::Duration;

use sqlx::{
    Connection as _, Postgres, Transaction,
    postgres::{PgConnectOptions, PgPool, PgPoolOptions},
};

pub use error::StoreError;

/// A database transaction.
pub type Tx = Transaction<'static, Postgres>;

/// How to connect.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// `postgres://…`; a secret, never logged.
    pub url: String,
    /// Most connections of this process.
    pub max_connections: u32,
    /// How long to wait for a free connection.
    pub acquire_timeout: Duration,
    /// How long one statement may run.
    pub statement_timeout: Duration,
    /// How long a statement may wait for a lock: a merchant's transaction may stay open for as long as it likes.
    pub lock_timeout: Duration,
    /// A connection unused for so long is closed.
    pub idle_timeout: Duration,
}

/// The database, connected.
#[derive(Debug, Clone)]
pub struct Store {
    pool: PgPool,
}

static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

const SCHEMA_VERSION: &str = "-- store::schema_version
select coalesce(max(version), 0) from rekon._migrations where success";

const ONE_MOMENT: &str = "-- store::one_moment
set transaction isolation level repeatable read, read only";

const PATIENT: &str = "-- store::patient
set lock_timeout = 0";

const GRANT_ROLES: &str = "-- store::grant_roles
select rekon.grant_roles()";

const APPLIED: &str = "-- store::applied
select version from rekon._migrations where success order by version";

const JOBS_APPLIED: &str = "-- store::jobs_applied
select version from apalis._sqlx_migrations where success order by version";

const NOW: &str = "-- store::now
select clock_timestamp()";

const INSTANCE: &str = "-- store::instance
select nextval('rekon.instances')";

impl Store {
    /// Connects; fails at once when the database cannot be reached.
    pub async fn connect(options: &ConnectOptions) -> Result<Self, StoreError> {
        let pool = pool_options(options).connect_with(connect_options(options)?).await.map_err(|e| match e {
            sqlx::Error::Database(_) => StoreError::from(e),
            other => StoreError::Unavailable(other),
        })?;
        Ok(Self { pool })
    }

    /// The same database by another way, which is gone when it is first needed.
    pub fn connect_later(options: &ConnectOptions) -> Result<Self, StoreError> {
        Ok(Self { pool: pool_options(options).connect_lazy_with(connect_options(options)?) })
    }

    /// The pool, for the job runtime's own storage.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Applies what is missing of our schema; does nothing on a current one. Waits as long as it takes for another process
    /// that does the same; each migration says itself how long it waits for a table.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await?.detach();
        sqlx::query(PATIENT).execute(&mut connection).await?;
        MIGRATOR.run(&mut connection).await.map_err(|e| StoreError::Migrate(e.to_string()))?;
        Ok(connection.close().await?)
    }

    /// Refuses a schema that is not exactly the one this program was built with.
    pub async fn check_schema(&self) -> Result<(), StoreError> {
        let wanted = MIGRATOR.iter().map(|m| m.version).max().unwrap_or(0);
        let found: i64 = sqlx::query_scalar(SCHEMA_VERSION).fetch_one(&self.pool).await?;
        if found == wanted {
            Ok(())
        } else {
            Err(StoreError::Schema(format!("schema version {found}, program version {wanted}")))
        }
    }

    /// Grants the roles `rekon_app` and `rekon_merchant`, where they exist, what each may: after every migration.
    pub async fn grant_roles(&self) -> Result<(), StoreError> {
        sqlx::query(GRANT_ROLES).execute(&self.pool).await?;
        Ok(())
    }

    /// The migrations of this program that the database lacks, as `16 roles`; all of them where there is no schema.
    pub async fn missing_migrations(&self) -> Result<Vec<String>, StoreError> {
        let applied = self.versions(APPLIED).await?;
        let lacking = MIGRATOR.iter().filter(|m| !applied.contains(&m.version));
        Ok(lacking.map(|m| format!("{} {}", m.version, m.description)).collect())
    }

    /// The migrations of the job runtime that the database has.
    pub async fn job_migrations(&self) -> Result<Vec<i64>, StoreError> {
        self.versions(JOBS_APPLIED).await
    }

    async fn versions(&self, sql: &'static str) -> Result<Vec<i64>, StoreError> {
        match sqlx::query_scalar(sql).fetch_all(&self.pool).await.map_err(StoreError::from) {
            Err(StoreError::Schema(_)) => Ok(Vec::new()),
            versions => versions,
        }
    }

    /// Begins a transaction.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(self.pool.begin().await?)
    }

    /// A transaction that sees one moment of the database and writes nothing.
    pub async fn begin_reading(&self) -> Result<Tx, StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query(ONE_MOMENT).execute(&mut *tx).await?;
        Ok(tx)
    }

    /// The database's clock, which leases, budgets and days go by.
    pub async fn now(&self) -> Result<chrono::DateTime<chrono::Utc>, StoreError> {
        Ok(sqlx::query_scalar(NOW).fetch_one(&self.pool).await?)
    }

    /// A number that no other process start has.
    pub async fn instance(&self) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar(INSTANCE).fetch_one(&self.pool).await?)
    }

    /// Closes every connection.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

fn connect_options(options: &ConnectOptions) -> Result<PgConnectOptions, StoreError> {
    let connect: PgConnectOptions = options.url.parse().map_err(StoreError::Statement)?;
    let (statement, lock) = (options.statement_timeout.as_millis(), options.lock_timeout.as_millis());
    Ok(connect.application_name("rekon").options([
        ("statement_timeout", statement.to_string()),
        ("lock_timeout", lock.to_string()),
        ("jit", "off".to_owned()),
    ]))
}

fn pool_options(options: &ConnectOptions) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(options.max_connections)
        .acquire_timeout(options.acquire_timeout)
        .idle_timeout(options.idle_timeout)
}

/// The database's clock inside a transaction.
pub async fn now_in(tx: &mut Tx) -> Result<chrono::DateTime<chrono::Utc>, StoreError> {
    Ok(sqlx::query_scalar(NOW).fetch_one(&mut **tx).await?)
}

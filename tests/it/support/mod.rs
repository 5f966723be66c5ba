//! A real Postgres for every test: one server per test binary, one migrated template, one database per test.
//!
//! The server is rekon's own private Postgres in a temporary folder, or the one that `REKON_TEST_DATABASE_URL` names (its
//! role must be allowed to create databases). A test's database is a copy of the template, so a test may do anything to it.
//! Absent on purpose: a mock of the database, and a database that two tests share.

pub(crate) mod pooler;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod server;
pub(crate) mod shop;

use std::time::Duration;

use rekon::store::{ConnectOptions, Store};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Postgres};

/// A migrated database of one test, dropped with it.
pub(crate) struct TestDb {
    /// Connected to it.
    pub(crate) store: Store,
    /// Where it is, for a second store, a child process or a plain connection.
    pub(crate) url: String,
    name: String,
}

impl TestDb {
    /// A fresh copy of the migrated schema. Starts the server on the first call of the process.
    pub(crate) async fn new() -> Self {
        let (name, url) = server::create_database().await;
        let store = Store::connect(&connect_options(&url)).await.expect("the new database answers");
        Self { store, url, name }
    }

    /// A copy of it as it stands.
    pub(crate) async fn copy(&self) -> Self {
        let (name, url) = server::copy_database(&self.name).await;
        let store = Store::connect(&connect_options(&url)).await.expect("the new database answers");
        Self { store, url, name }
    }

    /// Another store on the same database: another replica.
    pub(crate) async fn another_store(&self) -> Store {
        Store::connect(&connect_options(&self.url)).await.expect("the database answers")
    }

    /// A connection outside every pool, as a person with psql has one.
    pub(crate) async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.expect("the database answers")
    }

    /// Runs statements as psql would: all of them or, when one fails, none.
    pub(crate) async fn try_run(&self, sql: &str) -> Result<(), sqlx::Error> {
        self.store.pool().execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await.map(drop)
    }

    /// Runs statements that must pass.
    #[track_caller]
    pub(crate) fn run(&self, sql: &str) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            if let Err(error) = self.try_run(sql).await {
                panic!("{caller}: {error}\n{sql}");
            }
        }
    }

    /// Runs statements that the constraint or trigger of that name must refuse.
    #[track_caller]
    pub(crate) fn expect_refused(&self, sql: &str, constraint: &str) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            match self.try_run(sql).await {
                Ok(()) => panic!("{caller}: nothing refused it, {constraint} should have\n{sql}"),
                Err(error) => {
                    let by = error.as_database_error().and_then(|e| e.constraint()).map(str::to_owned);
                    assert_eq!(by.as_deref(), Some(constraint), "{caller}: refused by something else: {error}\n{sql}");
                }
            }
        }
    }

    /// The one value of a query.
    pub(crate) async fn value<T>(&self, sql: &str) -> T
    where
        T: for<'r> sqlx::Decode<'r, Postgres> + sqlx::Type<Postgres> + Send + Unpin,
    {
        match sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(self.store.pool()).await {
            Ok(value) => value,
            Err(error) => panic!("{error}\n{sql}"),
        }
    }

    /// The one value of a query as text, null as `-`: for amounts, dates and arrays.
    pub(crate) async fn text(&self, sql: &str) -> String {
        self.value(&format!("select coalesce(x.value::text, '-') from ({sql}) as x (value)")).await
    }

    /// Returns when so many sessions of this database wait for a lock that another one holds.
    pub(crate) async fn wait_until_blocked(&self, sessions: i64) {
        let waiting =
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        while self.value::<i64>(waiting).await < sessions {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Inserts an expected payment as a merchant does, by plain SQL; the row's id. `amount` in rupiah, as `150000.00`.
    pub(crate) async fn insert_payment(&self, account: &str, partner_reference_no: &str, amount: &str) -> i64 {
        sqlx::query_scalar(
            "insert into rekon.transactions (account, partner_reference_no, amount) values ($1, $2, $3::numeric) returning id",
        )
        .bind(account)
        .bind(partner_reference_no)
        .bind(amount)
        .fetch_one(self.store.pool())
        .await
        .expect("an honest insert passes")
    }

    /// People of every kind, by plain SQL: agus keeps them, budi proposes (and approves what others proposed), sari and joko approve,
    /// wati works the queue.
    pub(crate) async fn people(&self) {
        self.run(
            "insert into rekon.people (name, roles, changed_by) values ('agus', '{admin}', 'agus');
             insert into rekon.people (name, roles, changed_by) values ('budi', '{maker,checker}', 'agus'), ('sari', '{checker}', 'agus'),
               ('joko', '{checker}', 'agus'), ('wati', '{operator}', 'agus')",
        )
        .await;
    }

    /// An expected payment that rekon knows to be paid, without the journal that would explain it; the row's id.
    pub(crate) async fn insert_paid(&self, partner_reference_no: &str, paid_amount: &str) -> i64 {
        let id = self.insert_payment("shop", partner_reference_no, paid_amount).await;
        self.run(&format!("update rekon.transactions set state = 'paid', paid_amount = {paid_amount} where id = {id}"))
            .await;
        id
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        server::drop_database(&self.name);
    }
}

/// How tests connect: few connections, so that many tests fit on one server.
pub(crate) fn connect_options(url: &str) -> ConnectOptions {
    ConnectOptions {
        url: url.to_owned(),
        max_connections: 8,
        acquire_timeout: Duration::from_secs(20),
        statement_timeout: Duration::from_secs(30),
        lock_timeout: Duration::from_secs(20),
        idle_timeout: Duration::from_mins(1),
    }
}

//! What can go wrong between us and Postgres, told apart by what the caller can do about it.

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, or went away.
    #[error("the database cannot be reached: check that it runs and that [database] url is right")]
    Unavailable(#[source] sqlx::Error),
    /// The database refused a change by a constraint or trigger.
    #[error("the database refused it ({constraint}): {message}")]
    Refused {
        /// The constraint or trigger that said no.
        constraint: String,
        /// What it said.
        message: String,
        /// The driver's error.
        #[source]
        source: sqlx::Error,
    },
    /// Two transactions stood in one another's way; try again.
    #[error("a concurrent change got in the way; try again")]
    Conflict(#[source] sqlx::Error),
    /// The schema is older or newer than this program.
    #[error("the schema is not the one this program knows ({0}): run `rekon migrate`")]
    Schema(String),
    /// A row that cannot exist by our own constraints.
    #[error("rekon.{table} holds an impossible value in {column}: {value:?}; restore it from a backup or report it")]
    Inconsistent {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// What stands there.
        value: String,
    },
    /// A prepared statement is not where it was made.
    #[error(
        "a pooler between forgets prepared statements: rekon needs pgbouncer 1.21 or newer with max_prepared_statements above 0, or a url that leads past it"
    )]
    Pooler(#[source] sqlx::Error),
    /// Anything else that Postgres or the driver said.
    #[error("a database statement failed")]
    Statement(#[source] sqlx::Error),
    /// Migrations could not be applied.
    #[error("the migrations could not be applied: {0}")]
    Migrate(String),
}

impl StoreError {
    /// Could the same work succeed a little later?
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Conflict(_))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if let sqlx::Error::Database(db) = &error {
            let code = db.code().unwrap_or_default().into_owned();
            return match code.as_str() {
                "40001" | "40P01" | "55P03" | "57014" => Self::Conflict(error),
                // A server that ends or begins, a standby that took no writes yet.
                "57P01" | "57P02" | "57P03" | "25006" => Self::Unavailable(error),
                // No disk, no memory, no connection, no I/O: it is there and of no use to any row.
                c if c.starts_with("53") || c.starts_with("58") => Self::Unavailable(error),
                "42P01" | "3F000" | "42703" => Self::Schema(db.message().to_owned()),
                "26000" | "42P05" => Self::Pooler(error),
                c if c.starts_with("23") => Self::Refused {
                    constraint: db.constraint().unwrap_or("trigger").to_owned(),
                    message: db.message().to_owned(),
                    source: error,
                },
                _ => Self::Statement(error),
            };
        }
        match error {
            sqlx::Error::Io(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::Tls(_)
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Protocol(_) => Self::Unavailable(error),
            other => Self::Statement(other),
        }
    }
}

/// An impossible value in a column.
pub(crate) fn inconsistent(table: &'static str, column: &'static str, value: impl Into<String>) -> StoreError {
    StoreError::Inconsistent { table, column, value: value.into() }
}

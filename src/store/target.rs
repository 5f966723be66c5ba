//! From the configuration to a connection: the one place where the database's address is taken out of its wrapping.

use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    config::{Database, DatabaseTarget},
    store::ConnectOptions,
};

impl ConnectOptions {
    /// How `[database]` wants its own server to be used.
    pub fn to_server(database: &Database, url: &SecretString) -> Self {
        Self::to_private(database, url.expose_secret())
    }

    /// The same for a private Postgres, whose address is no secret.
    pub fn to_private(database: &Database, url: &str) -> Self {
        Self {
            url: url.to_owned(),
            max_connections: database.max_connections,
            acquire_timeout: database.acquire_timeout,
            statement_timeout: database.statement_timeout,
        }
    }
}

/// The address for LISTEN, where the pool's goes through a transaction pooler; a secret, never logged.
pub fn direct_url(database: &Database) -> Option<String> {
    match &database.target {
        DatabaseTarget::Url { direct_url, .. } => direct_url.as_ref().map(|url| url.expose_secret().to_owned()),
        DatabaseTarget::Embedded | DatabaseTarget::Missing => None,
    }
}

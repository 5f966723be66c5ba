//! From the configuration to a connection: the one place where the database's address is taken out of its wrapping.

use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    config::{Database, DatabaseTarget},
    store::ConnectOptions,
};

/// One hears wake-ups, one hears commands, two fetch and acknowledge them.
const BUS_CONNECTIONS: u32 = 4;

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
            lock_timeout: database.lock_timeout,
            idle_timeout: database.idle_timeout,
        }
    }

    /// For LISTEN and the command bus, where the pool's own address goes through a transaction pooler, which carries neither.
    pub fn to_bus(database: &Database) -> Option<Self> {
        let DatabaseTarget::Url { direct_url: Some(url), .. } = &database.target else { return None };
        Some(Self { max_connections: BUS_CONNECTIONS, ..Self::to_private(database, url.expose_secret()) })
    }
}

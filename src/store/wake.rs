//! Hears `NOTIFY rekon_wake`: a cashier or a notification has made a row due, and its account's sweeper need not wait
//! for its tick. A lost notification costs one tick and nothing else.

use sqlx::postgres::PgListener;

use crate::store::{Store, StoreError};

/// A listening connection of its own; it reconnects by itself.
#[derive(Debug)]
pub struct Wakes {
    listener: PgListener,
}

impl Wakes {
    /// Listens on a connection of the pool's database.
    pub async fn listen(store: &Store) -> Result<Self, StoreError> {
        let mut listener = PgListener::connect_with(store.pool()).await?;
        listener.listen("rekon_wake").await?;
        Ok(Self { listener })
    }

    /// Listens through another url than the pool's: a transaction pooler does not carry notifications.
    pub async fn listen_at(url: &str) -> Result<Self, StoreError> {
        let mut listener = PgListener::connect(url).await?;
        listener.listen("rekon_wake").await?;
        Ok(Self { listener })
    }

    /// The account of the next wake-up.
    pub async fn next(&mut self) -> Result<String, StoreError> {
        Ok(self.listener.recv().await?.payload().to_owned())
    }
}

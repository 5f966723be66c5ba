//! Hears `NOTIFY rekon_wake`: a cashier or a notification has made a row due, and its account's sweeper need not wait
//! for its tick. A lost notification costs one tick and nothing else.

use sqlx::postgres::PgListener;

use crate::store::{Store, StoreError};

/// A listening connection; it reconnects by itself.
#[derive(Debug)]
pub struct Wakes {
    listener: PgListener,
}

impl Wakes {
    /// Listens; keeps one connection of the pool for as long as it lives.
    pub async fn listen(store: &Store) -> Result<Self, StoreError> {
        let mut listener = PgListener::connect_with(store.pool()).await?;
        listener.listen("rekon_wake").await?;
        Ok(Self { listener })
    }

    /// The account of the next wake-up.
    pub async fn next(&mut self) -> Result<String, StoreError> {
        Ok(self.listener.recv().await?.payload().to_owned())
    }
}

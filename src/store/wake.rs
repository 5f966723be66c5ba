//! Hears `NOTIFY rekon_wake`: a cashier or a notification has made a row due, and its account's sweeper need not wait
//! for its tick. `NOTIFY rekon_slow`: the provider wants to be left alone, and slots leased before are void. `NOTIFY
//! rekon_webhook`: an endpoint has something to be told. A lost notification costs one tick, or the calls of a quarter of a
//! second.

use sqlx::postgres::PgListener;

use crate::store::{Store, StoreError};

/// What was heard about an account or an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Something is due.
    Wake(String),
    /// Slots that were leased before are void.
    Slow(String),
    /// Something is to be told.
    Webhook(String),
}

const SLOW: &str = "rekon_slow";
const WEBHOOK: &str = "rekon_webhook";

/// A listening connection; it reconnects by itself.
#[derive(Debug)]
pub struct Wakes {
    listener: PgListener,
}

impl Wakes {
    /// Listens; keeps one connection of the pool for as long as it lives.
    pub async fn listen(store: &Store) -> Result<Self, StoreError> {
        let mut listener = PgListener::connect_with(store.pool()).await?;
        listener.listen_all(["rekon_wake", SLOW, WEBHOOK]).await?;
        Ok(Self { listener })
    }

    /// The next notification.
    pub async fn next(&mut self) -> Result<Heard, StoreError> {
        let notification = self.listener.recv().await?;
        let name = notification.payload().to_owned();
        Ok(match notification.channel() {
            SLOW => Heard::Slow(name),
            WEBHOOK => Heard::Webhook(name),
            _ => Heard::Wake(name),
        })
    }
}

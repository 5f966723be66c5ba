//! The shelf of an account's token in Postgres: `providers` says what is done with it, `store` does it. One statement for
//! each step, so that no transaction is open while anybody calls the provider.

use std::time::Duration;

use futures::future::BoxFuture;

use crate::{
    providers::{
        Shelf, ShelfAway,
        shelf::{Look, NewToken, Shelved},
    },
    store::{Store, StoreError},
};

/// The shelf of one account.
#[derive(Debug)]
pub struct TokenShelf {
    store: Store,
    account: String,
}

impl TokenShelf {
    /// The shelf of that account.
    pub fn new(store: Store, account: &str) -> Self {
        Self { store, account: account.to_owned() }
    }
}

impl From<StoreError> for ShelfAway {
    fn from(error: StoreError) -> Self {
        Self(error.to_string())
    }
}

impl Shelf for TokenShelf {
    fn look(&self) -> BoxFuture<'_, Result<Look, ShelfAway>> {
        Box::pin(async move {
            let row = self.store.look_at_token(&self.account).await?;
            let token = row.token.map(|token| Shelved {
                epoch: token.epoch,
                sealed: token.sealed,
                fresh_for: token.fresh_for,
                lives_for: token.lives_for,
            });
            Ok(Look { token, claims: row.claims, is_claimed: row.is_claimed, failures: row.failures })
        })
    }

    fn claim(&self, seen: i64, span: Duration) -> BoxFuture<'_, Result<Option<i64>, ShelfAway>> {
        Box::pin(async move { Ok(self.store.claim_token(&self.account, seen, span).await?) })
    }

    fn keep(&self, claim: i64, span: Duration) -> BoxFuture<'_, Result<bool, ShelfAway>> {
        Box::pin(async move { Ok(self.store.keep_token_claim(&self.account, claim, span).await?) })
    }

    fn put(&self, new: NewToken) -> BoxFuture<'_, Result<bool, ShelfAway>> {
        Box::pin(async move {
            let NewToken { claim, sealed, life, age } = new;
            Ok(self.store.put_token(&self.account, claim, &sealed, life, age).await?)
        })
    }

    fn give_up(&self, claim: i64, pause: Option<Duration>) -> BoxFuture<'_, Result<(), ShelfAway>> {
        Box::pin(async move { Ok(self.store.give_up_token(&self.account, claim, pause).await?) })
    }

    fn spoil(&self, epoch: i64) -> BoxFuture<'_, Result<(), ShelfAway>> {
        Box::pin(async move { Ok(self.store.spoil_token(&self.account, epoch).await?) })
    }
}

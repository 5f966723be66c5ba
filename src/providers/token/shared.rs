//! The part of a token's life that the processes of an account live together: look, claim, fetch, leave it for the others.
//!
//! Nothing here waits for another process: that is the cache's, because only it knows whether an old token lives.

use std::{convert::Infallible, future::Future, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{GrantedToken, REFRESH_PAUSE, Token, TokenError, life};
use crate::providers::{
    seal::Seal,
    shelf::{Look, NewToken, Shelf, ShelfAway},
};

/// How long a claim to fetch holds unless it is held on to: so long the others wait for a process that died with it.
const CLAIM_SPAN: Duration = Duration::from_secs(5);
/// How often a claim is held on to.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// What the processes of an account share.
pub(super) struct Shared {
    shelf: Arc<dyn Shelf>,
    seal: Seal,
}

/// What one look at the shelf came to.
pub(super) enum Found {
    /// A token to use.
    Fresh(Token),
    /// A token to use while somebody else fetches the next.
    Old(Token),
    /// The right to fetch.
    Claimed(i64),
    /// Nothing, while somebody else fetches.
    Nothing { failures: i64 },
}

impl Shared {
    pub(super) fn new(shelf: Arc<dyn Shelf>, seal: Seal) -> Self {
        Self { shelf, seal }
    }

    /// Looks at the shelf, and takes the right to fetch where there is nothing fresh on it and nobody has that right.
    pub(super) async fn look_or_claim(&self, looked_at: Instant) -> Result<Found, ShelfAway> {
        let look = self.shelf.look().await?;
        let token = self.open(&look, looked_at);
        Ok(match token {
            Some(token) if looked_at < token.refresh_at => Found::Fresh(token),
            _ if !look.is_claimed => match self.shelf.claim(look.claims, CLAIM_SPAN).await? {
                Some(claim) => Found::Claimed(claim),
                // Somebody was quicker.
                None => token.map_or(Found::Nothing { failures: look.failures }, Found::Old),
            },
            Some(token) => Found::Old(token),
            None => Found::Nothing { failures: look.failures },
        })
    }

    /// The token that lies there; `None` also where it does not open, as if there were none.
    fn open(&self, look: &Look, looked_at: Instant) -> Option<Token> {
        let shelved = look.token.as_ref()?;
        let Some(text) = self.seal.open(&shelved.sealed, shelved.epoch) else {
            tracing::warn!(
                epoch = shelved.epoch,
                "the shared token does not open with this account's secret; a new one is fetched"
            );
            return None;
        };
        let (refresh_at, expires_at) = (looked_at + shelved.fresh_for, looked_at + shelved.lives_for);
        Some(Token { text, epoch: Some(shelved.epoch), refresh_at, expires_at })
    }

    /// Fetches under a claim, and leaves the token for the others. Whatever becomes of the shelf, the token is ours.
    pub(super) async fn fetch(
        &self,
        claim: i64,
        asked_at: Instant,
        fetching: impl Future<Output = Result<GrantedToken, TokenError>>,
    ) -> Result<Token, TokenError> {
        match self.holding(claim, fetching).await {
            Ok(granted) => {
                let sealed = self.seal.seal(&granted.token, claim);
                let new =
                    sealed.map(|sealed| NewToken { claim, sealed, life: life(&granted), age: asked_at.elapsed() });
                let is_shared = match new {
                    Some(new) => self.shelf.put(new).await.unwrap_or_else(|error| {
                        tracing::warn!(%error, "a new token is this process's own");
                        false
                    }),
                    None => false,
                };
                Ok(Token::granted(granted, is_shared.then_some(claim), asked_at))
            }
            Err(error) => {
                let pause = (error != TokenError::Denied).then_some(REFRESH_PAUSE);
                if let Err(away) = self.shelf.give_up(claim, pause).await {
                    tracing::debug!(error = %away, "the claim to fetch a token runs out by itself");
                }
                Err(error)
            }
        }
    }

    /// Takes a token that the provider refused off the shelf.
    pub(super) async fn spoil(&self, epoch: i64) {
        if let Err(error) = self.shelf.spoil(epoch).await {
            tracing::debug!(%error, "a refused token stays until another process finds it refused");
        }
    }

    /// Holds on to a claim while something is done under it: a call slot may be long in coming.
    async fn holding<T>(&self, claim: i64, work: impl Future<Output = T>) -> T {
        tokio::select! {
            done = work => done,
            never = self.hold(claim) => match never {},
        }
    }

    async fn hold(&self, claim: i64) -> Infallible {
        loop {
            tokio::time::sleep(KEEP_EVERY).await;
            // A claim that is lost stays lost; the fetch goes on for this process alone.
            if let Ok(false) = self.shelf.keep(claim, CLAIM_SPAN).await {
                return std::future::pending().await;
            }
        }
    }
}

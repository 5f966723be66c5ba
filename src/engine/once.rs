//! A request under an Idempotency-Key acts once: the same one gets the same answer for a day, another one under the same key
//! is refused. Only what succeeded is kept: what failed did nothing, and its repetition is a true attempt.

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::{
    engine::EngineError,
    store::{
        Store,
        idempotency::{KeptAnswer, Keyed},
    },
};

/// How long an answer is kept.
pub const KEPT: Duration = Duration::from_hours(24);

/// A request that has a key.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Who asks.
    pub person: &'a str,
    /// The key.
    pub key: &'a str,
    /// Method and path.
    pub what: &'a str,
    /// The body.
    pub body: &'a [u8],
}

/// Whose turn it is.
#[derive(Debug)]
pub enum Turn {
    /// The caller's: act, then [`Claim::keep`] or [`Claim::give_up`].
    Ours(Claim),
    /// It was done before.
    Done(KeptAnswer),
    /// It is being done by a request that has not ended.
    UnderWay,
    /// The key belongs to another request.
    Other,
}

/// A claimed key.
#[derive(Debug)]
pub struct Claim {
    keyed: Keyed,
    number: i64,
}

/// Claims the key of a request. One that began `patience` ago and has no answer died.
pub async fn claim(store: &Store, request: Request<'_>, patience: Duration) -> Result<Turn, EngineError> {
    let mut hash = Sha256::new();
    hash.update(request.what.as_bytes());
    hash.update([0]);
    hash.update(request.body);
    let keyed = Keyed {
        person: request.person.to_owned(),
        key: request.key.to_owned(),
        request_hash: hash.finalize().to_vec(),
    };
    if let Some(number) = store.claim_key(&keyed, KEPT, patience).await? {
        return Ok(Turn::Ours(Claim { keyed, number }));
    }
    Ok(match store.taken_key(&keyed).await? {
        Some(taken) if taken.request_hash != keyed.request_hash => Turn::Other,
        Some(taken) => taken.answer.map_or(Turn::UnderWay, Turn::Done),
        // It was given back between the two questions.
        None => Turn::UnderWay,
    })
}

impl Claim {
    /// Keeps a success.
    pub async fn keep(self, store: &Store, answer: &KeptAnswer) -> Result<(), EngineError> {
        if !store.keep_answer(&self.keyed, self.number, answer).await? {
            tracing::warn!(person = self.keyed.person, "a request outlived its idempotency key");
        }
        Ok(())
    }

    /// Frees the key of what failed.
    pub async fn give_up(self, store: &Store) -> Result<(), EngineError> {
        Ok(store.give_up_key(&self.keyed, self.number).await?)
    }
}

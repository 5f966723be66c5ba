//! Where the processes of one account leave its token for one another. What lies there is sealed; whoever keeps it sees
//! bytes, numbers and times, and this room does not see who keeps it.
//!
//! A fetch has a number, its claim, and one process has it at a time; the token that it brings carries the number as its
//! epoch. All times are told as spans from the moment of asking, because the keeper's clock is not ours.

use std::{fmt, time::Duration};

use futures::future::BoxFuture;

/// The shelf could not be reached, or what stands there made no sense.
#[derive(Debug, thiserror::Error)]
#[error("the token that the replicas share cannot be reached: {0}")]
pub struct ShelfAway(pub String);

/// A token on the shelf.
#[derive(Debug, Clone)]
pub struct Shelved {
    /// The number of the fetch that brought it.
    pub epoch: i64,
    /// The token, sealed.
    pub sealed: Vec<u8>,
    /// It need not be fetched anew for so long.
    pub fresh_for: Duration,
    /// It lives for so long.
    pub lives_for: Duration,
}

/// What a look shows.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// A token that lives, if there is one.
    pub token: Option<Shelved>,
    /// The number of the last fetch that anybody claimed.
    pub claims: i64,
    /// Somebody is at it.
    pub is_claimed: bool,
    /// How often a claimed fetch has failed.
    pub failures: i64,
}

/// A token on its way to the shelf.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// The claim under which it was fetched.
    pub claim: i64,
    /// It, sealed.
    pub sealed: Vec<u8>,
    /// How long it lives from the moment it was asked for.
    pub life: Duration,
    /// How long ago that was.
    pub age: Duration,
}

/// One account's place for its token. Each method is one step and waits for nobody else's.
pub trait Shelf: fmt::Debug + Send + Sync {
    /// What lies there.
    fn look(&self) -> BoxFuture<'_, Result<Look, ShelfAway>>;

    /// Takes the right to fetch for `span`, if nobody has it and the last claim is still number `seen`; its number.
    fn claim(&self, seen: i64, span: Duration) -> BoxFuture<'_, Result<Option<i64>, ShelfAway>>;

    /// Holds the right for another `span`. False: somebody else has it by now.
    fn keep(&self, claim: i64, span: Duration) -> BoxFuture<'_, Result<bool, ShelfAway>>;

    /// Leaves a token there and gives the right back. False: somebody else has it by now, and nothing was left.
    fn put(&self, token: NewToken) -> BoxFuture<'_, Result<bool, ShelfAway>>;

    /// Gives the right back without a token. A fetch that failed is tried again by nobody for `pause`, while an old token
    /// lives; `None`: it was not tried.
    fn give_up(&self, claim: i64, pause: Option<Duration>) -> BoxFuture<'_, Result<(), ShelfAway>>;

    /// The provider called the token of this epoch invalid: takes it away, unless another one lies there.
    fn spoil(&self, epoch: i64) -> BoxFuture<'_, Result<(), ShelfAway>>;
}

//! The B2B token of one account. Obeys `expiresIn`, fetches a new one at 90 % of it, and fetches once however many calls and
//! processes are waiting: several providers invalidate the older token when they give a new one.
//!
//! In a process the first who needs a new one fetches, and the others go on with the old one while it lives; between
//! processes the same holds by way of a [`Shelf`], where there is one. A failed fetch is shared with everybody who waited for
//! it. While the shelf is away each process has a token of its own.

use std::{
    fmt,
    future::Future,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::{sync::Mutex, time::Instant};

use super::{seal::Seal, shelf::Shelf};
use shared::{Found, Shared};

mod shared;

/// A token as it was granted.
#[derive(Clone, PartialEq, Eq)]
pub struct GrantedToken {
    /// Without "Bearer ".
    pub token: String,
    /// Seconds that it lives from the moment it was asked for.
    pub life_secs: u32,
}

impl fmt::Debug for GrantedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GrantedToken(***, {} s)", self.life_secs)
    }
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The provider said no.
    #[error("the provider refused a token (HTTP {http_status}, code {}): check client_id, private_key and the clock", .response_code.as_deref().unwrap_or("none"))]
    Refused {
        /// The HTTP status.
        http_status: u16,
        /// `responseCode`, where there was one.
        response_code: Option<String>,
    },
    /// A success without a usable token.
    #[error("the provider's token answer could not be read")]
    Unreadable,
    /// The call failed on its way.
    #[error("the token could not be fetched: {0}")]
    Transport(super::TransportError),
    /// The call budget grants no call now.
    #[error("the token could not be fetched: the call budget is spent")]
    Denied,
    /// Another process of the account tried, and failed or took too long.
    #[error("another process could not fetch the token: its log says why")]
    Elsewhere,
    /// The request could not be signed.
    #[error("the token request could not be built: {0}")]
    Unbuildable(String),
}

/// A token in use.
pub(super) struct Token {
    pub(super) text: String,
    /// The fetch that brought it, where the processes share it.
    epoch: Option<i64>,
    refresh_at: Instant,
    expires_at: Instant,
}

impl Token {
    /// A token for one call: nobody keeps it.
    pub(super) fn one_time(granted: GrantedToken) -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self { text: granted.token, epoch: None, refresh_at: now, expires_at: now })
    }

    fn granted(granted: GrantedToken, epoch: Option<i64>, asked_at: Instant) -> Self {
        let life = life(&granted);
        Self { text: granted.token, epoch, refresh_at: asked_at + life * 9 / 10, expires_at: asked_at + life }
    }
}

fn life(granted: &GrantedToken) -> Duration {
    Duration::from_secs(u64::from(granted.life_secs))
}

#[derive(Default)]
struct Slot {
    token: Option<Arc<Token>>,
    /// Fetches that ended, and how the last one did.
    fetches: u64,
    last_error: Option<TokenError>,
    /// No fetch before this, after one that failed while the old token lives.
    quiet_until: Option<Instant>,
}

/// The cache. Reading it is a shared lock held for a clone.
#[derive(Default)]
pub(super) struct TokenCache {
    slot: RwLock<Slot>,
    fetching: Mutex<()>,
    shared: Option<Shared>,
}

/// How long an old token is used on before a failed refresh is tried again.
const REFRESH_PAUSE: Duration = Duration::from_secs(5);
/// Pause between looks at a shelf that somebody else is about to fill.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How long an old token is used before the next look for the one that somebody else fetches.
const OLD_FOR: Duration = Duration::from_secs(1);
/// Longest wait for somebody else's fetch.
const WAIT_MAX: Duration = Duration::from_secs(15);

impl TokenCache {
    /// A cache whose token is shared by way of a shelf.
    pub(super) fn shared(shelf: Arc<dyn Shelf>, seal: Seal) -> Self {
        Self { shared: Some(Shared::new(shelf, seal)), ..Self::default() }
    }

    /// The token to use; calls `fetch` if a new one is due, at most once at a time.
    pub(super) async fn get<F, Fut>(&self, fetch: F) -> Result<Arc<Token>, TokenError>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<GrantedToken, TokenError>>,
    {
        if let Some(token) = self.usable(Instant::now()) {
            return Ok(token);
        }
        let fetches_before = self.read(|slot| slot.fetches);
        let _single_flight = match self.fetching.try_lock() {
            Ok(first) => first,
            Err(_) => match self.living(Instant::now()) {
                Some(old) => return Ok(old),
                None => self.fetching.lock().await,
            },
        };
        if let Some(token) = self.usable(Instant::now()) {
            return Ok(token);
        }
        // Somebody fetched while we waited, and failed: his answer is ours. A hundred waiters are one call.
        let failed = self.read(|slot| if slot.fetches == fetches_before { None } else { slot.last_error.clone() });
        if let Some(error) = failed {
            return Err(error);
        }
        if let Some(shared) = &self.shared {
            return self.get_shared(shared, fetch).await;
        }
        let asked_at = Instant::now();
        let granted = fetch().await;
        self.store(granted.map(|granted| Token::granted(granted, None, asked_at)))
    }

    /// Drops a token that the provider called invalid, here and on the shelf, unless a newer one has taken its place.
    pub(super) async fn drop_refused(&self, refused: &Token) {
        let is_dropped = {
            let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
            let is_current = slot.token.as_ref().is_some_and(|current| current.text == refused.text);
            if is_current {
                slot.token = None;
                slot.quiet_until = None;
            }
            is_current
        };
        if is_dropped && let Some((shared, epoch)) = self.shared.as_ref().zip(refused.epoch) {
            shared.spoil(epoch).await;
        }
    }

    /// The shelf's token, or a new one under a claim; waits for whoever else has the claim, unless the old token lives.
    async fn get_shared<F, Fut>(&self, shared: &Shared, fetch: F) -> Result<Arc<Token>, TokenError>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<GrantedToken, TokenError>>,
    {
        let latest = Instant::now() + WAIT_MAX;
        let mut failures_before = None;
        loop {
            let looked_at = Instant::now();
            let claim = match shared.look_or_claim(looked_at).await {
                Ok(Found::Fresh(token)) => return self.store(Ok(token)),
                Ok(Found::Claimed(claim)) => Some(claim),
                Ok(Found::Old(token)) => {
                    return self.store(Ok(Token { refresh_at: token.expires_at.min(looked_at + OLD_FOR), ..token }));
                }
                Ok(Found::Nothing { failures })
                    if looked_at < latest && *failures_before.get_or_insert(failures) == failures =>
                {
                    tokio::time::sleep(LOOK_AGAIN).await;
                    continue;
                }
                Ok(Found::Nothing { .. }) => return self.store(Err(TokenError::Elsewhere)),
                Err(error) => {
                    tracing::warn!(%error, "this process fetches a token of its own");
                    None
                }
            };
            let asked_at = Instant::now();
            let token = match claim {
                Some(claim) => shared.fetch(claim, asked_at, fetch()).await,
                None => fetch().await.map(|granted| Token::granted(granted, None, asked_at)),
            };
            return self.store(token);
        }
    }

    fn read<T>(&self, look: impl FnOnce(&Slot) -> T) -> T {
        look(&self.slot.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn usable(&self, now: Instant) -> Option<Arc<Token>> {
        self.read(|slot| {
            let token = slot.token.as_ref()?;
            let is_quiet = slot.quiet_until.is_some_and(|until| now < until);
            (now < token.refresh_at || (is_quiet && now < token.expires_at)).then(|| Arc::clone(token))
        })
    }

    fn living(&self, now: Instant) -> Option<Arc<Token>> {
        self.read(|slot| slot.token.clone().filter(|token| now < token.expires_at))
    }

    fn store(&self, token: Result<Token, TokenError>) -> Result<Arc<Token>, TokenError> {
        let now = Instant::now();
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        match token {
            Ok(token) => {
                let token = Arc::new(token);
                *slot = Slot {
                    token: Some(Arc::clone(&token)),
                    fetches: slot.fetches.wrapping_add(1),
                    last_error: None,
                    quiet_until: None,
                };
                Ok(token)
            }
            Err(error) => {
                // A budget that refused one caller may grant the next, who is of another class: not shared.
                if error != TokenError::Denied {
                    slot.fetches = slot.fetches.wrapping_add(1);
                    slot.last_error = Some(error.clone());
                    slot.quiet_until = Some(now + REFRESH_PAUSE);
                }
                slot.token.clone().filter(|old| now < old.expires_at).ok_or(error)
            }
        }
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenCache(***)")
    }
}

#[cfg(test)]
mod tests;

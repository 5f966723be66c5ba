//! The B2B token of one account in this process. Obeys `expiresIn`, fetches a new one at 90 % of it, and fetches once
//! however many calls are waiting: several providers invalidate the older token when they give a new one.
//!
//! A failed fetch is shared with everybody who waited for it, and an old token that still lives is used on. Absent on
//! purpose: sharing between processes; each replica has its own token.

use std::{
    fmt,
    future::Future,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::{sync::Mutex, time::Instant};

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
    /// The request could not be signed.
    #[error("the token request could not be built: {0}")]
    Unbuildable(String),
}

/// A token in use. Comparing pointers tells whether a newer one has come.
pub(super) struct Token {
    pub(super) text: String,
    refresh_at: Instant,
    expires_at: Instant,
}

impl Token {
    /// A token for one call: nobody keeps it.
    pub(super) fn one_time(granted: GrantedToken) -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self { text: granted.token, refresh_at: now, expires_at: now })
    }
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
}

/// How long an old token is used on before a failed refresh is tried again.
const REFRESH_PAUSE: Duration = Duration::from_secs(5);

impl TokenCache {
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
        let _single_flight = self.fetching.lock().await;
        if let Some(token) = self.usable(Instant::now()) {
            return Ok(token);
        }
        // Somebody fetched while we waited, and failed: his answer is ours. A hundred waiters are one call.
        let shared = self.read(|slot| if slot.fetches == fetches_before { None } else { slot.last_error.clone() });
        if let Some(error) = shared {
            return Err(error);
        }
        let asked_at = Instant::now();
        let granted = fetch().await;
        self.store(asked_at, granted)
    }

    /// Drops a token that the provider called invalid, unless a newer one has taken its place.
    pub(super) fn drop_if_current(&self, refused: &Arc<Token>) {
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        if slot.token.as_ref().is_some_and(|current| Arc::ptr_eq(current, refused)) {
            slot.token = None;
            slot.quiet_until = None;
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

    fn store(&self, asked_at: Instant, granted: Result<GrantedToken, TokenError>) -> Result<Arc<Token>, TokenError> {
        let now = Instant::now();
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        match granted {
            Ok(granted) => {
                let life = Duration::from_secs(u64::from(granted.life_secs));
                let token = Arc::new(Token {
                    text: granted.token,
                    refresh_at: asked_at + life * 9 / 10,
                    expires_at: asked_at + life,
                });
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

//! Closes a token for a place that others can read: ChaCha20-Poly1305 under a key that only who knows the account's client
//! secret can derive. The account, its provider, its client and the number of the fetch are part of what is sealed, so that
//! a token that was moved to another row, or an older one that was put back, opens as little as a changed one.
//!
//! Absent on purpose: a key of its own to keep. Whoever may sign the account's requests may open its token, nobody else.

use std::fmt;

use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
    rand::{SecureRandom as _, SystemRandom},
};
use secrecy::ExposeSecret;

use super::{Account, Service};

/// Changes whenever keys are derived or tokens sealed in another way: what was sealed before is absent then.
const VERSION: &[u8] = b"rekon b2b token 1";

/// The seal of one account.
pub(super) struct Seal {
    key: LessSafeKey,
    identity: Vec<u8>,
    random: SystemRandom,
}

impl Seal {
    /// The account's seal; `None` where it has no client secret, or no token to be fetched.
    pub(super) fn of(account: &Account) -> Option<Self> {
        let secret = account.client_secret.expose_secret();
        let url = &account.endpoint(Service::Token).ok()?.url;
        if secret.is_empty() {
            return None;
        }
        let identity = joined(&[&account.name, account.provider.name(), &account.client_id, url]);
        let derived = Salt::new(HKDF_SHA256, VERSION).extract(secret.as_bytes());
        let key = UnboundKey::from(derived.expand(&[&identity], &CHACHA20_POLY1305).ok()?);
        Some(Self { key: LessSafeKey::new(key), identity, random: SystemRandom::new() })
    }

    /// The token of fetch number `epoch`, sealed; `None` where the machine has no randomness to give.
    pub(super) fn seal(&self, token: &str, epoch: i64) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let mut text = token.as_bytes().to_vec();
        let nonce_of_key = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(nonce_of_key, self.about(epoch), &mut text).ok()?;
        Some([nonce.as_slice(), &text].concat())
    }

    /// The token, if it is this account's, of this fetch, and as it was sealed.
    pub(super) fn open(&self, sealed: &[u8], epoch: i64) -> Option<String> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = text.to_vec();
        let token = self.key.open_in_place(nonce, self.about(epoch), &mut text).ok()?;
        String::from_utf8(token.to_vec()).ok()
    }

    fn about(&self, epoch: i64) -> Aad<Vec<u8>> {
        Aad::from([VERSION, &self.identity, &epoch.to_be_bytes()].concat())
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(***)")
    }
}

/// Each part after its length, so that no two lists of parts read the same.
fn joined(parts: &[&str]) -> Vec<u8> {
    let sized = |part: &&str| [&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes(), part.as_bytes()].concat();
    parts.iter().flat_map(sized).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::{AccountSettings, fixture};

    fn seal(change: impl Fn(&mut AccountSettings)) -> Seal {
        let mut settings = fixture::settings();
        change(&mut settings);
        Seal::of(&Account::try_new(settings).unwrap()).unwrap()
    }

    #[test]
    fn a_sealed_token_opens_for_the_same_account_alone() {
        let sealed = seal(|_| {}).seal("a-token-of-the-provider", 7).unwrap();
        assert_eq!(seal(|_| {}).open(&sealed, 7).as_deref(), Some("a-token-of-the-provider"));
        assert_eq!(seal(|_| {}).open(&sealed, 8), None, "another fetch's");
        let others: [fn(&mut AccountSettings); 4] = [
            |s| s.name.push('x'),
            |s| s.client_id.push('x'),
            |s| s.base_url = "https://elsewhere.example.com".to_owned(),
            |s| s.client_secret = "another-secret".to_owned().into(),
        ];
        for (n, other) in others.into_iter().enumerate() {
            assert_eq!(seal(other).open(&sealed, 7), None, "{n}");
        }
    }

    #[test]
    fn any_changed_byte_and_any_lost_one_makes_a_token_unreadable() {
        let seal = seal(|_| {});
        let sealed = seal.seal("token", 1).unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(seal.open(&changed, 1), None, "byte {at}");
            assert_eq!(seal.open(&sealed[..at], 1), None, "the first {at} bytes");
        }
    }

    #[test]
    fn a_token_is_sealed_differently_each_time_and_cannot_be_read_in_it() {
        let seal = seal(|_| {});
        let (one, other) = (seal.seal("a-token", 1).unwrap(), seal.seal("a-token", 1).unwrap());
        assert_ne!(one[..NONCE_LEN], other[..NONCE_LEN]);
        assert!(!one.windows(7).any(|bytes| bytes == b"a-token"));
        assert_eq!(format!("{seal:?}"), "Seal(***)");
    }

    #[test]
    fn an_account_without_a_client_secret_seals_nothing() {
        let settings = AccountSettings { provider: "winpay".to_owned(), ..fixture::settings() };
        let settings = AccountSettings { client_secret: String::new().into(), ..settings };
        assert!(Account::try_new(settings).is_ok_and(|account| Seal::of(&account).is_none()));
    }
}

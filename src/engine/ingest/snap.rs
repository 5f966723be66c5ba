//! SNAP BI's notifications from the receiving side. The provider first asks us for a token (service 73) by its RSA signature over
//! `clientId|X-TIMESTAMP`; then it notifies with that token and HMAC-SHA512 over `POST:path:token:hash:X-TIMESTAMP` (service 52).
//!
//! A token is its own record: a time and a MAC over account and time. No replica stores one, so nothing grows and any replica
//! takes what another gave. Its key is the client secret, which also signs the notification: whoever has the one needs no other.
//!
//! X-EXTERNAL-ID is not signed, so it marks nothing: whoever has captured a notification can send it again under any number.
//! Sources: ASPI data & security standard v1.0.2; DOKU's SNAP documentation and libraries.

use std::time::Duration;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use chrono::{DateTime, TimeDelta, Utc};
use ring::{
    digest::{SHA256, digest},
    hmac as mac,
    signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey},
};

use super::seal::{Letter, Objection, check_time, header, hmac_key, skew, verify};
use crate::config::{Account, NotifyTerms};

/// What keeps a token from being anything else that the same key signs.
const TOKEN_WORD: &str = "rekon notification token";
/// Bytes of a token's time.
const TIME_BYTES: usize = 8;

/// A token as it is given out.
#[derive(Clone, PartialEq, Eq)]
pub struct GivenToken {
    /// The word after "Bearer".
    pub token: String,
    /// Seconds that it lives.
    pub life_secs: i64,
}

impl std::fmt::Debug for GivenToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GivenToken(***, {} s)", self.life_secs)
    }
}

/// The keys of SNAP's form.
pub(super) struct SnapKey {
    account: String,
    client_id: String,
    public_key: UnparsedPublicKey<Vec<u8>>,
    key: mac::Key,
    token_key: mac::Key,
    token_ttl: TimeDelta,
    signed_path: Option<String>,
    clock_skew: TimeDelta,
}

impl std::fmt::Debug for SnapKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SnapKey({}, ***)", self.client_id)
    }
}

impl SnapKey {
    pub(super) fn new(account: &Account, terms: &NotifyTerms, public_key: &[u8], token_ttl: Duration) -> Self {
        Self {
            account: account.name.clone(),
            client_id: account.client_id.clone(),
            public_key: UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public_key.to_vec()),
            key: hmac_key(mac::HMAC_SHA512, &account.client_secret),
            token_key: hmac_key(mac::HMAC_SHA256, &account.client_secret),
            token_ttl: skew(token_ttl),
            signed_path: terms.signed_path.clone(),
            clock_skew: skew(terms.clock_skew),
        }
    }

    /// A token for whoever signs with the provider's key.
    pub(super) fn token(&self, letter: &Letter<'_>, now: DateTime<Utc>) -> Result<GivenToken, Objection> {
        let client_id = header(letter, "x-client-key", "X-CLIENT-KEY")?;
        let timestamp = header(letter, "x-timestamp", "X-TIMESTAMP")?;
        let signature = header(letter, "x-signature", "X-SIGNATURE")?;
        if client_id != self.client_id {
            return Err(Objection::Client);
        }
        check_time(timestamp, now, self.clock_skew)?;
        let signature = STANDARD.decode(signature).map_err(|_| Objection::Signature)?;
        let signed = format!("{client_id}|{timestamp}");
        self.public_key.verify(signed.as_bytes(), &signature).map_err(|_| Objection::Signature)?;
        Ok(self.give(now))
    }

    fn give(&self, now: DateTime<Utc>) -> GivenToken {
        let ends = now.timestamp().saturating_add(self.token_ttl.num_seconds()).to_be_bytes();
        let tag = mac::sign(&self.token_key, &self.token_text(ends));
        let token = URL_SAFE_NO_PAD.encode([&ends, tag.as_ref()].concat());
        GivenToken { token, life_secs: self.token_ttl.num_seconds() }
    }

    /// Who vouches for a notification?
    pub(super) fn check(&self, letter: &Letter<'_>, now: DateTime<Utc>) -> Result<(), Objection> {
        let bearer = header(letter, "authorization", "Authorization")?;
        let timestamp = header(letter, "x-timestamp", "X-TIMESTAMP")?;
        let signature = header(letter, "x-signature", "X-SIGNATURE")?;
        header(letter, "x-external-id", "X-EXTERNAL-ID")?;
        if header(letter, "x-partner-id", "X-PARTNER-ID")? != self.client_id {
            return Err(Objection::Client);
        }
        let token = bearer.strip_prefix("Bearer ").ok_or(Objection::Token)?.trim();
        self.check_token(token, now).ok_or(Objection::Token)?;
        check_time(timestamp, now, self.clock_skew)?;
        let path = self.signed_path.as_deref().unwrap_or(letter.path);
        let over = |body: &[u8]| {
            let hash = hex::encode(digest(&SHA256, body));
            verify(&self.key, format!("POST:{path}:{token}:{hash}:{timestamp}").as_bytes(), signature)
        };
        // The bytes as they came; then as whoever strips blanks before he signs would have had them.
        over(letter.body).or_else(|_| over(&compact(letter.body)))
    }

    fn check_token(&self, token: &str, now: DateTime<Utc>) -> Option<()> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (ends, tag) = bytes.split_first_chunk::<TIME_BYTES>()?;
        mac::verify(&self.token_key, &self.token_text(*ends), tag).ok()?;
        (i64::from_be_bytes(*ends) > now.timestamp()).then_some(())
    }

    fn token_text(&self, ends: [u8; TIME_BYTES]) -> Vec<u8> {
        let Self { account, client_id, .. } = self;
        [format!("{TOKEN_WORD}\n{account}\n{client_id}\n").as_bytes(), &ends].concat()
    }
}

/// JSON without the blanks that mean nothing; spelling and order stay. As good as the body itself: what is signed may be either, so
/// this is what marks a notification.
pub(super) fn compact(body: &[u8]) -> Vec<u8> {
    let (mut is_text, mut is_escaped) = (false, false);
    let mut keep = |byte: u8| {
        let is_kept = is_text || !matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            _ => {}
        }
        is_kept
    };
    body.iter().copied().filter(|byte| keep(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(account: &str) -> SnapKey {
        let secret = |algorithm| mac::Key::new(algorithm, b"the same secret");
        SnapKey {
            account: account.to_owned(),
            client_id: "BRN-1".to_owned(),
            public_key: UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, Vec::new()),
            key: secret(mac::HMAC_SHA512),
            token_key: secret(mac::HMAC_SHA256),
            token_ttl: TimeDelta::minutes(15),
            signed_path: None,
            clock_skew: TimeDelta::minutes(5),
        }
    }

    #[test]
    fn a_token_serves_its_account_until_it_runs_out_and_in_every_process() {
        let at = DateTime::from_timestamp(1_795_160_000, 0).unwrap();
        let given = key("main").give(at);
        let serves = |account, secs| key(account).check_token(&given.token, at + TimeDelta::seconds(secs)).is_some();
        assert!(serves("main", 0) && serves("main", given.life_secs - 1));
        assert!(!serves("main", given.life_secs) && !serves("other", 0));
        let mut bytes = URL_SAFE_NO_PAD.decode(&given.token).unwrap();
        bytes[6] ^= 1;
        let longer = URL_SAFE_NO_PAD.encode(&bytes);
        for no in ["", "AAAA", &given.token[1..], &longer] {
            assert_eq!(key("main").check_token(no, at), None, "{no}");
        }
    }

    #[test]
    fn blanks_go_and_nothing_else() {
        let body = "{ \"a\\\" \\\\\" :\t\"x  y\" ,\n\"n\": 1200.00 }";
        assert_eq!(compact(body.as_bytes()), b"{\"a\\\" \\\\\":\"x  y\",\"n\":1200.00}");
        assert_eq!(compact(b""), b"");
    }
}

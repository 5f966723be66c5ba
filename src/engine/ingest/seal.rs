//! Who vouches for a notification, by the account's form: WORDS for the parameters of old, HMAC-SHA256 for DOKU's JSON, and for
//! SNAP BI a token of ours with HMAC-SHA512. A request that nobody vouches for is read all the same and says why.
//!
//! JSON (DOKU, "Notification", non-SNAP): `Signature: HMACSHA256=` base64 of the MAC over `Client-Id:…`, `Request-Id:…`,
//! `Request-Timestamp:…`, `Request-Target:…` and `Digest:` base64 of the body's SHA-256, each on a line. SNAP: see `snap`.

use chrono::{DateTime, TimeDelta, Utc};
use ring::{
    digest::{SHA256, digest},
    hmac as mac,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret as _, SecretString};

use super::{
    snap::{SnapKey, compact},
    words::WordsKey,
};
use crate::{
    config::{Account, NotifyForm},
    domain::notification::{self, NotificationError, Told},
};

/// A request as it came to the door.
#[derive(Clone, Copy)]
pub struct Letter<'a> {
    /// The path of the request.
    pub path: &'a str,
    /// Its query string.
    pub query: &'a str,
    /// Looks up a header by its lower-case name; `None` too where it is no text.
    pub header: &'a dyn Fn(&str) -> Option<&'a str>,
    /// Its body, byte for byte.
    pub body: &'a [u8],
}

impl std::fmt::Debug for Letter<'_> {
    /// Nothing of its content.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Letter").field("path", &self.path).field("bytes", &self.body.len()).finish()
    }
}

/// Why nobody vouches for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Objection {
    /// A header is missing, or is none that could be right.
    #[error("header {0} is missing or malformed")]
    Header(&'static str),
    /// It is not about this account.
    #[error("the client id is another's")]
    Client,
    /// No token of ours, or one that has run out.
    #[error("the token is not ours or has run out")]
    Token,
    /// Signed too long ago, or in the future.
    #[error("the signed time is too far from ours")]
    Timestamp,
    /// A wrong signature.
    #[error("the signature is wrong")]
    Signature,
}

/// How an account's notifications are spelt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Parameters.
    Legacy,
    /// DOKU's own JSON.
    Json,
    /// SNAP BI.
    Snap,
}

/// A notification as it was read.
pub(super) struct Read {
    pub(super) told: Told,
    /// What tells it from every other, apart from who vouches for it; where it is signed, what is signed of it and no more.
    pub(super) payload: Vec<u8>,
    /// The number that the sender gave it, where he has signed it.
    pub(super) request_id: Option<String>,
    /// `None`: it is signed rightly.
    pub(super) objection: Option<Objection>,
}

/// How an account's notifications are checked.
#[derive(Debug)]
pub(super) enum Seal {
    /// Without terms nothing can be verified, and the oldest form is read.
    Legacy(Option<WordsKey>),
    Json(JsonKey),
    Snap(Box<SnapKey>),
}

impl Seal {
    pub(super) fn of(account: &Account) -> Self {
        let Some(terms) = &account.notify else { return Self::Legacy(None) };
        match &terms.form {
            NotifyForm::Legacy { shared_key, words } => {
                Self::Legacy(Some(WordsKey { shared_key: shared_key.clone(), formula: words.clone() }))
            }
            NotifyForm::Json => Self::Json(JsonKey {
                client_id: account.client_id.clone(),
                key: hmac_key(mac::HMAC_SHA256, &account.client_secret),
                signed_path: terms.signed_path.clone(),
                clock_skew: skew(terms.clock_skew),
            }),
            NotifyForm::Snap { public_key, token_ttl } => {
                Self::Snap(Box::new(SnapKey::new(account, terms, public_key, *token_ttl)))
            }
        }
    }

    pub(super) const fn form(&self) -> Form {
        match self {
            Self::Legacy(_) => Form::Legacy,
            Self::Json(_) => Form::Json,
            Self::Snap(_) => Form::Snap,
        }
    }

    pub(super) fn read(&self, letter: &Letter<'_>, now: DateTime<Utc>) -> Result<Read, NotificationError> {
        match self {
            Self::Legacy(key) => {
                let read = notification::read(letter.query, (letter.header)("content-type"), letter.body)?;
                let is_right = key.as_ref().is_some_and(|key| key.verifies(&read));
                Ok(Read {
                    told: read.told(),
                    payload: read.canonical().into_bytes(),
                    request_id: None,
                    objection: (!is_right).then_some(Objection::Signature),
                })
            }
            Self::Json(key) => {
                let told = notification::read_json(letter.body)?;
                let number = (letter.header)("request-id").map(str::to_owned);
                let objection = key.check(letter, now).err();
                let request_id = number.clone().filter(|_| objection.is_none());
                Ok(Read { request_id, ..sealed(told, letter.body, number, objection) })
            }
            Self::Snap(key) => {
                let told = notification::read_snap(letter.body)?;
                let number = (letter.header)("x-external-id").map(str::to_owned);
                let objection = key.check(letter, now).err();
                Ok(sealed(told, &compact(letter.body), number, objection))
            }
        }
    }
}

/// What its signed body marks. Whoever cannot sign leaves marks of his own, and fills no room but his own: he never stands in the
/// way of the true one, and is himself heard once.
fn sealed(told: Told, body: &[u8], number: Option<String>, objection: Option<Objection>) -> Read {
    let payload = match &objection {
        None => body.to_vec(),
        Some(_) => [b"unverified\n", number.unwrap_or_default().as_bytes(), b"\n", body].concat(),
    };
    Read { told, payload, request_id: None, objection }
}

/// The key of DOKU's JSON form.
pub(super) struct JsonKey {
    client_id: String,
    key: mac::Key,
    signed_path: Option<String>,
    clock_skew: TimeDelta,
}

impl std::fmt::Debug for JsonKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "JsonKey({}, ***)", self.client_id)
    }
}

impl JsonKey {
    fn check(&self, letter: &Letter<'_>, now: DateTime<Utc>) -> Result<(), Objection> {
        let client_id = header(letter, "client-id", "Client-Id")?;
        let request_id = header(letter, "request-id", "Request-Id")?;
        let timestamp = header(letter, "request-timestamp", "Request-Timestamp")?;
        let signature = header(letter, "signature", "Signature")?;
        let signature = signature.strip_prefix("HMACSHA256=").ok_or(Objection::Header("Signature"))?;
        if client_id != self.client_id {
            return Err(Objection::Client);
        }
        check_time(timestamp, now, self.clock_skew)?;
        let target = self.signed_path.as_deref().unwrap_or(letter.path);
        let digest = STANDARD.encode(digest(&SHA256, letter.body));
        let signed = format!(
            "Client-Id:{client_id}\nRequest-Id:{request_id}\nRequest-Timestamp:{timestamp}\nRequest-Target:{target}\nDigest:{digest}"
        );
        verify(&self.key, signed.as_bytes(), signature)
    }
}

/// The longest header that is looked at: a number, a time, a token or a signature.
const HEADER_MAX: usize = 2_048;

/// A header that has to be there.
pub(super) fn header<'a>(letter: &Letter<'a>, key: &str, name: &'static str) -> Result<&'a str, Objection> {
    let value = (letter.header)(key).map(str::trim).filter(|value| (1..=HEADER_MAX).contains(&value.len()));
    value.ok_or(Objection::Header(name))
}

/// Is it signed now, or as good as?
pub(super) fn check_time(text: &str, now: DateTime<Utc>, skew: TimeDelta) -> Result<(), Objection> {
    let signed = DateTime::parse_from_rfc3339(text).map_err(|_| Objection::Timestamp)?;
    let apart = now.signed_duration_since(signed).abs();
    if apart <= skew { Ok(()) } else { Err(Objection::Timestamp) }
}

/// Takes the same time wherever the first difference stands.
pub(super) fn verify(key: &mac::Key, signed: &[u8], base64: &str) -> Result<(), Objection> {
    let signature = STANDARD.decode(base64).map_err(|_| Objection::Signature)?;
    mac::verify(key, signed, &signature).map_err(|_| Objection::Signature)
}

pub(super) fn hmac_key(algorithm: mac::Algorithm, secret: &SecretString) -> mac::Key {
    mac::Key::new(algorithm, secret.expose_secret().as_bytes())
}

pub(super) fn skew(skew: std::time::Duration) -> TimeDelta {
    TimeDelta::from_std(skew).unwrap_or(TimeDelta::zero())
}

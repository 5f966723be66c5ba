//! `[server.notify]`: how much notifications may make us do, and `[accounts.NAME.notify]`: how they are signed.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret as _, SecretString};

use crate::domain::notification::{Field, formula};

use super::layer::Node;
use super::reader::Section;

/// `[server.notify]`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotifyLimits {
    /// Queries per minute and account that unverifiable notifications may cause, all replicas together.
    pub unverified_per_minute: u32,
    /// Of those, how many at once after a pause.
    pub unverified_burst: u32,
    /// Most notifications that become facts of one payment, of those that are rightly signed and of the others each.
    pub per_payment: u32,
    /// Most notifications kept apart per account.
    pub kept_max: u32,
    /// Most notifications written in one transaction.
    pub group_max: u32,
    /// Longest wait for a group to fill.
    pub linger: Duration,
}

/// `[accounts.NAME.notify]`: how the provider spells and signs what it tells unasked.
#[derive(Clone, Debug)]
pub struct NotifyTerms {
    /// Spelling and signature.
    pub form: NotifyForm,
    /// The path that the provider signs, where a proxy shows us another.
    pub signed_path: Option<String>,
    /// How far a signed time may lie from ours.
    pub clock_skew: Duration,
}

/// Spelling and signature of an account's notifications.
#[derive(Clone, Debug)]
pub enum NotifyForm {
    /// Parameters, signed by WORDS.
    Legacy {
        /// The key at the end of what is signed.
        shared_key: SecretString,
        /// What is signed in front of it, in order.
        words: Vec<Field>,
    },
    /// DOKU's own JSON, signed with the client secret.
    Json,
    /// SNAP BI: the provider takes a token from us, and signs with the client secret.
    Snap {
        /// The provider's RSA key, PKCS#1 DER.
        public_key: Vec<u8>,
        /// How long a token lives.
        token_ttl: Duration,
    },
}

pub(crate) fn read_limits(section: &mut Section<'_>) -> Option<NotifyLimits> {
    let unverified_per_minute = section.number("unverified_per_minute", 1, 6_000);
    let unverified_burst = section.number("unverified_burst", 1, 1_000);
    let per_payment = section.number("per_payment", 1, 1_000);
    let kept_max = section.number("kept_max", 0, 1_000_000);
    let group_max = section.number("group_max", 1, 500);
    let linger = section.duration("linger", "0ms", "1s");
    section.finish();
    Some(NotifyLimits {
        unverified_per_minute: unverified_per_minute?,
        unverified_burst: unverified_burst?,
        per_payment: per_payment?,
        kept_max: kept_max?,
        group_max: group_max?,
        linger: linger?,
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Legacy,
    Json,
    Snap,
}

pub(crate) fn read_terms(section: &mut Section<'_>) -> Option<NotifyTerms> {
    section.default("form", Node::Text("legacy".to_owned()));
    section.default("words", Node::Text("issuer_id,txn_date,merchant_pan,invoice".to_owned()));
    section.default("token_ttl", Node::Text("15m".to_owned()));
    section.default("clock_skew", Node::Text("5m".to_owned()));
    let form = section.choice("form", &[("legacy", Form::Legacy), ("json", Form::Json), ("snap", Form::Snap)]);
    // A key that another form needs may stand there, so that a form can be tried by changing one word.
    let shared_key = match form {
        Some(Form::Legacy) => section.secret("shared_key").map(Some),
        Some(Form::Json | Form::Snap) | None => section.optional("shared_key", Section::secret),
    };
    let names = "names of a notification's values with commas between them, such as \"issuer_id,txn_date,merchant_pan,invoice\"";
    let words = section.parsed("words", names, formula);
    let public_key = match form {
        Some(Form::Snap) => public_key(section, "public_key").map(Some),
        Some(Form::Legacy | Form::Json) | None => section.optional("public_key", public_key),
    };
    let token_ttl = section.duration("token_ttl", "1m", "1h");
    let clock_skew = section.duration("clock_skew", "1s", "1h");
    let path = "a path as the provider signs it, such as \"/notify/doku/main\"";
    let signed_path = section.optional("signed_path", |section, key| {
        section.parsed(key, path, |text| text.starts_with('/').then(|| text.to_owned()))
    });
    section.finish();
    let form = match form? {
        Form::Legacy => NotifyForm::Legacy { shared_key: shared_key??, words: words? },
        Form::Json => NotifyForm::Json,
        Form::Snap => NotifyForm::Snap { public_key: public_key??, token_ttl: token_ttl? },
    };
    Some(NotifyTerms { form, signed_path: signed_path?, clock_skew: clock_skew? })
}

/// A public key is no secret, but a file as keys are.
fn public_key(section: &mut Section<'_>, key: &str) -> Option<Vec<u8>> {
    let pem = section.secret(key)?;
    read_public_key(pem.expose_secret()).or_else(|| {
        let form = "not an RSA key of 2048 bits or more as PEM (\"BEGIN PUBLIC KEY\"): it is the provider's, and `openssl pkey -pubin -text` shows one";
        section.refuse_unshown(key, form)
    })
}

/// `rsaEncryption` (1.2.840.113549.1.1.1) and its NULL parameters, as DER.
const RSA_ALGORITHM: [u8; 13] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
/// A PKCS#1 key of 2048 bits has at least so many bytes.
const KEY_BYTES_MIN: usize = 256;

/// The bare PKCS#1 key, which `ring` wants, out of SEQUENCE { SEQUENCE { rsaEncryption, NULL }, BIT STRING { 0 unused bits, key } }.
fn read_public_key(pem: &str) -> Option<Vec<u8>> {
    let text = pem.trim().strip_prefix("-----BEGIN PUBLIC KEY-----")?.strip_suffix("-----END PUBLIC KEY-----")?;
    let der = STANDARD.decode(text.split_whitespace().collect::<String>()).ok()?;
    let (outer, after) = der_value(&der, 0x30)?;
    let (algorithm, rest) = der_value(outer, 0x30)?;
    let (bits, end) = der_value(rest, 0x03)?;
    let key = bits.strip_prefix(&[0])?;
    let is_whole = after.is_empty() && end.is_empty() && algorithm == RSA_ALGORITHM;
    (is_whole && key.len() > KEY_BYTES_MIN).then(|| key.to_vec())
}

/// The value of the DER element at the beginning, and what follows it.
fn der_value(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = input.strip_prefix(&[tag])?.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81 => rest.split_first().map(|(&one, rest)| (usize::from(one), rest))?,
        0x82 => rest.split_first_chunk().map(|(two, rest)| (usize::from(u16::from_be_bytes(*two)), rest))?,
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_key_is_read_and_nothing_else_is_taken_for_one() {
        let pem = include_str!("../../tests/fixtures/providers/test_key.pub.pem");
        assert_eq!(read_public_key(pem).map(|key| key.len()), Some(270));
        let private = include_str!("../../tests/fixtures/providers/test_key.pem");
        let torn = pem.replacen("MII", "MIJ", 1);
        for no in ["", "ssh-rsa AAAA", private, &torn, "-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----"] {
            assert_eq!(read_public_key(no), None, "{no}");
        }
    }
}

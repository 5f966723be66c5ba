//! SNAP BI signatures: what is signed, and with which key. The body is hashed as the bytes that are sent; nothing is
//! minified here, because the adapters write compact JSON in the first place.
//!
//! Formulas: ASPI, data and security standard v1.0.2. Encoding: standard base64, as every provider's own samples have it.
//! The client secret is used as its raw characters, also where it looks like base64. Absent on purpose: verifying, which
//! belongs to whoever receives notifications.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use ring::{rand::SystemRandom, rsa::KeyPair, signature::RSA_PKCS1_SHA256};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256, Sha512};

/// What a transaction's signature covers, besides the key.
#[derive(Debug, Clone, Copy)]
pub struct ToSign<'a> {
    /// Upper case.
    pub method: &'a str,
    /// Everything after the host, with the query.
    pub path: &'a str,
    /// The exact bytes of the body; empty where there is none.
    pub body: &'a [u8],
    /// The same text as in X-TIMESTAMP.
    pub timestamp: &'a str,
}

/// A client secret, expanded once into the inner and outer state of HMAC-SHA512.
#[derive(Clone)]
pub struct HmacKey(Hmac<Sha512>);

/// A private key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No PEM, or not of a private key.
    #[error(
        "the private key is not a PEM file with a PKCS#8 (BEGIN PRIVATE KEY) key; convert it with `openssl pkcs8 -topk8 -nocrypt`"
    )]
    NotPem,
    /// Not RSA, too small, or damaged.
    #[error("the private key is not an RSA key of 2048 to 4096 bits ({0})")]
    NotRsa(String),
    /// The system gave no randomness for blinding.
    #[error("signing with the private key failed: the system gave no randomness")]
    Failed,
}

impl std::fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HmacKey(***)")
    }
}

impl HmacKey {
    /// Expands a secret.
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "HMAC takes keys of every length; the error belongs to block ciphers"
    )]
    pub fn new(secret: &SecretString) -> Self {
        Self(Hmac::new_from_slice(secret.expose_secret().as_bytes()).expect("HMAC takes keys of every length"))
    }

    /// The symmetric signature of a transaction: over `METHOD:path:token:hash:timestamp`. `token` is without "Bearer ".
    pub fn sign(&self, to_sign: &ToSign<'_>, token: &str) -> String {
        let hash = body_hash(to_sign.body);
        let mut mac = self.0.clone();
        for (i, part) in [to_sign.method, to_sign.path, token, &hash, to_sign.timestamp].into_iter().enumerate() {
            if i > 0 {
                mac.update(b":");
            }
            mac.update(part.as_bytes());
        }
        STANDARD.encode(mac.finalize().into_bytes())
    }
}

/// A private key for SHA256withRSA, PKCS#1 v1.5.
pub struct RsaKey(KeyPair);

impl std::fmt::Debug for RsaKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RsaKey(***)")
    }
}

impl RsaKey {
    /// Reads a PEM.
    pub fn from_pem(pem: &SecretString) -> Result<Self, KeyError> {
        let key = PrivateKeyDer::from_pem_slice(pem.expose_secret().as_bytes()).map_err(|_| KeyError::NotPem)?;
        let pair = match &key {
            PrivateKeyDer::Pkcs8(der) => KeyPair::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => KeyPair::from_der(der.secret_pkcs1_der()),
            _ => return Err(KeyError::NotPem),
        };
        pair.map(Self).map_err(|e| KeyError::NotRsa(e.to_string()))
    }

    /// The signature of a token request: over `client_id|timestamp`.
    pub fn sign_token_request(&self, client_id: &str, timestamp: &str) -> Result<String, KeyError> {
        self.sign_text(&format!("{client_id}|{timestamp}"))
    }

    /// The asymmetric signature of a transaction: over `METHOD:path:hash:timestamp`.
    pub fn sign(&self, to_sign: &ToSign<'_>) -> Result<String, KeyError> {
        let hash = body_hash(to_sign.body);
        self.sign_text(&format!("{}:{}:{hash}:{}", to_sign.method, to_sign.path, to_sign.timestamp))
    }

    fn sign_text(&self, text: &str) -> Result<String, KeyError> {
        let mut signature = vec![0; self.0.public().modulus_len()];
        self.0
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
            .map_err(|_| KeyError::Failed)?;
        Ok(STANDARD.encode(signature))
    }
}

/// `lower(hex(sha256(body)))`.
fn body_hash(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

#[cfg(test)]
mod tests;

//! The signature of the Standard Webhooks specification (1.0.0): `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`. Two
//! secrets give two signatures, so that a receiver may change from one to the other while messages are under way.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

use crate::config::signing_key;

/// The keys of one endpoint, ready.
#[derive(Clone)]
pub struct Signer(Vec<Hmac<Sha256>>);

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(***)")
    }
}

impl Signer {
    /// Reads secrets of the form `whsec_…`, in the order in which they sign.
    ///
    /// # Errors
    /// What the form of a secret is, where one has another.
    pub fn try_new(secrets: &[SecretString]) -> Result<Self, String> {
        let key = |secret: &SecretString| {
            let key = signing_key(secret.expose_secret())?;
            Hmac::<Sha256>::new_from_slice(&key).map_err(|error| error.to_string())
        };
        secrets.iter().map(key).collect::<Result<_, _>>().map(Self)
    }

    /// The value of `webhook-signature`; `timestamp` in whole seconds since 1970, as `webhook-timestamp` says it.
    pub fn sign(&self, id: &str, timestamp: i64, body: &str) -> String {
        let signed = self.0.iter().map(|key| {
            let mut mac = key.clone();
            mac.update(format!("{id}.{timestamp}.").as_bytes());
            mac.update(body.as_bytes());
            format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
        });
        signed.collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The published example: what implementations of the specification test themselves with.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const AT: i64 = 1_614_265_330;
    const BODY: &str = "{\"test\": 2432232314}";
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn signer(secrets: &[&str]) -> Signer {
        let secrets: Vec<SecretString> = secrets.iter().map(|text| SecretString::from(*text)).collect();
        Signer::try_new(&secrets).unwrap()
    }

    #[test]
    fn the_published_example_is_signed_as_published() {
        assert_eq!(signer(&[SECRET]).sign(ID, AT, BODY), SIGNATURE);
    }

    #[test]
    fn two_secrets_sign_both_the_new_one_first() {
        let new = "whsec_c2VjcmV0IHRoYXQgaXMgYXMgbmV3IGFzIGNhbiBiZQ==";
        let both = signer(&[new, SECRET]).sign(ID, AT, BODY);
        assert_eq!(both, format!("{} {SIGNATURE}", signer(&[new]).sign(ID, AT, BODY)));
    }

    #[test]
    fn id_time_and_body_are_all_signed() {
        let signer = signer(&[SECRET]);
        for other in [signer.sign("msg_2", AT, BODY), signer.sign(ID, AT + 1, BODY), signer.sign(ID, AT, "{}")] {
            assert_ne!(other, SIGNATURE);
        }
    }

    #[test]
    fn keys_are_not_printed() {
        assert_eq!(format!("{:?}", signer(&[SECRET])), "Signer(***)");
    }
}

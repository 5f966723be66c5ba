//! The signatures of SNAP BI, checked from the provider's side and written apart from rekon's own signer, so that a
//! mistake there cannot agree with itself here. Formulas: ASPI data & security standard v1.0.2; vectors: Midtrans.
//! Nothing is signed here.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use sha2::{Digest as _, Sha256, Sha512};

/// An RSA public key that could not be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "the public key is not an RSA key in SPKI form; give the PEM that `openssl pkey -pubout` prints, or its base64"
)]
pub struct KeyUnreadable;

/// `rsaEncryption` (1.2.840.113549.1.1.1) with its NULL parameters, as DER.
const RSA_ALGORITHM: [u8; 13] = [0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01, 0x05, 0x00];

/// The public half of a merchant's RSA key.
#[derive(Debug, Clone)]
pub(super) struct RsaPublicKey {
    pkcs1_der: Vec<u8>,
}

impl RsaPublicKey {
    /// Reads an SPKI public key, as PEM or as bare base64.
    pub(super) fn try_new(spki_or_pem: &str) -> Result<Self, KeyUnreadable> {
        let base64: String =
            spki_or_pem.lines().filter(|line| !line.starts_with("-----")).flat_map(str::split_whitespace).collect();
        let der = STANDARD.decode(base64).map_err(|_| KeyUnreadable)?;
        let pkcs1_der = rsa_public_key_inside(&der).ok_or(KeyUnreadable)?;
        Ok(Self { pkcs1_der: pkcs1_der.to_vec() })
    }

    /// Whether `signature_base64` is this key's signature over `METHOD:EndpointUrl:lower(hex(SHA-256(body))):X-TIMESTAMP`.
    pub(super) fn verifies_transaction(&self, signed: Signed<'_>, signature_base64: &str) -> bool {
        let Signed { method, endpoint_url, body, timestamp, .. } = signed;
        let over = |body: &[u8]| {
            let digest = hex::encode(Sha256::digest(body));
            self.verifies(&format!("{method}:{endpoint_url}:{digest}:{timestamp}"), signature_base64)
        };
        over(body) || matches!(minify(body), Cow::Owned(compact) if over(&compact))
    }

    /// Whether `signature_base64` is this key's SHA256withRSA (PKCS#1 v1.5) signature over `message`.
    pub(super) fn verifies(&self, message: &str, signature_base64: &str) -> bool {
        STANDARD.decode(signature_base64).is_ok_and(|signature| {
            UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.pkcs1_der)
                .verify(message.as_bytes(), &signature)
                .is_ok()
        })
    }
}

/// `ring` wants the bare PKCS#1 key: SEQUENCE { SEQUENCE { rsaEncryption, NULL }, BIT STRING { 0 unused bits, key } }.
fn rsa_public_key_inside(spki: &[u8]) -> Option<&[u8]> {
    let (body, rest) = der_value(spki, 0x30)?;
    let (algorithm, after_algorithm) = der_value(body, 0x30)?;
    let (bits, after_bits) = der_value(after_algorithm, 0x03)?;
    let (&unused_bits, key) = bits.split_first()?;
    (rest.is_empty() && after_bits.is_empty() && algorithm == RSA_ALGORITHM && unused_bits == 0).then_some(key)
}

/// The value of the DER element that `input` starts with, and what follows it.
fn der_value(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = input.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
        if octets.len() > 4 {
            return None;
        }
        (octets.iter().fold(0_usize, |length, &octet| (length << 8) | usize::from(octet)), rest)
    };
    (found == tag).then(|| rest.split_at_checked(length)).flatten()
}

/// What a transaction request's symmetric signature covers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signed<'a> {
    /// Upper case, as in the request line.
    pub(super) method: &'a str,
    /// Path with its query string, relative to the host.
    pub(super) endpoint_url: &'a str,
    /// Without the word `Bearer`.
    pub(super) access_token: &'a str,
    /// The raw bytes as they came over the wire.
    pub(super) body: &'a [u8],
    /// The text of X-TIMESTAMP.
    pub(super) timestamp: &'a str,
}

/// A client secret, already keyed: verifying clones the keyed state and never hashes the secret again.
#[derive(Clone)]
pub(super) struct SymmetricKey {
    keyed: Hmac<Sha512>,
}

impl std::fmt::Debug for SymmetricKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SymmetricKey(…)")
    }
}

impl SymmetricKey {
    /// Keys the MAC with the secret's UTF-8 bytes, even where the secret looks like base64.
    pub(super) fn new(client_secret: &str) -> Self {
        let keyed = Hmac::<Sha512>::new_from_slice(client_secret.as_bytes());
        #[expect(clippy::expect_used, reason = "HMAC takes keys of every length, so this cannot fail")]
        let keyed = keyed.expect("HMAC takes keys of every length");
        Self { keyed }
    }

    /// Whether `signature_base64` is HMAC-SHA512 over `METHOD:EndpointUrl:AccessToken:lower(hex(SHA-256(body))):X-TIMESTAMP`.
    /// The raw body is tried first; a body with insignificant whitespace is then tried minified, as the standard says.
    pub(super) fn verifies(&self, signed: Signed<'_>, signature_base64: &str) -> bool {
        let mut signature = [0_u8; 66];
        let Ok(length) = STANDARD.decode_slice(signature_base64, &mut signature) else { return false };
        let Some(signature) = signature.get(..length) else { return false };
        if self.matches(signed, signature) {
            return true;
        }
        match minify(signed.body) {
            Cow::Borrowed(_) => false,
            Cow::Owned(compact) => self.matches(Signed { body: &compact, ..signed }, signature),
        }
    }

    fn matches(&self, signed: Signed<'_>, signature: &[u8]) -> bool {
        let mut digest = [0_u8; 64];
        if hex::encode_to_slice(Sha256::digest(signed.body), &mut digest).is_err() {
            return false;
        }
        let mut mac = self.keyed.clone();
        for part in [signed.method, signed.endpoint_url, signed.access_token] {
            mac.update(part.as_bytes());
            mac.update(b":");
        }
        mac.update(&digest);
        mac.update(b":");
        mac.update(signed.timestamp.as_bytes());
        mac.verify_slice(signature).is_ok()
    }
}

/// Drops JSON's insignificant whitespace from the text itself: spelling of numbers, escapes and key order stay.
fn minify(body: &[u8]) -> Cow<'_, [u8]> {
    let mut in_string = false;
    let mut escaped = false;
    let compact: Vec<u8> = body
        .iter()
        .copied()
        .filter(|&byte| {
            if in_string {
                in_string = escaped || byte != b'"';
                escaped = !escaped && byte == b'\\';
                return true;
            }
            in_string = byte == b'"';
            !matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
        })
        .collect();
    if compact.len() == body.len() { Cow::Borrowed(body) } else { Cow::Owned(compact) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Midtrans SNAP-BI-Signature-Demo: the public key of its samples.
    const MIDTRANS_PUBLIC_KEY: &str = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAlWbtlh3eM+bW3n5AFj42wddC4L7tQqbLiCFbTv8K67yng9iwK5mEn+UMXiRhvB2JVWFafCPPxFamsiVG3MjneGjC0BYgmpmw4qXnAnyO3nCdCuPtmZ3ljhKvSTPdWZxrcLi1Xa9V/+Pzb8hrjb5iwMn6SZFNeMmZYgFKiSeueo6TPln2PoTqXCzs1HtsM8eUVe8GAsjJe/3dYl992nyXOpG21GgNu8o5T3WOptPg6GdDTWkTWUu483yRbVVy04Pz4L8DDZTDv+WcsAViDn1rA/jB1Auj/UGKx2ovGcBH/a/hor5TbABbODU6cPTHT54K3sSZtvZNV4eFDB1f/4wdfwIDAQAB";
    const SYMMETRIC_BODY: &str = r#"{"partnerReferenceNo":"2020102900000000000001","amount":{"value":"12345678.00","currency":"IDR"},"feeAmount":{"value":"12345678.00","currency":"IDR"},"merchantId":"00007100010926","terminalId":"213141251124","validityPeriod":"2009-07-03T12:08:56-07:00"}"#;
    const SYMMETRIC_SIGNATURE: &str =
        "wmzT7yjg1SxxCsxNsFgCR9SYXiZGGbceF6fV8xe97sAMHxZ+7OEBMIBmvb6Sj6GcksGp3iv77DiomgSbcST3XQ==";

    fn symmetric(body: &str) -> Signed<'_> {
        Signed {
            method: "POST",
            endpoint_url: "/v1.0/qr/qr-mpm-generate",
            access_token: "myaccesstoken",
            body: body.as_bytes(),
            timestamp: "2024-03-05T10:37:16.196Z",
        }
    }

    #[test]
    fn the_midtrans_symmetric_vector_verifies_and_every_changed_part_does_not() {
        let key = SymmetricKey::new("myclientsecret");
        let signed = symmetric(SYMMETRIC_BODY);
        assert!(key.verifies(signed, SYMMETRIC_SIGNATURE));
        assert!(!SymmetricKey::new("another").verifies(signed, SYMMETRIC_SIGNATURE));
        assert!(!key.verifies(Signed { method: "post", ..signed }, SYMMETRIC_SIGNATURE));
        assert!(!key.verifies(Signed { access_token: "Bearer myaccesstoken", ..signed }, SYMMETRIC_SIGNATURE));
        assert!(!key.verifies(Signed { timestamp: "2024-03-05T10:37:16Z", ..signed }, SYMMETRIC_SIGNATURE));
        assert!(!key.verifies(symmetric(&SYMMETRIC_BODY.replace(".00", "")), SYMMETRIC_SIGNATURE));
        assert!(!key.verifies(signed, &SYMMETRIC_SIGNATURE.replacen("wmz", "wmZ", 1)));
        assert!(!key.verifies(signed, "not base64"));
    }

    #[test]
    fn a_body_with_insignificant_whitespace_verifies_by_its_minified_text() {
        let spaced =
            SYMMETRIC_BODY.replace(',', ",\n  ").replace(':', ": ").replace("12: 08: 56-07: 00", "12:08:56-07:00");
        assert!(SymmetricKey::new("myclientsecret").verifies(symmetric(&spaced), SYMMETRIC_SIGNATURE));
    }

    #[test]
    fn minify_keeps_what_stands_inside_strings() {
        let body = br#"{ "a b" : "c \" d : e\\" , "n" : 1200.00 }"#;
        assert_eq!(minify(body).as_ref(), br#"{"a b":"c \" d : e\\","n":1200.00}"#);
    }

    #[test]
    fn the_midtrans_notification_vector_verifies_and_a_tampered_amount_does_not() {
        let body = r#"{"originalPartnerReferenceNo":"GP24043015193402809","originalReferenceNo":"A120240430081940S9vu8gSjaRID","merchantId":"G099333790","amount":{"value":"102800.00","currency":"IDR"},"latestTransactionStatus":"00","transactionStatusDesc":"SUCCESS","additionalInfo":{"refundHistory":[]}}"#;
        let signature = "RoJnP2tH/YiOhHM/lMVBMSAuzRmS8VrWdIy04Qqyb56daV7oWFMFoMMzqnjQ+q0MIUalYgU094GWQnCx2c29xb1kkqHhv2+iJ9xl6NjGmFGYqyvcKvUDAV83Y1Mw9JnsEcjcupdGw9/MRv/mm2GMrQ+BCZGfc4a46JDyPZbcY294vDGqs5rFBN6iYer5ro4cAQGo9hET2G82Y+j50vCyO/79GFE4vB1rvtu6PK2Bxi+vTYV8k7P7PS8tOPWM2O+kjiVWjwvLR99Botou+a8sxlQqZaihfWMKcByzV+Lgkr9cptpjys+1NIRWT1ad/sJBSLHyldzC3q2oRn5z5oZmyg==";
        let key = RsaPublicKey::try_new(MIDTRANS_PUBLIC_KEY).unwrap();
        let string_to_sign = |body: &str| {
            format!("POST:/v1.0/debit/notify:{}:2024-05-02T14:43:08+07:00", hex::encode(Sha256::digest(body)))
        };
        assert!(string_to_sign(body).contains("79ebbe6a6b695262dd686d0dedafc57c94e3b3dededf8d63971f8a95699ace85"));
        assert!(key.verifies(&string_to_sign(body), signature));
        assert!(!key.verifies(&string_to_sign(&body.replace("102800", "102801")), signature));
    }

    #[test]
    fn the_midtrans_token_vector_verifies_only_for_its_client() {
        let signature = "WzW49tYIgKIBmBi/gVBHGLAkhEaZlXM11zcZxAiyHji6TLPjPbwLu3Z45it25AIeG0XDItcdTSkds47zFEMh6IP0PXPIP1+Ey4RmX/o2fuYRF/xBHvfvKnMmANMTS1axsXBSW3EHqYpbVrkCcqNnB3u+wu63us9WIhRZaWgxgQ2PJLaiVHIwgu9u7jxkWX7Bg4rerZH3RKdQfIJAAJsSN13efR7VdSAyzU7QaKjgislxrLqmesYNJkbD03XLjHdo6YWuzAVV7xdZRpLiGkIAkW7luXTBZYBO+4oENZAPQYzrLeN1qRY1Sr7BgLONCA2QA26BB6SYW4R7qofS9+RyOQ==";
        let key = RsaPublicKey::try_new(MIDTRANS_PUBLIC_KEY).unwrap();
        assert!(key.verifies("G1234325-SNAP|2024-03-01T08:27:49.024Z", signature));
        assert!(!key.verifies("G1234326-SNAP|2024-03-01T08:27:49.024Z", signature));
    }

    #[test]
    fn an_empty_body_hashes_as_the_standard_notes() {
        let empty = hex::encode(Sha256::digest(minify(b"")));
        assert_eq!(empty, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[test]
    fn a_pem_reads_as_a_key_and_anything_else_is_refused() {
        assert!(RsaPublicKey::try_new(crate::sim::DEMO_PUBLIC_KEY_PEM).is_ok());
        for wrong in ["", "AAAA", "MAA=", crate::sim::DEMO_PRIVATE_KEY_PEM] {
            assert!(RsaPublicKey::try_new(wrong).is_err(), "{wrong}");
        }
    }
}

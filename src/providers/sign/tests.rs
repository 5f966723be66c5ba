//! The published vectors. Private keys are not published with theirs, so RSA signatures are verified with the public one.

use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

use super::*;
use crate::providers::fixture::TEST_KEY_PEM;

/// Midtrans/SNAP-BI-Signature-Demo, notification key, as SubjectPublicKeyInfo.
const MIDTRANS_SPKI: &str = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAlWbtlh3eM+bW3n5AFj42wddC4L7tQqbLiCFbTv8K67yng9iwK5mEn+UMXiRhvB2JVWFafCPPxFamsiVG3MjneGjC0BYgmpmw4qXnAnyO3nCdCuPtmZ3ljhKvSTPdWZxrcLi1Xa9V/+Pzb8hrjb5iwMn6SZFNeMmZYgFKiSeueo6TPln2PoTqXCzs1HtsM8eUVe8GAsjJe/3dYl992nyXOpG21GgNu8o5T3WOptPg6GdDTWkTWUu483yRbVVy04Pz4L8DDZTDv+WcsAViDn1rA/jB1Auj/UGKx2ovGcBH/a/hor5TbABbODU6cPTHT54K3sSZtvZNV4eFDB1f/4wdfwIDAQAB";

/// The PKCS#1 key inside a 2048-bit SubjectPublicKeyInfo stands after a header of fixed length.
const SPKI_HEADER: usize = 24;

fn verify(spki: &str, message: &str, signature: &str) -> bool {
    let der = STANDARD.decode(spki).unwrap();
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &der[SPKI_HEADER..]);
    key.verify(message.as_bytes(), &STANDARD.decode(signature).unwrap()).is_ok()
}

fn secret(text: &str) -> SecretString {
    text.to_owned().into()
}

#[test]
fn midtrans_symmetric_vector_comes_out_byte_for_byte() {
    // Midtrans/SNAP-BI-Signature-Demo @a00d82b, sample-code/symmetricSignature.
    let body = concat!(
        r#"{"partnerReferenceNo":"2020102900000000000001","amount":{"value":"12345678.00","currency":"IDR"},"#,
        r#""feeAmount":{"value":"12345678.00","currency":"IDR"},"merchantId":"00007100010926","#,
        r#""terminalId":"213141251124","validityPeriod":"2009-07-03T12:08:56-07:00"}"#
    );
    assert_eq!(body_hash(body.as_bytes()), "01463f60dbb6ca538581579dd95b31c8ba9fc6600eca750e4d8460ca4e402111");
    let to_sign = ToSign {
        method: "POST",
        path: "/v1.0/qr/qr-mpm-generate",
        body: body.as_bytes(),
        timestamp: "2024-03-05T10:37:16.196Z",
    };
    assert_eq!(
        HmacKey::new(&secret("myclientsecret")).sign(&to_sign, "myaccesstoken"),
        "wmzT7yjg1SxxCsxNsFgCR9SYXiZGGbceF6fV8xe97sAMHxZ+7OEBMIBmvb6Sj6GcksGp3iv77DiomgSbcST3XQ=="
    );
}

#[test]
fn midtrans_notification_vector_verifies_over_the_hash_that_is_made_here() {
    let body = concat!(
        r#"{"originalPartnerReferenceNo":"GP24043015193402809","originalReferenceNo":"A120240430081940S9vu8gSjaRID","#,
        r#""merchantId":"G099333790","amount":{"value":"102800.00","currency":"IDR"},"latestTransactionStatus":"00","#,
        r#""transactionStatusDesc":"SUCCESS","additionalInfo":{"refundHistory":[]}}"#
    );
    let hash = body_hash(body.as_bytes());
    assert_eq!(hash, "79ebbe6a6b695262dd686d0dedafc57c94e3b3dededf8d63971f8a95699ace85");
    let signature = "RoJnP2tH/YiOhHM/lMVBMSAuzRmS8VrWdIy04Qqyb56daV7oWFMFoMMzqnjQ+q0MIUalYgU094GWQnCx2c29xb1kkqHhv2+iJ9xl6NjGmFGYqyvcKvUDAV83Y1Mw9JnsEcjcupdGw9/MRv/mm2GMrQ+BCZGfc4a46JDyPZbcY294vDGqs5rFBN6iYer5ro4cAQGo9hET2G82Y+j50vCyO/79GFE4vB1rvtu6PK2Bxi+vTYV8k7P7PS8tOPWM2O+kjiVWjwvLR99Botou+a8sxlQqZaihfWMKcByzV+Lgkr9cptpjys+1NIRWT1ad/sJBSLHyldzC3q2oRn5z5oZmyg==";
    assert!(verify(MIDTRANS_SPKI, &format!("POST:/v1.0/debit/notify:{hash}:2024-05-02T14:43:08+07:00"), signature));
    assert!(!verify(MIDTRANS_SPKI, &format!("POST:/v1.0/debit/notify:{hash}:2024-05-02T14:43:09+07:00"), signature));
}

#[test]
fn midtrans_token_vector_verifies_over_client_id_and_timestamp() {
    let signature = "WzW49tYIgKIBmBi/gVBHGLAkhEaZlXM11zcZxAiyHji6TLPjPbwLu3Z45it25AIeG0XDItcdTSkds47zFEMh6IP0PXPIP1+Ey4RmX/o2fuYRF/xBHvfvKnMmANMTS1axsXBSW3EHqYpbVrkCcqNnB3u+wu63us9WIhRZaWgxgQ2PJLaiVHIwgu9u7jxkWX7Bg4rerZH3RKdQfIJAAJsSN13efR7VdSAyzU7QaKjgislxrLqmesYNJkbD03XLjHdo6YWuzAVV7xdZRpLiGkIAkW7luXTBZYBO+4oENZAPQYzrLeN1qRY1Sr7BgLONCA2QA26BB6SYW4R7qofS9+RyOQ==";
    assert!(verify(MIDTRANS_SPKI, "G1234325-SNAP|2024-03-01T08:27:49.024Z", signature));
}

#[test]
fn a_signature_without_the_hash_of_the_body_is_not_ours() {
    // gilang-as/snap-bi-go @baf97e8 drops the hash of an empty body; the standard hashes the empty text.
    assert_eq!(body_hash(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    let key = HmacKey::new(&secret("secret"));
    let to_sign = ToSign { method: "GET", path: "/a", body: b"", timestamp: "t" };
    let mac = |text: &str| {
        let mut mac = Hmac::<Sha512>::new_from_slice(b"secret").unwrap();
        mac.update(text.as_bytes());
        STANDARD.encode(mac.finalize().into_bytes())
    };
    assert_eq!(key.sign(&to_sign, "k"), mac(&format!("GET:/a:k:{}:t", body_hash(b""))));
    assert_ne!(key.sign(&to_sign, "k"), mac("GET:/a:k::t"));
}

#[test]
fn a_secret_is_its_raw_characters_also_where_it_looks_like_base64() {
    // gilang-as/snap-bi-go @baf97e8, symmetric token signature: the same key handling over another text.
    let HmacKey(mut mac) = HmacKey::new(&secret("xS3vNQQgJRemFF0SZfXkZOq3r7kQ9n5YJgK4Wg0tVCQ="));
    mac.update(b"962489e9-de5d-4eb7-92a4-b07d44d64bf4|2020-01-01T00:00:00+07:00");
    assert_eq!(
        STANDARD.encode(mac.finalize().into_bytes()),
        "kxZ0PJFmFVllsoVVZukP1lBtDajrkLnfcqNbf2JxvN8S7WDNq8klPMseQLXC7xILbY7JpdNvINp/I1Ar7VdYfg=="
    );
}

#[test]
fn what_is_signed_with_a_private_key_verifies_with_its_public_one() {
    let public = include_str!("../../../tests/fixtures/providers/test_key.pub.pem");
    let spki: String = public.lines().filter(|line| !line.starts_with("-----")).collect();
    let key = RsaKey::from_pem(&secret(TEST_KEY_PEM)).unwrap();
    let token = key.sign_token_request("BRN-1", "2026-11-20T17:00:00+07:00").unwrap();
    assert!(verify(&spki, "BRN-1|2026-11-20T17:00:00+07:00", &token));
    let to_sign = ToSign { method: "POST", path: "/x", body: b"{}", timestamp: "2026-11-20T17:00:00+07:00" };
    let text = format!("POST:/x:{}:2026-11-20T17:00:00+07:00", body_hash(b"{}"));
    assert!(verify(&spki, &text, &key.sign(&to_sign).unwrap()));
}

#[test]
fn a_key_that_is_none_says_what_to_do_and_shows_nothing() {
    for pem in ["", "not a key", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let error = RsaKey::from_pem(&secret(pem)).unwrap_err();
        assert!(matches!(error, KeyError::NotPem), "{error}");
    }
    let garbage = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert!(matches!(RsaKey::from_pem(&secret(garbage)).unwrap_err(), KeyError::NotRsa(_)));
    assert_eq!(format!("{:?}", RsaKey::from_pem(&secret(TEST_KEY_PEM)).unwrap()), "RsaKey(***)");
    assert_eq!(format!("{:?}", HmacKey::new(&secret("s3cret"))), "HmacKey(***)");
}

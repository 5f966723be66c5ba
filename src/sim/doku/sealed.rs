//! The two notifications that DOKU signs over their whole body, from the side that sends them: its own JSON with HMAC-SHA256, and
//! SNAP BI's with a token of the merchant's and HMAC-SHA512. Written from the documents, apart from rekon's reader. DOKU's RSA
//! key is the throw-away pair of `keys`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, SecondsFormat, Utc};
use hmac::{Hmac, Mac};
use ring::{rand::SystemRandom, rsa::KeyPair, signature::RSA_PKCS1_SHA256};
use serde_json::json;
use sha2::{Digest as _, Sha256, Sha512};

use super::super::{keys::DEMO_PRIVATE_KEY_PEM, snap};
use super::notify::{Notice, Says};

/// How a merchant is notified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoticeForm {
    /// By parameters, signed by WORDS.
    Legacy,
    /// By DOKU's own JSON.
    Json(Sealer),
    /// By SNAP BI.
    Snap(Sealer),
}

/// What both sides know of a merchant whose notifications are signed over their body.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealer {
    /// The merchant's client id.
    pub client_id: String,
    /// The secret that both share.
    pub client_secret: String,
    /// The path that is signed, as the merchant registered it.
    pub path: String,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealer({}, ***)", self.client_id)
    }
}

/// A request before it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Headers beside the content type, which is JSON.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: String,
}

impl Sealer {
    /// DOKU's own JSON, signed at `at`.
    pub fn json(&self, notice: &Notice, at: DateTime<Utc>) -> Envelope {
        let body = json_body(notice);
        let (number, time) = (notice.number(), at.to_rfc3339_opts(SecondsFormat::Secs, true));
        let digest = STANDARD.encode(Sha256::digest(&body));
        let signed = format!(
            "Client-Id:{}\nRequest-Id:{number}\nRequest-Timestamp:{time}\nRequest-Target:{}\nDigest:{digest}",
            self.client_id, self.path
        );
        let signature = mac::<Hmac<Sha256>>(self.key_for(notice), &signed);
        let headers = vec![
            ("Client-Id", self.client_id.clone()),
            ("Request-Id", number),
            ("Request-Timestamp", time),
            ("Signature", format!("HMACSHA256={signature}")),
        ];
        Envelope { headers, body }
    }

    /// What asks the merchant for a token.
    pub fn token_request(&self, at: DateTime<Utc>) -> Envelope {
        let time = at.to_rfc3339_opts(SecondsFormat::Millis, true);
        let signature = rsa(&format!("{}|{time}", self.client_id)).unwrap_or_default();
        let headers = vec![("X-CLIENT-KEY", self.client_id.clone()), ("X-TIMESTAMP", time), ("X-SIGNATURE", signature)];
        Envelope { headers, body: json!({"grantType": "client_credentials"}).to_string() }
    }

    /// SNAP BI's notification under this token, signed at `at`.
    pub fn snap(&self, notice: &Notice, at: DateTime<Utc>, token: &str) -> Envelope {
        let body = snap_body(notice);
        let time = at.to_rfc3339_opts(SecondsFormat::Millis, true);
        let hash = hex::encode(Sha256::digest(&body));
        let signed = format!("POST:{}:{token}:{hash}:{time}", self.path);
        let headers = vec![
            ("Authorization", format!("Bearer {token}")),
            ("X-TIMESTAMP", time),
            ("X-PARTNER-ID", self.client_id.clone()),
            ("X-EXTERNAL-ID", notice.number()),
            ("CHANNEL-ID", "H2H".to_owned()),
            ("X-SIGNATURE", mac::<Hmac<Sha512>>(self.key_for(notice), &signed)),
        ];
        Envelope { headers, body }
    }

    /// Whoever forges does not know the secret; and no signature over a whole body can be copied to another.
    fn key_for(&self, notice: &Notice) -> &[u8] {
        if notice.is_genuine() { self.client_secret.as_bytes() } else { b"a key that nobody shares" }
    }
}

fn json_body(notice: &Notice) -> String {
    let status = match notice.says() {
        Says::Paid => "SUCCESS",
        Says::Failed => "FAILED",
        Says::Contradiction => "REFUNDED",
    };
    // A number without decimals where there are none, as the document has it.
    let (rupiah, sen) = (notice.amount_sen() / 100, notice.amount_sen() % 100);
    let amount = if sen == 0 { rupiah.to_string() } else { format!("{rupiah}.{sen:02}") };
    format!(
        r#"{{"service":{{"id":"QRIS"}},"acquirer":{{"id":"DOKU"}},"channel":{{"id":"QRIS_DOKU"}},"order":{{"invoice_number":{},"amount":{amount}}},"transaction":{{"status":"{status}","date":"{}","original_request_id":"{}"}},"emoney_payment":{{"approval_code":"328591"}}}}"#,
        json!(notice.partner_reference_no()),
        notice.date(),
        notice.reference_no(),
    )
}

fn snap_body(notice: &Notice) -> String {
    let (status, description) = match notice.says() {
        Says::Paid => ("00", "Success"),
        Says::Failed => ("06", "Failed"),
        Says::Contradiction => ("00", "Refunded"),
    };
    let mut amount = String::new();
    snap::push_amount(&mut amount, notice.amount_sen());
    let additional = match notice.says() {
        Says::Contradiction => json!({"refundAmount": {"value": amount, "currency": "IDR"}}),
        Says::Paid | Says::Failed => json!({"paidTime": notice.date()}),
    };
    json!({
        "originalReferenceNo": notice.reference_no(), "originalPartnerReferenceNo": notice.partner_reference_no(),
        "latestTransactionStatus": status, "transactionStatusDesc": description,
        "amount": {"value": amount, "currency": "IDR"}, "additionalInfo": additional,
    })
    .to_string()
}

fn mac<M: Mac + hmac::KeyInit>(key: &[u8], text: &str) -> String {
    let Ok(mut mac) = <M as hmac::KeyInit>::new_from_slice(key) else { return String::new() };
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

fn rsa(text: &str) -> Option<String> {
    let base64: String = DEMO_PRIVATE_KEY_PEM.lines().filter(|line| !line.starts_with("-----")).collect();
    let pair = KeyPair::from_pkcs8(&STANDARD.decode(base64).ok()?).ok()?;
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).ok()?;
    Some(STANDARD.encode(signature))
}

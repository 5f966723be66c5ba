//! A merchant that signs by the standard's formulas, apart from both the simulator and rekon's adapter.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rekon::sim::{DEMO_PRIVATE_KEY_PEM, Sim, SimClient, SimHandle, SimOptions, SimPayment};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

pub(super) const CLIENT_ID: &str = "BRN-0240-1657686175289";
pub(super) const SECRET: &str = "SK-simulated";
pub(super) const MERCHANT_ID: &str = "2997";
pub(super) const TOKEN_PATH: &str = "/authorization/v1/access-token/b2b";
pub(super) const QUERY_PATH: &str = "/snap-adapter/b2b/v1.0/qr/qr-mpm-query";
pub(super) const REFUND_PATH: &str = "/snap-adapter/b2b/v1.0/qr/qr-mpm-refund";
const REFERENCE_NO: &str = "7d054649f9ba4c19ae5f95950c99be4d";

static EXTERNAL_IDS: AtomicU64 = AtomicU64::new(1);

/// HTTP status and body of an answer that is JSON.
pub(super) type Answered = (u16, Value);

pub(super) fn options() -> SimOptions {
    SimOptions { arrival_log: true, ..SimOptions::loopback(vec![SimClient::demo(CLIENT_ID, SECRET, MERCHANT_ID)]) }
}

/// A payment with the reference that this merchant asks for.
pub(super) fn payment(partner_reference_no: &str, expected_sen: i64) -> SimPayment {
    SimPayment {
        reference_no: REFERENCE_NO.to_owned(),
        approval_code: "328591".to_owned(),
        ..SimPayment::exact(partner_reference_no, expected_sen)
    }
}

/// A simulator with these payments, and a merchant that holds a token.
pub(super) async fn stage(
    options: SimOptions,
    payments: impl IntoIterator<Item = SimPayment>,
) -> (SimHandle, Merchant) {
    let sim = Sim::start(options).await.unwrap();
    for payment in payments {
        sim.world().add_payment(payment).unwrap();
    }
    let mut merchant = Merchant::new(sim.base_url());
    merchant.fetch_token().await;
    (sim, merchant)
}

/// The now of X-TIMESTAMP, `skew_secs` off.
#[expect(clippy::disallowed_methods, reason = "a merchant has a clock of its own")]
pub(super) fn timestamp(skew_secs: i64) -> String {
    let wib = chrono::FixedOffset::east_opt(7 * 3600).unwrap();
    let at = chrono::Utc::now().with_timezone(&wib) + chrono::TimeDelta::seconds(skew_secs);
    at.format("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

pub(super) fn external_id() -> String {
    format!("{:032}", EXTERNAL_IDS.fetch_add(1, Ordering::Relaxed))
}

/// A signed request whose every header can be spoilt before it is sent.
#[derive(Clone)]
pub(super) struct Letter {
    pub(super) path: &'static str,
    pub(super) body: String,
    pub(super) headers: Vec<(&'static str, String)>,
}

impl Letter {
    /// Replaces a header.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self = self.without(name);
        self.headers.push((name, value.into()));
        self
    }

    /// The request as it stands on the wire.
    pub(super) fn as_http(&self) -> String {
        let Self { path, body, headers } = self;
        let headers: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let headers = headers.concat();
        format!("POST {path} HTTP/1.1\r\nHost: sim\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
    }

    /// Removes a header.
    pub(super) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(found, _)| *found != name);
        self
    }
}

#[derive(Clone)]
pub(super) struct Merchant {
    pub(super) http: reqwest::Client,
    pub(super) base_url: String,
    pub(super) token: String,
    pub(super) secret: &'static str,
}

impl Merchant {
    pub(super) fn new(base_url: String) -> Self {
        // Another test may have installed it already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { http, base_url, token: String::new(), secret: SECRET }
    }

    pub(super) fn token_letter(timestamp: &str) -> Letter {
        let pem: String = DEMO_PRIVATE_KEY_PEM.lines().filter(|line| !line.starts_with("--")).collect();
        let key = RsaKeyPair::from_pkcs8(&STANDARD.decode(pem).unwrap()).unwrap();
        let mut signature = vec![0; key.public().modulus_len()];
        let message = format!("{CLIENT_ID}|{timestamp}");
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
        Letter {
            path: TOKEN_PATH,
            body: r#"{"grantType":"client_credentials"}"#.to_owned(),
            headers: vec![
                ("X-CLIENT-KEY", CLIENT_ID.to_owned()),
                ("X-TIMESTAMP", timestamp.to_owned()),
                ("X-SIGNATURE", STANDARD.encode(signature)),
            ],
        }
    }

    pub(super) async fn fetch_token(&mut self) -> Value {
        let (status, body) = self.send(Self::token_letter(&timestamp(0))).await.unwrap();
        assert_eq!(status, 200, "{body}");
        body["accessToken"].as_str().unwrap().clone_into(&mut self.token);
        body
    }

    pub(super) fn letter(&self, path: &'static str, body: &Value) -> Letter {
        self.letter_at(path, body.to_string(), &timestamp(0))
    }

    pub(super) fn letter_at(&self, path: &'static str, body: String, timestamp: &str) -> Letter {
        let digest = hex::encode(Sha256::digest(body.as_bytes()));
        let mut mac = Hmac::<Sha512>::new_from_slice(self.secret.as_bytes()).unwrap();
        mac.update(format!("POST:{path}:{}:{digest}:{timestamp}", self.token).as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        Letter {
            path,
            body,
            headers: vec![
                ("X-PARTNER-ID", CLIENT_ID.to_owned()),
                ("X-EXTERNAL-ID", external_id()),
                ("X-TIMESTAMP", timestamp.to_owned()),
                ("X-SIGNATURE", signature),
                ("Authorization", format!("Bearer {}", self.token)),
            ],
        }
    }

    pub(super) async fn send_raw(&self, letter: Letter) -> reqwest::Result<reqwest::Response> {
        let mut request = self.http.post(format!("{}{}", self.base_url, letter.path)).body(letter.body);
        for (name, value) in letter.headers {
            request = request.header(name, value);
        }
        request.header("Content-Type", "application/json").send().await
    }

    pub(super) async fn send(&self, letter: Letter) -> reqwest::Result<Answered> {
        let response = self.send_raw(letter).await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    pub(super) fn query_letter(&self, partner_reference_no: &str) -> Letter {
        self.letter(QUERY_PATH, &query_body(partner_reference_no))
    }

    pub(super) async fn query(&self, partner_reference_no: &str) -> Answered {
        self.send(self.query_letter(partner_reference_no)).await.unwrap()
    }

    /// The `latestTransactionStatus` of the next answer.
    pub(super) async fn status(&self, partner_reference_no: &str) -> String {
        let (_, body) = self.query(partner_reference_no).await;
        body["latestTransactionStatus"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned()
    }

    pub(super) fn refund_letter(&self, partner_reference_no: &str, partner_refund_no: &str, rupiah: &str) -> Letter {
        self.letter(REFUND_PATH, &refund_body(partner_reference_no, partner_refund_no, rupiah))
    }

    pub(super) async fn refund(&self, partner_reference_no: &str, partner_refund_no: &str, rupiah: &str) -> Answered {
        self.send(self.refund_letter(partner_reference_no, partner_refund_no, rupiah)).await.unwrap()
    }
}

pub(super) fn query_body(partner_reference_no: &str) -> Value {
    json!({
        "originalReferenceNo": REFERENCE_NO,
        "originalPartnerReferenceNo": partner_reference_no,
        "serviceCode": "51",
        "merchantId": MERCHANT_ID,
    })
}

pub(super) fn refund_body(partner_reference_no: &str, partner_refund_no: &str, rupiah: &str) -> Value {
    json!({
        "merchantId": MERCHANT_ID,
        "originalPartnerReferenceNo": partner_reference_no,
        "originalReferenceNo": REFERENCE_NO,
        "partnerRefundNo": partner_refund_no,
        "refundAmount": { "value": rupiah, "currency": "IDR" },
        "reason": "overpaid",
    })
}

pub(super) fn code(answered: &Answered) -> (u16, &str) {
    (answered.0, answered.1["responseCode"].as_str().unwrap_or_else(|| panic!("{answered:?}")))
}

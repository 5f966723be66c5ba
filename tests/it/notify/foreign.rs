//! What an implementation that is not ours signs, the door verifies: `kamu-snap-crypto` in the provider's place for SNAP BI. For
//! DOKU's JSON no library is at hand and DOKU prints no secret beside its sample, so that is a vector that Python's `hmac` and
//! `hashlib` made.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use kamu_snap_crypto::{
    RsaSigner,
    rsa::Pkcs1v15Sha256,
    snap_bi::{OAuthStringToSign, ServiceStringToSign, sign_oauth, sign_service},
};
use rekon::{
    config::Config,
    engine::{
        ingest::{Door, Letter, Objection},
        rulebook::Rulebook,
        runtime,
    },
    sim::{DEMO_PRIVATE_KEY_PEM, DEMO_PUBLIC_KEY_PEM},
};

const CLIENT: &str = "MCH-0001-10791114622547";
const SECRET: &str = "SK-vector";
const PATH: &str = "/notify/doku/main";

/// A door whose account gets this form; `NAME` stands for the file of the provider's public key.
fn door(form: &str) -> Door {
    let keys = tempfile::tempdir().unwrap();
    let file = |name: &str, pem: &str| {
        let path = keys.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path.display().to_string()
    };
    let ours = file("ours.pem", DEMO_PRIVATE_KEY_PEM);
    let theirs = file("theirs.pem", DEMO_PUBLIC_KEY_PEM);
    let text = format!(
        "[accounts.main]\nprovider = \"doku\"\nbase_url = \"https://api-sandbox.doku.com\"\nclient_id = \"{CLIENT}\"\n\
         client_secret = {{ env = \"SECRET\" }}\nprivate_key = {{ file = \"{ours}\" }}\nmerchant_id = \"2997\"\n\
         [accounts.main.notify]\n{}\n",
        form.replace("NAME", &theirs)
    );
    let env = [("SECRET", SECRET), ("DATABASE_URL", "postgres://nobody@127.0.0.1/nothing")];
    let env: BTreeMap<String, String> =
        env.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let config = Config::from_toml(&text, &env, &["doku"]).unwrap_or_else(|errors| panic!("{errors}"));
    let accounts = runtime::accounts(&config).unwrap();
    Door::new(&config, &Rulebook::new(config.policy, accounts.into_iter().map(|a| (a.name, a.profile.rules))))
}

struct Sent {
    headers: BTreeMap<&'static str, String>,
    body: String,
}

impl Sent {
    fn new<const N: usize>(headers: [(&'static str, &str); N], body: &str) -> Self {
        let headers = headers.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
        Self { headers, body: body.to_owned() }
    }

    fn letter<T>(&self, read: impl FnOnce(&Letter<'_>) -> T) -> T {
        let header = |name: &str| self.headers.get(name).map(String::as_str);
        read(&Letter { path: PATH, query: "", header: &header, body: self.body.as_bytes() })
    }

    /// What the door has against it.
    fn objection(&self, door: &Door, now: DateTime<Utc>) -> Option<Objection> {
        self.letter(|letter| door.arrival("doku", "main", letter, now)).unwrap().unwrap().objection()
    }

    /// The same with one letter of a header's value changed.
    fn spoilt(&self, name: &'static str) -> Self {
        let mut headers = self.headers.clone();
        let value = headers.get_mut(name).unwrap();
        let (at, letter) = value.char_indices().rev().find(|(_, c)| c.is_ascii_alphanumeric()).unwrap();
        let other = if letter == '1' { "2" } else { "1" };
        value.replace_range(at..=at, other);
        Self { headers, body: self.body.clone() }
    }
}

#[test]
fn what_another_library_signs_as_snap_bi_is_a_token_and_a_verified_notification() {
    let door = door("form = \"snap\"\npublic_key = { file = \"NAME\" }");
    let now = DateTime::from_timestamp(1_795_168_805, 0).unwrap();
    let time = now.format("%Y-%m-%dT%H:%M:%S+00:00").to_string();
    let theirs = RsaSigner::<Pkcs1v15Sha256>::from_pkcs8_pem(DEMO_PRIVATE_KEY_PEM).unwrap();
    let signature = sign_oauth(&theirs, &OAuthStringToSign { client_id: CLIENT, timestamp: &time }).to_base64();
    let request = Sent::new(
        [("x-client-key", CLIENT), ("x-timestamp", &time), ("x-signature", &signature)],
        r#"{"grantType":"client_credentials"}"#,
    );
    let ask = |request: &Sent| request.letter(|letter| door.token("doku", "main", letter, now)).unwrap();
    assert_eq!(ask(&request.spoilt("x-signature")), Err(Objection::Signature));
    let token = ask(&request).unwrap().token;

    let body = r#"{"originalPartnerReferenceNo":"INV-1","originalReferenceNo":"R-1","latestTransactionStatus":"00","amount":{"value":"150000.00","currency":"IDR"}}"#;
    let parts = ServiceStringToSign {
        method: &reqwest::Method::POST,
        path: PATH,
        access_token: &token,
        body: body.as_bytes(),
        timestamp: &time,
    };
    let signature = sign_service(SECRET, &parts).unwrap().to_base64();
    let bearer = format!("Bearer {token}");
    let sent = Sent::new(
        [
            ("authorization", bearer.as_str()),
            ("x-timestamp", &time),
            ("x-signature", &signature),
            ("x-partner-id", CLIENT),
            ("x-external-id", "41807553358950093184162180797837"),
        ],
        body,
    );
    assert_eq!(sent.objection(&door, now), None);
    // The library signs the body without its blanks; what comes may have them.
    let padded = Sent { body: body.replace(':', ": "), headers: sent.headers.clone() };
    assert_eq!(padded.objection(&door, now), None);
    let other_body = Sent { body: body.replace("150000", "150001"), headers: sent.headers.clone() };
    assert_eq!(other_body.objection(&door, now), Some(Objection::Signature));
    assert_eq!(sent.spoilt("authorization").objection(&door, now), Some(Objection::Token));
    assert!(sent.spoilt("x-signature").objection(&door, now).is_some());
    assert_eq!(sent.spoilt("x-external-id").objection(&door, now), None, "it is not signed");
}

/// Of the request below with the secret above: Python 3, `hmac.new(secret, text, hashlib.sha256)`, base64.
const JSON_SIGNATURE: &str = "HMACSHA256=0VLjCRQTFFAncS1LFHQ776U2y/ki70uCVXVsqHNDuX0=";

#[test]
fn the_json_vector_that_python_made_is_verified_and_nothing_beside_it() {
    let door = door("form = \"json\"");
    let now = "2026-11-20T10:00:06Z".parse().unwrap();
    let sent = Sent::new(
        [
            ("client-id", CLIENT),
            ("request-id", "d895fb53-479c-4f77-a76a-ab81b40d77cb"),
            ("request-timestamp", "2026-11-20T10:00:05Z"),
            ("signature", JSON_SIGNATURE),
        ],
        r#"{"service":{"id":"QRIS"},"channel":{"id":"QRIS_DOKU"},"order":{"invoice_number":"INV-1","amount":150000},"transaction":{"status":"SUCCESS","date":"2026-11-20T10:00:00Z","original_request_id":"R-1"},"emoney_payment":{"approval_code":"328591"}}"#,
    );
    assert_eq!(sent.objection(&door, now), None);
    assert_eq!(sent.spoilt("client-id").objection(&door, now), Some(Objection::Client));
    for name in ["request-id", "signature"] {
        assert_eq!(sent.spoilt(name).objection(&door, now), Some(Objection::Signature), "{name}");
    }
    let other_second = Sent {
        headers: sent.headers.iter().map(|(name, value)| (*name, value.replace(":05Z", ":06Z"))).collect(),
        body: sent.body.clone(),
    };
    assert_eq!(other_second.objection(&door, now), Some(Objection::Signature));
    let longer = Sent { body: format!("{} ", sent.body), headers: sent.headers.clone() };
    assert_eq!(longer.objection(&door, now), Some(Objection::Signature));
    assert_eq!(sent.objection(&door, now + TimeDelta::hours(1)), Some(Objection::Timestamp));
}

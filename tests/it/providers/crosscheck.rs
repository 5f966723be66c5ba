//! Every signature that leaves, checked by an implementation that is not ours (`kamu-snap-crypto`): what rekon signs with
//! `ring` and `hmac`, another library verifies, byte for byte as it is sent.

use std::fs;

use chrono::{DateTime, Utc};
use kamu_snap_crypto::{
    RsaVerifier, Signature,
    rsa::Pkcs1v15Sha256,
    snap_bi::{OAuthStringToSign, ServiceStringToSign, sha256_lower_hex, verify_oauth, verify_service},
};
use rekon::{
    domain::money::Sen,
    providers::{
        Account, ByHand, Call, CustomerGrant, Service,
        by_hand::{Cancel, Decode, Generate, Payment},
        profile::{AuthMode, SignedPath, TokenUse},
        providers,
        wire::{HttpRequest, Method},
    },
};
use toml::Table;

use super::{account, conformance::asked, root};

fn header<'r>(request: &'r HttpRequest, name: &str) -> &'r str {
    request.headers.iter().find(|(n, _)| *n == name).map_or("", |(_, value)| value)
}

fn verifier() -> RsaVerifier<Pkcs1v15Sha256> {
    let pem = fs::read_to_string(root().join("tests/fixtures/providers/test_key.pub.pem")).unwrap();
    RsaVerifier::from_pkcs8_public_pem(&pem).unwrap()
}

fn is_genuine(account: &Account, request: &HttpRequest, token: &str) -> bool {
    let url = request.endpoint.url.strip_prefix("https://provider.invalid").unwrap();
    let path = match account.profile.signed_path {
        SignedPath::Full => url,
        SignedPath::Operation => url.strip_prefix("/base").unwrap(),
    };
    let method = match request.endpoint.method {
        Method::Post => reqwest::Method::POST,
        Method::Get => reqwest::Method::GET,
    };
    let timestamp = header(request, "x-timestamp");
    let signature = Signature::from_base64(header(request, "x-signature")).unwrap();
    match account.profile.auth {
        AuthMode::Symmetric => {
            let parts =
                ServiceStringToSign { method: &method, path, access_token: token, body: &request.body, timestamp };
            verify_service("client-secret", &parts, &signature).is_ok()
        }
        AuthMode::Asymmetric => {
            let hash = sha256_lower_hex(&request.body);
            verifier().verify(&signature, format!("{method}:{path}:{hash}:{timestamp}")).is_ok()
        }
    }
}

#[test]
fn another_library_verifies_every_transaction_and_no_altered_one() {
    let at = "2026-11-20T10:00:05.9Z".parse().unwrap();
    for provider in providers() {
        let account = account(*provider, Table::new());
        let token = (account.profile.tokens != TokenUse::None).then_some("token-1");
        let call = Call { token, customer_token: None, external_id: "1", at };
        let mut requests = vec![provider.query_request(&account, &asked(), &call).unwrap()];
        if provider.services().contains(&Service::Status) {
            let payout = rekon::providers::Asked { is_payout: true, ..asked() };
            requests.push(provider.query_request(&account, &payout, &call).unwrap());
        }
        if provider.services().contains(&Service::Refund) {
            requests.push(provider.refund_request(&account, r#"{"partnerRefundNo":"R1"}"#, &call).unwrap());
        }
        for asked in by_hand(at).into_iter().filter(|asked| provider.services().contains(&asked.service())) {
            let call = Call { customer_token: Some("customer-1"), ..call };
            let request = provider.by_hand_request(&account, &asked, &call).unwrap();
            assert!(request.endpoint.url.ends_with(&account.profile.operation(asked.service()).unwrap().path));
            requests.push(request);
        }
        for request in requests {
            assert!(is_genuine(&account, &request, "token-1"), "{}: {request:?}", provider.name());
            let mut later = request.clone();
            for header in later.headers.iter_mut().filter(|(name, _)| *name == "x-timestamp") {
                header.1 = header.1.replace(":05+", ":06+");
            }
            assert!(!is_genuine(&account, &later, "token-1"), "{}: another second", provider.name());
            let mut longer = request.clone();
            longer.body.push(b' ');
            assert!(!is_genuine(&account, &longer, "token-1"), "{}: another body", provider.name());
        }
    }
}

/// One of each call that a person makes.
fn by_hand(at: DateTime<Utc>) -> [ByHand<'static>; 4] {
    let (partner_reference_no, amount, qr_content) = ("INV-1", Sen::rupiah(1200), "0002");
    [
        ByHand::Generate(Generate {
            partner_reference_no,
            amount,
            fee_amount: Some(Sen::rupiah(500)),
            terminal_id: Some("K45"),
            expires_at: None,
            postal_code: Some("13120"),
        }),
        ByHand::Decode(Decode { partner_reference_no, qr_content, scanned_at: at }),
        ByHand::Payment(Payment { partner_reference_no, amount, fee_amount: None, qr_content, customer_token: None }),
        ByHand::Cancel(Cancel { partner_reference_no, reference_no: None, reason: "closed" }),
    ]
}

#[test]
fn another_library_verifies_every_request_for_a_customers_token() {
    let at = "2026-11-20T10:00:05.9Z".parse().unwrap();
    let mut seen = 0;
    for provider in providers().iter().filter(|p| p.services().contains(&Service::CustomerToken)) {
        let account = account(*provider, Table::new());
        for grant in [CustomerGrant::AuthCode("code"), CustomerGrant::RefreshToken("refresh")] {
            let request = provider.customer_token_request(&account, grant, at).unwrap();
            let signature = Signature::from_base64(header(&request, "x-signature")).unwrap();
            let parts = OAuthStringToSign { client_id: "client", timestamp: header(&request, "x-timestamp") };
            assert!(verify_oauth(&verifier(), &parts, &signature).is_ok(), "{}: {grant:?}", provider.name());
            let other = OAuthStringToSign { timestamp: "2026-11-20T17:00:06+07:00", ..parts };
            assert!(verify_oauth(&verifier(), &other, &signature).is_err(), "{}: {grant:?}", provider.name());
            seen += 1;
        }
    }
    assert!(seen > 0, "nobody has a customer's token");
}

#[test]
fn another_library_verifies_every_token_request() {
    let at = "2026-11-20T10:00:05.9Z".parse().unwrap();
    for provider in providers().iter().filter(|p| p.services().contains(&Service::Token)) {
        let account = account(*provider, Table::new());
        let request = provider.token_request(&account, at).unwrap();
        let signature = Signature::from_base64(header(&request, "x-signature")).unwrap();
        let parts = OAuthStringToSign { client_id: "client", timestamp: header(&request, "x-timestamp") };
        assert!(verify_oauth(&verifier(), &parts, &signature).is_ok(), "{}", provider.name());
        let other = OAuthStringToSign { client_id: "another", ..parts };
        assert!(verify_oauth(&verifier(), &other, &signature).is_err(), "{}", provider.name());
    }
}

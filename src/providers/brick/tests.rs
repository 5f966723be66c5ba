//! What is sent to Brick, against its document. What it answers is tested by `tests/fixtures/providers/brick`.

use super::*;
use crate::providers::{
    fixture::{self, call, header},
    wire::Method,
};

fn asked(account: &Account) -> Asked<'_> {
    Asked {
        partner_reference_no: "INV 1/ä",
        reference_no: Some("BR+1"),
        external_id: None,
        merchant_id: &account.merchant_id,
        is_payout: false,
    }
}

fn account(profile: &str) -> Account {
    fixture::account_of("brick", "https://sandbox.onebrick.io", profile)
}

#[test]
fn a_get_has_its_parameters_in_the_url_that_is_signed_and_no_body() {
    let account = account("");
    let plain = Asked { partner_reference_no: "INV 1", ..asked(&account) };
    let request = Brick.query_request(&account, &plain, &call()).unwrap();
    let path = "/v2/payments/acceptance/1.0/qr/qr-mpm-query?originalReferenceNo=BR%2B1&originalPartnerReferenceNo=INV%201&serviceCode=51";
    assert_eq!(&*request.endpoint.url, format!("https://sandbox.onebrick.io{path}"));
    assert_eq!((&*request.endpoint.path, request.endpoint.method), (path, Method::Get));
    assert!(request.body.is_empty());
    assert_eq!(header(&request, "x-client-key"), "BRN-0240-1657686175289");
    assert_eq!(header(&request, "authorization"), "Bearer token-1");
}

#[test]
fn a_get_or_a_post_may_have_a_json_body_by_profile() {
    for (method, expected) in [("GET", Method::Get), ("POST", Method::Post)] {
        let account = account(&format!("[operations.query]\nmethod = \"{method}\"\nparams_in = \"json_body\""));
        let plain = Asked { partner_reference_no: "INV-1", ..asked(&account) };
        let request = Brick.query_request(&account, &plain, &call()).unwrap();
        assert_eq!(request.endpoint.method, expected);
        assert_eq!(&*request.endpoint.path, "/v2/payments/acceptance/1.0/qr/qr-mpm-query");
        assert_eq!(
            String::from_utf8(request.body).unwrap(),
            r#"{"originalReferenceNo":"BR+1","originalPartnerReferenceNo":"INV-1","serviceCode":"51"}"#
        );
    }
}

#[test]
fn a_reference_that_no_url_or_signature_should_carry_is_not_sent() {
    let account = account("");
    let error = Brick.query_request(&account, &asked(&account), &call()).unwrap_err();
    assert!(matches!(error, BuildError::Field { name: "originalPartnerReferenceNo", .. }), "{error}");
}

#[test]
fn paying_means_paid_at_brick_and_nowhere_else() {
    use crate::{domain::observation::Observation, providers::providers};
    for provider in providers() {
        let account = fixture::account_of(provider.name(), "https://x", "");
        let means = account.profile.rules.status.get("02").map(|m| m.means);
        let expected = if provider.name() == "brick" { Observation::Paid } else { Observation::InFlight };
        assert_eq!(means, Some(expected), "{}", provider.name());
    }
}

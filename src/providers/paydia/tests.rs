//! What is sent to Paydia, against its document. What it answers is tested by `tests/fixtures/providers/paydia`.

use super::*;
use crate::providers::fixture::{self, call, header};

const REFERENCE_NO: &str = "e3201ef5c7f06db5d999867b8c220809804443bbedd76d5c43fe6217c5533645";

fn account() -> Account {
    fixture::account_of("paydia", "https://api.paydia.co.id", "")
}

fn asked(account: &Account) -> Asked<'_> {
    Asked {
        partner_reference_no: "21df2838-c9e8-4aff-8c02-274ed4390e70",
        reference_no: Some(REFERENCE_NO),
        external_id: None,
        merchant_id: &account.merchant_id,
        is_payout: false,
    }
}

#[test]
fn a_query_is_the_documents_sample_with_the_customers_token_bare_in_its_header() {
    let account = account();
    let request = Paydia.query_request(&account, &asked(&account), &call()).unwrap();
    assert_eq!(&*request.endpoint.url, "https://api.paydia.co.id/snap/v1.0/qr/qr-mpm-query");
    assert_eq!(
        String::from_utf8(request.body.clone()).unwrap(),
        format!(
            r#"{{"originalReferenceNo":"{REFERENCE_NO}","originalPartnerReferenceNo":"21df2838-c9e8-4aff-8c02-274ed4390e70","serviceCode":"51"}}"#
        )
    );
    for (name, value) in [
        ("authorization", "Bearer token-1"),
        ("authorization-customer", "customer-1"),
        ("x-timestamp", "2026-11-20T17:00:05+07:00"),
        ("channel-id", "286"),
    ] {
        assert_eq!(header(&request, name), value, "{name}");
    }
    let bearer = fixture::account_of("paydia", "https://x", "[operations.query]\ncustomer_token = \"bearer\"");
    let request = Paydia.query_request(&bearer, &asked(&bearer), &call()).unwrap();
    assert_eq!(header(&request, "authorization-customer"), "Bearer customer-1");
}

#[test]
fn our_own_reference_is_enough_and_an_external_id_that_does_not_fit_is_left_out() {
    let account = account();
    let long = "9".repeat(33);
    for (external_id, body) in [
        (None, r#"{"originalPartnerReferenceNo":"INV-1","serviceCode":"51"}"#),
        (Some(long.as_str()), r#"{"originalPartnerReferenceNo":"INV-1","serviceCode":"51"}"#),
        (
            Some("1725949206"),
            r#"{"originalPartnerReferenceNo":"INV-1","originalExternalId":"1725949206","serviceCode":"51"}"#,
        ),
    ] {
        let asked = Asked { partner_reference_no: "INV-1", reference_no: None, external_id, ..asked(&account) };
        let request = Paydia.query_request(&account, &asked, &call()).unwrap();
        assert_eq!(String::from_utf8(request.body).unwrap(), body);
    }
}

#[test]
fn without_a_customers_token_the_account_does_not_start_and_no_debug_shows_it() {
    let settings = crate::providers::AccountSettings { provider: "paydia".into(), ..fixture::settings() };
    let refused = Account::try_new(settings).unwrap_err().to_string();
    assert!(refused.contains("doku-main") && refused.contains("customer_token"), "{refused}");
    let account = account();
    let request = Paydia.query_request(&account, &asked(&account), &call()).unwrap();
    assert!(!format!("{account:?} {request:?}").contains("customer-1"));
}

#[test]
fn a_payout_cannot_be_asked_about_and_nothing_is_sent() {
    let account = account();
    let payout = Asked { is_payout: true, ..asked(&account) };
    let error = Paydia.query_request(&account, &payout, &call()).unwrap_err();
    assert!(matches!(error, BuildError::Unsupported { service: Service::Status, .. }), "{error}");
}

#[test]
fn refunds_cannot_be_switched_on_where_rekon_has_no_call_for_them() {
    let mut settings = crate::providers::AccountSettings {
        provider: "paydia".into(),
        customer_token: Some("c".into()),
        ..fixture::settings()
    };
    settings.profile.insert("refund_by_api".into(), true.into());
    let refused = Account::try_new(settings).unwrap_err().to_string();
    assert!(refused.contains("refund_by_api"), "{refused}");
    assert_eq!(account().profile.rules.refund, None);
}

//! What is sent to Winpay, against its document. What it answers is tested by `tests/fixtures/providers/winpay`.

use super::*;
use crate::providers::fixture::{self, call, header};

fn asked(account: &Account) -> Asked<'_> {
    Asked {
        partner_reference_no: "ref-0000000-0417",
        reference_no: Some("qree68493d-0a7e-49ba-972f-68965403a4f9"),
        external_id: None,
        merchant_id: &account.merchant_id,
        is_payout: false,
    }
}

#[test]
fn a_query_is_the_documents_sample_without_a_token_and_signs_the_operations_own_path() {
    let account = fixture::account_of("winpay", "https://sandbox-snap.winpay.id/snap", "");
    let request =
        Winpay.query_request(&account, &asked(&account), &super::super::Call { token: None, ..call() }).unwrap();
    assert_eq!(&*request.endpoint.url, "https://sandbox-snap.winpay.id/snap/v1.0/qr/qr-mpm-query");
    assert_eq!(&*request.endpoint.path, "/v1.0/qr/qr-mpm-query");
    assert_eq!(
        String::from_utf8(request.body.clone()).unwrap(),
        r#"{"originalPartnerReferenceNo":"ref-0000000-0417","serviceCode":"47","additionalInfo":{"contractId":"qree68493d-0a7e-49ba-972f-68965403a4f9"}}"#
    );
    assert!(request.headers.iter().all(|(name, _)| *name != "authorization"));
    assert_eq!(header(&request, "channel-id"), "WEB");
}

#[test]
fn without_a_contract_our_own_reference_asks_alone() {
    let account = fixture::account_of("winpay", "https://snap.winpay.id", "");
    let request = Winpay.query_request(&account, &Asked { reference_no: None, ..asked(&account) }, &call()).unwrap();
    assert_eq!(request.body, br#"{"originalPartnerReferenceNo":"ref-0000000-0417","serviceCode":"47"}"#);
    let long = "x".repeat(51);
    let asked = Asked { partner_reference_no: &long, ..asked(&account) };
    assert!(matches!(Winpay.query_request(&account, &asked, &call()), Err(BuildError::Field { max: 50, .. })));
}

#[test]
fn a_symmetric_signature_without_tokens_is_refused_at_the_start() {
    let mut settings = crate::providers::AccountSettings { provider: "winpay".into(), ..fixture::settings() };
    settings.profile.insert("auth".into(), "symmetric".into());
    let refused = Account::try_new(settings).unwrap_err().to_string();
    assert!(refused.contains("`tokens` is none"), "{refused}");
}

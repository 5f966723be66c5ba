//! What is sent to DOKU, against its document. What it answers is tested by `tests/fixtures/providers/doku`.

use super::*;
use crate::{
    domain::money::Sen,
    providers::{
        AccountSettings,
        fixture::{self, call, header},
        profile::{AmountAs, IdsAs},
        sign::{HmacKey, ToSign},
        token::{GrantedToken, TokenError},
    },
};

const REFERENCE: &str = "7d054649f9ba4c19ae5f95950c99be4d";

fn asked(account: &Account) -> Asked<'_> {
    Asked {
        partner_reference_no: REFERENCE,
        reference_no: Some(REFERENCE),
        external_id: None,
        merchant_id: &account.merchant_id,
        is_payout: false,
    }
}

fn numbers() -> Account {
    let mut settings = AccountSettings { merchant_id: "2115".into(), ..fixture::settings() };
    settings.profile.insert("ids_as".into(), "number".into());
    Account::try_new(settings).unwrap()
}

#[test]
fn a_query_is_the_documents_sample_with_identifiers_as_strings() {
    let account = fixture::account();
    let request = Doku.query_request(&account, &asked(&account), &call()).unwrap();
    assert_eq!(&*request.endpoint.url, "https://api-sandbox.doku.com/snap-adapter/b2b/v1.0/qr/qr-mpm-query");
    assert_eq!(
        String::from_utf8(request.body).unwrap(),
        format!(
            r#"{{"originalReferenceNo":"{REFERENCE}","originalPartnerReferenceNo":"{REFERENCE}","serviceCode":"51","merchantId":"2997"}}"#
        )
    );
}

#[test]
fn with_identifiers_as_numbers_the_bodies_are_as_long_as_the_document_says() {
    // Content-Length 157 and 285 stand in the document beside pretty-printed samples: they count the compact text.
    let account = numbers();
    let query = Doku.query_request(&account, &asked(&account), &call()).unwrap();
    assert_eq!(query.body.len(), 157);
    let refund = RefundOrder {
        asked: Asked { partner_reference_no: "originalPartnerReferenceNo", ..asked(&account) },
        partner_refund_no: "partnerRefundNo",
        amount: Sen::rupiah(1200),
        currency: "IDR",
        reason: "refund reason",
        approval_code: Some("328591"),
    };
    let body = Doku.refund_body(&account, &refund).unwrap();
    assert_eq!(body.len(), 285);
    assert_eq!(
        body,
        format!(
            r#"{{"merchantId":2115,"originalPartnerReferenceNo":"originalPartnerReferenceNo","originalReferenceNo":"{REFERENCE}","partnerRefundNo":"partnerRefundNo","refundAmount":{{"value":1200,"currency":"IDR"}},"reason":"refund reason","additionalInfo":{{"approvalCode":"328591"}}}}"#
        )
    );
}

#[test]
fn the_signature_covers_exactly_the_bytes_and_the_timestamp_that_are_sent() {
    let account = fixture::account();
    let request = Doku.refund_request(&account, r#"{"any":"stored bytes"}"#, &call()).unwrap();
    assert_eq!(request.body, br#"{"any":"stored bytes"}"#);
    let timestamp = header(&request, "x-timestamp");
    assert_eq!(timestamp, "2026-11-20T17:00:05+07:00");
    let to_sign =
        ToSign { method: "POST", path: "/snap-adapter/b2b/v1.0/qr/qr-mpm-refund", body: &request.body, timestamp };
    assert_eq!(
        header(&request, "x-signature"),
        HmacKey::new(&"SK-test-secret".to_owned().into()).sign(&to_sign, "token-1")
    );
    for (name, value) in [
        ("authorization", "Bearer token-1"),
        ("x-partner-id", "BRN-0240-1657686175289"),
        ("x-external-id", "41807553358950093184162180797837"),
        ("channel-id", "H2H"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(header(&request, name), value, "{name}");
    }
}

#[test]
fn a_path_in_the_base_url_is_signed_too() {
    let account =
        Account::try_new(AccountSettings { base_url: "http://127.0.0.1:8099/doku/".into(), ..fixture::settings() })
            .unwrap();
    assert_eq!(
        &*account.endpoint(Service::Query).unwrap().url,
        "http://127.0.0.1:8099/doku/snap-adapter/b2b/v1.0/qr/qr-mpm-query"
    );
    assert_eq!(&*account.endpoint(Service::Query).unwrap().path, "/doku/snap-adapter/b2b/v1.0/qr/qr-mpm-query");
}

#[test]
fn a_query_without_the_providers_reference_is_not_built() {
    let account = fixture::account();
    let asked = Asked { reference_no: None, ..asked(&account) };
    let error = Doku.query_request(&account, &asked, &call()).unwrap_err();
    assert!(matches!(error, BuildError::MissingReference("reference_no")), "{error}");
}

#[test]
fn a_payout_is_asked_about_by_its_status_and_never_as_a_payment() {
    let account = fixture::account();
    let payout = Asked {
        partner_reference_no: "hsjkans284b2he54",
        reference_no: Some("hsjkans284b2he54"),
        external_id: Some("892834eWg"),
        is_payout: true,
        ..asked(&account)
    };
    let request = Doku.query_request(&account, &payout, &call()).unwrap();
    assert_eq!(&*request.endpoint.url, "https://api-sandbox.doku.com/snap/v1.1/qr/qr-mpm-status");
    // The document's Content-Length, beside its pretty-printed sample.
    assert_eq!(request.body.len(), 142);
    assert_eq!(
        String::from_utf8(request.body).unwrap(),
        r#"{"originalPartnerReferenceNo":"hsjkans284b2he54","originalReferenceNo":"hsjkans284b2he54","originalExternalId":"892834eWg","serviceCode":"43"}"#
    );
    let long = "9".repeat(33);
    let bare = Asked { reference_no: None, external_id: Some(&long), ..payout };
    let request = Doku.query_request(&account, &bare, &call()).unwrap();
    assert_eq!(request.body, br#"{"originalPartnerReferenceNo":"hsjkans284b2he54","serviceCode":"43"}"#);
}

#[test]
fn an_account_may_ask_about_its_payments_by_their_status_too() {
    let account = Account::try_new(AccountSettings { inquiry: "status".into(), ..fixture::settings() }).unwrap();
    let request = Doku.query_request(&account, &asked(&account), &call()).unwrap();
    assert_eq!(&*request.endpoint.path, "/snap/v1.1/qr/qr-mpm-status");
    assert!(!account.profile.rules.required.reference_no, "a status needs our own reference alone");
    assert!(fixture::account().profile.rules.required.reference_no);
}

#[test]
fn a_refund_that_doku_would_refuse_by_its_fields_is_not_built() {
    let account = fixture::account();
    let good = RefundOrder {
        asked: asked(&account),
        partner_refund_no: "R1",
        amount: Sen::new(120_025),
        currency: "IDR",
        reason: "overpaid",
        approval_code: None,
    };
    let body = Doku.refund_body(&account, &good).unwrap();
    assert!(
        body.contains(r#""refundAmount":{"value":1200.25,"currency":"IDR"}"#) && !body.contains("additionalInfo"),
        "{body}"
    );
    let long = "x".repeat(33);
    for bad in [
        RefundOrder { asked: Asked { partner_reference_no: &long, ..good.asked }, ..good },
        RefundOrder { reason: "", ..good },
        RefundOrder { reason: "kelebihan bayar – dikembalikan", ..good },
        RefundOrder { partner_refund_no: "", ..good },
    ] {
        assert!(matches!(Doku.refund_body(&account, &bad), Err(BuildError::Field { .. })), "{bad:?}");
    }
}

#[test]
fn an_amount_and_an_identifier_are_typed_without_losing_a_digit() {
    let amount = |sen, amount_as| snap::amount_token(Sen::new(sen), amount_as).unwrap().get().to_owned();
    assert_eq!(amount(120_000, AmountAs::Number), "1200");
    assert_eq!(amount(120_050, AmountAs::Number), "1200.50");
    assert_eq!(amount(120_000, AmountAs::String), "\"1200.00\"");
    let id = |text, ids_as| snap::id_token(text, ids_as).unwrap().get().to_owned();
    assert_eq!(id("2997", IdsAs::Number), "2997");
    assert_eq!(id("0042", IdsAs::Number), "\"0042\"");
    assert_eq!(id("M-1", IdsAs::Number), "\"M-1\"");
    assert_eq!(id("2997", IdsAs::String), "\"2997\"");
}

#[test]
fn a_token_request_is_signed_over_client_and_timestamp() {
    let account = fixture::account();
    let request = Doku.token_request(&account, call().at).unwrap();
    assert_eq!(&*request.endpoint.url, "https://api-sandbox.doku.com/authorization/v1/access-token/b2b");
    assert_eq!(request.body, br#"{"grantType":"client_credentials"}"#);
    assert_eq!(header(&request, "x-client-key"), "BRN-0240-1657686175289");
    let again =
        account.rsa_key.as_ref().unwrap().sign_token_request("BRN-0240-1657686175289", "2026-11-20T17:00:05+07:00");
    assert_eq!(header(&request, "x-signature"), again.unwrap());
}

#[test]
fn a_token_is_read_with_its_life_in_either_spelling() {
    let read = |status, body: &str| Doku.read_token(&HttpResponse { status, headers: Vec::new(), body: body.into() });
    for (life, secs) in [("\"900\"", 900), ("900", 900), ("86400", 86_400), ("99999999", 2_592_000)] {
        let body =
            format!(r#"{{"responseCode":"2007300","accessToken":"abc","tokenType":"Bearer","expiresIn":{life}}}"#);
        assert_eq!(read(200, &body), Ok(GrantedToken { token: "abc".into(), life_secs: secs }));
    }
    assert_eq!(read(200, r#"{"accessToken":"abc"}"#).map(|t| t.life_secs), Ok(900));
    for body in [
        "",
        "<html>",
        r#"{"expiresIn":"900"}"#,
        r#"{"accessToken":"a b"}"#,
        r#"{"accessToken":"abc","expiresIn":"0"}"#,
        r#"{"accessToken":"abc","expiresIn":"soon"}"#,
    ] {
        assert_eq!(read(200, body), Err(TokenError::Unreadable), "{body}");
    }
    let refused =
        |http_status, code: Option<&str>| Err(TokenError::Refused { http_status, response_code: code.map(Into::into) });
    assert_eq!(
        read(401, r#"{"responseCode":"4017300","responseMessage":"Unauthorized. Signature"}"#),
        refused(401, Some("4017300"))
    );
    assert_eq!(read(200, r#"{"responseCode":4017300,"accessToken":"abc"}"#), refused(200, Some("4017300")));
    assert_eq!(read(502, "<html>"), refused(502, None));
}

//! What a person sends to DOKU, against the document: with identifiers as numbers, byte for byte as long as its
//! Content-Length says.

use super::*;
use crate::providers::{
    AccountSettings, Provider,
    doku::Doku,
    fixture::{self, call, header},
};

const REFERENCE: &str = "a98757c8dbc6434ab5dd4c55d9092d9a";
const QR: &str = "00020101021226530012COM.DOKU.WWW0118936008990000002997020429970303UMI51440014ID.CO.QRIS.WWW0215ID20200622029970303UMI52045411530336054071200.255502025606500.525802ID5911Green Pages6007Jakarta61051312062430703K455032a98757c8dbc6434ab5dd4c55d9092d9a6304F6EA";
/// As printed, with the leading zero missing.
const BROKEN_QR: &str = "0020101021226530012COM.DOKU.WWW0118936008990000002997020429970303UBE51440014ID.CO.QRIS.WWW0215ID20200622029970303UBE52045411530336054071200.005502025606500.005802ID5911Green Pages6007Jakarta61051312062430703K455032072435673f53496a9db872c8caa148996304F8EF";

fn numbers() -> Account {
    let mut settings = AccountSettings { merchant_id: "2115".into(), ..fixture::settings() };
    settings.profile.insert("ids_as".into(), "number".into());
    Account::try_new(settings).unwrap()
}

fn at() -> chrono::DateTime<chrono::Utc> {
    "2023-11-08T10:38:42Z".parse().unwrap()
}

fn generated() -> Generate<'static> {
    Generate {
        partner_reference_no: REFERENCE,
        amount: Sen::rupiah(1000),
        fee_amount: Some(Sen::rupiah(500)),
        terminal_id: Some("k45"),
        expires_at: Some(at()),
        postal_code: Some("13120"),
    }
}

fn paid() -> Payment<'static> {
    Payment {
        partner_reference_no: "91cbe52caf27471482d3430c37d174fc",
        amount: Sen::rupiah(1200),
        fee_amount: Some(Sen::rupiah(500)),
        qr_content: BROKEN_QR,
        customer_token: Some("customer-2"),
    }
}

fn body(account: &Account, asked: ByHand<'_>) -> String {
    String::from_utf8(Doku.by_hand_request(account, &asked, &call_for(&asked)).unwrap().body).unwrap()
}

fn call_for<'a>(asked: &'a ByHand<'_>) -> Call<'a> {
    Call { customer_token: asked.customer_token(), ..call() }
}

#[test]
fn the_bodies_are_the_documents_samples() {
    let account = numbers();
    let generate = body(&account, ByHand::Generate(generated()));
    assert_eq!(
        generate,
        r#"{"partnerReferenceNo":"a98757c8dbc6434ab5dd4c55d9092d9a","amount":{"value":"1000.00","currency":"IDR"},"feeAmount":{"value":"500.00","currency":"IDR"},"merchantId":2115,"terminalId":"k45","validityPeriod":"2023-11-08T17:38:42+07:00","additionalInfo":{"postalCode":13120,"feeType":2}}"#
    );
    assert_eq!(generate.len(), 283);
    let decode =
        Decode { partner_reference_no: "75a98757c8dbc6434ab5dd4c55d9092d9a", qr_content: QR, scanned_at: at() };
    assert_eq!(body(&account, ByHand::Decode(decode)).len(), 368);
    let payment = body(&account, ByHand::Payment(paid()));
    assert_eq!(payment.len(), 429);
    assert!(payment.contains(r#""amount":{"value":1200,"currency":"IDR"},"feeAmount":{"value":500,"currency":"IDR"}"#));
    let cancel = Cancel { partner_reference_no: REFERENCE, reference_no: None, reason: "closed" };
    assert_eq!(
        body(&account, ByHand::Cancel(cancel)),
        format!(r#"{{"originalPartnerReferenceNo":"{REFERENCE}","merchantId":2115,"reason":"closed"}}"#)
    );
}

#[test]
fn a_payment_carries_the_customers_token_and_is_signed_on_the_b2b2c_path() {
    let account = fixture::account();
    let asked = ByHand::Payment(paid());
    let request = Doku.by_hand_request(&account, &asked, &call_for(&asked)).unwrap();
    assert_eq!(&*request.endpoint.path, "/snap-adapter/b2b2c/v1.0/qr/qr-mpm-payment");
    assert_eq!(header(&request, "authorization-customer"), "Bearer customer-2");
    assert!(!format!("{request:?} {asked:?}").contains("customer-2"));
    let nobodys = ByHand::Payment(Payment { customer_token: None, ..paid() });
    let error = Doku.by_hand_request(&account, &nobodys, &call_for(&nobodys)).unwrap_err();
    assert!(matches!(error, BuildError::NoCustomerToken), "{error}");
}

#[test]
fn what_doku_would_refuse_by_its_fields_is_not_built() {
    let account = fixture::account();
    let long = "x".repeat(33);
    for bad in [
        Generate { partner_reference_no: &long, ..generated() },
        Generate { terminal_id: None, ..generated() },
        Generate { postal_code: Some("1312"), ..generated() },
        Generate { postal_code: Some("03120"), ..generated() },
        Generate { amount: Sen::new(0), ..generated() },
    ] {
        let refused = Doku.by_hand_request(&account, &ByHand::Generate(bad), &call());
        assert!(matches!(refused, Err(BuildError::Field { .. })), "{bad:?}");
    }
}

#[test]
fn a_customers_token_is_asked_for_by_code_or_by_refresh() {
    use crate::providers::CustomerGrant;
    let account = fixture::account();
    for (grant, body) in [
        (CustomerGrant::AuthCode("code-1"), r#"{"authCode":"code-1","grantType":"authorization_code"}"#),
        (CustomerGrant::RefreshToken("r-1"), r#"{"grantType":"refresh_token","refreshToken":"r-1"}"#),
    ] {
        let request = Doku.customer_token_request(&account, grant, at()).unwrap();
        assert_eq!(&*request.endpoint.path, "/authorization/v1/access-token/b2b2c");
        assert_eq!(String::from_utf8(request.body.clone()).unwrap(), body);
        assert_eq!(header(&request, "x-client-key"), "BRN-0240-1657686175289");
    }
}

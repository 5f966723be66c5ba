//! What every provider must do, whatever its documents say. A new line in the registry is held to all of it.

use std::sync::Arc;

use rekon::{
    domain::{observation::Observation, observe::Asked, reply::ReplyClass, snap_code::ResponseCode},
    providers::{
        Account, BuildError, ByHand, Call, Provider, Service,
        by_hand::{Cancel, Decode},
        profile::TokenUse,
        providers,
        wire::HttpResponse,
    },
    sim::{self, Fault, SimPayment, SimProvider},
};
use toml::Table;

use super::{
    account, cases,
    line::{EXPECTED_SEN, Line, merchant},
};

pub(super) fn asked() -> Asked<'static> {
    Asked {
        partner_reference_no: "INV-1",
        reference_no: Some("DK1"),
        external_id: None,
        merchant_id: "2997",
        is_payout: false,
    }
}

fn call(account: &Account) -> Call<'static> {
    let token = (account.profile.tokens != TokenUse::None).then_some("token-of-the-call");
    Call { token, customer_token: None, external_id: "28411", at: "2026-11-20T10:00:05.9Z".parse().unwrap() }
}

fn answered(provider: &dyn Provider, status: u16, body: &str) -> rekon::domain::fact::Answer {
    let account = account(provider, Table::new());
    let response = HttpResponse { status, headers: Vec::new(), body: body.into() };
    provider.read_query(&account, &asked(), &response).answer
}

fn body(status: &str) -> String {
    format!(
        r#"{{"responseCode":"2005100","originalReferenceNo":"DK1","originalPartnerReferenceNo":"INV-1","latestTransactionStatus":{status},"amount":{{"value":"12.00","currency":"IDR"}}}}"#
    )
}

#[test]
fn what_it_can_do_is_a_list_that_its_profile_matches_and_its_methods_keep_to() {
    for provider in providers() {
        let account = account(*provider, Table::new());
        let call = call(&account);
        let unsupported = |built: Result<(), BuildError>, service: Service| {
            let says_no = matches!(built, Err(BuildError::Unsupported { service: named, .. }) if named == service);
            assert_eq!(says_no, !provider.services().contains(&service), "{}: {service}", provider.name());
        };
        for service in Service::ALL {
            let is_listed = provider.services().contains(&service);
            assert_eq!(account.profile.operation(service).is_some(), is_listed, "{}: {service}", provider.name());
            assert_eq!(account.endpoint(service).is_ok(), is_listed, "{}: {service}", provider.name());
        }
        assert!(provider.services().contains(&Service::Query), "{}", provider.name());
        let payout = Asked { is_payout: true, ..asked() };
        unsupported(provider.query_request(&account, &payout, &call).map(drop), Service::Status);
        unsupported(provider.refund_request(&account, "{}", &call).map(drop), Service::Refund);
        unsupported(provider.token_request(&account, call.at).map(drop), Service::Token);
        let decode = Decode { partner_reference_no: "D1", qr_content: "0002", scanned_at: call.at };
        unsupported(provider.by_hand_request(&account, &ByHand::Decode(decode), &call).map(drop), Service::Decode);
        let cancel = Cancel { partner_reference_no: "INV-1", reference_no: None, reason: "closed" };
        unsupported(provider.by_hand_request(&account, &ByHand::Cancel(cancel), &call).map(drop), Service::Cancel);
        assert_eq!(
            account.profile.rules.refund.is_some(),
            provider.services().contains(&Service::Refund),
            "{}: refunds are promised exactly where there is a call for them",
            provider.name()
        );
    }
}

#[test]
fn its_requests_carry_the_standards_headers_once_each() {
    for provider in providers() {
        let account = account(*provider, Table::new());
        let request = provider.query_request(&account, &asked(), &call(&account)).unwrap();
        for (name, value) in [
            ("content-type", "application/json"),
            ("x-timestamp", "2026-11-20T17:00:05+07:00"),
            ("x-partner-id", "client"),
            ("x-external-id", "28411"),
        ] {
            let found: Vec<&str> =
                request.headers.iter().filter(|(n, _)| *n == name).map(|(_, value)| value.as_str()).collect();
            assert_eq!(found, [value], "{}: {name}", provider.name());
        }
        assert!(account.channel_id.len() <= 5, "{}: CHANNEL-ID", provider.name());
    }
}

#[test]
fn no_debug_shows_a_secret() {
    for provider in providers() {
        let account = account(*provider, Table::new());
        let request = provider.query_request(&account, &asked(), &call(&account)).unwrap();
        let signature = request.headers.iter().find(|(n, _)| *n == "x-signature").unwrap().1.clone();
        let shown = format!("{account:?} {request:?} {provider:?}");
        for secret in ["client-secret", "customer-token", "token-of-the-call", "PRIVATE KEY", signature.as_str()] {
            assert!(!shown.contains(secret), "{}: {secret}", provider.name());
        }
    }
}

#[test]
fn a_status_that_no_document_names_is_no_verdict() {
    for provider in providers() {
        for status in ["\"08\"", "\"14\"", "\"99\"", "\"\"", "\"0\"", "\"PAID\"", "null", "{}", "true", "-1", "0.5"] {
            let answer = answered(*provider, 200, &body(status));
            assert_eq!(answer.observation, Observation::Indeterminate, "{}: {status}", provider.name());
            assert!(answer.doubt.is_some(), "{}: {status}", provider.name());
        }
    }
}

#[test]
fn a_response_code_is_a_payment_only_as_a_success_and_absent_only_as_not_found() {
    for provider in providers() {
        for http in [200, 202, 400, 401, 403, 404, 405, 409, 429, 500, 504] {
            for case in 0..=23 {
                let code = format!("{http}51{case:02}");
                let answer = answered(*provider, http, &body("\"00\"").replace("2005100", &code));
                let expected = match (http, case) {
                    (200, 0) => Observation::Paid,
                    (404, 1) => Observation::Absent,
                    _ => Observation::Indeterminate,
                };
                assert_eq!(answer.observation, expected, "{}: {code}", provider.name());
            }
        }
    }
}

#[test]
fn absent_and_every_other_negative_is_final_nowhere() {
    for provider in providers() {
        let profile = account(*provider, Table::new()).profile;
        for (code, meaning) in profile.rules.status.iter() {
            assert!(!(meaning.is_final && meaning.means.is_negative()), "{}: {code}", provider.name());
            assert!(!meaning.note.is_empty(), "{}: {code} says no source", provider.name());
        }
        assert_ne!(answered(*provider, 200, &body("\"07\"")).observation, Observation::Paid, "{}", provider.name());
    }
}

#[test]
fn a_wrong_echo_is_an_identity_doubt_and_none_proves_nothing() {
    for provider in providers() {
        let good = body("\"00\"");
        assert_eq!(answered(*provider, 200, &good).observation, Observation::Paid, "{}", provider.name());
        for (wrong, doubt) in [
            (good.replace("INV-1", "INV-2"), "identity"),
            (good.replace("DK1", "DK2"), "identity"),
            (
                good.replace("{\"value\"", "{\"x\":1,\"value\"")
                    .replace("\"amount\"", "\"merchantId\":\"1\",\"amount\""),
                "identity",
            ),
            (good.replace("originalReferenceNo", "a").replace("originalPartnerReferenceNo", "b"), "no_echo"),
        ] {
            let answer = answered(*provider, 200, &wrong);
            assert_eq!(answer.observation, Observation::Indeterminate, "{}: {wrong}", provider.name());
            assert_eq!(answer.doubt.as_deref(), Some(doubt), "{}: {wrong}", provider.name());
        }
    }
}

#[test]
fn a_repeated_refund_number_is_never_a_refusal() {
    for provider in providers().iter().filter(|p| p.services().contains(&Service::Refund)) {
        let account = account(*provider, Table::new());
        let class = |status: u16, code: &str| {
            let body = format!(r#"{{"responseCode":"{code}","originalPartnerReferenceNo":"INV-1"}}"#).into_bytes();
            let response = HttpResponse { status, headers: Vec::new(), body };
            provider.read_refund(&account, &asked(), &response).reply.class
        };
        assert_eq!(class(409, "4097801"), ReplyClass::AlreadyDone, "{}", provider.name());
        assert_eq!(class(404, "4047818"), ReplyClass::Inconsistent, "{}", provider.name());
        for (status, code) in [(202, "2027800"), (500, "5007801"), (504, "5047800")] {
            assert_eq!(class(status, code), ReplyClass::Unknown, "{}: {code}", provider.name());
            assert!(ResponseCode::parse(code).is_some());
        }
    }
}

#[test]
fn it_has_its_documents_own_samples_first() {
    for provider in providers() {
        let cases = cases(*provider);
        let documented = cases.iter().filter(|(name, _)| name.starts_with("query_documented.toml"));
        assert!(documented.count() > 0, "{}: query_documented.toml", provider.name());
        let paid = cases.iter().filter_map(|(_, case)| case.answer.as_ref());
        let is_paid = |answer: &&Table| answer.get("observation").and_then(|o| o.as_str()) == Some("PAID");
        assert!(paid.filter(is_paid).count() > 0, "{}: a payment", provider.name());
    }
}

#[tokio::test]
async fn silence_is_no_verdict_and_counts_as_an_outage() {
    for provider in providers() {
        let plays = serde_json::from_value::<SimProvider>(provider.name().into()).unwrap();
        let line = Line::to(provider.name(), merchant(plays), "timeout = \"1s\"").await;
        line.add("INV1", SimPayment::exact("INV1", EXPECTED_SEN));
        let world = Arc::clone(&line.world());
        world.set_weather(sim::Service::Query, Some(Fault::TimeoutBefore { ms: 30_000 }));
        let result = line.query("INV1").await;
        assert_eq!(result.answer.observation, Observation::Indeterminate, "{}", provider.name());
        assert_eq!(result.answer.doubt.as_deref(), Some("timeout"), "{}", provider.name());
        assert!(result.failure.is_some() && result.raw.is_empty(), "{}", provider.name());
        world.set_weather(sim::Service::Query, None);
        assert_eq!(line.query("INV1").await.answer.observation, Observation::Paid, "{}", provider.name());
    }
}

//! The shipped profiles, what an account may replace in them, and what is refused.

use super::*;
use crate::{
    domain::{refund_codes::CodeWait, reply::ReplyClass, snap_code::ResponseCode},
    providers::{doku::Doku, providers},
};

fn load(replaced: &str) -> Result<ProviderProfile, ProfileError> {
    ProviderProfile::load(&Doku, &replaced.parse::<Table>().unwrap(), Table::new())
}

#[test]
fn every_embedded_profile_loads_and_names_its_own_provider() {
    for provider in providers() {
        let profile = ProviderProfile::load(*provider, &Table::new(), Table::new()).unwrap();
        assert_eq!(profile.rules.provider, provider.name());
        assert!(!profile.hosts.is_empty() && !profile.sandbox_hosts.is_empty(), "{}", provider.name());
    }
}

#[test]
fn doku_ships_what_its_document_says_and_nothing_bolder() {
    let profile = load("").unwrap();
    assert_eq!(profile.rules.default_validity_secs, 30 * 86_400);
    assert!(profile.rules.required.reference_no && !profile.rules.required.external_id);
    let refund = profile.rules.refund.unwrap();
    assert_eq!((refund.partial, refund.repeat), (true, RefundRepeat::Unproven));
    assert!(profile.rules.ladder.default.iter().all(|secs| *secs >= 60), "DOKU asks for 60 s after a payment");
    assert!(profile.rules.status.iter().all(|(_, meaning)| !meaning.is_final));
}

fn query(profile: &ProviderProfile) -> &Operation {
    profile.operation(Service::Query).unwrap()
}

#[test]
fn an_account_replaces_single_keys_and_the_version_tells() {
    let shipped = load("").unwrap();
    let proved = load("refund_repeat = \"safe\"\n[operations.query]\nsent_service_code = \"47\"\n[status.\"08\"]\nmeans = \"EXPIRED\"").unwrap();
    assert_eq!(proved.rules.refund.as_ref().unwrap().repeat, RefundRepeat::Safe);
    assert_eq!(query(&proved).sent_service_code.as_deref(), Some("47"));
    assert_eq!(query(&proved).path, query(&shipped).path);
    assert_eq!(proved.rules.status.get("08").map(|m| m.means), Some(Observation::Expired));
    assert_ne!(proved.version, shipped.version);
    assert_eq!(load("").unwrap().version, shipped.version);
}

#[test]
fn refunds_can_be_taken_away() {
    assert_eq!(load("refund_by_api = false").unwrap().rules.refund, None);
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_one() {
    for (replaced, message) in [
        ("refund_repaet = \"safe\"", "unknown profile key `refund_repaet`; did you mean `refund_repeat`?"),
        ("[operations.qery]\npath = \"/x\"", "unknown profile key `operations.qery`; did you mean `query`?"),
        ("[operations.query]\nurl = \"/x\"", "unknown profile key `operations.query.url`"),
        ("something_else_entirely = 1", "unknown profile key `something_else_entirely`"),
    ] {
        assert_eq!(load(replaced).unwrap_err().to_string(), message);
    }
}

#[test]
fn what_breaks_a_guard_rail_is_refused() {
    let refused = |replaced: &str| load(replaced).map(|_| ()).unwrap_err();
    assert!(matches!(refused("[status.\"06\"]\nmeans = \"PAID\""), ProfileError::Status(StatusMapError::NeverPaid(_))));
    assert!(matches!(refused("[status.\"07\"]\nfinal = true"), ProfileError::Status(StatusMapError::NegativeFinal(_))));
    assert!(matches!(refused("[ladder]\ndefault = []"), ProfileError::EmptyLadder(key) if key == "ladder.default"));
    assert!(matches!(refused("[ladder]\nOPEN = [\"5s\"]"), ProfileError::NoObservation(key) if key == "OPEN"));
    assert!(matches!(refused("[ladder]\nopened = [\"5s\"]"), ProfileError::NoObservation(_)));
    assert!(matches!(refused("[limits]\nburst = 0"), ProfileError::ZeroLimit("burst")));
    assert!(matches!(refused("ids_as = \"float\""), ProfileError::Malformed(_)));
    for text in ["", "s", "5", "0s", "-5s", "5 s", "1.5h", "99999999999999999999s", "5w", "9999d", "5µ"] {
        assert!(matches!(refused(&format!("timeout = \"{text}\"")), ProfileError::Duration { .. }), "{text:?}");
    }
}

#[test]
fn windows_hours_and_codes_of_refunds_are_data() {
    let shipped = load("").unwrap().rules.refund.unwrap();
    assert_eq!(shipped.window, RefundWindow::default(), "DOKU documents none");
    assert_eq!(shipped.later_for_secs, 3 * 86_400);
    let replaced = "[refund]\nmin_age = \"15m\"\nmax_age = \"7d\"\nblackout = [\"23:55-06:00\"]\nmin_amount = \"10000.00\"\n\
                    [refund.codes]\n\"403xx14\" = { wait = \"2h\" }\n\"403xx99\" = { means = \"by_hand\" }";
    let refund = load(replaced).unwrap().rules.refund.unwrap();
    assert_eq!((refund.window.min_age_secs, refund.window.max_age_secs), (Some(900), Some(604_800)));
    assert_eq!((refund.window.blackout.len(), refund.min_amount), (1, Sen::rupiah(10_000)));
    assert_eq!(refund.codes.wait(Some("4037814")), CodeWait::Secs(7_200));
    assert_eq!(refund.codes.wait(Some("4037802")), CodeWait::NextDay, "what was not replaced stays");
    assert_eq!(refund.codes.class(ResponseCode::parse("4037899").unwrap()), ReplyClass::Closed);
}

#[test]
fn what_no_refund_table_may_say_is_refused() {
    let refused = |replaced: &str| load(replaced).map(|_| ()).unwrap_err();
    assert!(matches!(refused("[refund]\nblackout = [\"6-7\"]"), ProfileError::Hours(text) if text == "6-7"));
    assert!(matches!(refused("[refund]\nblackout = [\"00:00-12:00\", \"12:00-00:00\"]"), ProfileError::NeverOpen));
    assert!(matches!(refused("[refund]\nmin_age = \"2h\"\nmax_age = \"1h\""), ProfileError::WindowEmpty));
    assert!(
        matches!(refused("[refund]\nmax_age = \"soon\""), ProfileError::Duration { key, .. } if key == "refund.max_age")
    );
    for text in ["0.00", "-1", "much"] {
        assert!(matches!(refused(&format!("[refund]\nmin_amount = \"{text}\"")), ProfileError::MinAmount(_)), "{text}");
    }
    for code in ["409xx01", "500xx00", "202xx00", "404xx18", "200xx00"] {
        let table = format!("[refund.codes]\n\"{code}\" = {{ means = \"refusal\" }}");
        assert!(matches!(refused(&table), ProfileError::RefundCodes(RefundCodesError::NeverData(_))), "{code}");
    }
    assert!(matches!(refused("[refund]\nwindow = \"7d\""), ProfileError::UnknownKey { .. }));
    let paydia =
        ProviderProfile::load(&crate::providers::paydia::Paydia, &"cancel_qr = true".parse().unwrap(), Table::new());
    assert!(matches!(paydia, Err(ProfileError::NoCancel)));
}

#[test]
fn a_token_call_that_no_document_prints_may_have_another_path_and_body() {
    let other = load(
        "[operations.token]\npath = \"/other\"\nbody = '{\"grant_type\":\"client_credentials\",\"scope\":\"qris\"}'",
    )
    .unwrap();
    let token = other.operation(Service::Token).unwrap();
    assert_eq!(token.path, "/other");
    assert_eq!(token.body.as_deref(), Some(r#"{"grant_type":"client_credentials","scope":"qris"}"#));
    for (unfit, told) in [("grantType=x", "must be a JSON object"), ("[]", "must be a JSON object")] {
        let refused = load(&format!("[operations.token]\nbody = '{unfit}'")).unwrap_err().to_string();
        assert!(refused.contains(told), "{refused}");
    }
}

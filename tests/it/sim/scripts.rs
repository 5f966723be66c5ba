//! Scripted answers, wire styles and faults.

use std::time::Duration;

use rekon::sim::{AmountStyle, Answer, Echo, Fault, PaidTime, ResetAt, Rng, Scenario, Service, SimPayment, scripted};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::merchant::{CLIENT_ID, Merchant, code, options, payment, stage};

#[test]
fn a_script_reads_the_same_from_json_and_from_toml() {
    let json = r#"{"partner_reference_no":"A1","expected_sen":120000,
        "script":[{"status":"01","until_secs":60},{"amount_sen":150000,"amount_style":"text","paid_time":{"after_secs":30}},
                  {"fault":{"kind":"http","http_status":429,"retry_after_secs":3}}],
        "refunds":[{"kind":"after_effect","fault":{"kind":"reset","at":"mid_body"}},{"kind":"ok"}]}"#;
    let toml = r#"
        partner_reference_no = "A1"
        expected_sen = 120000
        refunds = [{ kind = "after_effect", fault = { kind = "reset", at = "mid_body" } }, { kind = "ok" }]
        [[script]]
        status = "01"
        until_secs = 60
        [[script]]
        amount_sen = 150000
        amount_style = "text"
        paid_time = { after_secs = 30 }
        [[script]]
        fault = { kind = "http", http_status = 429, retry_after_secs = 3 }
    "#;
    let from_json: SimPayment = serde_json::from_str(json).unwrap();
    assert_eq!(from_json, toml::from_str(toml).unwrap());
    let back: SimPayment = serde_json::from_str(&serde_json::to_string(&from_json).unwrap()).unwrap();
    assert_eq!(back, from_json);
}

#[tokio::test]
async fn the_nth_query_gets_the_nth_answer_and_the_last_repeats() {
    let script = ["01", "03", "00", "14"].map(Answer::status);
    let (sim, merchant) = stage(options(), [payment("A1", 120_000).answering(script)]).await;
    let mut seen = Vec::new();
    for _ in 0..5 {
        seen.push(merchant.status("A1").await);
    }
    assert_eq!(seen, ["01", "03", "00", "14", "14"]);
    assert_eq!(sim.world().times_asked(Service::Query, "A1").len(), 5);
    sim.world().set_script(CLIENT_ID, "A1", vec![Answer::status("06")]).unwrap();
    assert_eq!(merchant.status("A1").await, "06");
}

#[tokio::test]
async fn answers_bound_to_time_hold_and_wait() {
    let until = Answer { until_secs: Some(60), ..Answer::status("01") };
    let after = Answer { not_before_secs: Some(3600), paid_time: PaidTime::AfterSecs(3600), ..Answer::paid() };
    let (sim, merchant) = stage(options(), [payment("A1", 100).answering([until, Answer::status("03"), after])]).await;
    let registered = sim.world();
    for expected in ["01", "01"] {
        assert_eq!(merchant.status("A1").await, expected);
    }
    registered.advance_scripts(61);
    for expected in ["03", "03"] {
        assert_eq!(merchant.status("A1").await, expected);
    }
    assert_eq!(registered.book_entry(CLIENT_ID, "A1").unwrap().taken_sen, 0);
    registered.advance_scripts(3600);
    assert_eq!(merchant.status("A1").await, "00");
    assert_eq!(registered.book_entry(CLIENT_ID, "A1").unwrap().taken_sen, 100);
}

#[tokio::test]
async fn before_its_first_answer_is_due_a_payment_is_only_initiated() {
    let late = Answer { not_before_secs: Some(60), ..Answer::paid() };
    let (sim, merchant) = stage(options(), [payment("A1", 100).answering([late])]).await;
    assert_eq!(merchant.status("A1").await, "01");
    assert_eq!(sim.world().book().taken_sen, 0);
    sim.world().advance_scripts(61);
    assert_eq!(merchant.status("A1").await, "00");
}

#[tokio::test]
async fn an_answer_can_be_spelt_in_every_way_a_provider_spells_it() {
    let styles = [AmountStyle::Number, AmountStyle::Decimal, AmountStyle::Text, AmountStyle::Null, AmountStyle::Absent];
    let script: Vec<Answer> = styles
        .map(|amount_style| Answer {
            amount_style,
            integer_codes: amount_style == AmountStyle::Decimal,
            ..Answer::paid()
        })
        .into();
    let (_sim, merchant) = stage(options(), [payment("A1", 120_000).answering(script)]).await;
    let mut texts = Vec::new();
    for _ in styles {
        texts.push(merchant.send_raw(merchant.query_letter("A1")).await.unwrap().text().await.unwrap());
    }
    assert!(texts[0].contains(r#""value":1200,"#), "{}", texts[0]);
    assert!(texts[1].contains(r#""value":1200.00,"#), "{}", texts[1]);
    assert!(texts[1].contains(r#""responseCode":2005100,"#), "{}", texts[1]);
    assert!(texts[1].contains(r#""serviceCode":51,"latestTransactionStatus":0,"#), "{}", texts[1]);
    assert!(texts[2].contains(r#""value":"1200.00","#), "{}", texts[2]);
    assert!(texts[3].contains(r#""amount":null"#), "{}", texts[3]);
    assert!(!texts[4].contains("\"amount\""), "{}", texts[4]);
    for text in texts {
        assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}");
    }
}

#[tokio::test]
async fn an_answer_can_lie_about_whose_payment_it_is() {
    let script = [Echo::WrongReference, Echo::WrongMerchant, Echo::None, Echo::Right]
        .map(|echo| Answer { echo, ..Answer::paid() });
    let (_sim, merchant) = stage(options(), [payment("A1", 100).answering(script)]).await;
    let mut echoes = Vec::new();
    for _ in 0..4 {
        let (_, body) = merchant.query("A1").await;
        echoes.push((body["originalPartnerReferenceNo"].clone(), body["merchantId"].clone()));
    }
    let none = Value::Null;
    assert_eq!(
        echoes,
        [(json!("XA1"), none.clone()), (json!("A1"), json!("0")), (none.clone(), none.clone()), (json!("A1"), none),]
    );
}

#[tokio::test]
async fn amount_currency_and_paid_time_can_differ_from_what_is_expected() {
    let strange = Answer {
        amount_sen: Some(12_000_050),
        currency: "USD".to_owned(),
        paid_time: PaidTime::Text("2024-09-17T14:41:52. 022+07:00".to_owned()),
        ..Answer::paid()
    };
    let (sim, merchant) = stage(options(), [payment("A1", 120_000).answering([strange])]).await;
    let text = merchant.send_raw(merchant.query_letter("A1")).await.unwrap().text().await.unwrap();
    assert!(text.contains(r#""amount":{"value":120000.50,"currency":"USD"}"#), "{text}");
    assert!(text.contains(r#""paidTime":"2024-09-17T14:41:52. 022+07:00""#), "{text}");
    assert_eq!(sim.world().book_entry(CLIENT_ID, "A1").unwrap().taken_sen, 12_000_050);
}

#[tokio::test]
async fn http_faults_carry_the_code_the_page_or_the_header_they_were_scripted_with() {
    let too_many =
        Fault::Http { http_status: 429, case_code: "00".to_owned(), response_code: None, retry_after_secs: Some(7) };
    let odd = Fault::Http {
        http_status: 409,
        case_code: "00".to_owned(),
        response_code: Some("2005300".to_owned()),
        retry_after_secs: None,
    };
    let faults = [
        too_many,
        odd,
        Fault::http(500, "01"),
        Fault::http(401, "01"),
        Fault::Html { http_status: 200 },
        Fault::TruncatedJson,
    ];
    let script: Vec<Answer> =
        faults.into_iter().map(Answer::fault).chain([Answer::not_found(), Answer::paid()]).collect();
    let (sim, merchant) = stage(options(), [payment("A1", 100).answering(script)]).await;
    let response = merchant.send_raw(merchant.query_letter("A1")).await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["Retry-After"]), (429, &"7".parse().unwrap()));
    for expected in [(409, "2005300"), (500, "5005101"), (401, "4015101")] {
        assert_eq!(code(&merchant.query("A1").await), expected);
    }
    let page = merchant.query("A1").await;
    assert!(page.0 == 200 && page.1.as_str().unwrap().starts_with("<html>"), "{page:?}");
    let torn = merchant.query("A1").await;
    assert!(torn.0 == 200 && torn.1.as_str().unwrap().starts_with("{\"responseCode\":\"2005100\""), "{torn:?}");
    assert_eq!(code(&merchant.query("A1").await), (404, "4045101"));
    assert_eq!(code(&merchant.query("A1").await), (200, "2005100"));
    assert_eq!(sim.world().count_of(Service::Query, "truncated_json"), 1);
}

#[tokio::test]
async fn a_connection_is_closed_or_reset_before_or_in_the_middle_of_an_answer() {
    let faults = [
        Fault::Reset { at: ResetAt::BeforeHeaders },
        Fault::TimeoutBefore { ms: 1 },
        Fault::TimeoutAfter { ms: 1 },
        Fault::Reset { at: ResetAt::MidBody },
    ];
    for fault in faults {
        let script = [Answer::fault(fault.clone()), Answer::status("01")];
        let (sim, merchant) = stage(options(), [payment("A1", 100).answering(script)]).await;
        let lost = merchant.send_raw(merchant.query_letter("A1")).await;
        if fault == (Fault::Reset { at: ResetAt::MidBody }) {
            let response = lost.unwrap();
            assert!(response.status() == 200 && response.content_length().is_some_and(|promised| promised > 0));
            assert!(response.bytes().await.is_err());
        } else {
            assert!(lost.is_err(), "{fault:?}");
        }
        assert_eq!(merchant.status("A1").await, "01", "the client must come back on a new connection");
        let taken_sen = if matches!(fault, Fault::TimeoutBefore { .. }) { 0 } else { 100 };
        assert_eq!(sim.world().book_entry(CLIENT_ID, "A1").unwrap().taken_sen, taken_sen, "{fault:?}");
    }
}

#[tokio::test]
async fn a_reset_is_an_rst_and_a_time_out_ends_with_a_fin() {
    let faults = [Fault::Reset { at: ResetAt::BeforeHeaders }, Fault::TimeoutBefore { ms: 1 }];
    let (sim, merchant) = stage(options(), [payment("A1", 100).answering(faults.map(Answer::fault))]).await;
    let mut ends = Vec::new();
    for _ in 0..2 {
        let mut socket = tokio::net::TcpStream::connect(sim.address()).await.unwrap();
        socket.write_all(merchant.query_letter("A1").as_http().as_bytes()).await.unwrap();
        ends.push(socket.read(&mut [0; 64]).await.map_err(|error| error.kind()));
    }
    assert_eq!(ends, [Err(std::io::ErrorKind::ConnectionReset), Ok(0)]);
}

#[tokio::test]
async fn bad_weather_meets_every_call_of_its_service_until_it_clears() {
    let (sim, mut merchant) = stage(options(), [payment("A1", 100)]).await;
    sim.world().set_weather(Service::Query, Some(Fault::Html { http_status: 503 }));
    assert_eq!(merchant.query("A1").await.0, 503);
    merchant.fetch_token().await;
    sim.world().set_weather(Service::Query, None);
    assert_eq!(merchant.status("A1").await, "00");
}

#[tokio::test]
async fn a_stopping_simulator_lets_go_of_held_calls_and_keeps_its_book() {
    let hold = Answer::fault(Fault::TimeoutAfter { ms: 3_600_000 });
    let (sim, merchant) = stage(options(), [payment("A1", 100).answering([hold])]).await;
    let world = sim.world();
    let held = tokio::spawn({
        let merchant = merchant.clone();
        async move { merchant.send_raw(merchant.query_letter("A1")).await.is_err() }
    });
    while world.book().taken_sen == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    sim.shutdown().await;
    assert!(held.await.unwrap());
    assert!(merchant.send_raw(merchant.query_letter("A1")).await.is_err());
    assert_eq!(world.book().taken_sen, 100);
}

/// What each scenario is answered, in order; `-` for anything that is no status.
async fn play(scenario: Scenario) -> Vec<String> {
    let mut drawn = scripted(scenario, 1_200_000, &mut Rng::new(5));
    drawn.reference_no = payment("", 1).reference_no;
    let reference = drawn.partner_reference_no.clone();
    let (sim, merchant) = stage(options(), [drawn]).await;
    let mut seen = Vec::new();
    for _ in 0..8 {
        seen.push(status_or_dash(&merchant, &reference).await);
        sim.world().advance_scripts(600);
    }
    seen
}

async fn status_or_dash(merchant: &Merchant, reference: &str) -> String {
    let (status, body) = merchant.query(reference).await;
    let code = if status == 200 { body["latestTransactionStatus"].as_str() } else { None };
    code.unwrap_or("-").to_owned()
}

#[tokio::test]
async fn scenarios_play_what_their_names_say() {
    for (scenario, first, last) in [
        (Scenario::Exact, "00", "00"),
        (Scenario::CancelledThenPaid, "01", "00"),
        (Scenario::PaidLate, "01", "00"),
        (Scenario::ReversedFirst, "04", "04"),
        (Scenario::Regression, "00", "06"),
        (Scenario::FailedThenPaid, "06", "00"),
        (Scenario::PendingThenPaid, "01", "00"),
        (Scenario::InFlightForever, "02", "02"),
        (Scenario::NeverPaid, "01", "01"),
        (Scenario::WrongEchoThenRight, "00", "00"),
    ] {
        let seen = play(scenario).await;
        assert_eq!((seen[0].as_str(), seen[7].as_str()), (first, last), "{scenario:?}: {seen:?}");
    }
    assert_eq!(play(Scenario::FlipFlop).await[..4], ["00", "03", "00", "00"]);
    let seen = play(Scenario::NotFoundThenPaid).await;
    assert!(["-", "07"].contains(&seen[0].as_str()) && seen[7] == "00", "{seen:?}");
}

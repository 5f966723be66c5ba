//! What is known about providers, whether an account works, QR payloads, and one raw question, by the real binary.

use rekon::{
    domain::qris::{Field, encode},
    sim::{Answer, Fault, SimClient, SimOptions, SimPayment, SimProvider},
};
use serde_json::json;

use super::rig::{Rig, Run, bare};
use crate::support::shop::{ACCOUNT, CLIENT, MERCHANT, SECRET, Shop};

/// The payload of DOKU's generate sample; its checksum is right.
fn sample() -> String {
    encode(&[
        Field::new("00", "01"),
        Field::new("01", "12"),
        Field::new("53", "360"),
        Field::new("54", "1200.25"),
        Field::new("55", "02"),
        Field::new("56", "500.52"),
        Field::new("59", "Green Pages"),
        Field::new("62", "0703K45"),
    ])
    .unwrap()
}

/// The binary on a shop's configuration, database and simulator.
pub(super) async fn run(shop: &Shop, args: &[&str]) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.toml");
    std::fs::write(&path, &shop.config_text).unwrap();
    let path = path.display().to_string();
    let env = shop.env();
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut command = bare(&[&["--config", &path], args].concat(), &env);
    let run = tokio::task::spawn_blocking(move || Run::of(command.output().unwrap())).await.unwrap();
    drop(folder);
    run
}

#[test]
fn a_payload_is_decoded_without_network_database_or_configuration() {
    let decoded = Run::of(bare(&["qris", "decode", &sample(), "--json"], &[]).output().unwrap()).ends(0).json();
    assert_eq!(decoded["amount"], "1200.25");
    assert_eq!(decoded["tip"], "500.52");
    assert_eq!(decoded["expected_total"], "1700.77");
    assert_eq!(decoded["initiation"], "dynamic");
    assert_eq!(decoded["additional"], json!([{"tag": "07", "value": "K45"}]));
    let text = Run::of(bare(&["qris", "decode", &sample()], &[]).output().unwrap()).ends(0).stdout;
    assert!(text.contains("expected total 1700.77") && text.contains("Green Pages"), "{text}");
}

#[tokio::test]
async fn a_payload_on_stdin_may_end_with_a_line_end_and_a_broken_one_is_refused() {
    let rig = Rig::new().await;
    rig.pipe(&["qris", "decode", "-"], format!("{}\r\n", sample()).as_bytes()).ends(0);
    rig.pipe(&["qris", "decode", "-"], format!(" {}", sample()).as_bytes()).ends(1).says("QRIS");
    rig.pipe(&["qris", "decode", "-"], sample().replace("1200.25", "1200.26").as_bytes()).ends(1).says("copy it again");
    rig.pipe(&["qris", "decode", "-"], &[0xff, 0xfe]).ends(1).says("stdin");
    rig.pipe(&["qris", "decode", "-"], &vec![b'0'; 100_000]).ends(1).says("characters");
}

#[tokio::test]
async fn profiles_are_shown_with_their_sources_and_what_is_unproven() {
    let rig = Rig::new().await;
    let listed = rig.run(&["providers", "list", "--json"]).ends(0).lines();
    assert!(
        listed.iter().any(|provider| provider["name"] == "doku" && provider["unproven"].as_u64() > Some(0)),
        "{listed:?}"
    );
    let shown = Run::of(bare(&["providers", "show", "doku", "--json"], &[]).output().unwrap()).ends(0).json();
    let paid = &shown["status"][0];
    assert_eq!((&paid["code"], &paid["means"], &paid["final"]), (&json!("00"), &json!("PAID"), &json!(false)));
    assert!(paid["source"].as_str().is_some_and(|source| source.starts_with("DOKU's sample: Success")), "{paid}");
    assert_eq!(shown["status"].as_array().unwrap().len(), 8);
    assert!(shown["unproven"].to_string().contains("refund_repeat"), "{shown}");
    let text = rig.run(&["providers", "show", "doku"]).ends(0).stdout;
    assert!(text.contains("Any other status is INDETERMINATE") && text.contains("assumed from the standard"), "{text}");
    // An account shows its replacements.
    let account = rig.run(&["providers", "show", "till", "--json"]).ends(0).json();
    assert_eq!((&account["required"]["reference_no"], &account["account"]), (&json!(false), &json!("till")));
    rig.run(&["providers", "show", "tilll"]).ends(2).says("did you mean \"till\"");
    rig.run(&["providers", "show", "nobody", "--drift"]).ends(2).says("known: shop, till");
    assert!(
        rig.run(&["providers", "show", "till", "--drift"]).ends(0).stdout.contains("nothing that is not documented")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_works_is_checked_and_one_that_does_not_says_what_to_mend() {
    let mut shop = Shop::open("", "").await;
    let fine = run(&shop, &["providers", "check", "doku-main", "--json"]).await.ends(0).json();
    let verdicts: Vec<_> =
        fine["steps"].as_array().unwrap().iter().map(|s| (s["step"].clone(), s["verdict"].clone())).collect();
    assert_eq!(
        json!(verdicts),
        json!([["token", "fine"], ["signature", "fine"], ["clock", "fine"], ["query", "fine"]])
    );
    assert!(fine["unproven"].to_string().contains("refund_repeat"));
    assert_eq!(shop.db.text("select count(*) from rekon.facts").await, "0", "nothing is recorded");
    run(&shop, &["providers", "check", "nobody"]).await.ends(2).says("known: doku-main");

    let right = shop.config_text.clone();
    // Another client: the provider has no such key.
    shop.config_text = right.replace("client_id = \"BRN-", "client_id = \"BRX-");
    let text = run(&shop, &["providers", "check", "doku-main"]).await.ends(78).stdout;
    assert!(text.contains("token      WRONG") && text.contains("private_key"), "{text}");
    // Another secret: a token is granted and the signature refused.
    shop.config_text = right.replace("env = \"DOKU_SECRET\"", "env = \"SHARED_KEY\"");
    let text = run(&shop, &["providers", "check", "doku-main"]).await.ends(78).stdout;
    assert!(
        text.contains("token      fine") && text.contains("signature  WRONG") && text.contains("client_secret"),
        "{text}"
    );
    // Nobody there.
    let (head, tail) = right.split_once("base_url = \"").unwrap();
    shop.config_text = format!("{head}base_url = \"http://127.0.0.1:9\"\n{}", tail.split_once('\n').unwrap().1);
    let text = run(&shop, &["providers", "check", "doku-main"]).await.ends(69).stdout;
    assert!(text.contains("token      UNAVAILABLE"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_speaks_of_a_token_only_where_the_provider_has_one() {
    for (name, provider, token) in [
        ("doku", SimProvider::Doku, "fine"),
        ("paydia", SimProvider::Paydia, "fine"),
        ("brick", SimProvider::Brick, "fine"),
        ("winpay", SimProvider::Winpay, "none_needed"),
    ] {
        let customer_token = Some(SECRET.to_owned());
        let merchant = SimClient { provider, customer_token, ..SimClient::demo(CLIENT, SECRET, MERCHANT) };
        let customer = if name == "paydia" { "customer_token = { env = \"DOKU_SECRET\" }" } else { "" };
        let mut shop = Shop::open_with(SimOptions::loopback(vec![merchant]), customer, "").await;
        shop.config_text = shop.config_text.replace("provider = \"doku\"", &format!("provider = \"{name}\""));
        let checked = run(&shop, &["providers", "check", ACCOUNT, "--json"]).await.ends(0).json();
        let verdicts: Vec<_> = checked["steps"].as_array().unwrap().iter().map(|s| s["verdict"].clone()).collect();
        assert_eq!(json!(verdicts), json!([token, "fine", "fine", "fine"]), "{name}: {checked}");
        let text = run(&shop, &["providers", "check", ACCOUNT]).await.ends(0).stdout;
        assert_eq!(text.contains("a token was granted"), token == "fine", "{name}: {text}");
        assert_eq!(text.contains("token      none needed"), token != "fine", "{name}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_question_prints_the_answer_and_moves_nothing() {
    let shop = Shop::open("", "").await;
    let payment = SimPayment { reference_no: "R-1".to_owned(), ..SimPayment::exact("INV-1", 15_000_000) };
    shop.expect(payment, &[]).await;
    let asked = run(&shop, &["qris", "query", "INV-1", "--json"]).await.ends(0).json();
    assert_eq!((&asked["answer"]["observation"], &asked["answer"]["echo"]), (&json!("PAID"), &json!("right")));
    let text = run(&shop, &["qris", "query", "doku-main/INV-1"]).await.ends(0).stdout;
    assert!(text.contains("150000.00 IDR") && text.contains("responseCode"), "{text}");
    assert_eq!(
        shop.db.text("select state || checks || (select count(*) from rekon.facts) from rekon.transactions").await,
        "pending00"
    );
    // A reference that the ledger does not have needs to be told all.
    run(&shop, &["qris", "query", "INV-9"]).await.ends(2).says("--account");
    run(&shop, &["qris", "query", "INV-9", "--account", "doku-main"]).await.ends(2).says("reference_no");
    let absent =
        run(&shop, &["qris", "query", "INV-9", "--account", "doku-main", "--reference-no", "R-9", "--json"]).await;
    assert_eq!(absent.ends(0).json()["answer"]["observation"], "ABSENT");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_says_otherwise_is_listed_with_a_sample() {
    let shop = Shop::open("", "").await;
    for (n, answer) in
        [Answer::status("14"), Answer { integer_codes: true, ..Answer::paid() }, Answer::fault(Fault::http(403, "77"))]
            .into_iter()
            .enumerate()
    {
        let reference = format!("INV-{n}");
        let payment = SimPayment {
            reference_no: format!("R-{n}"),
            script: vec![answer],
            ..SimPayment::exact(&reference, 100_000)
        };
        shop.expect(payment, &[]).await;
    }
    for reference in ["INV-0", "INV-0", "INV-1", "INV-2"] {
        run(&shop, &["qris", "query", reference]).await;
    }
    let listed = run(&shop, &["providers", "show", "doku-main", "--drift", "--json"]).await.ends(0).json();
    let rows = listed.as_array().unwrap();
    let of =
        |kind: &str| rows.iter().find(|row| row["kind"] == kind).unwrap_or_else(|| panic!("no {kind} in {listed}"));
    assert_eq!(of("unknown_status:14")["n"], 2);
    assert!(of("unknown_status:14")["sample"].as_str().unwrap().contains("\"14\""), "{listed}");
    assert_eq!(of("number_for_text:latestTransactionStatus")["n"], 1);
    let text = run(&shop, &["providers", "show", "doku-main", "--drift"]).await.ends(0).stdout;
    assert!(text.contains("unknown_status:14"), "{text}");
}

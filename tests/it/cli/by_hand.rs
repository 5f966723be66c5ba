//! What a person does at a provider: a QR from its making to its end, a raw refund, and what is refused where money is real.
//! The real binary against the simulator.

use rekon::sim::{RepeatPolicy, Service, SimClient, SimOptions, SimPayment};
use serde_json::{Value, json};

use super::{providers::run, rig::Run};
use crate::support::shop::{ACCOUNT, CLIENT, MERCHANT, Shop};

/// A shop whose provider knows a customer.
async fn shop(account_lines: &str) -> Shop {
    let customer_token = Some("customer-token".to_owned());
    let client = SimClient { customer_token, ..SimClient::demo(CLIENT, "SK-simulated-secret", MERCHANT) };
    let mut options = SimOptions::loopback(vec![client]);
    options.arrival_log = true;
    options.repeat_policy = RepeatPolicy::InconsistentWhenDifferent;
    let lines = format!("terminal_id = \"k45\"\n{account_lines}");
    Shop::open_with(options, &lines, "").await
}

/// The same account in front of real money. Nothing of these tests may leave.
fn in_production(shop: &mut Shop) {
    shop.config_text = shop.config_text.replace(&shop.sim.base_url(), "https://api.doku.com");
}

async fn generated(shop: &Shop, reference: &str) -> Value {
    let args =
        ["qris", "generate", reference, "--account", ACCOUNT, "--amount", "1000.00", "--fee", "500.00", "--json"];
    run(shop, &args).await.ends(0).json()
}

async fn facts_and_rows(shop: &Shop) -> String {
    shop.db.text("select (select count(*) from rekon.facts) || '/' || (select count(*) from rekon.transactions)").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_qr_is_made_read_paid_and_asked_about_by_hand_and_the_ledger_hears_nothing_of_it() {
    let shop = shop("").await;
    let code = shop_file("consent\n");
    let made = generated(&shop, "TRY-1").await;
    let qr = made["qr_content"].as_str().expect("the QR's text");
    assert_eq!((&made["ended"], &made["qr_doubt"]), (&json!("done"), &Value::Null), "{made}");
    let decoded = run(&shop, &["qris", "decode", qr, "--account", ACCOUNT, "--json"]).await.ends(0).json();
    assert_eq!(decoded["expected_total"], "1500.00");
    assert_eq!(
        (&decoded["provider"]["amount"], &decoded["provider"]["merchant_name"]),
        (&json!("1000.00"), &json!("Green Pages"))
    );
    // Nobody said who pays; then the customer's consent does.
    run(&shop, &["qris", "pay", qr, "--account", ACCOUNT]).await.ends(2).says("customer's B2B2C token");
    let path = code.path().display().to_string();
    let pay = ["qris", "pay", qr, "--account", ACCOUNT, "--auth-code-file", &path, "--json"];
    let paid = run(&shop, &pay).await.ends(0).says("paying 1000.00");
    assert_eq!((&paid.json()["ended"], &paid.json()["approval_code"]), (&json!("done"), &json!("328580")));
    assert!(!format!("{paid:?}").contains("customer-token"), "{paid:?}");
    let reference_no = made["reference_no"].as_str().unwrap();
    let query = ["qris", "query", "TRY-1", "--account", ACCOUNT, "--reference-no", reference_no, "--json"];
    let asked = run(&shop, &query).await.ends(0).json();
    assert_eq!((&asked["answer"]["observation"], &asked["answer"]["amount"]), (&json!("PAID"), &json!("1000.00")));
    // Paid once is paid: the second time is refused, and a refusal is a failure.
    assert_eq!(run(&shop, &pay).await.ends(1).json()["ended"], "refused");
    assert_eq!(facts_and_rows(&shop).await, "0/0");
}

fn shop_file(content: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), content).expect("it is written");
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn the_accounts_own_customer_pays_where_no_consent_is_given() {
    let mut shop = shop("customer_token = { env = \"CUSTOMER\" }").await;
    shop.config_text = shop.config_text.replace("env = \"CUSTOMER\"", "file = \"CUSTOMER\"");
    let token = shop_file("customer-token");
    shop.config_text = shop.config_text.replace("CUSTOMER", &token.path().display().to_string());
    let made = generated(&shop, "TRY-2").await;
    let paid = run(&shop, &["qris", "pay", made["qr_content"].as_str().unwrap(), "--account", ACCOUNT]).await.ends(0);
    assert!(paid.stdout.contains("approvalCode") && paid.stdout.contains("328580"), "{paid:?}");
    assert_eq!(shop.sim.world().count_of(Service::CustomerToken, "2007400"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unpaid_qr_is_cancelled_by_hand_and_a_paid_one_is_not() {
    let shop = shop("").await;
    generated(&shop, "TRY-3").await;
    let cancel = |reference| ["qris", "cancel", reference, "--account", ACCOUNT, "--reason", "mistyped", "--json"];
    let ended = run(&shop, &cancel("TRY-3")).await.ends(0).json();
    assert_eq!(ended["ended"], "done");
    assert!(ended["cancel_time"].as_str().is_some_and(|at| at.ends_with("+07:00")), "{ended}");
    assert_eq!(run(&shop, &cancel("TRY-3")).await.ends(1).json()["response_code"], "4047700");
    assert_eq!(run(&shop, &cancel("NOBODY")).await.ends(1).json()["response_code"], "4047701");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_refund_returns_once_however_often_its_number_is_sent() {
    let shop = shop("").await;
    shop.expect(SimPayment { reference_no: "R-4".to_owned(), ..SimPayment::exact("INV-4", 150_000) }, &[]).await;
    let refund = ["qris", "refund", "INV-4", "--amount", "500.00", "--raw", "--partner-refund-no", "TRY4", "--json"];
    // Not paid yet: a refusal says that nothing moved.
    let refused = run(&shop, &refund).await.ends(1);
    assert_eq!(refused.json()["response_code"], "4047800");
    assert!(!refused.stderr.contains("refunded_outside"), "{refused:?}");
    run(&shop, &["qris", "query", "INV-4"]).await.ends(0);
    let first = run(&shop, &refund).await.ends(0).says("TRY4").says("refunded_outside").json();
    assert_eq!(
        (&first["ended"], &first["amount"], &first["class"]),
        (&json!("done"), &json!("500.00"), &json!("success"))
    );
    let again = run(&shop, &refund).await.ends(0).json();
    assert_eq!(again["refund_no"], first["refund_no"], "the same refund");
    // Another amount under the same number: nobody may guess.
    let other = ["qris", "refund", "INV-4", "--amount", "600.00", "--raw", "--partner-refund-no", "TRY4", "--json"];
    assert_eq!(run(&shop, &other).await.ends(69).json()["ended"], "unknown");
    let entry = shop.sim.world().book_entry(CLIENT, "INV-4").expect("the payment");
    assert_eq!(entry.returned_sen(), 50_000);
    // A number of its own never begins like one of the saga's.
    run(&shop, &["qris", "refund", "INV-4", "--amount", "1.00", "--raw"]).await.ends(0).says("partner_refund_no RAW");
    assert_eq!(shop.db.text("select count(*) from rekon.refund_saga").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payout_is_asked_about_by_its_status_alone() {
    let shop = shop("").await;
    let payout = SimPayment { reference_no: "R-5".to_owned(), ..SimPayment::exact("OUT-5", 6_500_000) };
    shop.expect(payout, &[("direction", "'out'")]).await;
    run(&shop, &["qris", "query", "OUT-5"]).await.ends(2).says("`rekon qris status`");
    let asked = run(&shop, &["qris", "status", "OUT-5", "--json"]).await.ends(0).json();
    assert_eq!((&asked["answer"]["observation"], &asked["answer"]["amount"]), (&json!("PAID"), &json!("65000.00")));
    assert_eq!(shop.sim.world().times_asked(Service::Status, "OUT-5").len(), 1);
    assert_eq!(shop.sim.world().times_asked(Service::Query, "OUT-5").len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_money_is_real_nothing_that_moves_it_leaves_and_the_refusal_says_what_to_do() {
    let mut shop = shop("customer_token = { env = \"SHARED_KEY\" }").await;
    let qr = generated(&shop, "TRY-6").await["qr_content"].as_str().unwrap().to_owned();
    shop.expect(SimPayment { reference_no: "R-6".to_owned(), ..SimPayment::exact("INV-6", 150_000) }, &[]).await;
    in_production(&mut shop);
    let refused = |run: Run, instead: &str| {
        let said = run.ends(2).says("api.doku.com").says("api-sandbox.doku.com").says(instead);
        assert!(said.stdout.is_empty(), "{said:?}");
    };
    let refund = ["qris", "refund", "INV-6", "--amount", "500.00", "--raw"];
    refused(run(&shop, &refund).await, "without --raw, of a payment in the ledger");
    let unknown = ["qris", "refund", "NOBODY", "--account", ACCOUNT, "--amount", "500.00"];
    refused(run(&shop, &unknown).await, "without --raw, of a payment in the ledger");
    refused(run(&shop, &["qris", "pay", &qr, "--account", ACCOUNT]).await, "his own application");
    refused(run(&shop, &["qris", "cancel", "INV-6", "--reason", "mistyped"]).await, "order_status");
    assert_eq!(shop.db.text("select count(*) from rekon.refund_saga").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_is_refused_before_anything_leaves() {
    let shop = shop("").await;
    let generate = |account, amount| ["qris", "generate", "TRY-7", "--account", account, "--amount", amount];
    run(&shop, &generate("nobody", "1000")).await.ends(2).says("known: doku-main");
    run(&shop, &generate(ACCOUNT, "0")).await.ends(2).says("more than zero");
    run(&shop, &generate(ACCOUNT, "1.000,00")).await.ends(2).says("without separators");
    let long = "X".repeat(33);
    let args = ["qris", "generate", &long, "--account", ACCOUNT, "--amount", "1000"];
    run(&shop, &args).await.ends(2).says("partnerReferenceNo must be 1 to 32");
    run(&shop, &["qris", "cancel", "NOBODY", "--reason", "x"]).await.ends(2).says("--account NAME");
    run(&shop, &["qris", "refund", "NOBODY", "--account", ACCOUNT]).await.ends(2).says("--amount RUPIAH");
    run(&shop, &["qris", "refund", "NOBODY", "--partner-refund-no", "X"]).await.ends(2).says("--raw");
    run(&shop, &["qris", "pay", "000201", "--account", ACCOUNT]).await.ends(1).says("QRIS");
    assert_eq!(shop.sim.world().call_counts().iter().map(|count| count.count).sum::<u64>(), 0, "nothing left");
}

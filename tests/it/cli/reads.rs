//! What people and scripts read: the same rows as text and as JSON of a fixed shape, after rekon has really worked on them.

use std::collections::BTreeSet;

use rekon::sim::{Answer, SimPayment};
use serde_json::{Value, json};

use super::rig::{Run, bare};
use crate::support::shop::{SHORT_TIMES, Shop};

const QUICK: &str = "rate = { per_second = 1000, burst = 100, concurrency = 32 }\n\
    [accounts.doku-main.ladder]\ndefault = [\"1s\", \"5m\"]\n\
    [accounts.doku-main.profile]\nrefund_repeat = \"safe\"\n";

/// A shop in which one payment was overpaid and the excess went back, one was underpaid and is held, and one is pending.
struct Worked {
    shop: Shop,
    folder: tempfile::TempDir,
}

impl Worked {
    async fn new() -> Self {
        let shop = Shop::open(QUICK, SHORT_TIMES).await;
        let paid = |reference: &str, sen| {
            let payment =
                SimPayment { reference_no: format!("R-{reference}"), ..SimPayment::exact(reference, 15_000_000) };
            SimPayment { taken_sen: Some(sen), ..payment.answering([Answer::paid_amount(sen)]) }
        };
        let more = shop.expect(paid("MORE", 17_000_000), &[]).await;
        let less = shop.expect(paid("LESS", 10_000_000), &[]).await;
        let open = SimPayment { reference_no: "R-OPEN".into(), ..SimPayment::exact("OPEN", 100_000) };
        shop.expect(open.answering([Answer::status("01")]), &[]).await;
        let work = shop.work().await;
        shop.until("select state from rekon.refunds", "confirmed").await;
        shop.until(&Shop::end_of(more), "paid{overpaid}").await;
        shop.until(&Shop::end_of(less), "held{underpaid}").await;
        shop.until("select (checks > 1)::text from rekon.transactions where partner_reference_no = 'OPEN'", "true")
            .await;
        work.stop().await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("jobs.toml"), &shop.config_text).unwrap();
        Self { shop, folder }
    }

    fn run(&self, args: &[&str]) -> Run {
        let config = self.folder.path().join("jobs.toml").display().to_string();
        let env = self.shop.env();
        let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Run::of(bare(args, &env).env("REKON_CONFIG", config).output().expect("rekon can be started"))
    }
}

#[track_caller]
fn assert_keys(value: &Value, keys: &str) {
    let found: BTreeSet<&str> =
        value.as_object().unwrap_or_else(|| panic!("{value}")).keys().map(String::as_str).collect();
    assert_eq!(found, keys.split_whitespace().collect());
}

const ROW: &str = "account amount checks created_at currency direction expires_at external_id fee_amount flags flags_open id last_checked_at \
                   next_check_at order_status paid_amount paid_at partner_reference_no reference_no refund_reserved refunded_amount \
                   refunded_outside state";

#[tokio::test(flavor = "multi_thread")]
async fn explain_shows_the_decision_its_evidence_and_where_the_money_is() {
    let worked = Worked::new().await;
    let text = worked.run(&["explain", "MORE"]).ends(0).stdout;
    for part in [
        "state                 paid",
        "flags resolved        overpaid",
        "paid_amount           170000.00",
        "refunded_amount       20000.00",
        "#1",
        "170000.00 IDR",
        "2005100/00",
        "20000.00 for overpaid: confirmed, proved by answer",
        "proposed by policy, approved by policy",
        "attempt 1: ",
        "Dr provider_clearing",
        "Cr suspense:overpaid",
        "merchant_payable   Cr  150000.00",
        "What next, and what would change it\n  The provider is asked again at ",
        "Facts used and ignored\n  #1 used\n      {",
        "Last answer as it came",
        "\"latestTransactionStatus\":\"00\"",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    let explained = worked.run(&["explain", "doku-main/MORE", "--json"]).ends(0).json();
    assert_keys(
        &explained,
        "at attempts balances because changes decided_at facts journal last_answer now refunds resolutions transaction what_next",
    );
    assert_keys(&explained["transaction"], ROW);
    assert_keys(
        &explained["facts"][0],
        "amount answered_at bad_weather call_id currency doubt echo excerpt fee_amount ignored is_used last_at \
         latest_transaction_status observation paid_time response_code sent_at seq sightings source warnings",
    );
    assert_eq!(explained["facts"][0]["amount"], "170000.00");
    assert_keys(&explained["because"][0], "facts inputs rule sentence");
    let rules: Vec<&str> =
        explained["because"].as_array().unwrap().iter().map(|b| b["rule"].as_str().unwrap()).collect();
    assert!(rules.contains(&"amount.over"), "{rules:?}");
    assert_eq!(
        explained["balances"],
        json!([{"account": "merchant_payable", "side": "Cr", "amount": "150000.00"},
               {"account": "provider_clearing", "side": "Dr", "amount": "150000.00"}])
    );
    let indonesian = worked.run(&["explain", "MORE", "--lang", "id"]).ends(0).stdout;
    for part in [
        "Mengapa (diputuskan ",
        "amount.over: Dibayar lebih dari yang diharapkan",
        "Penyedia ditanya lagi pada ",
        "#1 dipakai",
    ] {
        assert!(indonesian.contains(part), "no {part:?} in\n{indonesian}");
    }
    let waiting = worked.run(&["explain", "OPEN"]).ends(0).stdout;
    assert!(waiting.contains("As it stands now: pending{}\n  pending.not_paid_yet: "), "{waiting}");
    assert!(waiting.contains("2x until "), "{waiting}");
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_lists_tell_people_and_scripts_the_same() {
    let worked = Worked::new().await;
    let open = worked.run(&["status", "--json"]).ends(0).json();
    assert_eq!(
        open["states"],
        json!([{"account": "doku-main", "state": "held", "rows": 1}, {"account": "doku-main", "state": "pending", "rows": 1}])
    );
    assert_eq!(open["refunds"], json!([]));
    let status = worked.run(&["status", "--all", "--json"]).ends(0).json();
    assert_keys(
        &status,
        "at at_risk backlog breakers_open last_runs paused refunds refunds_stopped states switches violations",
    );
    assert_eq!(
        status["states"],
        json!([{"account": "doku-main", "state": "held", "rows": 1},
               {"account": "doku-main", "state": "paid", "rows": 1},
               {"account": "doku-main", "state": "pending", "rows": 1}])
    );
    assert_eq!(
        status["at_risk"],
        json!([{"account": "doku-main", "cause": "underpaid", "rows": 1, "amount": "100000.00"}])
    );
    assert_eq!(status["refunds"], json!([{"state": "confirmed", "refunds": 1, "amount": "20000.00"}]));
    assert_eq!(status["backlog"][0]["exceptions"], 1);
    let screen = worked.run(&["status"]).ends(0).stdout;
    assert!(
        screen.contains("Money at risk") && screen.contains("underpaid") && screen.contains("100000.00"),
        "{screen}"
    );

    let rows = worked.run(&["transactions", "list", "--json"]).ends(0).lines();
    let names = |rows: &[Value]| {
        rows.iter().map(|r| r["partner_reference_no"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&rows), ["OPEN", "LESS", "MORE"]);
    for row in &rows {
        assert_keys(row, ROW);
    }
    let listed =
        |args: &[&str]| names(&worked.run(&[&["transactions", "list", "--json"], args].concat()).ends(0).lines());
    assert_eq!(listed(&["--state", "held"]), ["LESS"]);
    assert_eq!(listed(&["--flag", "overpaid"]), ["MORE"]);
    assert_eq!(listed(&["--account", "other"]), [""; 0]);
    assert_eq!(listed(&["--date", "2020-01-01"]), [""; 0]);
    assert_eq!(listed(&["--limit", "1"]), ["OPEN"]);
    assert_eq!(listed(&["--after", &rows[0]["id"].to_string()]), ["LESS", "MORE"]);
    let today = worked.shop.db.text("select to_char(now() at time zone 'Asia/Jakarta', 'YYYY-MM-DD')").await;
    assert_eq!(listed(&["--date", &today]).len(), 3);
    let text = worked.run(&["transactions", "list", "--limit", "1"]).ends(0).says("--after").stdout;
    assert!(text.contains("OPEN") && !text.contains("LESS"), "{text}");

    let exceptions = worked.run(&["exceptions", "list", "--json"]).ends(0).lines();
    assert_eq!(names(&exceptions), ["LESS"]);
    assert_keys(&exceptions[0], &format!("{ROW} age_secs assignee disputed next_step value_at_risk waiting why"));
    assert_eq!(exceptions[0]["value_at_risk"], "100000.00");

    let refunds = worked.run(&["refunds", "list", "--json", "--state", "confirmed"]).ends(0).lines();
    assert_eq!(refunds[0]["amount"], "20000.00");
    let number = refunds[0]["partner_refund_no"].as_str().unwrap();
    assert_eq!(worked.run(&["refunds", "show", number, "--json"]).ends(0).json(), refunds[0]);
    assert_eq!(
        worked.run(&["refunds", "show", &refunds[0]["refund_id"].to_string(), "--json"]).ends(0).json(),
        refunds[0]
    );
    assert!(worked.run(&["refunds", "list", "--state", "unknown"]).ends(0).stdout.contains("No refund passes"));
}

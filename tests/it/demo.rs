//! `rekon demo` as a newcomer runs it: the real binary on an empty folder, its own Postgres, its own providers. Every row must
//! end as the rules of money say, whatever somebody tells it unasked, and what it leaves behind must work without it.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Command, Output, Stdio},
    thread,
};

use serde_json::Value;

use crate::web::house;

const PAYMENTS: u64 = 500;

/// The binary on a machine whose environment means somebody else's database and policy.
fn rekon(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rekon"));
    command.args(args).env("NO_COLOR", "1").env_remove("REKON_CONFIG");
    command.output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_owned()).expect("it is UTF-8")
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}

/// `rekon demo --stay`: its stdout and its whole story, with a look at what stays before it is told to end.
async fn stayed(mut demo: Command) -> (String, String) {
    let mut child = demo.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    let mut stdout = child.stdout.take().expect("it is piped");
    let said = thread::spawn(move || {
        let mut said = String::new();
        stdout.read_to_string(&mut said).map(|_| said)
    });
    let mut story = String::new();
    let mut stderr = BufReader::new(child.stderr.take().expect("it is piped"));
    while !story.contains("until Ctrl-C") {
        assert!(stderr.read_line(&mut story).expect("it is UTF-8") > 0, "{story}");
    }
    let words = story.lines().last().expect("the last line").split(' ');
    let places: Vec<SocketAddr> =
        words.filter_map(|word| word.strip_prefix("http://")?.trim_end_matches(',').parse().ok()).collect();
    let [providers, door] = places[..] else { panic!("two places: {story}") };
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: rekon\r\nconnection: close\r\n\r\n");
    assert_eq!(house::ask(door, &get("/healthz")).await.status, 200);
    let metrics = house::ask(door, &get("/metrics")).await;
    assert!(metrics.status == 200 && metrics.body.contains("rekon_notifications_total"), "{}", metrics.body);
    assert_eq!(house::ask(providers, &get("/nowhere")).await.status, 404, "somebody answers");
    let ended = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(ended.is_ok_and(|status| status.success()));
    stderr.read_to_string(&mut story).expect("it is UTF-8");
    assert!(child.wait().expect("it ends").success(), "{story}");
    for place in places {
        assert!(TcpStream::connect(place).is_err(), "nobody listens at {place} any more");
    }
    (said.join().expect("it is read").expect("it is UTF-8"), story)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_the_demo_ends_as_it_must_and_what_it_leaves_behind_works() {
    let (files, data) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let payments = PAYMENTS.to_string();
    let (dir, data_dir) = (path(files.path(), "day"), data.path().display().to_string());
    let mut demo = Command::new(env!("CARGO_BIN_EXE_rekon"));
    demo.args(["demo", "--stay", "--json", "--seed", "7", "--payments", &payments, "--dir", &dir]);
    demo.args(["--data-dir", &data_dir]);
    // A demo on a production machine must not meet what is configured there.
    demo.env("REKON__REFUNDS__MODE", "off").env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/production");
    let (stdout, story) = stayed(demo).await;
    assert!(!data.path().join("pg/postmaster.pid").exists(), "the private Postgres still runs");

    let told: Value = serde_json::from_str(&stdout).expect("stdout is one document");
    every_row_ended_right(&told["outcome"]);
    no_notification_moved_anything(&told["notifications"]);
    assert!(story.contains("500 of 500 rows ended as they must"), "{story}");
    assert!(story.contains("0 breaks: everything is as it was written"), "{story}");

    for (file, must_hold) in [
        (
            "expected.csv",
            "account,partner_reference_no,reference_no,direction,amount,order_status,created_at,expires_at",
        ),
        ("outcome.csv", "refund_answer_lost,\"paid{overpaid}\",\"paid{overpaid}\""),
        ("jobs.toml", "refund_repeat = \"safe\""),
        ("first-look.html", "<html"),
        ("report.txt", "Refund"),
    ] {
        let found = fs::read_to_string(path(Path::new(&dir), file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(found.contains(must_hold), "{file}:\n{found}");
    }

    let config = path(Path::new(&dir), "jobs.toml");
    let status = rekon(&["status", "--config", &config]);
    assert!(status.status.success(), "{}", text(&status.stderr));
    for account in ["doku", "paydia", "brick"] {
        assert!(text(&status.stdout).contains(account), "{}", text(&status.stdout));
    }
    let again = rekon(&["import", &path(Path::new(&dir), "expected.csv"), "--config", &config]);
    assert!(text(&again.stdout).contains("0 inserted, 500 unchanged"), "{again:?}");
}

/// Every kind at every account, judged by the hand-written ends and by each provider's own book.
fn every_row_ended_right(outcome: &Value) {
    assert_eq!(outcome["differing"], Value::Array(Vec::new()));
    let scenarios = outcome["scenarios"].as_array().expect("the scenarios");
    let number = |s: &Value, key: &str| s[key].as_u64().expect("a number");
    let sum = |key: &str| scenarios.iter().map(|s| number(s, key)).sum::<u64>();
    assert_eq!((sum("rows"), sum("as_expected")), (PAYMENTS, PAYMENTS));
    assert!(scenarios.iter().all(|s| number(s, "rows") >= 10 && s["rows"] == s["as_expected"]), "{outcome:#}");
    assert!(scenarios.iter().all(|s| s["refunded"] == s["returned"]), "{outcome:#}");
    let of = |account: &str| scenarios.iter().filter(|s| s["account"] == account).collect::<Vec<_>>();
    let counts = ["doku", "paydia", "brick"].map(|account| {
        let kinds = of(account);
        let sum = |key: &str| kinds.iter().map(|s| number(s, key)).sum::<u64>();
        (kinds.len(), sum("rows"), sum("refunds"))
    });
    let [(doku, rows, refunds), (paydia, by_paydia, none), (brick, by_brick, none_either)] = counts;
    assert_eq!((doku, paydia, brick), (27, 8, 7));
    assert!(rows > PAYMENTS / 2 && by_paydia >= 80 && by_brick >= 70, "{counts:?}");
    assert!(refunds >= 60, "{counts:?}");
    assert_eq!((none, none_either), (0, 0), "no refund by API at these two");
    for (account, scenario, end) in [
        ("paydia", "overpaid", "paid{overpaid,refund_blocked}"),
        ("brick", "cancelled_then_paid", "held{paid_after_cancel,refund_blocked}"),
        ("brick", "paying_is_paid", "paid{}"),
        ("paydia", "in_flight_forever", "review{stuck}"),
        ("doku", "payout_failed", "review{payout_not_done}"),
    ] {
        let found = of(account).into_iter().find(|s| s["scenario"] == scenario).expect("it is there");
        assert_eq!(found["expected"], end, "{account} {scenario}");
    }
}

/// Sent, counted, and nothing posted.
fn no_notification_moved_anything(notifications: &Value) {
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{notifications:#}"));
    let sent = |manner: &str| number(&notifications["sent"]["by_manner"][manner]);
    let counted = |outcome: &str| number(&notifications["counted"][outcome]);
    let manners =
        ["in_time", "late", "twice", "out_of_order", "contradicting", "forged", "copied", "unknown"].map(sent);
    assert!(manners.iter().all(|n| *n >= 10), "{notifications:#}");
    assert_eq!(notifications["sent"]["undelivered"], 0, "{notifications:#}");
    assert!(number(&notifications["journal_entries_with_queries"]) >= PAYMENTS / 2, "{notifications:#}");
    assert_eq!(notifications["journal_entries_with_notifications"], 0, "nothing is posted: {notifications:#}");
    assert_eq!(counted("unverified") + counted("limited"), sent("forged"), "every forgery is seen: {notifications:#}");
    assert!(counted("limited") >= 10, "and soon costs nothing more: {notifications:#}");
    assert_eq!(counted("unmatched"), sent("unknown"), "{notifications:#}");
    assert_eq!(counted("redelivered"), sent("twice") / 2, "{notifications:#}");
    let taken = ["verified", "unverified", "redelivered", "limited", "unmatched", "crowded", "refused"].map(counted);
    assert_eq!(taken.iter().sum::<u64>(), manners.iter().sum::<u64>(), "none is lost: {notifications:#}");
}

#[test]
fn a_database_that_no_demo_made_is_left_alone() {
    let (files, data) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    fs::create_dir(data.path().join("pg")).expect("a folder");
    let (dir, data_dir) = (path(files.path(), "day"), data.path().display().to_string());
    let refused = rekon(&["demo", "--dir", &dir, "--data-dir", &data_dir]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(text(&refused.stderr).contains("no demo made"), "{refused:?}");
    assert!(data.path().join("pg").exists() && !Path::new(&dir).exists());
}

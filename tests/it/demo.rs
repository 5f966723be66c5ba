//! `rekon demo` as a newcomer runs it: the real binary on an empty folder, its own Postgres, its own provider. Every row must
//! end as the rules of money say, and what it leaves behind must work without it.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

const PAYMENTS: u64 = 300;

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

#[test]
fn every_row_of_the_demo_ends_as_it_must_and_what_it_leaves_behind_works() {
    let (files, data) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let payments = PAYMENTS.to_string();
    let (dir, data_dir) = (path(files.path(), "day"), data.path().display().to_string());
    let mut demo = Command::new(env!("CARGO_BIN_EXE_rekon"));
    demo.args(["demo", "--json", "--seed", "7", "--payments", &payments, "--dir", &dir, "--data-dir", &data_dir]);
    // A demo on a production machine must not meet what is configured there.
    demo.env("REKON__REFUNDS__MODE", "off").env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/production");
    let ended = demo.output().expect("the binary runs");
    let story = text(&ended.stderr);
    assert!(ended.status.success(), "{story}");

    let told: Value = serde_json::from_str(&text(&ended.stdout)).expect("stdout is one document");
    assert_eq!(told["outcome"]["differing"], Value::Array(Vec::new()));
    let scenarios = told["outcome"]["scenarios"].as_array().expect("the scenarios");
    let sum = |key: &str| scenarios.iter().map(|s| s[key].as_u64().expect("a number")).sum::<u64>();
    assert_eq!((sum("rows"), sum("as_expected")), (PAYMENTS, PAYMENTS));
    assert!(scenarios.iter().all(|s| s["rows"].as_u64() >= Some(10)), "{told:#}");
    assert!(sum("refunds") >= 40, "{told:#}");
    assert!(scenarios.iter().all(|s| s["refunded"] == s["returned"]), "{told:#}");
    assert!(story.contains("300 of 300 rows ended as they must"), "{story}");

    for (file, must_hold) in [
        ("expected.csv", "account,partner_reference_no,reference_no,amount,order_status,created_at,expires_at"),
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
    assert!(text(&status.stdout).contains("sim"), "{}", text(&status.stdout));
    let again = rekon(&["import", &path(Path::new(&dir), "expected.csv"), "--config", &config]);
    assert!(text(&again.stdout).contains("0 inserted, 300 unchanged"), "{again:?}");
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

//! `rekon doctor` with the real binary: what it finds in a database, and that a healthy installation ends with 0.

use std::collections::BTreeMap;

use super::rig::{Rig, Run, bare};

/// What was found, by id.
fn found(run: &Run) -> BTreeMap<String, String> {
    let all = run.json();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    all.as_array().unwrap().iter().map(|finding| (text(&finding["id"]), text(&finding["what"]))).collect()
}

#[tokio::test]
async fn what_waits_in_the_database_for_somebody_is_found_and_named() {
    let rig = Rig::new().await;
    let before = found(&rig.run(&["doctor", "--json"]));
    assert!(before.keys().all(|id| !id.starts_with("run.") && id != "expires_at.missing"), "{before:?}");
    rig.import(
        "account,partner_reference_no,amount,expires_at",
        &["shop,A,5,", "shop,B,5,", "shop,C,5,2999-01-01T00:00:00Z"],
        &[],
    )
    .ends(0);
    rig.db
        .run(
            "insert into rekon.account_controls (account, refunds_stopped, stopped_at) values ('till', 'another refundNo', now());
             insert into rekon.breakers (account, opened_at, probe_at, reason) values ('shop', now(), now(), 'timeout');
             insert into rekon.runs (job, slot, state, heartbeat_at) values ('daily', '2026-11-18', 'running', now() - interval '1 hour');
             insert into rekon.runs (job, slot, state, finished_at) values ('seal', '2026-11-18', 'failed', now())",
        )
        .await;
    let run = rig.run(&["doctor", "--json"]);
    let after = found(&run);
    assert!(
        after["expires_at.missing"].contains("account shop: 2 awaited payments")
            && after["expires_at.missing"].contains("30 days")
    );
    assert!(after["refunds.stopped"].contains("another refundNo"));
    assert!(after["breaker.open"].contains("timeout"));
    assert!(after["run.silent"].contains("daily 2026-11-18"));
    assert!(after["run.failed"].contains("seal 2026-11-18"));
    assert!(!run.stdout.contains("hush"), "no secret is shown");
    // The test's server runs without fsync, and that is an error.
    assert!(after.contains_key("database.fsync_off"), "{after:?}");
    let text = rig.run(&["doctor"]).ends(1).stdout;
    assert!(text.starts_with("error    database.fsync_off") && text.contains("docs/doctor.md#breakeropen"), "{text}");
}

#[tokio::test]
async fn a_database_that_is_not_migrated_or_not_there_is_a_finding_and_not_a_silence() {
    let rig = Rig::new().await;
    rig.db.run("drop schema rekon cascade").await;
    let unmigrated = found(&rig.run(&["doctor", "--json"]).ends(1));
    assert_eq!(unmigrated["database.unmigrated"], "it has no schema yet");
    let config = rig.path("jobs.toml").display().to_string();
    let env =
        [("DATABASE_URL", "postgres://nobody@127.0.0.1:9/none"), ("SECRET", "hush"), ("REKON_CONFIG", config.as_str())];
    let away = found(&Run::of(bare(&["doctor", "--json"], &env).output().unwrap()).ends(1));
    assert!(away["database.unreachable"].contains("cannot connect"), "{away:?}");
    assert!(away.contains_key("refunds.repeat_unproven"), "what needs no database is looked at all the same");
}

#[test]
fn an_installation_that_is_well_ends_with_0() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    let config = folder.path().join("jobs.toml");
    std::fs::write(&config, format!("[database]\nembedded = true\ndata_dir = \"{data}\"\n")).unwrap();
    let config = config.display().to_string();
    let run = |args: &[&str]| {
        let mut command = bare(&[args, &["--config", &config]].concat(), &[]);
        Run::of(command.output().unwrap())
    };
    run(&["migrate"]).ends(0);
    let findings = found(&run(&["doctor", "--json"]).ends(0));
    assert_eq!(findings.keys().collect::<Vec<_>>(), ["database.private"], "{findings:?}");
    super::rig::assert_no_server(std::path::Path::new(&data));
}

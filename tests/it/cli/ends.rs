//! How commands end that cannot do what was asked: the exit code, and what to do next on stderr.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
};

use super::rig::{Rig, Run, assert_no_server, bare, signal};

fn run(command: &mut Command) -> Run {
    Run::of(command.output().expect("rekon can be started"))
}

#[test]
fn without_a_database_a_command_names_what_to_set_and_ends_with_78() {
    for args in [&["migrate"][..], &["status"], &["import", "-"], &["explain", "X"], &["transactions", "list"]] {
        run(&mut bare(args, &[])).ends(78).says("[database] url").says("DATABASE_URL").says("embedded = true");
    }
}

#[tokio::test]
async fn a_configuration_with_errors_ends_with_78_and_lists_them_all() {
    let rig = Rig::new().await;
    let wrong =
        rig.file("wrong.toml", "[jobs.sweep]\nevry = \"1s\"\nlease = \"soon\"\n[accounts.x]\nprovider = \"dokuu\"\n");
    for args in [&["config", "check"][..], &["status"], &["import", "-"]] {
        run(&mut bare(&[&["--config", &wrong], args].concat(), &[("DATABASE_URL", "postgres://u@h/d")]))
            .ends(78)
            .says("evry")
            .says("did you mean")
            .says("lease")
            .says("did you mean \"doku\"");
    }
    run(&mut bare(&["config", "check", "--config", "/nowhere.toml"], &[])).ends(78).says("/nowhere.toml");
    let report = run(&mut bare(&["config", "check", "--json", "--config", &wrong], &[])).ends(78).json();
    assert_eq!(report["ok"], false);
    assert!(report["errors"].as_array().unwrap().len() > 3, "{report}");
    let unknown = report["errors"].as_array().unwrap().iter().find(|error| error["key"] == "jobs.sweep.evry").unwrap();
    assert_eq!(unknown["source"]["file"]["line"], 2);
}

#[tokio::test]
async fn a_profile_that_does_not_fit_its_account_ends_with_78() {
    let rig = Rig::new().await;
    let config = std::fs::read_to_string(rig.path("jobs.toml")).unwrap();
    rig.file("jobs.toml", config + "[accounts.till.profile]\nrefund_repat = \"safe\"\n");
    rig.run(&["config", "check"]).ends(78).says("till").says("refund_repat");
    rig.run(&["import", "-"]).ends(78).says("refund_repat");
}

#[tokio::test]
async fn the_config_option_stands_before_or_after_the_command_and_wins_over_the_variable() {
    let rig = Rig::new().await;
    let other = rig.file("other.toml", "[server]\nlisten = \"127.0.0.1:9999\"\n");
    for args in [["--config", &other, "config", "show"], ["config", "show", "--config", &other]] {
        let shown = rig.run(&args).ends(0).stdout;
        assert!(shown.contains("9999") && !shown.contains("accounts"), "{shown}");
    }
    let shown = rig.run(&["config", "show"]).ends(0).stdout;
    assert!(shown.contains("[accounts.shop]") && !shown.contains("hush"), "{shown}");
    let effective = rig.run(&["config", "show", "--effective"]).ends(0).stdout;
    assert!(effective.contains("close_answers = 3  # default"), "{effective}");
    let settings = rig.run(&["config", "show", "--json"]).ends(0).json();
    let first = &settings["settings"][0];
    assert!(
        first["path"].is_array() && first["value"].is_string() && first["source"]["file"]["line"].is_u64(),
        "{first}"
    );
}

#[test]
fn a_command_line_that_makes_no_sense_ends_with_2() {
    for args in [
        &[][..],
        &["recncile"],
        &["import"],
        &["transactions", "list", "--state", "payed"],
        &["sim", "--scenario", "x"],
    ] {
        run(&mut bare(args, &[])).ends(2);
    }
    run(&mut bare(&["transactions", "list", "--state", "payed"], &[])).ends(2).says("known states: pending, paid");
    run(&mut bare(&["transactions", "list", "--date", "19/11/2026"], &[])).ends(2).says("YYYY-MM-DD");
    assert!(run(&mut bare(&["--version"], &[])).ends(0).stdout.starts_with("rekon "));
}

#[tokio::test]
async fn an_unmigrated_database_ends_with_78_naming_migrate_and_an_absent_one_with_69() {
    let rig = Rig::new().await;
    rig.db.run("drop schema rekon cascade").await;
    for args in [&["status"][..], &["import", "-"], &["refunds", "list"]] {
        rig.run(args).ends(78).says("rekon migrate");
    }
    rig.run(&["migrate"]).ends(0);
    rig.db.run("insert into rekon._migrations (version, description, success, checksum, execution_time) values (9999, 'later', true, '', 0)").await;
    rig.run(&["status"]).ends(78).says("schema version 9999");
    let absent =
        [("DATABASE_URL", "postgres://nobody@127.0.0.1:9/none"), ("REKON__DATABASE__ACQUIRE_TIMEOUT", "500ms")];
    run(&mut bare(&["status"], &absent)).ends(69).says("cannot connect to the database");
    let no_such = format!("{}_gone", rig.db.url.split('?').next().unwrap());
    let no_such = rig.db.url.split_once('?').map_or(no_such.clone(), |(_, query)| format!("{no_such}?{query}"));
    run(&mut bare(&["status"], &[("DATABASE_URL", &no_such)])).ends(69).says("does not exist");
}

#[tokio::test]
async fn migrate_makes_both_schemas_and_does_nothing_the_second_time() {
    let rig = Rig::new().await;
    rig.db.run("drop schema rekon cascade").await;
    let version = rig.run(&["migrate", "--json"]).ends(0).json()["schema_version"].as_i64().unwrap();
    assert_eq!(rig.db.text("select max(version) from rekon._migrations").await, version.to_string());
    assert_eq!(rig.db.text("select count(*) from apalis.jobs").await, "0");
    assert_eq!(rig.run(&["migrate", "--json"]).ends(0).json()["schema_version"], version);
}

#[test]
fn a_private_postgres_serves_a_command_and_is_gone_afterwards() {
    let folder = tempfile::Builder::new().prefix("rekon-cli").tempdir_in("/tmp").unwrap();
    let data_dir = folder.path().join("data");
    let config = folder.path().join("jobs.toml");
    std::fs::write(&config, format!("[database]\nembedded = true\ndata_dir = {data_dir:?}\n")).unwrap();
    // Root's server runs as somebody else, who must be able to pass.
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let config = config.display().to_string();
    let rekon = |args: &[&str], env: &[(&str, &str)]| {
        run(bare(args, env).args(["--config", &config]).env("PATH", "/usr/local/bin:/usr/bin:/bin"))
    };
    rekon(&["status"], &[]).ends(78).says("rekon migrate");
    rekon(&["migrate"], &[]).ends(0);
    assert_no_server(&data_dir);
    assert!(rekon(&["status"], &[]).ends(0).stdout.contains("No payment is open"));
    assert_no_server(&data_dir);
    rekon(&["status"], &[("PG_BINDIR", "/nowhere")]).ends(78).says("/nowhere").says("PG_BINDIR");
}

#[tokio::test]
async fn a_reference_on_two_accounts_ends_with_2_and_names_them() {
    let rig = Rig::new().await;
    rig.import("account,partner_reference_no,amount", &["shop,A,5", "till,A,6", "shop,till/A,7", "shop,x/y,8"], &[])
        .ends(0);
    for command in [&["explain"][..], &["transactions", "show"]] {
        let of = |reference: &str| rig.run(&[command, &["--json", reference]].concat());
        of("A").ends(2).says("several accounts (shop, till)").says("ACCOUNT/A");
        of("nothing").ends(1).says("no payment \"nothing\"");
        of("shop/nothing").ends(1);
        let amount = |reference: &str| {
            let found = of(reference).ends(0).json();
            found.get("transaction").unwrap_or(&found)["amount"].clone()
        };
        assert_eq!(amount("shop/A"), "5.00");
        assert_eq!(amount("till/A"), "6.00");
        assert_eq!(amount("shop/till/A"), "7.00");
        assert_eq!(amount("x/y"), "8.00");
    }
    rig.run(&["refunds", "show", "42"]).ends(1).says("no refund \"42\"");
}

#[tokio::test]
async fn an_import_that_is_told_to_stop_writes_nothing_and_ends_with_75() {
    let rig = Rig::new().await;
    for name in ["TERM", "INT"] {
        let mut command = rig.command(&["import", "-"]);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"account,partner_reference_no,amount\nshop,A,5\n").unwrap();
        // It is at work once the database sees its transaction.
        let at_work = "select exists (select 1 from pg_stat_activity where application_name = 'rekon' and state = 'idle in transaction' \
                       and datname = current_database())";
        while !rig.db.value::<bool>(at_work).await {
            tokio::task::yield_now().await;
        }
        signal(child.id(), name);
        Run::of(child.wait_with_output().unwrap()).ends(75).says("rolled back");
        drop(stdin);
    }
    assert_eq!(rig.rows().await, "");
}

#[tokio::test]
async fn a_reader_who_leaves_early_is_no_error() {
    let rig = Rig::new().await;
    let lines: Vec<String> = (0..3_000).map(|i| format!("shop,INV-{i},5")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    rig.import("account,partner_reference_no,amount", &lines, &[]).ends(0);
    let mut command = rig.command(&["transactions", "list", "--json", "--limit", "3000"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("INV-"), "{first}");
    let end = Run::of(child.wait_with_output().unwrap()).ends(0);
    assert!(!end.stderr.contains("cannot write"), "{end:?}");
}

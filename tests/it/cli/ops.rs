//! What operators type beside the day's work: is the schema current, complete my command line, leave that account alone.

use std::{fs, time::Duration};

use rekon::cli;

use super::{
    people::Desk,
    rig::{Rig, Run, bare},
};
use crate::support::shop::{SHORT_TIMES, Shop};

#[test]
fn every_shell_gets_completions_and_every_command_a_page_of_the_manual() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = Run::of(bare(&["completions", shell], &[]).output().unwrap()).ends(0).stdout;
        assert!(script.contains("rekon") && script.contains("reconcile") && script.contains("deadline"), "{shell}");
    }
    Run::of(bare(&["completions", "tcsh"], &[]).output().unwrap()).ends(2);
    let page = Run::of(bare(&["man"], &[]).output().unwrap()).ends(0).stdout;
    assert!(page.starts_with(".ie") && page.contains(".SH SUBCOMMANDS"), "{page}");
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("man1").display().to_string();
    Run::of(bare(&["man", "--dir", &dir], &[]).output().unwrap()).ends(0);
    for command in cli::command().get_subcommands() {
        let page = fs::read_to_string(format!("{dir}/rekon-{}.1", command.get_name()));
        assert!(page.is_ok_and(|page| page.contains(".SH SYNOPSIS")), "{}", command.get_name());
    }
}

#[tokio::test]
async fn a_schema_is_checked_without_being_changed_and_what_is_missing_is_named() {
    let rig = Rig::new().await;
    rig.run(&["migrate", "--check"]).ends(0);
    rig.db.run("delete from rekon._migrations where version = 16; delete from apalis._sqlx_migrations").await;
    let said = rig.run(&["migrate", "--check"]).ends(78).stdout;
    assert!(
        said.contains("16 roles") && said.contains("(of the job runtime)") && !said.contains("14 shared"),
        "{said}"
    );
    assert_eq!(rig.db.text("select count(*) from rekon._migrations where version = 16").await, "0");
    rig.db.run("drop schema rekon cascade; drop schema apalis cascade").await;
    let found = rig.run(&["migrate", "--check", "--json"]).ends(78).json();
    assert!(found["missing"].as_array().unwrap().iter().any(|m| m == "1 transactions"), "{found}");
    assert_eq!(rig.db.text("select to_regnamespace('rekon')").await, "-");
    rig.run(&["migrate"]).ends(0);
    rig.run(&["migrate", "--check"]).ends(0);
    // A newer release has been here.
    rig.db.run("insert into rekon._migrations select 9999, 'later', now(), true, checksum, 0 from rekon._migrations where version = 1").await;
    assert!(rig.run(&["migrate", "--check"]).ends(78).stdout.contains("newer"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_asks_a_paused_account_until_somebody_resumes_it() {
    let desk = Desk::open(SHORT_TIMES).await;
    let work = desk.shop.work().await;
    let before = desk.pays("INV-1", 100_000, 100_000).await;
    desk.shop.until(&Shop::end_of(before), "paid{}").await;
    let turn =
        |who: &str, verb: &str, account: &str| desk.run(who, &["providers", verb, account, "--reason", "upkeep"]);
    turn("", "pause", "doku-main").ends(2).says("REKON_TOKEN");
    turn("wati", "pause", "doku-mian").ends(2).says("doku-main");
    turn("wati", "resume", "doku-main").ends(1).says("at work already");
    turn("wati", "pause", "doku-main").ends(0);
    turn("sari", "pause", "doku-main").ends(1).says("paused already");
    let waits = desk.pays("INV-2", 100_000, 150_000).await;
    desk.run("", &["recheck", "INV-2"]).ends(1).says("paused by wati: upkeep");
    assert!(desk.run("", &["status"]).ends(0).stdout.contains("doku-main is paused since"));
    // Several ticks of the sweep, which would have asked at the first.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let asked = format!("select checks from rekon.transactions where id = {waits}");
    assert_eq!(desk.shop.db.text(&asked).await, "0");
    assert!(desk.shop.sim.world().book_entry("", "INV-2").is_none_or(|entry| entry.returned.is_empty()));
    turn("sari", "resume", "doku-main").ends(0);
    desk.shop.until(&format!("select refunded_amount from rekon.transactions where id = {waits}"), "50000.00").await;
    let history = "select string_agg(made_by || ' ' || paused, ', ' order by id) from rekon.pauses";
    assert_eq!(desk.shop.db.text(history).await, "wati true, sari false");
    work.stop().await;
}

//! The commands that prove a ledger and those that only look, by the real binary: a day decided again, an export proved without
//! a database, and a dry run that leaves every table as it was.

use std::fs;

use rekon::sim::Answer;

use super::people::Desk;
use crate::{
    engine::payment,
    support::{
        TestDb,
        shop::{SHORT_TIMES, Shop},
    },
};

/// A desk with one excess that went back and one order that is still open; its day in WIB.
async fn a_day() -> (Desk, String) {
    let desk = Desk::open(SHORT_TIMES).await;
    let more = desk.pays("MORE", 150_000, 170_000).await;
    let open = payment("OPEN", 1_000).answering([Answer::status("01")]);
    let open = desk.shop.expect(open, &[]).await;
    let work = desk.shop.work().await;
    desk.shop.until(&Shop::end_of(more), "paid{overpaid}").await;
    desk.shop.until("select state from rekon.refunds", "confirmed").await;
    desk.shop.until(&format!("select (checks > 0)::text from rekon.transactions where id = {open}"), "true").await;
    work.stop().await;
    let day = desk.shop.db.text("select (min(at) at time zone 'Asia/Jakarta')::date from rekon.journal").await;
    (desk, day)
}

/// Somebody with all rights on the database: no triggers.
async fn behind_our_back(db: &TestDb, sql: &str) {
    db.run(&format!("set session_replication_role = replica; {sql}; set session_replication_role = default")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_is_decided_again_another_policy_is_tried_and_what_was_changed_ends_with_5() {
    let (desk, day) = a_day().await;
    let stricter = format!("{}\n[policy.flags]\noverpaid = \"hold\"\n", desk.shop.config_text);
    let stricter = desk.file("stricter.toml", &stricter);
    let same = desk.run("", &["replay", "--date", &day]).ends(0).stdout;
    assert!(same.starts_with(&format!("{day}: 1 rows, ")) && same.contains("each as it was taken"), "{same}");
    assert!(!same.contains("other policy"), "nobody asked for another: {same}");

    // Another policy is a question, not a finding.
    let tried = desk.run("", &["replay", "--date", &day, "--policy", &stricter]).ends(0).stdout;
    let lines: Vec<Vec<&str>> = tried.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(tried.contains("Under the other policy 1 rows would have come out otherwise."), "{tried}");
    for line in [
        &["overpaid", "1", "20000.00", "0", "0.00", "0.00", "-20000.00"][..],
        &["suspense:overpaid", "0.00", "-170000.00", "-170000.00"],
        &["doku-main", "MORE", "paid{overpaid}", "held{overpaid}"],
    ] {
        assert!(lines.iter().any(|words| words == line), "no line {line:?}\n{tried}");
    }
    let told = desk.run("", &["replay", "--date", &day, "--policy", &stricter, "--json"]).ends(0).json();
    assert_eq!((&told["different"], &told["what_if"]["different"]), (&0.into(), &1.into()), "{told}");
    desk.run("", &["replay", "--date", &day, "--policy", "/nowhere/jobs.toml"]).ends(78).says("/nowhere/jobs.toml");

    behind_our_back(&desk.shop.db, "update rekon.facts set amount = amount - 1 where observation = 'PAID' and seq = 1")
        .await;
    for args in [&["replay", "--date", &day][..], &["replay", "--date", &day, "--policy", &stricter]] {
        let found = desk.run("", args).ends(5).stdout;
        assert!(found.contains("come out otherwise") && found.contains("paid_amount"), "{found}");
        assert!(
            found.lines().any(|line| line.contains("doku-main") && line.contains("MORE") && line.contains("evidence")),
            "{found}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_proves_itself_offline_and_one_changed_byte_of_it_ends_with_5() {
    let (desk, _) = a_day().await;
    assert!(desk.shop.db.store.seal("2026-11-19".parse().unwrap()).await.unwrap());
    let export = desk.file("ledger.jsonl", "");
    let online = desk.run("", &["verify", "--export", &export]).ends(0).stdout;
    assert!(online.contains("1 seals") && online.contains("0 breaks: everything is as it was written"), "{online}");
    // No database, no configuration, no environment at all.
    let offline = |file: &str| {
        super::rig::Run::of(
            super::rig::bare(&["verify", "--offline", file], &[]).output().expect("rekon can be started"),
        )
    };
    let proved = offline(&export).ends(0).stdout;
    assert!(proved.contains("1 seals") && proved.contains("0 breaks: everything is as it was written"), "{proved}");

    let text = fs::read_to_string(&export).unwrap();
    let at = text.find("170000.00").expect("what was paid");
    let mut bytes = text.into_bytes();
    bytes[at] = b'2';
    let forged = desk.file("forged.jsonl", &String::from_utf8(bytes).unwrap());
    let found = offline(&forged).ends(5).stdout;
    assert!(found.contains("MORE") && !found.contains("0 breaks"), "{found}");
    offline("/nowhere/ledger.jsonl").ends(1).says("/nowhere/ledger.jsonl");
    // What is changed in the database itself is found by both: the export says what stands there.
    behind_our_back(&desk.shop.db, "update rekon.postings set debit = debit + 1 where debit > 0 and entry_no = 1")
        .await;
    let found = desk.run("", &["verify", "--export", &export]).ends(5).stdout;
    assert!(found.contains("its postings differ from its content"), "{found}");
    offline(&export).ends(5);
}

/// Every table of every schema of ours: how many rows, their highest key and the last transaction that wrote one.
async fn everything(db: &TestDb) -> String {
    let tables = db
        .text("select string_agg(format('%I.%I', table_schema, table_name), ' ' order by 1) from information_schema.tables
                where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')")
        .await;
    let mut told = String::new();
    for table in tables.split_whitespace() {
        let sql = format!(
            "select concat_ws(' ', count(*), max(xmin::text::bigint), max(xmax::text::bigint), md5(string_agg(t::text, e'\\n' order by t::text))) from {table} t"
        );
        told.extend([table, " ", &db.text(&sql).await, "\n"]);
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_as_the_first_thing_ever_writes_not_even_its_terms() {
    let desk = Desk::open(SHORT_TIMES).await;
    desk.pays("INV-1", 150_000, 150_000).await;
    let before = everything(&desk.shop.db).await;
    let told = desk.run("", &["reconcile", "--dry-run"]).ends(0);
    assert!(told.stderr.contains("doku-main: 1 rows, 1 to ask"), "{told:?}");
    assert_eq!(everything(&desk.shop.db).await, before, "a dry run wrote");
    desk.run("", &["reconcile", "--dry-run", "--account", "nobody"]).ends(2).says("known: doku-main");
    assert_eq!(desk.shop.db.text("select count(*) from rekon.terms").await, "0");
    assert_eq!(desk.shop.sim.world().arrivals().len(), 0, "a dry run asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_of_reconcile_says_what_it_would_ask_and_leaves_every_table_as_it_was() {
    let (desk, _) = a_day().await;
    let calls = desk.shop.sim.world().arrivals().len();
    let before = everything(&desk.shop.db).await;
    assert!(before.lines().count() > 20 && before.contains("rekon.transactions 2 "), "{before}");
    for args in [&["reconcile", "--dry-run", "--fresh", "0"][..], &["reconcile", "--dry-run", "--fresh", "0", "--json"]]
    {
        let told = desk.run("", args).ends(0);
        assert!(told.stderr.contains("doku-main: ") && told.stderr.contains("to ask"), "{told:?}");
    }
    assert_eq!(everything(&desk.shop.db).await, before, "a dry run wrote");
    assert_eq!(desk.shop.sim.world().arrivals().len(), calls, "a dry run asked");
}

//! The program as its operator meets it: how it ends, what it says when it cannot begin, and that a database which comes late,
//! goes away or swallows an answer costs time and nothing else.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rekon::sim::{Answer, Gate, GatePoint, GateSpec, Service, SimPayment};
use sqlx::Connection as _;

use crate::support::{
    TestDb,
    process::{Daemon, Ended},
    proxy::Proxy,
    shop::{CLIENT, Shop},
};

const ACCOUNT_LINES: &str = "rate = { per_second = 1000, burst = 100, concurrency = 32 }\ntimeout = \"2s\"\n\
    [accounts.doku-main.ladder]\ndefault = [\"1s\"]\n\
    [accounts.doku-main.profile]\nrefund_repeat = \"safe\"\n";
const SECTIONS: &str = "[policy]\nconfirm_after = \"1s\"\nwatch = \"1h\"\n[refunds]\nmode = \"auto\"\n\
    [database]\nmax_connections = 8\nacquire_timeout = \"1s\"\n[jobs.sweep]\nevery = \"50ms\"\nlease = \"5s\"\nchunk_span = \"1s\"\n";

async fn shop() -> Shop {
    Shop::open(ACCOUNT_LINES, SECTIONS).await
}

fn exact(reference: &str) -> SimPayment {
    SimPayment { reference_no: format!("R-{reference}"), ..SimPayment::exact(reference, 5_000_000) }
}

fn overpaid(reference: &str) -> SimPayment {
    exact(reference).answering(vec![Answer::paid_amount(5_700_000)])
}

fn gate(shop: &Shop, point: GatePoint, service: Service, reference: &str) -> Gate {
    let partner_reference_no = Some(reference.to_owned());
    shop.sim.world().arm_gate(GateSpec { point, service, partner_reference_no })
}

fn env_at(shop: &Shop, url: &str) -> BTreeMap<String, String> {
    let mut env = shop.env();
    env.insert("DATABASE_URL".to_owned(), url.to_owned());
    env
}

const LEASES: &str = "select (select count(*) from rekon.transactions where lease_until is not null)
    + (select count(*) from rekon.refund_saga where lease_until is not null)";

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_it_within_its_calls_timeout_and_leaves_nothing_half_done() {
    let shop = shop().await;
    let asked = gate(&shop, GatePoint::AfterEffect, Service::Query, "ASKED");
    let going_back = gate(&shop, GatePoint::AfterEffect, Service::Refund, "BACK");
    let back = shop.expect(overpaid("BACK"), &[]).await;
    let mut daemon = Daemon::spawn(&shop.config_text, &shop.env());
    going_back.hit().await;
    let hanging = shop.expect(exact("ASKED"), &[]).await;
    asked.hit().await;
    let begun = Instant::now();
    daemon.ask_to_end();
    daemon.wait_for("draining").await;
    let (status, _) = daemon.get("/readyz").await;
    // Neither call is ever answered: both hang until their time is over.
    let ended = daemon.end().await;
    assert_eq!((ended.code, status), (Some(0), 503), "{}", ended.said);
    println!("ended {} ms after SIGTERM, its calls' timeout is 2000 ms", begun.elapsed().as_millis());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}\n{}", begun.elapsed(), ended.said);
    assert_eq!(shop.db.text(LEASES).await, "0", "{}", ended.said);
    // What was in flight is written down as what it is: unknown.
    let refund = "select concat_ws(' ', state, attempts, unanswered) from rekon.refund_saga";
    assert_eq!(shop.db.text(refund).await, "unknown 1 t");
    assert_eq!(shop.db.text("select count(*) from rekon.refund_attempts where ended_at is null").await, "0");
    let fact = format!(
        "select string_agg(observation || ' ' || doubt, ',') from rekon.facts where transaction_id = {hanging}"
    );
    assert_eq!(shop.db.text(&fact).await, "INDETERMINATE timeout");

    drop((asked, going_back));
    let daemon = Daemon::spawn(&shop.config_text, &shop.env());
    shop.until(&Shop::end_of(hanging), "paid{}").await;
    shop.until("select state || ' ' || proof from rekon.refunds", "confirmed repeat").await;
    assert_eq!(daemon.terminate().await.code, Some(0));
    let returned = shop.sim.world().book_entry("", "BACK").expect("it is there").returned.len();
    let refunded = shop.db.text(&format!("select refunded_amount from rekon.transactions where id = {back}")).await;
    assert_eq!((returned, refunded.as_str()), (1, "7000.00"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_answered_while_it_drains_is_written_down() {
    let shop = shop().await;
    let asked = gate(&shop, GatePoint::AfterEffect, Service::Query, "ASKED");
    let going_back = gate(&shop, GatePoint::AfterEffect, Service::Refund, "BACK");
    shop.expect(overpaid("BACK"), &[]).await;
    let mut daemon = Daemon::spawn(&shop.config_text, &shop.env());
    going_back.hit().await;
    let id = shop.expect(exact("ASKED"), &[]).await;
    asked.hit().await;
    daemon.ask_to_end();
    daemon.wait_for("draining").await;
    asked.release();
    going_back.release();
    let ended = daemon.end().await;
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert_eq!(shop.db.text(&Shop::end_of(id)).await, "paid{}");
    assert_eq!(shop.db.text("select state || ' ' || proof from rekon.refunds").await, "confirmed answer");
    assert_eq!(shop.db.text(LEASES).await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_down_at_the_start_is_waited_for() {
    let shop = shop().await;
    let id = shop.expect(exact("INV"), &[]).await;
    let door = Proxy::open(&shop.db.url).await;
    door.shut();
    let mut daemon = Daemon::spawn(&shop.config_text, &env_at(&shop, &door.url));
    daemon.wait_for("waiting for the database").await;
    assert_eq!(daemon.get("/readyz").await.0, 503);
    assert_eq!(daemon.get("/healthz").await.0, 200);
    door.reopen();
    daemon.wait_for_status("/readyz", 200).await;
    shop.until(&Shop::end_of(id), "paid{}").await;
    assert_eq!(daemon.terminate().await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_stopped_while_it_waits_for_its_database() {
    let shop = shop().await;
    let door = Proxy::open(&shop.db.url).await;
    door.shut();
    let mut daemon = Daemon::spawn(&shop.config_text, &env_at(&shop, &door.url));
    daemon.wait_for("waiting for the database").await;
    assert_eq!(daemon.terminate().await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_away_in_the_middle_loses_no_row_and_doubles_none() {
    let shop = shop().await;
    let door = Proxy::open(&shop.db.url).await;
    let mut daemon = Daemon::spawn(&shop.config_text, &env_at(&shop, &door.url));
    daemon.wait_for_status("/readyz", 200).await;
    // A refund is done and a query answered while nobody can write it down.
    let going_back = gate(&shop, GatePoint::AfterEffect, Service::Refund, "BACK");
    let asked = gate(&shop, GatePoint::AfterEffect, Service::Query, "ASKED");
    shop.expect(overpaid("BACK"), &[]).await;
    going_back.hit().await;
    let mut ids = vec![shop.expect(exact("ASKED"), &[]).await];
    asked.hit().await;
    door.shut();
    asked.release();
    going_back.release();
    for n in 0..30 {
        ids.push(shop.expect(exact(&format!("INV{n}")), &[]).await);
    }
    daemon.wait_for_status("/readyz", 503).await;
    assert_eq!(daemon.get("/healthz").await.0, 200, "an outage of the database is no reason to be restarted");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(daemon.is_alive());
    door.reopen();
    daemon.wait_for_status("/readyz", 200).await;
    for id in ids {
        shop.until(&Shop::end_of(id), "paid{}").await;
    }
    shop.until("select state from rekon.refunds", "confirmed").await;
    // The server itself ends every session, in the middle of work.
    for n in 0..10 {
        shop.expect(exact(&format!("LATER{n}")), &[]).await;
    }
    let theirs = "select count(pg_terminate_backend(pid)) from pg_stat_activity
        where datname = current_database() and application_name = 'rekon' and query like '-- store::%'";
    assert!(shop.db.value::<i64>(theirs).await > 0, "it had sessions");
    shop.until("select count(*) from rekon.transactions where state = 'paid'", "42").await;
    let ended = daemon.terminate().await;
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert_eq!(shop.db.text(LEASES).await, "0");
    assert_eq!(shop.sim.world().book().refunded_more_than_once().len(), 0);
    assert_eq!(shop.sim.world().external_id_reuses(CLIENT), 0);
    let clearing = "select (sum(debit - credit) * 100)::bigint from rekon.postings where account = 'provider_clearing'";
    let book = shop.sim.world().book();
    assert_eq!(shop.db.value::<i64>(clearing).await, book.taken_sen - book.returned_sen);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_said_about_a_refund_is_kept_for_a_database_that_is_away() {
    let shop = Shop::open(ACCOUNT_LINES, &SECTIONS.replace("lease = \"5s\"", "lease = \"60s\"")).await;
    let door = Proxy::open(&shop.db.url).await;
    let mut daemon = Daemon::spawn(&shop.config_text, &env_at(&shop, &door.url));
    let going_back = gate(&shop, GatePoint::AfterEffect, Service::Refund, "BACK");
    shop.expect(overpaid("BACK"), &[]).await;
    going_back.hit().await;
    door.shut();
    going_back.release();
    daemon.wait_for("the refund's answer could not be stored").await;
    door.reopen();
    shop.until("select state || ' ' || proof || ' ' || attempts from rekon.refunds", "confirmed answer 1").await;
    assert_eq!(daemon.terminate().await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_it_while_its_database_is_away() {
    let shop = Shop::open(ACCOUNT_LINES, &SECTIONS.replace("lease = \"5s\"", "lease = \"60s\"")).await;
    let door = Proxy::open(&shop.db.url).await;
    let mut daemon = Daemon::spawn(&shop.config_text, &env_at(&shop, &door.url));
    let going_back = gate(&shop, GatePoint::AfterEffect, Service::Refund, "BACK");
    let asked = gate(&shop, GatePoint::AfterEffect, Service::Query, "ASKED");
    shop.expect(overpaid("BACK"), &[]).await;
    going_back.hit().await;
    shop.expect(exact("ASKED"), &[]).await;
    asked.hit().await;
    door.shut();
    going_back.release();
    asked.release();
    daemon.wait_for("the refund's answer could not be stored").await;
    daemon.wait_for("answers wait").await;
    let ended = daemon.terminate().await;
    println!("ended {} ms after SIGTERM without a database", ended.took.as_millis());
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(ended.took < Duration::from_secs(20), "{:?}\n{}", ended.took, ended.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_does_not_wait_for_call_slots() {
    let slowly = ACCOUNT_LINES.replace("per_second = 1000, burst = 100", "per_second = 1, burst = 1");
    let long = SECTIONS.replace("lease = \"5s\"\nchunk_span = \"1s\"", "lease = \"60s\"\nchunk_span = \"30s\"");
    let shop = Shop::open(&slowly, &long).await;
    let mut daemon = Daemon::spawn(&shop.config_text, &shop.env());
    daemon.wait_for("at work").await;
    for n in 0..20 {
        shop.expect(overpaid(&format!("INV{n}")), &[]).await;
    }
    shop.until("select count(*) > 0 from rekon.refund_saga where lease_until is not null", "true").await;
    let ended = daemon.terminate().await;
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    println!("ended {} ms after SIGTERM with a call a second", ended.took.as_millis());
    // Half a lease is how long a row may wait for its slot.
    assert!(ended.took < Duration::from_secs(15), "{:?}\n{}", ended.took, ended.said);
    assert_eq!(shop.db.text(LEASES).await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_written_once() {
    let shop = shop().await;
    let door = Proxy::open(&shop.db.url).await;
    let mut daemon = Daemon::spawn(&shop.config_text, &env_at(&shop, &door.url));
    daemon.wait_for_status("/readyz", 200).await;
    for (reference, answer) in [("PAID", Answer::paid()), ("OPEN", Answer::status("01"))] {
        let asked = gate(&shop, GatePoint::AfterEffect, Service::Query, reference);
        let swallowed = door.swallowed();
        let id = shop.expect(exact(reference).answering(vec![answer]), &[]).await;
        asked.hit().await;
        // From here to the settle nothing else commits in a transaction of its own.
        door.swallow_commits(1);
        asked.release();
        let sighted = "select coalesce(sum(coalesce(s.n, 1)), 0)::bigint from rekon.facts f left join rekon.sightings s using (transaction_id, seq)";
        shop.until(&format!("{sighted} where f.transaction_id = {id} having count(*) > 0"), "1").await;
        while door.swallowed() == swallowed {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
        let counted = format!(
            "select (select count(*) from rekon.facts where transaction_id = {id}) || ' ' || checks from rekon.transactions where id = {id}"
        );
        assert_eq!(shop.db.text(&counted).await, "1 1", "{reference}: {}", daemon.said());
        let again = format!("{sighted} where f.transaction_id = {id}");
        let asked_times = shop.sim.world().times_asked(Service::Query, reference).len();
        assert_eq!((shop.db.value::<i64>(&again).await, asked_times), (1, 1), "{reference}: {}", daemon.said());
    }
    assert_eq!(daemon.terminate().await.code, Some(0));
}

async fn ends_with_78(config: &str, env: &BTreeMap<String, String>, says: &[&str]) {
    let Ended { code, said, .. } = Daemon::spawn(config, env).end().await;
    assert_eq!(code, Some(78), "{said}");
    for words in says {
        assert!(said.contains(words), "it does not say {words:?}:\n{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_work_ends_with_78_and_says_what_to_mend() {
    let shop = shop().await;
    let (config, env) = (&shop.config_text, shop.env());

    let empty = TestDb::new().await;
    empty.run("drop schema rekon cascade").await;
    ends_with_78(config, &env_at(&shop, &empty.url), &["rekon migrate"]).await;
    let old = TestDb::new().await;
    old.run(
        "update rekon._migrations set success = false where version = (select max(version) from rekon._migrations)",
    )
    .await;
    ends_with_78(config, &env_at(&shop, &old.url), &["rekon migrate", "program version"]).await;

    let mut poor = env.clone();
    poor.remove("DOKU_SECRET");
    ends_with_78(config, &poor, &["DOKU_SECRET", "client_secret"]).await;
    let mut nowhere = env.clone();
    nowhere.remove("DATABASE_URL");
    ends_with_78(config, &nowhere, &["DATABASE_URL"]).await;

    let folder = tempfile::tempdir().expect("a folder");
    let bad = folder.path().join("bad.pem");
    std::fs::write(&bad, "-----BEGIN PRIVATE KEY-----\nbm90IGEga2V5\n-----END PRIVATE KEY-----\n")
        .expect("it is written");
    let key = config.lines().find(|line| line.starts_with("private_key")).expect("a key is named");
    let with_key =
        |path: &std::path::Path| config.replace(key, &format!("private_key = {{ file = \"{}\" }}", path.display()));
    ends_with_78(&with_key(&bad), &env, &["doku-main", "private_key"]).await;
    ends_with_78(&with_key(&folder.path().join("none.pem")), &env, &["private_key", "none.pem"]).await;
    ends_with_78(&config.replace("confirm_after", "confirm_aftr"), &env, &["confirm_aftr", "confirm_after"]).await;
}

/// A merchant's transaction may stay open for as long as it likes: his row waits for it, and no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_somebody_keeps_locked_holds_up_no_other() {
    let sections = SECTIONS.replace("[jobs.sweep]", "lock_timeout = \"300ms\"\n[jobs.sweep]");
    let shop = Shop::open(ACCOUNT_LINES, &sections).await;
    let asked = gate(&shop, GatePoint::AfterEffect, Service::Query, "LOCKED");
    let locked = shop.expect(exact("LOCKED"), &[]).await;
    let daemon = Daemon::spawn(&shop.config_text, &shop.env());
    asked.hit().await;
    let mut merchant = shop.db.connect().await;
    let mut open = merchant.begin().await.expect("he begins");
    sqlx::query("update rekon.transactions set qr_content = qr_content")
        .execute(&mut *open)
        .await
        .expect("he locks it");
    asked.release();
    shop.db.wait_until_blocked(1).await;
    for n in 0..20 {
        let id = shop.expect(exact(&format!("FREE{n}")), &[]).await;
        shop.until(&Shop::end_of(id), "paid{}").await;
    }
    assert_eq!(shop.db.text(&Shop::end_of(locked)).await, "pending{}");
    open.rollback().await.expect("he lets it go");
    shop.until(&Shop::end_of(locked), "paid{}").await;
    assert_eq!(daemon.terminate().await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_there_ends_it_with_69_as_it_does_every_command() {
    let shop = shop().await;
    let url = shop.db.url.replace("rekon_test_", "rekon_none_");
    let Ended { code, said, .. } = Daemon::spawn(&shop.config_text, &env_at(&shop, &url)).end().await;
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("cannot connect to the database") && said.contains("does not exist"), "{said}");
}

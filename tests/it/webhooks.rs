//! Webhooks from the change of a payment to a merchant's endpoint and back to the table, on a real Postgres and a real HTTP server:
//! once where all goes well, again where it does not, never where the change itself was rolled back.

mod desk;
pub(crate) mod receiver;

use std::{
    collections::BTreeSet,
    process::{Command, Output},
    time::Duration,
};

use rekon::{
    engine::{Engine, webhooks},
    store::{limits::CallClass, webhooks::Filter},
    telemetry::heartbeat::Heartbeats,
};
use serde_json::Value;

use crate::{
    engine::{SAFE, payment},
    support::{
        process::Daemon,
        shop::{HOOK_SECRET, HOOK_SECRET_NEW, SHORT_TIMES, Shop},
    },
};
use receiver::{Receiver, Say};

/// One more attempt, soon.
const SOON: &str = "ladder = [\"1s\"]\ntimeout = \"30s\"";
const ENDS: &str = "select coalesce(string_agg(state || '/' || attempts, ' ' order by id), '') from rekon.webhooks";

async fn shop(sections: &[String]) -> Shop {
    Shop::open(SAFE, &format!("{SHORT_TIMES}{}", sections.concat())).await
}

/// The binary on the shop's configuration.
fn rekon(shop: &Shop, args: &[&str]) -> Output {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), &shop.config_text).expect("it is written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_rekon"));
    let output = command.args(args).arg("--config").arg(file.path()).env_clear().envs(shop.env()).output();
    output.expect("rekon can be started")
}

#[track_caller]
fn said(output: &Output, code: i32) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}\n{err}");
    out.into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_told_once_signed_and_numbered() {
    let receiver = Receiver::open(Say::Status(204)).await;
    let shop = shop(&[receiver.section("shop", SOON)]).await;
    for n in 0..5 {
        shop.expect(payment(&format!("INV-{n}"), 1_000), &[]).await;
    }
    let work = shop.work().await;
    receiver.wait_for(5).await;
    shop.db.run("update rekon.transactions set order_status = 'cancelled' where partner_reference_no = 'INV-0'").await;
    let letters = receiver.wait_for(6).await;
    shop.until("select count(*) from rekon.webhooks where state = 'delivered' and attempts = 1", "6").await;
    work.stop().await;
    let ids: BTreeSet<&str> = letters.iter().map(|letter| letter.id.as_str()).collect();
    assert_eq!(ids.len(), 6, "an id is a message's");
    assert!(letters.iter().all(|letter| letter.is_signed_with(HOOK_SECRET)));
    assert!(!letters.iter().any(|letter| letter.is_signed_with(HOOK_SECRET_NEW)));
    let data = |letter: &receiver::Letter| letter.json()["data"].clone();
    let of_first: Vec<Value> = letters.iter().map(data).filter(|d| d["partner_reference_no"] == "INV-0").collect();
    assert_eq!((&of_first[0]["state"], &of_first[0]["previous_state"]), (&"paid".into(), &"pending".into()));
    assert_eq!((&of_first[1]["state"], &of_first[1]["flags"][0]), (&"held".into(), &"cancelled_after_paid".into()));
    assert!(of_first[0]["sequence"].as_i64() < of_first[1]["sequence"].as_i64(), "{of_first:#?}");
    assert_eq!(of_first[0]["paid_amount"], "1000.00");
    // What was told is what the journal says, and nothing is told twice.
    assert_eq!(receiver.letters().len(), 6);
    let same = "select bool_and(w.body::jsonb #>> '{data,state}' = j.state) from rekon.webhooks w join rekon.journal j using (transaction_id, entry_no)";
    assert_eq!(shop.db.text(same).await, "true");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asked_for_nothing_has_no_row_and_a_filter_holds() {
    let receiver = Receiver::open(Say::Status(200)).await;
    let filter = format!("{SOON}\nevents = [\"transaction.unpaid\", \"transaction.held\"]\naccounts = [\"doku-main\"]");
    let quiet = shop(&[]).await;
    let choosy = shop(&[receiver.section("shop", &filter)]).await;
    for shop in [&quiet, &choosy] {
        let id = shop.expect(payment("INV-1", 1_000), &[]).await;
        let work = shop.work().await;
        shop.until(&Shop::end_of(id), "paid{}").await;
        work.stop().await;
        assert_eq!(shop.db.text("select count(*) from rekon.webhooks").await, "0");
    }
    assert!(receiver.letters().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_a_redirect_and_silence_are_told_again_under_the_same_id() {
    let elsewhere = Receiver::open(Say::Status(200)).await;
    let receiver = Receiver::open(Say::Status(200)).await;
    let location: &'static str = format!("http://{}/", elsewhere.address).leak();
    receiver.script(&[Say::Status(500), Say::With(302, "location", location), Say::Hang]);
    let lines = "ladder = [\"1s\", \"1s\", \"1s\"]\ntimeout = \"500ms\"";
    let shop = shop(&[receiver.section("shop", lines)]).await;
    shop.expect(payment("INV-1", 1_000), &[]).await;
    let work = shop.work().await;
    shop.until(ENDS, "delivered/4").await;
    work.stop().await;
    let letters = receiver.letters();
    assert_eq!(letters.len(), 4);
    assert!(letters.iter().all(|l| l.id == letters[0].id && l.body == letters[0].body), "{letters:#?}");
    assert!(letters.iter().all(|l| l.is_signed_with(HOOK_SECRET)), "each with its own time");
    assert!(elsewhere.letters().is_empty(), "a redirect is followed by nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_between_answer_and_record_tells_again_under_the_same_id() {
    let receiver = Receiver::open(Say::Status(200)).await;
    receiver.script(&[Say::Hang]);
    let shop = shop(&[receiver.section("shop", SOON)]).await;
    shop.expect(payment("INV-1", 1_000), &[]).await;
    let daemon = Daemon::spawn(&shop.config_text, &shop.env());
    receiver.wait_for(1).await;
    // The receiver has the message; nobody has written down that it has.
    daemon.kill_9();
    receiver.let_go();
    assert_eq!(shop.db.text(ENDS).await, "pending/0");
    shop.db.run("update rekon.webhooks set lease_until = now() - interval '1 second'").await;
    let daemon = Daemon::spawn(&shop.config_text, &shop.env());
    shop.until(ENDS, "delivered/1").await;
    assert_eq!(daemon.terminate().await.code, Some(0));
    let letters = receiver.letters();
    assert_eq!(letters.len(), 2);
    assert_eq!((&letters[0].id, &letters[0].body), (&letters[1].id, &letters[1].body));
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_what_is_being_told_come_to_its_end_and_gives_the_rest_back() {
    let receiver = Receiver::open(Say::Hang).await;
    let shop = shop(&[receiver.section("shop", &format!("{SOON}\nconcurrency = 2"))]).await;
    for n in 0..6 {
        shop.expect(payment(&format!("INV-{n}"), 1_000), &[]).await;
    }
    let daemon = Daemon::spawn(&shop.config_text, &shop.env());
    shop.until("select count(*) from rekon.webhooks", "6").await;
    receiver.wait_for(2).await;
    daemon.ask_to_end();
    tokio::time::sleep(Duration::from_millis(300)).await;
    receiver.let_go();
    let ended = { daemon }.end().await;
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    let begun = receiver.letters().len().to_string();
    let recorded = "select count(*) from rekon.webhooks where state = 'delivered'";
    assert_eq!(shop.db.text(recorded).await, begun, "what was sent was written down");
    assert_eq!(shop.db.text("select count(*) from rekon.webhooks where lease_until is not null").await, "0");
    assert!(!ended.said.contains(HOOK_SECRET) && !ended.said.contains("/hooks"), "{}", ended.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_waits_for_a_person_who_sends_it_again() {
    let receiver = Receiver::open(Say::Status(500)).await;
    let shop = shop(&[receiver.section("shop", SOON)]).await;
    shop.expect(payment("INV-1", 1_000), &[]).await;
    let work = shop.work().await;
    shop.until(ENDS, "dead/2").await;
    let listed = said(&rekon(&shop, &["webhooks", "list", "--json"]), 0);
    let row: Value = serde_json::from_str(listed.trim()).expect("one line");
    assert_eq!(
        (&row["state"], &row["last_status"], &row["partner_reference_no"]),
        (&"dead".into(), &500.into(), &"INV-1".into())
    );
    let shown = said(&rekon(&shop, &["webhooks", "show", row["event_id"].as_str().expect("an id")]), 0);
    assert!(shown.contains("HTTP 500") && shown.contains("\"type\":\"transaction.paid\""), "{shown}");
    // The server of tests runs without fsync, which is an error.
    let doctor = said(&rekon(&shop, &["doctor"]), 1);
    assert!(doctor.contains("endpoint shop: 1 dead letters"), "{doctor}");
    receiver.usually(Say::Status(200));
    assert_eq!(receiver.letters().len(), 2);
    let nothing =
        said(&rekon(&shop, &["webhooks", "replay", "--endpoint", "shop", "--since", "2999-01-01T00:00:00Z"]), 0);
    assert!(nothing.starts_with("0 messages"), "{nothing}");
    let replayed = said(&rekon(&shop, &["webhooks", "replay", "--endpoint", "shop"]), 0);
    assert!(replayed.starts_with("1 messages"), "{replayed}");
    shop.until(ENDS, "delivered/3").await;
    // A receiver that has lost it gets it once more.
    let id = row["id"].to_string();
    said(&rekon(&shop, &["webhooks", "replay", &id]), 0);
    shop.until(ENDS, "delivered/4").await;
    work.stop().await;
    let letters = receiver.letters();
    assert!(letters.len() == 4 && letters.iter().all(|l| l.id == letters[0].id), "{letters:#?}");
    assert_eq!(shop.db.text("select replays from rekon.webhooks").await, "2");
    said(&rekon(&shop, &["webhooks", "show", "999999"]), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn gone_ends_the_telling_until_the_endpoint_is_enabled() {
    let receiver = Receiver::open(Say::Status(410)).await;
    let shop = shop(&[receiver.section("shop", &format!("{SOON}\nconcurrency = 1"))]).await;
    shop.expect(payment("INV-1", 1_000), &[]).await;
    let work = shop.work().await;
    shop.until("select disabled_why from rekon.webhook_endpoints", "it answered 410 Gone").await;
    let later = shop.expect(payment("INV-2", 1_000), &[]).await;
    shop.until(&Shop::end_of(later), "paid{}").await;
    shop.until("select count(*) from rekon.webhooks where state = 'pending'", "2").await;
    // The server of tests runs without fsync, which is an error.
    let doctor = said(&rekon(&shop, &["doctor"]), 1);
    assert!(doctor.contains("endpoint shop: disabled since"), "{doctor}");
    assert!(said(&rekon(&shop, &["webhooks", "endpoints"]), 0).contains("disabled since"));
    assert_eq!(receiver.letters().len(), 1, "nothing is sent to who is gone");
    receiver.usually(Say::Status(200));
    said(&rekon(&shop, &["webhooks", "enable", "shop"]), 0);
    shop.until("select count(*) from rekon.webhooks where state = 'delivered'", "2").await;
    work.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_wants_a_pause_has_it_from_every_message() {
    let receiver = Receiver::open(Say::Status(200)).await;
    receiver.script(&[Say::With(429, "retry-after", "3600")]);
    let shop = shop(&[receiver.section("shop", &format!("{SOON}\nconcurrency = 1"))]).await;
    shop.expect(payment("INV-1", 1_000), &[]).await;
    let work = shop.work().await;
    shop.until("select paused_until > now() + interval '59 minutes' from rekon.webhook_endpoints", "true").await;
    let later = shop.expect(payment("INV-2", 1_000), &[]).await;
    shop.until(&Shop::end_of(later), "paid{}").await;
    shop.until("select count(*) from rekon.webhooks where state = 'pending'", "2").await;
    let waits = "select bool_or(next_at > now() + interval '59 minutes') from rekon.webhooks where attempts = 1";
    assert_eq!(shop.db.text(waits).await, "true");
    assert_eq!(receiver.letters().len(), 1);
    shop.db.run("update rekon.webhook_endpoints set paused_until = now()").await;
    shop.until("select count(*) from rekon.webhooks where state = 'delivered'", "1").await;
    work.stop().await;
}

/// More are leased at once than are under way: once the receiver has asked, what is leased is not sent, it goes back.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_leased_before_a_pause_or_the_end_is_not_sent_after_it() {
    for say in [Say::With(503, "retry-after", "3600"), Say::Status(410)] {
        let receiver = Receiver::open(say).await;
        let shop = shop(&[receiver.section("shop", &format!("{SOON}\nconcurrency = 16\nper_second = 8"))]).await;
        shop.db.run("insert into rekon.webhook_endpoints (endpoint, paused_until) values ('shop', 'infinity')").await;
        for n in 0..16 {
            shop.expect(payment(&format!("INV-{n}"), 1_000), &[]).await;
        }
        let work = shop.work().await;
        shop.until("select count(*) from rekon.webhooks", "16").await;
        shop.db.run("delete from rekon.webhook_endpoints").await;
        receiver.wait_for(1).await;
        shop.until("select count(*) from rekon.webhook_endpoints", "1").await;
        shop.until("select count(*) from rekon.webhooks where lease_until is not null", "0").await;
        shop.until("select max(lease_epoch) from rekon.webhooks", "1").await;
        assert_eq!(shop.db.text("select count(*) from rekon.webhooks where state = 'pending'").await, "16");
        // One, and those that were on their way before its answer had come.
        assert!(receiver.letters().len() < 16, "{say:?}: {}", receiver.letters().len());
        work.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_secret_is_changed_both_sign() {
    let receiver = Receiver::open(Say::Status(200)).await;
    let section = receiver.section("shop", SOON);
    let section = section.replace("\"HOOK_SECRET\" }", "\"HOOK_SECRET_NEW\" }\nsecret_old = { env = \"HOOK_SECRET\" }");
    let shop = shop(&[section]).await;
    shop.expect(payment("INV-1", 1_000), &[]).await;
    let work = shop.work().await;
    let letters = receiver.wait_for(1).await;
    work.stop().await;
    assert!(letters[0].is_signed_with(HOOK_SECRET) && letters[0].is_signed_with(HOOK_SECRET_NEW));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_of_a_change_that_was_rolled_back() {
    let receiver = Receiver::open(Say::Status(200)).await;
    let shop = shop(&[receiver.section("shop", SOON)]).await;
    // The message is written before the commit; what fails after it takes it along.
    shop.db
        .run(
            "create function public.fails() returns trigger language plpgsql as $$ begin raise exception 'not yet'; end $$;
             create constraint trigger fails after insert on rekon.webhooks deferrable initially deferred for each row execute function public.fails()",
        )
        .await;
    let id = shop.expect(payment("INV-1", 1_000), &[]).await;
    let work = shop.work().await;
    shop.until("select checks from rekon.transactions", "0").await;
    shop.until("select next_check_at > now() + interval '1 minute' from rekon.transactions", "true").await;
    assert_eq!(shop.db.text(&Shop::end_of(id)).await, "pending{}");
    assert!(receiver.letters().is_empty());
    shop.db.run("drop trigger fails on rekon.webhooks; update rekon.transactions set next_check_at = now()").await;
    shop.until(&Shop::end_of(id), "paid{}").await;
    shop.until(ENDS, "delivered/1").await;
    work.stop().await;
    assert_eq!(receiver.letters().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_holds_up_neither_another_nor_the_payments() {
    let (slow, quick) = (Receiver::open(Say::Hang).await, Receiver::open(Say::Status(200)).await);
    let lines = format!("{SOON}\nconcurrency = 2");
    let shop = shop(&[slow.section("slow", &lines), quick.section("quick", &lines)]).await;
    for n in 0..20 {
        shop.expect(payment(&format!("INV-{n}"), 1_000), &[]).await;
    }
    let work = shop.work().await;
    shop.until("select count(*) from rekon.transactions where state = 'paid'", "20").await;
    shop.until("select count(*) from rekon.webhooks where endpoint = 'quick' and state = 'delivered'", "20").await;
    assert_eq!(
        shop.db.text("select count(*) from rekon.webhooks where endpoint = 'slow' and state <> 'pending'").await,
        "0"
    );
    assert!(slow.letters().len() <= 3, "no more at once than it was given: {}", slow.letters().len());
    slow.let_go();
    shop.until("select count(*) from rekon.webhooks where state = 'delivered'", "40").await;
    work.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reconciliation_without_a_daemon_tells_before_it_ends() {
    let receiver = Receiver::open(Say::Status(200)).await;
    // The second may take as long as the whole round: the first attempts begin all the same.
    let endpoints = [receiver.section("shop", SOON), receiver.section("patient", "timeout = \"1m\"")];
    let shop = shop(&endpoints).await;
    // The workers send too: what is left for the end is what they were kept from.
    shop.db.run("insert into rekon.webhook_endpoints (endpoint, paused_until) select e, 'infinity' from unnest(array['shop', 'patient']) e").await;
    for n in 0..3 {
        shop.expect(payment(&format!("INV-{n}"), 1_000), &[]).await;
    }
    let ended = Daemon::command("reconcile", &shop.config_text, &shop.env()).end().await;
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert_eq!(receiver.letters().len(), 0);
    shop.db.run("delete from rekon.webhook_endpoints").await;
    let config = shop.config();
    let engine = Engine::start(shop.db.another_store().await, &config, CallClass::Adhoc, &[], Heartbeats::new());
    let engine = engine.await.expect("it starts");
    webhooks::last_round(&engine.ctx, Duration::from_mins(1)).await;
    engine.finish().await.expect("it ends");
    assert_eq!(shop.db.text(ENDS).await, ["delivered/1"; 6].join(" "));
    assert_eq!(receiver.letters().len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_tries_the_line_and_leaves_nothing_behind() {
    let receiver = Receiver::open(Say::Status(200)).await;
    let shop = shop(&[receiver.section("shop", SOON)]).await;
    let took = said(&rekon(&shop, &["webhooks", "test", "shop", "--json"]), 0);
    assert!(took.contains("\"delivered\": true"), "{took}");
    let letters = receiver.wait_for(1).await;
    assert!(letters[0].is_signed_with(HOOK_SECRET));
    assert_eq!(letters[0].json()["type"], "rekon.test");
    receiver.usually(Say::Status(401));
    said(&rekon(&shop, &["webhooks", "test", "shop"]), 1);
    said(&rekon(&shop, &["webhooks", "test", "shp"]), 2);
    assert_eq!(shop.db.text("select count(*) from rekon.webhooks").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_to_its_end_is_forgotten_in_time_and_what_nobody_can_send_is_given_up() {
    let receiver = Receiver::open(Say::Status(200)).await;
    let shop = shop(&[receiver.section("shop", SOON)]).await;
    for n in 0..4 {
        shop.expect(payment(&format!("INV-{n}"), 1_000), &[]).await;
    }
    let work = shop.work().await;
    shop.until("select count(*) from rekon.webhooks where state = 'delivered'", "4").await;
    work.stop().await;
    let ids = "(select row_number() over (order by id) as n, id from rekon.webhooks) as x where w.id = x.id and x.n";
    let day = Duration::from_hours(24);
    for change in [
        format!("set delivered_at = now() - interval '8 days' from {ids} = 1"),
        format!(
            "set state = 'dead', replays = 1, delivered_at = null, dead_at = now() - interval '91 days' from {ids} = 2"
        ),
        format!(
            "set state = 'pending', replays = 1, delivered_at = null, next_at = now() - interval '91 days', last_attempt_at = now() - interval '91 days' from {ids} = 3"
        ),
    ] {
        shop.db.run(&format!("update rekon.webhooks w {change}")).await;
    }
    shop.db.run("alter table rekon.webhooks disable trigger webhooks_keep_their_word; update rekon.webhooks set created_at = created_at - interval '92 days'").await;
    let store = &shop.db.store;
    assert_eq!(store.prune_webhooks(day * 7, day * 90, 100).await.expect("it prunes"), 2);
    assert_eq!(store.give_up_webhooks(day * 90, 100).await.expect("it gives up"), 1);
    let left = "select string_agg(state || coalesce('/' || last_error, ''), ' ' order by id) from rekon.webhooks";
    assert_eq!(shop.db.text(left).await, "dead/never_sent delivered");
    // A replay has it sent however old it is: the next pruning leaves it alone.
    let dead = Filter { states: vec!["dead".to_owned()], ..Filter::default() };
    assert_eq!(store.replay_webhooks(&dead).await.expect("it replays").replayed, 1);
    assert_eq!(store.give_up_webhooks(day * 90, 100).await.expect("it gives up"), 0);
    assert_eq!(store.prune_webhooks(day * 7, day * 90, 100).await.expect("it prunes"), 0);
    assert_eq!(shop.db.text(left).await, "pending/never_sent delivered");
}

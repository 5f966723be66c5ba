//! The boards and the alerts against the running program: Postgres, the simulator, `rekon serve` and a real Prometheus. Every
//! alert is fired by a fault and ends with it; every panel shows something. Nothing is written into Prometheus by hand.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rekon::sim::{Answer, Fault, GatePoint, GateSpec, RefundBehaviour, ResetAt, Service, SimPayment};
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    files::{alerts, panels, targets},
    prometheus::Prometheus,
    scaled,
};
use crate::{
    cli::people::{BUDI, Desk, SARI, WATI},
    engine::payment,
    support::{process::Daemon, proxy::Proxy, shop::Shop},
    webhooks::receiver::{Receiver, Say},
};

/// Longest wait for an alert or its end: gauges are read every five seconds, windows are ten.
const PATIENCE: Duration = Duration::from_mins(2);
const DAY: i64 = 86_400;

const ACCOUNT_LINES: &str = "rate = { per_second = 1000, burst = 100, concurrency = 32 }\ntimeout = \"2s\"\n\
    [accounts.doku-main.ladder]\ndefault = [\"1s\", \"1s\", \"2s\"]\n\
    [accounts.doku-main.profile]\nrefund_repeat = \"safe\"\n\
    [accounts.doku-main.profile.refund]\nmin_amount = \"100.00\"\nmax_age = \"1h\"\n";
const SECTIONS: &str = "[policy]\nconfirm_after = \"1s\"\nwatch = \"1h\"\n[refunds]\nmode = \"auto\"\n\
    [refunds.breaker]\ncount_per_hour = 4\n[breaker]\ncalls_min = 10\nprobe_max = \"1s\"\n[budget]\nretry_after_default = \"1s\"\n\
    [database]\nmax_connections = 8\nacquire_timeout = \"1s\"\nlock_timeout = \"20s\"\n\
    [jobs.sweep]\nevery = \"50ms\"\nlease = \"30s\"\nchunk_span = \"1s\"\n[jobs.sentinel]\nevery = \"1s\"\n\
    [jobs.daily]\ncron = \"* * * * *\"\n[jobs.seal]\ncron = \"* * * * *\"\n";

/// What happened to one alert.
#[derive(Default)]
struct Told {
    cause: &'static str,
    words: String,
    fired_after: Duration,
    ended_after: Option<Duration>,
}

struct Story {
    desk: Desk,
    door: Proxy,
    daemon: Option<Daemon>,
    prometheus: Prometheus,
    customer: tempfile::NamedTempFile,
    endpoint: Receiver,
    told: BTreeMap<&'static str, Told>,
    began_at: i64,
}

/// A customer token that ends in so many days.
fn token(now: i64, days: i64) -> String {
    let claims = URL_SAFE_NO_PAD.encode(format!("{{\"exp\":{}}}", now + days * DAY));
    format!("e30.{claims}.c2ln")
}

impl Story {
    async fn open() -> Self {
        let prometheus = Prometheus::start(&scaled::rules()).await;
        let customer = tempfile::NamedTempFile::new().expect("a file");
        let lines = format!("customer_token = {{ file = \"{}\" }}\n{ACCOUNT_LINES}", customer.path().display());
        let endpoint = Receiver::open(Say::Status(200)).await;
        let sections = format!("{SECTIONS}{}", endpoint.section("shop", "ladder = [\"1s\"]"));
        let shop = Shop::open(&lines, &sections).await;
        let began_at = shop.db.value("select extract(epoch from now())::bigint").await;
        fs::write(customer.path(), token(began_at, 60)).expect("it is written");
        let door = Proxy::open(&shop.db.url).await;
        let desk = Desk::of(shop);
        Self { desk, door, daemon: None, prometheus, customer, endpoint, told: BTreeMap::new(), began_at }
    }

    async fn now(&self) -> i64 {
        self.desk.shop.db.value("select extract(epoch from now())::bigint").await
    }

    fn customer_token(&self, days: i64) {
        fs::write(self.customer.path(), token(self.began_at, days)).expect("it is written");
    }

    async fn serve(&mut self) {
        let mut env = self.desk.shop.env();
        env.insert("DATABASE_URL".to_owned(), self.door.url.clone());
        let mut daemon = Daemon::spawn(&self.desk.shop.config_text, &env);
        self.prometheus.scrape(daemon.address().await);
        self.daemon = Some(daemon);
    }

    /// Waits until a process has been scraped a few times: a counter's first event is seen where its zero was scraped before.
    async fn is_seen(&self) {
        let seen = "count_over_time(rekon_database_up[4s]) > 2";
        let mut now = self.now().await;
        while self.prometheus.range(seen, now - 1, now).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(500)).await;
            now = self.now().await;
        }
    }

    /// Waits until all of these fire, under this cause.
    async fn fires(&mut self, cause: &'static str, names: &[&'static str]) {
        let begun = Instant::now();
        let mut missing: BTreeSet<&'static str> = names.iter().copied().collect();
        while !missing.is_empty() {
            let words = self.prometheus.words().await;
            for (name, words) in
                missing.iter().filter_map(|name| Some((*name, words.get(*name)?.clone()))).collect::<Vec<_>>()
            {
                missing.remove(name);
                let told = Told { cause, words, fired_after: begun.elapsed(), ended_after: None };
                let before = self.told.insert(name, told);
                assert!(before.is_none(), "{name} was fired twice");
            }
            assert!(begun.elapsed() < PATIENCE, "{cause}: {missing:?} never fired\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until none of these fires any more.
    async fn ends(&mut self, names: &[&'static str]) {
        let begun = Instant::now();
        let mut waiting: BTreeSet<&'static str> = names.iter().copied().collect();
        while !waiting.is_empty() {
            let firing = self.prometheus.firing().await;
            for name in waiting.clone().into_iter().filter(|name| !firing.contains(*name)) {
                waiting.remove(name);
                self.told.get_mut(name).expect("it fired").ended_after = Some(begun.elapsed());
            }
            assert!(begun.elapsed() < PATIENCE, "{waiting:?} never end\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The end of what rekon said.
    fn said(&self) -> String {
        let said = self.daemon.as_ref().map(Daemon::said).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    async fn expect(&self, payment: SimPayment) {
        self.desk.shop.expect(payment, &[]).await;
    }

    fn weather(&self, service: Service, fault: Option<Fault>) {
        self.desk.shop.sim.world().set_weather(service, fault);
    }

    fn by_two(&self, words: &[&str]) {
        for who in [SARI, "joko"] {
            self.desk.run(who, words).ends(0);
        }
    }

    fn rearm(&self) {
        self.by_two(&["refunds", "rearm", "doku-main", "--reason", "understood"]);
    }
}

/// An order of Rp 100,000 for which so many sen came.
fn paid(reference: &str, sen: i64) -> SimPayment {
    SimPayment { taken_sen: Some(sen), ..payment(reference, 100_000).answering([Answer::paid_amount(sen)]) }
}

async fn refund_is(story: &Story, reference: &str, state: &str) {
    let sql = format!(
        "select r.state from rekon.refund_saga r join rekon.transactions t on t.id = r.transaction_id where t.partner_reference_no = '{reference}'"
    );
    story.desk.shop.until(&sql, state).await;
}

/// Trade as usual: payments that are found paid, and forty that stay open and are asked again and again.
async fn trade(story: &Story) {
    for n in 0..40 {
        story.expect(payment(&format!("OPEN-{n}"), 100_000).answering([Answer::status("03")])).await;
    }
    for n in 0..5 {
        story.expect(payment(&format!("EXACT-{n}"), 100_000)).await;
    }
    // What stays open to the end, so that the boards have something to show then.
    story.expect(paid("SHORT", 9_000_000)).await;
    story.expect(paid("SMALL-2", 10_005_000)).await;
}

/// One payment each of what a provider may say, and what becomes of it.
async fn oddities(story: &mut Story) {
    let shop = &story.desk.shop;
    shop.db
        .run(
            "create function rekon.out_of_order() returns trigger language plpgsql as
             $$ begin if new.amount = 123456 then raise exception 'the disk is full'; end if; return new; end $$;
             create trigger out_of_order before insert on rekon.facts for each row execute function rekon.out_of_order()",
        )
        .await;
    story.expect(paid("ODD", 10_000_000).answering([Answer { integer_codes: true, ..Answer::paid() }])).await;
    let code =
        Fault::Http { http_status: 200, case_code: "77".to_owned(), response_code: None, retry_after_secs: None };
    story.expect(payment("CODE", 100_000).answering([Answer::fault(code), Answer::paid()])).await;
    story.expect(payment("POISON", 100_000).answering([Answer::paid_amount(12_345_600)])).await;
    let huge = payment("HELD", 60_000_000).answering([Answer::paid_amount(5_900_000_000)]);
    story.expect(SimPayment { taken_sen: Some(5_900_000_000), ..huge }).await;
    let lost = || RefundBehaviour::AfterEffect { fault: Fault::Reset { at: ResetAt::BeforeHeaders } };
    story.expect(paid("LOST", 15_000_000).refunding([lost(), lost(), lost(), lost(), RefundBehaviour::Ok])).await;
    story.expect(paid("LARGE", 310_000_000)).await;
    story.expect(paid("SMALL", 10_005_000)).await;
    refund_is(story, "SMALL", "proposed").await;
    story.desk.run(SARI, &["refunds", "approve", "SMALL"]).ends(0);
    let address = story.daemon.as_mut().expect("it runs").address().await;
    for n in 0..40 {
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
        let query = format!(
            "TRANSACTIONID=OPEN-{n}&AMOUNT=100000.00&TXNSTATUS=S&TXNDATE=20261120100000&INVOICE=1&MERCHANTPAN=9&ISSUERID=9&WORDS={:040}",
            0
        );
        let request = format!(
            "POST /notify/doku/doku-main?{query} HTTP/1.1\r\nhost: rekon\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
        );
        stream.write_all(request.as_bytes()).await.expect("it leaves");
        drop(stream.read_to_end(&mut Vec::new()).await);
    }
    let names = [
        "RekonDrift",
        "RekonUnknownCode",
        "RekonPoisonedRows",
        "RekonValueAtRisk",
        "RekonRefundUnknown",
        "RekonRefundWindowClosing",
        "RekonTransfersWaiting",
        "RekonForgedNotifications",
    ];
    story.fires("one payment of each kind, forged notifications", &names).await;
    story.desk.run(SARI, &["refunds", "approve", "LARGE"]).ends(0);
    for who in [BUDI, SARI] {
        story
            .desk
            .run(who, &["exceptions", "resolve", "HELD", "--with", "accept_as_paid", "--reason", "agreed"])
            .ends(0);
    }
    refund_is(story, "SMALL", "sending").await;
    let id = story
        .desk
        .shop
        .db
        .text("select id from rekon.refund_saga where channel = 'manual' and state = 'sending'")
        .await;
    story.desk.run("joko", &["refunds", "transferred", &id, "--bank-reference", "FT26324XYZ"]).ends(0);
    story.desk.shop.db.run("drop trigger out_of_order on rekon.facts").await;
    story.ends(&names).await;
}

/// Held back by an answer, by a person's switch, by his pause and by a limit; refunds go on with two people, the pause ends with one.
async fn held_back(story: &mut Story) {
    story.expect(paid("STRANGE", 15_000_000).refunding([RefundBehaviour::WrongAmount { amount_sen: 1 }])).await;
    story.fires("a refund's answer names another amount", &["RekonRefundsStopped"]).await;
    for who in [BUDI, SARI] {
        let settle =
            ["exceptions", "resolve", "STRANGE", "--with", "refund_done", "--reason", "seen in the back office"];
        story.desk.run(who, &settle).ends(0);
    }
    story.rearm();
    story.ends(&["RekonRefundsStopped"]).await;
    story.desk.run(WATI, &["switch", "set", "doku-main", "propose", "--reason", "incident 42"]).ends(0);
    story.fires("the kill switch is turned", &["RekonSwitchLowered"]).await;
    story.by_two(&["switch", "set", "doku-main", "auto", "--reason", "over"]);
    story.ends(&["RekonSwitchLowered"]).await;
    story.desk.run(WATI, &["providers", "pause", "doku-main", "--reason", "maintenance until eleven"]).ends(0);
    story.fires("a person pauses the account", &["RekonAccountPaused"]).await;
    story.desk.run(WATI, &["providers", "resume", "doku-main", "--reason", "over"]).ends(0);
    story.ends(&["RekonAccountPaused"]).await;
    for n in 0..5 {
        story.expect(paid(&format!("RUSH-{n}"), 15_000_000)).await;
    }
    story.fires("more refunds than a limit allows", &["RekonRefundBreakerOpen"]).await;
    story.rearm();
    story.ends(&["RekonRefundBreakerOpen"]).await;
}

/// The merchant's endpoint takes nothing, and then what it missed.
async fn untold(story: &mut Story) {
    story.endpoint.usually(Say::Status(500));
    story.expect(paid("UNTOLD-0", 10_000_000)).await;
    story.fires("an endpoint answers every message with 500", &["RekonWebhooksUndelivered"]).await;
    story.endpoint.usually(Say::Status(200));
    story.desk.run("", &["webhooks", "replay", "--endpoint", "shop"]).ends(0);
    story.ends(&["RekonWebhooksUndelivered"]).await;
}

/// The provider fails in each of its ways.
async fn bad_weather(story: &mut Story) {
    story.weather(Service::Query, Some(Fault::http(500, "00")));
    let ill = ["RekonProviderErrors", "RekonProviderDown", "RekonPaymentsOverdue"];
    story.fires("every query is answered with 500", &ill).await;
    story.weather(Service::Query, None);
    story.ends(&ill).await;
    story.weather(Service::Query, Some(Fault::http(429, "00")));
    story.fires("every query is answered with 429", &["RekonThrottled"]).await;
    story.weather(Service::Query, Some(Fault::http(401, "00")));
    story.fires("every query is answered with 401", &["RekonUnauthorised"]).await;
    story.weather(Service::Query, None);
    story.ends(&["RekonThrottled", "RekonUnauthorised"]).await;
}

/// The contract grants ten calls a second, and the open payments alone want more.
async fn used_up(story: &mut Story) {
    let usual = story.desk.shop.config_text.clone();
    let lowered = usual.replace("per_second = 1000, burst = 100", "per_second = 10, burst = 10");
    let reload = |story: &Story, config: &str| story.daemon.as_ref().expect("it runs").reload(config);
    reload(story, &lowered);
    // Calls of the former rate leave the window first: what fires is the lowered budget, used up for good.
    tokio::time::sleep(Duration::from_secs(15)).await;
    story.fires("the rate is lowered to ten calls a second", &["RekonBudgetSaturated"]).await;
    reload(story, &usual);
    story.ends(&["RekonBudgetSaturated"]).await;
}

/// Somebody builds an index without `concurrently`: nothing can be leased or settled, and nothing be proved.
async fn locked(story: &mut Story) {
    // An answer is on its way when the lock comes, so that its settling waits.
    let spec = GateSpec {
        point: GatePoint::AfterEffect,
        service: Service::Query,
        partner_reference_no: Some("OPEN-0".into()),
    };
    let on_its_way = story.desk.shop.sim.world().arm_gate(spec);
    on_its_way.hit().await;
    let mut session = story.desk.shop.db.connect().await;
    let mut lock = session.begin().await.expect("it begins");
    lock.execute("lock table rekon.transactions in share mode").await.expect("it is locked");
    lock.execute("select from rekon.sentinel for update").await.expect("it is locked");
    on_its_way.release();
    story.fires("a long lock on the table", &["RekonLoopStuck", "RekonSentinelSilent"]).await;
    lock.rollback().await.expect("it lets go");
    story.fires("what waited for the lock is settled", &["RekonSlowSettle"]).await;
    story.ends(&["RekonLoopStuck", "RekonSentinelSilent", "RekonSlowSettle"]).await;
}

/// Somebody writes past rekon: more went back than came.
async fn damaged(story: &mut Story) {
    let set = |amount: &str| {
        format!(
            "set session_replication_role = replica; update rekon.transactions set refunded_outside = {amount}
             where partner_reference_no = 'EXACT-0'; set session_replication_role = default"
        )
    };
    story.desk.shop.db.run(&set("160000")).await;
    story.fires("a row is changed past rekon", &["RekonInvariantViolated"]).await;
    story.desk.shop.db.run(&set("0")).await;
    story.ends(&["RekonInvariantViolated"]).await;
    let stopped = "select refunds_stopped is not null from rekon.account_controls";
    assert_eq!(story.desk.shop.db.text(stopped).await, "true", "mended, and the refunds still stand");
    story.rearm();
}

async fn without_its_database(story: &mut Story) {
    story.door.shut();
    story.fires("the database is away", &["RekonDatabaseDown", "RekonWorkerRestarts"]).await;
    story.door.reopen();
    story.ends(&["RekonDatabaseDown", "RekonWorkerRestarts"]).await;
}

/// The process dies and comes back with a token that ends in ten days.
async fn killed(story: &mut Story) {
    story.daemon.take().expect("it runs").kill_9();
    story.fires("kill -9", &["RekonDown"]).await;
    story.customer_token(10);
    story.serve().await;
    story.fires("a customer token with ten days", &["RekonTokenExpiring"]).await;
    story.daemon.take().expect("it runs").kill_9();
    story.customer_token(60);
    story.serve().await;
    story.ends(&["RekonDown", "RekonTokenExpiring"]).await;
    story.is_seen().await;
}

/// The calendar's jobs have run; then the last run is three days ago.
async fn missed_days(story: &mut Story) {
    let done = "select count(distinct job) from rekon.runs where state = 'done' and job in ('daily', 'seal')";
    for _ in 0..4 {
        if story.desk.shop.db.text(done).await == "2" {
            break;
        }
        tokio::time::sleep(Duration::from_secs(20)).await;
    }
    assert_eq!(story.desk.shop.db.text(done).await, "2", "{}", story.said());
    let age = "update rekon.runs set finished_at = finished_at - interval '3 days' where job = 'daily'";
    story.desk.shop.db.run(age).await;
    story.fires("no daily run for three days", &["RekonDailyMissing"]).await;
    // The next slot comes within a minute.
    story.ends(&["RekonDailyMissing"]).await;
}

/// Every panel over the whole story; what it showed is kept for whoever draws it.
async fn every_panel_shows_something(story: &Story) {
    let now = story.now().await;
    let mut shown = Vec::new();
    let mut empty = Vec::new();
    for panel in panels().iter().filter(|panel| panel.json["type"] != "row") {
        for (expr, legend) in targets(&panel.json) {
            let asked = expr.replace("$account", ".*").replace("$__rate_interval", scaled::RATE_INTERVAL);
            let series = story.prometheus.range(&asked, story.began_at, now).await;
            let is_number = |point: &Value| point[1].as_str().is_some_and(|text| text != "NaN");
            let has_points =
                |series: &Value| series["values"].as_array().is_some_and(|points| points.iter().any(is_number));
            if !series.iter().any(has_points) {
                empty.push(format!("{}: {asked}", panel.at));
            }
            shown.push(json!({ "panel": panel.at, "expr": expr, "legend": legend, "series": series }));
        }
    }
    fs::write(concat!(env!("CARGO_TARGET_TMPDIR"), "/panels.json"), json!(shown).to_string()).expect("it is kept");
    assert!(empty.is_empty(), "{} of {} queries show nothing:\n{}", empty.len(), shown.len(), empty.join("\n"));
    println!("{} queries show something", shown.len());
}

fn table(told: &BTreeMap<&'static str, Told>) -> String {
    let mut text = String::from("| alert | fired by | after | ended after | it said |\n|---|---|---|---|---|\n");
    for (name, Told { cause, words, fired_after, ended_after }) in told {
        let ended = ended_after.map_or("never".to_owned(), |after| format!("{:.1} s", after.as_secs_f64()));
        let after = fired_after.as_secs_f64();
        writeln!(text, "| {name} | {cause} | {after:.1} s | {ended} | {words} |").expect("a text grows");
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn every_alert_is_fired_by_a_fault_and_ends_with_it_and_every_panel_shows_something() {
    let begun = Instant::now();
    let mut story = Story::open().await;
    story.serve().await;
    story.is_seen().await;
    trade(&story).await;
    story.desk.shop.until("select count(*) >= 5 from rekon.transactions where state = 'paid'", "true").await;
    oddities(&mut story).await;
    held_back(&mut story).await;
    untold(&mut story).await;
    bad_weather(&mut story).await;
    used_up(&mut story).await;
    locked(&mut story).await;
    damaged(&mut story).await;
    without_its_database(&mut story).await;
    missed_days(&mut story).await;
    killed(&mut story).await;
    let told: BTreeSet<String> = story.told.keys().map(|name| (*name).to_owned()).collect();
    let known: BTreeSet<String> = alerts().into_iter().map(|alert| alert.name).collect();
    println!("{}", table(&story.told));
    every_panel_shows_something(&story).await;
    assert_eq!(told, known);
    assert!(story.told.values().all(|told| told.ended_after.is_some()));
    println!("{} alerts in {:.0} s", told.len(), begun.elapsed().as_secs_f64());
}

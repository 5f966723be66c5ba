//! rekon through a real pgbouncer in transaction mode, `direct_url` past it: a day with refunds while the pooler dies and comes back, the
//! command bus, wake-ups, migrations, and what `doctor` says of a pooler that stands where none may or cannot do what it must.

use std::{collections::BTreeMap, time::Duration};

use rekon::sim::{Answer, GatePoint, GateSpec, Service, SimPayment};

use crate::support::{pooler::Pooler, process::Daemon, shop::Shop};

const ACCOUNT: &str = "rate = { per_second = 1000, burst = 100, concurrency = 32 }\ntimeout = \"2s\"\n\
    [accounts.doku-main.ladder]\ndefault = [\"1s\"]\n[accounts.doku-main.profile]\nrefund_repeat = \"safe\"\n";
const PAST_IT: &str =
    "[database]\nmax_connections = 8\nacquire_timeout = \"1s\"\ndirect_url = { env = \"DIRECT_URL\" }\n";
const POLICY: &str = "[policy]\nconfirm_after = \"1s\"\nwatch = \"1h\"\n[refunds]\nmode = \"auto\"\n";
const BRISK: &str = "[jobs.sweep]\nevery = \"50ms\"\nlease = \"5s\"\nchunk_span = \"1s\"\n";

fn env(shop: &Shop, pooler: &Pooler) -> BTreeMap<String, String> {
    let mut env = shop.env();
    env.insert("DIRECT_URL".to_owned(), shop.db.url.clone());
    env.insert("DATABASE_URL".to_owned(), pooler.url.clone());
    env
}

fn exact(reference: &str) -> SimPayment {
    SimPayment { reference_no: format!("R-{reference}"), ..SimPayment::exact(reference, 5_000_000) }
}

fn overpaid(reference: &str) -> SimPayment {
    exact(reference).answering(vec![Answer::paid_amount(5_700_000)])
}

async fn ends(arguments: &[&str], shop: &Shop, env: &BTreeMap<String, String>, code: i32) {
    let ended = Daemon::run(arguments, &shop.config_text, env).end().await;
    assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_through_pgbouncer_that_dies_in_the_middle_loses_nothing() {
    let shop = Shop::open(ACCOUNT, &format!("{PAST_IT}{POLICY}{BRISK}")).await;
    let mut pooler = Pooler::open(&shop.db.url, "").await;
    let env = env(&shop, &pooler);
    shop.db.run("drop schema rekon cascade; drop schema apalis cascade").await;
    ends(&["migrate"], &shop, &env, 0).await;
    ends(&["migrate", "--check"], &shop, &env, 0).await;

    // A command that only the bus can bring, and only because the calendar put it there.
    shop.db
        .run(
            "insert into rekon.runs (job, slot, params, state, heartbeat_at) values ('seal',
               to_char((now() - interval '5 minutes') at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS\"+00:00\"'),
               jsonb_build_object('day', (now() at time zone 'Asia/Jakarta')::date::text), 'queued', now() - interval '1 hour')",
        )
        .await;
    let mut daemon = Daemon::spawn(&shop.config_text, &env);
    daemon.wait_for_status("/readyz", 200).await;
    let gate = |point, service, reference: &str| {
        let partner_reference_no = Some(reference.to_owned());
        shop.sim.world().arm_gate(GateSpec { point, service, partner_reference_no })
    };
    let going_back = gate(GatePoint::AfterEffect, Service::Refund, "BACK");
    let asked = gate(GatePoint::AfterEffect, Service::Query, "ASKED");
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(shop.expect(exact(&format!("BEFORE{n}")), &[]).await);
    }
    shop.expect(overpaid("BACK"), &[]).await;
    going_back.hit().await;
    ids.push(shop.expect(exact("ASKED"), &[]).await);
    asked.hit().await;
    pooler.kill();
    going_back.release();
    asked.release();
    for n in 0..20 {
        ids.push(shop.expect(exact(&format!("MEANWHILE{n}")), &[]).await);
    }
    daemon.wait_for_status("/readyz", 503).await;
    assert_eq!(daemon.get("/healthz").await.0, 200, "a pooler that is away is no reason to be restarted");
    pooler.start_again().await;
    for n in 0..3 {
        shop.expect(overpaid(&format!("LATER{n}")), &[]).await;
    }
    for id in ids {
        shop.until(&Shop::end_of(id), "paid{}").await;
    }
    let refunds = "select string_agg(distinct state, ',') || ' ' || count(*) from rekon.refunds";
    shop.until(refunds, "confirmed 4").await;
    for _ in 0..90 {
        if shop.db.text("select state from rekon.runs where job = 'seal' order by id limit 1").await == "done" {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    shop.until("select state from rekon.runs where job = 'seal' order by id limit 1", "done").await;
    let ended = daemon.terminate().await;
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(!ended.said.contains("prepared statement"), "{}", ended.said);

    let today = shop.db.text("select (now() at time zone 'Asia/Jakarta')::date").await;
    ends(&["reconcile", "--date", &today], &shop, &env, 0).await;
    ends(&["verify"], &shop, &env, 0).await;
    assert_eq!(shop.sim.world().book().refunded_more_than_once().len(), 0);
    let clearing = "select (sum(debit - credit) * 100)::bigint from rekon.postings where account = 'provider_clearing'";
    let book = shop.sim.world().book();
    assert_eq!(shop.db.value::<i64>(clearing).await, book.taken_sen - book.returned_sen);
}

/// Nothing but a wake-up makes it look within the hour.
#[tokio::test(flavor = "multi_thread")]
async fn a_wake_up_is_heard_past_the_pooler() {
    let shop = Shop::open(ACCOUNT, &format!("{PAST_IT}{POLICY}[jobs.sweep]\nevery = \"1h\"\n")).await;
    let pooler = Pooler::open(&shop.db.url, "").await;
    let daemon = Daemon::spawn(&shop.config_text, &env(&shop, &pooler));
    let listening =
        "select count(*) from pg_stat_activity where datname = current_database() and query ilike 'listen%'";
    shop.until(listening, "2").await;
    // Its first look is over before the row is there.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let id = shop.expect(exact("INV"), &[]).await;
    shop.db.run("select pg_notify('rekon_wake', 'doku-main')").await;
    shop.until(&Shop::end_of(id), "paid{}").await;
    assert_eq!(daemon.terminate().await.code, Some(0));
}

/// What `rekon doctor` finds, by id, and its exit code.
fn doctor(shop: &Shop, config: &str, url: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("jobs.toml");
    std::fs::write(&path, config).expect("it is written");
    let mut env = shop.env();
    env.insert("DIRECT_URL".to_owned(), shop.db.url.clone());
    env.insert("DATABASE_URL".to_owned(), url.to_owned());
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_rekon"))
        .args(["doctor", "--config"])
        .arg(&path)
        .envs(env)
        .output()
        .expect("the program runs");
    (run.status.code(), String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_tells_a_pooler_from_a_server() {
    let shop = Shop::open(ACCOUNT, "").await;
    let (pooled, straight) = ("database.pooler_without_direct_url", &shop.config_text);
    let pooler = Pooler::open(&shop.db.url, "").await;
    let past_it = format!("{straight}{PAST_IT}");
    assert!(!doctor(&shop, straight, &shop.db.url).1.contains(pooled), "a server is no pooler");
    let (code, said) = doctor(&shop, straight, &pooler.url);
    assert!(code == Some(1) && said.contains(pooled), "{said}");
    let (_, said) = doctor(&shop, &past_it, &pooler.url);
    assert!(!said.contains(pooled) && said.contains("database.limits_dropped"), "{said}");
    // What operations.md says to do about it; on the database, because the tests share the role.
    let name = shop.db.text("select current_database()").await;
    shop.db
        .run(&format!(
            "alter database {name} set statement_timeout = '30s'; alter database {name} set lock_timeout = '2s'"
        ))
        .await;
    let fresh = Pooler::open(&shop.db.url, "").await;
    let (_, said) = doctor(&shop, &past_it, &fresh.url);
    assert!(!said.contains("database.limits_dropped"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_forgets_prepared_statements_is_named() {
    let shop = Shop::open(ACCOUNT, PAST_IT).await;
    let pooler = Pooler::open(&shop.db.url, "max_prepared_statements = 0\n").await;
    let (code, said) = doctor(&shop, &shop.config_text, &pooler.url);
    assert!(code == Some(78) && said.contains("max_prepared_statements"), "{code:?} {said}");
    let ended = Daemon::spawn(&shop.config_text, &env(&shop, &pooler)).end().await;
    assert!(ended.code == Some(78) && ended.said.contains("max_prepared_statements"), "{ended:?}");
}

/// A worker whose storage is away dies; it must not die ten times a second.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_worker_rests_while_the_database_is_away_and_works_again_after() {
    let shop = Shop::open(ACCOUNT, &format!("{PAST_IT}{POLICY}{BRISK}")).await;
    let door = crate::support::proxy::Proxy::open(&shop.db.url).await;
    let mut env = shop.env();
    env.insert("DIRECT_URL".to_owned(), door.url.clone());
    let mut daemon = Daemon::spawn(&shop.config_text, &env);
    daemon.wait_for("at work").await;
    shop.until("select count(*) > 0 from apalis.workers", "true").await;
    door.shut();
    daemon.wait_for("a worker died and comes back").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let deaths = daemon.said().matches("a worker died and comes back").count();
    println!("{deaths} deaths while its database was away for 10 s");
    assert!(deaths <= 3, "{deaths} deaths:\n{}", daemon.said());
    door.reopen();
    let lives = "select count(distinct id) from apalis.workers where id like 'commands-%'";
    shop.until(&format!("({lives}) > 1"), "true").await;
    assert_eq!(daemon.terminate().await.code, Some(0));
}

//! Replicas of one account at a provider that kills the old token when it gives a new one: they share one, kept sealed in
//! Postgres, and none of them kills another's.

use std::time::{Duration, Instant};

use rekon::sim::{Answer, Fault, Service, SimClient, SimOptions, SimPayment};

use crate::support::shop::{CLIENT, MERCHANT, SECRET, Shop, Working};

const LINES: &str = "rate = { per_second = 200, burst = 50, concurrency = 8 }\ntimeout = \"5s\"\n\
    [accounts.doku-main.ladder]\ndefault = [\"1s\"]\n";
const SECTIONS: &str = "[policy]\nwatch = \"1h\"\n[database]\nmax_connections = 6\n[jobs.sweep]\nevery = \"50ms\"\n";
const REPLICAS: usize = 8;

/// A shop at a provider with short tokens, of which only the newest is good.
async fn jealous(token_ttl_secs: u64) -> Shop {
    let client = SimClient::demo(CLIENT, SECRET, MERCHANT);
    let options = SimOptions { token_ttl_secs, new_token_kills_old: true, ..SimOptions::loopback(vec![client]) };
    Shop::open_with(SimOptions { arrival_log: true, ..options }, LINES, SECTIONS).await
}

fn tokens(shop: &Shop) -> usize {
    shop.sim.world().arrivals().iter().filter(|a| a.service == Service::Token).count()
}

/// Payments that nobody pays: asked about again and again.
async fn open_payments(shop: &Shop, count: usize) {
    for n in 0..count {
        let payment = SimPayment::exact(format!("INV{n}"), 5_000_000).answering(vec![Answer::status("01")]);
        shop.expect(SimPayment { reference_no: format!("R-{n}"), ..payment }, &[]).await;
    }
}

async fn end(replicas: Vec<Working>) {
    for replica in replicas {
        replica.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_replicas_fetch_one_token_a_lifetime_and_do_not_kill_each_others() {
    const LIFE: u64 = 5;
    let shop = jealous(LIFE).await;
    open_payments(&shop, 60).await;
    let begun = Instant::now();
    let mut replicas = Vec::new();
    for _ in 0..REPLICAS {
        replicas.push(shop.work().await);
    }
    // Three are fetched at least: at once, at nine tenths of the first one's life, and of the second one's.
    let store = "select epoch >= 3 from rekon.provider_tokens";
    shop.until(store, "true").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let lasted = begun.elapsed();
    end(replicas).await;

    let world = shop.sim.world();
    let (tokens, refused) = (tokens(&shop), world.count_of(Service::Query, "4015101"));
    let queries = world.arrivals().iter().filter(|a| a.service == Service::Query).count();
    println!(
        "{REPLICAS} replicas, {} ms: {tokens} tokens, {queries} queries, {refused} of them refused for their token",
        lasted.as_millis()
    );
    let lifetimes = usize::try_from(lasted.as_millis() / u128::from(LIFE * 900)).expect("few") + 1;
    assert!(tokens <= lifetimes, "{tokens} tokens in {lifetimes} lifetimes");
    // What was in flight while a token was replaced: at most what each replica may have in flight, each time.
    let most = u64::try_from((tokens - 1) * REPLICAS * 8).expect("few");
    assert!(refused <= most, "{refused} refusals, {most} could be in flight");
    assert_eq!(shop.db.text("select count(*) from rekon.breakers where opened_at is not null").await, "0");
    let shown = "select count(*) from rekon.provider_tokens where encode(sealed, 'escape') ~ '[0-9A-Za-z]{16}'";
    assert_eq!(shop.db.text(shown).await, "0", "it is sealed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_comes_later_takes_the_token_that_is_there_and_leaves_a_changed_one() {
    let changes = [
        ("nothing", "update rekon.provider_tokens set failures = 0", 0),
        ("its bytes", "update rekon.provider_tokens set sealed = set_byte(sealed, 20, get_byte(sealed, 20) # 1)", 1),
        ("its length", "update rekon.provider_tokens set sealed = sealed || '\\x00'", 1),
        ("its epoch", "update rekon.provider_tokens set claims = claims + 1, epoch = epoch + 1", 1),
        ("its place", "insert into rekon.provider_tokens select 'other', claims, claimed_until, failures, epoch, sealed, refresh_at, expires_at
            from rekon.provider_tokens; update rekon.provider_tokens set sealed = sha256('x') where account = 'doku-main'", 1),
    ];
    let shop = jealous(900).await;
    open_payments(&shop, 1).await;
    let first = shop.work().await;
    shop.until("select count(*) from rekon.provider_tokens where epoch is not null", "1").await;
    first.stop().await;
    for (changed, sql, fetched) in changes {
        let before = tokens(&shop);
        shop.db.run(sql).await;
        shop.db.run("update rekon.transactions set next_check_at = now()").await;
        let asked = shop.db.value::<i32>("select checks from rekon.transactions").await;
        let later = shop.work().await;
        shop.until(&format!("select checks > {asked} from rekon.transactions"), "true").await;
        later.stop().await;
        assert_eq!(tokens(&shop) - before, fetched, "{changed} was changed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_provider_revoked_is_fetched_once_for_all() {
    let shop = jealous(900).await;
    open_payments(&shop, 30).await;
    let mut replicas = Vec::new();
    for _ in 0..REPLICAS {
        replicas.push(shop.work().await);
    }
    shop.until("select count(*) from rekon.transactions where checks > 0", "30").await;
    assert_eq!(tokens(&shop), 1);
    shop.sim.world().expire_tokens();
    let asked = shop.db.value::<i64>("select sum(checks) from rekon.transactions").await;
    shop.until(&format!("select sum(checks) > {asked} + 90 from rekon.transactions"), "true").await;
    end(replicas).await;
    assert_eq!(tokens(&shop), 2, "whoever found it refused took the new one from the shelf");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_died_while_fetching_is_waited_for_no_longer_than_his_claim() {
    let shop = jealous(900).await;
    open_payments(&shop, 1).await;
    shop.db
        .run("insert into rekon.provider_tokens (account, claims, claimed_until) values ('doku-main', 7, now() + interval '2 seconds')")
        .await;
    let claimed_until = shop.db.text("select claimed_until from rekon.provider_tokens").await;
    let working = shop.work().await;
    shop.until("select epoch from rekon.provider_tokens", "8").await;
    working.stop().await;
    assert_eq!(tokens(&shop), 1);
    let asked_after =
        format!("select expires_at - interval '900 seconds' >= '{claimed_until}' from rekon.provider_tokens");
    assert_eq!(shop.db.text(&asked_after).await, "true");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_fetch_of_one_replica_is_the_answer_of_all_that_waited_for_it() {
    let shop = jealous(900).await;
    // Slow, and no answer at the end: while one of them asks, the others come to wait.
    shop.sim.world().set_weather(Service::Token, Some(Fault::TimeoutBefore { ms: 500 }));
    open_payments(&shop, 40).await;
    let mut replicas = Vec::new();
    for _ in 0..REPLICAS {
        replicas.push(shop.work().await);
    }
    shop.until("select failures >= 3 from rekon.provider_tokens", "true").await;
    let failures: i64 = shop.db.value("select failures from rekon.provider_tokens").await;
    let calls = i64::try_from(tokens(&shop)).expect("few");
    println!("{calls} calls for a token, {failures} of them failed so far, {REPLICAS} replicas with 8 askers each");
    assert!((failures..=failures + 1).contains(&calls), "one at a time");
    shop.sim.world().set_weather(Service::Token, None);
    shop.until("select count(*) from rekon.transactions where checks > 0", "40").await;
    end(replicas).await;
}

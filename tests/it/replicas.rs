//! Three `serve` processes on one database: nobody is asked twice, the provider's budget holds at its own door, and what one
//! process learns about the provider's weather holds for all.

mod eight;

use std::time::Duration;

use rekon::sim::{Answer, CallBudget, Fault, Service, SimPayment};

use crate::support::{
    process::Daemon,
    shop::{ACCOUNT, CLIENT, Shop},
};

const BUDGET: CallBudget = CallBudget { per_second: 50, burst: 10 };
const AT_FIFTY: &str = "rate = { per_second = 50, burst = 10, concurrency = 32 }\ntimeout = \"5s\"\n\
    [accounts.doku-main.ladder]\ndefault = [\"1s\"]\n";
const SECTIONS: &str = "[policy]\nconfirm_after = \"1s\"\nwatch = \"1h\"\n[refunds]\nmode = \"auto\"\n\
    [database]\nmax_connections = 8\n[jobs.sweep]\nevery = \"50ms\"\nchunk_span = \"1s\"\n";

/// So many replicas, all at work.
async fn replicas(shop: &Shop, count: usize) -> Vec<Daemon> {
    let mut daemons: Vec<Daemon> = (0..count).map(|_| Daemon::spawn(&shop.config_text, &shop.env())).collect();
    for daemon in &mut daemons {
        daemon.wait_for("at work").await;
    }
    daemons
}

async fn all_end_in_order(daemons: Vec<Daemon>) {
    for daemon in &daemons {
        daemon.ask_to_end();
    }
    for mut daemon in daemons {
        let ended = daemon.end().await;
        assert_eq!(ended.code, Some(0), "{}", ended.said);
    }
}

/// So many payments that are paid when they are asked about, due at the same moment; their references.
async fn sell(shop: &Shop, count: usize, more: &str) -> Vec<String> {
    sell_from(shop, 0, count, more).await
}

/// The same, with numbers from `first` on.
async fn sell_from(shop: &Shop, first: usize, count: usize, more: &str) -> Vec<String> {
    let references: Vec<String> = (first..).take(count).map(|n| format!("INV{n:04}")).collect();
    for reference in &references {
        let payment = SimPayment { reference_no: format!("R-{reference}"), ..SimPayment::exact(reference, 5_000_000) };
        shop.sim.world().add_payment(payment).expect("it is new");
    }
    let columns = "account, partner_reference_no, reference_no, amount, expires_at";
    let values = format!("'{ACCOUNT}', r, 'R-' || r, 50000, {more}");
    shop.db
        .run(&format!(
            "insert into rekon.transactions ({columns}) select {values} from unnest('{{{}}}'::text[]) r",
            references.join(",")
        ))
        .await;
    references
}

#[tokio::test(flavor = "multi_thread")]
async fn three_replicas_ask_everybody_once_and_keep_the_budget_at_the_providers_door() {
    let shop = Shop::open(AT_FIFTY, SECTIONS).await;
    let daemons = replicas(&shop, 3).await;
    let references = sell(&shop, 400, "null").await;
    shop.until("select count(*) from rekon.transactions where state = 'paid'", "400").await;
    all_end_in_order(daemons).await;

    let world = shop.sim.world();
    let twice: Vec<&String> = references.iter().filter(|r| world.times_asked(Service::Query, r).len() != 1).collect();
    assert_eq!(twice, Vec::<&String>::new());
    assert_eq!(shop.db.text("select count(*) from rekon.facts").await, "400");
    assert_eq!(shop.db.text("select sum(checks) from rekon.transactions").await, "400");
    assert_eq!(shop.db.text("select count(*) from rekon.transactions where lease_until is not null").await, "0");
    assert_eq!(world.external_id_reuses(CLIENT), 0);

    let arrivals = world.arrivals();
    let tokens = arrivals.iter().filter(|a| a.service == Service::Token).count();
    assert_eq!(world.max_excess(CLIENT, BUDGET, 5), 0, "the budget was exceeded");
    let took_us = arrivals.last().expect("calls came").at_micros - arrivals[0].at_micros;
    let granted = u64::from(BUDGET.burst) + took_us * u64::from(BUDGET.per_second) / 1_000_000;
    let used_percent = u64::try_from(arrivals.len()).expect("few") * 100 / granted;
    println!(
        "{} calls, {tokens} of them for tokens, in {} ms: {used_percent} % of the budget",
        arrivals.len(),
        took_us / 1000
    );
    assert_eq!(tokens, 1, "one process fetched the token of all three");
    // A busy machine loses slots; half of them lost is a mistake in how they are handed out.
    assert!(used_percent > 50, "only {used_percent} % of the budget was used while rows were due");
}

/// A large burst pays for slots that live longer: ten times as long as the least, here.
const WIDE: CallBudget = CallBudget { per_second: 400, burst: 320 };
const AT_FOUR_HUNDRED: &str = "rate = { per_second = 400, burst = 320, concurrency = 32 }\ntimeout = \"5s\"\n\
    [accounts.doku-main.ladder]\ndefault = [\"1s\"]\n";

#[tokio::test(flavor = "multi_thread")]
async fn slots_that_live_longer_do_not_exceed_the_budget_either() {
    let shop = Shop::open(AT_FOUR_HUNDRED, SECTIONS).await;
    let daemons = replicas(&shop, 3).await;
    sell(&shop, 1500, "null").await;
    shop.until("select count(*) from rekon.transactions where state = 'paid'", "1500").await;
    // The burst has come back meanwhile, and whoever comes next may use it.
    sell_from(&shop, 1500, 500, "null").await;
    shop.until("select count(*) from rekon.transactions where state = 'paid'", "2000").await;
    all_end_in_order(daemons).await;
    assert_eq!(shop.sim.world().max_excess(CLIENT, WIDE, 5), 0, "the budget was exceeded");
    assert_eq!(shop.db.text("select sum(checks) from rekon.transactions").await, "2000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_moves_the_budget_for_every_replica() {
    let shop = Shop::open(AT_FIFTY, SECTIONS).await;
    let daemons = replicas(&shop, 3).await;
    let slow_down =
        Fault::Http { http_status: 429, case_code: "00".into(), response_code: None, retry_after_secs: Some(3) };
    shop.sim.world().set_weather(Service::Query, Some(slow_down));
    sell(&shop, 100, "null").await;
    while shop.sim.world().count_of(Service::Query, "4295100") == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    shop.sim.world().set_weather(Service::Query, None);
    shop.until("select count(*) from rekon.transactions where state = 'paid'", "100").await;
    all_end_in_order(daemons).await;

    let at: Vec<u64> =
        shop.sim.world().arrivals().iter().filter(|a| a.service == Service::Query).map(|a| a.at_micros).collect();
    let quiet = at.windows(2).map(|pair| (pair[1] - pair[0], pair[0])).max().expect("calls came");
    let before = at.iter().filter(|at| **at <= quiet.1).count();
    println!("after {before} calls nobody called for {} ms", quiet.0 / 1000);
    assert!(quiet.0 >= 2_500_000, "Retry-After: 3 was not obeyed by all: longest silence {} ms", quiet.0 / 1000);
    // What was in flight or had its slot already, in three processes.
    assert!(before <= 40, "{before} calls came before all had heard");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_opens_the_breaker_for_all_and_while_it_is_open_nothing_ages() {
    let weather = "[breaker]\nprobe_max = \"1s\"\n";
    let sections = SECTIONS.replace("watch = \"1h\"", "watch = \"1s\"\nstuck_after = \"1s\"\nclose_spread = \"1s\"");
    let shop = Shop::open(AT_FIFTY, &format!("{sections}{weather}")).await;
    let daemons = replicas(&shop, 2).await;
    let world = shop.sim.world();
    world.set_weather(Service::Query, Some(Fault::http(500, "00")));
    sell(&shop, 60, "now() + interval '1 second'").await;
    shop.until("select count(*) from rekon.breakers where opened_at is not null", "1").await;
    // What was in flight when it opened has come by now.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let queries = || world.arrivals().iter().filter(|a| a.service == Service::Query).count();
    let probes = "select probes::bigint from rekon.breakers";
    let (asked, probed) = (queries(), shop.db.value::<i64>(probes).await);
    shop.until("select probes >= 5 from rekon.breakers", "true").await;
    let (asked_then, probed_then) = (queries(), shop.db.value::<i64>(probes).await);
    world.set_weather(Service::Query, None);
    let (calls, granted) = (i64::try_from(asked_then - asked).expect("few"), probed_then - probed);
    println!("{asked} calls until it was open, then {calls} calls in {granted} probes");
    assert!((granted - 1..=granted + 1).contains(&calls), "{granted} probes were handed out, {calls} calls came");

    shop.until("select count(*) from rekon.transactions where state = 'paid' and flags = '{}'", "60").await;
    shop.until("select count(*) from rekon.breakers where opened_at is not null", "0").await;
    assert_eq!(shop.db.text("select count(*) from rekon.outages where until_at is not null").await, "1");
    assert_eq!(shop.db.text("select count(*) from rekon.journal where state in ('review', 'unpaid')").await, "0");
    all_end_in_order(daemons).await;
}

/// The weather holds for money, too: a refund that is due waits for the breaker, and gets its probe where no row is due.
#[tokio::test(flavor = "multi_thread")]
async fn a_breaker_closes_by_itself_where_nothing_but_a_refund_is_due() {
    let shop = Shop::open(AT_FIFTY, &format!("{SECTIONS}[breaker]\nprobe_max = \"1s\"\n")).await;
    let daemons = replicas(&shop, 1).await;
    let more = SimPayment::exact("MORE", 5_000_000).answering(vec![Answer::paid_amount(5_700_000)]);
    let more = SimPayment { reference_no: "R-MORE".into(), ..more };
    let storm = Fault::http(500, "00");
    shop.sim.world().set_weather(Service::Refund, Some(storm));
    shop.expect(more, &[]).await;
    shop.until("select state from rekon.refund_saga", "unknown").await;
    shop.db.run("insert into rekon.breakers (account, opened_at, probe_at, reason) values ('doku-main', now(), now(), 'test')").await;
    shop.sim.world().set_weather(Service::Refund, None);
    shop.until("select count(*) from rekon.breakers where opened_at is not null", "0").await;
    all_end_in_order(daemons).await;
}

/// A provider that hangs: the pause is over long before the probe is, and the next one waits for its end all the same.
#[tokio::test(flavor = "multi_thread")]
async fn one_probe_at_a_time_is_under_way_over_all_replicas() {
    let lines = AT_FIFTY.replace("timeout = \"5s\"", "timeout = \"3s\"");
    let shop = Shop::open(&lines, &format!("{SECTIONS}[breaker]\nprobe_max = \"1s\"\n")).await;
    shop.sim.world().set_weather(Service::Query, Some(Fault::TimeoutBefore { ms: 10_000 }));
    sell(&shop, 30, "null").await;
    shop.db.run("insert into rekon.breakers (account, opened_at, probe_at, reason) values ('doku-main', now(), now(), 'test')").await;
    let mut working = Vec::new();
    for _ in 0..4 {
        working.push(shop.work().await);
    }
    shop.until("select probes >= 4 from rekon.breakers", "true").await;
    let arrivals = shop.sim.world().arrivals();
    let probes: Vec<u64> =
        arrivals.iter().filter(|a| a.service == Service::Query).map(|a| a.at_micros / 1000).collect();
    println!("probes of four replicas came at {probes:?} ms");
    // Three seconds each, less what the first of a pair was on its way.
    assert!(probes.windows(2).all(|pair| pair[1] - pair[0] > 2_000), "{probes:?}");
    assert!(probes.len() >= 3, "{probes:?}");
    shop.sim.world().set_weather(Service::Query, None);
    shop.until("select count(*) from rekon.transactions where state = 'paid'", "30").await;
    assert_eq!(shop.db.text("select count(*) from rekon.journal where state in ('review', 'unpaid')").await, "0");
    for replica in working {
        replica.stop().await;
    }
}

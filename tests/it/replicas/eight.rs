//! Eight replicas with more to ask than they may: killed at random moments, told to slow down, with clocks that are wrong.
//! What reaches the provider's door stays within the budget and uses it up.
//!
//! `REKON_SOAK_SECS` makes them longer, so many seconds for each part, and asks that 95 % of the budget become calls: that is for a
//! machine with nothing else to do. A busy one is late to its slots, which are good for some milliseconds. So the small run counts
//! what the database granted: no call without a slot, and of the budget at least half was asked for and granted, whatever else the
//! machine did. On one core beside four busy loops 101 to 106 % were granted (the rate, and what lies ahead); 10 to 61 % became calls.

use std::time::{Duration, Instant};

use rekon::sim::{Answer, CallBudget, Fault, Rng, Service, SimPayment};

use super::{SECTIONS, all_end_in_order, replicas};
use crate::support::{
    process::Daemon,
    shop::{ACCOUNT, CLIENT, Shop},
};

const REPLICAS: usize = 8;
const BUDGET: CallBudget = CallBudget { per_second: 100, burst: 20 };
const AT_A_HUNDRED: &str = "rate = { per_second = 100, burst = 20, concurrency = 16 }\ntimeout = \"5s\"\n\
    [accounts.doku-main.ladder]\ndefault = [\"1s\"]\n";
/// Long beside what a busy machine needs to bring a request that was let go before to the provider's door.
const RETRY_AFTER: Duration = Duration::from_secs(4);

/// In a long run so many that rows are due also while the killed still hold theirs.
fn payments() -> u32 {
    if soak().is_some() { 12_000 } else { 3_000 }
}

/// A shop with so much to ask that the budget is never enough.
async fn overloaded(sections: &str) -> Shop {
    let shop = Shop::open(AT_A_HUNDRED, sections).await;
    for n in 0..payments() {
        let payment = SimPayment::exact(format!("INV{n}"), 5_000_000).answering(vec![Answer::status("01")]);
        shop.sim.world().add_payment(SimPayment { reference_no: format!("R-{n}"), ..payment }).expect("it is new");
    }
    shop.db
        .run(&format!(
            "insert into rekon.transactions (account, partner_reference_no, reference_no, amount)
             select '{ACCOUNT}', 'INV' || n - 1, 'R-' || n - 1, 50000 from generate_series(1, {}) n",
            payments()
        ))
        .await;
    shop.db.run(COUNTED).await;
    shop
}

/// What the database grants is written down beside it, by a door of the test's own before the function that grants.
const COUNTED: &str = "create table public.granted (class text not null, slots integer not null);
    alter function rekon.take_slots rename to take_slots_as_shipped;
    create function rekon.take_slots(p_account text, p_class text, p_want integer, p_spacing_us bigint, p_burst integer, p_share_permille integer,
                                     p_near_us bigint, p_far_us bigint, out granted integer, out first_us bigint, out retry_us bigint)
    language plpgsql as $$ begin
      select g.granted, g.first_us, g.retry_us into granted, first_us, retry_us
        from rekon.take_slots_as_shipped(p_account, p_class, p_want, p_spacing_us, p_burst, p_share_permille, p_near_us, p_far_us) g;
      insert into public.granted values (p_class, granted);
    end $$";

/// Slots that the database granted so far.
async fn granted(shop: &Shop) -> u64 {
    u64::try_from(shop.db.value::<i64>("select coalesce(sum(slots), 0) from public.granted").await).expect("a count")
}

#[expect(clippy::disallowed_methods, reason = "the tests' own variable; the program reads its environment in config")]
fn soak() -> Option<Duration> {
    std::env::var("REKON_SOAK_SECS")
        .ok()
        .map(|secs| Duration::from_secs(secs.parse().expect("REKON_SOAK_SECS is a number")))
}

fn part_lasts() -> Duration {
    soak().unwrap_or(Duration::from_secs(4))
}

/// Percent of the budget that a long run must use while more is due than may be asked.
const MUST_BE_USED: u64 = 95;
/// Percent of the budget that must be asked for and granted in any run, however busy the machine is.
const MUST_BE_GRANTED: u64 = 50;

/// Slots lie at most so far ahead: all that a process can hold, and take with it when it is killed.
const AHEAD_MS: u64 = 100;

/// Slots that so many kills can have cost at worst, each of a process that held every slot there was.
fn lost_at_worst(kills: u64) -> u64 {
    kills * (AHEAD_MS * u64::from(BUDGET.per_second)).div_ceil(1_000)
}

/// What came to the door from a moment on.
struct Watched {
    from_micros: u64,
    began: Instant,
    granted_before: u64,
}

/// What was made of the budget meanwhile.
#[derive(Debug, Clone, Copy)]
struct Used {
    calls: u64,
    granted: u64,
    /// Calls that the rate allows in the time.
    allowed: u64,
}

impl Watched {
    /// From the next call on.
    async fn from_now(shop: &Shop) -> Self {
        let seen = shop.sim.world().arrivals().len();
        loop {
            let granted_before = granted(shop).await;
            if let Some(next) = shop.sim.world().arrivals().get(seen) {
                return Self { from_micros: next.at_micros, began: Instant::now(), granted_before };
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Calls and slots since then.
    async fn used(&self, shop: &Shop) -> Used {
        let lasted = u64::try_from(self.began.elapsed().as_micros()).expect("short");
        let until = self.from_micros + lasted;
        let came =
            shop.sim.world().arrivals().iter().filter(|a| (self.from_micros..until).contains(&a.at_micros)).count();
        Used {
            calls: u64::try_from(came).expect("few"),
            granted: granted(shop).await - self.granted_before,
            allowed: lasted * u64::from(BUDGET.per_second) / 1_000_000,
        }
    }
}

impl Used {
    /// Enough of it was used, but for what the killed took with them.
    fn assert_enough(self, when: &str, lost: u64) {
        let Self { calls, granted, allowed } = self;
        let of_budget = |part: u64| part * 100 / allowed.max(1);
        println!(
            "{when}: {calls} calls, {} % of the budget's {allowed}; {granted} slots granted; {lost} lost at worst",
            of_budget(calls)
        );
        assert!(
            of_budget(granted) >= MUST_BE_GRANTED,
            "{when}: {granted} slots granted of {allowed}, and rows were due"
        );
        assert!(calls > 0, "{when}: nobody called");
        assert!(
            soak().is_none() || of_budget(calls + lost) >= MUST_BE_USED,
            "{when}: only {calls} calls were made where {allowed} were allowed, and rows were due"
        );
    }
}

/// Each call had a slot; within 5 % in every window, and one token for all.
async fn assert_the_provider_was_spared(shop: &Shop) {
    let granted = granted(shop).await;
    let queries = shop.sim.world().arrivals().iter().filter(|a| a.service == Service::Query).count();
    assert!(u64::try_from(queries).expect("few") <= granted, "{queries} calls came of {granted} granted slots");
    let world = shop.sim.world();
    assert_eq!(world.max_excess(CLIENT, BUDGET, 5), 0, "the budget was exceeded");
    assert_eq!(world.external_id_reuses(CLIENT), 0);
    assert_eq!(world.arrivals().iter().filter(|a| a.service == Service::Token).count(), 1, "tokens");
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_replicas_use_the_budget_up_and_kills_and_storms_do_not_break_it() {
    let shop = overloaded(&SECTIONS.replace("[jobs.sweep]", "[jobs.sweep]\nlease = \"10s\"")).await;
    let mut daemons = replicas(&shop, REPLICAS).await;
    let mut rng = Rng::new(8);

    let watched = Watched::from_now(&shop).await;
    tokio::time::sleep(part_lasts()).await;
    watched.used(&shop).await.assert_enough("all alive", 0);

    let (watched, mut kills) = (Watched::from_now(&shop).await, 0_u64);
    while watched.began.elapsed() < part_lasts() {
        tokio::time::sleep(Duration::from_millis(rng.between(100, 600).unsigned_abs())).await;
        let unlucky = usize::try_from(rng.between(0, 7)).expect("an index");
        daemons.swap_remove(unlucky).kill_9();
        daemons.push(Daemon::spawn(&shop.config_text, &shop.env()));
        kills += 1;
    }
    watched.used(&shop).await.assert_enough(&format!("{kills} of them killed"), lost_at_worst(kills));

    storms(&shop).await;
    all_end_in_order(daemons).await;
    assert_the_provider_was_spared(&shop).await;
}

/// The provider says 429 and "leave me alone for a while", again and again: after each there is a silence.
async fn storms(shop: &Shop) {
    let world = shop.sim.world();
    let secs = RETRY_AFTER.as_secs();
    let slow_down =
        Fault::Http { http_status: 429, case_code: "00".into(), response_code: None, retry_after_secs: Some(secs) };
    let (began, mut came) = (Instant::now(), Vec::new());
    while began.elapsed() < part_lasts() {
        let (said, seen) = (world.count_of(Service::Query, "4295100"), world.arrivals().len());
        world.set_weather(Service::Query, Some(slow_down.clone()));
        while world.count_of(Service::Query, "4295100") == said {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        world.set_weather(Service::Query, None);
        came.push(calls_until_silence(shop, seen).await);
    }
    println!("{} storms; calls that came before all had heard: {came:?}", came.len());
}

/// Calls after the first `seen` until nobody called for as long as Retry-After said, less what a call may be on its way.
async fn calls_until_silence(shop: &Shop, seen: usize) -> usize {
    let least = u64::try_from(RETRY_AFTER.as_micros()).expect("short") / 2;
    let began = Instant::now();
    loop {
        let at: Vec<u64> = shop.sim.world().arrivals().iter().skip(seen).map(|a| a.at_micros).collect();
        if let Some(last) = at.windows(2).position(|pair| pair[1] - pair[0] > least) {
            return last + 1;
        }
        assert!(
            began.elapsed() < Duration::from_mins(1),
            "Retry-After was not obeyed by all: no silence in {} calls",
            at.len()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Slots, leases and slots of the calendar go by the database's clock. A process whose idea of it is wrong stamps its requests
/// wrongly, and that is all.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_whose_clocks_are_half_a_second_off_keep_the_budget_all_the_same() {
    let shop = overloaded(SECTIONS).await;
    let mut working = Vec::new();
    for _ in 0..REPLICAS {
        working.push(shop.work().await);
    }
    let watched = Watched::from_now(&shop).await;
    let store = shop.db.another_store().await;
    while watched.began.elapsed() < part_lasts() {
        let now = store.now().await.expect("the database answers");
        for (n, replica) in working.iter().enumerate() {
            let off = i64::try_from(n).expect("few") * 1_000 / 7 - 500;
            replica.ctx.clock.set(Instant::now(), now + chrono::TimeDelta::milliseconds(off));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let used = watched.used(&shop).await;
    for replica in working {
        replica.stop().await;
    }
    used.assert_enough("clocks from -500 to +500 ms", 0);
    assert_the_provider_was_spared(&shop).await;
}

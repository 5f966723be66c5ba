//! Replicas on one Postgres under load, one of them killed every few seconds: nothing lost, nothing doubled, the provider's budget
//! kept at its own door. Then, at full size, what more replicas bring.
//!
//! Small in `cargo test`; `make replicas` runs it at full size in a release build (`REKON_REPLICAS_SECS`, `REKON_REPLICAS`,
//! `REKON_KILL_EVERY`). A claim that does not hold fails the run.

use std::time::{Duration, Instant};

use rekon::sim::CallBudget;

use super::{Seeded, Size, crew::Crew, door, merchant::Merchant, number, proof::Proof, table};
use crate::support::server::variable;

const SEED: u64 = 20_261_121;
/// Rows of each measurement of speed.
const MEASURED: usize = 40_000;
/// Rows that still wait for their answer.
pub(super) const PENDING: &str = "select count(*) from rekon.transactions where state = 'pending'";

/// So long under fire, and the size of everything else.
fn under_fire() -> (Duration, Size) {
    let is_small = variable("REKON_REPLICAS_SECS").is_none();
    let secs = number("REKON_REPLICAS_SECS", 6);
    let kill_every = number("REKON_KILL_EVERY", 2).max(1);
    let size = Size {
        name: "replicas",
        payments: 0,
        seed: number("REKON_SOAK_SEED", SEED),
        deadline: Duration::from_secs(2 * secs) + Duration::from_mins(5),
        accounts: if is_small { 2 } else { 4 },
        kills: secs / kill_every,
        workers: usize::try_from(number("REKON_REPLICAS", 3)).expect("some replicas"),
        grants: if is_small {
            CallBudget { per_second: 50, burst: 10 }
        } else {
            CallBudget { per_second: 200, burst: 40 }
        },
        latency_ms: 0,
        kill_every: Some(Duration::from_secs(kill_every)),
        is_small,
    };
    (Duration::from_secs(secs), size)
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_are_killed_one_after_the_other_lose_nothing_double_nothing_and_keep_the_budget() {
    let (fire, size) = under_fire();
    let seeded = Seeded(size.seed);
    let begun = Instant::now();
    let mut crew = Crew::begin(size).await;
    let mut merchant = Merchant::open(size);
    let mut sold = merchant.first_of_each_account(&mut crew).await;

    // More than may be asked, and nobody dies.
    let calm = (fire / 10).max(Duration::from_secs(3));
    let each_second = size.accounts * usize::try_from(size.grants.per_second).expect("few");
    let heap = each_second * usize::try_from(calm.as_secs() + 3).expect("short");
    let heap = merchant.sell_a_heap(&mut crew, sold.len(), heap).await;
    sold.extend(heap);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let alive = watch(&crew, tokio::time::sleep(calm)).await;

    crew.is_in_danger_from_now();
    let from = crew.sim.world().now_micros();
    merchant.sell_until(&mut crew, Instant::now() + fire, 2 * each_second, &mut sold).await;
    let killed = door::Span { from, until: crew.sim.world().now_micros() };
    crew.come_to_rest(&sold, begun + size.deadline).await;

    let took = begun.elapsed();
    let proof = Proof::take(&mut crew, &sold, size).await;
    let door = door::Door::look(&crew, &sold, size, alive, killed).await;
    println!("{}{}", table::table(size, &crew, &proof, took), door.lines());
    proof.holds(size);
    door.holds(size);
    drop(seeded);
    if !size.is_small {
        drop(crew);
        speeds(size).await;
    }
}

/// The span on the provider's clock that something takes.
async fn watch(crew: &Crew, something: impl Future<Output = ()>) -> door::Span {
    let from = crew.sim.world().now_micros();
    something.await;
    door::Span { from, until: crew.sim.world().now_micros() }
}

/// Checks a second of 1, 2, … replicas over rows that are all due, budget and provider out of the way.
async fn speeds(size: Size) {
    println!(
        "{MEASURED} rows that are due at once, a provider that takes 20 ms, no budget in the way\n{:<10} {:>16}",
        "replicas", "checks a second"
    );
    // A folder each: the one before is being removed.
    let each = [(1, "speed-1"), (2, "speed-2"), (4, "speed-4"), (8, "speed-8")];
    for (workers, name) in each.into_iter().filter(|(workers, _)| *workers <= size.workers) {
        let grants = CallBudget { per_second: 100_000, burst: 10_000 };
        let size = Size { name, workers, grants, latency_ms: 20, kills: 0, kill_every: None, ..size };
        let mut crew = Crew::begin(size).await;
        let mut merchant = Merchant::open(size);
        merchant.first_of_each_account(&mut crew).await;
        let before: i64 = crew.value("select count(*) from rekon.facts").await;
        crew.is_owed(MEASURED).await;
        while crew.value::<i64>(PENDING).await > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let rate = format!(
            "select (count(*) / greatest(extract(epoch from max(answered_at) - min(answered_at)), 0.001))::bigint
               from (select answered_at from rekon.facts order by answered_at offset {before}) as f"
        );
        println!("{workers:<10} {:>16}", crew.value::<i64>(&rate).await);
        crew.end_in_order().await;
    }
}

//! The soak: every fault of the grammar, at once, on whole processes. Two `rekon serve` on a Postgres of their own, a simulated
//! provider that plays each kind of fault, kills, pauses, a database that dies, merchants who change their minds, cashiers and
//! a CronJob beside. It ends when every payment is at rest and proves that each rests where the rules say, to the sen.
//!
//! Small in `cargo test`; `make soak` runs it at full size in a release build. `REKON_SOAK_PAYMENTS`, `REKON_SOAK_SEED` and
//! `REKON_SOAK_MINUTES` say how large, on which dice and for how long at most. A failure names its seed.

mod crew;
mod door;
mod ends;
mod load;
mod merchant;
mod proof;
mod replicas;
mod table;

use std::time::{Duration, Instant};

use rekon::sim::CallBudget;

use crate::support::server::variable;

/// Enough to play every kind of the grammar a few times, in seconds.
const SMALL: u64 = 256;
const SEED: u64 = 20_261_120;

/// How large a run is.
#[derive(Debug, Clone, Copy)]
struct Size {
    /// Of its folder: two runs may be under way in one process.
    name: &'static str,
    payments: usize,
    seed: u64,
    deadline: Duration,
    accounts: usize,
    /// `kill -9`s of a worker; every fourth of them is followed by a pause of another.
    kills: u64,
    /// Processes at work.
    workers: usize,
    /// What each account's provider grants.
    grants: CallBudget,
    /// Milliseconds that the provider takes for every answer.
    latency_ms: u64,
    /// Nothing befalls anybody but a kill, one in so long, and the provider's door is watched; `None`: everything, at random.
    kill_every: Option<Duration>,
    is_small: bool,
}

fn number(name: &str, default: u64) -> u64 {
    match variable(name) {
        Some(text) => text.parse().unwrap_or_else(|_| panic!("{name} must be a whole number, not {text}")),
        None => default,
    }
}

impl Size {
    fn from_environment() -> Self {
        let payments = number("REKON_SOAK_PAYMENTS", SMALL);
        let is_small = payments < 5_000;
        Self {
            name: "soak",
            payments: usize::try_from(payments).expect("some payments"),
            seed: number("REKON_SOAK_SEED", SEED),
            deadline: Duration::from_secs(60 * number("REKON_SOAK_MINUTES", if is_small { 3 } else { 60 })),
            accounts: if is_small { 3 } else { 8 },
            kills: if is_small { 4 } else { (payments / 1_000).clamp(20, 150) },
            workers: 2,
            grants: CallBudget { per_second: 2_000, burst: 200 },
            latency_ms: 0,
            kill_every: None,
            is_small,
        }
    }

    /// A lease, seconds: it holds a call of one second with room for a busy machine.
    const fn lease_secs(self) -> u64 {
        if self.is_small && self.kill_every.is_none() { 3 } else { 6 }
    }

    /// Repeats of a refund before a person is called: the grammar's stickiest 5xx needs three that arrive, and a death or two
    /// may each have cost one that was written down and never left.
    const RESENDS: u64 = 5;

    /// Each kind is played at least so often.
    const fn floor(self) -> u64 {
        match self.kill_every {
            // Faults are drawn there, and few.
            Some(_) => 0,
            None if self.payments >= 100_000 => 1_000,
            None => 1,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_every_fault_we_know_no_refund_is_doubled_no_payment_lost_and_every_rupiah_explained() {
    let size = Size::from_environment();
    let seeded = Seeded(size.seed);
    let begun = Instant::now();
    let mut crew = crew::Crew::begin(size).await;
    let merchant = merchant::Merchant::open(size);
    let expected = merchant.sell_all(&mut crew).await;
    crew.come_to_rest(&expected, begun + size.deadline).await;
    let took = begun.elapsed();
    let proof = proof::Proof::take(&mut crew, &expected, size).await;
    println!("{}", table::table(size, &crew, &proof, took));
    proof.holds(size);
    drop(seeded);
}

/// Says the seed when a run fails.
struct Seeded(u64);

impl Drop for Seeded {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- the soak failed on SEED={}", self.0);
        }
    }
}

//! The second line of the soak: ten million facts and steps through `decide` and the saga alone, on random histories drawn from
//! one seed. The world checks itself after every step. `REKON_SOAK_STEPS` and `REKON_SOAK_SEED` say how many and on which dice.

use proptest::{
    prelude::{Strategy, any, prop},
    prop_oneof,
    strategy::ValueTree as _,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use sha2::{Digest as _, Sha256};

use super::{
    build::{DAY, paid, says},
    properties::{any_fault, any_world},
    world::{Event, World},
};
use crate::domain::{observation::Observation, order::OrderStatus};

/// Small in `cargo test`.
const STEPS: u64 = 20_000;
const SEED: u64 = 20_261_120;

#[expect(clippy::disallowed_methods, reason = "a test's own size; the program reads its environment in config")]
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().filter(|text| !text.is_empty()).map_or(default, |text| text.parse().unwrap())
}

/// A history in which money surely goes back, through whatever befalls the calls.
fn money_goes_back() -> impl Strategy<Value = World> {
    (prop::collection::vec(any_fault(), 0..5), any::<bool>()).prop_map(|(faults, cancelled)| {
        let mut world = World::new(vec![(0, says(Observation::Open)), (200, paid(150_000))]);
        world.provider.faults = faults;
        if cancelled {
            world.events.push((100, Event::Becomes(OrderStatus::Cancelled)));
        }
        world
    })
}

#[test]
fn over_many_histories_the_core_never_pays_twice_and_never_loses_a_payment() {
    let (steps, seed) = (number("REKON_SOAK_STEPS", STEPS), number("REKON_SOAK_SEED", SEED));
    let dice = TestRng::from_seed(RngAlgorithm::ChaCha, &Sha256::digest(seed.to_le_bytes()));
    let mut runner = TestRunner::new_with_rng(Config::default(), dice);
    let worlds = prop_oneof![any_world(), money_goes_back()];
    let (mut histories, mut answers, mut decisions, mut saga_steps, mut returned) = (0_u64, 0_u64, 0_u64, 0_u64, 0_u64);
    while answers + decisions + saga_steps < steps {
        let mut world = worlds.new_tree(&mut runner).unwrap().current();
        // What fails says which history of which seed it was.
        let guard = Told { seed, history: histories };
        world.run(9 * DAY);
        std::mem::forget(guard);
        histories += 1;
        answers += u64::from(world.checks);
        decisions += u64::try_from(world.decisions.len()).unwrap();
        saga_steps += world.saga_steps;
        returned += u64::try_from(world.provider.returned.len()).unwrap();
    }
    println!(
        "the pure core alone, SEED={seed}: {histories} histories, {answers} answers, {decisions} decisions, {saga_steps} steps of the saga, \
         {returned} refunds; invariants broken: 0"
    );
    assert!(returned > 0 && saga_steps > returned, "histories without money are no proof");
}

struct Told {
    seed: u64,
    history: u64,
}

impl Drop for Told {
    fn drop(&mut self) {
        println!("--- history {} of SEED={} failed", self.history, self.seed);
    }
}

//! When calls came: the log that proves or refutes a caller's budget. Money is in `book`.

use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::snap::Service;

/// One call that came to the door, whatever became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Arrival {
    /// Microseconds since the simulator started, on a monotonic clock.
    pub at_micros: u64,
    /// Who called, as it said; empty when it did not say.
    pub client_id: String,
    /// What for.
    pub service: Service,
    /// The merchant's reference; empty for tokens and for calls that were refused at the door.
    pub partner_reference_no: String,
}

/// The arrival log; empty unless `SimOptions::arrival_log` is set.
#[derive(Debug)]
pub(super) struct Arrivals {
    log: Option<Mutex<Vec<Arrival>>>,
}

impl Arrivals {
    pub(super) fn new(enabled: bool) -> Self {
        Self { log: enabled.then(Mutex::default) }
    }

    /// Notes a call; the closure runs only when the log is kept.
    pub(super) fn note(&self, arrival: impl FnOnce() -> Arrival) {
        if let Some(log) = &self.log {
            let arrival = arrival();
            log.lock().unwrap_or_else(PoisonError::into_inner).push(arrival);
        }
    }

    /// Everything noted so far, in the order of arrival.
    pub(super) fn all(&self) -> Vec<Arrival> {
        let mut all = match &self.log {
            Some(log) => log.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            None => Vec::new(),
        };
        all.sort_by_key(|arrival| arrival.at_micros);
        all
    }
}

/// A call budget: in any t seconds at most `burst + per_second · t` calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct CallBudget {
    /// Calls per second in the long run.
    pub per_second: u32,
    /// Calls at once.
    pub burst: u32,
}

/// How many calls the worst window holds beyond the budget, rounded up; 0 = the budget was held everywhere.
/// `tolerance_percent` widens the whole bound (5 = at most 1.05 × (burst + per_second · t)). `at_micros` must be sorted.
pub fn max_excess(at_micros: &[u64], budget: CallBudget, tolerance_percent: u32) -> u64 {
    // In hundred-millionths of a call, so that nothing is rounded: 10⁶ µs × 100 %.
    const CALL: i128 = 100_000_000;
    let widened = 100 + i128::from(tolerance_percent);
    let granted_per_micro = i128::from(budget.per_second) * widened;
    let granted_at_once = i128::from(budget.burst) * widened * 1_000_000;
    let mut calls_before = 0_i128;
    let mut best_start = i128::MIN;
    let mut worst = 0_i128;
    for &at in at_micros {
        let granted_until_now = granted_per_micro * i128::from(at);
        // A window that starts with this call holds the calls from here on and grants the time from here on.
        best_start = best_start.max(granted_until_now - calls_before * CALL);
        calls_before += 1;
        worst = worst.max(calls_before * CALL - granted_until_now + best_start - granted_at_once);
    }
    u64::try_from((worst + CALL - 1) / CALL).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: CallBudget = CallBudget { per_second: 10, burst: 3 };

    /// The definition itself, every window in turn.
    fn slow_max_excess(at_micros: &[u64], budget: CallBudget) -> u64 {
        let mut worst = 0_i128;
        for (first, from) in at_micros.iter().enumerate() {
            for (last, to) in at_micros.iter().enumerate().skip(first) {
                let calls = i128::try_from(last - first + 1).unwrap() * 1_000_000;
                let granted =
                    i128::from(budget.burst) * 1_000_000 + i128::from(budget.per_second) * i128::from(to - from);
                worst = worst.max(calls - granted);
            }
        }
        u64::try_from((worst + 999_999) / 1_000_000).unwrap()
    }

    #[test]
    fn a_caller_that_spends_its_burst_and_then_keeps_pace_is_within_budget() {
        let at: Vec<u64> = [0, 0, 0].into_iter().chain((1..50).map(|call| call * 100_000)).collect();
        assert_eq!(max_excess(&at, BUDGET, 0), 0);
    }

    #[test]
    fn one_call_too_many_anywhere_is_found() {
        let mut at: Vec<u64> = (0..50).map(|call| call * 100_000).collect();
        at.extend([2_500_000, 2_500_000, 2_500_000]);
        at.sort_unstable();
        assert_eq!(max_excess(&at, BUDGET, 0), 1);
        assert_eq!(max_excess(&at, BUDGET, 40), 0);
    }

    #[test]
    fn the_quick_check_agrees_with_the_definition_on_random_logs() {
        let mut rng = crate::sim::Rng::new(11);
        for _ in 0..200 {
            let mut at: Vec<u64> = (0..30).map(|_| rng.next_u64() % 3_000_000).collect();
            at.sort_unstable();
            let budget = CallBudget { per_second: 5, burst: 2 };
            assert_eq!(max_excess(&at, budget, 0), slow_max_excess(&at, budget), "{at:?}");
        }
    }
}

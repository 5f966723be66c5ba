//! Loops say that they are alive; a loop that has not said so within its limit makes the process unhealthy. The database
//! has no part in it: an outage must not make every replica restart.
//!
//! A heartbeat that is dropped stays registered and becomes late: a loop that died must be seen. Only [`Heartbeat::retire`]
//! takes it off the list, which is what a loop does that ended because it was told to.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The loops of this process. Cheap to clone; all clones are one list.
#[derive(Debug, Clone, Default)]
pub struct Heartbeats {
    loops: Arc<Mutex<Vec<Entry>>>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    limit: Duration,
    beaten_at: Instant,
}

/// One loop's handle.
#[derive(Debug)]
#[must_use = "a loop that never beats becomes late"]
pub struct Heartbeat {
    name: String,
    all: Heartbeats,
}

/// How a loop is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulse {
    /// The loop.
    pub name: String,
    /// Time since its last beat.
    pub age: Duration,
    /// The longest that may be.
    pub limit: Duration,
}

impl Pulse {
    /// It has not beaten within its limit.
    pub fn is_late(&self) -> bool {
        self.age > self.limit
    }
}

impl Heartbeats {
    /// No loops yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a loop, which beats now. A loop that comes back under its name takes its old place.
    pub fn register(&self, name: &str, limit: Duration) -> Heartbeat {
        let entry = Entry { name: name.to_owned(), limit, beaten_at: Instant::now() };
        let mut loops = self.lock();
        loops.retain(|known| known.name != name);
        loops.push(entry);
        Heartbeat { name: name.to_owned(), all: self.clone() }
    }

    /// Every loop, in the order of registration.
    pub fn pulses(&self) -> Vec<Pulse> {
        self.pulses_at(Instant::now())
    }

    fn pulses_at(&self, now: Instant) -> Vec<Pulse> {
        let pulse = |entry: &Entry| Pulse {
            name: entry.name.clone(),
            age: now.saturating_duration_since(entry.beaten_at),
            limit: entry.limit,
        };
        self.lock().iter().map(pulse).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.loops.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heartbeat {
    /// The loop is alive.
    pub fn beat(&self) {
        let now = Instant::now();
        for entry in self.all.lock().iter_mut().filter(|entry| entry.name == self.name) {
            entry.beaten_at = now;
        }
    }

    /// The loop ended because it was told to.
    pub fn retire(self) {
        self.all.lock().retain(|entry| entry.name != self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn a_loop_that_stops_beating_is_late_and_a_beat_heals_it() {
        let all = Heartbeats::new();
        let beat = all.register("sweep", HOUR);
        let now = Instant::now();
        assert!(all.pulses_at(now + 2 * HOUR)[0].is_late());
        beat.beat();
        assert!(!all.pulses_at(now)[0].is_late());
    }

    #[test]
    fn a_dropped_loop_stays_on_the_list_and_a_retired_one_leaves_it() {
        let all = Heartbeats::new();
        drop(all.register("died", HOUR));
        all.register("told to end", HOUR).retire();
        let names: Vec<String> = all.pulses().into_iter().map(|p| p.name).collect();
        assert_eq!(names, ["died"]);
    }

    #[test]
    fn a_loop_that_comes_back_takes_its_old_place() {
        let all = Heartbeats::new();
        drop(all.register("sweep", Duration::ZERO));
        let _again = all.register("sweep", HOUR);
        assert_eq!(all.pulses().len(), 1);
        assert_eq!(all.pulses()[0].limit, HOUR);
    }
}

//! Counters and histograms by metric and labels, remembered by each thread: the recorder's own look-up builds a key of owned
//! strings and costs more than what it counts. Bounded by the catalogue's vocabulary. Before a recorder is installed nothing
//! is kept and nothing is remembered.

use std::{
    cell::RefCell,
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::atomic::{AtomicBool, Ordering},
};

use metrics::{Counter, Gauge, Histogram, with_recorder};

use super::{
    board::{METADATA, key},
    catalogue::{Kind, Metric},
};

static IS_INSTALLED: AtomicBool = AtomicBool::new(false);

thread_local! {
    static COUNTERS: Known<Counter> = Known::default();
    static HISTOGRAMS: Known<Histogram> = Known::default();
}

/// From now on there is a recorder.
pub(super) fn recorder_is_installed() {
    IS_INSTALLED.store(true, Ordering::Relaxed);
}

/// The counter of a metric with these values of its labels.
pub(super) fn counter(metric: &'static Metric, labels: &[&str]) -> Counter {
    debug_assert!(matches!(metric.kind, Kind::Counter), "{} is no counter", metric.name);
    if !IS_INSTALLED.load(Ordering::Relaxed) {
        return Counter::noop();
    }
    let register = || with_recorder(|recorder| recorder.register_counter(&key(metric, labels), &METADATA));
    COUNTERS.with(|known| known.get(metric, labels, register))
}

/// The histogram of a metric with these values of its labels.
pub(super) fn histogram(metric: &'static Metric, labels: &[&str]) -> Histogram {
    debug_assert!(matches!(metric.kind, Kind::Histogram(_)), "{} is no histogram", metric.name);
    if !IS_INSTALLED.load(Ordering::Relaxed) {
        return Histogram::noop();
    }
    let register = || with_recorder(|recorder| recorder.register_histogram(&key(metric, labels), &METADATA));
    HISTOGRAMS.with(|known| known.get(metric, labels, register))
}

/// The gauge of a metric with these values of its labels. Set so seldom that nobody remembers it.
pub(super) fn gauge(metric: &'static Metric, labels: &[&str]) -> Gauge {
    debug_assert!(matches!(metric.kind, Kind::SetGauge), "{} is not set by events", metric.name);
    if !IS_INSTALLED.load(Ordering::Relaxed) {
        return Gauge::noop();
    }
    with_recorder(|recorder| recorder.register_gauge(&key(metric, labels), &METADATA))
}

/// Handles by the hash of metric and labels; those that share a hash are told apart by comparing.
struct Known<H> {
    hasher: RandomState,
    handles: RefCell<HashMap<u64, Vec<Named<H>>>>,
}

struct Named<H> {
    metric: &'static str,
    labels: Vec<String>,
    handle: H,
}

impl<H> Default for Known<H> {
    fn default() -> Self {
        Self { hasher: RandomState::new(), handles: RefCell::default() }
    }
}

impl<H: Clone> Known<H> {
    fn get(&self, metric: &'static Metric, labels: &[&str], register: impl FnOnce() -> H) -> H {
        let mut handles = self.handles.borrow_mut();
        let same_hash = handles.entry(self.hasher.hash_one((metric.name, labels))).or_default();
        let is_it = |named: &&Named<H>| named.metric == metric.name && named.labels == labels;
        if let Some(named) = same_hash.iter().find(is_it) {
            return named.handle.clone();
        }
        let handle = register();
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        same_hash.push(Named { metric: metric.name, labels, handle: handle.clone() });
        handle
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::telemetry::catalogue::{FACTS, UNKNOWN_CODES};

    #[test]
    fn a_handle_is_registered_once_for_each_metric_and_labels() {
        let known = Known::default();
        let made = Cell::new(0);
        let get = |metric, labels: &[&str]| {
            known.get(metric, labels, || {
                made.set(made.get() + 1);
                made.get()
            })
        };
        assert_eq!([get(FACTS, &["a", "PAID"]), get(FACTS, &["a", "OPEN"]), get(UNKNOWN_CODES, &["a"])], [1, 2, 3]);
        assert_eq!([get(FACTS, &["a", "PAID"]), get(FACTS, &["a", "OPEN"]), get(UNKNOWN_CODES, &["a"])], [1, 2, 3]);
    }
}

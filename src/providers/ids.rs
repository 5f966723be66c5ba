//! X-EXTERNAL-IDs: 28 digits that no other call of the same WIB day has, whichever replica makes it.
//!
//! `yyyyMMddHHmmss` (WIB) + 6 digits of the process + 8 digits that count. A clock that is set back repeats the first
//! part but never the last; two processes differ in the middle, which the caller takes from the database.

use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};

use super::snap;

const INSTANCES: u32 = 1_000_000;
const COUNTS: u64 = 100_000_000;

/// The source of one process.
#[derive(Debug)]
pub struct ExternalIds {
    instance: u32,
    count: AtomicU64,
}

impl ExternalIds {
    /// `instance` must differ between processes that run on one day; its last six digits are used.
    pub const fn new(instance: u32) -> Self {
        Self { instance: instance % INSTANCES, count: AtomicU64::new(0) }
    }

    /// The next id.
    pub fn next(&self, now: DateTime<Utc>) -> String {
        let count = self.count.fetch_add(1, Ordering::Relaxed) % COUNTS;
        format!("{}{:06}{count:08}", snap::wib(now).format("%Y%m%d%H%M%S"), self.instance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_28_digits_of_the_wib_second_the_process_and_a_count() {
        let ids = ExternalIds::new(42);
        let at = "2026-11-20T17:30:05.9Z".parse().unwrap();
        assert_eq!(ids.next(at), "2026112100300500004200000000");
        assert_eq!(ids.next(at), "2026112100300500004200000001");
    }

    #[test]
    fn a_clock_set_back_and_another_process_repeat_nothing() {
        let (one, two) = (ExternalIds::new(1), ExternalIds::new(2));
        let at: DateTime<Utc> = "2026-11-20T10:00:00Z".parse().unwrap();
        let mut ids: Vec<String> = (0..100).flat_map(|_| [one.next(at), two.next(at)]).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 200);
    }
}

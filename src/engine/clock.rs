//! The database's time without asking it each time. The anchor is taken when an answer of the database has arrived, so
//! the estimate is never ahead of the true time: a request never claims to have left later than it did.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};

use tokio::sync::Mutex as Turn;

use crate::store::{Store, StoreError};

/// An anchor older than this is taken anew before a run of calls.
const ANCHOR_MAX_AGE: Duration = Duration::from_mins(1);

/// An estimate further ahead of the database than this is not one of two clocks that run a little differently.
const AHEAD_MAX: TimeDelta = TimeDelta::seconds(1);

/// Database time, estimated from an anchor and the process's monotonic clock.
#[derive(Debug)]
pub struct DbClock {
    anchor: Mutex<(Instant, DateTime<Utc>)>,
    /// Held by the one who asks the database.
    asking: Turn<()>,
}

impl DbClock {
    /// Takes the first anchor.
    pub async fn start(store: &Store) -> Result<Self, StoreError> {
        Ok(Self::of(Instant::now(), store.now().await?))
    }

    const fn of(taken: Instant, at: DateTime<Utc>) -> Self {
        Self { anchor: Mutex::new((taken, at)), asking: Turn::const_new(()) }
    }

    /// Takes a new anchor from a time that a statement, sent at `asked`, has just returned, unless a young one says that it is
    /// later already: a statement that took long returns the time at which it began. But it began after it was sent: where the
    /// estimate for that moment is far ahead, the database's clock has gone back (another server took over).
    pub fn set(&self, asked: Instant, at: DateTime<Utc>) {
        let now = Instant::now();
        let mut anchor = self.anchor.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = now.saturating_duration_since(anchor.0) > ANCHOR_MAX_AGE;
        let is_ahead = from(*anchor, asked).signed_duration_since(at) > AHEAD_MAX;
        if is_old || is_ahead || at > from(*anchor, now) {
            *anchor = (now, at);
        }
    }

    /// Takes a new anchor from the database if the present one is old. One asks; who comes meanwhile goes by the old one.
    pub async fn refresh(&self, store: &Store) -> Result<(), StoreError> {
        self.refresh_by(|| store.now()).await
    }

    async fn refresh_by<E>(&self, ask: impl AsyncFnOnce() -> Result<DateTime<Utc>, E>) -> Result<(), E> {
        let taken = self.anchor.lock().unwrap_or_else(PoisonError::into_inner).0;
        if taken.elapsed() > ANCHOR_MAX_AGE
            && let Ok(_turn) = self.asking.try_lock()
        {
            let asked = Instant::now();
            self.set(asked, ask().await?);
        }
        Ok(())
    }

    /// Database time now, at most a round trip behind.
    pub fn now(&self) -> DateTime<Utc> {
        self.at(Instant::now())
    }

    /// Database time at a moment of this process.
    pub fn at(&self, moment: Instant) -> DateTime<Utc> {
        from(*self.anchor.lock().unwrap_or_else(PoisonError::into_inner), moment)
    }
}

/// What an anchor says about a moment before or after it.
fn from((taken, at): (Instant, DateTime<Utc>), moment: Instant) -> DateTime<Utc> {
    let span = |from: Instant, to: Instant| TimeDelta::from_std(to.saturating_duration_since(from)).unwrap_or_default();
    at.checked_add_signed(span(taken, moment)).and_then(|at| at.checked_sub_signed(span(moment, taken))).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_that_took_long_does_not_set_the_clock_back() {
        let begun = DateTime::from_timestamp_secs(1_760_000_000).unwrap();
        let taken = Instant::now().checked_sub(Duration::from_secs(2)).unwrap();
        let clock = DbClock::of(taken, begun);
        // It was sent a second and a half ago and began at once.
        clock.set(taken + Duration::from_millis(500), begun + TimeDelta::milliseconds(600));
        assert!(clock.now() >= begun + TimeDelta::seconds(2));
        clock.set(Instant::now(), begun + TimeDelta::seconds(5));
        assert!(clock.now() >= begun + TimeDelta::seconds(5));
    }

    #[test]
    fn a_server_whose_clock_is_behind_that_of_the_last_one_is_followed_at_once() {
        let begun = DateTime::from_timestamp_secs(1_760_000_000).unwrap();
        let clock = DbClock::of(Instant::now(), begun);
        clock.set(Instant::now(), begun - TimeDelta::minutes(2));
        assert!(clock.now() < begun - TimeDelta::minutes(1), "a call would claim to have left later than it did");
    }

    #[test]
    fn a_moment_before_the_anchor_is_before_it_in_the_database_too() {
        let (taken, at) = (Instant::now(), DateTime::from_timestamp_secs(1_760_000_000).unwrap());
        let clock = DbClock::of(taken, at);
        assert_eq!(clock.at(taken.checked_sub(Duration::from_millis(40)).unwrap()), at - TimeDelta::milliseconds(40));
        assert_eq!(clock.at(taken + Duration::from_millis(40)), at + TimeDelta::milliseconds(40));
    }

    #[tokio::test]
    async fn of_many_who_find_the_anchor_old_one_asks_and_nobody_waits_for_him() {
        let at = DateTime::from_timestamp_secs(1_760_000_000).unwrap();
        let old = Instant::now().checked_sub(ANCHOR_MAX_AGE + Duration::from_secs(1)).unwrap();
        let clock = DbClock::of(old, at);
        let asked = std::cell::Cell::new(0_u32);
        let (answer, answered) = tokio::sync::oneshot::channel::<DateTime<Utc>>();
        let first = clock.refresh_by(async || {
            asked.set(asked.get() + 1);
            answered.await
        });
        tokio::pin!(first);
        assert!(futures::poll!(first.as_mut()).is_pending(), "the database has not answered");
        for _ in 0..10 {
            let other = clock.refresh_by(async || -> Result<_, ()> {
                asked.set(asked.get() + 1);
                Ok(at)
            });
            assert_eq!(other.await, Ok(()));
        }
        let later = at + TimeDelta::hours(1);
        answer.send(later).unwrap();
        first.await.unwrap();
        assert!(asked.get() == 1 && clock.now() >= later, "{} asked", asked.get());
    }
}

//! The database's time without asking it each time. The anchor is taken when an answer of the database has arrived, so
//! the estimate is never ahead of the true time: a request never claims to have left later than it did.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};

use crate::store::{Store, StoreError};

/// An anchor older than this is taken anew before a run of calls.
const ANCHOR_MAX_AGE: Duration = Duration::from_mins(1);

/// Database time, estimated from an anchor and the process's monotonic clock.
#[derive(Debug)]
pub struct DbClock {
    anchor: Mutex<(Instant, DateTime<Utc>)>,
}

impl DbClock {
    /// Takes the first anchor.
    pub async fn start(store: &Store) -> Result<Self, StoreError> {
        let at = store.now().await?;
        Ok(Self { anchor: Mutex::new((Instant::now(), at)) })
    }

    /// Takes a new anchor from a time that a statement has just returned.
    pub fn set(&self, at: DateTime<Utc>) {
        *self.anchor.lock().unwrap_or_else(PoisonError::into_inner) = (Instant::now(), at);
    }

    /// Takes a new anchor from the database if the present one is old.
    pub async fn refresh(&self, store: &Store) -> Result<(), StoreError> {
        let taken = self.anchor.lock().unwrap_or_else(PoisonError::into_inner).0;
        if taken.elapsed() > ANCHOR_MAX_AGE {
            self.set(store.now().await?);
        }
        Ok(())
    }

    /// Database time now, at most a round trip behind.
    pub fn now(&self) -> DateTime<Utc> {
        let (taken, at) = *self.anchor.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = TimeDelta::from_std(taken.elapsed()).unwrap_or_default();
        at.checked_add_signed(passed).unwrap_or(at)
    }
}

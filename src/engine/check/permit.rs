//! Leave to call under an account's budget, and what became of the calls made under it.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    engine::{Ctx, budget::NoSlot, clock::DbClock, runtime::AccountRuntime},
    providers::{CallKind, Denied, Failure, Permit},
    store::{Store, limits::CallClass},
    telemetry::metrics,
};

/// Leave to call: a slot of the shared budget. Remembers when the last call was let go, for `sent_at`.
pub(crate) struct SlotPermit<'a> {
    store: &'a Store,
    account: &'a AccountRuntime,
    clock: &'a DbClock,
    stop: &'a CancellationToken,
    class: CallClass,
    latest: Instant,
    /// The row of a chunk that it is for: somebody may come to wait for it.
    row: Option<i64>,
    /// A probe: it was asked for in bad weather and may go in it.
    pub(super) in_bad_weather: bool,
    asked_at: Instant,
    sent_us: AtomicI64,
    waited_us: AtomicU64,
    pub(super) ends: Mutex<Ends>,
}

/// How the calls ended that were made under one permit.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ends {
    pub(super) answered: u32,
    pub(super) failed: u32,
    pub(super) last_failure: Option<Failure>,
}

impl<'a> SlotPermit<'a> {
    pub(crate) fn new(ctx: &'a Ctx, account: &'a AccountRuntime, class: CallClass, latest: Instant) -> Self {
        Self {
            store: &ctx.store,
            account,
            clock: &ctx.clock,
            stop: &ctx.stop,
            class,
            latest,
            row: None,
            in_bad_weather: account.weather.is_bad(),
            asked_at: Instant::now(),
            sent_us: AtomicI64::new(0),
            waited_us: AtomicU64::new(0),
            ends: Mutex::default(),
        }
    }

    /// The same for a row of a chunk.
    pub(super) fn for_row(self, id: i64) -> Self {
        Self { row: Some(id), ..self }
    }

    /// Waits until somebody waits for the row; for ever where its calls are before all others anyway.
    pub(super) async fn hurried(&self) {
        match self.row {
            Some(id) if matches!(self.class, CallClass::Due | CallClass::Adhoc) => self.account.hurry.of(id).await,
            Some(_) | None => std::future::pending().await,
        }
    }

    /// A slot, and the class that it is of.
    async fn slot(&self) -> Result<CallClass, NoSlot> {
        let slot = |class| async move {
            self.account.budget.slot(self.store, self.clock, class, self.latest).await?;
            Ok(class)
        };
        tokio::select! {
            // The slot first: where it is there at once, nobody need listen for anything.
            biased;
            granted = slot(self.class) => granted,
            () = self.hurried() => slot(CallClass::Cashier).await,
        }
    }

    /// How long the last call has taken since it was let go.
    pub(crate) fn took(&self) -> Duration {
        self.asked_at.elapsed().saturating_sub(Duration::from_micros(self.waited_us.load(Ordering::Relaxed)))
    }

    /// Database time when the last call was let go.
    pub(crate) fn sent_at(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.sent_us.load(Ordering::Relaxed)).unwrap_or_default()
    }
}

impl Permit for SlotPermit<'_> {
    async fn call(&self, _kind: CallKind) -> Result<(), Denied> {
        let begun = Instant::now();
        let slot = tokio::select! {
            biased;
            slot = self.slot() => slot,
            // Nothing new is asked by a process that ends.
            () = self.stop.cancelled() => return Err(Denied),
        };
        let class = slot.map_err(|error| {
            tracing::debug!(account = %self.account.name, %error, "no call slot");
            Denied
        })?;
        metrics::budget_slot(&self.account.name, class.as_str());
        // The weather may have turned while this one waited for its slot.
        if self.account.weather.is_bad() && !self.in_bad_weather {
            return Err(Denied);
        }
        self.sent_us.store(self.clock.now().timestamp_micros(), Ordering::Relaxed);
        let until_now = u64::try_from(self.asked_at.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.waited_us.store(until_now, Ordering::Relaxed);
        metrics::budget_wait(&self.account.name, class.as_str(), begun.elapsed());
        Ok(())
    }

    fn ended(&self, _kind: CallKind, failure: Option<Failure>) {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        match failure {
            Some(failure) => {
                *ends = Ends { failed: ends.failed.saturating_add(1), last_failure: Some(failure), ..*ends }
            }
            None => ends.answered = ends.answered.saturating_add(1),
        }
    }
}

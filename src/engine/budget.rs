//! Hands out permission to call a provider. The truth is one row per account in Postgres, shared by every replica and
//! every ad-hoc run; this process leases slots from it in small blocks and uses each at its time or not at all.
//!
//! A slot is good for a short while; slots that nobody used by then are gone, so that idle time never turns into a burst.
//! The burst that Postgres grants is smaller by the calls that fit into that while: in any t seconds at most
//! `burst + per_second · t` calls leave. Where the burst is large it pays for longer lives, and fewer blocks are leased.

use std::{
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicI32, AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::{
    sync::{Mutex, oneshot},
    time::Instant,
};

use crate::{
    engine::clock::DbClock,
    store::{
        Store, StoreError,
        limits::{Ask, CallClass, Slots},
    },
    telemetry::metrics,
};

/// How long after its time a slot may still be used, at least.
const TTL_MIN: Duration = Duration::from_millis(10);
/// And at most: what is leased ahead is lost with a process that dies.
const TTL_MAX: Duration = Duration::from_millis(100);
/// A life longer than the least may cost one part in so many of the burst. It is well spent: on a busy machine a process often
/// comes some hundredths of a second late to its slot, and a slot that is gone is a call that nobody makes.
const TTL_OF_BURST: u32 = 8;
/// Between the leave to call and the provider's door a busy machine may take so long. Calls that it holds up arrive together,
/// and the burst must pay for them too.
const TRANSIT: Duration = Duration::from_millis(25);
/// How far ahead of now lent slots may lie: long beside a commit, and no longer, because a process that is killed takes with it
/// the slots that it holds. All replicas together hold what the rate grants in this time.
const NEAR: Duration = Duration::from_millis(100);
/// By how much further a class reaches than the next one below it, or by one slot where that is more: while all of them want
/// more than their reserve, what is lent goes to the one above.
const AHEAD: Duration = Duration::from_millis(25);
/// How far ahead of now a class's own slots may lie.
const FAR: Duration = Duration::from_secs(2);

/// A block may span this time at any rate.
const BLOCK_SPAN: Duration = Duration::from_millis(20);

/// An account's limits, as configured.
#[derive(Debug, Clone, Copy)]
pub struct BudgetSettings {
    /// Calls per second.
    pub per_second: u32,
    /// Calls that may go at once.
    pub burst: u32,
    /// Percent kept for refunds, the cashier and ad-hoc runs together.
    pub reserve_percent: u32,
    /// Most slots in one block.
    pub block_max: u32,
}

/// No slot could be had in time.
#[derive(Debug, thiserror::Error)]
pub enum NoSlot {
    /// The budget is used up for longer than the caller can wait.
    #[error("the call budget is used up; nothing was sent")]
    TooLate,
    /// The budget's row could not be reached.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The slots of one account in this process.
#[derive(Debug)]
pub struct Budget {
    account: String,
    settings: RwLock<BudgetSettings>,
    banks: [Bank; 4],
    /// Grows with every push-back; a block of an older epoch is void.
    epoch: AtomicU64,
}

#[derive(Debug, Default)]
struct Bank {
    waiting: AtomicI32,
    block: Mutex<Block>,
}

/// One who waits, counted until it has its slot or gives up, in whatever way it does.
struct Waiting<'a>(&'a Bank);

impl<'a> Waiting<'a> {
    fn at(bank: &'a Bank) -> Self {
        bank.waiting.fetch_add(1, Ordering::Relaxed);
        Self(bank)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A block at least so large is half used when the next one is leased, so that nobody waits for the commit. At a small rate
/// slots are not hoarded: other replicas may want them.
const AHEAD_FROM: i32 = 16;

/// A block on its way, and then the way it had.
type Coming = oneshot::Receiver<(Result<Slots, StoreError>, Way)>;

/// When a block was asked for, and when its answer came.
#[derive(Debug, Clone, Copy)]
struct Way {
    asked_at: Instant,
    came_at: Instant,
}

impl Way {
    /// How long ago the database had counted the block out when it came: `counted_at` and, at the moment it came, `now` by the
    /// database's clock as this process knows it. That clock may be wrong, and a block that is taken for older than it is would
    /// be used too early: it was not counted out before it was asked for.
    fn lag(self, now: DateTime<Utc>, counted_at: DateTime<Utc>) -> Duration {
        let said = now.signed_duration_since(counted_at).to_std().unwrap_or_default();
        said.min(self.came_at.saturating_duration_since(self.asked_at))
    }
}

/// A block of leased slots and how the next one should be sized.
#[derive(Debug, Default)]
struct Block {
    first: Option<Instant>,
    granted_at: Option<Instant>,
    spacing: Duration,
    ttl: Duration,
    left: i32,
    used: i32,
    next_want: i32,
    epoch: u64,
    coming: Option<Coming>,
    /// How long the last block was under way after the database had counted it out.
    lag: Duration,
}

impl Block {
    /// Is half of it gone?
    fn wants_another(&self) -> bool {
        let granted = self.left.saturating_add(self.used);
        self.coming.is_none() && granted >= AHEAD_FROM && self.left <= self.used
    }

    /// The time of the next usable slot; expired ones are dropped.
    fn pop(&mut self, now: Instant) -> Option<Instant> {
        while self.left > 0 {
            let nominal = self.first?;
            let usable_from = nominal.max(self.granted_at?);
            self.first = nominal.checked_add(self.spacing);
            self.left = self.left.saturating_sub(1);
            if usable_from + self.ttl >= now {
                self.used = self.used.saturating_add(1);
                return Some(usable_from);
            }
            // Slots run out unused: this many were too many, what was used of them is the measure.
            self.next_want = self.used;
        }
        None
    }

    /// `counted_at`: when the database counted them out. Slots of a block that took long to come are as old as they are: the row
    /// has saved up new ones meanwhile.
    fn fill(&mut self, slots: &Slots, spacing: Duration, ttl: Duration, counted_at: Instant) {
        let offset = Duration::from_micros(slots.first_us.unsigned_abs());
        let first = if slots.first_us >= 0 { counted_at.checked_add(offset) } else { counted_at.checked_sub(offset) };
        self.first = Some(first.unwrap_or(counted_at));
        self.granted_at = Some(counted_at);
        self.spacing = spacing;
        self.ttl = ttl;
        self.left = slots.granted;
        self.used = 0;
        self.next_want = slots.granted.saturating_mul(2);
    }
}

impl Budget {
    /// The budget of an account.
    pub fn new(account: &str, settings: BudgetSettings) -> Self {
        let budget = Self {
            account: account.to_owned(),
            settings: RwLock::new(settings),
            banks: Default::default(),
            epoch: AtomicU64::new(0),
        };
        budget.say_what_it_grants();
        budget
    }

    /// What the slots' spacing comes to: less than the configured rate where the burst is too small to pay for late slots.
    fn say_what_it_grants(&self) {
        metrics::budget_grants(&self.account, micros(self.ask(CallClass::Due, 1, Duration::ZERO).spacing_us));
    }

    /// Limits from now on. Slots that this process leased under the old ones are void.
    pub fn set(&self, settings: BudgetSettings) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
        self.say_what_it_grants();
        self.void();
    }

    fn settings(&self) -> BudgetSettings {
        *self.settings.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a call slot of a class, at most until `latest`.
    pub async fn slot(&self, store: &Store, clock: &DbClock, class: CallClass, latest: Instant) -> Result<(), NoSlot> {
        let bank = self.bank(class);
        let _waiting = Waiting::at(bank);
        tokio::time::timeout_at(latest, self.next_slot(store, clock, class, bank)).await.unwrap_or(Err(NoSlot::TooLate))
    }

    /// Nobody calls this account for `wait`: the provider said so.
    pub async fn push_back(&self, store: &Store, wait: Duration) -> Result<(), StoreError> {
        self.void();
        let pushed = store.push_back(&self.account, wait).await;
        // Once more for what was leased before the row had moved.
        self.void();
        pushed
    }

    /// Slots leased before are void, also those that somebody waits for; nobody waits for their holders here.
    pub fn void(&self) {
        self.epoch.fetch_add(1, Ordering::Relaxed);
    }

    async fn next_slot(&self, store: &Store, clock: &DbClock, class: CallClass, bank: &Bank) -> Result<(), NoSlot> {
        loop {
            let (at, epoch) = self.lease(store, clock, class, bank).await?;
            // A slot that is good now needs no timer; registering one is half of what a slot costs.
            if at <= Instant::now() {
                return Ok(());
            }
            tokio::time::sleep_until(at).await;
            if Instant::now() <= at + ttl(self.settings()) && self.epoch.load(Ordering::Relaxed) == epoch {
                return Ok(());
            }
        }
    }

    async fn lease(
        &self,
        store: &Store,
        clock: &DbClock,
        class: CallClass,
        bank: &Bank,
    ) -> Result<(Instant, u64), NoSlot> {
        let mut block = bank.block.lock().await;
        loop {
            let epoch = self.epoch.load(Ordering::Relaxed);
            if block.epoch != epoch {
                block.epoch = epoch;
                block.left = 0;
                block.coming = None;
            }
            let waiting = bank.waiting.load(Ordering::Relaxed).max(1);
            if let Some(at) = block.pop(Instant::now()) {
                if block.wants_another() {
                    let ask = self.ask(class, waiting.max(block.next_want), block.lag);
                    block.coming = Some(self.send_for(store, ask));
                }
                return Ok((at, epoch));
            }
            let (slots, way) = if let Some(coming) = &mut block.coming {
                // Waited for in place: whoever gives up here leaves it to the next.
                let came = coming.await;
                block.coming = None;
                let Ok((slots, way)) = came else { continue };
                (slots?, way)
            } else {
                let ask = self.ask(class, waiting.max(block.next_want), block.lag);
                let asked_at = Instant::now();
                let slots = store.take_slots(&self.account, &ask).await?;
                (slots, Way { asked_at, came_at: Instant::now() })
            };
            // Pushed back meanwhile: whether these were granted before or after, nobody can tell.
            if self.epoch.load(Ordering::Relaxed) != epoch {
                continue;
            }
            let lag = way.lag(clock.at(way.came_at.into_std()), slots.at);
            block.lag = lag.min(FAR);
            if slots.granted > 0 {
                let counted_at = way.came_at.checked_sub(lag).unwrap_or(way.came_at);
                let spacing = micros(self.ask(class, 1, Duration::ZERO).spacing_us);
                block.fill(&slots, spacing, ttl(self.settings()), counted_at);
            } else {
                block.next_want = 1;
                tokio::time::sleep(micros(slots.retry_us)).await;
            }
        }
    }

    /// Leases a block beside the one in use.
    fn send_for(&self, store: &Store, ask: Ask) -> Coming {
        let (sender, coming) = oneshot::channel();
        let (store, account) = (store.clone(), self.account.clone());
        tokio::spawn(async move {
            let asked_at = Instant::now();
            let slots = store.take_slots(&account, &ask).await;
            // Nobody takes them any more: they expire.
            drop(sender.send((slots, Way { asked_at, came_at: Instant::now() })));
        });
        coming
    }

    /// `lag`: where blocks take long to come, slots must lie further ahead, or none is left when they have come.
    fn ask(&self, class: CallClass, want: i32, lag: Duration) -> Ask {
        let settings = self.settings();
        let spacing_us = micros_of(spacing(settings));
        let ttl_us = micros_of(ttl(settings).saturating_add(TRANSIT));
        let late = ttl_us.checked_div(spacing_us).unwrap_or(0).saturating_add(1);
        let burst = i64::from(settings.burst);
        let lag_us = micros_of(lag.saturating_mul(2));
        // Too small a burst to pay for late slots: space the slots wider instead.
        let (burst, spacing_us) = if burst > late {
            (burst.saturating_sub(late), spacing_us)
        } else {
            (1, spacing_us.saturating_add(ttl_us))
        };
        Ask {
            class,
            want: want.min(block_max(settings)).max(1),
            spacing_us,
            burst: i32::try_from(burst).unwrap_or(i32::MAX),
            share_permille: share_permille(settings, class),
            near_us: near_us(class, spacing_us).saturating_add(lag_us),
            // A class's own slots must lie within reach whatever burst the others have just used.
            far_us: micros_of(FAR)
                .max(
                    near_us(CallClass::Refund, spacing_us)
                        .saturating_add(burst.saturating_add(4).saturating_mul(spacing_us)),
                )
                .saturating_add(lag_us),
        }
    }

    fn bank(&self, class: CallClass) -> &Bank {
        let [refund, cashier, adhoc, due] = &self.banks;
        match class {
            CallClass::Refund => refund,
            CallClass::Cashier => cashier,
            CallClass::Adhoc => adhoc,
            CallClass::Due => due,
        }
    }
}

/// Between two calls at the configured rate.
fn spacing(settings: BudgetSettings) -> Duration {
    Duration::from_secs(1).checked_div(settings.per_second.max(1)).unwrap_or(Duration::from_secs(1)).max(MICROSECOND)
}

/// The database counts no finer.
const MICROSECOND: Duration = Duration::from_micros(1);

/// How long after its time a slot may still be used.
fn ttl(settings: BudgetSettings) -> Duration {
    let paid_for = settings.burst.checked_div(TTL_OF_BURST).unwrap_or(0);
    spacing(settings).saturating_mul(paid_for).clamp(TTL_MIN, TTL_MAX)
}

/// The configured block, or what the rate grants in `BLOCK_SPAN` where that is more: a block costs a commit.
fn block_max(settings: BudgetSettings) -> i32 {
    let span_ms = u32::try_from(BLOCK_SPAN.as_millis()).unwrap_or(0);
    let grants = settings.per_second.saturating_mul(span_ms).checked_div(1000).unwrap_or(0);
    i32::try_from(settings.block_max.max(grants)).unwrap_or(i32::MAX)
}

/// The reserve is parted two fifths to refunds, two fifths to ad-hoc runs, one fifth to the cashier.
fn share_permille(settings: BudgetSettings, class: CallClass) -> i32 {
    let reserve = i32::try_from(settings.reserve_percent.min(90)).unwrap_or(0).saturating_mul(10);
    let fifth = reserve.checked_div(5).unwrap_or(0);
    match class {
        CallClass::Refund | CallClass::Adhoc => fifth.saturating_mul(2).max(1),
        CallClass::Cashier => fifth.max(1),
        CallClass::Due => 1000_i32.saturating_sub(reserve).max(1),
    }
}

/// Refunds before the cashier, the cashier before what is due, what is due before `rekon reconcile`, whoever started it.
fn near_us(class: CallClass, spacing_us: i64) -> i64 {
    let step = micros_of(AHEAD).max(spacing_us);
    let steps = match class {
        CallClass::Refund => 2,
        CallClass::Cashier => 1,
        CallClass::Due => 0,
        CallClass::Adhoc => -1,
    };
    micros_of(NEAR).saturating_add(step.saturating_mul(steps)).max(0)
}

fn micros_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn micros(us: i64) -> Duration {
    Duration::from_micros(us.max(0).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(per_second: u32, burst: u32) -> BudgetSettings {
        BudgetSettings { per_second, burst, reserve_percent: 20, block_max: 64 }
    }

    #[test]
    fn a_slot_lives_as_long_as_an_eighth_of_the_burst_pays_for_within_bounds() {
        assert_eq!(ttl(at(1_000, 4)), TTL_MIN);
        assert_eq!(ttl(at(100, 20)), Duration::from_millis(20));
        assert_eq!(ttl(at(10, 10)), TTL_MAX);
        assert_eq!(ttl(at(100_000, 100_000)), TTL_MAX);
    }

    /// Eight slots at ten a second that lie in the past: what an idle account's row has saved up.
    fn saved_up() -> Slots {
        Slots { granted: 8, first_us: -700_000, retry_us: 1_000, at: chrono::DateTime::UNIX_EPOCH }
    }

    #[test]
    fn slots_of_a_block_that_took_long_to_come_are_gone_because_the_row_has_saved_up_new_ones() {
        let began = Instant::now();
        let now = began + Duration::from_secs(1);
        let mut block = Block::default();
        block.fill(&saved_up(), Duration::from_millis(100), TTL_MAX, began);
        assert_eq!(block.pop(now), None);
        block.fill(&saved_up(), Duration::from_millis(100), TTL_MAX, began + Duration::from_millis(980));
        assert!(block.pop(now).is_some(), "a block that came in time is used");
    }

    #[test]
    fn a_clock_that_is_wrong_makes_no_block_older_than_its_way_was_long() {
        let asked_at = Instant::now();
        let way = Way { asked_at, came_at: asked_at + Duration::from_millis(40) };
        let lag =
            |off_ms| way.lag(DateTime::UNIX_EPOCH + chrono::TimeDelta::milliseconds(off_ms), DateTime::UNIX_EPOCH);
        assert_eq!(lag(30), Duration::from_millis(30));
        assert_eq!(lag(500), Duration::from_millis(40));
        assert_eq!(lag(-500), Duration::ZERO);
    }
}

//! What a reconciliation does beside asking, because it may be all that runs: it proves the rules of money before a refund leaves,
//! while it lasts and at its end, makes due what a brake held up that was let go of, and carries out the seal and the pruning whose
//! slot has come. Where a daemon runs, the turns and
//! the slots are mostly taken, and nothing is done twice.
//!
//! Absent on purpose: the daily reconciliation of the calendar, which is what the caller does, and the command bus.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use crate::{
    engine::{
        Ctx, released,
        sentinel::{self, Pass},
    },
    jobs::{commands::carry_out, guard::guard, schedule::left_over},
};

/// What is carried out of the calendar.
const KEPT: [&str; 2] = ["seal", "prune"];
/// A pass that takes longer is given up.
const PASS_MAX: Duration = Duration::from_secs(20);
/// After this long the walk over what a brake held up is left to the run's worker.
const WALK_MAX: Duration = Duration::from_secs(10);
/// After this long no further pass is begun at the end; the next run goes on there.
const LAST_PASSES: Duration = Duration::from_secs(10);

/// The house of one run.
#[derive(Debug)]
pub struct House {
    ctx: Arc<Ctx>,
    /// The number of the last pass made here; 0: none.
    passed: AtomicI64,
}

impl House {
    /// Makes a pass if one is due: what it finds broken stops the refunds of its account before the run can send one. Then makes due
    /// what a brake held up: it is among what the run asks; what is left then the run's own worker goes on with.
    pub async fn open(ctx: &Arc<Ctx>) -> Self {
        let house = Self { ctx: Arc::clone(ctx), passed: AtomicI64::new(0) };
        house.pass().await;
        let walked = async { Ok(released::carry_on(&ctx.store, &ctx.stop).await?) };
        if let Err(error) = guard(WALK_MAX, walked).await {
            tracing::warn!(%error, "not all that a brake held up is due; the run goes on with it");
        }
        house
    }

    /// Makes passes, as often as a daemon does, until `done`; a pass that has begun ends.
    pub async fn watch(&self, done: &CancellationToken) {
        loop {
            tokio::select! {
                () = done.cancelled() => return,
                () = tokio::time::sleep(self.ctx.limits.sentinel.every) => {}
            }
            self.pass().await;
        }
    }

    /// Seals and prunes where that is due, one after the other, for `limit` in all. What does not come to its end goes back, and
    /// what was not begun stays: a later run or a daemon takes it.
    pub async fn calendar(&self, limit: Duration) {
        let end = Instant::now() + limit;
        let left = match left_over(&self.ctx, &KEPT).await {
            Ok(left) => left,
            Err(error) => {
                tracing::warn!(%error, "the calendar could not be read; the next run looks again");
                return;
            }
        };
        for run in left {
            let time_left = end.saturating_duration_since(Instant::now());
            if time_left.is_zero() {
                tracing::warn!(run, "the deadline has passed: this run is left to a later one");
                continue;
            }
            if let Err(error) = carry_out(&self.ctx, run, time_left).await {
                tracing::warn!(run, %error, "what came of a run could not be written down");
            }
        }
    }

    /// Makes the last passes: what this run has written is among what is new. Ends with the table or after ten seconds.
    pub async fn close(&self) {
        let begun = Instant::now();
        while begun.elapsed() < LAST_PASSES {
            match self.pass().await {
                Some(pass) if !pass.is_rotation => {}
                Some(_) | None => return,
            }
        }
    }

    async fn pass(&self) -> Option<Pass> {
        let Ctx { store, limits, rulebook, .. } = &*self.ctx;
        let accounts: Vec<String> = rulebook.accounts.keys().cloned().collect();
        let mine = Some(self.passed.load(Ordering::Relaxed)).filter(|number| *number > 0);
        let made = async { Ok(sentinel::pass_after(store, limits.sentinel, &accounts, mine).await?) };
        match guard(PASS_MAX, made).await {
            Ok(made) => made.inspect(|pass| self.passed.store(pass.number, Ordering::Relaxed)),
            Err(error) => {
                tracing::warn!(%error, "the rules of money could not be proved");
                None
            }
        }
    }
}

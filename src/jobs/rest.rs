//! The pause before a worker that died begins again: it grows with each death soon after the last, and it does not end while the database
//! is away. Without it a worker whose storage is gone dies and comes back some ten times a second, and says so each time.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{engine::Ctx, store::Store};

/// After the first death.
const FIRST: Duration = Duration::from_secs(1);
/// Commands wait so long at most when the database is back: as long as a calendar's slot may be late without anybody noticing.
const LONGEST: Duration = Duration::from_secs(15);
/// A worker that lived for so long has recovered: its next death is a first one.
const WELL_AFTER: Duration = Duration::from_mins(2);

/// The deaths of one worker.
#[derive(Debug, Default)]
pub(super) struct Rest(Mutex<Option<Death>>);

#[derive(Debug, Clone, Copy)]
struct Death {
    at: Instant,
    pause: Duration,
}

impl Rest {
    /// How long the life that begins `now` waits first.
    pub(super) fn pause(&self, now: Instant, restarts: usize) -> Duration {
        if restarts == 0 {
            return Duration::ZERO;
        }
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = match *last {
            Some(Death { at, pause }) if now.saturating_duration_since(at) < pause + WELL_AFTER => longer(pause),
            _ => FIRST,
        };
        *last = Some(Death { at: now, pause });
        pause
    }
}

const fn longer(pause: Duration) -> Duration {
    let twice = pause.saturating_mul(2);
    if twice.as_nanos() > LONGEST.as_nanos() { LONGEST } else { twice }
}

/// Waits, and then until that database answers; the end of the process ends both.
pub(super) async fn wait(ctx: &Ctx, store: &Store, mut pause: Duration) {
    if pause.is_zero() {
        return;
    }
    loop {
        tokio::select! {
            () = ctx.stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        match store.now().await {
            Ok(_) => return,
            Err(error) => tracing::debug!(%error, "a worker that died waits for the database"),
        }
        pause = longer(pause);
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, FIRST, Instant, LONGEST, Rest, WELL_AFTER};

    #[test]
    fn the_pause_grows_to_its_cap_and_begins_anew_after_a_good_life() {
        let rest = Rest::default();
        let mut now = Instant::now();
        assert_eq!(rest.pause(now, 0), Duration::ZERO, "nobody has died yet");
        let mut pauses = Vec::new();
        for restarts in 1..8 {
            let pause = rest.pause(now, restarts);
            pauses.push(pause.as_secs());
            // It dies at once.
            now += pause;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 15, 15, 15]);
        now += LONGEST + WELL_AFTER;
        assert_eq!(rest.pause(now, 8), FIRST, "it had recovered");
    }
}

//! Collects answers of every account and settles them in groups: up to `group_max` answers, or what came in `linger`.
//! While the database works on one group the next is decided: two are under way at once. They may meet on a row only when
//! its lease was lost, and the row's lock orders them then. A database that is away is waited for; answers are kept in
//! memory meanwhile, up to the channel's size, and the askers wait behind them. A group whose settling panics is counted,
//! said and given up; the settler goes on.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt as _;
use tokio::{sync::mpsc, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    engine::{
        rulebook::Rulebook,
        settle::{self, Answered},
    },
    store::Store,
    telemetry::{heartbeat::Heartbeat, metrics},
};

/// How groups are formed.
#[derive(Debug, Clone, Copy)]
pub struct SettlerSettings {
    /// Most answers in one transaction.
    pub group_max: usize,
    /// Longest wait for a group to fill.
    pub linger: Duration,
    /// How long answers are kept for a database that is away; their leases run out by then and they are asked again.
    pub keep: Duration,
}

/// The entry for answers.
pub type Answers = mpsc::Sender<Answered>;

/// Groups under way at once.
const GROUPS: usize = 2;
/// Pause between attempts while the database is away.
const RETRY: Duration = Duration::from_millis(500);
/// Pause between two signs of life while nothing comes.
const BEAT: Duration = Duration::from_secs(5);

/// Makes a settler: the entry, and the work to run. Once `end` is cancelled it takes nothing new, writes what it has and
/// ends. Its heart beats with every group and while nothing comes.
pub fn settler(
    store: Store,
    rulebook: Arc<Rulebook>,
    settings: SettlerSettings,
    heart: Heartbeat,
    end: CancellationToken,
) -> (Answers, impl Future<Output = ()> + Send) {
    let (sender, receiver) = mpsc::channel(settings.group_max.saturating_mul(4));
    let heart = Arc::new(heart);
    let (heard, ending) = (Arc::clone(&heart), end.clone());
    let settle = move |group: Vec<Answered>| {
        let (store, rulebook, heart, end) = (store.clone(), Arc::clone(&rulebook), Arc::clone(&heard), ending.clone());
        async move { settle_or_wait(&store, &rulebook, settings, &group, &heart, &end).await }
    };
    let work = async move {
        collect(receiver, settings, settle, &heart, &end).await;
        // It ended because it was told to; one that dies stays on the list and becomes late.
        if let Some(heart) = Arc::into_inner(heart) {
            heart.retire();
        }
    };
    (sender, work)
}

/// Forms groups and has them settled, until the entry is closed and all is written.
async fn collect<T, F>(
    mut receiver: mpsc::Receiver<T>,
    settings: SettlerSettings,
    settle: impl Fn(Vec<T>) -> F,
    heart: &Heartbeat,
    end: &CancellationToken,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut under_way = JoinSet::new();
    loop {
        heart.beat();
        let mut group = Vec::with_capacity(settings.group_max);
        tokio::select! {
            taken = receiver.recv_many(&mut group, settings.group_max) => if taken == 0 { break },
            () = end.cancelled(), if !receiver.is_closed() => {
                receiver.close();
                continue;
            }
            () = tokio::time::sleep(BEAT) => continue,
        }
        let until = Instant::now() + settings.linger;
        while group.len() < settings.group_max {
            let room = settings.group_max.saturating_sub(group.len());
            match tokio::time::timeout_at(until, receiver.recv_many(&mut group, room)).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        // Behind two groups the third fills up: under load groups are as large as they may be, and a commit is shared.
        while under_way.len() >= GROUPS {
            let room = settings.group_max.saturating_sub(group.len());
            tokio::select! {
                _ = under_way.join_next() => {}
                _ = receiver.recv_many(&mut group, room), if room > 0 && !receiver.is_closed() => {}
            }
        }
        under_way.spawn(guarded(group.len(), settle(group)));
    }
    while !under_way.is_empty() {
        drop(under_way.join_next().await);
    }
}

/// Nothing is lost by a group that ends badly: its rows are still due and are asked again when their leases run out.
async fn guarded(rows: usize, settling: impl Future<Output = ()> + Send) {
    if AssertUnwindSafe(settling).catch_unwind().await.is_err() {
        metrics::poisoned_rows(u64::try_from(rows).unwrap_or(u64::MAX));
        tracing::error!(rows, "settling a group panicked, which is a mistake in rekon; its rows will be asked again");
    }
}

async fn settle_or_wait(
    store: &Store,
    rulebook: &Rulebook,
    settings: SettlerSettings,
    group: &[Answered],
    heart: &Heartbeat,
    end: &CancellationToken,
) {
    let give_up = Instant::now() + settings.keep;
    loop {
        heart.beat();
        match settle::settle(store, rulebook, group).await {
            Ok(report) if report.poisoned > 0 => {
                tracing::error!(poisoned = report.poisoned, settled = report.settled, "some rows could not be settled");
                return;
            }
            Ok(_) => return,
            Err(error) if error.is_transient() && Instant::now() < give_up && !end.is_cancelled() => {
                tracing::warn!(%error, rows = group.len(), "the database is away; answers wait");
                // A process that ends tries once more and no longer.
                tokio::select! {
                    () = tokio::time::sleep(RETRY) => {}
                    () = end.cancelled() => {}
                }
            }
            Err(error) => {
                // Nothing is lost: the rows are still due, and are asked again when their leases run out.
                tracing::error!(%error, rows = group.len(), "answers could not be written; their rows will be asked again");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::telemetry::heartbeat::Heartbeats;

    const ONE_BY_ONE: SettlerSettings =
        SettlerSettings { group_max: 1, linger: Duration::ZERO, keep: Duration::from_secs(1) };

    #[tokio::test]
    async fn a_group_that_panics_takes_no_other_along() {
        let (sender, receiver) = mpsc::channel(8);
        let settled = Arc::new(Mutex::new(Vec::new()));
        let heart = Heartbeats::new().register("settler", Duration::from_mins(1));
        for answer in [1, 13, 2] {
            sender.send(answer).await.unwrap();
        }
        drop(sender);
        let settle = |group: Vec<i32>| {
            let settled = Arc::clone(&settled);
            async move {
                assert_ne!(group, [13], "poison");
                settled.lock().unwrap().extend(group);
            }
        };
        collect(receiver, ONE_BY_ONE, settle, &heart, &CancellationToken::new()).await;
        settled.lock().unwrap().sort_unstable();
        assert_eq!(*settled.lock().unwrap(), [1, 2]);
    }
}

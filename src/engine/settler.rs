//! Collects answers of every account and settles them in groups: up to `group_max` answers, or what came in `linger`.
//! While the database works on one group the next is decided: two are under way at once. They may meet on a row only when
//! its lease was lost, and the row's lock orders them then. A database that is away is waited for; answers are kept in
//! memory meanwhile, up to the channel's size, and the askers wait behind them.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    engine::{
        rulebook::Rulebook,
        settle::{self, Answered},
    },
    store::Store,
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

/// Makes a settler: the entry, and the work to run. Once `end` is cancelled it takes nothing new, writes what it has and
/// ends.
pub fn settler(
    store: Store,
    rulebook: Arc<Rulebook>,
    settings: SettlerSettings,
    end: CancellationToken,
) -> (Answers, impl Future<Output = ()> + Send) {
    let (sender, receiver) = mpsc::channel(settings.group_max.saturating_mul(4));
    (sender, run(store, rulebook, settings, receiver, end))
}

async fn run(
    store: Store,
    rulebook: Arc<Rulebook>,
    settings: SettlerSettings,
    mut receiver: mpsc::Receiver<Answered>,
    end: CancellationToken,
) {
    let mut under_way = JoinSet::new();
    loop {
        let mut group = Vec::with_capacity(settings.group_max);
        tokio::select! {
            taken = receiver.recv_many(&mut group, settings.group_max) => if taken == 0 { break },
            () = end.cancelled(), if !receiver.is_closed() => {
                receiver.close();
                continue;
            }
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
                one = under_way.join_next() => ended(one),
                _ = receiver.recv_many(&mut group, room), if room > 0 && !receiver.is_closed() => {}
            }
        }
        let (store, rulebook, end) = (store.clone(), Arc::clone(&rulebook), end.clone());
        under_way.spawn(async move { settle_or_wait(&store, &rulebook, settings, &group, &end).await });
    }
    while !under_way.is_empty() {
        ended(under_way.join_next().await);
    }
}

/// Nothing is lost by a group that ended badly: its rows are asked again when their leases run out.
fn ended(group: Option<Result<(), JoinError>>) {
    if let Some(Err(error)) = group {
        tracing::error!(%error, "a group of answers ended badly; its rows will be asked again");
    }
}

async fn settle_or_wait(
    store: &Store,
    rulebook: &Rulebook,
    settings: SettlerSettings,
    group: &[Answered],
    end: &CancellationToken,
) {
    let give_up = Instant::now() + settings.keep;
    loop {
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

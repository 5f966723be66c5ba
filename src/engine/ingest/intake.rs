//! Groups notifications that come at the same time into one transaction, and lets each sender wait for its commit. A group
//! that fails is written one by one, so that one poisoned notification harms only itself; a database that is away is said at
//! once, because the provider delivers again.
//!
//! A row that a merchant's transaction holds keeps nobody waiting but its own notifications. They are tried again with every group
//! until `[database] lock_timeout` is over; no more of them wait than fit into a group.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OnceCell, mpsc, oneshot, watch},
    time::Instant,
};

use chrono::{DateTime, Utc};

use crate::{
    engine::{
        EngineError,
        clock::DbClock,
        ingest::{Arrival, Door, Outcome, ingest},
    },
    store::{Store, StoreError},
};

/// The notification was not written down; the provider is to send it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it cannot be written down now; send it again")]
pub struct Away;

/// Groups of arrivals that may wait; behind them senders wait.
const GROUPS_WAITING: usize = 4;

/// A row that somebody holds is looked at again after this, where no group comes before.
const AGAIN: Duration = Duration::from_millis(50);

struct Waiting {
    arrival: Arrival,
    sender: Sender,
}

/// Who waits for the commit.
struct Sender {
    answer: oneshot::Sender<Result<Outcome, Away>>,
    /// As long as this it waits for a row that somebody holds.
    until: Instant,
}

impl Sender {
    fn learns(self, outcome: Result<Outcome, Away>) {
        if self.answer.send(outcome).is_err() {
            tracing::debug!("a sender went away before the commit; what was written stays");
        }
    }
}

/// The entry for notifications. Cheap to clone; the work ends when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Intake {
    door: Arc<Door>,
    store: watch::Receiver<Option<Store>>,
    clock: Arc<OnceCell<DbClock>>,
    sender: mpsc::Sender<Waiting>,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Waiting").field(&self.arrival).finish()
    }
}

impl Intake {
    /// The door behind which notifications are taken.
    pub fn door(&self) -> &Door {
        &self.door
    }

    /// Database time, by which signed times are judged. Asked for once a minute at most, by one of the requests in flight.
    ///
    /// # Errors
    /// The database is not there.
    pub async fn now(&self) -> Result<DateTime<Utc>, Away> {
        let store = self.store.borrow().clone().ok_or(Away)?;
        let clock = self.clock.get_or_try_init(|| DbClock::start(&store)).await.map_err(|_| Away)?;
        clock.refresh(&store).await.map_err(|_| Away)?;
        Ok(clock.now())
    }

    /// Hands a notification over and waits until it is written down.
    ///
    /// # Errors
    /// It was not, and nobody will try again but the provider.
    pub async fn bring(&self, arrival: Arrival) -> Result<Outcome, Away> {
        let (answer, written) = oneshot::channel();
        let sender = Sender { answer, until: Instant::now() + self.door.hold };
        self.sender.send(Waiting { arrival, sender }).await.map_err(|_| Away)?;
        written.await.map_err(|_| Away)?
    }
}

/// Makes an intake: the entry, and the work to run.
pub fn intake(door: Door, store: watch::Receiver<Option<Store>>) -> (Intake, impl Future<Output = ()> + Send) {
    let door = Arc::new(door);
    let group_max = usize::try_from(door.limits.group_max).unwrap_or(usize::MAX);
    let (sender, receiver) = mpsc::channel(group_max.saturating_mul(GROUPS_WAITING));
    let entry = Intake { door: Arc::clone(&door), store: store.clone(), clock: Arc::default(), sender };
    (entry, run(door, store, receiver, group_max))
}

async fn run(
    door: Arc<Door>,
    store: watch::Receiver<Option<Store>>,
    mut receiver: mpsc::Receiver<Waiting>,
    group_max: usize,
) {
    let mut group = Vec::new();
    while gather(&mut receiver, &mut group, group_max, door.limits.linger).await {
        let store = store.borrow().clone();
        let (arrivals, senders): (Vec<_>, Vec<_>) = group.drain(..).map(|w| (w.arrival, w.sender)).unzip();
        let outcomes = match store {
            Some(store) => write(&store, &door, &arrivals).await,
            None => vec![Err(Away); arrivals.len()],
        };
        let now = Instant::now();
        for ((arrival, sender), outcome) in arrivals.into_iter().zip(senders).zip(outcomes) {
            match outcome {
                Ok(Some(outcome)) => sender.learns(Ok(outcome)),
                Ok(None) if now < sender.until && group.len() < group_max && !sender.answer.is_closed() => {
                    group.push(Waiting { arrival, sender });
                }
                Ok(None) => {
                    let (account, partner_reference_no) = arrival.pair();
                    tracing::warn!(account, partner_reference_no, "a notification's row is held by somebody else");
                    sender.learns(Err(Away));
                }
                Err(away) => sender.learns(Err(away)),
            }
        }
    }
}

/// Adds to those of `group` whose rows were held what came meanwhile; false: nobody will come any more.
async fn gather(
    receiver: &mut mpsc::Receiver<Waiting>,
    group: &mut Vec<Waiting>,
    group_max: usize,
    linger: Duration,
) -> bool {
    let full = group.len().saturating_add(group_max);
    let first = receiver.recv_many(group, group_max);
    if full == group_max {
        if first.await == 0 {
            return false;
        }
    } else {
        match tokio::time::timeout(AGAIN, first).await {
            Ok(0) => return false,
            Ok(_) => {}
            Err(_) => return true,
        }
    }
    let until = Instant::now() + linger;
    while group.len() < full {
        let room = full.saturating_sub(group.len());
        match tokio::time::timeout_at(until, receiver.recv_many(group, room)).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    true
}

/// What became of each; `None`: somebody holds its row.
async fn write(store: &Store, door: &Door, arrivals: &[Arrival]) -> Vec<Result<Option<Outcome>, Away>> {
    match ingest(store, door, arrivals).await {
        Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
        Err(error) if arrivals.len() == 1 || matches!(error, EngineError::Store(StoreError::Unavailable(_))) => {
            tracing::warn!(%error, notifications = arrivals.len(), "notifications could not be written down");
            vec![Err(Away); arrivals.len()]
        }
        Err(error) => {
            tracing::warn!(%error, notifications = arrivals.len(), "notifications could not be written down together");
            one_by_one(store, door, arrivals).await
        }
    }
}

/// Each in a transaction of its own, for as long as a held row is waited for: behind them others wait.
async fn one_by_one(store: &Store, door: &Door, arrivals: &[Arrival]) -> Vec<Result<Option<Outcome>, Away>> {
    let until = Instant::now() + door.hold;
    let mut outcomes = Vec::with_capacity(arrivals.len());
    for arrival in arrivals {
        let outcome = if Instant::now() < until {
            ingest(store, door, std::slice::from_ref(arrival)).await.ok().and_then(|o| o.first().copied()).ok_or(Away)
        } else {
            Err(Away)
        };
        outcomes.push(outcome);
    }
    outcomes
}

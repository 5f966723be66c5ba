//! Groups notifications that come at the same time into one transaction, and lets each sender wait for its commit. A group
//! that fails is written one by one, so that one poisoned notification harms only itself; a database that is away is said at
//! once, because the provider delivers again.

use std::sync::Arc;

use tokio::{
    sync::{OnceCell, mpsc, oneshot, watch},
    time::Instant,
};

use chrono::{DateTime, Utc};

use crate::{
    engine::{
        clock::DbClock,
        ingest::{Arrival, Door, Outcome, ingest},
    },
    store::Store,
};

/// The notification was not written down; the provider is to send it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the database is not there; send it again")]
pub struct Away;

/// Groups of arrivals that may wait; behind them senders wait.
const GROUPS_WAITING: usize = 4;

struct Waiting {
    arrival: Arrival,
    answer: oneshot::Sender<Result<Outcome, Away>>,
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
        self.sender.send(Waiting { arrival, answer }).await.map_err(|_| Away)?;
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
    let mut group = Vec::with_capacity(group_max);
    while receiver.recv_many(&mut group, group_max).await > 0 {
        let until = Instant::now() + door.limits.linger;
        while group.len() < group_max {
            let room = group_max.saturating_sub(group.len());
            match tokio::time::timeout_at(until, receiver.recv_many(&mut group, room)).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        let store = store.borrow().clone();
        let (arrivals, answers): (Vec<_>, Vec<_>) = group.drain(..).map(|w| (w.arrival, w.answer)).unzip();
        let outcomes = match store {
            Some(store) => write(&store, &door, &arrivals).await,
            None => vec![Err(Away); arrivals.len()],
        };
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            if answer.send(outcome).is_err() {
                tracing::debug!("a sender went away before the commit; what was written stays");
            }
        }
    }
}

async fn write(store: &Store, door: &Door, arrivals: &[Arrival]) -> Vec<Result<Outcome, Away>> {
    match ingest(store, door, arrivals).await {
        Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
        Err(error) if arrivals.len() == 1 => {
            tracing::warn!(%error, "a notification could not be written down");
            vec![Err(Away)]
        }
        Err(error) => {
            tracing::warn!(%error, notifications = arrivals.len(), "notifications could not be written down together");
            let mut outcomes = Vec::with_capacity(arrivals.len());
            for arrival in arrivals {
                let outcome = ingest(store, door, std::slice::from_ref(arrival)).await;
                outcomes.push(outcome.ok().and_then(|o| o.first().copied()).ok_or(Away));
            }
            outcomes
        }
    }
}

//! The demo's own door: the HTTP side that `rekon serve` has, open while the day is reconciled, so that notifications come over
//! real HTTP. Before the database is there it says so, as a daemon does, and the provider sends again.

use std::collections::BTreeMap;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{
        exit::Failure,
        http::{self, HttpSide, Lent},
    },
    config::Config,
    store::{ConnectOptions, Store},
    telemetry::heartbeat::Heartbeats,
};

/// The metric that counts notifications.
const COUNTED: &str = "rekon_notifications_total{";

/// An open door.
pub(super) struct Doorway {
    side: HttpSide,
    store: watch::Sender<Option<Store>>,
    closing: CancellationToken,
}

impl Doorway {
    /// Opens it on the current runtime.
    pub(super) async fn open(config: &Config) -> Result<Self, Failure> {
        let (store, seen) = watch::channel(None);
        let closing = CancellationToken::new();
        let lent = Lent {
            heartbeats: Heartbeats::new(),
            store: seen,
            draining: CancellationToken::new(),
            closing: closing.clone(),
        };
        Ok(Self { side: http::open(config, lent).await?, store, closing })
    }

    /// Behind it stands this database, migrated.
    pub(super) async fn stand_before(&self, options: &ConnectOptions) -> Result<(), Failure> {
        let store = Store::connect(options).await.map_err(Failure::Connect)?;
        self.store.send_replace(Some(store));
        Ok(())
    }

    /// Lets go of the database; the door stays and says that it is away.
    pub(super) async fn let_go(&self) {
        if let Some(store) = self.store.send_replace(None) {
            store.close().await;
        }
    }

    /// Where it is.
    pub(super) fn base_url(&self) -> String {
        format!("http://{}", self.side.address)
    }

    /// Where that account's notifications are taken.
    pub(super) fn url(&self, account: &str) -> String {
        format!("{}/notify/doku/{account}", self.base_url())
    }

    /// What became of the notifications, by the process's own metrics.
    pub(super) fn counted(&self) -> BTreeMap<String, u64> {
        let text = self.side.metrics.render();
        let mut counts = BTreeMap::new();
        for line in text.lines().filter_map(|line| line.strip_prefix(COUNTED)) {
            let Some((labels, count)) = line.rsplit_once("} ") else { continue };
            let outcome = labels.split(',').find_map(|label| label.strip_prefix("outcome=\""));
            if let (Some(outcome), Ok(count)) = (outcome, count.parse::<u64>()) {
                *counts.entry(outcome.trim_end_matches('"').to_owned()).or_default() += count;
            }
        }
        counts
    }

    /// Closes it: requests in flight end, its connections go back.
    pub(super) async fn close(self) {
        self.closing.cancel();
        self.let_go().await;
        if let Err(error) = self.side.serving.await {
            tracing::debug!(%error, "the door did not close in an orderly way");
        }
    }
}

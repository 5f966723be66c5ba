//! Probes, metrics, providers' notifications and the API over HTTP. The console is not there yet. No SQL text and no provider calls.
//!
//! [`bind`] takes the address before anything else starts, so that a taken one is said at once; [`serve`] answers on it
//! from the first moment on, also while the database is not there yet.

mod api;
mod connections;
mod counted;
mod notify;
mod probes;
mod problem;
mod scrape;
mod server;
mod words;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use api::ApiParts;
use problem::PROBLEM;
pub use problem::Problem;
pub use server::{WebError, bind, serve};
pub use words::vocabulary;

use crate::{
    engine::ingest::Intake,
    store::{Store, gauges::GaugeScope},
    telemetry::{catalogue::Vocabulary, heartbeat::Heartbeats, metrics::ProcessMetrics},
};

/// Bounds of every connection and every request.
#[derive(Debug, Clone, Copy)]
pub struct WebLimits {
    /// Longest time for one request.
    pub request_timeout: Duration,
    /// Longest time for the head of a request, and for the wait between two of them.
    pub header_timeout: Duration,
    /// Most connections at once.
    pub max_connections: usize,
    /// Largest body of a request, in bytes.
    pub body_max: usize,
    /// Longest time for requests in flight to end after the shutdown.
    pub drain_timeout: Duration,
}

/// What the process lends to its HTTP side.
#[derive(Debug)]
pub struct WebParts {
    /// The database, once it is connected; `None` before.
    pub store: watch::Receiver<Option<Store>>,
    /// The loops that must beat.
    pub heartbeats: Heartbeats,
    /// What this process counts.
    pub metrics: ProcessMetrics,
    /// The words of labels.
    pub vocabulary: Vocabulary,
    /// When accounts' customer tokens end, where they say so.
    pub customer_token_ends: BTreeMap<String, DateTime<Utc>>,
    /// Cancelled when the process begins to drain: from then on it is not ready.
    pub draining: CancellationToken,
    /// The entry for notifications.
    pub intake: Intake,
    /// What the API needs.
    pub api: ApiParts,
    /// Bounds of every request.
    pub limits: WebLimits,
}

/// What handlers see.
#[derive(Debug, Clone)]
struct WebState(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    parts: WebParts,
    scope: GaugeScope,
    readiness: probes::Readiness,
    gauges: scrape::GaugeCache,
}

impl WebState {
    fn new(parts: WebParts) -> Self {
        let scope = GaugeScope {
            accounts: parts.vocabulary.accounts.clone(),
            endpoints: parts.vocabulary.endpoints.clone(),
            flags: parts.vocabulary.flags.clone(),
        };
        Self(Arc::new(Shared {
            parts,
            scope,
            readiness: probes::Readiness::default(),
            gauges: scrape::GaugeCache::default(),
        }))
    }

    /// The database, if it was ever connected.
    fn store(&self) -> Option<Store> {
        self.0.parts.store.borrow().clone()
    }
}

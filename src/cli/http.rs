//! The HTTP side of a process: probes, metrics and the door for notifications, bound and answering. `serve` has one for its
//! whole life, the demo for its day. Absent on purpose: the work behind it.

use std::{net::SocketAddr, sync::Arc};

use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{exit::Failure, wiring},
    config::Config,
    engine::ingest::{self, Door},
    jobs,
    store::Store,
    telemetry::{self, heartbeat::Heartbeats, metrics::ProcessMetrics},
    web::{self, ApiParts, WebError, WebLimits, WebParts},
};

/// What the HTTP side is lent.
pub(crate) struct Lent {
    /// The loops that must beat.
    pub(crate) heartbeats: Heartbeats,
    /// The database, once it is there.
    pub(crate) store: watch::Receiver<Option<Store>>,
    /// Cancelled when the process begins to drain: from then on it is not ready.
    pub(crate) draining: CancellationToken,
    /// Cancelled when it is to end.
    pub(crate) closing: CancellationToken,
}

/// An HTTP side that answers.
pub(crate) struct HttpSide {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What this process counts.
    pub(crate) metrics: ProcessMetrics,
    /// Ends when `closing` is cancelled and the requests in flight have ended.
    pub(crate) serving: JoinHandle<Result<(), WebError>>,
}

/// Binds `[server] listen` and answers on the current runtime. Once in a process: its counters are the process's.
pub(crate) async fn open(config: &Config, lent: Lent) -> Result<HttpSide, Failure> {
    // A taken address is said before anything else.
    let listener = web::bind(config.server.listen).await?;
    let vocabulary =
        web::vocabulary(config.accounts.keys().cloned().collect(), config.webhooks.keys().cloned().collect());
    let metrics = telemetry::metrics::install(&vocabulary).map_err(Failure::Metrics)?;
    answer(config, lent, listener, metrics)
}

/// The same on a listener, in a process that counts already.
pub(crate) fn answer(
    config: &Config,
    lent: Lent,
    listener: TcpListener,
    metrics: ProcessMetrics,
) -> Result<HttpSide, Failure> {
    let server = &config.server;
    let address = listener.local_addr().map_err(Failure::Runtime)?;
    let vocabulary =
        web::vocabulary(config.accounts.keys().cloned().collect(), config.webhooks.keys().cloned().collect());
    let door = Door::new(config, &wiring::rulebook(config)?);
    let (intake, taking) = ingest::intake(door, lent.store.clone());
    tokio::spawn(taking);
    let parts = WebParts {
        store: lent.store,
        heartbeats: lent.heartbeats,
        metrics: metrics.clone(),
        vocabulary,
        customer_token_ends: wiring::customer_token_ends(config)?,
        draining: lent.draining,
        intake,
        api: ApiParts {
            rules: super::import::rules(config)?,
            rulebook: Arc::new(wiring::rulebook(config)?),
            limits: server.api,
            accounts: wiring::account_terms(config)?,
            bus: jobs::commands::bus(),
            fresh: config.reconcile.fresh,
        },
        limits: WebLimits {
            request_timeout: server.request_timeout,
            header_timeout: server.header_timeout,
            max_connections: server.max_connections,
            body_max: server.body_max,
            drain_timeout: server.drain_timeout,
        },
    };
    Ok(HttpSide { address, metrics, serving: tokio::spawn(web::serve(listener, parts, lent.closing)) })
}

//! Which use-case runs when: the apalis wiring, one thin file per job. No business logic.
//!
//! The hot path is a custom apalis backend per account: its fetcher leases a chunk of due rows (`sweep`) or refunds
//! (`refunds`) or messages (`webhooks`) and hands it to that account's worker; no row of a queue's table is involved. Postgres storage is the
//! command bus only (`commands`): cron slots and ad-hoc runs. Losing every row of `apalis.jobs` loses nothing, because
//! runs are in `rekon.runs` and payments are due in `rekon.transactions`.

pub mod cancels;
pub mod commands;
pub mod error;
pub mod guard;
pub mod house;
pub mod refunds;
pub mod released;
mod rest;
pub mod schedule;
pub mod sentinel;
pub mod setup;
pub mod sweep;
pub mod wake;
pub mod webhooks;

use std::sync::Arc;

use apalis::prelude::{Event, Monitor};

use crate::{
    engine::Ctx,
    telemetry::metrics::{self, Worker},
};

pub use error::JobsError;
pub use wake::Wake;

/// What a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// Scheduled jobs and the command bus; a reconciliation started by hand runs without them.
    pub commands: bool,
}

/// Runs every worker until `ctx.stop` is cancelled, then drains: calls in flight end, leases go back.
pub async fn run(ctx: Arc<Ctx>, roles: Roles) -> Result<(), JobsError> {
    let wake = Arc::new(Wake::new(ctx.accounts.keys(), ctx.endpoints.keys()));
    let listener =
        tokio_util::task::AbortOnDropHandle::new(tokio::spawn(wake::listen(Arc::clone(&ctx), Arc::clone(&wake))));
    let mut monitor = Monitor::new();
    for account in ctx.accounts.values() {
        for lane in [sweep::Lane::Due, sweep::Lane::Pulled] {
            monitor = sweep::register(monitor, &ctx, account, &wake, lane);
        }
        monitor = refunds::register(monitor, &ctx, account, &wake);
        monitor = cancels::register(monitor, &ctx, account);
    }
    for endpoint in ctx.endpoints.values() {
        monitor = webhooks::register(monitor, &ctx, endpoint, &wake);
    }
    monitor = sweep::register_strays(monitor, &ctx);
    monitor = released::register(monitor, &ctx);
    if roles.commands {
        monitor = schedule::register(monitor, &ctx)?;
        monitor = sentinel::register(monitor, &ctx);
        monitor = commands::register(monitor, &ctx);
    }
    let monitor = monitor
        .on_event(|worker, event| {
            if let Event::Error(error) = event {
                tracing::error!(worker = worker.name(), %error, "a job failed");
            }
        })
        .should_restart(|worker, error| {
            tracing::error!(worker = worker.name(), %error, "a worker died and comes back");
            metrics::worker_restarted(kind(worker.name()));
            true
        });
    let stop = ctx.stop.clone();
    let outcome = monitor
        .run_with_signal(async move {
            stop.cancelled().await;
            Ok(())
        })
        .await;
    drop(listener);
    outcome.map_err(|e| JobsError::Runtime(e.to_string()))
}

/// The kind of a worker, from the name it was given.
fn kind(name: &str) -> Worker {
    match name.split_once('-').map(|(kind, _)| kind) {
        Some("refunds") => Worker::Refund,
        Some("webhooks") => Worker::Webhook,
        Some("commands" | "schedule" | "sentinel") => Worker::Command,
        _ => Worker::Check,
    }
}

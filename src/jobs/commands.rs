//! The command bus: cron slots and runs asked for from elsewhere, a few per second at most, over apalis' Postgres
//! storage. A command carries a run's id and nothing else; what is to be done stands in `rekon.runs`.
//!
//! The recipe that keeps this storage honest: one task a fetch, a fresh worker name per boot and restart, notifications
//! and polling, timeout and panic guard inside the handler, no layers, a rescue of rows that were left `Running`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use apalis::layers::WorkerBuilderExt;
use apalis::prelude::{BackendExt, BoxDynError, Data, Monitor, Strategy, WorkerBuilder};
use apalis_postgres::{Config, PostgresStorage, Pubsub};
use serde::{Deserialize, Serialize};

use crate::{
    engine::{Ctx, reconcile, upkeep},
    jobs::guard::guard,
    telemetry::{
        catalogue::JOBS,
        metrics::{self, JobOutcome},
    },
};

/// The queue's name.
pub const QUEUE: &str = "rekon-commands";

const HEARTBEAT: Duration = Duration::from_secs(5);
const MISSED_HEARTBEATS: usize = 12;
const POLL: Duration = Duration::from_secs(1);
/// Commands under way at once in this process.
const AT_ONCE: usize = 2;
/// A command's work ends at its deadline; this much more is for writing its report.
const GRACE: Duration = Duration::from_mins(1);

/// A wake-up for a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Command {
    /// The run.
    pub run_id: i64,
}

async fn handle(command: Command, ctx: Data<Arc<Ctx>>) -> Result<(), BoxDynError> {
    let ctx = Arc::clone(&ctx);
    let limit = ctx.limits.deadline.saturating_add(GRACE);
    guard(limit, async move {
        let Some(run) = ctx.store.run(command.run_id).await? else { return Ok(()) };
        if run.state != "queued" && run.state != "running" {
            return Ok(());
        }
        let begun = Instant::now();
        let ended = match run.job.as_str() {
            "daily" => reconcile::scheduled(&ctx, &run).await,
            "prune" => upkeep::prune(&ctx, &run).await,
            "seal" => upkeep::seal(&ctx, &run).await,
            other => {
                tracing::error!(job = other, run = run.id, "a run of an unknown job; another version made it");
                return Ok(());
            }
        };
        if let Some(job) = JOBS.iter().copied().find(|job| *job == run.job) {
            let outcome = match &ended {
                Ok(true) => JobOutcome::Done,
                Ok(false) => JobOutcome::Incomplete,
                Err(_) => JobOutcome::Failed,
            };
            metrics::job_ended(job, outcome, begun.elapsed());
        }
        ended?;
        Ok(())
    })
    .await
}

/// Adds the bus to the monitor.
pub(super) fn register(monitor: Monitor, ctx: &Arc<Ctx>) -> Monitor {
    let ctx = Arc::clone(ctx);
    monitor.register(move |restarts: usize| {
        let pool = ctx.store.pool();
        let config = Config::default()
            .queue(QUEUE)
            .batch_size(1)
            .heartbeat_interval(HEARTBEAT)
            .missed_heartbeats(MISSED_HEARTBEATS);
        let strategy = Strategy::new().stream(Pubsub::new(pool.clone(), QUEUE.into())).interval(POLL);
        WorkerBuilder::new(format!("commands-{}-{restarts}", ctx.owner))
            .backend(PostgresStorage::<Command>::new(pool).with_config(config).poll_with_strategy(strategy))
            .data(Arc::clone(&ctx))
            .concurrency(AT_ONCE)
            .build(handle)
    })
}

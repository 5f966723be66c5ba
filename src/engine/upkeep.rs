//! The jobs that keep the house: forgetting what may be forgotten, and the daily seal. Facts, journal and postings are
//! never touched.

use crate::{
    engine::{Ctx, EngineError, once},
    store::{StoreError, runs::Run},
};

/// Rows deleted per statement.
const CHUNK: i64 = 5_000;

/// What is forgotten, in this order: a run's selection goes before the run.
#[derive(Debug, Clone, Copy)]
enum Part {
    Bodies,
    Items,
    Runs,
    StaleRuns,
    Commands,
    Workers,
    Notifications,
    Drift,
    IdempotencyKeys,
    Webhooks,
    UnsentWebhooks,
}

impl Part {
    const ALL: [Self; 11] = [
        Self::Bodies,
        Self::Items,
        Self::Runs,
        Self::StaleRuns,
        Self::Commands,
        Self::Workers,
        Self::Notifications,
        Self::Drift,
        Self::IdempotencyKeys,
        Self::Webhooks,
        Self::UnsentWebhooks,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Bodies => "raw_answers",
            Self::Items => "run_items",
            Self::Runs => "runs",
            Self::StaleRuns => "stale_runs",
            Self::Commands => "commands",
            Self::Workers => "workers",
            Self::Notifications => "notifications",
            Self::Drift => "drift",
            Self::IdempotencyKeys => "idempotency_keys",
            Self::Webhooks => "webhooks",
            Self::UnsentWebhooks => "unsent_webhooks",
        }
    }

    /// Deletes one chunk; returns how many.
    async fn chunk(self, ctx: &Ctx) -> Result<u64, StoreError> {
        let (store, keep) = (&ctx.store, ctx.limits.keep_raw_answers);
        match self {
            Self::Bodies => store.prune_bodies(keep, CHUNK).await,
            Self::Items => store.prune_items(keep, CHUNK).await,
            Self::Runs => store.prune_runs(keep, CHUNK).await,
            Self::StaleRuns => store.prune_stale_runs(keep, CHUNK).await,
            Self::Commands => store.prune_commands(ctx.limits.keep_commands, CHUNK).await,
            Self::Workers => store.prune_workers(ctx.limits.keep_commands, CHUNK).await,
            Self::Notifications => store.prune_notifications(ctx.limits.keep_notifications, CHUNK).await,
            Self::Drift => store.prune_drift(keep, CHUNK).await,
            Self::IdempotencyKeys => store.prune_keys(once::KEPT, CHUNK).await,
            Self::Webhooks => {
                store.prune_webhooks(ctx.limits.keep_webhooks, ctx.limits.keep_dead_webhooks, CHUNK).await
            }
            Self::UnsentWebhooks => store.give_up_webhooks(ctx.limits.keep_dead_webhooks, CHUNK).await,
        }
    }

    /// Deletes chunk by chunk until there is nothing more or the process is told to end; returns how many.
    async fn all(self, ctx: &Ctx) -> Result<u64, StoreError> {
        let mut deleted: u64 = 0;
        while !ctx.stop.is_cancelled() {
            match self.chunk(ctx).await? {
                0 => break,
                rows => deleted = deleted.saturating_add(rows),
            }
        }
        Ok(deleted)
    }
}

/// Deletes old raw bodies, runs, commands with their dead workers, notifications that became no fact, drift that is over,
/// idempotency keys of yesterday and webhooks that came to their end, by the configured ages. A part that fails takes no
/// other along; the run fails after all were tried. True: the run is complete; false: the process was told to end.
pub async fn prune(ctx: &Ctx, run: &Run) -> Result<bool, EngineError> {
    let mut report = serde_json::Map::new();
    let mut failed = None;
    for part in Part::ALL {
        match part.all(ctx).await {
            Ok(rows) => drop(report.insert(part.as_str().to_owned(), rows.into())),
            Err(error) => {
                tracing::error!(%error, part = part.as_str(), "could not be pruned");
                failed = failed.or(Some(error));
            }
        }
    }
    if let Some(error) = failed {
        return Err(error.into());
    }
    if ctx.stop.is_cancelled() {
        return Ok(false);
    }
    finished(ctx, run, &report.into()).await
}

/// Seals the day that the run names. True: the run is complete.
pub async fn seal(ctx: &Ctx, run: &Run) -> Result<bool, EngineError> {
    let day = run.params.get("day").and_then(serde_json::Value::as_str).and_then(|d| d.parse().ok());
    let Some(day) = day else {
        let found = run.params.to_string();
        return Err(StoreError::Inconsistent { table: "runs", column: "params", value: found }.into());
    };
    let sealed = ctx.store.seal(day).await?;
    finished(ctx, run, &serde_json::json!({ "sealed": sealed })).await
}

async fn finished(ctx: &Ctx, run: &Run, report: &serde_json::Value) -> Result<bool, EngineError> {
    let is_ours = ctx.store.finish_run(run.id, run.attempt, "done", report).await?;
    if is_ours { Ok(true) } else { Err(EngineError::RunLost(run.id)) }
}

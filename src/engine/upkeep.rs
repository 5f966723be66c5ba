//! The jobs that keep the house: forgetting what may be forgotten, and the daily seal. Facts, journal and postings are
//! never touched.

use crate::{
    engine::{Ctx, EngineError},
    store::{StoreError, runs::Run},
};

/// Rows deleted per statement.
const CHUNK: i64 = 5_000;

/// Deletes old raw bodies, runs, finished commands and notifications that became no fact, by the configured ages. True: the run is complete.
pub async fn prune(ctx: &Ctx, run: &Run) -> Result<bool, EngineError> {
    let keep = ctx.limits.keep_raw_answers;
    let (mut raw, mut runs, mut commands, mut notifications): (u64, u64, u64, u64) = (0, 0, 0, 0);
    while !ctx.stop.is_cancelled() {
        let deleted = (
            ctx.store.prune_raw(keep, CHUNK).await?,
            ctx.store.prune_runs(keep, CHUNK).await?,
            ctx.store.prune_commands(ctx.limits.keep_commands, CHUNK).await?,
            ctx.store.prune_notifications(ctx.limits.keep_notifications, CHUNK).await?,
        );
        raw = raw.saturating_add(deleted.0);
        runs = runs.saturating_add(deleted.1);
        commands = commands.saturating_add(deleted.2);
        notifications = notifications.saturating_add(deleted.3);
        if deleted == (0, 0, 0, 0) {
            break;
        }
        ctx.store.beat_run(run.id).await?;
    }
    let drift = ctx.store.prune_drift(keep).await?;
    let report = serde_json::json!({
        "raw_answers": raw, "runs": runs, "commands": commands, "notifications": notifications, "drift": drift,
    });
    ctx.store.finish_run(run.id, "done", &report).await?;
    Ok(true)
}

/// Seals the day that the run names. True: the run is complete.
pub async fn seal(ctx: &Ctx, run: &Run) -> Result<bool, EngineError> {
    let day = run.params.get("day").and_then(serde_json::Value::as_str).and_then(|d| d.parse().ok());
    let Some(day) = day else {
        let found = run.params.to_string();
        return Err(StoreError::Inconsistent { table: "runs", column: "params", value: found }.into());
    };
    let sealed = ctx.store.seal(day).await?;
    ctx.store.finish_run(run.id, "done", &serde_json::json!({ "sealed": sealed })).await?;
    Ok(true)
}

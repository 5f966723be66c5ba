//! The command bus: cron slots and runs asked for from elsewhere, a few per second at most, over apalis' Postgres
//! storage. A command carries a run's id and nothing else; what is to be done stands in `rekon.runs`, and so does who is at
//! it: a command that comes twice finds the run taken, and one that is lost is made again by the calendar.
//!
//! The recipe that keeps this storage honest: one task a fetch, a fresh worker name per boot and restart, notifications
//! and polling, timeout and panic guard inside the handler, no layers, a rescue of rows that were left `Running`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use apalis::layers::WorkerBuilderExt;
use apalis::prelude::{BackendExt, BoxDynError, Data, Monitor, Strategy, TaskBuilder, WorkerBuilder};
use apalis_postgres::{Config, PostgresStorage, Pubsub};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tracing::Instrument as _;

use crate::{
    engine::{Ctx, EngineError, bus::Bus, reconcile, upkeep},
    jobs::{
        guard::guard,
        rest::{self, Rest},
    },
    store::{StoreError, Tx, runs::Run},
    telemetry::{
        catalogue::JOBS,
        metrics::{self, JobOutcome},
        trace::TraceId,
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
/// A run is begun so often and not again. The end of a process counts as well: more than a day of releases brings.
pub(super) const ATTEMPTS_MAX: i32 = 20;
/// A run whose worker was silent for so long may be taken by another.
pub(super) const SILENT_MAX: Duration = Duration::from_mins(2);
/// A worker that could not show life for so long stops, long before another one may begin.
const GIVE_UP: Duration = Duration::from_mins(1);
const BEAT: Duration = Duration::from_secs(10);

/// A wake-up for a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Command {
    /// The run.
    pub run_id: i64,
}

/// Puts a run's command on the bus; it is there when the transaction commits.
pub(super) async fn push(tx: &mut Tx, run_id: i64) -> Result<(), apalis_postgres::Error> {
    let command = json!({ "run_id": run_id }).to_string().into_bytes();
    let task = TaskBuilder::new(command).max_attempts(3).build();
    apalis_postgres::queries::push_tasks(&mut **tx, QUEUE, vec![task]).await
}

/// The bus, for rooms that begin runs and may not see the job runtime.
pub fn bus() -> Bus {
    Bus::new(|tx, run_id| {
        Box::pin(async move {
            push(tx, run_id).await.map_err(|error| match error {
                apalis_postgres::Error::Database(error) => StoreError::from(error).into(),
                other => EngineError::Refused(format!("the command bus does not take the run: {other}")),
            })
        })
    })
}

async fn handle(command: Command, ctx: Data<Arc<Ctx>>) -> Result<(), BoxDynError> {
    let ctx = Arc::clone(&ctx);
    carry_out(&ctx, command.run_id, ctx.limits.deadline.saturating_add(GRACE)).await
}

/// Takes a run and does it, for `limit` at most; does nothing where somebody has it or it has ended.
pub(super) async fn carry_out(ctx: &Arc<Ctx>, run_id: i64, limit: Duration) -> Result<(), BoxDynError> {
    // A process that ends takes nothing; the calendar of another one finds the run.
    if ctx.stop.is_cancelled() {
        return Ok(());
    }
    let Some(run) = ctx.store.take_run(run_id, SILENT_MAX).await? else { return Ok(()) };
    let begun = Instant::now();
    let span = tracing::info_span!("run", trace_id = %TraceId::new(), job = run.job, slot = run.slot, run = run.id);
    let ended = guard(limit, alive(ctx, &run).instrument(span)).await;
    let (outcome, said) = match &ended {
        Ok(true) => (JobOutcome::Done, None),
        // It was not done, because the process is told to end: that is no end of the run.
        Ok(false) if ctx.stop.is_cancelled() => return give_back(ctx, &run, "the process ended").await,
        Ok(false) => (JobOutcome::Incomplete, None),
        Err(error) => (JobOutcome::Failed, Some(error.to_string())),
    };
    if let Some(job) = JOBS.iter().copied().find(|job| *job == run.job) {
        metrics::job_ended(job, outcome, begun.elapsed());
    }
    match said {
        None => Ok(()),
        Some(error) => give_back(ctx, &run, &error).await,
    }
}

/// Does the work while the run's heart beats, and gives it up before anybody else may take it.
async fn alive(ctx: &Arc<Ctx>, run: &Run) -> Result<bool, BoxDynError> {
    tokio::select! {
        biased;
        error = beat(ctx, run.id, run.attempt) => Err(error),
        ended = work(ctx, run) => Ok(ended?),
    }
}

/// Beats until it cannot.
async fn beat(ctx: &Ctx, id: i64, attempt: i32) -> BoxDynError {
    let mut beaten = Instant::now();
    loop {
        tokio::time::sleep(BEAT).await;
        match tokio::time::timeout(BEAT, ctx.store.beat_taken(id, attempt)).await {
            Ok(Ok(true)) => beaten = Instant::now(),
            Ok(Ok(false)) => return "somebody else has the run by now".into(),
            Ok(Err(error)) => tracing::debug!(%error, run = id, "the run's heart skipped a beat"),
            Err(_) => tracing::debug!(run = id, "the run's heart skipped a beat"),
        }
        if beaten.elapsed() > GIVE_UP {
            return "no sign of life could be written, and another worker may take the run soon".into();
        }
    }
}

/// True: the run is complete.
async fn work(ctx: &Ctx, run: &Run) -> Result<bool, EngineError> {
    match run.job.as_str() {
        "daily" => reconcile::scheduled(ctx, run).await,
        reconcile::JOB => reconcile::asked(ctx, run).await,
        "prune" => upkeep::prune(ctx, run).await,
        "seal" => upkeep::seal(ctx, run).await,
        other => {
            let value = other.to_owned();
            Err(StoreError::Inconsistent { table: "runs", column: "job", value }.into())
        }
    }
}

/// Back into the queue, where the calendar finds it.
async fn give_back(ctx: &Ctx, run: &Run, why: &str) -> Result<(), BoxDynError> {
    let attempt = run.attempt;
    let report = serde_json::json!({ "attempt": attempt, "unfinished": why });
    match ctx.store.give_back_run(run.id, attempt, ATTEMPTS_MAX, &report).await? {
        Some(true) => tracing::error!(job = run.job, run = run.id, attempt, why, "a run is given up"),
        Some(false) => tracing::warn!(job = run.job, run = run.id, attempt, why, "a run is not finished and will be"),
        None => {}
    }
    Ok(())
}

/// Adds the bus to the monitor.
pub(super) fn register(monitor: Monitor, ctx: &Arc<Ctx>) -> Monitor {
    let ctx = Arc::clone(ctx);
    let resting = Rest::default();
    monitor.register(move |restarts: usize| {
        let (waiting, pause) = (Arc::clone(&ctx), resting.pause(Instant::now(), restarts));
        let pool = ctx.bus.pool();
        let config = Config::default()
            .queue(QUEUE)
            .batch_size(1)
            .heartbeat_interval(HEARTBEAT)
            .missed_heartbeats(MISSED_HEARTBEATS);
        let strategy = Strategy::new().stream(Pubsub::new(pool.clone(), QUEUE.into())).interval(POLL);
        WorkerBuilder::new(format!("commands-{}-{restarts}", ctx.owner))
            .backend(
                PostgresStorage::<Command>::new(pool).with_config(config).poll_with_strategy(strategy).before_start(
                    move |_| {
                        let ctx = Arc::clone(&waiting);
                        async move {
                            rest::wait(&ctx, &ctx.bus, pause).await;
                            Ok(())
                        }
                    },
                ),
            )
            .data(Arc::clone(&ctx))
            .concurrency(AT_ONCE)
            .build(handle)
    })
}

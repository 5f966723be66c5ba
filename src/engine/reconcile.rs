//! Reconciles a set of rows: fixes the selection, makes its rows due, and follows until none has a further look or a
//! refund due before the deadline. It asks nothing itself: the sweeps do, this process's or the daemon's, under the one
//! budget they share. A run that was cut off is taken up again under its number.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    config::Config,
    domain::day::BusinessDay,
    engine::{Ctx, EngineError, bus::Bus, runtime},
    store::{
        self, Store, StoreError,
        runs::{Progress, Run, Selection},
    },
};

/// Which days, as a person says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Days {
    /// Yesterday in WIB and every row that is not terminal.
    YesterdayAndUnsettled,
    /// Rows created or paid on these days, both included.
    Span {
        /// First day.
        first: BusinessDay,
        /// Last day.
        last: BusinessDay,
    },
}

/// What to reconcile.
#[derive(Debug, Clone)]
pub struct Request {
    /// The days.
    pub days: Days,
    /// Accounts; empty: all that are configured.
    pub accounts: Vec<String>,
    /// A terminal row's answer may be this old.
    pub fresh: Duration,
    /// Who asks.
    pub requested_by: String,
}

/// What a run will cost, said before it starts.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Cost {
    /// The account.
    pub account: String,
    /// Rows selected.
    pub selected: i64,
    /// Calls at least.
    pub calls: i64,
    /// Seconds at the account's full budget.
    pub eta_secs: i64,
}

/// How following ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Nothing more is due before the deadline.
    Complete,
    /// The deadline came first.
    Deadline,
    /// Somebody stopped the process.
    Stopped,
}

/// What `runs.job` calls a reconciliation that somebody asked for.
pub const JOB: &str = "reconcile";
/// How the slot of a run begins that was asked for over HTTP: the bus has it, no process of its own.
const ASKED: &str = "api/";
/// Pause between looks at the progress.
const LOOK: Duration = Duration::from_millis(500);
/// Chunks of rows that are made due at each look: enough that no sweeper runs dry, few enough that a fresh payment does
/// not wait behind a whole day.
const PORTION_CHUNKS: i64 = 2;
/// A run whose heart has not beaten for this long is dead and may be taken up.
const DEAD_AFTER: TimeDelta = TimeDelta::seconds(30);

impl Request {
    /// The first and the last day meant at `now`.
    pub fn span(&self, now: DateTime<Utc>) -> (BusinessDay, BusinessDay) {
        match self.days {
            Days::YesterdayAndUnsettled => (BusinessDay::yesterday(now), BusinessDay::yesterday(now)),
            Days::Span { first, last } => (first, last),
        }
    }

    /// Its selection at `now`, among the accounts at work.
    fn selection(&self, ctx: &Ctx, now: DateTime<Utc>) -> Result<Selection, EngineError> {
        let known: Vec<String> = ctx.accounts.keys().cloned().collect();
        self.selection_of(&known, now)
    }

    fn selection_of(&self, known: &[String], now: DateTime<Utc>) -> Result<Selection, EngineError> {
        if let Some(account) = self.accounts.iter().find(|name| !known.contains(name)) {
            return Err(EngineError::UnknownAccount { account: account.clone(), known: known.to_vec() });
        }
        let (first, last) = self.span(now);
        let accounts = if self.accounts.is_empty() { known.to_vec() } else { self.accounts.clone() };
        Ok(Selection {
            from: first.start(),
            until: last.end(),
            unsettled: self.days == Days::YesterdayAndUnsettled,
            accounts,
            fresh: self.fresh,
        })
    }
}

/// What the run would ask and how long that takes at the configured budget. Reads, and needs no engine: one that starts writes
/// down its terms.
pub async fn cost(
    store: &Store,
    config: &Config,
    request: &Request,
    now: DateTime<Utc>,
) -> Result<Vec<Cost>, EngineError> {
    let accounts = runtime::accounts(config)?.into_iter();
    let per_second: BTreeMap<String, i64> = accounts.map(|a| (a.name, i64::from(a.limits.per_second.max(1)))).collect();
    let known: Vec<String> = per_second.keys().cloned().collect();
    let rows = store.preview(&request.selection_of(&known, now)?).await?;
    Ok(rows
        .into_iter()
        .map(|(account, selected, calls)| {
            let per_second = per_second.get(&account).copied().unwrap_or(1);
            let eta_secs = calls.saturating_add(per_second).saturating_sub(1).checked_div(per_second).unwrap_or(calls);
            Cost { account, selected, calls, eta_secs }
        })
        .collect())
}

/// Begins a run, or takes up one with the same request that was cut off.
pub async fn begin(ctx: &Ctx, request: &Request) -> Result<Run, EngineError> {
    let now = ctx.store.now().await?;
    let selection = request.selection(ctx, now)?;
    let params = params(&selection);
    let mut tx = ctx.store.begin().await?;
    if let Some(run) = store::runs::unfinished(&mut tx, JOB, &params).await? {
        let quiet = now.signed_duration_since(run.heartbeat_at);
        if run.state == "running" && quiet < DEAD_AFTER {
            return Err(EngineError::Busy(format!("run {} with the same request", run.id)));
        }
        if run.state == "running" {
            let attempt = store::runs::take_up(&mut tx, run.id).await?;
            // A run that was cut off before its selection stood selects now; one that has it keeps it.
            store::runs::select_items(&mut tx, run.id, &selection).await?;
            tx.commit().await.map_err(StoreError::from)?;
            tracing::info!(run = run.id, "taking up a run that was cut off");
            return Ok(Run { attempt, ..run });
        }
    }
    let slot = format!("{}/{}", now.to_rfc3339(), ctx.owner);
    let run = store::runs::begin(&mut tx, JOB, &slot, &params, "running", &request.requested_by).await?;
    let Some(run) = run else { return Err(EngineError::Busy("a run of the same moment".into())) };
    store::runs::select_items(&mut tx, run.id, &selection).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(run)
}

/// What a run is about, as `runs.params` keeps it.
fn params(selection: &Selection) -> Value {
    json!({
        "from": selection.from, "until": selection.until, "unsettled": selection.unsettled,
        "accounts": selection.accounts, "fresh_secs": selection.fresh.as_secs(),
    })
}

/// The same read again; `None` where it is something else.
fn selection_in(params: &Value) -> Option<Selection> {
    let time = |key: &str| params.get(key)?.as_str()?.parse::<DateTime<Utc>>().ok();
    let accounts = params.get("accounts")?.as_array()?;
    Some(Selection {
        from: time("from")?,
        until: time("until")?,
        unsettled: params.get("unsettled")?.as_bool()?,
        accounts: accounts.iter().map(|name| name.as_str().map(str::to_owned)).collect::<Option<_>>()?,
        fresh: Duration::from_secs(params.get("fresh_secs")?.as_u64()?),
    })
}

/// Asks for a run that the next daemon takes from the command bus; its id.
///
/// # Errors
/// [`EngineError::UnknownAccount`]; [`EngineError::Busy`] where one waits or works on exactly this.
pub async fn enqueue(store: &Store, bus: &Bus, known: &[String], request: &Request) -> Result<i64, EngineError> {
    let now = store.now().await?;
    let params = params(&request.selection_of(known, now)?);
    if let Some(run) = store.run_alike(JOB, &params).await? {
        return Err(EngineError::Busy(format!("run {run} with the same request")));
    }
    let slot = format!("{ASKED}{}/{}", now.to_rfc3339(), request.requested_by);
    let mut tx = store.begin().await?;
    let run = store::runs::begin(&mut tx, JOB, &slot, &params, "queued", &request.requested_by).await?;
    let Some(run) = run else { return Err(EngineError::Busy("a run of the same moment".into())) };
    bus.push(&mut tx, run.id).await?;
    tx.commit().await.map_err(StoreError::from)?;
    tracing::info!(run = run.id, by = request.requested_by, "a run was asked for");
    Ok(run.id)
}

/// Does a run that somebody asked for. False: the deadline came first.
pub async fn asked(ctx: &Ctx, run: &Run) -> Result<bool, EngineError> {
    let Some(selection) = selection_in(&run.params) else {
        let found = run.params.to_string();
        return Err(StoreError::Inconsistent { table: "runs", column: "params", value: found }.into());
    };
    work(ctx, run, &selection).await
}

/// Follows a run until it is complete, the deadline has come or the process stops; a database that is away is waited for
/// no longer than that. `seen` gets every look. Each look makes a further portion of the rows due.
pub async fn follow(
    ctx: &Ctx,
    run: &Run,
    deadline: DateTime<Utc>,
    mut seen: impl FnMut(&Progress),
) -> Result<(End, Progress), EngineError> {
    let left = deadline.signed_duration_since(ctx.clock.now()).to_std().unwrap_or_default();
    let latest = Instant::now() + left;
    let portion = ctx
        .accounts
        .values()
        .map(|a| a.pace().chunk_max)
        .fold(0, i64::saturating_add)
        .max(1)
        .saturating_mul(PORTION_CHUNKS);
    let mut progress = Progress::default();
    loop {
        match look(ctx, run, deadline, portion).await {
            Ok(looked) => {
                progress = looked;
                seen(&progress);
                if progress.asked >= progress.must_ask && progress.looks == 0 && progress.refunds == 0 {
                    return Ok((End::Complete, progress));
                }
            }
            Err(error) if error.is_transient() => tracing::warn!(%error, "the database is away; the run waits"),
            Err(error) => return Err(error),
        }
        if Instant::now() >= latest {
            return Ok((End::Deadline, progress));
        }
        tokio::select! {
            () = ctx.stop.cancelled() => return Ok((End::Stopped, progress)),
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn look(ctx: &Ctx, run: &Run, deadline: DateTime<Utc>, portion: i64) -> Result<Progress, EngineError> {
    ctx.store.pull_items(run.id, portion).await?;
    let progress = ctx.store.progress(run.id, deadline).await?;
    // A run that was lost is followed no longer: two of them would pull twice as much.
    if ctx.store.beat_taken(run.id, run.attempt).await? { Ok(progress) } else { Err(EngineError::RunLost(run.id)) }
}

/// Ends a run with its figures.
pub async fn finish(ctx: &Ctx, run: &Run, end: End, progress: &Progress) -> Result<(), EngineError> {
    let state = if end == End::Complete { "done" } else { "incomplete" };
    let report = json!({
        "selected": progress.selected, "must_ask": progress.must_ask, "asked": progress.asked,
        "looks_left": progress.looks, "refunds_left": progress.refunds,
    });
    let is_ours = ctx.store.finish_run(run.id, run.attempt, state, &report).await?;
    if is_ours { Ok(()) } else { Err(EngineError::RunLost(run.id)) }
}

/// A run that the calendar asked for: the day stands in its parameters. False: the deadline came first.
pub async fn scheduled(ctx: &Ctx, run: &Run) -> Result<bool, EngineError> {
    let day = run.params.get("day").and_then(serde_json::Value::as_str).and_then(|d| d.parse::<NaiveDate>().ok());
    let Some(day) = day.map(BusinessDay::from) else {
        let found = run.params.to_string();
        return Err(StoreError::Inconsistent { table: "runs", column: "params", value: found }.into());
    };
    let request = Request {
        days: Days::Span { first: day, last: day },
        accounts: Vec::new(),
        fresh: ctx.limits.fresh,
        requested_by: "schedule".into(),
    };
    let now = ctx.store.now().await?;
    work(ctx, run, &request.selection(ctx, now)?).await
}

/// Selects and follows a taken run to its end or the deadline.
async fn work(ctx: &Ctx, run: &Run, selection: &Selection) -> Result<bool, EngineError> {
    let now = ctx.store.now().await?;
    let mut tx = ctx.store.begin().await?;
    store::runs::select_items(&mut tx, run.id, selection).await?;
    tx.commit().await.map_err(StoreError::from)?;
    let deadline = TimeDelta::from_std(ctx.limits.deadline).ok().and_then(|d| now.checked_add_signed(d)).unwrap_or(now);
    let (end, progress) = follow(ctx, run, deadline, |_| {}).await?;
    finish(ctx, run, end, &progress).await?;
    Ok(end == End::Complete)
}

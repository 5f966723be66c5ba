//! Asks about leased rows: a call slot, a signed request, an answer to the settler. No transaction is open anywhere
//! here. What could not be asked in time goes back unasked.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures::future::join_all;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::{
    domain::fact::Answer,
    engine::{
        Ctx, EngineError,
        clock::DbClock,
        control, counted, drift,
        runtime::AccountRuntime,
        settle::{self, Answered},
    },
    providers::{Asked, BuildError, CallError, CallKind, Denied, Failure, Permit, QueryResult},
    store::{Store, leases::Leased, limits::CallClass},
    telemetry::{metrics, trace::TraceId},
};

/// Leased rows of one account.
#[derive(Debug, Clone)]
pub struct Chunk {
    account: Arc<AccountRuntime>,
    rows: Vec<Leased>,
    leased_at: Instant,
    is_pulled: bool,
}

impl Chunk {
    /// Due rows leased just now.
    pub fn new(account: Arc<AccountRuntime>, rows: Vec<Leased>) -> Self {
        Self { account, rows, leased_at: Instant::now(), is_pulled: false }
    }

    /// Rows leased just now that somebody waits for: their calls are the cashier's, and wait behind no chunk.
    pub fn pulled(account: Arc<AccountRuntime>, rows: Vec<Leased>) -> Self {
        Self { is_pulled: true, ..Self::new(account, rows) }
    }
}

/// Leave to call: a slot of the shared budget. Remembers when the last call was let go, for `sent_at`.
pub(crate) struct SlotPermit<'a> {
    store: &'a Store,
    account: &'a AccountRuntime,
    clock: &'a DbClock,
    stop: &'a CancellationToken,
    class: CallClass,
    latest: Instant,
    /// A probe: it was asked for in bad weather and may go in it.
    in_bad_weather: bool,
    asked_at: Instant,
    sent_us: AtomicI64,
    waited_us: AtomicU64,
    ends: Mutex<Ends>,
}

/// How the calls ended that were made under one permit.
#[derive(Debug, Clone, Copy, Default)]
struct Ends {
    answered: u32,
    failed: u32,
    last_failure: Option<Failure>,
}

impl<'a> SlotPermit<'a> {
    pub(crate) fn new(ctx: &'a Ctx, account: &'a AccountRuntime, class: CallClass, latest: Instant) -> Self {
        Self {
            store: &ctx.store,
            account,
            clock: &ctx.clock,
            stop: &ctx.stop,
            class,
            latest,
            in_bad_weather: account.weather.is_bad(),
            asked_at: Instant::now(),
            sent_us: AtomicI64::new(0),
            waited_us: AtomicU64::new(0),
            ends: Mutex::default(),
        }
    }

    /// How long the last call has taken since it was let go.
    pub(crate) fn took(&self) -> Duration {
        self.asked_at.elapsed().saturating_sub(Duration::from_micros(self.waited_us.load(Ordering::Relaxed)))
    }

    /// Database time when the last call was let go.
    pub(crate) fn sent_at(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.sent_us.load(Ordering::Relaxed)).unwrap_or_default()
    }
}

impl Permit for SlotPermit<'_> {
    async fn call(&self, _kind: CallKind) -> Result<(), Denied> {
        let begun = Instant::now();
        let slot = tokio::select! {
            // The slot first: where it is there at once, nobody need listen for the end.
            biased;
            slot = self.account.budget.slot(self.store, self.class, self.latest) => slot,
            // Nothing new is asked by a process that ends.
            () = self.stop.cancelled() => return Err(Denied),
        };
        slot.map_err(|error| {
            tracing::debug!(account = %self.account.name, %error, "no call slot");
            Denied
        })?;
        // The weather may have turned while this one waited for its slot.
        if self.account.weather.is_bad() && !self.in_bad_weather {
            return Err(Denied);
        }
        self.sent_us.store(self.clock.now().timestamp_micros(), Ordering::Relaxed);
        let until_now = u64::try_from(self.asked_at.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.waited_us.store(until_now, Ordering::Relaxed);
        metrics::budget_wait(&self.account.name, self.class.as_str(), begun.elapsed());
        Ok(())
    }

    fn ended(&self, _kind: CallKind, failure: Option<Failure>) {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        match failure {
            Some(failure) => {
                *ends = Ends { failed: ends.failed.saturating_add(1), last_failure: Some(failure), ..*ends }
            }
            None => ends.answered = ends.answered.saturating_add(1),
        }
    }
}

/// Asks about every row of a chunk and hands the answers to the settler; gives back what could not be asked while half
/// of the lease was left.
pub async fn chunk(ctx: &Ctx, chunk: Chunk) {
    let latest = chunk.leased_at + ctx.limits.lease / 2;
    let account = &*chunk.account;
    let class = if chunk.is_pulled { CallClass::Cashier } else { ctx.class };
    let is_probe = chunk.rows.len() == 1 && !chunk.is_pulled;
    let askers = account.concurrency.min(chunk.rows.len());
    // A few askers that take row after row: a future of its own for each row is kilobytes to allocate per call.
    let rows = Mutex::new(chunk.rows.into_iter());
    let next = || rows.lock().unwrap_or_else(PoisonError::into_inner).next();
    let asker = || async {
        let mut unasked = Vec::new();
        while let Some(row) = next() {
            match ask_row(ctx, account, &row, Terms { latest, class, is_probe }).await {
                Ok(true) => {}
                Ok(false) => unasked.push((row.id, row.epoch)),
                Err(error) => {
                    tracing::error!(account = %account.name, id = row.id, %error, "a row could not be asked about");
                    unasked.push((row.id, row.epoch));
                }
            }
        }
        unasked
    };
    let unasked: Vec<(i64, i64)> = join_all((0..askers).map(|_| asker())).await.concat();
    if is_probe {
        account.weather.probe_over(&ctx.store).await;
    }
    if !unasked.is_empty()
        && let Err(error) = ctx.store.release_rows(&unasked).await
    {
        tracing::warn!(account = %account.name, %error, rows = unasked.len(), "leases run out by themselves");
    }
}

/// How the rows of a chunk are asked.
#[derive(Debug, Clone, Copy)]
struct Terms {
    /// By then or not at all.
    latest: Instant,
    /// Whose share of the budget it is.
    class: CallClass,
    /// It may be asked in bad weather.
    is_probe: bool,
}

/// Asks about one row; false where it was not asked.
async fn ask_row(ctx: &Ctx, account: &AccountRuntime, row: &Leased, terms: Terms) -> Result<bool, EngineError> {
    let Terms { latest, class, is_probe } = terms;
    if ctx.stop.is_cancelled() || Instant::now() >= latest || (account.weather.is_bad() && !is_probe) {
        return Ok(false);
    }
    let span = tracing::info_span!("check", trace_id = %TraceId::new(), account = %account.name, id = row.id);
    let asked = ask(ctx, account, row, class, latest).instrument(span).await?;
    match asked {
        Some(answered) => {
            // The settler ends only after the workers; a closed entry means that the process is ending badly.
            Ok(ctx.answers.send(answered).await.is_ok())
        }
        None => Ok(false),
    }
}

/// One query under the account's budget; `None` where no call was granted or the row cannot be asked about.
pub(crate) async fn ask(
    ctx: &Ctx,
    account: &AccountRuntime,
    row: &Leased,
    class: CallClass,
    latest: Instant,
) -> Result<Option<Answered>, EngineError> {
    // Made before any wait: it remembers in which weather this was begun.
    let permit = SlotPermit::new(ctx, account, class, latest);
    let Ok(Ok(_in_flight)) = tokio::time::timeout_at(latest, account.line(class).acquire()).await else {
        return Ok(None);
    };
    if ctx.stop.is_cancelled() {
        return Ok(None);
    }
    if let Some(late) = row.due_at.and_then(|due| ctx.clock.now().signed_duration_since(due).to_std().ok()) {
        metrics::check_lateness(&account.name, late);
    }
    let bad_weather = account.weather.is_bad();
    let payment =
        account.client.asked(&row.partner_reference_no, row.reference_no.as_deref(), row.external_id.as_deref());
    let asked = Asked { is_payout: row.is_payout, ..payment };
    let result = match account.client.query(&asked, &permit).await {
        Ok(result) => result,
        Err(CallError::Denied(_)) => return Ok(None),
        // Nothing of ours will change that: the rules say who has to mend what.
        Err(CallError::Build(BuildError::MissingReference(_) | BuildError::Unsupported { .. })) => {
            settle::look(&ctx.store, &ctx.rulebook, &[row.id]).await?;
            return Ok(None);
        }
        Err(CallError::Build(error)) => {
            tracing::warn!(account = %account.name, id = row.id, %error, "a row cannot be asked about");
            return Ok(Some(unbuildable(ctx, row, bad_weather)));
        }
    };
    tracing::debug!(
        external_id = result.meta.call_id,
        http_status = result.meta.http_status,
        observation = result.answer.observation.as_str(),
        doubt = result.answer.doubt,
        "answered"
    );
    counted::query(&account.name, &result, permit.took());
    drift::query(ctx, &account.name, &result).await;
    weigh(ctx, account, &result, &permit).await;
    Ok(Some(answered(ctx, row, result, permit.sent_at(), bad_weather)))
}

fn answered(ctx: &Ctx, row: &Leased, result: QueryResult, sent_at: DateTime<Utc>, bad_weather: bool) -> Answered {
    let was_sent = result.meta.call_id.is_some();
    Answered {
        id: row.id,
        epoch: Some(row.epoch),
        call_id: result.meta.call_id.unwrap_or_else(|| ctx.ids.next(ctx.clock.now())).into(),
        answer: Arc::new(result.answer),
        sent_at: if was_sent { sent_at } else { ctx.clock.now() },
        raw: (!result.raw.is_empty()).then(|| Arc::new(result.raw)),
        bad_weather,
        was_sent,
    }
}

/// A row whose request cannot be built is asked about no more often than one without an answer.
fn unbuildable(ctx: &Ctx, row: &Leased, bad_weather: bool) -> Answered {
    let now = ctx.clock.now();
    Answered {
        id: row.id,
        epoch: Some(row.epoch),
        call_id: ctx.ids.next(now).into(),
        answer: Arc::new(Answer::indeterminate("unbuildable")),
        sent_at: now,
        raw: None,
        bad_weather,
        was_sent: false,
    }
}

/// What an answer says about the provider itself: a 429 moves the budget for everybody, and the breaker counts the calls.
pub(crate) async fn weigh(ctx: &Ctx, account: &AccountRuntime, result: &QueryResult, permit: &SlotPermit<'_>) {
    slow_down(ctx, account, result.meta.http_status, result.meta.retry_after_secs).await;
    count_calls(ctx, account, permit).await;
}

/// The breaker counts calls, each once. Who waited for somebody else's token and got none has made no call.
pub(crate) async fn count_calls(ctx: &Ctx, account: &AccountRuntime, permit: &SlotPermit<'_>) {
    let ends = *permit.ends.lock().unwrap_or_else(PoisonError::into_inner);
    let failed = (0..ends.failed).map(|_| ends.last_failure.map(Failure::as_str));
    let answered = (0..ends.answered).map(|_| None);
    for failure in failed.chain(answered) {
        if let Err(error) = account.weather.count(&ctx.store, failure, permit.in_bad_weather).await {
            tracing::warn!(account = %account.name, %error, "the breaker could not be moved");
        }
    }
}

/// Leaves the provider alone for as long as it asked for.
pub(crate) async fn slow_down(
    ctx: &Ctx,
    account: &AccountRuntime,
    http_status: Option<u16>,
    retry_after_secs: Option<i64>,
) {
    let asked_for = retry_after_secs.filter(|s| *s > 0).map(|s| Duration::from_secs(s.unsigned_abs()));
    let wait = match (asked_for, http_status) {
        (Some(wait), _) => wait.min(ctx.limits.retry_after_max),
        (None, Some(429)) => ctx.limits.retry_after_default,
        (None, _) => return,
    };
    if let Err(error) = account.budget.push_back(&ctx.store, wait).await {
        tracing::warn!(account = %account.name, %error, "the budget could not be moved");
    }
}

/// Asks about one row now, for a person who waits, and settles the answer before returning it. `None` where no slot
/// could be had in `patience`.
pub async fn one(
    ctx: &Ctx,
    account: &AccountRuntime,
    id: i64,
    class: CallClass,
    patience: Duration,
) -> Result<Option<Answer>, EngineError> {
    let latest = Instant::now() + patience;
    control::not_paused(&ctx.store, &account.name).await?;
    // A person may ask in bad weather too; what is heard then closes nothing.
    account.weather.look(&ctx.store).await?;
    let row = loop {
        let claim = ctx.store.claim_one(id, &ctx.owner, ctx.limits.lease).await?;
        if let Some(row) = claim.rows.into_iter().next() {
            break row;
        }
        if Instant::now() >= latest {
            // Whoever holds it is asking already; should he not come to it, it is the next that is asked.
            ctx.store.pull(&account.name, &[id]).await?;
            return Err(EngineError::Busy(format!("payment {id}")));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    };
    let lease = (row.id, row.epoch);
    let span = tracing::info_span!("check", trace_id = %TraceId::new(), account = %account.name, id = row.id);
    let asked = ask(ctx, account, &row, class, latest).instrument(span).await;
    account.weather.probe_over(&ctx.store).await;
    match asked {
        Ok(Some(answered)) => {
            let answer = Answer::clone(&answered.answer);
            let settled = settle::settle(&ctx.store, &ctx.rulebook, &[answered]).await;
            if settled.is_err() {
                ctx.store.release_rows(&[lease]).await?;
            }
            let report = settled?;
            if report.poisoned > 0 {
                return Err(EngineError::Busy(format!("payment {id}")));
            }
            Ok(Some(answer))
        }
        Ok(None) => {
            ctx.store.release_rows(&[lease]).await?;
            Ok(None)
        }
        Err(error) => {
            ctx.store.release_rows(&[lease]).await?;
            Err(error)
        }
    }
}

/// Pause between looks at a row that somebody else holds.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

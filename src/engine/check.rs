//! Asks about leased rows: a call slot, a signed request, an answer to the settler. No transaction is open anywhere
//! here. What could not be asked in time goes back unasked.

mod permit;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{StreamExt as _, future::join_all, stream::FuturesUnordered};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::{
    domain::fact::Answer,
    engine::{
        Ctx, EngineError, control, counted, drift,
        runtime::AccountRuntime,
        settle::{self, Answered},
    },
    providers::{Asked, BuildError, CallError, Failure, QueryResult},
    store::{leases::Leased, limits::CallClass},
    telemetry::{metrics, trace::TraceId},
};

pub(crate) use permit::SlotPermit;

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

/// Asks about every row of a chunk and hands the answers to the settler; gives back what could not be asked while half
/// of the lease was left.
pub async fn chunk(ctx: &Ctx, chunk: Chunk) {
    let latest = chunk.leased_at + ctx.limits.lease / 2;
    let account = &*chunk.account;
    let class = if chunk.is_pulled { CallClass::Cashier } else { ctx.class };
    let is_probe = chunk.rows.len() == 1 && !chunk.is_pulled;
    let terms = Terms { latest, class, is_probe };
    let askers = account.concurrency.min(chunk.rows.len());
    // A few askers that take row after row: a future of its own for each row is kilobytes to allocate per call.
    let rows = Mutex::new(VecDeque::from(chunk.rows));
    let next = || rows.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let asker = || async {
        let mut unasked = Vec::new();
        while let Some(row) = next() {
            unasked.extend(ask_or_leave(ctx, account, row, terms).await);
        }
        unasked
    };
    let asked_in_turn = CancellationToken::new();
    let in_turn = async {
        let unasked = join_all((0..askers).map(|_| asker())).await.concat();
        asked_in_turn.cancel();
        unasked
    };
    let out_of_turn = hurried(ctx, account, &rows, terms, &asked_in_turn);
    let (in_turn, out_of_turn) = tokio::join!(in_turn, out_of_turn);
    let unasked = [in_turn, out_of_turn].concat();
    if is_probe {
        account.weather.probe_over(&ctx.store).await;
    }
    if !unasked.is_empty()
        && let Err(error) = ctx.store.release_rows(&unasked).await
    {
        tracing::warn!(account = %account.name, %error, rows = unasked.len(), "leases run out by themselves");
    }
}

/// Takes rows out of the queue that somebody has come to wait for, and asks about them at once.
async fn hurried(
    ctx: &Ctx,
    account: &AccountRuntime,
    rows: &Mutex<VecDeque<Leased>>,
    terms: Terms,
    asked_in_turn: &CancellationToken,
) -> Vec<(i64, i64)> {
    let take = |ids: &BTreeSet<i64>| {
        let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
        let (taken, left): (VecDeque<_>, VecDeque<_>) = rows.drain(..).partition(|row| ids.contains(&row.id));
        *rows = left;
        (!taken.is_empty()).then_some(taken)
    };
    let terms = Terms { class: CallClass::Cashier, ..terms };
    let mut unasked = Vec::new();
    let mut under_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            taken = account.hurry.any(take) =>
                under_way.extend(taken.into_iter().map(|row| ask_or_leave(ctx, account, row, terms))),
            Some(left) = under_way.next() => unasked.extend(left),
            () = asked_in_turn.cancelled(), if under_way.is_empty() => return unasked,
        }
    }
}

/// Asks about one row; its lease where it was not asked.
async fn ask_or_leave(ctx: &Ctx, account: &AccountRuntime, row: Leased, terms: Terms) -> Option<(i64, i64)> {
    match ask_row(ctx, account, &row, terms).await {
        Ok(true) => None,
        Ok(false) => Some((row.id, row.epoch)),
        Err(error) => {
            tracing::error!(account = %account.name, id = row.id, %error, "a row could not be asked about");
            Some((row.id, row.epoch))
        }
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
    let permit = SlotPermit::new(ctx, account, class, latest).for_row(row.id);
    let line = async {
        tokio::select! {
            biased;
            line = account.line(class).acquire() => line,
            () = permit.hurried() => account.line(CallClass::Cashier).acquire().await,
        }
    };
    let Ok(Ok(_in_flight)) = tokio::time::timeout_at(latest, line).await else {
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

fn answered(
    ctx: &Ctx,
    row: &Leased,
    result: QueryResult,
    sent_at: chrono::DateTime<chrono::Utc>,
    bad_weather: bool,
) -> Answered {
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
    let ended = ask_and_settle(ctx, account, id, class, latest).await;
    // However it ended: somebody else may probe.
    account.weather.probe_over(&ctx.store).await;
    ended
}

async fn ask_and_settle(
    ctx: &Ctx,
    account: &AccountRuntime,
    id: i64,
    class: CallClass,
    latest: Instant,
) -> Result<Option<Answer>, EngineError> {
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
    match ask(ctx, account, &row, class, latest).instrument(span).await {
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

//! The two loops. *Bare*: the same client, signatures, reading and keep-alive with so many calls in flight, and nothing
//! else. *Whole*: the same in one process with leases, limiter, facts, rules, journal, postings and fsync. They take turns.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    ACCOUNT,
    figures::{Permille, median},
    machine,
    place::{Place, SimProcess},
};
use crate::{
    cli::exit::Failure,
    config::Config,
    engine::{Engine, EngineError, runtime},
    jobs,
    providers::{AccountClient, CallKind, Denied, ExternalIds, Permit, Transport, client::Clock},
    store::{
        Store,
        bench::{Supply, Written},
        limits::CallClass,
    },
    telemetry::heartbeat::Heartbeats,
};

/// What every payment is worth.
pub(super) const AMOUNT_SEN: i64 = 15_000_000;
/// Both loops run so long before anything is counted.
const WARM_UP: Duration = Duration::from_millis(700);

/// How hard and how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) in_flight: u32,
    pub(super) span: Duration,
    pub(super) rounds: u32,
}

/// One measured span of one loop.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub(super) struct Span {
    /// Calls that were answered, or checks that were settled.
    pub(super) done: u64,
    /// Milliseconds.
    pub(super) millis: u64,
    /// CPU milliseconds of this process.
    pub(super) worker_ms: u64,
    /// Of the simulated provider.
    pub(super) sim_ms: u64,
    /// Of Postgres with all its processes.
    pub(super) postgres_ms: u64,
    /// SQL statements that clients sent; 0 where they are not counted.
    pub(super) statements: u64,
}

impl Span {
    pub(super) fn per_second(&self) -> u64 {
        self.done.saturating_mul(1000).checked_div(self.millis).unwrap_or(0)
    }

    /// CPU microseconds per check of all that is ours: this process and Postgres.
    pub(super) fn own_us(&self) -> u64 {
        self.cpu_per(self.worker_ms.saturating_add(self.postgres_ms))
    }

    /// CPU microseconds of Postgres for each.
    pub(super) fn postgres_us(&self) -> u64 {
        self.cpu_per(self.postgres_ms)
    }

    fn cpu_per(&self, millis: u64) -> u64 {
        millis.saturating_mul(1000).checked_div(self.done).unwrap_or(0)
    }
}

/// Medians over the rounds of one loop.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(super) struct Typical {
    pub(super) per_second: u64,
    /// CPU microseconds per request.
    pub(super) worker_us: u64,
    pub(super) sim_us: u64,
    pub(super) postgres_us: u64,
}

impl Typical {
    fn of(spans: &[Span]) -> Self {
        Self {
            per_second: median(spans.iter().map(Span::per_second)),
            worker_us: median(spans.iter().map(|s| s.cpu_per(s.worker_ms))),
            sim_us: median(spans.iter().map(|s| s.cpu_per(s.sim_ms))),
            postgres_us: median(spans.iter().map(|s| s.cpu_per(s.postgres_ms))),
        }
    }
}

/// Bare and whole, side by side.
#[derive(Debug, serde::Serialize)]
pub(super) struct Comparison {
    pub(super) in_flight: u32,
    pub(super) bare: Typical,
    pub(super) whole: Typical,
    /// Whole ÷ bare: the median of each round's own ratio.
    pub(super) ratio: Permille,
    /// The rounds' ratios, in order.
    pub(super) ratios: Vec<Permille>,
    /// SQL statements per check; `None` where the server cannot count.
    pub(super) statements_per_check: Option<Permille>,
    pub(super) rounds: Vec<(Span, Span)>,
    /// The body of an answer, for the measurements without I/O.
    #[serde(skip)]
    pub(super) sample: Vec<u8>,
}

/// The processes whose CPU is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watched {
    pub(super) sim: u32,
    pub(super) postgres: u32,
}

impl Watched {
    pub(super) fn now(self) -> (Instant, [u64; 3]) {
        let cpu =
            [machine::cpu_of(std::process::id()), machine::cpu_of(self.sim), machine::cpu_of_family(self.postgres)];
        (Instant::now(), cpu)
    }

    pub(super) fn since(self, (at, before): (Instant, [u64; 3]), done: u64) -> Span {
        let (now, after) = self.now();
        let used = |i: usize| {
            let of = |all: &[u64; 3]| all.get(i).copied().unwrap_or(0);
            of(&after).saturating_sub(of(&before))
        };
        Span {
            done,
            millis: u64::try_from(now.duration_since(at).as_millis()).unwrap_or(u64::MAX),
            worker_ms: used(0),
            sim_ms: used(1),
            postgres_ms: used(2),
            statements: 0,
        }
    }
}

/// Lets the two loops take turns.
pub(super) async fn compare(
    place: &Place,
    name: &'static str,
    sim: &SimProcess,
    pace: Pace,
) -> Result<Comparison, Failure> {
    let store = &place.database(name).await?;
    let config = sim.config(pace.in_flight)?;
    let watched = Watched { sim: sim.pid(), postgres: place.server_pid() };
    let is_counted = store.count_statements().await?;
    let mut known = 0_i64;
    let mut rounds = Vec::new();
    let mut sample = Vec::new();
    let mut spans = Vec::new();
    for _ in 0..pace.rounds {
        if known == 0 {
            sim.register(PREFIX, 0, BARE_ROWS, AMOUNT_SEN).await?;
            known = BARE_ROWS;
        }
        let bare = Bare { config: &config, known, pace };
        let (bare_span, body) = bare.run(watched).await?;
        sample = body;
        // Enough rows that the whole loop never runs dry, however good it is.
        let millis = i64::try_from((WARM_UP + pace.span).as_millis()).unwrap_or(i64::MAX);
        let rate = i64::try_from(bare_span.per_second()).unwrap_or(i64::MAX);
        let count = rate.saturating_mul(millis) / 1000 + 20_000;
        let count = count.saturating_sub(store.due_rows(ACCOUNT).await?).max(0);
        sim.register(PREFIX, known, count, AMOUNT_SEN).await?;
        let first = known;
        known = known.saturating_add(count);
        store
            .supply(&Supply { account: ACCOUNT, prefix: PREFIX, first, count, amount_sen: AMOUNT_SEN, is_due: true })
            .await?;
        store.settle_down().await?;
        let whole_span = whole(store, &config, watched, pace.span, is_counted).await?;
        spans.push(whole_span);
        rounds.push((bare_span, whole_span));
    }
    let ratios: Vec<Permille> = rounds.iter().map(|(b, w)| Permille::of(w.per_second(), b.per_second())).collect();
    store.close().await;
    let bares: Vec<Span> = rounds.iter().map(|(bare, _)| *bare).collect();
    Ok(Comparison {
        in_flight: pace.in_flight,
        bare: Typical::of(&bares),
        whole: Typical::of(&spans),
        ratio: median(ratios.iter().copied()),
        ratios,
        statements_per_check: is_counted.then(|| median(spans.iter().map(|s| Permille::of(s.statements, s.done)))),
        rounds,
        sample,
    })
}

const PREFIX: &str = "B";
/// Payments that the bare loop asks about, over and over.
const BARE_ROWS: i64 = 50_000;

/// Leave to call, always: the bare loop has no budget.
struct Free;

impl Permit for Free {
    async fn call(&self, _kind: CallKind) -> Result<(), Denied> {
        Ok(())
    }

    fn ended(&self, _kind: CallKind, _failure: Option<crate::providers::Failure>) {}
}

/// The wall clock: without a database there is no other.
#[expect(clippy::disallowed_methods, reason = "the bare loop has no database whose clock it could take")]
fn wall_clock() -> chrono::DateTime<chrono::Utc> {
    chrono::Utc::now()
}

/// The bare loop.
struct Bare<'a> {
    config: &'a Config,
    known: i64,
    pace: Pace,
}

/// What its tasks share.
struct Turn {
    client: AccountClient,
    known: i64,
    next: AtomicI64,
    done: AtomicU64,
    is_over: AtomicBool,
}

impl Bare<'_> {
    async fn run(&self, watched: Watched) -> Result<(Span, Vec<u8>), Failure> {
        let account = runtime::accounts(self.config)?.into_iter().next();
        let account = account.ok_or_else(|| Failure::NotFound("the bench has no account".to_owned()))?;
        let problem = |problem: String| EngineError::Account { account: ACCOUNT.to_owned(), problem };
        let transport = Transport::try_new().map_err(|e| problem(e.to_string()))?;
        let clock: Clock = Arc::new(wall_clock);
        let instance = u32::try_from(self.known % 1_000_000).unwrap_or(0);
        let ids = Arc::new(ExternalIds::new(BARE_INSTANCES.saturating_add(instance)));
        let turn = Arc::new(Turn {
            client: AccountClient::new(Arc::new(account), Arc::new(transport), ids, clock),
            known: self.known,
            next: AtomicI64::new(0),
            done: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        });
        let tasks: Vec<_> = (0..self.pace.in_flight).map(|_| tokio::spawn(ask(Arc::clone(&turn)))).collect();
        tokio::time::sleep(WARM_UP).await;
        let before = watched.now();
        let done_before = turn.done.load(Ordering::Relaxed);
        tokio::time::sleep(self.pace.span).await;
        let span = watched.since(before, turn.done.load(Ordering::Relaxed).saturating_sub(done_before));
        turn.is_over.store(true, Ordering::Relaxed);
        let mut sample = Vec::new();
        for task in tasks {
            sample = task.await.map_err(|e| Failure::NotFound(format!("the bare loop ended badly: {e}")))?;
        }
        Ok((span, sample))
    }
}

/// Instances of the bare loop's X-EXTERNAL-IDs, far from those that the database hands out.
const BARE_INSTANCES: u32 = 500_000;

/// One of the calls in flight; gives back the last body.
async fn ask(turn: Arc<Turn>) -> Vec<u8> {
    let mut last = Vec::new();
    while !turn.is_over.load(Ordering::Relaxed) {
        let number = turn.next.fetch_add(1, Ordering::Relaxed).rem_euclid(turn.known);
        let ours = format!("{PREFIX}{number:08}");
        let theirs = format!("R{ours}");
        let asked = turn.client.asked(&ours, Some(&theirs), None);
        if let Ok(result) = turn.client.query(&asked, &Free).await
            && result.answer.amount.is_some()
        {
            turn.done.fetch_add(1, Ordering::Relaxed);
            last = result.raw;
        }
    }
    last
}

/// The whole loop over what is due, for a span.
async fn whole(
    store: &Store,
    config: &Config,
    watched: Watched,
    span: Duration,
    is_counted: bool,
) -> Result<Span, Failure> {
    let engine = Engine::start(store.clone(), config, CallClass::Due, &[], Heartbeats::new()).await?;
    let ctx = Arc::clone(&engine.ctx);
    let workers = tokio::spawn(jobs::run(Arc::clone(&ctx), jobs::Roles { commands: false }));
    tokio::time::sleep(WARM_UP).await;
    let statements = if is_counted { store.statements().await? } else { 0 };
    let from = store.now().await?;
    let before = watched.now();
    tokio::time::sleep(span).await;
    let mut measured = watched.since(before, 0);
    let until = store.now().await?;
    if is_counted {
        let more = store.statements().await?.saturating_sub(statements);
        measured.statements = u64::try_from(more).unwrap_or(0);
    }
    if store.due_rows(ACCOUNT).await? == 0 {
        return Err(Failure::NotFound("the whole loop ran out of rows: its figure would be too low".to_owned()));
    }
    ctx.stop.cancel();
    match workers.await {
        Ok(ended) => ended?,
        Err(error) => tracing::error!(%error, "the workers ended badly"),
    }
    engine.finish().await?;
    let written = store.written(from, until).await?;
    measured.done = u64::try_from(whole_checks(written)?).unwrap_or(0);
    Ok(measured)
}

/// The checks, if each of them wrote all that it must.
pub(super) fn whole_checks(written: Written) -> Result<i64, Failure> {
    let Written { checks, facts, entries, postings } = written;
    if facts == checks && entries == checks && postings == checks.saturating_mul(2) {
        return Ok(checks);
    }
    Err(Failure::NotFound(format!(
        "{checks} checks wrote {facts} facts, {entries} entries and {postings} postings: no figure"
    )))
}

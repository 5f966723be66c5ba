//! Does a check cost more when many rows wait, and is memory bounded? Two databases with few and with many pending rows,
//! and the same number of due ones in each, take turns; then a daemon stands idle over the larger one, and sweeps.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    ACCOUNT, Extent,
    figures::{Permille, median},
    loops::{AMOUNT_SEN, Span, Watched, whole_checks},
    machine,
    place::{Place, SimProcess},
};
use crate::{
    cli::exit::Failure,
    config::Config,
    engine::Engine,
    jobs,
    store::{Store, bench::Supply, limits::CallClass},
    telemetry::heartbeat::Heartbeats,
};

const PREFIX: &str = "P";
/// Passes over each database in each round.
const PASSES: u32 = 2;
/// Pause between two looks whether a pass is through.
const LOOK: Duration = Duration::from_millis(20);
/// A daemon is idle after this.
const IDLE_AFTER: Duration = Duration::from_secs(4);
/// A pass that takes longer is stuck.
const PASS_LIMIT: Duration = Duration::from_mins(2);

/// What was found.
#[derive(Debug, serde::Serialize)]
pub(super) struct Pending {
    /// CPU microseconds per check, of the worker and Postgres, with few pending rows.
    pub(super) few_us: u64,
    /// The same with many.
    pub(super) many_us: u64,
    /// Many ÷ few: the median of each pair's own ratio.
    pub(super) ratio: Permille,
    /// Checks per second of time.
    pub(super) few_per_second: u64,
    pub(super) many_per_second: u64,
    /// Resident memory of an idle `rekon serve`, kB.
    pub(super) idle_kb: u64,
    /// The most that the same process ever held, after a sweep over the many, kB.
    pub(super) sweep_kb: u64,
    /// Rows swept meanwhile.
    pub(super) swept: i64,
}

/// A database and how far its references have come.
pub(super) struct Shelf {
    pub(super) store: Store,
    next: i64,
}

impl Shelf {
    pub(super) async fn new(place: &Place, name: &'static str, pending: i64, due: i64) -> Result<Self, Failure> {
        let store = place.database(name).await?;
        store.count_instances_from(pending).await?;
        let waiting = pending.saturating_sub(due);
        // Those that are not due are never asked about: no provider needs to know them.
        store.supply(&Supply { is_due: false, ..supply("Q", 0, waiting) }).await?;
        store.settle_down().await?;
        Ok(Self { store, next: 0 })
    }

    /// Tells the provider of the next rows: once for all databases that stand at the same number.
    pub(super) async fn announce(&self, sim: &SimProcess, due: i64) -> Result<(), Failure> {
        sim.register(PREFIX, self.next, due, AMOUNT_SEN).await
    }

    /// Makes as many rows due, which the provider knows.
    pub(super) async fn fill(&mut self, due: i64) -> Result<(), Failure> {
        self.store.supply(&supply(PREFIX, self.next, due)).await?;
        self.next = self.next.saturating_add(due);
        self.store.settle_down().await?;
        Ok(())
    }
}

fn supply(prefix: &str, first: i64, count: i64) -> Supply<'_> {
    Supply { account: ACCOUNT, prefix, first, count, amount_sen: AMOUNT_SEN, is_due: true }
}

/// Measures all of it.
pub(super) async fn compare(place: &Place, sim: &SimProcess, extent: Extent) -> Result<Pending, Failure> {
    let config = sim.config(64)?;
    let watched = Watched { sim: sim.pid(), postgres: place.server_pid() };
    let mut few = Shelf::new(place, "few", extent.pending_few, extent.due).await?;
    let mut many = Shelf::new(place, "many", extent.pending_many, extent.due).await?;
    let mut pairs = Vec::new();
    for _ in 0..extent.rounds.saturating_mul(PASSES) {
        few.announce(sim, extent.due).await?;
        few.fill(extent.due).await?;
        many.fill(extent.due).await?;
        let one = pass(&few.store, &config, watched).await?;
        let other = pass(&many.store, &config, watched).await?;
        pairs.push((one, other));
    }
    let daemon = Daemon::start(place, sim, "many")?;
    let idle_kb = daemon.idle_kb().await?;
    let swept = extent.due.saturating_mul(3);
    many.announce(sim, swept).await?;
    let sweep_kb = daemon.sweep_kb(&mut many, swept).await?;
    drop(daemon);
    few.store.close().await;
    many.store.close().await;
    let ratios = pairs.iter().map(|(one, other)| Permille::of(other.own_us(), one.own_us()));
    Ok(Pending {
        few_us: median(pairs.iter().map(|(one, _)| one.own_us())),
        many_us: median(pairs.iter().map(|(_, other)| other.own_us())),
        ratio: median(ratios),
        few_per_second: median(pairs.iter().map(|(one, _)| one.per_second())),
        many_per_second: median(pairs.iter().map(|(_, other)| other.per_second())),
        idle_kb,
        sweep_kb,
        swept,
    })
}

/// Works until nothing is due.
pub(super) async fn pass(store: &Store, config: &Config, watched: Watched) -> Result<Span, Failure> {
    let engine = Engine::start(store.clone(), config, CallClass::Due, &[], Heartbeats::new()).await?;
    let ctx = Arc::clone(&engine.ctx);
    let from = store.now().await?;
    let before = watched.now();
    let workers = tokio::spawn(jobs::run(Arc::clone(&ctx), jobs::Roles { commands: false }));
    let through = until_nothing_is_due(store).await;
    let mut span = watched.since(before, 0);
    ctx.stop.cancel();
    match workers.await {
        Ok(ended) => ended?,
        Err(error) => tracing::error!(%error, "the workers ended badly"),
    }
    engine.finish().await?;
    through?;
    let until = store.now().await?;
    span.done = u64::try_from(whole_checks(store.written(from, until).await?)?).unwrap_or(0);
    Ok(span)
}

async fn until_nothing_is_due(store: &Store) -> Result<(), Failure> {
    let begun = Instant::now();
    while store.due_rows(ACCOUNT).await? > 0 {
        if begun.elapsed() > PASS_LIMIT {
            return Err(Failure::NotFound("the due rows were not worked off in two minutes".to_owned()));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// A child that ends with its owner.
pub(super) struct Daemon {
    child: Child,
    /// Where it answers over HTTP.
    pub(super) address: SocketAddr,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait().map(drop)) {
            tracing::warn!(%error, "the daemon could not be ended");
        }
    }
}

impl Daemon {
    /// `rekon serve` over one of the databases.
    pub(super) fn start(place: &Place, sim: &SimProcess, name: &str) -> Result<Self, Failure> {
        // Free a moment ago; nobody else on this machine is told of it.
        let address =
            TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).map_err(Failure::Runtime)?;
        let file = place.folder().join("jobs.toml");
        let text = format!(
            "[database]\nurl = {{ env = \"REKON_BENCH_DATABASE\" }}\n[server]\nlisten = \"{address}\"\n{}",
            sim.configuration(64)
        );
        fs::write(&file, text).map_err(|source| Failure::File { path: file.display().to_string(), source })?;
        let child = Command::new(std::env::current_exe().map_err(Failure::Runtime)?)
            .args(["serve", "--config"])
            .arg(&file)
            .env("REKON_BENCH_DATABASE", place.url(name))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(Failure::Runtime)?;
        Ok(Self { child, address })
    }

    /// What it holds after some seconds of nothing, kB.
    pub(super) async fn idle_kb(&self) -> Result<u64, Failure> {
        tokio::time::sleep(IDLE_AFTER).await;
        let idle_kb = machine::memory_kb(self.child.id(), "VmRSS");
        if idle_kb == 0 {
            return Err(Failure::NotFound("`rekon serve` did not stay up: its memory cannot be read".to_owned()));
        }
        Ok(idle_kb)
    }

    /// The most that it ever held, after it swept so many rows more, kB.
    pub(super) async fn sweep_kb(&self, shelf: &mut Shelf, due: i64) -> Result<u64, Failure> {
        shelf.fill(due).await?;
        until_nothing_is_due(&shelf.store).await?;
        Ok(machine::memory_kb(self.child.id(), "VmHWM"))
    }
}

//! Does anything grow with the number of pending rows? Three databases with ten times as many each, in one run: what a check, a
//! claim, a scrape and a look cost, and what memory a daemon needs. The same number of rows is due in each.

use std::time::{Duration, Instant};

use super::{
    ACCOUNT,
    figures::median,
    loops::Watched,
    machine::{self, Machine},
    pending::{Daemon, Shelf, pass},
    place::{Place, SimProcess},
    table::megabytes,
};
use crate::{
    cli::{exit::Failure, output::table},
    store::{Store, gauges::GaugeScope, leases::Leased},
    web,
};

/// The databases: name, and pending rows in each.
const SIZES: [(&str, i64); 3] = [("flat_4", 10_000), ("flat_5", 100_000), ("flat_6", 1_000_000)];
/// Rows due in each pass.
const DUE: i64 = 10_000;
/// Turns of what is read again and again; the median counts, and CPU is theirs together.
const TURNS: u32 = 10;
/// Rows of a claim: the largest chunk.
const CHUNK: i64 = 500;
const OWNER: &str = "bench";
const LEASE: Duration = Duration::from_mins(1);

/// What one number of pending rows costs.
#[derive(Debug, serde::Serialize)]
struct Level {
    pending: i64,
    /// CPU of worker and Postgres for one check, microseconds.
    check_us: u64,
    /// Time of a claim of [`CHUNK`] rows, microseconds.
    claim_us: u64,
    /// Time of a scrape of /metrics that reads the database, and of one that does not, microseconds.
    scrape_us: u64,
    cached_scrape_us: u64,
    /// Time and Postgres CPU of one reading of the database's gauges, microseconds.
    gauges_us: u64,
    gauges_cpu_us: u64,
    /// Time of what `rekon status` reads, microseconds.
    status_us: u64,
    /// Memory of `rekon serve`, idle and at most after a sweep, kB.
    idle_kb: u64,
    sweep_kb: u64,
    /// Loading the pending rows, milliseconds.
    load_ms: u64,
}

/// Everything.
#[derive(Debug, serde::Serialize)]
pub(super) struct Flat {
    machine: Machine,
    rounds: u32,
    levels: Vec<Level>,
}

/// Measures all of it; `sizes` of the databases, smallest first.
pub(super) async fn measure(
    place: &Place,
    sim: &SimProcess,
    sizes: usize,
    rounds: u32,
    say: impl Fn(&str),
) -> Result<Flat, Failure> {
    let mut shelves = Vec::new();
    for (name, pending) in SIZES.into_iter().take(sizes) {
        say(&format!("rekon: loading {pending} pending rows"));
        let begun = Instant::now();
        let shelf = Shelf::new(place, name, pending, 0).await?;
        shelves.push((name, pending, millis(begun.elapsed()), shelf));
    }
    let config = sim.config(64)?;
    let watched = Watched { sim: sim.pid(), postgres: place.server_pid() };
    let mut checks: Vec<Vec<u64>> = vec![Vec::new(); shelves.len()];
    for round in 1..=rounds {
        say(&format!("rekon: sweeps, round {round} of {rounds}"));
        announce(&shelves, sim, DUE).await?;
        for ((.., shelf), spent) in shelves.iter_mut().zip(&mut checks) {
            shelf.fill(DUE).await?;
            spent.push(pass(&shelf.store, &config, watched).await?.own_us());
        }
    }
    announce(&shelves, sim, DUE.saturating_mul(2)).await?;
    let mut levels = Vec::new();
    for ((name, pending, load_ms, shelf), spent) in shelves.iter_mut().zip(checks) {
        say(&format!("rekon: a daemon and readings over {pending} pending rows"));
        let daemon = Daemon::start(place, sim, name)?;
        let idle_kb = daemon.idle_kb().await?;
        let (scrape_us, cached_scrape_us) = (scrape(&daemon).await?, scrape(&daemon).await?);
        let sweep_kb = daemon.sweep_kb(shelf, DUE).await?;
        drop(daemon);
        shelf.fill(DUE).await?;
        let store = &shelf.store;
        let (gauges_us, gauges_cpu_us) = gauges(store, watched).await?;
        levels.push(Level {
            pending: *pending,
            check_us: median(spent),
            claim_us: claims(store).await?,
            scrape_us,
            cached_scrape_us,
            gauges_us,
            gauges_cpu_us,
            status_us: looks(store).await?,
            idle_kb,
            sweep_kb,
            load_ms: *load_ms,
        });
    }
    for (.., shelf) in shelves {
        shelf.store.close().await;
    }
    let machine = machine::describe(&place.connect("postgres").await?).await?;
    Ok(Flat { machine, rounds, levels })
}

/// The databases stand at the same number: one of them speaks for all.
async fn announce(shelves: &[(&str, i64, u64, Shelf)], sim: &SimProcess, due: i64) -> Result<(), Failure> {
    match shelves.first() {
        Some((.., shelf)) => shelf.announce(sim, due).await,
        None => Ok(()),
    }
}

async fn scrape(daemon: &Daemon) -> Result<u64, Failure> {
    let failed = |error: reqwest::Error| Failure::NotFound(format!("/metrics did not answer: {error}"));
    let client = reqwest::Client::builder().no_proxy().build().map_err(failed)?;
    let begun = Instant::now();
    let answer = client.get(format!("http://{}/metrics", daemon.address)).send().await.map_err(failed)?;
    answer.error_for_status().map_err(failed)?.bytes().await.map_err(failed)?;
    Ok(micros(begun.elapsed()))
}

/// Time of a reading, and Postgres CPU for it.
async fn gauges(store: &Store, watched: Watched) -> Result<(u64, u64), Failure> {
    let words = web::vocabulary(vec![ACCOUNT.to_owned()], Vec::new());
    let scope = GaugeScope { accounts: words.accounts, endpoints: words.endpoints, flags: words.flags };
    let before = watched.now();
    let mut times = Vec::new();
    for _ in 0..TURNS {
        let begun = Instant::now();
        store.gauges(&scope).await?;
        times.push(micros(begun.elapsed()));
    }
    let spent = watched.since(before, u64::from(TURNS));
    Ok((median(times), spent.postgres_us()))
}

async fn looks(store: &Store) -> Result<u64, Failure> {
    let mut times = Vec::new();
    for _ in 0..TURNS {
        let begun = Instant::now();
        store.overview(false).await?;
        times.push(micros(begun.elapsed()));
    }
    Ok(median(times))
}

/// Leases chunk after chunk of what is due, then gives all of it back.
async fn claims(store: &Store) -> Result<u64, Failure> {
    let (mut times, mut held): (Vec<u64>, Vec<Leased>) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let begun = Instant::now();
        let claim = store.claim_due(ACCOUNT, CHUNK, OWNER, LEASE).await?;
        times.push(micros(begun.elapsed()));
        held.extend(claim.rows);
    }
    let leases: Vec<(i64, i64)> = held.iter().map(|row| (row.id, row.epoch)).collect();
    store.release_rows(&leases).await?;
    let wanted = CHUNK.saturating_mul(i64::from(TURNS));
    if i64::try_from(leases.len()).ok() != Some(wanted) {
        return Err(Failure::NotFound(format!("{} of {wanted} rows could be leased: no figure", leases.len())));
    }
    Ok(median(times))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A time in milliseconds with one place.
fn tenths(us: u64) -> String {
    format!("{}.{}", us / 1000, us % 1000 / 100)
}

/// For people: a line for each cost, a column for each number of rows.
pub(super) fn text(flat: &Flat) -> String {
    type Cell = fn(&Level) -> String;
    let lines: [(&str, Cell); 10] = [
        ("CPU per check, worker and Postgres, µs", |l| l.check_us.to_string()),
        ("claim of 500 rows, ms", |l| tenths(l.claim_us)),
        ("/metrics that reads the database, ms", |l| tenths(l.scrape_us)),
        ("/metrics in the seconds after, ms", |l| tenths(l.cached_scrape_us)),
        ("one reading of the gauges, ms", |l| tenths(l.gauges_us)),
        ("Postgres CPU of one reading, ms", |l| tenths(l.gauges_cpu_us)),
        ("what `rekon status` reads, ms", |l| tenths(l.status_us)),
        ("memory of an idle `rekon serve`, MB", |l| megabytes(l.idle_kb)),
        ("most memory in a sweep, MB", |l| megabytes(l.sweep_kb)),
        ("loading the rows, s", |l| tenths(l.load_ms)),
    ];
    let header: Vec<String> =
        ["pending rows".to_owned()].into_iter().chain(flat.levels.iter().map(|l| l.pending.to_string())).collect();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let rows = lines
        .map(|(name, cell)| [name.to_owned()].into_iter().chain(flat.levels.iter().map(cell)).collect::<Vec<String>>());
    let numbers: Vec<usize> = (1..header.len()).collect();
    let m = &flat.machine;
    let build = if m.is_release { "release" } else { "NOT a release build" };
    format!(
        "{}\n\n{} rounds of {DUE} due rows in each, in turns; medians. {} cores of {}; rekon {} ({build}); Postgres {}.\n",
        table(&header, &numbers, rows),
        flat.rounds,
        m.cores,
        m.processor,
        m.rekon,
        m.postgres
    )
}

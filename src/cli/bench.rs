//! `rekon bench`: what this machine makes of the main job, as ratios of one interleaved run. A private Postgres with fsync on
//! and two simulated providers in processes of their own; real signatures, the limiter, leases, journal and postings are on.
//!
//! Absent on purpose: passing or failing. Figures of a shared machine vary; whoever reads the table judges.

mod door;
mod figures;
mod flat;
mod loops;
mod machine;
mod pending;
mod place;
mod pure;
mod table;

use std::time::Duration;

use crate::{
    cli::{
        context::{Context, OnSignal, until_signal},
        exit::{Exit, Failure},
        output::Output,
    },
    telemetry::{self, metrics::ProcessMetrics},
    web,
};
use figures::Figures;
use loops::Pace;
use place::{Place, SimProcess};

/// The account that is measured.
const ACCOUNT: &str = "sim";
/// Milliseconds that the slower provider takes for every answer.
const SLOW_MS: u64 = 20;

/// Measure the whole loop against a bare HTTP loop, the cost of a check, rules per core and memory
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Measure the whole loop against a bare HTTP loop, the cost of a check, rules per core and memory.\n\nStarts a private Postgres \
                  and simulated providers of its own and removes them. Takes both cores for some minutes.",
    after_help = "Example: rekon bench --rounds 5 --seconds 5"
)]
pub(crate) struct Bench {
    /// Measure so long in each round
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Interleave so many rounds; figures are medians
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    rounds: u32,
    /// Smaller and rougher: at most 2 rounds of 2 seconds, a tenth of the rows
    #[arg(long)]
    quick: bool,
    /// Only what may grow with the number of pending rows: 10^4, 10^5 and 10^6 of them; with --quick without the last
    #[arg(long)]
    flat: bool,
    /// Measure the door for notifications alone
    #[arg(long)]
    door: bool,
}

/// How much is measured.
#[derive(Debug, Clone, Copy, serde::Serialize)]
struct Extent {
    rounds: u32,
    seconds: u64,
    pending_few: i64,
    pending_many: i64,
    /// Rows that are due in each pass over the two.
    due: i64,
    /// Seconds of notifications.
    door_seconds: u64,
}

impl Bench {
    fn extent(&self) -> Extent {
        if self.quick {
            let (rounds, seconds) = (self.rounds.min(2), self.seconds.min(2));
            return Extent {
                rounds,
                seconds,
                pending_few: 10_000,
                pending_many: 100_000,
                due: 10_000,
                door_seconds: 4,
            };
        }
        Extent {
            rounds: self.rounds,
            seconds: self.seconds,
            pending_few: 10_000,
            pending_many: 1_000_000,
            due: 10_000,
            door_seconds: 20,
        }
    }

    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let extent = self.extent();
        if cfg!(debug_assertions) {
            context.out.say("rekon: this is not a release build; its figures say nothing about one");
        }
        // Children are started by the main thread and end with it.
        let place = Place::open(context.config()?)?;
        let instant = SimProcess::start(&place, "instant", 0)?;
        if self.flat {
            return flatness(context, place, instant, if self.quick { 2 } else { 3 }, extent.rounds);
        }
        if self.door {
            let found = until_signal(OnSignal::Abandon, async |_stop| {
                let counted = counters()?;
                door::measure(&place, &instant, extent.door_seconds, counted).await
            })?;
            drop(instant);
            place.close()?;
            context.out.document(&found, || table::door(&found))?;
            return Ok(Exit::Clean);
        }
        let slow = SimProcess::start(&place, "slow", SLOW_MS)?;
        let figures =
            until_signal(OnSignal::Abandon, async |_stop| measure(context.out, &place, &instant, &slow, extent).await)?;
        drop((instant, slow));
        place.close()?;
        context.out.document(&figures, || table::text(&figures))?;
        Ok(Exit::Clean)
    }
}

/// The table over the numbers of pending rows.
fn flatness(context: &Context, place: Place, sim: SimProcess, sizes: usize, rounds: u32) -> Result<Exit, Failure> {
    let flat = until_signal(OnSignal::Abandon, async |_stop| {
        flat::measure(&place, &sim, sizes, rounds, |text| context.out.say(text)).await
    })?;
    drop(sim);
    place.close()?;
    context.out.document(&flat, || flat::text(&flat))?;
    Ok(Exit::Clean)
}

async fn measure(
    out: Output,
    place: &Place,
    instant: &SimProcess,
    slow: &SimProcess,
    extent: Extent,
) -> Result<Figures, Failure> {
    // Counting is part of the work.
    let counted = counters()?;
    let metrics = counted.clone();
    let upkeep = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            counted.upkeep();
        }
    }));
    let span = Duration::from_secs(extent.seconds);
    let pace = |in_flight| Pace { in_flight, span, rounds: extent.rounds };
    out.say("rekon: 1/5 the provider answers at once, 64 in flight");
    let at_once = loops::compare(place, "at_once", instant, pace(64)).await?;
    out.say("rekon: 2/5 the provider takes 20 ms, 256 in flight");
    let in_20_ms = loops::compare(place, "in_20_ms", slow, pace(256)).await?;
    let server = machine::describe(&place.connect("postgres").await?).await?;
    out.say("rekon: 3/5 many and few pending rows, memory");
    let pending = pending::compare(place, instant, extent).await?;
    out.say("rekon: 4/5 rules and parsing on one core");
    let pure = pure::measure(instant, &at_once.sample)?;
    out.say("rekon: 5/5 notifications at the door");
    let door = door::measure(place, instant, extent.door_seconds, metrics).await?;
    drop(upkeep);
    Ok(Figures { extent, machine: server, at_once, in_20_ms, pending, pure, door })
}

/// The counters of this process; once.
fn counters() -> Result<ProcessMetrics, Failure> {
    telemetry::metrics::install(&web::vocabulary(vec![ACCOUNT.to_owned()], Vec::new())).map_err(Failure::Metrics)
}

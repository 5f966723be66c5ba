//! `[jobs.*]`: the sweep over what is due, and the jobs on a calendar.

use std::time::Duration;

use super::reader::Section;
use super::schedule::{self, Schedule};

/// `[jobs]`, checked.
#[derive(Clone, Debug)]
pub struct Jobs {
    /// Asking the providers about what is due.
    pub sweep: Sweep,
    /// Reconciling yesterday.
    pub daily: Daily,
    /// Removing what may be forgotten.
    pub prune: Prune,
    /// Sealing the journal's chains.
    pub seal: Seal,
    /// Proving the rules of money over and over.
    pub sentinel: Sentinel,
}

/// `[jobs.sweep]`.
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    /// Pause between two looks at the due index when nothing wakes the sweeper.
    pub every: Duration,
    /// Life of a lease on a row.
    pub lease: Duration,
    /// Most rows leased at once.
    pub chunk_max: u32,
    /// A chunk is what the account's budget grants for this long.
    pub chunk_span: Duration,
}

/// `[jobs.daily]`.
#[derive(Clone, Debug)]
pub struct Daily {
    /// When.
    pub schedule: Schedule,
}

/// `[jobs.prune]`.
#[derive(Clone, Debug)]
pub struct Prune {
    /// When.
    pub schedule: Schedule,
    /// Age at which the body of a raw answer goes; the fact stays.
    pub keep_raw_answers: Duration,
    /// Age at which a finished command leaves the queue.
    pub keep_commands: Duration,
    /// Age at which a notification that became no fact goes.
    pub keep_notifications: Duration,
    /// Age at which a delivered message to a merchant's endpoint goes.
    pub keep_webhooks: Duration,
    /// Age at which a dead letter goes, and at which a message that nobody could send becomes one.
    pub keep_dead_webhooks: Duration,
}

/// `[jobs.seal]`.
#[derive(Clone, Debug)]
pub struct Seal {
    /// When.
    pub schedule: Schedule,
}

/// `[jobs.sentinel]`.
#[derive(Clone, Copy, Debug)]
pub struct Sentinel {
    /// Pause between two passes.
    pub every: Duration,
    /// Rows looked at in one pass.
    pub slice: u32,
}

pub(crate) fn read(section: &mut Section<'_>) -> Option<Jobs> {
    let sweep = read_sweep(&mut section.section("sweep"));
    let daily = read_daily(&mut section.section("daily"));
    let prune = read_prune(&mut section.section("prune"));
    let seal = read_seal(&mut section.section("seal"));
    let sentinel = read_sentinel(&mut section.section("sentinel"));
    section.finish();
    Some(Jobs { sweep: sweep?, daily: daily?, prune: prune?, seal: seal?, sentinel: sentinel? })
}

fn read_sweep(section: &mut Section<'_>) -> Option<Sweep> {
    let every = section.duration("every", "10ms", "1h");
    let lease = section.duration("lease", "1s", "1h");
    let chunk_max = section.number("chunk_max", 1, 500);
    let chunk_span = section.duration("chunk_span", "100ms", "1m");
    section.finish();
    Some(Sweep { every: every?, lease: lease?, chunk_max: chunk_max?, chunk_span: chunk_span? })
}

fn read_daily(section: &mut Section<'_>) -> Option<Daily> {
    let schedule = schedule::read(section);
    section.finish();
    Some(Daily { schedule: schedule? })
}

fn read_prune(section: &mut Section<'_>) -> Option<Prune> {
    let schedule = schedule::read(section);
    let keep_raw_answers = section.duration("keep_raw_answers", "1d", "36500d");
    let keep_commands = section.duration("keep_commands", "1h", "3650d");
    let keep_notifications = section.duration("keep_notifications", "1h", "3650d");
    let keep_webhooks = section.duration("keep_webhooks", "1h", "3650d");
    let keep_dead_webhooks = section.duration("keep_dead_webhooks", "7d", "3650d");
    section.finish();
    Some(Prune {
        schedule: schedule?,
        keep_raw_answers: keep_raw_answers?,
        keep_commands: keep_commands?,
        keep_notifications: keep_notifications?,
        keep_webhooks: keep_webhooks?,
        keep_dead_webhooks: keep_dead_webhooks?,
    })
}

fn read_sentinel(section: &mut Section<'_>) -> Option<Sentinel> {
    let every = section.duration("every", "100ms", "1h");
    let slice = section.number("slice", 100, 100_000);
    section.finish();
    Some(Sentinel { every: every?, slice: slice? })
}

fn read_seal(section: &mut Section<'_>) -> Option<Seal> {
    let schedule = schedule::read(section);
    section.finish();
    Some(Seal { schedule: schedule? })
}

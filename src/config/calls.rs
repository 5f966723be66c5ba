//! `[budget]`, `[breaker]`, `[settle]` and `[reconcile]`: how calls are shared out, when asking stops, how answers are written.

use std::time::Duration;

use super::reader::Section;

/// `[budget]`: how an account's calls are shared out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Budget {
    /// Percent of an account's rate kept for refund status, cashier and ad-hoc checks; lent while idle.
    pub reserve_percent: u32,
    /// Most slots that one process leases at once.
    pub block_max: u32,
    /// How long nobody calls an account after a 429 without Retry-After.
    pub retry_after_default: Duration,
    /// Longest obedience to a Retry-After.
    pub retry_after_max: Duration,
}

/// `[breaker]`: when an account is not asked any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Breaker {
    /// Fewest calls in the window that may open it.
    pub calls_min: u32,
    /// The window.
    pub window: Duration,
    /// Percent of failed calls in the window that opens it.
    pub failed_percent: u32,
    /// First pause before a probe; each next one is twice as long.
    pub probe_first: Duration,
    /// Longest pause before a probe.
    pub probe_max: Duration,
}

/// `[settle]`: how answers are grouped into database transactions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settle {
    /// Most rows in one transaction.
    pub group_max: u32,
    /// Longest wait for a group to fill.
    pub linger: Duration,
}

/// `[reconcile]`: the defaults of a run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reconcile {
    /// Age of the last answer up to which a settled row is not asked again.
    pub fresh: Duration,
    /// Longest run.
    pub deadline: Duration,
}

pub(crate) fn read_budget(section: &mut Section<'_>) -> Option<Budget> {
    let reserve_percent = section.number("reserve_percent", 0, 90);
    let block_max = section.number("block_max", 1, 500);
    let retry_after_default = section.duration("retry_after_default", "100ms", "10m");
    let retry_after_max = section.duration("retry_after_max", "1s", "1h");
    section.finish();
    Some(Budget {
        reserve_percent: reserve_percent?,
        block_max: block_max?,
        retry_after_default: retry_after_default?,
        retry_after_max: retry_after_max?,
    })
}

pub(crate) fn read_breaker(section: &mut Section<'_>) -> Option<Breaker> {
    let calls_min = section.number("calls_min", 1, 10_000);
    let window = section.duration("window", "1s", "10m");
    let failed_percent = section.number("failed_percent", 1, 100);
    let probe_first = section.duration("probe_first", "10ms", "10m");
    let probe_max = section.duration("probe_max", "10ms", "1h");
    section.finish();
    let (probe_first, probe_max) = (probe_first?, probe_max?);
    if probe_first > probe_max {
        return section.refuse("probe_first", "must not be longer than probe_max");
    }
    Some(Breaker { calls_min: calls_min?, window: window?, failed_percent: failed_percent?, probe_first, probe_max })
}

pub(crate) fn read_settle(section: &mut Section<'_>) -> Option<Settle> {
    let group_max = section.number("group_max", 1, 500);
    let linger = section.duration("linger", "0ms", "1s");
    section.finish();
    Some(Settle { group_max: group_max?, linger: linger? })
}

pub(crate) fn read_reconcile(section: &mut Section<'_>) -> Option<Reconcile> {
    let fresh = section.duration("fresh", "0s", "365d");
    let deadline = section.duration("deadline", "1s", "7d");
    section.finish();
    Some(Reconcile { fresh: fresh?, deadline: deadline? })
}

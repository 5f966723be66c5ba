//! The figures as a table for people: each beside its bar, then what is behind it.

use std::fmt::Write as _;

use super::{
    door::DoorFigures,
    figures::{Figures, Permille},
    loops::{Comparison, Typical},
};
use crate::cli::output::table;

/// A row of the table: what, measured, the two bars.
type Row = [String; 4];

/// Everything, as text.
pub(super) fn text(figures: &Figures) -> String {
    let rows = bars(figures);
    let mut out = table(&["", "measured", "first", "goal"], &[1, 2, 3], rows.map(Vec::from));
    out.push_str("\n\n");
    let loops = [("at once, 64 in flight", &figures.at_once), ("20 ms, 256 in flight", &figures.in_20_ms)];
    let rows = loops.iter().flat_map(|(name, c)| [behind(name, "bare", &c.bare), behind(name, "whole", &c.whole)]);
    out.push_str(&table(
        &["provider answers", "loop", "per second", "worker µs", "provider µs", "Postgres µs"],
        &[2, 3, 4, 5],
        rows,
    ));
    out.push_str("\n\n");
    out.push_str(&door(&figures.door));
    out.push_str("\n\n");
    for line in remarks(figures) {
        writeln!(out, "{line}").unwrap_or_default();
    }
    out
}

/// The door for notifications, as a line of its own.
pub(super) fn door(f: &DoorFigures) -> String {
    let millis = |us: u64| format!("{}.{}", us / 1000, us % 1000 / 100);
    let rows = [vec![
        format!("{}/s for {} s", f.per_second, f.seconds),
        format!("{} of {}", f.taken, f.sent),
        millis(f.p50_us),
        millis(f.p99_us),
        millis(f.max_us),
        format!("{} in {} looks", f.before_commit, f.looks),
    ]];
    table(&["notifications", "taken", "p50 ms", "p99 ms", "most ms", "answered before commit"], &[1, 2, 3, 4, 5], rows)
}

fn bars(f: &Figures) -> [Row; 8] {
    let row = |what: String, measured: String, first: &str, goal: &str| [what, measured, first.into(), goal.into()];
    let statements = f.at_once.statements_per_check.map_or_else(|| "not counted".to_owned(), |s| s.to_string());
    let millions = |rows: i64| {
        if rows % 1_000_000 == 0 { format!("{} M", rows / 1_000_000) } else { format!("{} k", rows / 1000) }
    };
    let (many, few) = (millions(f.extent.pending_many), millions(f.extent.pending_few));
    [
        row(
            "whole ÷ bare, provider answers at once, 64 in flight".into(),
            f.at_once.ratio.to_string(),
            "≥ 0.45",
            "≥ 0.75",
        ),
        row(
            "whole ÷ bare, provider takes 20 ms, 256 in flight".into(),
            f.in_20_ms.ratio.to_string(),
            "≥ 0.95",
            "≥ 0.98",
        ),
        row("SQL statements per check".into(), statements, "≤ 0.15", "≤ 0.05"),
        row(format!("CPU per check, {many} pending ÷ {few} pending"), f.pending.ratio.to_string(), "≤ 1.3", "≤ 1.1"),
        row("decide, per second and core".into(), f.pure.decide_per_second.to_string(), "≥ 1000000", "≥ 1000000"),
        row("read an answer, per second and core".into(), f.pure.read_per_second.to_string(), "", ""),
        row("memory of an idle `rekon serve`, MB".into(), megabytes(f.pending.idle_kb), "≤ 60", "≤ 60"),
        row(format!("most memory in a sweep over {many} pending, MB"), megabytes(f.pending.sweep_kb), "", ""),
    ]
}

fn behind(answers: &str, which: &str, t: &Typical) -> Vec<String> {
    let numbers = [t.per_second, t.worker_us, t.sim_us, t.postgres_us];
    [answers.to_owned(), which.to_owned()].into_iter().chain(numbers.map(|n| n.to_string())).collect()
}

/// Kilobytes as megabytes with one place.
pub(super) fn megabytes(kb: u64) -> String {
    let tenths = kb.saturating_mul(10) / 1024;
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn remarks(f: &Figures) -> Vec<String> {
    let spread = |c: &Comparison| {
        let each: Vec<String> = c.ratios.iter().map(Permille::to_string).collect();
        each.join(" ")
    };
    let m = &f.machine;
    let settings: Vec<String> = m.settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let build = if m.is_release { "release" } else { "NOT a release build" };
    vec![
        format!("{} rounds of {} s, bare and whole in turns; medians; µs are CPU per request.", f.extent.rounds, f.extent.seconds),
        format!("Ratios of the rounds: at once {}; 20 ms {}.", spread(&f.at_once), spread(&f.in_20_ms)),
        format!(
            "Pending: {} µs ({} per second) and {} µs ({} per second), worker and Postgres; {} rows swept by the daemon.",
            f.pending.few_us, f.pending.few_per_second, f.pending.many_us, f.pending.many_per_second, f.pending.swept
        ),
        "Each check left a fact, a journal entry and two postings. Statements: pg_stat_statements, as clients sent them, BEGIN and COMMIT included.".to_owned(),
        format!("Ran on {} cores of {}, Linux {}; rekon {} ({build}), rustc {}.", m.cores, m.processor, m.kernel, m.rekon, m.rustc),
        format!("Postgres {}: {}.", m.postgres, settings.join(", ")),
    ]
}

//! The report of a run: reads the figures of its rows in one moment of the database and hands them, and on demand the rows,
//! to the formats. Says nothing that the database does not say; what a figure means is the report's.
//!
//! Deliberately absent: files, terminals, exit codes.

mod exceptions;

use std::{collections::BTreeSet, io::Write, time::Duration};

use serde_json::Value;

use crate::{
    domain::day::BusinessDay,
    engine::EngineError,
    report::{
        Format, ReportError, ReportWriter,
        day::{
            DayReport, FlagTotal, LedgerFigures, PaymentRow, PayoutTotal, RefundTotal, RunFigures, StateTotal,
            Unfinished,
        },
        table::Layout,
    },
    store::{
        Store, StoreError,
        day::{DayFigures, DayRow, DaySnapshot, Doings, LedgerSum, Origin, Waiting},
        runs::Run,
    },
};

/// Most rows that a report lists as waiting for a person; a reader who needs more takes the rows.
pub const MOST_EXCEPTIONS: i64 = 500;

const CALLS_COUNTED: &str = "queries about these rows that left since the run began and whose answer or silence is recorded, \
    by whomever they were sent, and refund calls; an answer equal to one from before the run counts once; tokens not counted";

/// What only the caller of a run knows about it.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The first business day asked for.
    pub first: BusinessDay,
    /// The last one, included.
    pub last: BusinessDay,
    /// Rows of other days that are still open were selected too.
    pub with_open_rows: bool,
    /// The accounts, by name.
    pub accounts: Vec<String>,
    /// What was asked for, in the words of the command.
    pub filter: String,
    /// Nothing was written and nothing sent.
    pub is_dry_run: bool,
    /// How long it took.
    pub duration: Duration,
    /// What it left undone, if anything.
    pub unfinished: Option<Unfinished>,
}

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The output or its format.
    #[error(transparent)]
    Report(#[from] ReportError),
}

/// Reads the report of a run as its rows stand now.
///
/// # Errors
/// The database; also [`StoreError::Inconsistent`] where a column holds a word that rekon does not write.
pub async fn build(store: &Store, run: &Run, outcome: &Outcome) -> Result<DayReport, EngineError> {
    let mut snapshot = store.day(run.id).await?;
    let mut report = empty(run, outcome, &snapshot);
    fill(&mut report, &mut snapshot, run).await?;
    Ok(report)
}

/// Writes a report in a format; `layout` matters to a terminal alone. A format with rows is written from one moment: its
/// figures are read again together with the rows, so that a workbook agrees with itself even while the daemon goes on.
///
/// # Errors
/// The database, the output, or more rows than the format holds.
pub async fn write<W: Write + Send>(
    store: &Store,
    run: &Run,
    report: &DayReport,
    format: Format,
    layout: Layout,
    out: W,
) -> Result<W, WriteError> {
    let mut writer = ReportWriter::new(format, layout, out)?;
    if !format.wants_rows() {
        return Ok(writer.finish(report)?);
    }
    let mut snapshot = store.day(run.id).await?;
    let mut report = report.clone();
    fill(&mut report, &mut snapshot, run).await?;
    let mut behind = 0;
    loop {
        let page = snapshot.rows_after(behind).await?;
        let Some(last) = page.last() else { break };
        behind = last.id;
        for row in page {
            writer.row(&payment_row(row))?;
        }
    }
    drop(snapshot);
    Ok(writer.finish(&report)?)
}

fn empty(run: &Run, outcome: &Outcome, snapshot: &DaySnapshot) -> DayReport {
    DayReport {
        first: outcome.first,
        last: outcome.last,
        with_open_rows: outcome.with_open_rows,
        generated_at: snapshot.at(),
        accounts: outcome.accounts.clone(),
        filter: outcome.filter.clone(),
        run: Some(RunFigures {
            id: run.id.to_string(),
            started_at: run.started_at,
            duration: outcome.duration,
            selected: 0,
            calls: 0,
            refunds_confirmed: 0,
            is_dry_run: outcome.is_dry_run,
            unfinished: outcome.unfinished,
        }),
        totals: Vec::new(),
        payouts: Vec::new(),
        flags: Vec::new(),
        refunds: Vec::new(),
        ledger: LedgerFigures::default(),
        exceptions: Vec::new(),
        exceptions_total: 0,
        provenance: Vec::new(),
    }
}

/// Puts everything into the report that the database knows.
async fn fill(report: &mut DayReport, snapshot: &mut DaySnapshot, run: &Run) -> Result<(), StoreError> {
    let figures = snapshot.figures(run.started_at).await?;
    let waiting = snapshot.waiting(MOST_EXCEPTIONS).await?;
    report.generated_at = snapshot.at();
    report.provenance = provenance(&figures.origin, &waiting);
    report.exceptions_total = count(waiting.count);
    report.exceptions = waiting.rows.iter().map(exceptions::told).collect();
    take_over(report, figures);
    Ok(())
}

fn take_over(report: &mut DayReport, figures: DayFigures) {
    let in_rows = figures.totals.iter().map(|t| t.rows).chain(figures.payouts.iter().map(|p| p.rows));
    let selected = in_rows.fold(0, i64::saturating_add);
    if let Some(run) = &mut report.run {
        run.selected = count(selected);
        run.calls = count(calls(figures.doings));
        run.refunds_confirmed = count(figures.doings.refunds_confirmed);
    }
    let totals = figures.totals.into_iter().map(|t| StateTotal {
        account: t.account,
        state: t.state,
        count: count(t.rows),
        expected: t.expected,
        paid: t.paid,
        refunded: t.refunded,
        outside: t.outside,
        suspense: t.suspense,
    });
    report.totals = totals.collect();
    let payouts = figures.payouts.into_iter().map(|p| PayoutTotal {
        account: p.account,
        state: p.state,
        count: count(p.rows),
        expected: p.expected,
    });
    report.payouts = payouts.collect();
    let flags = figures.flags.into_iter().map(|f| FlagTotal {
        flag: f.flag,
        open: count(f.open),
        resolved: count(f.resolved),
        at_risk: f.at_risk,
    });
    report.flags = flags.collect();
    let refunds = figures.refunds.into_iter();
    report.refunds =
        refunds.map(|r| RefundTotal { state: r.state, count: count(r.refunds), amount: r.amount }).collect();
    let LedgerSum { provider_clearing, merchant_payable, suspense, refund_in_flight } = figures.ledger;
    report.ledger = LedgerFigures { provider_clearing, merchant_payable, suspense, refund_in_flight };
}

const fn calls(doings: Doings) -> i64 {
    doings.new_facts.saturating_add(doings.seen_again).saturating_add(doings.refund_calls)
}

/// A count of the database, which is never negative.
fn count(rows: i64) -> u64 {
    u64::try_from(rows).unwrap_or(0)
}

fn provenance(origin: &Origin, waiting: &Waiting) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let mut policies = BTreeSet::new();
    for (account, content) in &origin.last_entries {
        let content: Value = serde_json::from_str(content).unwrap_or_default();
        let word = |key| content.get(key).and_then(Value::as_str).map(str::to_owned);
        lines.extend(word("profile").map(|hash| (format!("profile of {account}"), hash)));
        policies.extend(word("policy"));
    }
    if !policies.is_empty() {
        lines.push(("policy".to_owned(), policies.into_iter().collect::<Vec<_>>().join(", ")));
    }
    lines.push(("journal entries".to_owned(), origin.entries.to_string()));
    lines.push(("journal chains".to_owned(), origin.chains.to_string()));
    lines.push(("journal head".to_owned(), origin.head.clone()));
    lines.push(("calls counted".to_owned(), CALLS_COUNTED.to_owned()));
    if count(waiting.count) > u64::try_from(waiting.rows.len()).unwrap_or(u64::MAX) {
        let told = format!("{} in all; listed are the {MOST_EXCEPTIONS} with the most money", waiting.count);
        lines.push(("rows that wait for a person".to_owned(), told));
    }
    lines
}

fn payment_row(row: DayRow) -> PaymentRow {
    PaymentRow {
        account: row.account,
        partner_reference_no: row.partner_reference_no,
        reference_no: row.reference_no,
        external_id: row.external_id,
        direction: row.direction,
        amount: row.amount,
        currency: row.currency,
        order_status: row.order_status,
        created_at: row.created_at,
        expires_at: row.expires_at,
        qr_content: row.qr_content,
        state: row.state,
        flags: row.flags,
        paid_amount: row.paid_amount,
        fee_amount: row.fee_amount,
        refunded_amount: row.refunded_amount,
        refunded_outside: row.refunded_outside,
        paid_at: row.paid_at,
        checks: u32::try_from(row.checks).unwrap_or(0),
        last_checked_at: row.last_checked_at,
        next_check_at: row.next_check_at,
    }
}

//! The report for programs: one document, keys sorted, amounts as strings in the document's currency, ISO times in WIB.
//!
//! Deliberately absent: the rows; a million of them belong in CSV.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::report::{
    ReportError,
    day::{DayReport, ExceptionRow, RunFigures, StateTotal, flag_words},
    format,
    verdict::Sums,
};

/// The document, with a line end.
pub fn render(report: &DayReport) -> Result<String, ReportError> {
    let mut text = serde_json::to_string_pretty(&document(report))?;
    text.push('\n');
    Ok(text)
}

/// The document. Its keys stay sorted because `serde_json` keeps maps sorted unless told otherwise.
pub fn document(report: &DayReport) -> Value {
    let mut totals: Vec<_> = report.totals.iter().collect();
    totals.sort_by_key(|t| (t.account.as_str(), t.state));
    let mut payouts: Vec<_> = report.payouts.iter().collect();
    payouts.sort_by_key(|p| (p.account.as_str(), p.state));
    let mut flags: Vec<_> = report.flags.iter().collect();
    flags.sort_by_key(|f| f.flag);
    let mut refunds: Vec<_> = report.refunds.iter().collect();
    refunds.sort_by_key(|r| r.state);
    json!({
        "currency": format::CURRENCY,
        "first_day": report.first.to_string(),
        "last_day": report.last.to_string(),
        "with_open_rows": report.with_open_rows,
        "generated_at": format::iso(report.generated_at),
        "accounts": report.accounts,
        "filter": report.filter,
        "version": env!("CARGO_PKG_VERSION"),
        "provenance": report.provenance.iter().cloned().collect::<BTreeMap<_, _>>(),
        "verdict": {
            "result": report.verdict().as_str(),
            "headline": report.headline(),
            "exceptions": report.exception_count(),
            "at_risk": report.sums(None).suspense.to_string(),
        },
        "run": report.run.as_ref().map(run),
        "payments": {
            "by_state": totals.into_iter().map(state_total).collect::<Vec<_>>(),
            "all": sums(&report.sums(None)),
        },
        "payouts": payouts.into_iter().map(|p| json!({
            "account": p.account, "state": p.state.as_str(), "count": p.count, "expected": p.expected.to_string(),
        })).collect::<Vec<_>>(),
        "flags": flags.into_iter().map(|f| json!({
            "flag": f.flag.as_str(), "open": f.open, "resolved": f.resolved, "at_risk": f.at_risk.to_string(),
        })).collect::<Vec<_>>(),
        "refunds": refunds.into_iter().map(|r| json!({
            "state": r.state.as_str(), "count": r.count, "amount": r.amount.to_string(),
        })).collect::<Vec<_>>(),
        "ledger": {
            "provider_clearing": report.ledger.provider_clearing.to_string(),
            "merchant_payable": report.ledger.merchant_payable.to_string(),
            "suspense": report.ledger.suspense.to_string(),
            "refund_in_flight": report.ledger.refund_in_flight.to_string(),
        },
        "control_figures": report.checks().into_iter().map(|c| json!({
            "name": c.name, "left": c.left.to_string(), "right": c.right.to_string(),
            "difference": c.difference().to_string(), "ties": c.ties(),
        })).collect::<Vec<_>>(),
        "exceptions": report.exceptions.iter().map(exception).collect::<Vec<_>>(),
    })
}

fn run(run: &RunFigures) -> Value {
    json!({
        "id": run.id,
        "started_at": format::iso(run.started_at),
        "duration_ms": u64::try_from(run.duration.as_millis()).unwrap_or(u64::MAX),
        "selected": run.selected,
        "calls": run.calls,
        "refunds_confirmed": run.refunds_confirmed,
        "dry_run": run.is_dry_run,
        "unfinished": run.unfinished.map(|u| json!({ "rows": u.rows, "stopped_by": u.stopped_by.as_str() })),
    })
}

fn sums(sums: &Sums) -> Value {
    json!({
        "count": sums.count,
        "expected": sums.expected.to_string(),
        "paid": sums.paid.to_string(),
        "refunded": sums.refunded.to_string(),
        "refunded_outside": sums.outside.to_string(),
        "at_risk": sums.suspense.to_string(),
    })
}

fn state_total(total: &StateTotal) -> Value {
    json!({
        "account": total.account,
        "state": total.state.as_str(),
        "count": total.count,
        "expected": total.expected.to_string(),
        "paid": total.paid.to_string(),
        "refunded": total.refunded.to_string(),
        "refunded_outside": total.outside.to_string(),
        "at_risk": total.suspense.to_string(),
    })
}

fn exception(row: &ExceptionRow) -> Value {
    let flags = flag_words(&row.flags);
    json!({
        "account": row.account,
        "partner_reference_no": row.partner_reference_no,
        "reference_no": row.reference_no,
        "state": row.state.as_str(),
        "flags": flags.split_whitespace().collect::<Vec<_>>(),
        "expected": row.expected.to_string(),
        "paid": row.paid.map(|paid| paid.to_string()),
        "refunded": row.refunded.to_string(),
        "at_risk": row.at_risk.to_string(),
        "since": format::iso(row.since),
        "rule": row.rule,
        "why": row.why,
        "next_step": row.next_step,
    })
}

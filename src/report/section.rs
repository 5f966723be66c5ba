//! What a report shows, once, as typed cells; the formats only dress it.
//!
//! Deliberately absent: widths, number formats, markup.

use std::borrow::Cow;

use chrono::{DateTime, Utc};

use crate::{
    domain::{money::Sen, refund::RefundState, state::State},
    report::{
        day::{DayReport, ExceptionRow, flag_words},
        format,
        verdict::Sums,
    },
};

/// One value, not yet dressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell<'a> {
    /// Nothing known.
    Blank,
    /// Words, or a reference.
    Text(Cow<'a, str>),
    /// A number of things.
    Count(u64),
    /// An amount.
    Money(Sen),
    /// An instant.
    When(DateTime<Utc>),
}

impl<'a> Cell<'a> {
    pub(crate) fn text(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    pub(crate) fn maybe_text(text: Option<&'a str>) -> Self {
        text.map_or(Self::Blank, Self::text)
    }

    pub(crate) fn maybe_money(amount: Option<Sen>) -> Self {
        amount.map_or(Self::Blank, Self::Money)
    }

    pub(crate) fn maybe_when(at: Option<DateTime<Utc>>) -> Self {
        at.map_or(Self::Blank, Self::When)
    }

    /// For people: `Rp 12.000`, `1.980`, `19 Nov 2026 14:05:09 WIB`.
    pub(crate) fn shown(&self) -> Cow<'_, str> {
        match self {
            Self::Blank => Cow::Borrowed(""),
            Self::Text(text) => Cow::Borrowed(text),
            Self::Count(number) => format::count(*number).into(),
            Self::Money(amount) => format::rupiah(*amount).into(),
            Self::When(at) => format::wib(*at).into(),
        }
    }
}

/// A column of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its heading.
    pub name: &'static str,
    /// Holds counts or amounts: right-aligned.
    pub is_number: bool,
}

/// A line of a section.
#[derive(Debug, Clone)]
pub struct Line<'a> {
    /// As many as there are columns.
    pub cells: Vec<Cell<'a>>,
    /// Adds up lines above it.
    pub is_total: bool,
}

/// One table of a report.
#[derive(Debug, Clone)]
pub struct Section<'a> {
    /// Its caption.
    pub title: &'static str,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its lines.
    pub lines: Vec<Line<'a>>,
}

const fn words(name: &'static str) -> Column {
    Column { name, is_number: false }
}

const fn figures(name: &'static str) -> Column {
    Column { name, is_number: true }
}

const fn line(cells: Vec<Cell<'_>>) -> Line<'_> {
    Line { cells, is_total: false }
}

const fn total(cells: Vec<Cell<'_>>) -> Line<'_> {
    Line { cells, is_total: true }
}

/// The sections of the summary. Those without lines are left out, but never the payments and the control figures.
pub fn summary(report: &DayReport) -> Vec<Section<'_>> {
    let optional = [flags(report), refunds(report), payouts(report)];
    let mut sections = vec![payments(report)];
    sections.extend(optional.into_iter().filter(|section| !section.lines.is_empty()));
    sections.extend([money(report), checks(report)]);
    sections
}

fn sums_cells<'a>(account: &'a str, state: &'a str, sums: &Sums) -> Vec<Cell<'a>> {
    vec![
        Cell::text(account),
        Cell::text(state),
        Cell::Count(sums.count),
        Cell::Money(sums.expected),
        Cell::Money(sums.paid),
        Cell::Money(sums.refunded),
        Cell::Money(sums.outside),
        Cell::Money(sums.suspense),
    ]
}

fn payments(report: &DayReport) -> Section<'_> {
    let mut accounts: Vec<&str> = report.totals.iter().map(|t| t.account.as_str()).collect();
    accounts.sort_unstable();
    accounts.dedup();
    let mut lines = Vec::new();
    for account in &accounts {
        for state in State::ALL {
            let here = report.totals.iter().filter(|t| t.account == *account && t.state == state && t.count > 0);
            lines.extend(here.map(|t| {
                let sums = Sums {
                    count: t.count,
                    expected: t.expected,
                    paid: t.paid,
                    refunded: t.refunded,
                    outside: t.outside,
                    suspense: t.suspense,
                };
                line(sums_cells(account, state.as_str(), &sums))
            }));
        }
        if accounts.len() > 1 {
            lines.push(total(sums_cells(account, "all", &report.sums(Some(account)))));
        }
    }
    lines.push(total(sums_cells("all", "all", &report.sums(None))));
    Section {
        title: "Payments by account and state",
        columns: vec![
            words("account"),
            words("state"),
            figures("rows"),
            figures("expected"),
            figures("paid"),
            figures("refunded"),
            figures("refunded outside"),
            figures("at risk"),
        ],
        lines,
    }
}

fn flags(report: &DayReport) -> Section<'_> {
    let mut sorted = report.flags.clone();
    sorted.sort_unstable_by_key(|f| f.flag);
    let some = sorted.iter().filter(|f| f.open > 0 || f.resolved > 0 || f.at_risk != Sen::ZERO);
    let mut lines: Vec<Line<'_>> = some
        .map(|f| {
            line(vec![
                Cell::text(f.flag.as_str()),
                Cell::Count(f.open),
                Cell::Count(f.resolved),
                Cell::Money(f.at_risk),
            ])
        })
        .collect();
    if !lines.is_empty() {
        // No total of the counts: a row with two flags stands under both.
        let at_risk = report.flags.iter().fold(Sen::ZERO, |sum, f| sum.plus(f.at_risk));
        lines.push(total(vec![Cell::text("all"), Cell::Blank, Cell::Blank, Cell::Money(at_risk)]));
    }
    Section {
        title: "Payments by flag",
        columns: vec![words("flag"), figures("open"), figures("resolved"), figures("at risk")],
        lines,
    }
}

fn refunds(report: &DayReport) -> Section<'_> {
    let in_order =
        RefundState::ALL.into_iter().flat_map(|state| report.refunds.iter().filter(move |r| r.state == state));
    let lines = in_order
        .filter(|r| r.count > 0)
        .map(|r| line(vec![Cell::text(r.state.as_str()), Cell::Count(r.count), Cell::Money(r.amount)]))
        .collect();
    Section { title: "Refunds by state", columns: vec![words("state"), figures("refunds"), figures("amount")], lines }
}

fn payouts(report: &DayReport) -> Section<'_> {
    let mut sorted: Vec<_> = report.payouts.iter().filter(|p| p.count > 0).collect();
    sorted.sort_unstable_by_key(|p| (p.account.as_str(), p.state));
    let lines = sorted
        .into_iter()
        .map(|p| {
            line(vec![
                Cell::text(&p.account),
                Cell::text(p.state.as_str()),
                Cell::Count(p.count),
                Cell::Money(p.expected),
            ])
        })
        .collect();
    Section {
        title: "Payouts (not in the totals)",
        columns: vec![words("account"), words("state"), figures("rows"), figures("expected")],
        lines,
    }
}

fn money(report: &DayReport) -> Section<'_> {
    let (ledger, sums) = (report.ledger, report.sums(None));
    let parts = [
        ("owed to the merchant", ledger.merchant_payable),
        ("in suspense", ledger.suspense),
        ("refunds in flight", ledger.refund_in_flight),
        ("returned by us", sums.refunded),
        ("returned outside", sums.outside),
    ];
    let accounted = parts.iter().fold(Sen::ZERO, |sum, (_, amount)| sum.plus(*amount));
    let mut lines: Vec<Line<'_>> =
        parts.into_iter().map(|(name, amount)| line(vec![Cell::text(name), Cell::Money(amount)])).collect();
    lines.push(total(vec![Cell::text("accounted for"), Cell::Money(accounted)]));
    Section { title: "Where the money is", columns: vec![words("place"), figures("amount")], lines }
}

fn checks(report: &DayReport) -> Section<'_> {
    let lines = report
        .checks()
        .into_iter()
        .map(|check| {
            line(vec![
                Cell::text(check.name),
                Cell::Money(check.left),
                Cell::Money(check.right),
                Cell::Money(check.difference()),
                Cell::text(if check.ties() { "ties" } else { "DIFFERS" }),
            ])
        })
        .collect();
    Section {
        title: "Control figures",
        columns: vec![words("check"), figures("left"), figures("right"), figures("difference"), words("result")],
        lines,
    }
}

/// The rows that wait for a person.
pub fn exceptions(report: &DayReport) -> Section<'_> {
    Section {
        title: "Rows that wait for a person",
        columns: vec![
            words("account"),
            words("partner_reference_no"),
            words("reference_no"),
            words("state"),
            words("flags"),
            figures("expected"),
            figures("paid"),
            figures("refunded"),
            figures("at risk"),
            words("since"),
            words("rule"),
            words("why"),
            words("next step"),
        ],
        lines: report.exceptions.iter().map(|row| line(exception_cells(row))).collect(),
    }
}

fn exception_cells(row: &ExceptionRow) -> Vec<Cell<'_>> {
    vec![
        Cell::text(&row.account),
        Cell::text(&row.partner_reference_no),
        Cell::maybe_text(row.reference_no.as_deref()),
        Cell::text(row.state.as_str()),
        Cell::Text(flag_words(&row.flags).into()),
        Cell::Money(row.expected),
        Cell::maybe_money(row.paid),
        Cell::Money(row.refunded),
        Cell::Money(row.at_risk),
        Cell::When(row.since),
        Cell::text(&row.rule),
        Cell::text(&row.why),
        Cell::text(&row.next_step),
    ]
}

/// Where the figures come from, name and value: filter, run, versions, times.
pub fn about(report: &DayReport) -> Vec<(Cow<'_, str>, Cell<'_>)> {
    let mut lines: Vec<(Cow<'_, str>, Cell<'_>)> = vec![
        ("days".into(), Cell::Text(report.title().into())),
        ("accounts".into(), Cell::Text(report.accounts.join(", ").into())),
        ("filter".into(), Cell::text(&report.filter)),
        ("generated at".into(), Cell::When(report.generated_at)),
        ("rekon".into(), Cell::text(env!("CARGO_PKG_VERSION"))),
    ];
    if let Some(run) = &report.run {
        lines.extend([
            ("run".into(), Cell::text(&run.id)),
            ("run started at".into(), Cell::When(run.started_at)),
            ("run took".into(), Cell::Text(format::duration(run.duration).into())),
            ("rows selected".into(), Cell::Count(run.selected)),
            ("calls made".into(), Cell::Count(run.calls)),
            ("refunds confirmed".into(), Cell::Count(run.refunds_confirmed)),
            ("dry run".into(), Cell::text(if run.is_dry_run { "yes: nothing was changed" } else { "no" })),
        ]);
    }
    lines.extend(report.provenance.iter().map(|(name, value)| (name.as_str().into(), Cell::text(value))));
    lines
}

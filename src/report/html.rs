//! The report as one self-contained page that prints well: real tables with captions and scopes, no script, no other file.
//!
//! The words are in `templates/report/day.html`. Deliberately absent: the rows, and any link that needs a server.

use askama::Template;

use crate::report::{
    ReportError,
    day::{DayReport, ExceptionRow},
    format,
    section::{self, Cell, Section},
    verdict::Verdict,
};

/// The last columns of an exception are rule, why and next step: too long for a cell.
const SENTENCES: usize = 3;

#[derive(Template)]
#[template(path = "report/day.html")]
struct Page {
    title: String,
    headline: String,
    /// Class of the headline: the colour comes second, the words say it all.
    tone: &'static str,
    sections: Vec<Table>,
    exceptions: Vec<Exception>,
    /// Headings of an exception's first line; the sentences stand in a second line below it.
    exception_headings: Vec<Heading>,
    /// Exceptions that are counted and not listed.
    more: Option<String>,
    about: Vec<(String, Shown)>,
}

struct Table {
    title: &'static str,
    headings: Vec<Heading>,
    lines: Vec<TableLine>,
}

struct Heading {
    name: &'static str,
    class: &'static str,
}

struct TableLine {
    class: &'static str,
    /// Names the line: a row heading.
    first: Shown,
    rest: Vec<Shown>,
}

/// One exception: figures, and below them why and what next.
struct Exception {
    line: TableLine,
    rule: String,
    why: String,
    next_step: String,
}

struct Shown {
    text: String,
    class: &'static str,
    /// ISO time; only for instants.
    iso: Option<String>,
}

/// The page.
pub fn render(report: &DayReport) -> Result<String, ReportError> {
    let listed = u64::try_from(report.exceptions.len()).unwrap_or(u64::MAX);
    let more = report.exception_count().saturating_sub(listed);
    let Table { mut headings, lines, .. } = Table::of(&section::exceptions(report));
    headings.truncate(headings.len().saturating_sub(SENTENCES));
    let exception_headings = headings;
    let exceptions = lines.into_iter().zip(&report.exceptions).map(|(line, row)| Exception::of(line, row)).collect();
    let page = Page {
        title: report.title(),
        headline: report.headline(),
        tone: match report.verdict() {
            Verdict::Clean { .. } => "clean",
            Verdict::Exceptions { .. } | Verdict::Incomplete { .. } => "attention",
            Verdict::DoesNotTie { .. } => "alarm",
        },
        sections: section::summary(report).iter().map(Table::of).collect(),
        exceptions,
        exception_headings,
        more: (more > 0).then(|| format::counted(more, "more exception is", "more exceptions are")),
        about: section::about(report).iter().map(|(name, cell)| (name.to_string(), Shown::of(cell))).collect(),
    };
    Ok(page.render()?)
}

impl Exception {
    fn of(mut line: TableLine, row: &ExceptionRow) -> Self {
        line.rest.truncate(line.rest.len().saturating_sub(SENTENCES));
        Self { line, rule: row.rule.clone(), why: row.why.clone(), next_step: row.next_step.clone() }
    }
}

impl Table {
    fn of(section: &Section<'_>) -> Self {
        let headings =
            section.columns.iter().map(|c| Heading { name: c.name, class: if c.is_number { "num" } else { "" } });
        let lines = section.lines.iter().map(|line| {
            let mut cells = line.cells.iter().map(Shown::of);
            TableLine {
                class: if line.is_total { "total" } else { "" },
                first: cells.next().unwrap_or_else(|| Shown::of(&Cell::Blank)),
                rest: cells.collect(),
            }
        });
        Self { title: section.title, headings: headings.collect(), lines: lines.collect() }
    }
}

impl Shown {
    fn of(cell: &Cell<'_>) -> Self {
        let (class, iso) = match cell {
            Cell::Count(_) | Cell::Money(_) => ("num", None),
            Cell::When(at) => ("when", Some(format::iso(*at))),
            Cell::Blank | Cell::Text(_) => ("", None),
        };
        Self { text: cell.shown().into_owned(), class, iso }
    }
}

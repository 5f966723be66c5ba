//! The report as plain text for a terminal: aligned columns, numbers to the right, sentences wrapped to the width.
//!
//! References are never cut, so that they can be copied; a table too wide for the terminal first loses the columns that
//! say nothing. Deliberately absent: colours, and control characters, which a reference from outside could carry.

use crate::report::{
    day::{DayReport, ExceptionRow, RunFigures, flag_words},
    format,
    section::{self, Cell, Section},
};

/// The room that a terminal gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Columns of the terminal.
    pub width: usize,
    /// Most exceptions that are shown; the rest is counted.
    pub max_exceptions: usize,
}

impl Default for Layout {
    fn default() -> Self {
        Self { width: 100, max_exceptions: 20 }
    }
}

/// Narrower than this, sentences are not wrapped any further.
const NARROWEST: usize = 40;
const GAP: &str = "  ";
const INDENT: &str = "  ";

/// The whole report.
pub fn render(report: &DayReport, layout: Layout) -> String {
    let mut out = String::new();
    wrap(&mut out, "", &report.headline(), layout.width);
    for section in section::summary(report) {
        table(&mut out, &section, layout.width);
    }
    exceptions(&mut out, report, layout);
    out.push('\n');
    if let Some(run) = &report.run {
        wrap(&mut out, "", &run_line(run), layout.width);
    }
    let origin = format!(
        "Generated {} by rekon {}; accounts: {}; {}.",
        format::wib(report.generated_at),
        env!("CARGO_PKG_VERSION"),
        report.accounts.join(", "),
        report.title()
    );
    wrap(&mut out, "", &origin, layout.width);
    out
}

fn run_line(run: &RunFigures) -> String {
    format!(
        "Run {}: {} selected, {} made, {} confirmed, in {}.{}",
        run.id,
        format::counted(run.selected, "row", "rows"),
        format::counted(run.calls, "call", "calls"),
        format::counted(run.refunds_confirmed, "refund", "refunds"),
        format::duration(run.duration),
        if run.is_dry_run { " Dry run: nothing was changed." } else { "" }
    )
}

fn table(out: &mut String, section: &Section<'_>, width: usize) {
    let mut columns: Vec<TextColumn> = section
        .columns
        .iter()
        .enumerate()
        .map(|(at, column)| {
            TextColumn::new(column.name, column.is_number, section.lines.iter().map(|l| l.cells.get(at)))
        })
        .collect();
    if full_width(&columns) > width {
        columns.retain(|column| !column.says_nothing);
    }
    out.push('\n');
    out.push_str(section.title);
    out.push('\n');
    print_line(out, columns.iter().map(|c| (c, c.heading)));
    print_line(out, columns.iter().map(|c| (c, c.rule.as_str())));
    for at in 0..section.lines.len() {
        print_line(out, columns.iter().map(|c| (c, c.cells.get(at).map_or("", String::as_str))));
    }
}

/// A column with its cells dressed and measured.
struct TextColumn {
    heading: &'static str,
    rule: String,
    cells: Vec<String>,
    width: usize,
    is_number: bool,
    /// Nothing but zeros and blanks.
    says_nothing: bool,
}

impl TextColumn {
    fn new<'a>(
        heading: &'static str,
        is_number: bool,
        cells: impl Iterator<Item = Option<&'a Cell<'a>>> + Clone,
    ) -> Self {
        let is_empty = |cell: Option<&Cell<'_>>| match cell {
            None | Some(Cell::Blank | Cell::Count(0)) => true,
            Some(Cell::Money(amount)) => amount.sen() == 0,
            Some(Cell::Text(_) | Cell::Count(_) | Cell::When(_)) => false,
        };
        let says_nothing = cells.clone().all(is_empty);
        let cells: Vec<String> = cells.map(|cell| cell.map_or_else(String::new, |c| harmless(&c.shown()))).collect();
        let widest = cells.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
        let width = widest.max(heading.len());
        Self { heading, rule: "-".repeat(width), cells, width, is_number, says_nothing }
    }
}

fn full_width(columns: &[TextColumn]) -> usize {
    let gaps = columns.len().saturating_sub(1).saturating_mul(GAP.len());
    columns.iter().fold(INDENT.len().saturating_add(gaps), |sum, column| sum.saturating_add(column.width))
}

fn print_line<'a>(out: &mut String, cells: impl Iterator<Item = (&'a TextColumn, &'a str)>) {
    let mut line = String::from(INDENT);
    for (at, (column, text)) in cells.enumerate() {
        if at > 0 {
            line.push_str(GAP);
        }
        let blanks = " ".repeat(column.width.saturating_sub(text.chars().count()));
        let (before, after) = if column.is_number { (blanks.as_str(), "") } else { ("", blanks.as_str()) };
        line.extend([before, text, after]);
    }
    out.push_str(line.trim_end());
    out.push('\n');
}

fn exceptions(out: &mut String, report: &DayReport, layout: Layout) {
    let all = report.exception_count();
    if all == 0 {
        return;
    }
    out.push_str("\nExceptions\n");
    let shown = report.exceptions.iter().take(layout.max_exceptions);
    for row in shown.clone() {
        exception(out, row, layout.width);
    }
    let more = all.saturating_sub(u64::try_from(shown.count()).unwrap_or(u64::MAX));
    if more > 0 {
        wrap(out, INDENT, &format!("and {} more: see `rekon exceptions list`.", format::count(more)), layout.width);
    }
}

fn exception(out: &mut String, row: &ExceptionRow, width: usize) {
    let flags = flag_words(&row.flags);
    let theirs = row.reference_no.as_deref().map_or_else(String::new, |no| format!(" (theirs {no})"));
    let head = format!("{}/{}{theirs}  {} {{{flags}}}", row.account, row.partner_reference_no, row.state.as_str());
    let paid =
        row.paid.map_or_else(|| "not known to be paid".to_owned(), |paid| format!("paid {}", format::rupiah(paid)));
    let money = format!(
        "expected {}, {paid}, refunded {}, at risk {}, since {}",
        format::rupiah(row.expected),
        format::rupiah(row.refunded),
        format::rupiah(row.at_risk),
        format::wib(row.since)
    );
    let deep = format!("{INDENT}{INDENT}");
    wrap(out, INDENT, &head, width);
    wrap(out, &deep, &money, width);
    wrap(out, &deep, &format!("why:  {} [{}]", row.why, row.rule), width);
    wrap(out, &deep, &format!("next: {}", row.next_step), width);
}

/// Adds `text` in lines of at most `width`, each after `indent`; a longer word gets a line of its own and stays whole.
fn wrap(out: &mut String, indent: &str, text: &str, width: usize) {
    let room = width.saturating_sub(indent.len()).max(NARROWEST);
    let mut used = 0_usize;
    // Split at blanks only: a no-break space holds an amount together.
    for word in harmless(text).split(' ') {
        let length = word.chars().count();
        if used > 0 && used.saturating_add(1).saturating_add(length) > room {
            out.push('\n');
            used = 0;
        }
        if used == 0 {
            out.push_str(indent);
        } else {
            out.push(' ');
            used = used.saturating_add(1);
        }
        out.push_str(word);
        used = used.saturating_add(length);
    }
    out.push('\n');
}

/// The text without characters that would drive the terminal.
fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn wrapped_text_keeps_every_word_and_the_width(words in proptest::collection::vec("[a-z]{1,30}", 1..40), width in 40_usize..120) {
            let text = words.join(" ");
            let mut out = String::new();
            wrap(&mut out, "    ", &text, width);
            prop_assert_eq!(out.split_whitespace().collect::<Vec<_>>(), words);
            let limit = width.saturating_sub(4).max(NARROWEST) + 4;
            prop_assert!(out.lines().all(|line| line.chars().count() <= limit), "{}", out);
        }
    }

    #[test]
    fn a_reference_cannot_drive_the_terminal() {
        assert_eq!(harmless("INV\u{1b}[2J\r1"), "INV\u{fffd}[2J\u{fffd}1");
    }
}

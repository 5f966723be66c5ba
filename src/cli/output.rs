//! What a command prints: data on stdout as text or JSON, everything else on stderr. Colours and bars only for a person at a
//! terminal. No command writes to a stream in another way, so that a reader who goes away (`| head`) is nobody's error.

use std::io::{self, IsTerminal as _, Write as _};

use chrono::{DateTime, Duration, Utc};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::exit::Failure;

/// How this process speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// One JSON document, or one object a line, instead of text.
    pub(crate) json: bool,
    is_bar_wanted: bool,
    is_aside: bool,
}

impl Output {
    /// `plain` (the variable NO_COLOR is set) keeps even a terminal free of colours and bars.
    pub(crate) fn new(json: bool, plain: bool) -> Self {
        Self { json, is_bar_wanted: io::stderr().is_terminal() && !plain, is_aside: false }
    }

    /// The same for a command inside a command that owes one document: text, and all of it on stderr.
    pub(crate) fn aside(self) -> Self {
        Self { json: false, is_aside: true, ..self }
    }

    /// Prints one document: as JSON with sorted keys, or as the text that `text` makes of it.
    pub(crate) fn document<T: serde::Serialize>(self, value: &T, text: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.json {
            let sorted = serde_json::to_value(value).map_err(not_json)?;
            let pretty = serde_json::to_string_pretty(&sorted).map_err(not_json)?;
            self.text(&pretty)
        } else {
            self.text(&text())
        }
    }

    /// Prints a list: as JSON one object a line, or as the text that `text` makes of all of it.
    pub(crate) fn list<T: serde::Serialize>(self, rows: &[T], text: impl FnOnce() -> String) -> Result<(), Failure> {
        if !self.json {
            return self.text(&text());
        }
        let mut lines = Vec::new();
        for row in rows {
            let sorted = serde_json::to_value(row).map_err(not_json)?;
            lines.push(sorted.to_string());
        }
        if lines.is_empty() { Ok(()) } else { self.text(&lines.join("\n")) }
    }

    /// Prints text as it is, with a line end.
    pub(crate) fn text(self, text: &str) -> Result<(), Failure> {
        if self.is_aside {
            self.say(text.trim_end());
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{}", text.trim_end()).and_then(|()| stdout.flush()).map_err(Failure::Output)
    }

    /// Says something that is not data. A closed stderr cannot be complained about.
    #[expect(clippy::unused_self, reason = "all that a command prints goes through its Output")]
    pub(crate) fn say(self, text: &str) {
        writeln!(io::stderr().lock(), "{text}").unwrap_or_default();
    }

    /// A bar for work of `total` rows or `bytes`, drawn only at a terminal; 0 = nobody knows how many.
    pub(crate) fn bar(self, total: u64, unit: &str) -> ProgressBar {
        if !self.is_bar_wanted {
            return ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
        }
        let (done, all, pace) = match unit {
            "bytes" => ("{bytes}".to_owned(), "{total_bytes}", "{bytes_per_sec}"),
            other => (format!("{{human_pos}} {other}"), "{human_len}", "{per_sec}"),
        };
        let (bar, template) = if total == 0 {
            (ProgressBar::no_length(), format!("{{spinner}} {done}  {pace}  {{elapsed}}  {{msg}}"))
        } else {
            (ProgressBar::new(total), format!("{{wide_bar}} {done} of {all}  {pace}  ETA {{eta}}  {{msg}}"))
        };
        bar.set_style(ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar
    }
}

fn not_json(error: serde_json::Error) -> Failure {
    Failure::Output(io::Error::other(error))
}

/// A plain table; the columns named in `right` are numbers.
pub(crate) fn table(header: &[&str], right: &[usize], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for column in right {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// A time for a person, in WIB: `2026-11-19 14:05:09 WIB`.
pub(crate) fn wib(at: DateTime<Utc>) -> String {
    let shifted = at.naive_utc().checked_add_signed(Duration::hours(7)).unwrap_or(at.naive_utc());
    format!("{} WIB", shifted.format("%Y-%m-%d %H:%M:%S"))
}

/// The same where there may be none.
pub(crate) fn wib_or_dash(at: Option<DateTime<Utc>>) -> String {
    at.map_or_else(|| "-".to_owned(), wib)
}

/// A span in the largest two units that matter: `3d 4h`, `5m 12s`.
pub(crate) fn span(secs: i64) -> String {
    let secs = secs.max(0);
    let (days, hours, minutes) = (secs / 86_400, secs % 86_400 / 3_600, secs % 3_600 / 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{secs}s"),
        (0, 0, _) => format!("{minutes}m {}s", secs % 60),
        (0, ..) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// Text that may be nothing.
pub(crate) fn or_dash(text: Option<impl ToString>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_in_wib_and_a_span_in_two_units() {
        let at = DateTime::from_timestamp(1_763_535_909, 0).unwrap();
        assert_eq!(wib(at), "2025-11-19 14:05:09 WIB");
        assert_eq!([-5, 59, 312, 7_500, 273_600].map(span), ["0s", "59s", "5m 12s", "2h 5m", "3d 4h"]);
    }

    #[test]
    fn a_table_has_no_blanks_at_the_end_of_a_line() {
        let text = table(&["account", "n"], &[1], [vec!["doku-main".into(), "12".into()]]);
        assert_eq!(text.lines().map(str::trim_end).collect::<Vec<_>>(), text.lines().collect::<Vec<_>>());
        assert!(text.contains("doku-main"));
    }
}

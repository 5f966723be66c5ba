//! The rows for programs: UTF-8, RFC 4180, the columns of the table under their own names, plain decimal amounts, ISO times.
//!
//! A spreadsheet takes a cell that begins with `=` for a formula, and references come from outside: such text gets an
//! apostrophe before it (OWASP, "CSV injection"). Deliberately absent: totals and verdict, which would not be rows.

use std::{borrow::Cow, io::Write};

use crate::report::{ReportError, day::PaymentRow, format, section::Cell};

/// Writes rows as they come; holds one of them at a time.
pub struct CsvRows<W: Write> {
    writer: csv::Writer<W>,
}

impl<W: Write> CsvRows<W> {
    /// Starts with the header.
    pub fn new(out: W) -> Result<Self, ReportError> {
        let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
        writer.write_record(PaymentRow::COLUMNS.map(|(name, _)| name))?;
        Ok(Self { writer })
    }

    /// Adds one row.
    pub fn push(&mut self, row: &PaymentRow) -> Result<(), ReportError> {
        for cell in &row.cells() {
            self.writer.write_field(plain(cell).as_bytes())?;
        }
        self.writer.write_record(None::<&[u8]>)?;
        Ok(())
    }

    /// Flushes and gives the output back.
    pub fn finish(self) -> Result<W, ReportError> {
        self.writer.into_inner().map_err(|error| ReportError::Output(error.into_error()))
    }
}

fn plain<'a>(cell: &'a Cell<'a>) -> Cow<'a, str> {
    match cell {
        Cell::Blank => Cow::Borrowed(""),
        Cell::Text(text) => defused(text),
        Cell::Count(number) => number.to_string().into(),
        Cell::Money(amount) => amount.to_string().into(),
        Cell::When(at) => format::iso(*at).into(),
    }
}

/// The text, made harmless to a spreadsheet. The wide forms of the signs are taken for the plain ones by some.
fn defused(text: &str) -> Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']) {
        format!("'{text}").into()
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_a_spreadsheet_would_run_is_defused_and_other_text_is_untouched() {
        for text in ["=1+1", "+62811", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", "＝1"] {
            assert_eq!(defused(text), format!("'{text}"));
        }
        for text in ["", "INV-001", "1=1", "'=1", "20261119000001"] {
            assert_eq!(defused(text), text);
        }
    }
}

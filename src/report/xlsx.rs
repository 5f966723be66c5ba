//! The report as a workbook for finance: Summary, Exceptions, Rows, About.
//!
//! Amounts are numbers with an `Rp` format, references text (a 32-digit number would become 4.18E+31), times WIB date-times with
//! an exact ISO column beside them. Text is always written as text, so nothing in it is ever run as a formula.
//! Deliberately absent: macros, charts, colours that carry meaning.

mod cell;

use rust_xlsxwriter::{DocProperties, Format, FormatAlign, Formula, Workbook, Worksheet};

use cell::{Styles, excel_time, put};

use crate::{
    domain::{money::Sen, order::Direction},
    report::{
        ReportError,
        day::{DayReport, Kind, PaymentRow},
        format,
        section::{self, Cell, Section},
    },
};

/// The most rows that a workbook is given: it is built in memory at some 4.5 KB a row. (Excel itself ends at 1 048 576.)
pub const MAX_ROWS: u32 = 100_000;
const TITLES: [&str; 4] = ["Summary", "Exceptions", "Rows", "About"];
const ROWS_SHEET: usize = 2;

/// A workbook under way.
pub struct Book {
    workbook: Workbook,
    styles: Styles,
    bold: Styles,
    rows: u32,
    limit: u32,
    /// Σ of each money column of the rows, in the order of the columns.
    sums: Vec<Sen>,
    /// Count and Σ paid of the rows that are payments, to be held against the summary.
    payments: u64,
    paid: Sen,
}

impl Book {
    /// An empty workbook with its sheets and the heading of the rows.
    pub fn new() -> Result<Self, ReportError> {
        let mut workbook = Workbook::new();
        for title in TITLES {
            workbook.add_worksheet().set_name(title)?.set_landscape();
        }
        let styles = Styles::new(&Format::new().set_align(FormatAlign::Top));
        let bold = Styles::new(&Format::new().set_align(FormatAlign::Top).set_bold());
        let sheet = workbook.worksheet_from_index(ROWS_SHEET)?;
        let mut column = 0;
        for (name, kind) in PaymentRow::COLUMNS {
            if kind == Kind::Time {
                sheet.write_string_with_format(0, column, format!("{name} (WIB)"), &styles.heading)?;
                sheet.set_column_width_pixels(column, 150)?;
                column += 1;
                sheet.write_string_with_format(0, column, format!("{name} (ISO)"), &styles.heading)?;
                sheet.set_column_width_pixels(column, 210)?;
            } else {
                sheet.write_string_with_format(0, column, name, &styles.heading)?;
                sheet.set_column_width_pixels(column, if name.ends_with("_no") { 210 } else { 120 })?;
            }
            column += 1;
        }
        sheet.set_freeze_panes(1, 2)?;
        sheet.set_repeat_rows(0, 0)?;
        let money = PaymentRow::COLUMNS.iter().filter(|(_, kind)| *kind == Kind::Money).count();
        let sums = vec![Sen::ZERO; money];
        Ok(Self { workbook, styles, bold, rows: 0, limit: MAX_ROWS, sums, payments: 0, paid: Sen::ZERO })
    }

    /// Adds one row.
    pub fn push(&mut self, row: &PaymentRow) -> Result<(), ReportError> {
        if self.rows >= self.limit {
            return Err(ReportError::TooManyRows { limit: self.limit });
        }
        self.rows += 1;
        let sheet = self.workbook.worksheet_from_index(ROWS_SHEET)?;
        let mut sums = self.sums.iter_mut();
        let mut column = 0;
        for (cell, (_, kind)) in row.cells().iter().zip(PaymentRow::COLUMNS) {
            put(sheet, &self.styles, (self.rows, column), cell)?;
            if kind == Kind::Money
                && let (Some(sum), Cell::Money(amount)) = (sums.next(), cell)
            {
                *sum = sum.plus(*amount);
            }
            if kind == Kind::Time {
                column += 1;
                if let Cell::When(at) = cell {
                    sheet.write_string(self.rows, column, format::iso(*at))?;
                }
            }
            column += 1;
        }
        if row.direction == Direction::In {
            self.payments += 1;
            self.paid = self.paid.plus(row.paid_amount.unwrap_or(Sen::ZERO));
        }
        Ok(())
    }

    /// Fills the other sheets and gives the file's bytes. The same report gives the same bytes.
    pub fn finish(mut self, report: &DayReport) -> Result<Vec<u8>, ReportError> {
        self.total_rows()?;
        self.summary(report)?;
        self.exceptions(report)?;
        self.about(report)?;
        let properties = DocProperties::new()
            .set_title(format!("Day report: {}", report.title()))
            .set_author("rekon")
            // The one time in the file that is UTC, because the format says so.
            .set_creation_datetime(&excel_time(report.generated_at.naive_utc())?);
        self.workbook.set_properties(&properties);
        Ok(self.workbook.save_to_buffer()?)
    }

    /// The filter over the rows, and below them a line of totals that follows the filter.
    fn total_rows(&mut self) -> Result<(), ReportError> {
        let sheet = self.workbook.worksheet_from_index(ROWS_SHEET)?;
        let times = PaymentRow::COLUMNS.iter().filter(|(_, kind)| *kind == Kind::Time).count();
        let last = u16::try_from(PaymentRow::COLUMNS.len() + times - 1).unwrap_or(u16::MAX);
        sheet.autofilter(0, 0, self.rows, last)?;
        if self.rows == 0 {
            return Ok(());
        }
        let below = self.rows + 1;
        sheet.write_string_with_format(below, 0, "total of the rows shown", &self.bold.text)?;
        let mut sums = self.sums.iter();
        let mut column: u16 = 0;
        for (_, kind) in PaymentRow::COLUMNS {
            if kind == Kind::Money
                && let Some(sum) = sums.next()
            {
                let name = rust_xlsxwriter::utility::column_number_to_name(column);
                let formula = Formula::new(format!("=SUBTOTAL(109,{name}2:{name}{below})")).set_result(sum.to_string());
                sheet.write_formula_with_format(below, column, formula, &self.bold.rupiah_and_sen)?;
            }
            column += if kind == Kind::Time { 2 } else { 1 };
        }
        Ok(())
    }

    fn summary(&mut self, report: &DayReport) -> Result<(), ReportError> {
        let rows_tie = self.rows_tie(report);
        let sheet = self.workbook.worksheet_from_index(0)?;
        sheet.write_string_with_format(0, 0, report.headline(), &self.bold.title)?;
        if !rows_tie {
            sheet.write_string_with_format(
                1,
                0,
                "The rows of this file do not tie with this summary: see About.",
                &self.bold.text,
            )?;
        }
        sheet.set_column_width_pixels(0, 330)?;
        sheet.set_column_range_width_pixels(1, 7, 150)?;
        sheet.set_print_fit_to_pages(1, 0);
        let mut row = 2;
        for section in section::summary(report) {
            sheet.write_string_with_format(row, 0, section.title, &self.bold.text)?;
            row = write_section(sheet, [&self.styles, &self.bold], row + 1, &section)? + 1;
        }
        Ok(())
    }

    fn exceptions(&mut self, report: &DayReport) -> Result<(), ReportError> {
        let sheet = self.workbook.worksheet_from_index(1)?;
        let section = section::exceptions(report);
        let end = write_section(sheet, [&self.styles, &self.bold], 0, &section)?;
        let last = u16::try_from(section.columns.len().saturating_sub(1)).unwrap_or(u16::MAX);
        sheet.autofilter(0, 0, end - 1, last + 1)?;
        sheet.set_freeze_panes(1, 2)?;
        sheet.set_repeat_rows(0, 0)?;
        sheet.set_column_range_width_pixels(0, last, 130)?;
        sheet.set_column_range_width_pixels(1, 2, 210)?;
        sheet.set_column_range_width_pixels(last.saturating_sub(1), last, 420)?;
        sheet.write_string_with_format(0, last + 1, "since (ISO)", &self.styles.heading)?;
        sheet.set_column_width_pixels(last + 1, 210)?;
        for (row, exception) in (1..).zip(&report.exceptions) {
            sheet.write_string(row, last + 1, format::iso(exception.since))?;
        }
        Ok(())
    }

    fn rows_tie(&self, report: &DayReport) -> bool {
        let sums = report.sums(None);
        (self.payments, self.paid) == (sums.count, sums.paid)
    }

    fn about(&mut self, report: &DayReport) -> Result<(), ReportError> {
        let result = if self.rows_tie(report) { "ties" } else { "DIFFERS" };
        let sums = report.sums(None);
        let styles = &self.styles;
        let sheet = self.workbook.worksheet_from_index(3)?;
        sheet.set_column_width_pixels(0, 330)?;
        sheet.set_column_range_width_pixels(1, 4, 210)?;
        let mut row = 0;
        for (name, cell) in section::about(report) {
            sheet.write_string(row, 0, name)?;
            put(sheet, styles, (row, 1), &cell)?;
            if let Cell::When(at) = cell {
                sheet.write_string(row, 2, format::iso(at))?;
            }
            row += 1;
        }
        let totals = [
            ("rows in this file", Cell::Count(self.rows.into())),
            ("payments among them", Cell::Count(self.payments)),
            ("payments by the summary", Cell::Count(sums.count)),
            ("paid by the rows of this file", Cell::Money(self.paid)),
            ("paid by the summary", Cell::Money(sums.paid)),
            ("rows = summary", Cell::text(result)),
            ("times", Cell::text("WIB (UTC+7)")),
        ];
        for (name, cell) in totals {
            sheet.write_string(row, 0, name)?;
            put(sheet, styles, (row, 1), &cell)?;
            row += 1;
        }
        Ok(())
    }
}

/// Writes heading and lines from `row` on, and returns the first row below them.
fn write_section(
    sheet: &mut Worksheet,
    [plain, bold]: [&Styles; 2],
    mut row: u32,
    section: &Section<'_>,
) -> Result<u32, ReportError> {
    for (column, heading) in (0..).zip(&section.columns) {
        sheet.write_string_with_format(row, column, heading.name, &plain.heading)?;
    }
    for line in &section.lines {
        row += 1;
        let styles = if line.is_total { bold } else { plain };
        for (column, cell) in (0..).zip(&line.cells) {
            put(sheet, styles, (row, column), cell)?;
        }
    }
    Ok(row + 1)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::{order::OrderStatus, state::State};

    #[test]
    fn a_workbook_takes_absurd_rows_and_refuses_to_look_whole_when_it_is_not() {
        let row = PaymentRow {
            account: "doku-main".to_owned(),
            partner_reference_no: "INV-1".to_owned(),
            reference_no: None,
            external_id: None,
            direction: Direction::In,
            amount: Sen::rupiah(1),
            currency: format::CURRENCY.to_owned(),
            order_status: OrderStatus::Open,
            created_at: DateTime::UNIX_EPOCH,
            expires_at: None,
            qr_content: None,
            state: State::Pending,
            flags: Vec::new(),
            paid_amount: None,
            fee_amount: None,
            refunded_amount: Sen::ZERO,
            refunded_outside: Sen::ZERO,
            paid_at: None,
            checks: 0,
            last_checked_at: None,
            next_check_at: None,
        };
        let mut book = Book::new().unwrap();
        book.limit = 2;
        book.push(&row).unwrap();
        // One absurd row must not cost the others their report.
        let absurd = PaymentRow {
            qr_content: Some("é".repeat(70_000)),
            created_at: "1026-11-19T00:00:00Z".parse().unwrap(),
            amount: Sen::new(999_999_999_999_999_999),
            ..row.clone()
        };
        book.push(&absurd).unwrap();
        assert!(matches!(book.push(&row), Err(ReportError::TooManyRows { limit: 2 })));
    }
}

//! One cell of a workbook: its style, and how a value becomes what a workbook can hold without becoming another value.

use chrono::{Datelike, NaiveDateTime, Timelike};
use rust_xlsxwriter::{ExcelDateTime, Format, FormatBorder, Worksheet};

use crate::{
    domain::money::Sen,
    report::{ReportError, format, section::Cell},
};

/// Integers up to 2^53 are exact in the only number that a workbook knows.
const EXACT_SEN: u64 = 1 << 53;
/// A cell holds 32 767 UTF-16 units; half of it is safe for any text, and room remains for saying that it was cut.
const LONGEST_TEXT: usize = 16_000;

/// How cells look; one set for plain lines and one for totals.
pub(super) struct Styles {
    pub(super) heading: Format,
    pub(super) text: Format,
    wrapped: Format,
    rupiah: Format,
    pub(super) rupiah_and_sen: Format,
    count: Format,
    time: Format,
    pub(super) title: Format,
}

impl Styles {
    pub(super) fn new(base: &Format) -> Self {
        let base = || base.clone();
        let rupiah = |digits: &str| base().set_num_format(format!("\"Rp\u{a0}\"{digits}"));
        Self {
            heading: base().set_bold().set_border_bottom(FormatBorder::Thin),
            text: base().set_num_format("@"),
            wrapped: base().set_text_wrap(),
            rupiah: rupiah("#,##0"),
            rupiah_and_sen: rupiah("#,##0.00"),
            count: base().set_num_format("#,##0"),
            time: base().set_num_format("d mmm yyyy hh:mm:ss"),
            title: base().set_bold().set_font_size(14),
        }
    }

    /// Sen are shown only if there are any.
    fn money(&self, amount: Sen) -> &Format {
        if amount == amount.truncated_to_rupiah() { &self.rupiah } else { &self.rupiah_and_sen }
    }
}

/// Writes one value at `(row, column)`.
pub(super) fn put(
    sheet: &mut Worksheet,
    styles: &Styles,
    (row, column): (u32, u16),
    cell: &Cell<'_>,
) -> Result<(), ReportError> {
    match cell {
        Cell::Blank => {}
        Cell::Text(text) => {
            let style = if text.len() > 64 { &styles.wrapped } else { &styles.text };
            sheet.write_string_with_format(row, column, fitting(text), style)?;
        }
        Cell::Count(number) => match u32::try_from(*number) {
            Ok(number) => {
                sheet.write_number_with_format(row, column, number, &styles.count)?;
            }
            Err(_) => {
                sheet.write_string(row, column, format::count(*number))?;
            }
        },
        // An amount that no workbook holds exactly is shown as text rather than rounded.
        Cell::Money(amount) if amount.sen().unsigned_abs() > EXACT_SEN => {
            sheet.write_string(row, column, format::rupiah(*amount))?;
        }
        Cell::Money(amount) => {
            sheet.write_number_with_format(row, column, rupiah_number(*amount), styles.money(*amount))?;
        }
        Cell::When(at) => match excel_time(format::wall_clock(*at)) {
            Ok(time) => {
                sheet.write_datetime_with_format(row, column, time, &styles.time)?;
            }
            // A slip such as the year 1026 is before the first day of a workbook: it must not cost the others their report.
            Err(_) => {
                sheet.write_string(row, column, format::iso(*at))?;
            }
        },
    }
    Ok(())
}

/// The text, cut visibly where a cell ends.
fn fitting(text: &str) -> String {
    match text.char_indices().nth(LONGEST_TEXT) {
        None => text.to_owned(),
        Some((end, _)) => format!("{} … (cut here: longer than a cell)", text.get(..end).unwrap_or_default()),
    }
}

/// The amount in rupiah as the only number that a workbook knows; the nearest one to the exact decimal up to [`EXACT_SEN`].
#[expect(
    clippy::disallowed_types,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::float_arithmetic,
    reason = "XLSX stores numbers as f64; nothing is computed from it, and larger amounts are written as text"
)]
fn rupiah_number(amount: Sen) -> f64 {
    amount.sen() as f64 / 100.0
}

/// A wall clock, to the second: a workbook knows no time zones.
pub(super) fn excel_time(wall: NaiveDateTime) -> Result<ExcelDateTime, ReportError> {
    let small = |number: u32| u8::try_from(number).unwrap_or(u8::MAX);
    let year = u16::try_from(wall.year()).unwrap_or(u16::MAX);
    let date = ExcelDateTime::from_ymd(year, small(wall.month()), small(wall.day()))?;
    Ok(date.and_hms(u16::from(small(wall.hour())), small(wall.minute()), small(wall.second()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_numbers_up_to_where_numbers_end() {
        for sen in [0_i64, 1, 99, 120_050, -5, 9_007_199_254_740_992] {
            // The shortest decimal that reads back as the same number is what a spreadsheet shows.
            let shown = format!("{:.2}", rupiah_number(Sen::new(sen)));
            assert_eq!(shown, Sen::new(sen).to_string());
        }
    }
}

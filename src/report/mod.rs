//! Rows become tables, CSV, XLSX and HTML: `Rp 12.000`, WIB. It never reads the database: who calls it fills a
//! [`day::DayReport`] and brings the rows.
//!
//! What a report shows is said once, in `section`; the formats only dress it, so that the same figure cannot differ between
//! them. Deliberately absent: opening files, colours, progress, and any rule about what an exception is.

pub mod csv;
pub mod day;
pub mod format;
pub mod html;
pub mod json;
pub mod section;
pub mod table;
pub mod verdict;
pub mod xlsx;

use std::io::Write;

use day::{DayReport, PaymentRow};

/// How a report is dressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Aligned plain text for a terminal.
    Table,
    /// One document for programs.
    Json,
    /// The rows, for programs.
    Csv,
    /// A workbook for finance: summary, exceptions, rows, about.
    Xlsx,
    /// A page that prints well.
    Html,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 5] = [Self::Table, Self::Json, Self::Csv, Self::Xlsx, Self::Html];

    /// The word on the command line; also the file's extension, except for `table` (which is `txt`).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Xlsx => "xlsx",
            Self::Html => "html",
        }
    }

    /// The reverse of [`Format::as_str`].
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.as_str() == word)
    }

    /// Shows every row, so the caller should stream them to [`ReportWriter::row`].
    pub const fn wants_rows(self) -> bool {
        matches!(self, Self::Csv | Self::Xlsx)
    }

    /// Is not text: a terminal is no place for it.
    pub const fn is_binary(self) -> bool {
        matches!(self, Self::Xlsx)
    }
}

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The output took no more.
    #[error("the report could not be written: {0}")]
    Output(#[from] std::io::Error),
    /// The CSV writer failed.
    #[error("the CSV could not be written: {0}")]
    Csv(#[from] ::csv::Error),
    /// The JSON writer failed.
    #[error("the JSON could not be written: {0}")]
    Json(#[from] serde_json::Error),
    /// The workbook could not be built.
    #[error("the workbook could not be built: {0}")]
    Workbook(#[from] rust_xlsxwriter::XlsxError),
    /// The page could not be built.
    #[error("the page could not be built: {0}")]
    Page(#[from] askama::Error),
    /// More rows than a workbook is given; a cut-off one would look whole.
    #[error("a workbook holds at most {limit} rows and there are more: take --format csv, or fewer days or accounts")]
    TooManyRows {
        /// The most rows that a workbook is given.
        limit: u32,
    },
}

impl ReportError {
    /// The reader went away (`rekon report | head`): no fault worth a message.
    pub fn is_broken_pipe(&self) -> bool {
        let io = match self {
            Self::Output(error) => Some(error),
            Self::Csv(error) => match error.kind() {
                ::csv::ErrorKind::Io(error) => Some(error),
                _ => None,
            },
            Self::Json(_) | Self::Workbook(_) | Self::Page(_) | Self::TooManyRows { .. } => None,
        };
        io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    }
}

/// Writes one report in one format to `out`: rows first, one by one as they come from the database, then the report itself.
pub struct ReportWriter<W: Write> {
    inner: Inner<W>,
}

enum Inner<W: Write> {
    Table(W, table::Layout),
    Json(W),
    Html(W),
    Csv(Box<csv::CsvRows<W>>),
    Xlsx(W, Box<xlsx::Book>),
}

impl<W: Write> ReportWriter<W> {
    /// Starts a report; `layout` matters to [`Format::Table`] alone. CSV writes its header at once.
    pub fn new(format: Format, layout: table::Layout, out: W) -> Result<Self, ReportError> {
        let inner = match format {
            Format::Table => Inner::Table(out, layout),
            Format::Json => Inner::Json(out),
            Format::Html => Inner::Html(out),
            Format::Csv => Inner::Csv(Box::new(csv::CsvRows::new(out)?)),
            Format::Xlsx => Inner::Xlsx(out, Box::new(xlsx::Book::new()?)),
        };
        Ok(Self { inner })
    }

    /// Adds one row. A no-op in formats without rows ([`Format::wants_rows`]).
    pub fn row(&mut self, row: &PaymentRow) -> Result<(), ReportError> {
        match &mut self.inner {
            Inner::Csv(rows) => rows.push(row),
            Inner::Xlsx(_, book) => book.push(row),
            Inner::Table(..) | Inner::Json(_) | Inner::Html(_) => Ok(()),
        }
    }

    /// Writes what remains, flushes, and gives the output back.
    pub fn finish(self, report: &DayReport) -> Result<W, ReportError> {
        let mut out = match self.inner {
            Inner::Table(mut out, layout) => {
                out.write_all(table::render(report, layout).as_bytes())?;
                out
            }
            Inner::Json(mut out) => {
                out.write_all(json::render(report)?.as_bytes())?;
                out
            }
            Inner::Html(mut out) => {
                out.write_all(html::render(report)?.as_bytes())?;
                out
            }
            Inner::Csv(rows) => rows.finish()?,
            Inner::Xlsx(mut out, book) => {
                out.write_all(&book.finish(report)?)?;
                out
            }
        };
        out.flush()?;
        Ok(out)
    }
}

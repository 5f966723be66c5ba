//! Expected payments from a CSV file: all lines or, when one of them is bad and nobody said to skip it, none.
//!
//! The file is read once, by a thread of its own, in chunks; lines are judged as they pass and copied into a temporary table,
//! where Postgres compares them with one another and with the ledger. So a million lines need no more memory than a thousand.
//! Absent on purpose: guessing. A field is what the contract says or its line is bad.

mod line;

use std::io::{self, Read};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use csv::{ByteRecord, ReaderBuilder};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    config::nearest_name,
    domain::profile::Demands,
    store::{
        Store, StoreError,
        import::{Difference, NewRow, Stage},
    },
};

pub use line::{Column, Fields};

/// Lines that travel together from the file to the database.
const CHUNK_LINES: usize = 4_000;
/// Chunks that may wait between the two.
const CHUNKS_WAITING: usize = 2;
/// The longest line, in bytes: an opening quote that is never closed would swallow the rest of the file.
const LINE_BYTES_MAX: u64 = 1024 * 1024;

/// Why a file was not read to its end. Single bad lines are not errors but part of the [`ImportReport`].
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The header is not the contract's.
    #[error("the header (line 1) is wrong, nothing was written: {}", problems.join("; "))]
    Header {
        /// Everything that is wrong with it.
        problems: Vec<String>,
    },
    /// There is not even a header.
    #[error("the file is empty: its first line names the columns, at least account,partner_reference_no,amount")]
    Empty,
    /// The file could not be read on.
    #[error("the file cannot be read, nothing was written")]
    Read(#[source] io::Error),
    /// A line has no end.
    #[error(
        "line {line} is longer than {LINE_BYTES_MAX} bytes, nothing was written: probably a quote is opened and never closed"
    )]
    Endless {
        /// Where it begins.
        line: u64,
    },
}

/// How an import is done.
#[derive(Debug, Clone, Copy)]
pub struct ImportOptions {
    /// Import the good lines even where others are bad.
    pub skip_bad: bool,
    /// How many bad lines are kept for the report; the others are counted.
    pub bad_shown: usize,
}

/// A line that was not imported.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct BadLine {
    /// Its number, from 1; the header is line 1.
    pub line: u64,
    /// Why, one sentence.
    pub reason: String,
}

/// What came of an import.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct ImportReport {
    /// Lines after the header.
    pub lines: u64,
    /// New rows; 0 where nothing was written.
    pub inserted: u64,
    /// Lines that say what stands already.
    pub unchanged: u64,
    /// Lines that were refused.
    pub bad: u64,
    /// The first of them, by line.
    pub bad_lines: Vec<BadLine>,
    /// Whether the good lines stand in the ledger now.
    pub is_written: bool,
}

/// From an account to what its provider demands; `None` where it is not configured.
pub type DemandsOf = Box<dyn Fn(&str) -> Option<Demands> + Send + Sync>;

/// Who may be named in a file.
pub struct ImportRules {
    /// The configured accounts.
    pub accounts: Vec<String>,
    /// What a row must hold before an account's provider can be asked.
    pub demands: DemandsOf,
}

impl std::fmt::Debug for ImportRules {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("ImportRules").field("accounts", &self.accounts).finish_non_exhaustive()
    }
}

/// Imports a file. `progress` counts the bytes read so far.
///
/// # Errors
/// Where the file as a whole is unusable or the database failed; nothing is written then.
pub async fn import(
    store: &Store,
    file: Box<dyn Read + Send>,
    rules: ImportRules,
    options: ImportOptions,
    progress: Arc<AtomicU64>,
) -> Result<ImportReport, ImportError> {
    let (sender, mut chunks) = mpsc::channel(CHUNKS_WAITING);
    let reader: JoinHandle<Result<Judged, ImportError>> = tokio::task::spawn_blocking(move || {
        // A receiver that is gone has an error of its own to tell.
        let mut send = |rows| sender.blocking_send(rows).is_ok();
        judge(file, &rules, options.bad_shown, &mut send, progress)
    });
    let mut stage = Stage::begin(store).await?;
    while let Some(rows) = chunks.recv().await {
        stage.load(&rows).await?;
    }
    let judged = reader.await.map_err(|error| ImportError::Read(io::Error::other(error)))??;
    settle(stage, judged, options).await
}

/// Reads a file without a database: the good lines, and how many were bad. What [`import`] does before it compares.
///
/// # Errors
/// Where the file as a whole is unusable.
pub fn read(file: Box<dyn Read + Send>, rules: &ImportRules) -> Result<(Vec<NewRow>, u64), ImportError> {
    let mut rows = Vec::new();
    let mut keep = |chunk: Vec<NewRow>| {
        rows.extend(chunk);
        true
    };
    let judged = judge(file, rules, 0, &mut keep, Arc::default())?;
    Ok((rows, judged.bad))
}

/// Compares, inserts and decides whether it stands.
async fn settle(mut stage: Stage, judged: Judged, options: ImportOptions) -> Result<ImportReport, ImportError> {
    stage.loaded().await?;
    let limit = i64::try_from(options.bad_shown).unwrap_or(i64::MAX);
    let (mut differing, mut differences) = stage.differences(limit).await?;
    let mut inserted = 0;
    if options.skip_bad || judged.bad.saturating_add(differing) == 0 {
        let (expected, new) = stage.insert().await?;
        inserted = new;
        if new != expected {
            // Somebody else wrote the same references meanwhile: compare with what stands now.
            (differing, differences) = stage.differences(limit).await?;
        }
    }
    let staged = stage.staged();
    let bad = judged.bad.saturating_add(differing);
    let is_written = options.skip_bad || bad == 0;
    if is_written {
        stage.commit().await?;
    } else {
        inserted = 0;
        stage.roll_back().await?;
    }
    let mut bad_lines = judged.bad_lines;
    bad_lines.extend(differences.into_iter().map(BadLine::from));
    bad_lines.sort_by_key(|bad| bad.line);
    bad_lines.truncate(options.bad_shown);
    let unchanged = if is_written { staged.saturating_sub(differing).saturating_sub(inserted) } else { 0 };
    Ok(ImportReport { lines: judged.lines, inserted, unchanged, bad, bad_lines, is_written })
}

impl From<Difference> for BadLine {
    fn from(difference: Difference) -> Self {
        let columns = difference.columns.join(", ");
        let reason = match difference.first_line {
            Some(first) => {
                format!("the same account and partner_reference_no stand on line {first} with other values: {columns}")
            }
            None => {
                format!("the same account and partner_reference_no stand in the ledger with other values: {columns}")
            }
        };
        Self { line: u64::try_from(difference.line).unwrap_or(0), reason }
    }
}

/// What the reading thread found.
#[derive(Debug, Default)]
struct Judged {
    lines: u64,
    bad: u64,
    bad_lines: Vec<BadLine>,
}

impl Judged {
    fn refuse(&mut self, line: u64, reason: String, shown: usize) {
        self.bad = self.bad.saturating_add(1);
        if self.bad_lines.len() < shown {
            self.bad_lines.push(BadLine { line, reason });
        }
    }
}

/// Reads the whole file and hands the good lines over in chunks. Ends early where nobody takes them any more.
fn judge(
    file: Box<dyn Read + Send>,
    rules: &ImportRules,
    bad_shown: usize,
    good: &mut dyn FnMut(Vec<NewRow>) -> bool,
    progress: Arc<AtomicU64>,
) -> Result<Judged, ImportError> {
    let since_line = Arc::new(AtomicU64::new(0));
    let bounded = Bounded { file, since_line: Arc::clone(&since_line), progress };
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bounded);
    let mut record = ByteRecord::new();
    let mut line = 1;
    let mut next = |record: &mut ByteRecord| {
        since_line.store(0, Ordering::Relaxed);
        let begins = reader.position().line();
        let found = reader.read_byte_record(record).map_err(|error| unreadable(error, begins))?;
        line = record.position().map_or(line, csv::Position::line);
        Ok::<_, ImportError>(found.then_some(line))
    };
    next(&mut record)?.ok_or(ImportError::Empty)?;
    let columns = header(&record)?;
    let mut judged = Judged::default();
    let mut chunk = Vec::with_capacity(CHUNK_LINES);
    while let Some(line) = next(&mut record)? {
        judged.lines = judged.lines.saturating_add(1);
        match read_line(&record, &columns, line, rules) {
            Ok(row) => chunk.push(row),
            Err(reason) => judged.refuse(line, reason, bad_shown),
        }
        if chunk.len() == CHUNK_LINES && !good(std::mem::take(&mut chunk)) {
            return Ok(judged);
        }
    }
    good(chunk);
    Ok(judged)
}

fn unreadable(error: csv::Error, line: u64) -> ImportError {
    match error.into_kind() {
        csv::ErrorKind::Io(error) if error.kind() == io::ErrorKind::FileTooLarge => ImportError::Endless { line },
        csv::ErrorKind::Io(error) => ImportError::Read(error),
        other => ImportError::Read(io::Error::other(format!("{other:?}"))),
    }
}

/// The columns in the order of the file.
fn header(record: &ByteRecord) -> Result<Vec<Column>, ImportError> {
    let mut columns = Vec::new();
    let mut problems = Vec::new();
    for field in record {
        let name = String::from_utf8_lossy(field);
        match Column::ALL.into_iter().find(|column| column.as_str() == name) {
            Some(column) if columns.contains(&column) => problems.push(format!("column {name} stands there twice")),
            Some(column) => columns.push(column),
            None if record.len() == 1 && name.contains([';', '\t']) => {
                problems.push("the columns must be separated by commas".to_owned());
            }
            None => problems.push(unknown_column(&name)),
        }
    }
    let missing: Vec<_> = Column::REQUIRED.iter().filter(|c| !columns.contains(c)).map(|c| c.as_str()).collect();
    if !missing.is_empty() {
        problems.push(format!("required and missing: {}", missing.join(", ")));
    }
    if problems.is_empty() { Ok(columns) } else { Err(ImportError::Header { problems }) }
}

fn unknown_column(name: &str) -> String {
    let known = Column::ALL.map(Column::as_str);
    match nearest_name(&name.trim().to_lowercase().replace([' ', '-'], "_"), &known) {
        Some(meant) => format!("unknown column {name:?}; did you mean {meant:?}?"),
        None => format!("unknown column {name:?}; known: {}", known.join(", ")),
    }
}

fn read_line(record: &ByteRecord, columns: &[Column], line: u64, rules: &ImportRules) -> Result<NewRow, String> {
    if record.len() != columns.len() {
        return Err(format!("{} fields, but the header names {} columns", record.len(), columns.len()));
    }
    let mut fields = Fields::default();
    for (column, bytes) in columns.iter().zip(record) {
        let text = std::str::from_utf8(bytes)
            .map_err(|_| format!("{} is not UTF-8: save the file as UTF-8", column.as_str()))?;
        fields.set(*column, text);
    }
    let number = i64::try_from(line).unwrap_or(i64::MAX);
    fields.read(number, &rules.accounts, &rules.demands)
}

/// Counts what is read, and stops a line that does not end before it fills the memory.
struct Bounded {
    file: Box<dyn Read + Send>,
    since_line: Arc<AtomicU64>,
    progress: Arc<AtomicU64>,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.since_line.load(Ordering::Relaxed) > LINE_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let read = self.file.read(buffer)?;
        let bytes = u64::try_from(read).unwrap_or(u64::MAX);
        self.since_line.fetch_add(bytes, Ordering::Relaxed);
        self.progress.fetch_add(bytes, Ordering::Relaxed);
        Ok(read)
    }
}

//! The report at the end of a run: to stdout, or to a file that appears whole or not at all.

use std::{
    fs::File,
    io::{self, BufWriter, IsTerminal as _, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    cli::{context::Session, exit::Failure},
    engine::{
        day_report::{self, Outcome, WriteError},
        reconcile::{Days, End, Request},
    },
    report::{
        Format,
        day::{DayReport, Stop, Unfinished},
        table::Layout,
        verdict::Verdict,
    },
    store::runs::{Progress, Run},
};

/// How the report is printed.
#[derive(Debug, clap::Args)]
pub(crate) struct ReportArgs {
    /// table, json, csv, xlsx or html
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    format: Option<Format>,
    /// Write the report to this file instead of stdout
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What the report said, as far as the exit code depends on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printed {
    /// The control figures agree.
    pub(crate) ties: bool,
    /// Rows that wait for a person.
    pub(crate) exceptions: u64,
    /// Rows in the report.
    pub(crate) rows: u64,
}

fn format(word: &str) -> Result<Format, String> {
    Format::from_word(word).ok_or_else(|| "one of table, json, csv, xlsx, html".to_owned())
}

impl ReportArgs {
    /// Refuses what would be found out only after an hour of work.
    pub(crate) fn check(&self, json: bool) -> Result<(), Failure> {
        if self.format(json).is_binary() && self.out.is_none() && io::stdout().is_terminal() {
            return Err(Failure::Usage("a workbook is nothing for a terminal: add --out FILE.xlsx".to_owned()));
        }
        let folder = self.out.as_deref().and_then(Path::parent).filter(|folder| !folder.as_os_str().is_empty());
        match folder {
            Some(folder) if !folder.is_dir() => {
                Err(Failure::Usage(format!("the folder {} does not exist: make it first", folder.display())))
            }
            _ => Ok(()),
        }
    }

    fn format(&self, json: bool) -> Format {
        self.format.unwrap_or(if json { Format::Json } else { Format::Table })
    }

    /// Reads the run's figures, says the headline on stderr and prints the report.
    pub(crate) async fn print(
        &self,
        session: &Session<'_>,
        request: &Request,
        run: &Run,
        end: End,
        progress: &Progress,
    ) -> Result<Printed, Failure> {
        let now = session.store.now().await?;
        let (first, last) = request.span(run.started_at);
        let outcome = Outcome {
            first,
            last,
            with_open_rows: request.days == Days::YesterdayAndUnsettled,
            accounts: if request.accounts.is_empty() {
                session.config.accounts.keys().cloned().collect()
            } else {
                request.accounts.clone()
            },
            filter: run.params.to_string(),
            is_dry_run: false,
            duration: now.signed_duration_since(run.started_at).to_std().unwrap_or(Duration::ZERO),
            unfinished: unfinished(end, progress),
        };
        let report = day_report::build(&session.store, run, &outcome).await?;
        let format = self.format(session.out.json);
        if format.wants_rows() || self.out.is_some() {
            session.out.say(&report.headline());
        }
        self.write(session, run, &report, format).await?;
        let rows = report.totals.iter().fold(0_u64, |sum, total| sum.saturating_add(total.count));
        let ties = !matches!(report.verdict(), Verdict::DoesNotTie { .. });
        Ok(Printed { ties, exceptions: report.exception_count(), rows })
    }

    async fn write(&self, session: &Session<'_>, run: &Run, report: &DayReport, format: Format) -> Result<(), Failure> {
        let store = &session.store;
        let Some(path) = &self.out else {
            let stdout = BufWriter::new(io::stdout());
            let mut stdout =
                day_report::write(store, run, report, format, layout(), stdout).await.map_err(not_written)?;
            return stdout.flush().map_err(Failure::Output);
        };
        let cannot = |source| Failure::File { path: path.display().to_string(), source };
        let mut partial = path.clone().into_os_string();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = BufWriter::new(File::create(&partial).map_err(cannot)?);
        let file = day_report::write(store, run, report, format, layout(), file).await.map_err(not_written)?;
        file.into_inner().map_err(|e| cannot(e.into_error()))?.sync_all().map_err(cannot)?;
        std::fs::rename(&partial, path).map_err(cannot)?;
        session.out.say(&format!("The report is in {}", path.display()));
        Ok(())
    }
}

fn layout() -> Layout {
    let width = comfy_table::Table::new().width().map_or_else(|| Layout::default().width, usize::from);
    Layout { width, ..Layout::default() }
}

fn unfinished(end: End, progress: &Progress) -> Option<Unfinished> {
    let stopped_by = match end {
        End::Complete => return None,
        End::Deadline => Stop::Deadline,
        End::Stopped => Stop::Interrupt,
    };
    let unasked = progress.must_ask.saturating_sub(progress.asked);
    let rows = unasked.max(progress.looks).saturating_add(progress.refunds);
    Some(Unfinished { rows: rows.max(0).unsigned_abs(), stopped_by })
}

fn not_written(error: WriteError) -> Failure {
    match error {
        WriteError::Store(error) => Failure::Store(error),
        WriteError::Report(error) if error.is_broken_pipe() => Failure::Output(io::ErrorKind::BrokenPipe.into()),
        WriteError::Report(error) => Failure::Report(error),
    }
}

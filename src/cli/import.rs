//! `rekon import`: expected payments from a CSV file or stdin. Data (the summary) on stdout, bad lines and the bar on stderr.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use std::time::Duration;

use crate::{
    cli::{
        context::Context,
        exit::{Exit, Failure},
        output::Output,
        wiring,
    },
    config::Config,
    engine::import::{self, ImportOptions, ImportReport, ImportRules},
};

/// Bad lines shown where nobody asks for more; all are counted.
const BAD_SHOWN: usize = 1_000;
/// How often the bar moves.
const BAR_STEP: Duration = Duration::from_millis(100);

/// Import expected payments from a CSV file
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Import expected payments from a CSV file: UTF-8, commas, a header with the column names in any order.\n\n\
                  Required: account, partner_reference_no, amount. Optional: reference_no, external_id, direction, currency, order_status, \
                  created_at, expires_at, qr_content. An empty field takes the default; times are RFC 3339 with an offset; amounts are rupiah with at \
                  most two decimals (12000.00).\n\nA line that is identical to a row of the ledger is counted unchanged, a differing one is bad. \
                  With any bad line nothing is written and the exit code is 1; --skip-bad imports the others and exits 0.",
    after_help = "Example: rekon import expected.csv --skip-bad"
)]
pub(crate) struct Import {
    /// The CSV file; - reads stdin
    file: PathBuf,
    /// Import the good lines even where others are bad
    #[arg(long)]
    skip_bad: bool,
    /// Show at most so many bad lines
    #[arg(long, value_name = "N", default_value_t = BAD_SHOWN)]
    show_bad: usize,
}

impl Import {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let (file, bytes) = self.open()?;
        let options = ImportOptions { skip_bad: self.skip_bad, bad_shown: self.show_bad };
        let report = context.with_database(async |session| {
            let progress = Arc::new(AtomicU64::new(0));
            let rules = rules(session.config)?;
            let work = import::import(&session.store, file, rules, options, Arc::clone(&progress));
            Ok(with_bar(session.out, bytes, &progress, work).await?)
        })?;
        for bad in &report.bad_lines {
            context.out.say(&format!("line {}: {}", bad.line, bad.reason));
        }
        let shown = u64::try_from(report.bad_lines.len()).unwrap_or(u64::MAX);
        if report.bad > shown {
            context.out.say(&format!("… and {} bad lines more; --show-bad shows them", report.bad - shown));
        }
        context.out.document(&report, || summary(&report))?;
        Ok(if report.is_written { Exit::Clean } else { Exit::Failed })
    }

    /// The file and its size in bytes, 0 where nobody knows it.
    fn open(&self) -> Result<(Box<dyn Read + Send>, u64), Failure> {
        if self.file.as_os_str() == "-" {
            return Ok((Box::new(std::io::stdin()), 0));
        }
        let cannot = |source| Failure::Input { path: self.file.display().to_string(), source };
        let file = File::open(&self.file).map_err(cannot)?;
        let metadata = file.metadata().map_err(cannot)?;
        if metadata.is_dir() {
            return Err(cannot(std::io::ErrorKind::IsADirectory.into()));
        }
        Ok((Box::new(file), metadata.len()))
    }
}

pub(crate) fn rules(config: &Config) -> Result<ImportRules, Failure> {
    let known = wiring::demands(config)?;
    let accounts = known.keys().cloned().collect();
    Ok(ImportRules { accounts, demands: Box::new(move |account| known.get(account).copied()) })
}

async fn with_bar<T>(out: Output, bytes: u64, progress: &AtomicU64, work: impl Future<Output = T>) -> T {
    let bar = out.bar(bytes, "bytes");
    let mut ticks = tokio::time::interval(BAR_STEP);
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => {
                bar.finish_and_clear();
                return done;
            }
            _ = ticks.tick() => bar.set_position(progress.load(Ordering::Relaxed)),
        }
    }
}

fn summary(report: &ImportReport) -> String {
    let ImportReport { lines, inserted, unchanged, bad, .. } = report;
    if report.is_written {
        format!("{inserted} inserted, {unchanged} unchanged, {bad} bad (skipped), of {lines} lines")
    } else {
        format!("nothing written: {bad} of {lines} lines are bad; mend them, or import the others with --skip-bad")
    }
}

//! Logs: one line per event on stderr, for people or as JSON. What is logged is decided where it happens; secrets never are.

use std::io;

use tracing_subscriber::{EnvFilter, fmt};

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One object a line, the event's fields beside `timestamp`, `level`, `target` and `message`.
    Json,
}

/// What to set up.
#[derive(Debug, Clone, Copy)]
pub struct LogOptions<'a> {
    /// How lines are written.
    pub format: Format,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: &'a str,
    /// Colours; for a terminal only.
    pub colour: bool,
}

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// Not one of the five levels.
    #[error("log level {0:?} is not one of error, warn, info, debug, trace: set [log] level")]
    Level(String),
    /// Somebody set logs up before.
    #[error("logs were set up twice in one process")]
    Twice(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Sets logs up for the process. Once; a second time is an error.
///
/// # Errors
/// An unknown level, or logs that were set up before.
pub fn init(options: &LogOptions<'_>) -> Result<(), LogsError> {
    let filter = filter(options.level)?;
    let builder = fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(options.colour);
    match options.format {
        Format::Text => builder.try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(LogsError::Twice)
}

/// rekon at the level asked for; libraries, which speak of their own matters, one or two steps quieter.
fn filter(level: &str) -> Result<EnvFilter, LogsError> {
    let libraries = match level {
        "error" => "error",
        "warn" | "info" => "warn",
        "debug" => "info",
        "trace" => "debug",
        other => return Err(LogsError::Level(other.to_owned())),
    };
    EnvFilter::builder().parse(format!("{libraries},rekon={level}")).map_err(|_| LogsError::Level(level.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_quieter_than_rekon_and_other_levels_are_refused() {
        assert_eq!(filter("info").unwrap().to_string(), "rekon=info,warn");
        assert_eq!(filter("trace").unwrap().to_string(), "rekon=trace,debug");
        assert_eq!(filter("loud").unwrap_err().to_string(), LogsError::Level("loud".to_owned()).to_string());
    }
}

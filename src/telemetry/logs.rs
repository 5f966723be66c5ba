//! Logs: one line per event on stderr, for people or as JSON. What is logged is decided where it happens; secrets never are.

use std::{io, sync::Arc};

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
    /// The logs are no more.
    #[error("the process's logs are closed")]
    Gone,
    /// Somebody set logs up before.
    #[error("logs were set up twice in one process")]
    Twice(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Turns the level of the logs while the process runs.
#[derive(Clone)]
pub struct LogLevel(Arc<dyn Fn(EnvFilter) -> bool + Send + Sync>);

impl std::fmt::Debug for LogLevel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogLevel")
    }
}

impl LogLevel {
    /// Logs at this level from now on.
    ///
    /// # Errors
    /// An unknown level; the one before stays.
    pub fn set(&self, level: &str) -> Result<(), LogsError> {
        if (self.0)(filter(level)?) { Ok(()) } else { Err(LogsError::Gone) }
    }
}

/// Sets logs up for the process. Once; a second time is an error.
///
/// # Errors
/// An unknown level, or logs that were set up before.
pub fn init(options: &LogOptions<'_>) -> Result<LogLevel, LogsError> {
    let filter = filter(options.level)?;
    let builder = fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(options.colour);
    match options.format {
        Format::Text => {
            let builder = builder.with_filter_reloading();
            let handle = builder.reload_handle();
            builder.try_init().map(|()| LogLevel(Arc::new(move |filter| handle.reload(filter).is_ok())))
        }
        Format::Json => {
            let builder = builder.json().flatten_event(true).with_filter_reloading();
            let handle = builder.reload_handle();
            builder.try_init().map(|()| LogLevel(Arc::new(move |filter| handle.reload(filter).is_ok())))
        }
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

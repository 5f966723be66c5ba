//! How a command ends: the exit codes, what each failure means to the shell that called, and what is said on stderr.
//! Every error of a lower room is mapped here, once and without a default arm.

use std::process::ExitCode;

use crate::{
    config::ConfigErrors,
    engine::{EngineError, import::ImportError},
    jobs::JobsError,
    providers::token::TokenError,
    report::ReportError,
    sim::SimError,
    store::{StoreError, embedded::EmbeddedError},
    telemetry::{logs::LogsError, metrics::MetricsError},
    web::WebError,
};

/// What the caller's shell sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Did what was asked, nothing is left open.
    Clean,
    /// Could not do what was asked.
    Failed,
    /// The command line does not make sense.
    Usage,
    /// Finished, and more exceptions are open than the threshold allows.
    Exceptions,
    /// Ended before it was through: budget or deadline.
    Incomplete,
    /// The ledger contradicts itself.
    Invariant,
    /// The database or a provider cannot be reached.
    Unavailable,
    /// Somebody else is at it, or it was interrupted: the same call later has a chance.
    TryAgain,
    /// The configuration or the schema must be mended first.
    Config,
}

impl Exit {
    /// Every exit, by code.
    pub const ALL: [Self; 9] = [
        Self::Clean,
        Self::Failed,
        Self::Usage,
        Self::Exceptions,
        Self::Incomplete,
        Self::Invariant,
        Self::Unavailable,
        Self::TryAgain,
        Self::Config,
    ];

    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Exceptions => 3,
            Self::Incomplete => 4,
            Self::Invariant => 5,
            Self::Unavailable => 69,
            Self::TryAgain => 75,
            Self::Config => 78,
        }
    }

    /// What it means, for the help text.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Exceptions => "finished, open exceptions above the threshold",
            Self::Incomplete => "incomplete: budget or deadline",
            Self::Invariant => "an invariant is violated",
            Self::Unavailable => "the provider or the database is unavailable",
            Self::TryAgain => "try again",
            Self::Config => "configuration",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    #[error(
        "no database is configured: set [database] url = {{ env = \"DATABASE_URL\" }} or the variable DATABASE_URL, or [database] embedded = true for rekon's own private Postgres"
    )]
    NoDatabase,
    #[error("no folder for the private Postgres: set [database] data_dir to an absolute path")]
    NoDataDir,
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// The first contact with the database failed, whatever it said.
    #[error("cannot connect to the database: check that it runs and that [database] url names it")]
    Connect(#[source] StoreError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error(transparent)]
    Jobs(#[from] JobsError),
    #[error(transparent)]
    Sim(#[from] SimError),
    /// A command of the demo.
    #[error("the demo stopped: `{command}` ended with exit code {}", exit.code())]
    Demo { command: String, exit: Exit },
    #[error("{0}")]
    NotFound(String),
    #[error("cannot open {path}: check the name and that it may be read, or give - for stdin")]
    Input {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot write {path}: choose another place")]
    File {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Report(ReportError),
    #[error(transparent)]
    Web(#[from] WebError),
    #[error(transparent)]
    Logs(LogsError),
    #[error("counters could not be set up")]
    Metrics(#[source] MetricsError),
    #[error("{0}")]
    Usage(String),
    #[error("cannot write to stdout")]
    Output(#[source] std::io::Error),
    #[error("the operating system refused a thread or a signal handler")]
    Runtime(#[source] std::io::Error),
    #[error("interrupted before the end; what was not finished was rolled back: run it again")]
    Interrupted,
}

impl Failure {
    /// The exit code that this failure is.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::NoDatabase | Self::NoDataDir | Self::Web(_) | Self::Logs(_) => Exit::Config,
            Self::Embedded(error) => embedded_exit(error),
            Self::Connect(error) => connect_exit(error),
            Self::Store(error) => store_exit(error),
            Self::Engine(error) => engine_exit(error),
            Self::Import(error) => import_exit(error),
            Self::Jobs(error) => jobs_exit(error),
            Self::Usage(_) => Exit::Usage,
            Self::Sim(_)
            | Self::Metrics(_)
            | Self::Report(_)
            | Self::NotFound(_)
            | Self::Input { .. }
            | Self::File { .. }
            | Self::Output(_)
            | Self::Runtime(_) => Exit::Failed,
            Self::Interrupted => Exit::TryAgain,
            Self::Demo { exit, .. } => *exit,
        }
    }

    /// The reader of our output went away (`| head`): that is not an error.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
    }

    /// What happened and the causes below it, each said once, in one line per cause.
    pub(crate) fn told(&self) -> String {
        let mut said = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let text = error.to_string();
            if !said.contains(&text) {
                said = format!("{said}\n  because: {text}");
            }
            cause = error.source();
        }
        said
    }
}

fn embedded_exit(error: &EmbeddedError) -> Exit {
    match error {
        EmbeddedError::NoServer
        | EmbeddedError::NoProgram { .. }
        | EmbeddedError::NoAccount
        | EmbeddedError::Folder { .. } => Exit::Config,
        EmbeddedError::InUse { .. } => Exit::TryAgain,
        EmbeddedError::NotStarted { .. }
        | EmbeddedError::InitFailed { .. }
        | EmbeddedError::Ended { .. }
        | EmbeddedError::Slow { .. }
        | EmbeddedError::NotStopped { .. } => Exit::Unavailable,
    }
}

/// A server that refuses the user or has no such database is as unavailable as one that is down.
fn connect_exit(error: &StoreError) -> Exit {
    match error {
        StoreError::Statement(_) => Exit::Unavailable,
        StoreError::Unavailable(_)
        | StoreError::Refused { .. }
        | StoreError::Conflict(_)
        | StoreError::Schema(_)
        | StoreError::Inconsistent { .. }
        | StoreError::Pooler(_)
        | StoreError::Migrate(_) => store_exit(error),
    }
}

fn store_exit(error: &StoreError) -> Exit {
    match error {
        StoreError::Unavailable(_) => Exit::Unavailable,
        StoreError::Conflict(_) => Exit::TryAgain,
        StoreError::Schema(_) | StoreError::Pooler(_) => Exit::Config,
        StoreError::Inconsistent { .. } => Exit::Invariant,
        StoreError::Refused { .. } | StoreError::Statement(_) | StoreError::Migrate(_) => Exit::Failed,
    }
}

fn engine_exit(error: &EngineError) -> Exit {
    match error {
        EngineError::Store(error) => store_exit(error),
        EngineError::NotFound(_)
        | EngineError::Export(_)
        | EngineError::ExportVersion(_)
        | EngineError::Token(_)
        | EngineError::Forbidden(_)
        | EngineError::Refused(_)
        | EngineError::Transfer(_) => Exit::Failed,
        EngineError::Ambiguous { .. }
        | EngineError::UnknownAccount { .. }
        | EngineError::Unaskable(_)
        | EngineError::NotSandbox { .. } => Exit::Usage,
        EngineError::CustomerToken(error) => token_exit(error),
        EngineError::Account { .. } | EngineError::Webhook(_) => Exit::Config,
        EngineError::Busy(_) | EngineError::RunLost(_) => Exit::TryAgain,
    }
}

fn token_exit(error: &TokenError) -> Exit {
    match error {
        TokenError::Transport(_) | TokenError::Unreadable => Exit::Unavailable,
        TokenError::Refused { http_status, .. } if *http_status >= 500 => Exit::Unavailable,
        TokenError::Denied | TokenError::Elsewhere => Exit::TryAgain,
        TokenError::Refused { .. } | TokenError::Unbuildable(_) => Exit::Failed,
    }
}

fn import_exit(error: &ImportError) -> Exit {
    match error {
        ImportError::Store(error) => store_exit(error),
        ImportError::Header { .. } | ImportError::Empty | ImportError::Read(_) | ImportError::Endless { .. } => {
            Exit::Failed
        }
    }
}

fn jobs_exit(error: &JobsError) -> Exit {
    match error {
        JobsError::Unavailable(_) => Exit::Unavailable,
        JobsError::Extension { .. } | JobsError::Schedule { .. } => Exit::Config,
        JobsError::Setup(_) | JobsError::Runtime(_) => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_has_a_code_of_its_own_and_they_are_sorted() {
        let codes = Exit::ALL.map(Exit::code);
        assert!(codes.is_sorted_by(|one, other| one < other), "{codes:?}");
    }

    #[test]
    fn a_failure_tells_its_causes_once() {
        let gone = std::io::Error::other("no such device");
        let failure = Failure::Input { path: "x.csv".into(), source: gone };
        assert_eq!(
            failure.told(),
            "cannot open x.csv: check the name and that it may be read, or give - for stdin\n  because: no such device"
        );
    }
}

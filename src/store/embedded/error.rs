//! Why the private Postgres is not running, and what a person does about it.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use super::START_DEADLINE;

/// Why the private Postgres is not running.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// No server binaries were found.
    #[error(
        "no PostgreSQL server on this machine: install it (`apt-get install -y --no-install-recommends postgresql`), set PG_BINDIR to the folder with `postgres` and `initdb`, or give [database] url"
    )]
    NoServer,
    /// A folder was named, but the binary is not in it.
    #[error("no `{program}` in {}: point PG_BINDIR or [database] bin_dir at the folder that holds `postgres`, `initdb` and `pg_ctl`", bin_dir.display())]
    NoProgram {
        /// The binary that was looked for.
        program: &'static str,
        /// Where it was looked for.
        bin_dir: PathBuf,
    },
    /// rekon runs as root and there is nobody to run Postgres as.
    #[error(
        "Postgres refuses to run as root and this machine has neither a `postgres` nor a `nobody` account: run rekon as an ordinary user, or create one (`useradd --system postgres`)"
    )]
    NoAccount,
    /// The folder cannot be prepared.
    #[error("cannot {what} {}: {source}; choose another folder with [database] data_dir", path.display())]
    Folder {
        /// What was tried.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A program could not be started at all.
    #[error("cannot run {}: {source}; it is part of {package}", program.display())]
    NotStarted {
        /// The program.
        program: PathBuf,
        /// The Debian package that ships it.
        package: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// `initdb` refused.
    #[error("initdb could not create the cluster in {}: {stderr}", data_dir.display())]
    InitFailed {
        /// The folder.
        data_dir: PathBuf,
        /// What `initdb` said.
        stderr: String,
    },
    /// Another process serves this folder.
    #[error("another rekon already runs Postgres on {} (process {holder}): stop that one, use it, or choose another folder with [database] data_dir", data_dir.display())]
    InUse {
        /// The folder.
        data_dir: PathBuf,
        /// The pid in the lock file.
        holder: String,
    },
    /// The server ended before it was ready.
    #[error("Postgres ended before it was ready ({status}): {reason}; its log is {}", log.display())]
    Ended {
        /// How it ended.
        status: ExitStatus,
        /// The last FATAL line of its log.
        reason: String,
        /// The log file.
        log: PathBuf,
    },
    /// The server did not get ready.
    #[error("Postgres was not ready within {} s; its log is {}", START_DEADLINE.as_secs(), log.display())]
    Slow {
        /// The log file.
        log: PathBuf,
    },
    /// The server did not stop in order.
    #[error("Postgres did not stop in order: {reason}; the next start recovers from its log")]
    NotStopped {
        /// What `pg_ctl` said.
        reason: String,
    },
}

//! rekon's own private Postgres: a cluster in the data folder, its server a direct child on a unix socket, ended with rekon
//! however rekon ends. It never touches another cluster, opens no port, downloads nothing and reads no environment.
//!
//! What was learnt the hard way and is kept here:
//! * The kernel sends the parent-death signal when the *thread* that started the child ends: start from the main thread.
//! * The server has a process group of its own, so that Ctrl-C lets rekon drain first.
//! * `pg_isready` answers for any server in the folder. Only `postmaster.pid` with our child's pid and `ready` counts.
//! * Postgres refuses to run as root: then it runs as `postgres` (else `nobody`), who must be able to reach the folder.
//! * Trust authentication is safe because the socket's folder is 0700 and no port is open.

mod cluster;
mod error;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cluster::{
    Account, LockFile, account, become_account, create_cluster, find_server, folder_error, prepare_folder,
    refuse_second_start, socket_folder,
};
pub use error::EmbeddedError;

const START_DEADLINE: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(10);
const SUPERUSER: &str = "rekon";

/// What to start and where.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// Folder of this cluster alone; created when missing. Holds `pg/` (the cluster) and `postgres.log`.
    pub data_dir: PathBuf,
    /// Folder with `postgres`, `initdb` and `pg_ctl` (`PG_BINDIR`); `None` takes the newest below `/usr/lib/postgresql`.
    pub bin_dir: Option<PathBuf>,
    /// Server settings as `-c name=value`, after rekon's own, so that they win.
    pub settings: Vec<(String, String)>,
}

/// A running private Postgres. Dropping it stops the server; so does the end of this process, whatever its cause.
#[derive(Debug)]
pub struct EmbeddedPostgres {
    child: Child,
    bin_dir: PathBuf,
    data_dir: PathBuf,
    socket_dir: PathBuf,
    run_as: Option<Account>,
    url: String,
}

impl EmbeddedPostgres {
    /// Creates the cluster if there is none and starts its server; returns when it accepts connections.
    ///
    /// Must be called from the process's main thread: the server is ended by the kernel when the thread that called
    /// this ends. It blocks for about half a second the first time and some tens of milliseconds later.
    pub fn start(options: &EmbeddedOptions) -> Result<Self, EmbeddedError> {
        if !is_main_thread() {
            tracing::debug!(
                "the private Postgres ends with the thread that starts it, and this is not the main thread"
            );
        }
        let bin_dir = find_server(options.bin_dir.as_deref())?;
        let run_as = account()?;
        let data_dir = prepare_folder(&options.data_dir, run_as)?;
        refuse_second_start(&data_dir)?;
        create_cluster(&bin_dir, &data_dir, run_as)?;
        let socket_dir = socket_folder(&data_dir, run_as)?;
        let child = spawn_server(&bin_dir, &data_dir, &socket_dir, run_as, &options.settings)?;
        let url = format!("postgres://{SUPERUSER}@localhost/postgres?host={}", percent_encoded(&socket_dir));
        let mut started = Self { child, bin_dir, data_dir, socket_dir, run_as, url };
        started.wait_until_ready()?;
        Ok(started)
    }

    /// Refuses where a Postgres serves this folder (canonical path) already.
    pub fn refuse_if_running(data_dir: &Path) -> Result<(), EmbeddedError> {
        refuse_second_start(data_dir)
    }

    /// Where clients connect: the database `postgres` of the private cluster over its unix socket.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The folder of the unix socket: the data folder, or a private one below `/tmp` where that path is too long.
    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// The resolved data folder.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Stops the server in order (fast mode: open transactions are rolled back) and waits for its end.
    pub fn stop(mut self) -> Result<(), EmbeddedError> {
        self.stop_in_order()
    }

    fn stop_in_order(&mut self) -> Result<(), EmbeddedError> {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return Ok(());
        }
        let program = self.bin_dir.join("pg_ctl");
        let mut command = Command::new(&program);
        become_account(&mut command, self.run_as);
        let asked = command
            .args(["stop", "-s", "-w", "-m", "fast", "-D"])
            .arg(self.data_dir.join("pg"))
            .current_dir(&self.data_dir)
            .stdin(Stdio::null())
            .output()
            .map_err(|source| EmbeddedError::NotStarted { program, package: "postgresql", source })?;
        if !asked.status.success() && matches!(self.child.try_wait(), Ok(None)) {
            return Err(EmbeddedError::NotStopped { reason: String::from_utf8_lossy(&asked.stderr).trim().to_owned() });
        }
        match self.child.wait() {
            Ok(_) => Ok(()),
            Err(error) => Err(EmbeddedError::NotStopped { reason: error.to_string() }),
        }
    }

    fn wait_until_ready(&mut self) -> Result<(), EmbeddedError> {
        let started_at = Instant::now();
        let log = self.data_dir.join("postgres.log");
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(EmbeddedError::Ended { status, reason: last_fatal(&log), log });
            }
            if let Some(lock) = LockFile::read(&self.data_dir)
                && lock.pid == self.child.id().to_string()
                && lock.is_ready
            {
                return Ok(());
            }
            if started_at.elapsed() > START_DEADLINE {
                return Err(EmbeddedError::Slow { log });
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for EmbeddedPostgres {
    fn drop(&mut self) {
        if let Err(error) = self.stop_in_order() {
            tracing::warn!(%error, "the private Postgres was not stopped in order");
        }
        if self.socket_dir != self.data_dir
            && let Err(error) = fs::remove_dir(&self.socket_dir)
        {
            tracing::debug!(%error, path = %self.socket_dir.display(), "the socket folder stays");
        }
    }
}

/// `/proc/thread-self` is `PID/task/TID`; the main thread has the process's id.
fn is_main_thread() -> bool {
    fs::read_link("/proc/thread-self").is_ok_and(|link| link.ends_with(std::process::id().to_string()))
}

fn spawn_server(
    bin_dir: &Path,
    data_dir: &Path,
    socket_dir: &Path,
    run_as: Option<Account>,
    settings: &[(String, String)],
) -> Result<Child, EmbeddedError> {
    let log_path = data_dir.join("postgres.log");
    let log =
        fs::OpenOptions::new().create(true).append(true).open(&log_path).map_err(folder_error("open", &log_path))?;
    let log_again = log.try_clone().map_err(folder_error("open", &log_path))?;
    // setpriv (util-linux) asks the kernel for SIGINT, Postgres's fast shutdown, when we die, and then becomes Postgres.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "INT"]);
    if let Some(account) = run_as {
        command.args([
            format!("--reuid={}", account.uid),
            format!("--regid={}", account.gid),
            "--clear-groups".to_owned(),
        ]);
    }
    command.arg(bin_dir.join("postgres")).arg("-D").arg(data_dir.join("pg")).arg("-k").arg(socket_dir);
    command.args(["-c", "listen_addresses=", "-c", "fsync=on", "-c", "max_connections=100"]);
    for (name, value) in settings {
        command.arg("-c").arg(format!("{name}={value}"));
    }
    command
        .current_dir(data_dir)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(log_again)
        .spawn()
        .map_err(|source| EmbeddedError::NotStarted { program: "setpriv".into(), package: "util-linux", source })
}

fn last_fatal(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let line = text.lines().rev().find(|line| line.contains("FATAL")).or_else(|| text.lines().last());
    line.unwrap_or("its log is empty").trim().to_owned()
}

/// A path as a value of a URL's query.
fn percent_encoded(path: &Path) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    path.as_os_str()
        .as_encoded_bytes()
        .iter()
        .map(|byte| if is_plain(*byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

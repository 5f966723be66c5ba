//! rekon's own private Postgres: a cluster in the data folder, its server a direct child on a unix socket, ended with rekon
//! however rekon ends. It never touches another cluster, opens no port, downloads nothing and reads no environment.
//!
//! What was learnt the hard way and is kept here:
//! * The kernel sends the parent-death signal when the *thread* that started the child ends: start from the main thread.
//! * The server has a process group of its own, so that Ctrl-C lets rekon drain first.
//! * `pg_isready` answers for any server in the folder. Only `postmaster.pid` with our child's pid and `ready` counts.
//! * Postgres refuses to run as root: then it runs as `postgres` (else `nobody`), who must be able to reach the folder.
//! * Trust authentication is safe because the socket's folder is 0700 and no port is open.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Longest socket folder: 107 bytes of `sun_path` less `/.s.PGSQL.5432`.
const SOCKET_DIR_MAX: usize = 93;
const START_DEADLINE: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(10);
const DEBIAN_SERVERS: &str = "/usr/lib/postgresql";
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

/// The account the server runs as when rekon itself is root.
#[derive(Clone, Copy, Debug)]
struct Account {
    uid: u32,
    gid: u32,
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
        let bin_dir = find_server(options.bin_dir.as_deref())?;
        let run_as = account()?;
        let data_dir = prepare_folder(&options.data_dir, run_as)?;
        refuse_second_start(&data_dir)?;
        create_cluster(&bin_dir, &data_dir, run_as)?;
        let socket_dir = socket_folder(&data_dir, run_as)?;
        let child = spawn_server(&bin_dir, &data_dir, &socket_dir, run_as, &options.settings)?;
        let url = format!(
            "postgres://{SUPERUSER}@localhost/postgres?host={}",
            percent_encoded(&socket_dir)
        );
        let mut started = Self {
            child,
            bin_dir,
            data_dir,
            socket_dir,
            run_as,
            url,
        };
        started.wait_until_ready()?;
        Ok(started)
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
            .map_err(|source| EmbeddedError::NotStarted {
                program,
                package: "postgresql",
                source,
            })?;
        if !asked.status.success() && matches!(self.child.try_wait(), Ok(None)) {
            return Err(EmbeddedError::NotStopped {
                reason: String::from_utf8_lossy(&asked.stderr).trim().to_owned(),
            });
        }
        match self.child.wait() {
            Ok(_) => Ok(()),
            Err(error) => Err(EmbeddedError::NotStopped {
                reason: error.to_string(),
            }),
        }
    }

    fn wait_until_ready(&mut self) -> Result<(), EmbeddedError> {
        let started_at = Instant::now();
        let log = self.data_dir.join("postgres.log");
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(EmbeddedError::Ended {
                    status,
                    reason: last_fatal(&log),
                    log,
                });
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

/// The two lines of `postmaster.pid` that matter: 1, the pid, and 8, the state.
struct LockFile {
    pid: String,
    is_ready: bool,
}

impl LockFile {
    fn read(data_dir: &Path) -> Option<Self> {
        let text = fs::read_to_string(data_dir.join("pg/postmaster.pid")).ok()?;
        let mut lines = text.lines().map(str::trim);
        let pid = lines.next()?.to_owned();
        Some(Self {
            pid,
            is_ready: lines.nth(6) == Some("ready"),
        })
    }
}

fn find_server(named: Option<&Path>) -> Result<PathBuf, EmbeddedError> {
    let bin_dir = match named {
        Some(dir) => dir.to_owned(),
        None => newest_debian_server().ok_or(EmbeddedError::NoServer)?,
    };
    for program in ["postgres", "initdb", "pg_ctl"] {
        if !bin_dir.join(program).is_file() {
            return Err(EmbeddedError::NoProgram { program, bin_dir });
        }
    }
    Ok(bin_dir)
}

fn newest_debian_server() -> Option<PathBuf> {
    fs::read_dir(DEBIAN_SERVERS)
        .ok()?
        .flatten()
        .filter_map(|entry| {
            Some((
                entry.file_name().to_str()?.parse::<u32>().ok()?,
                entry.path().join("bin"),
            ))
        })
        .filter(|(_, bin_dir)| bin_dir.join("initdb").is_file())
        .max()
        .map(|(_, bin_dir)| bin_dir)
}

fn account() -> Result<Option<Account>, EmbeddedError> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
    if !is_root {
        return Ok(None);
    }
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let find = |name: &str| {
        let line = accounts
            .lines()
            .find(|line| line.split(':').next() == Some(name))?;
        let mut ids = line.split(':').skip(2);
        Some(Account {
            uid: ids.next()?.parse().ok()?,
            gid: ids.next()?.parse().ok()?,
        })
    };
    find("postgres")
        .or_else(|| find("nobody"))
        .map(Some)
        .ok_or(EmbeddedError::NoAccount)
}

fn become_account(command: &mut Command, run_as: Option<Account>) {
    if let Some(account) = run_as {
        command.uid(account.uid).gid(account.gid);
    }
}

fn folder_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> EmbeddedError {
    let path = path.to_owned();
    move |source| EmbeddedError::Folder { what, path, source }
}

/// Creates the folder, gives it to the server's account, closes it to others, and sees that the account can reach it.
fn prepare_folder(data_dir: &Path, run_as: Option<Account>) -> Result<PathBuf, EmbeddedError> {
    fs::create_dir_all(data_dir).map_err(folder_error("create", data_dir))?;
    let data_dir = data_dir
        .canonicalize()
        .map_err(folder_error("find", data_dir))?;
    if let Some(account) = run_as {
        chown(&data_dir, Some(account.uid), Some(account.gid))
            .map_err(folder_error("give to the server's account", &data_dir))?;
        for parent in data_dir.ancestors().skip(1) {
            let found = fs::metadata(parent).map_err(folder_error("look at", parent))?;
            let is_open = found.uid() == account.uid
                || found.mode() & 0o001 != 0
                || (found.gid() == account.gid && found.mode() & 0o010 != 0);
            if !is_open {
                let refused = io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    format!(
                        "{} is closed to the account that runs Postgres for root",
                        parent.display()
                    ),
                );
                return Err(EmbeddedError::Folder {
                    what: "keep a cluster in",
                    path: data_dir,
                    source: refused,
                });
            }
        }
    }
    fs::set_permissions(&data_dir, fs::Permissions::from_mode(0o700))
        .map_err(folder_error("close to others", &data_dir))?;
    Ok(data_dir)
}

/// A live holder of the lock file gets named at once. A dead one is left to Postgres, which knows how to recover.
fn refuse_second_start(data_dir: &Path) -> Result<(), EmbeddedError> {
    match LockFile::read(data_dir) {
        Some(lock) if serves(&lock.pid, data_dir) => Err(EmbeddedError::InUse {
            data_dir: data_dir.to_owned(),
            holder: lock.pid,
        }),
        _ => Ok(()),
    }
}

/// Whether that process is a Postgres on this folder: a pid alone may have been given to somebody else since.
fn serves(pid: &str, data_dir: &Path) -> bool {
    let cluster = data_dir.join("pg");
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
        line.split(|byte| *byte == 0)
            .any(|word| word == cluster.as_os_str().as_encoded_bytes())
    })
}

fn create_cluster(
    bin_dir: &Path,
    data_dir: &Path,
    run_as: Option<Account>,
) -> Result<(), EmbeddedError> {
    let cluster = data_dir.join("pg");
    if cluster.join("PG_VERSION").exists() {
        return Ok(());
    }
    let program = bin_dir.join("initdb");
    let mut command = Command::new(&program);
    become_account(&mut command, run_as);
    let made = command
        .args([
            "-U",
            SUPERUSER,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-instructions",
            "-D",
        ])
        .arg(&cluster)
        .current_dir(data_dir)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| EmbeddedError::NotStarted {
            program,
            package: "postgresql",
            source,
        })?;
    if made.status.success() {
        return Ok(());
    }
    Err(EmbeddedError::InitFailed {
        data_dir: data_dir.to_owned(),
        stderr: String::from_utf8_lossy(&made.stderr).trim().to_owned(),
    })
}

/// The data folder itself, or a new private folder below `/tmp` where its path is too long for a socket.
fn socket_folder(data_dir: &Path, run_as: Option<Account>) -> Result<PathBuf, EmbeddedError> {
    if data_dir.as_os_str().len() <= SOCKET_DIR_MAX {
        return Ok(data_dir.to_owned());
    }
    let short = PathBuf::from(format!("/tmp/rekon-pg-{}", std::process::id()));
    if short.symlink_metadata().is_ok() {
        fs::remove_dir(&short).map_err(folder_error("clear the old socket folder", &short))?;
    }
    fs::DirBuilder::new()
        .mode(0o700)
        .create(&short)
        .map_err(folder_error("create", &short))?;
    if let Some(account) = run_as {
        chown(&short, Some(account.uid), Some(account.gid))
            .map_err(folder_error("give to the server's account", &short))?;
    }
    tracing::info!(socket_dir = %short.display(), data_dir = %data_dir.display(), "the data folder's path is too long for a unix socket; it is in a short private folder");
    Ok(short)
}

fn spawn_server(
    bin_dir: &Path,
    data_dir: &Path,
    socket_dir: &Path,
    run_as: Option<Account>,
    settings: &[(String, String)],
) -> Result<Child, EmbeddedError> {
    let log_path = data_dir.join("postgres.log");
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log_path)
        .map_err(folder_error("open", &log_path))?;
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
    command
        .arg(bin_dir.join("postgres"))
        .arg("-D")
        .arg(data_dir.join("pg"))
        .arg("-k")
        .arg(socket_dir);
    command.args([
        "-c",
        "listen_addresses=",
        "-c",
        "fsync=on",
        "-c",
        "max_connections=100",
    ]);
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
        .map_err(|source| EmbeddedError::NotStarted {
            program: "setpriv".into(),
            package: "util-linux",
            source,
        })
}

fn last_fatal(log: &Path) -> String {
    let text = fs::read(log)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let line = text
        .lines()
        .rev()
        .find(|line| line.contains("FATAL"))
        .or_else(|| text.lines().last());
    line.unwrap_or("its log is empty").trim().to_owned()
}

/// A path as a value of a URL's query.
fn percent_encoded(path: &Path) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    path.as_os_str()
        .as_encoded_bytes()
        .iter()
        .map(|byte| {
            if is_plain(*byte) {
                char::from(*byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

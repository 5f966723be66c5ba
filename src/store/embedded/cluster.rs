//! What a private cluster stands on: server programs, an account that is not root, a folder that is ours alone, `initdb`.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{EmbeddedError, SUPERUSER};

/// Longest socket folder: 107 bytes of `sun_path` less `/.s.PGSQL.5432`.
const SOCKET_DIR_MAX: usize = 93;
const DEBIAN_SERVERS: &str = "/usr/lib/postgresql";

/// The account the server runs as when rekon itself is root.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// The two lines of `postmaster.pid` that matter: 1, the pid, and 8, the state.
pub(super) struct LockFile {
    pub(super) pid: String,
    pub(super) is_ready: bool,
}

impl LockFile {
    pub(super) fn read(data_dir: &Path) -> Option<Self> {
        let text = fs::read_to_string(data_dir.join("pg/postmaster.pid")).ok()?;
        let mut lines = text.lines().map(str::trim);
        let pid = lines.next()?.to_owned();
        Some(Self { pid, is_ready: lines.nth(6) == Some("ready") })
    }
}

pub(super) fn find_server(named: Option<&Path>) -> Result<PathBuf, EmbeddedError> {
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
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin"))))
        .filter(|(_, bin_dir)| bin_dir.join("initdb").is_file())
        .max()
        .map(|(_, bin_dir)| bin_dir)
}

pub(super) fn account() -> Result<Option<Account>, EmbeddedError> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
    if !is_root {
        return Ok(None);
    }
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let find = |name: &str| {
        let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut ids = line.split(':').skip(2);
        Some(Account { uid: ids.next()?.parse().ok()?, gid: ids.next()?.parse().ok()? })
    };
    find("postgres").or_else(|| find("nobody")).map(Some).ok_or(EmbeddedError::NoAccount)
}

pub(super) fn become_account(command: &mut Command, run_as: Option<Account>) {
    if let Some(account) = run_as {
        command.uid(account.uid).gid(account.gid);
    }
}

pub(super) fn folder_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> EmbeddedError {
    let path = path.to_owned();
    move |source| EmbeddedError::Folder { what, path, source }
}

/// Creates the folder, gives it to the server's account, closes it to others, and sees that the account can reach it.
pub(super) fn prepare_folder(data_dir: &Path, run_as: Option<Account>) -> Result<PathBuf, EmbeddedError> {
    fs::create_dir_all(data_dir).map_err(folder_error("create", data_dir))?;
    let data_dir = data_dir.canonicalize().map_err(folder_error("find", data_dir))?;
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
                    format!("{} is closed to the account that runs Postgres for root", parent.display()),
                );
                return Err(EmbeddedError::Folder { what: "keep a cluster in", path: data_dir, source: refused });
            }
        }
    }
    fs::set_permissions(&data_dir, fs::Permissions::from_mode(0o700))
        .map_err(folder_error("close to others", &data_dir))?;
    Ok(data_dir)
}

/// A live holder of the lock file gets named at once. A dead one is left to Postgres, which knows how to recover.
pub(super) fn refuse_second_start(data_dir: &Path) -> Result<(), EmbeddedError> {
    match LockFile::read(data_dir) {
        Some(lock) if serves(&lock.pid, data_dir) => {
            Err(EmbeddedError::InUse { data_dir: data_dir.to_owned(), holder: lock.pid })
        }
        _ => Ok(()),
    }
}

/// Whether that process is a Postgres on this folder: a pid alone may have been given to somebody else since.
fn serves(pid: &str, data_dir: &Path) -> bool {
    let cluster = data_dir.join("pg");
    fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| line.split(|byte| *byte == 0).any(|word| word == cluster.as_os_str().as_encoded_bytes()))
}

pub(super) fn create_cluster(bin_dir: &Path, data_dir: &Path, run_as: Option<Account>) -> Result<(), EmbeddedError> {
    let cluster = data_dir.join("pg");
    if cluster.join("PG_VERSION").exists() {
        return Ok(());
    }
    let program = bin_dir.join("initdb");
    let mut command = Command::new(&program);
    become_account(&mut command, run_as);
    let made = command
        .args(["-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-instructions", "-D"])
        .arg(&cluster)
        .current_dir(data_dir)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| EmbeddedError::NotStarted { program, package: "postgresql", source })?;
    if made.status.success() {
        return Ok(());
    }
    Err(EmbeddedError::InitFailed {
        data_dir: data_dir.to_owned(),
        stderr: String::from_utf8_lossy(&made.stderr).trim().to_owned(),
    })
}

/// The data folder itself, or a new private folder below `/tmp` where its path is too long for a socket.
pub(super) fn socket_folder(data_dir: &Path, run_as: Option<Account>) -> Result<PathBuf, EmbeddedError> {
    if data_dir.as_os_str().len() <= SOCKET_DIR_MAX {
        return Ok(data_dir.to_owned());
    }
    let short = PathBuf::from(format!("/tmp/rekon-pg-{}", std::process::id()));
    if short.symlink_metadata().is_ok() {
        fs::remove_dir(&short).map_err(folder_error("clear the old socket folder", &short))?;
    }
    fs::DirBuilder::new().mode(0o700).create(&short).map_err(folder_error("create", &short))?;
    if let Some(account) = run_as {
        chown(&short, Some(account.uid), Some(account.gid))
            .map_err(folder_error("give to the server's account", &short))?;
    }
    tracing::info!(socket_dir = %short.display(), data_dir = %data_dir.display(), "the data folder's path is too long for a unix socket; it is in a short private folder");
    Ok(short)
}

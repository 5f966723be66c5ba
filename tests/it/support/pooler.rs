//! A real pgbouncer in transaction mode before the test's database, which a test can kill and start again on its port.

use std::{
    net::TcpListener,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    str::FromStr as _,
    time::Duration,
};

use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};

/// The pooler; it ends with this value.
pub(crate) struct Pooler {
    /// Where a program connects.
    pub(crate) url: String,
    folder: tempfile::TempDir,
    program: PathBuf,
    child: Child,
}

impl Pooler {
    /// Starts one before the database at `url`. `lines` are settings of pgbouncer's in place of ours.
    pub(crate) async fn open(url: &str, lines: &str) -> Self {
        let options = PgConnectOptions::from_str(url).expect("a Postgres url");
        let server = options.get_socket().map_or_else(|| options.get_host().to_owned(), |s| s.display().to_string());
        let port = free_port();
        let folder = tempfile::tempdir().expect("a folder");
        let user = options.get_username();
        let account = options.get_socket().and_then(|socket| account_of(socket)).unwrap_or_default();
        // What docs/operations.md tells an operator to set, and nothing else that matters.
        let ini = format!(
            "[databases]\n* = host={server} port={} user={user}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = any\n{account}pool_mode = transaction\nmax_prepared_statements = 200\nignore_startup_parameters = extra_float_digits,options\n\
             default_pool_size = 6\n{lines}",
            options.get_port(),
        );
        std::fs::write(folder.path().join("pgbouncer.ini"), ini).expect("it is written");
        let database = options.get_database().unwrap_or_default();
        let url = format!("postgres://{user}@127.0.0.1:{port}/{database}?sslmode=disable");
        let program = program();
        let child = start(&program, folder.path());
        let mut pooler = Self { url, folder, program, child };
        pooler.is_there().await;
        pooler
    }

    /// `kill -9`: every client's connection is cut, whatever was under way.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// Starts it again where it was.
    pub(crate) async fn start_again(&mut self) {
        self.child = start(&self.program, self.folder.path());
        self.is_there().await;
    }

    async fn is_there(&mut self) {
        for _ in 0..600 {
            if let Ok(connection) = PgConnection::connect(&self.url).await {
                return drop(connection.close().await);
            }
            assert!(self.child.try_wait().expect("it can be waited for").is_none(), "{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("nobody gets through the pooler:\n{}", self.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Found, never fetched: a test does not go to the network.
fn program() -> PathBuf {
    let finder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/pgbouncer");
    let found = Command::new(finder).arg("--look").output().expect("the finder runs");
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    PathBuf::from(String::from_utf8(found.stdout).expect("a path").trim())
}

fn start(program: &Path, folder: &Path) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(folder.join("log")).expect("a log");
    Command::new(program)
        .arg(folder.join("pgbouncer.ini"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("pgbouncer starts")
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// It refuses to work as root; whoever runs the server may enter its socket's folder.
fn account_of(socket: &Path) -> Option<String> {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
    let owner = std::fs::metadata(socket).ok()?.uid();
    let accounts = std::fs::read_to_string("/etc/passwd").ok()?;
    let mut lines = accounts.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let name = lines.find(|fields| fields.get(2) == Some(&owner.to_string().as_str()))?.first().copied()?.to_owned();
    is_root.then(|| format!("user = {name}\n"))
}

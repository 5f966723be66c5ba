//! The server behind the tests: started once, its template made once, its folder removed when the process is gone.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
};

use apalis_postgres::PostgresStorage;
use rekon::store::{
    Store,
    embedded::{EmbeddedError, EmbeddedOptions, EmbeddedPostgres},
};
use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

/// Waits for our end (its input closes then, whatever we die of) and for the server's, and removes the folder.
const SWEEPER: &str = r#"cat > /dev/null; n=0
while [ -e "$1/pg/postmaster.pid" ] && [ $n -lt 100 ]; do n=$((n + 1)); sleep 0.1; done
rm -rf "$1""#;

struct Server {
    /// Its maintenance database.
    admin_url: String,
    template: String,
}

static SERVER: OnceLock<Server> = OnceLock::new();
/// Copies of one template do not run side by side.
static CREATES: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
static COUNT: AtomicU32 = AtomicU32::new(0);

/// A copy of the template: its name and its address.
pub(super) async fn create_database() -> (String, String) {
    let server = SERVER.get_or_init(start);
    copy_database(&server.template).await
}

/// A copy of a database; whoever is connected to that one is sent away.
pub(super) async fn copy_database(from: &str) -> (String, String) {
    let server = SERVER.get_or_init(start);
    let name = format!("rekon_test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let _one_at_a_time = CREATES.lock().await;
    let mut connection = PgConnection::connect(&server.admin_url).await.expect("the test server answers");
    let away = format!("select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = '{from}'");
    run(&mut connection, &away).await;
    run(&mut connection, &format!("create database {name} template {from}")).await;
    forget_our_schema(&mut connection, &name).await;
    connection.close().await.expect("the connection closes");
    let url = with_database(&server.admin_url, &name);
    (name, url)
}

/// Drops it, whoever is still connected. Works in a test that panics and in any runtime.
pub(super) fn drop_database(name: &str) {
    let Some(server) = SERVER.get() else { return };
    let sql = format!("drop database if exists {name} with (force)");
    let dropped = thread::spawn(move || runtime().block_on(admin(&server.admin_url, &sql))).join();
    assert!(dropped.is_ok() || thread::panicking(), "the database {name} could not be dropped");
}

fn start() -> Server {
    // The first caller may be any test; whoever needs TLS later finds its provider installed.
    drop(rustls::crypto::ring::default_provider().install_default());
    let (tell, told) = mpsc::channel();
    // The kernel ends the server with the thread that started it: this one lives as long as the process.
    thread::Builder::new()
        .name("test-postgres".to_owned())
        .spawn(move || {
            let (admin_url, _kept) = variable("REKON_TEST_DATABASE_URL").map_or_else(
                || {
                    let (postgres, sweeper) = start_embedded("test", &SHARED);
                    (postgres.url().to_owned(), Some((postgres, sweeper)))
                },
                |url| (url, None),
            );
            let template = runtime().block_on(make_template(&admin_url));
            tell.send(Server { admin_url, template }).expect("the first test waits");
            loop {
                thread::park();
            }
        })
        .expect("a thread can be started");
    told.recv().expect("the test server started; its thread says above why it did not")
}

/// A server of one's own, to be killed and started again: where to start it, and who removes its folder when the process is
/// gone. It is ended by the kernel with the thread that calls this.
pub(crate) fn own_server(name: &str, settings: &[(&str, &str)]) -> (EmbeddedPostgres, EmbeddedOptions, Child) {
    let (postgres, sweeper) = start_embedded(name, settings);
    let again = options(postgres.data_dir(), settings);
    (postgres, again, sweeper)
}

fn start_embedded(name: &str, settings: &[(&str, &str)]) -> (EmbeddedPostgres, Child) {
    let name = format!("rekon-{name}-{}", std::process::id());
    let first = std::env::temp_dir().join(&name);
    match start_in(&first, settings) {
        // Run by root with a TMPDIR of his own: the server's account cannot go there, but it can go here.
        Err(EmbeddedError::Folder { .. }) => {
            drop(fs::remove_dir(&first));
            start_in(&Path::new("/tmp").join(&name), settings)
        }
        other => other,
    }
    .unwrap_or_else(|error| panic!("{error}"))
}

/// Of the server that the tests share.
const SHARED: [(&str, &str); 4] = [
    ("max_connections", "300"),
    ("shared_buffers", "64MB"),
    // What is tested is what the database refuses, not what survives a power cut.
    ("fsync", "off"),
    ("full_page_writes", "off"),
];

fn options(data_dir: &Path, settings: &[(&str, &str)]) -> EmbeddedOptions {
    EmbeddedOptions {
        data_dir: data_dir.to_owned(),
        bin_dir: variable("PG_BINDIR").map(PathBuf::from),
        settings: settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    }
}

fn start_in(data_dir: &Path, settings: &[(&str, &str)]) -> Result<(EmbeddedPostgres, Child), EmbeddedError> {
    let postgres = EmbeddedPostgres::start(&options(data_dir, settings))?;
    let sweeper = Command::new("sh")
        .args(["-c", SWEEPER, "sweeper"])
        .arg(data_dir)
        // Ctrl-C is for the tests alone.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh is there");
    Ok((postgres, sweeper))
}

/// The migrated template, named after the migrations: on a server that outlives us it is made once per schema.
async fn make_template(admin_url: &str) -> String {
    let mut files: Vec<_> =
        fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).expect("migrations").flatten().collect();
    files.sort_by_key(fs::DirEntry::file_name);
    let mut digest = Sha256::new();
    for file in files.iter().filter(|f| f.path().extension().is_some_and(|e| e == "sql")) {
        digest.update(fs::read(file.path()).expect("a migration can be read"));
    }
    let name = format!("rekon_template_{}", &hex::encode(digest.finalize())[..16]);
    let draft = format!("{name}_{}", std::process::id());
    let mut connection = PgConnection::connect(admin_url).await.expect("the test server answers");
    // Two test binaries may come at once.
    run(&mut connection, "select pg_advisory_lock(7236015)").await;
    let there: bool = sqlx::query_scalar("select exists (select 1 from pg_database where datname = $1)")
        .bind(&name)
        .fetch_one(&mut connection)
        .await
        .expect("pg_database can be read");
    if !there {
        run(&mut connection, &format!("create database {draft}")).await;
        forget_our_schema(&mut connection, &draft).await;
        let url = with_database(admin_url, &draft);
        let store = Store::connect(&super::connect_options(&url)).await.expect("the template answers");
        store.migrate().await.unwrap_or_else(|error| panic!("{error}"));
        store.migrate().await.expect("a second migration does nothing");
        store.check_schema().await.expect("the schema is this program's");
        PostgresStorage::setup(store.pool())
            .await
            .unwrap_or_else(|error| panic!("the job runtime's own tables: {error}"));
        store.grant_roles().await.expect("the roles get what they may");
        store.close().await;
        run(&mut connection, &format!("alter database {draft} rename to {name}")).await;
    }
    connection.close().await.expect("the connection closes");
    name
}

/// The private server's role has the name of our schema, which would put it on the search path: an unqualified table would
/// pass every test and fail at a merchant's.
async fn forget_our_schema(connection: &mut PgConnection, name: &str) {
    run(connection, &format!("alter database {name} set search_path = public")).await;
}

async fn admin(url: &str, sql: &str) {
    let mut connection = PgConnection::connect(url).await.expect("the test server answers");
    run(&mut connection, sql).await;
    connection.close().await.expect("the connection closes");
}

async fn run(connection: &mut PgConnection, sql: &str) {
    if let Err(error) = connection.execute(AssertSqlSafe(sql.to_owned())).await {
        panic!("{error}\n{sql}");
    }
}

/// The same server, another database.
fn with_database(url: &str, name: &str) -> String {
    let (address, query) = url.split_once('?').map_or((url, None), |(address, query)| (address, Some(query)));
    let scheme = address.find("://").map_or(0, |at| at + 3);
    let server = address[scheme..].find('/').map_or(address, |at| &address[..scheme + at]);
    query.map_or_else(|| format!("{server}/{name}"), |query| format!("{server}/{name}?{query}"))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

#[expect(clippy::disallowed_methods, reason = "the tests' own variables; the program reads its environment in config")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

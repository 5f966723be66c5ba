//! rekon's private Postgres: it starts, keeps its data, ends however its parent ends, and says what is wrong.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rekon::store::embedded::{EmbeddedError, EmbeddedOptions, EmbeddedPostgres};
use sqlx::{Connection as _, PgConnection, Row as _};

fn options(data_dir: &Path) -> EmbeddedOptions {
    EmbeddedOptions {
        data_dir: data_dir.to_owned(),
        bin_dir: None,
        settings: vec![("shared_buffers".to_owned(), "16MB".to_owned())],
    }
}

fn is_alive(pid: &str) -> bool {
    // A zombie that nobody has collected yet is dead as well.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn query(url: &str, statements: &[&'static str]) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = PgConnection::connect(url).await.unwrap();
        let mut last = String::new();
        for statement in statements {
            let row = sqlx::query(*statement).fetch_optional(&mut connection).await.unwrap();
            last = row.map(|row| row.get::<String, _>(0)).unwrap_or_default();
        }
        connection.close().await.unwrap();
        last
    })
}

#[test]
fn it_keeps_its_data_over_a_restart_and_syncs_to_disk() {
    let folder = tempfile::tempdir().unwrap();
    let first = EmbeddedPostgres::start(&options(folder.path())).unwrap();
    let pid = first.pid().to_string();
    assert_eq!(
        query(first.url(), &["create table kept (word text)", "insert into kept values ('still here')", "show fsync"]),
        "on"
    );
    assert_eq!(query(first.url(), &["show listen_addresses"]), "");
    assert_eq!(query(first.url(), &["show shared_buffers"]), "16MB", "settings win");
    first.stop().unwrap();
    assert!(!is_alive(&pid));
    assert!(!folder.path().join("pg/postmaster.pid").exists());

    let second = EmbeddedPostgres::start(&options(folder.path())).unwrap();
    assert_eq!(query(second.url(), &["select word from kept"]), "still here");
    let pid = second.pid().to_string();
    drop(second);
    assert!(!is_alive(&pid), "dropping it stops the server");
}

#[test]
fn its_folder_is_private_and_its_server_is_not_root() {
    let folder = tempfile::tempdir().unwrap();
    let server = EmbeddedPostgres::start(&options(folder.path())).unwrap();
    let owner = fs::metadata(format!("/proc/{}", server.pid())).unwrap().uid();
    assert_ne!(owner, 0);
    let folder = fs::metadata(folder.path()).unwrap();
    assert_eq!((folder.uid(), folder.mode() & 0o777), (owner, 0o700));
}

#[test]
fn a_second_start_names_the_holder() {
    let folder = tempfile::tempdir().unwrap();
    let server = EmbeddedPostgres::start(&options(folder.path())).unwrap();
    let refused = EmbeddedPostgres::start(&options(folder.path())).unwrap_err();
    assert!(matches!(refused, EmbeddedError::InUse { .. }), "{refused}");
    let message = refused.to_string();
    assert!(
        message.contains(&format!("(process {})", server.pid()))
            && message.contains("choose another folder with [database] data_dir"),
        "{message}"
    );
    assert_eq!(query(server.url(), &["select 'unharmed'"]), "unharmed");
}

#[test]
fn a_wrong_folder_of_programs_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = EmbeddedOptions { bin_dir: Some(PathBuf::from("/usr/share")), ..options(folder.path()) };
    let message = EmbeddedPostgres::start(&wrong).unwrap_err().to_string();
    assert_eq!(
        message,
        "no `postgres` in /usr/share: point PG_BINDIR or [database] bin_dir at the folder that holds `postgres`, `initdb` and `pg_ctl`"
    );
}

#[test]
fn a_folder_that_cannot_be_used_says_why() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let message = EmbeddedPostgres::start(&options(&file)).unwrap_err().to_string();
    assert!(message.starts_with(&format!("cannot create {}", file.display())), "{message}");
    assert!(message.ends_with("choose another folder with [database] data_dir"), "{message}");
    // Root's server runs as somebody else, who must be able to reach the folder; an ordinary user reaches his own.
    let below = EmbeddedPostgres::start(&options(&folder.path().join("below")));
    match fs::metadata("/proc/self").unwrap().uid() {
        0 => {
            let message = below.unwrap_err().to_string();
            let closed = format!("{} is closed to the account that runs Postgres for root", folder.path().display());
            assert!(message.contains(&closed), "{message}");
        }
        _ => below.unwrap().stop().unwrap(),
    }
}

#[test]
fn a_setting_that_the_server_refuses_is_told_in_its_own_words() {
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = options(folder.path());
    wrong.settings.push(("no_such_setting".to_owned(), "1".to_owned()));
    let message = EmbeddedPostgres::start(&wrong).unwrap_err().to_string();
    assert!(message.contains("unrecognized configuration parameter \"no_such_setting\""), "{message}");
    assert!(message.contains("postgres.log"), "{message}");
}

#[test]
fn a_long_path_gets_a_short_private_socket_folder() {
    let folder = tempfile::tempdir().unwrap();
    let server = EmbeddedPostgres::start(&options(&folder.path().join("x".repeat(100)))).unwrap();
    let socket_dir = server.socket_dir().to_owned();
    assert!(socket_dir.starts_with("/tmp") && socket_dir.as_os_str().len() < 93, "{}", socket_dir.display());
    assert_eq!(fs::metadata(&socket_dir).unwrap().mode() & 0o777, 0o700);
    assert_eq!(query(server.url(), &["select 'reached'"]), "reached");
    drop(server);
    assert!(!socket_dir.exists());
}

/// This test is two processes: the second is this binary again, told by an argument to hold a server until it is killed.
#[test]
fn the_server_ends_when_its_parent_is_killed() {
    const ROLE: &str = "hold-postgres-in=";
    if let Some(folder) = std::env::args().find_map(|word| word.strip_prefix(ROLE).map(PathBuf::from)) {
        let _server = EmbeddedPostgres::start(&options(&folder)).unwrap();
        std::thread::sleep(Duration::from_mins(2));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "embedded::the_server_ends_when_its_parent_is_killed"])
        .arg(format!("{ROLE}{}", folder.path().display()))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let lock = folder.path().join("pg/postmaster.pid");
    let pid = wait_for("the server is ready", || {
        let text = fs::read_to_string(&lock).ok()?;
        text.lines().nth(7).filter(|state| state.trim() == "ready")?;
        text.lines().next().map(str::to_owned)
    });
    parent.kill().unwrap();
    parent.wait().unwrap();
    wait_for("the server is gone", || (!is_alive(&pid)).then_some(()));
    let log = fs::read_to_string(folder.path().join("postgres.log")).unwrap();
    assert!(log.contains("database system is shut down"), "{log}");
    EmbeddedPostgres::start(&options(folder.path())).unwrap().stop().unwrap();
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..6_000 {
        if let Some(seen) = look() {
            return seen;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("never: {what}");
}

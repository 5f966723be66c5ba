//! A folder with a `jobs.toml`, a database, and the binary run on both with nothing else in its environment.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use rekon::sim::DEMO_PRIVATE_KEY_PEM;
use serde_json::Value;

use crate::support::TestDb;

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Run {
    /// The exit code.
    pub(super) code: i32,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Run {
    pub(super) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
        }
    }

    /// Checks the exit code.
    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// Checks that stderr says this.
    #[track_caller]
    pub(super) fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "stderr lacks {text:?}\n{self:#?}");
        self
    }

    /// The document on stdout.
    #[track_caller]
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}\n{self:#?}"))
    }

    /// The objects on stdout, one a line.
    #[track_caller]
    pub(super) fn lines(&self) -> Vec<Value> {
        let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}\n{self:#?}"));
        self.stdout.lines().map(read).collect()
    }
}

/// The binary with an environment that holds only what is given.
pub(super) fn bare(args: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rekon"));
    command.args(args).env_clear().envs(env.iter().copied()).stdin(Stdio::null());
    command
}

/// Two configured accounts, `shop` and `till`, in front of a database.
pub(super) struct Rig {
    pub(super) db: TestDb,
    folder: tempfile::TempDir,
}

impl Rig {
    pub(super) async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("key.pem"), DEMO_PRIVATE_KEY_PEM).expect("the key is written");
        let account = |name: &str| {
            format!(
                "[accounts.{name}]\nprovider = \"doku\"\nbase_url = \"http://127.0.0.1:9\"\nclient_id = \"{name}\"\n\
                 client_secret = {{ env = \"SECRET\" }}\nprivate_key = {{ file = \"key.pem\" }}\nmerchant_id = \"2115\"\nchannel_id = \"H2H\"\n\
                 [accounts.{name}.profile.required]\nreference_no = false\n"
            )
        };
        fs::write(folder.path().join("jobs.toml"), account("shop") + &account("till")).expect("the file is written");
        Self { db: TestDb::new().await, folder }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file and gives its path as an argument.
    pub(super) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), content).expect("the file is written");
        self.path(name).display().to_string()
    }

    pub(super) fn command(&self, args: &[&str]) -> Command {
        let config = self.path("jobs.toml").display().to_string();
        let env = [("DATABASE_URL", self.db.url.as_str()), ("SECRET", "hush"), ("REKON_CONFIG", config.as_str())];
        bare(args, &env)
    }

    pub(super) fn run(&self, args: &[&str]) -> Run {
        Run::of(self.command(args).output().expect("rekon can be started"))
    }

    /// Runs it with this on stdin.
    pub(super) fn pipe(&self, args: &[&str], stdin: &[u8]) -> Run {
        let mut command = self.command(args);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("rekon can be started");
        let mut input = child.stdin.take().expect("it has a stdin");
        // A refusal may come before the last byte is written.
        drop(input.write_all(stdin));
        drop(input);
        Run::of(child.wait_with_output().expect("it ends"))
    }

    /// Imports these lines below that header.
    pub(super) fn import(&self, header: &str, lines: &[&str], args: &[&str]) -> Run {
        let text = format!("{header}\n{}\n", lines.join("\n"));
        self.pipe(&[&["import", "-"], args].concat(), text.as_bytes())
    }

    /// All rows as `account/reference amount`, sorted.
    pub(super) async fn rows(&self) -> String {
        let sql = "select coalesce(string_agg(account || '/' || partner_reference_no || ' ' || amount, ', ' \
                   order by account, partner_reference_no), '') from rekon.transactions";
        self.db.text(sql).await
    }
}

/// Sends SIGTERM (or another signal) to a child.
pub(super) fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status().expect("kill is there");
    assert!(sent.success());
}

/// Nothing is left in this folder of a private Postgres that still runs.
pub(super) fn assert_no_server(data_dir: &Path) {
    assert!(!data_dir.join("pg/postmaster.pid").exists(), "the private Postgres still runs");
}

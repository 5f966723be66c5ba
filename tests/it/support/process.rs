//! The real program as a child process: `rekon serve` on a configuration file of its own, killed, asked to stop, looked at
//! over HTTP. Whatever a test does, the process ends with it.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    os::unix::process::ExitStatusExt as _,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Longest wait for anything that a process should do at once; a loaded machine is slow, not wrong.
const PATIENCE: Duration = Duration::from_mins(1);
const LOOK: Duration = Duration::from_millis(5);

/// How a command that came to its end ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit code; `None`: a signal.
    pub(crate) code: Option<i32>,
    /// What it said on stderr.
    pub(crate) said: String,
    /// From the request to end until its end.
    pub(crate) took: Duration,
}

fn with_server(config: &str) -> String {
    format!("{config}\n[server]\nlisten = \"127.0.0.1:0\"\n")
}

/// A running `rekon serve`.
pub(crate) struct Daemon {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    folder: tempfile::TempDir,
}

impl Daemon {
    /// Starts `rekon serve` on this configuration and environment; does not wait for anything.
    pub(crate) fn spawn(config: &str, env: &BTreeMap<String, String>) -> Self {
        Self::command("serve", config, env)
    }

    /// The same with these roles alone.
    pub(crate) fn spawn_roles(roles: &str, config: &str, env: &BTreeMap<String, String>) -> Self {
        Self::run(&["serve", "--roles", roles], config, env)
    }

    /// The same with another command.
    pub(crate) fn command(command: &str, config: &str, env: &BTreeMap<String, String>) -> Self {
        Self::run(&[command], config, env)
    }

    /// The same with a command and its arguments.
    pub(crate) fn run(arguments: &[&str], config: &str, env: &BTreeMap<String, String>) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the configuration");
        let path = folder.path().join("jobs.toml");
        std::fs::write(&path, with_server(config)).expect("it is written");
        let mut child = Command::new(env!("CARGO_BIN_EXE_rekon"))
            .args(arguments)
            .arg("--config")
            .arg(&path)
            .env_remove("DATABASE_URL")
            .envs(env)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (stderr, heard) = (child.stderr.take().expect("it is piped"), Arc::clone(&lines));
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                heard.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Self { child, lines, folder }
    }

    /// Writes another configuration where it found its own, and sends SIGHUP.
    pub(crate) fn reload(&self, config: &str) {
        std::fs::write(self.folder.path().join("jobs.toml"), with_server(config)).expect("it is written");
        let sent = Command::new("kill").args(["-HUP", &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|s| s.success()), "SIGHUP could not be sent");
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// Is it still there?
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("it can be waited for").is_none()
    }

    /// Waits until it has said this.
    pub(crate) async fn wait_for(&mut self, words: &str) {
        let begun = Instant::now();
        while !self.said().contains(words) {
            assert!(self.is_alive(), "the process ended before it said {words:?}:\n{}", self.said());
            assert!(begun.elapsed() < PATIENCE, "it never said {words:?}:\n{}", self.said());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// `kill -9`: no destructor runs, nothing is flushed.
    pub(crate) fn kill_9(mut self) {
        self.child.kill().expect("it can be killed");
        let status = self.child.wait().expect("it ends");
        assert_eq!(status.signal(), Some(9), "the process had ended before it was killed:\n{}", self.said());
    }

    /// SIGTERM, then waits for its end.
    pub(crate) async fn terminate(mut self) -> Ended {
        self.ask_to_end();
        self.end().await
    }

    /// SIGTERM.
    pub(crate) fn ask_to_end(&self) {
        self.signal("TERM");
    }

    /// Any signal by its name, such as `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|s| s.success()), "SIG{name} could not be sent");
    }

    /// Waits for its end by itself.
    pub(crate) async fn end(&mut self) -> Ended {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                return self.ended(status, begun.elapsed());
            }
            assert!(begun.elapsed() < PATIENCE, "the process does not end:\n{}", self.said());
            tokio::time::sleep(LOOK).await;
        }
    }

    fn ended(&self, status: ExitStatus, took: Duration) -> Ended {
        // The reader of stderr is a thread: the last lines may come a moment after the end.
        thread::sleep(Duration::from_millis(20));
        Ended { code: status.code(), said: self.said(), took }
    }

    /// Status and body of a GET.
    pub(crate) async fn get(&mut self, path: &str) -> (u16, String) {
        self.send(&format!("GET {path} HTTP/1.1\r\n"), "").await
    }

    /// Status and body of a request that begins with this line and these headers.
    pub(crate) async fn send(&mut self, head: &str, body: &str) -> (u16, String) {
        let address = self.address().await;
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let length = body.len();
        let request = format!("{head}host: rekon\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await.expect("the request leaves");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("an answer comes");
        let status = text.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
        (status, text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
    }

    /// Where it listens.
    pub(crate) async fn address(&mut self) -> SocketAddr {
        self.wait_for("rekon listens on http://").await;
        self.said()
            .split_once("rekon listens on http://")
            .and_then(|(_, rest)| rest.split_once(' ')?.0.parse().ok())
            .expect("it names its address")
    }

    /// Asks until the status is this; returns the body.
    pub(crate) async fn wait_for_status(&mut self, path: &str, status: u16) -> String {
        let begun = Instant::now();
        loop {
            let (found, body) = self.get(path).await;
            if found == status {
                return body;
            }
            assert!(begun.elapsed() < PATIENCE, "{path} never said {status}, but {found} {body}\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            drop(self.child.kill());
            drop(self.child.wait());
        }
        if thread::panicking() {
            println!("--- rekon serve said:\n{}", self.said());
        }
    }
}

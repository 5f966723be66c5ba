//! A door between a program and its Postgres that a test can shut: connections are cut, new ones refused, one answer to a
//! COMMIT is swallowed after the server gave it, or everything stops at the n-th COMMIT, before or after it took effect.

use std::{
    path::PathBuf,
    str::FromStr as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use sqlx::postgres::PgConnectOptions;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
};

/// Stands in [`State::stop_at`] once that COMMIT has come.
const CAME: u64 = u64::MAX;
const LOOK: Duration = Duration::from_millis(5);

/// The door.
pub(crate) struct Proxy {
    /// Where the program connects.
    pub(crate) url: String,
    state: Arc<State>,
}

struct State {
    server: Server,
    /// Counts up with every cut; a connection ends when it changes.
    cuts: watch::Sender<u64>,
    is_shut: AtomicBool,
    /// Commits whose answers are to be swallowed, and those that were.
    swallow: AtomicU64,
    swallowed: AtomicU64,
    /// COMMITs so far, and the one at which the door shuts; 0: at none.
    commits: AtomicU64,
    stop_at: AtomicU64,
    /// The COMMIT at which it shuts still takes effect.
    lets_it_through: AtomicBool,
}

enum Server {
    Unix(PathBuf),
    Tcp(String),
}

impl Proxy {
    /// Opens a door to the database at `url`.
    pub(crate) async fn open(url: &str) -> Self {
        let options = PgConnectOptions::from_str(url).expect("a Postgres url");
        let server = match options.get_socket() {
            Some(folder) => Server::Unix(folder.join(format!(".s.PGSQL.{}", options.get_port()))),
            None => Server::Tcp(format!("{}:{}", options.get_host(), options.get_port())),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it has an address");
        let (user, database) = (options.get_username(), options.get_database().unwrap_or_default());
        let url = format!("postgres://{user}@{address}/{database}?sslmode=disable");
        let state = Arc::new(State {
            server,
            cuts: watch::Sender::new(0),
            is_shut: AtomicBool::new(false),
            swallow: AtomicU64::new(0),
            swallowed: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            stop_at: AtomicU64::new(0),
            lets_it_through: AtomicBool::new(false),
        });
        let door = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !door.is_shut.load(Ordering::SeqCst) {
                    tokio::spawn(Arc::clone(&door).carry(client));
                }
            }
        });
        Self { url, state }
    }

    /// Cuts every connection and lets none in.
    pub(crate) fn shut(&self) {
        self.state.shut();
    }

    /// Lets connections in again.
    pub(crate) fn reopen(&self) {
        self.state.is_shut.store(false, Ordering::SeqCst);
    }

    /// The server's answers to the next `times` COMMITs are swallowed, and their connections cut.
    pub(crate) fn swallow_commits(&self, times: u64) {
        self.state.swallow.store(times, Ordering::SeqCst);
    }

    /// At the `nth` COMMIT from now the door shuts for everybody, before that COMMIT reaches the server or right after it took
    /// effect.
    pub(crate) fn shut_at_commit(&self, nth: u64, takes_effect: bool) {
        self.state.lets_it_through.store(takes_effect, Ordering::SeqCst);
        self.state.stop_at.store(self.state.commits.load(Ordering::SeqCst) + nth, Ordering::SeqCst);
    }

    /// From now on no COMMIT shuts the door. Did one, or is one about to? Then it is shut when this returns.
    pub(crate) async fn disarm(&self) -> bool {
        let came = self.state.stop_at.swap(0, Ordering::SeqCst) == CAME;
        while came && !self.is_shut() {
            tokio::time::sleep(LOOK).await;
        }
        came
    }

    /// Is the door shut?
    pub(crate) fn is_shut(&self) -> bool {
        self.state.is_shut.load(Ordering::SeqCst)
    }

    /// How many answers were swallowed.
    pub(crate) fn swallowed(&self) -> u64 {
        self.state.swallowed.load(Ordering::SeqCst)
    }
}

impl State {
    async fn carry(self: Arc<Self>, client: TcpStream) {
        match &self.server {
            Server::Unix(path) => {
                if let Ok(server) = UnixStream::connect(path).await {
                    self.between(client, server).await;
                }
            }
            Server::Tcp(address) => {
                if let Ok(server) = TcpStream::connect(address).await {
                    self.between(client, server).await;
                }
            }
        }
    }

    async fn between(&self, mut client: TcpStream, mut server: impl AsyncRead + AsyncWrite + Unpin) {
        let mut cuts = self.cuts.subscribe();
        cuts.mark_unchanged();
        let (mut asked, mut answered) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
        loop {
            tokio::select! {
                _ = cuts.changed() => return,
                read = client.read(&mut asked) => match read {
                    Ok(n) if n > 0 => {
                        let is_commit = is_commit(&asked[..n]);
                        let stops = is_commit && self.is_the_last();
                        if stops && !self.lets_it_through.load(Ordering::SeqCst) {
                            return self.shut();
                        }
                        let swallows = is_commit && self.takes_one();
                        if server.write_all(&asked[..n]).await.is_err() {
                            return;
                        }
                        if stops {
                            drop(server.read(&mut answered).await);
                            return self.shut();
                        }
                        if swallows {
                            // The answer says that it is done; nobody hears it.
                            drop(server.read(&mut answered).await);
                            self.swallowed.fetch_add(1, Ordering::SeqCst);
                            return;
                        }
                    }
                    _ => return,
                },
                read = server.read(&mut answered) => match read {
                    Ok(n) if n > 0 => {
                        if client.write_all(&answered[..n]).await.is_err() {
                            return;
                        }
                    }
                    _ => return,
                },
            }
        }
    }

    /// Counts a COMMIT; is it the one at which the door shuts?
    fn is_the_last(&self) -> bool {
        let nth = self.commits.fetch_add(1, Ordering::SeqCst) + 1;
        self.stop_at.compare_exchange(nth, CAME, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    fn shut(&self) {
        self.is_shut.store(true, Ordering::SeqCst);
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    fn takes_one(&self) -> bool {
        self.swallow.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }
}

fn is_commit(bytes: &[u8]) -> bool {
    bytes.windows(7).any(|w| w == b"COMMIT\0")
}

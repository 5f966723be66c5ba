//! What every command may ask for: the configuration, read when it is needed, and a session on the database.
//!
//! The order of a session is a matter of life: a private Postgres is started by the main thread, because the kernel ends the
//! server with the *thread* that started it, and only then a runtime is built and anything awaited.

use std::cell::OnceCell;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{exit::Failure, output::Output, signals::Signals, wiring},
    config::{Config, Database, DatabaseTarget, Environment, LoadOptions, TOKEN_VARIABLE, read_secret_file},
    domain::person::Actor,
    engine::people,
    store::{
        ConnectOptions, Store, StoreError,
        embedded::{EmbeddedOptions, EmbeddedPostgres},
    },
};

/// How long connections may take to close, and threads that still read to end, when a command is over.
const CLOSE_WAIT: Duration = Duration::from_secs(3);

/// The process around a command.
#[derive(Debug)]
pub(crate) struct Context {
    config_path: Option<PathBuf>,
    environment: Environment,
    config: OnceCell<Config>,
    /// A server that runs already, in place of the configured one.
    server: Option<ConnectOptions>,
    token_file: Option<PathBuf>,
    /// Where its output goes.
    pub(crate) out: Output,
}

/// What a signal does to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnSignal {
    /// The work is dropped where it stands, its open transaction rolls back; exit 75.
    Abandon,
    /// The work is told by its token and comes to an end by itself; a second signal abandons it.
    Drain,
}

/// Whose schema is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Schema {
    /// Exactly this program's; else exit 78 naming `rekon migrate`.
    Current,
    /// Any: the command is about to make it.
    Any,
}

/// A database to work on.
#[derive(Debug)]
pub(crate) enum Place {
    /// A server of the operator's.
    Server(ConnectOptions),
    /// A private one, started for this command.
    Private(EmbeddedOptions),
}

/// A command at work: the configuration and an open database.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    /// The configuration.
    pub(crate) config: &'a Config,
    /// The database.
    pub(crate) store: Store,
    /// Where its output goes.
    pub(crate) out: Output,
}

impl Context {
    pub(crate) fn new(config_path: Option<PathBuf>, environment: Environment, out: Output) -> Self {
        Self { config_path, environment, config: OnceCell::new(), server: None, token_file: None, out }
    }

    /// The same process beside a private Postgres that somebody else has started and will stop: two cannot serve one folder.
    pub(crate) fn beside(self, server: ConnectOptions) -> Self {
        Self { server: Some(server), ..self }
    }

    /// The same for whoever has his token in a file.
    pub(crate) fn acting_by(self, token_file: Option<PathBuf>) -> Self {
        Self { token_file, ..self }
    }

    /// The configuration; loaded once, at the first call.
    pub(crate) fn config(&self) -> Result<&Config, Failure> {
        if let Some(config) = self.config.get() {
            return Ok(config);
        }
        let loaded = self.read_config()?;
        Ok(self.config.get_or_init(|| loaded))
    }

    /// The configuration as it stands in its file now.
    pub(crate) fn read_config(&self) -> Result<Config, Failure> {
        Ok(Config::load(LoadOptions {
            path: self.config_path.as_deref(),
            env: &self.environment.variables,
            known_providers: &wiring::known_providers(),
        })?)
    }

    /// A variable of the environment.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.environment.variables.get(name).map(String::as_str)
    }

    /// Another configuration, in the same environment.
    pub(crate) fn config_of(&self, path: &Path) -> Result<Config, Failure> {
        let known_providers = &wiring::known_providers();
        Ok(Config::load(LoadOptions { path: Some(path), env: &self.environment.variables, known_providers })?)
    }

    /// Who types, by his personal token: every command that changes something on somebody's word asks this first.
    pub(crate) async fn actor(&self, store: &Store) -> Result<Actor, Failure> {
        let token = match &self.token_file {
            Some(path) => read_secret_file(path).map_err(Failure::Usage)?,
            None => self.environment.token().ok_or_else(|| {
                Failure::Usage(format!(
                    "this needs a person: set {TOKEN_VARIABLE}, or name a file with --token-file; `rekon tokens create` makes a token"
                ))
            })?,
        };
        Ok(people::authenticate(store, &token).await?)
    }

    /// Works on the configured database, with this program's schema; a signal abandons the work.
    pub(crate) fn with_database<T>(
        &self,
        work: impl AsyncFnOnce(Session<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let place = self.place()?;
        self.session(place, Schema::Current, OnSignal::Abandon, async |session, _stop| work(session).await)
    }

    /// The same past a pooler, where there is one: what needs a server connection of its own goes this way.
    pub(crate) fn direct_place(&self) -> Result<Place, Failure> {
        let database = &self.config()?.database;
        match &database.target {
            DatabaseTarget::Url { direct_url: Some(url), .. } if self.server.is_none() => {
                Ok(Place::Server(ConnectOptions::to_server(database, url)))
            }
            _ => self.place(),
        }
    }

    /// The database that the configuration names.
    pub(crate) fn place(&self) -> Result<Place, Failure> {
        let database = &self.config()?.database;
        if let Some(server) = &self.server {
            return Ok(Place::Server(server.clone()));
        }
        match &database.target {
            DatabaseTarget::Url { url, .. } => Ok(Place::Server(ConnectOptions::to_server(database, url))),
            DatabaseTarget::Embedded => private_place(database, database.data_dir.as_deref()),
            DatabaseTarget::Missing => Err(Failure::NoDatabase),
        }
    }

    /// Works on a database; the token is cancelled by the first SIGINT or SIGTERM. Must be called by the main thread,
    /// outside of any runtime.
    pub(crate) fn session<T>(
        &self,
        place: Place,
        schema: Schema,
        on_signal: OnSignal,
        work: impl AsyncFnOnce(Session<'_>, CancellationToken) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let config = self.config()?;
        let (options, private) = match place {
            Place::Server(options) => (options, None),
            Place::Private(options) => {
                let server = EmbeddedPostgres::start(&options)?;
                (ConnectOptions::to_private(&config.database, server.url()), Some(server))
            }
        };
        let result = until_signal(on_signal, async |stop| {
            let store = Store::connect(&options).await.map_err(Failure::Connect)?;
            let session = Session { config, store: store.clone(), out: self.out };
            let result = match schema {
                Schema::Current => checked(&store).await,
                Schema::Any => Ok(()),
            };
            let result = match result {
                Ok(()) => work(session, stop).await,
                Err(failure) => Err(failure),
            };
            // A connection that does not close in time is the server's to clean up.
            drop(tokio::time::timeout(CLOSE_WAIT, store.close()).await);
            result
        });
        if let Some(server) = private
            && let Err(error) = server.stop()
        {
            self.out.say(&format!("rekon: {error}"));
        }
        result
    }
}

/// Runs asynchronous work on a runtime of its own, ended by the first or second signal.
pub(crate) fn until_signal<T>(
    on_signal: OnSignal,
    work: impl AsyncFnOnce(CancellationToken) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let runtime = Runtime::new().map_err(Failure::Runtime)?;
    let result = runtime.block_on(async {
        let signals = Signals::listen().map_err(Failure::Runtime)?;
        let abandoned = match on_signal {
            OnSignal::Abandon => signals.first.clone(),
            OnSignal::Drain => signals.second.clone(),
        };
        abandoned_by(&abandoned, work(signals.first)).await
    });
    // A thread that waits for stdin must not keep the process.
    runtime.shutdown_timeout(CLOSE_WAIT);
    result
}

async fn abandoned_by<T>(
    token: &CancellationToken,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        biased;
        result = work => result,
        () = token.cancelled() => Err(Failure::Interrupted),
    }
}

async fn checked(store: &Store) -> Result<(), Failure> {
    store.check_schema().await.map_err(|error| match error {
        StoreError::Schema(found) if found.contains("does not exist") => {
            Failure::Store(StoreError::Schema("the database has none yet".to_owned()))
        }
        other => Failure::Store(other),
    })
}

/// A private Postgres in that folder.
pub(crate) fn private_place(database: &Database, data_dir: Option<&Path>) -> Result<Place, Failure> {
    let data_dir = data_dir.ok_or(Failure::NoDataDir)?.to_owned();
    Ok(Place::Private(EmbeddedOptions { data_dir, bin_dir: database.bin_dir.clone(), settings: Vec::new() }))
}

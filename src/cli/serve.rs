//! `rekon serve`: the daemon. Probes and metrics answer from the first moment; the workers start when the database does.
//! The first SIGTERM drains: nothing new is asked, calls in flight end, answers are written, leases go back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{
        context::{Context, OnSignal, Place, until_signal},
        exit::{Exit, Failure},
        http::{self, Lent},
        output::Output,
        reload::{Reached, Reload},
    },
    config::{Config, LogFormat},
    engine::Engine,
    jobs,
    store::{ConnectOptions, Store, StoreError, embedded::EmbeddedPostgres, limits::CallClass},
    telemetry::{
        heartbeat::Heartbeats,
        logs::{self, Format, LogLevel, LogOptions},
    },
    web,
};

/// Pause between attempts to reach a database that is not there yet.
const KNOCK: Duration = Duration::from_secs(1);
/// How often a wait for the database is said.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// What a daemon may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Role {
    /// Sweep, refunds, calendar.
    Jobs,
    /// Probes, metrics, notifications, API.
    Http,
}

/// Run the daemon: ask what is due, return what is owed, answer probes and metrics
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: rekon serve --config jobs.toml --roles jobs,http")]
pub(crate) struct Serve {
    /// Do only these
    #[arg(long, value_delimiter = ',', default_values_t = [Role::Jobs, Role::Http], value_name = "ROLES")]
    roles: Vec<Role>,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Jobs => "jobs",
            Self::Http => "http",
        })
    }
}

impl Serve {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let config = context.config()?;
        let log_level = init_logs(config)?;
        let reached = Reached::default();
        // Settings that cannot work are said now, not when the database is there.
        crate::engine::runtime::accounts(config)?;
        let (options, private) = match context.place()? {
            Place::Server(options) => (options, None),
            Place::Private(options) => {
                let server = EmbeddedPostgres::start(&options)?;
                (ConnectOptions::to_private(&config.database, server.url()), Some(server))
            }
        };
        let result = until_signal(OnSignal::Drain, async |stop| {
            // Heard from the first moment: without a listener this signal ends a process.
            let hangup = signal(SignalKind::hangup()).map_err(Failure::Runtime)?;
            let reload = Reload { context, started_with: config, log_level, reached: &reached };
            let daemon = Daemon { config, options, roles: self.roles, stop, out: context.out, reached: &reached };
            tokio::select! {
                result = daemon.run() => result,
                () = reload.serve(hangup) => Err(Failure::Runtime(std::io::Error::other("signals are heard no more"))),
            }
        });
        if let Some(server) = private
            && let Err(error) = server.stop()
        {
            context.out.say(&format!("rekon: {error}"));
        }
        result.map(|()| Exit::Clean)
    }
}

/// Logs as the configuration wants them.
pub(crate) fn init_logs(config: &Config) -> Result<LogLevel, Failure> {
    let format = match config.log.format {
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
    };
    logs::init(&LogOptions { format, level: &config.log.level, colour: false }).map_err(Failure::Logs)
}

struct Daemon<'a> {
    config: &'a Config,
    options: ConnectOptions,
    roles: Vec<Role>,
    stop: CancellationToken,
    out: Output,
    reached: &'a Reached,
}

impl Daemon<'_> {
    async fn run(self) -> Result<(), Failure> {
        let hearts = Heartbeats::new();
        let (store_is, store_seen) = watch::channel(None);
        let closing = CancellationToken::new();
        let web = self.web(&hearts, store_seen, &closing).await?;
        let worked = self.work(hearts, &store_is).await;
        closing.cancel();
        if let Some(web) = web {
            match web.await {
                Ok(served) => served?,
                Err(error) => tracing::error!(%error, "the HTTP side ended badly"),
            }
        }
        worked
    }

    /// Binds and answers, where the role is wanted.
    async fn web(
        &self,
        hearts: &Heartbeats,
        store: watch::Receiver<Option<Store>>,
        closing: &CancellationToken,
    ) -> Result<Option<tokio::task::JoinHandle<Result<(), web::WebError>>>, Failure> {
        if !self.roles.contains(&Role::Http) {
            return Ok(None);
        }
        let lent = Lent { heartbeats: hearts.clone(), store, draining: self.stop.clone(), closing: closing.clone() };
        let side = http::open(self.config, lent).await?;
        self.out.say(&format!("rekon listens on http://{} (/healthz /readyz /metrics /notify)", side.address));
        Ok(Some(side.serving))
    }

    async fn work(&self, hearts: Heartbeats, store_is: &watch::Sender<Option<Store>>) -> Result<(), Failure> {
        let Some(store) = self.database().await? else { return Ok(()) };
        store_is.send_replace(Some(store.clone()));
        self.look_for_pooler(&store).await?;
        if self.roles.contains(&Role::Jobs) {
            self.jobs(store.clone(), hearts).await?;
        } else {
            self.stop.cancelled().await;
        }
        Ok(())
    }

    /// Behind a pooler that forgets statements nothing is right; behind one without a way past it nothing is heard.
    async fn look_for_pooler(&self, store: &Store) -> Result<(), Failure> {
        match store.shares_sessions().await {
            Err(error @ StoreError::Pooler(_)) => return Err(error.into()),
            Ok(true) if ConnectOptions::to_bus(&self.config.database).is_none() => {
                tracing::warn!(
                    "[database] url leads through a pooler and direct_url is missing: wake-ups and commands are not heard at once"
                );
            }
            // A database that went away meanwhile is the workers' to wait for.
            Ok(_) | Err(_) => {}
        }
        Ok(())
    }

    /// Works, and begins anew where the database went away before the work had begun: once begun, each loop waits for it
    /// by itself.
    async fn jobs(&self, store: Store, hearts: Heartbeats) -> Result<(), Failure> {
        loop {
            match self.jobs_once(store.clone(), hearts.clone()).await {
                Err(Failure::Engine(error)) if error.is_unavailable() => {
                    tracing::warn!(%error, "the database went away before the work had begun; trying again");
                }
                Err(Failure::Jobs(error @ jobs::JobsError::Unavailable(_))) => {
                    tracing::warn!(%error, "the database went away before the work had begun; trying again");
                }
                ended => return ended,
            }
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(KNOCK) => {}
            }
        }
    }

    async fn jobs_once(&self, store: Store, hearts: Heartbeats) -> Result<(), Failure> {
        let engine = Engine::start(store, self.config, CallClass::Due, &[], hearts).await?;
        let ctx = Arc::clone(&engine.ctx);
        self.reached.begin(&ctx);
        let stopping = ctx.stop.clone();
        let stop = self.stop.clone();
        let relay = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
            stop.cancelled().await;
            tracing::info!("draining: nothing new is asked, calls in flight end");
            stopping.cancel();
        }));
        tracing::info!(accounts = ctx.accounts.len(), owner = %ctx.owner, "at work");
        let ended = jobs::run(ctx, jobs::Roles { commands: true }).await;
        drop(relay);
        engine.finish().await?;
        ended?;
        if self.stop.is_cancelled() {
            Ok(())
        } else {
            Err(Failure::Jobs(jobs::JobsError::Runtime("the workers ended by themselves".to_owned())))
        }
    }

    /// Knocks until the database is there with the right schema; `None` when the process is to stop before.
    async fn database(&self) -> Result<Option<Store>, Failure> {
        let mut said: Option<Instant> = None;
        loop {
            match connect(&self.options).await {
                Ok(store) => return Ok(Some(store)),
                Err(failure) if !is_worth_waiting(&failure) => return Err(failure),
                Err(failure) => {
                    if said.is_none_or(|at| at.elapsed() > SAY_EVERY) {
                        tracing::warn!(error = %failure, "waiting for the database; not ready meanwhile");
                        said = Some(Instant::now());
                    }
                }
            }
            tokio::select! {
                () = self.stop.cancelled() => return Ok(None),
                () = tokio::time::sleep(KNOCK) => {}
            }
        }
    }
}

async fn connect(options: &ConnectOptions) -> Result<Store, Failure> {
    let store = Store::connect(options).await.map_err(Failure::Connect)?;
    store.check_schema().await?;
    Ok(store)
}

/// A server that is down comes back; a wrong password does not become right.
fn is_worth_waiting(failure: &Failure) -> bool {
    matches!(failure, Failure::Connect(error) | Failure::Store(error) if error.is_transient())
}

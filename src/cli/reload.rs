//! SIGHUP to a daemon: the configuration is read again, and what can change without a restart does. One that is wrong is refused
//! with everything that is wrong with it, and the old one stays in force.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::signal::unix::Signal;

use crate::{
    cli::{context::Context, exit::Failure, wiring},
    config::Config,
    engine::{Ctx, reload},
    telemetry::logs::LogLevel,
};

/// What of a daemon a reload reaches.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    /// Its accounts, once they are at work.
    working: OnceLock<Arc<Ctx>>,
    /// What was read last; a daemon that still waits for its database begins with it.
    latest: Mutex<Option<Config>>,
}

impl Reached {
    /// The accounts are at work from now on.
    pub(crate) fn begin(&self, ctx: &Arc<Ctx>) {
        let ctx = self.working.get_or_init(|| Arc::clone(ctx));
        if let Some(latest) = &*self.latest.lock().unwrap_or_else(PoisonError::into_inner) {
            reload::apply(ctx, latest);
        }
    }

    fn take_up(&self, new: &Config) {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(new.clone());
        if let Some(ctx) = self.working.get() {
            reload::apply(ctx, new);
        }
    }
}

/// What a reload turns.
pub(crate) struct Reload<'a> {
    /// Where the configuration comes from.
    pub(crate) context: &'a Context,
    /// What the process was started with.
    pub(crate) started_with: &'a Config,
    /// The level of its logs.
    pub(crate) log_level: LogLevel,
    /// The daemon.
    pub(crate) reached: &'a Reached,
}

impl Reload<'_> {
    /// Serves signals for as long as it is polled.
    pub(crate) async fn serve(&self, mut hangup: Signal) {
        let mut in_force: Option<Config> = None;
        while hangup.recv().await.is_some() {
            let new = match self.read() {
                Ok(new) => new,
                Err(Failure::Config(errors)) => {
                    for error in &errors.errors {
                        tracing::error!(%error, "the new configuration is refused");
                    }
                    tracing::error!(errors = errors.errors.len(), "nothing was reloaded; the old configuration stays");
                    continue;
                }
                Err(failure) => {
                    tracing::error!(error = %failure.told(), "nothing was reloaded; the old configuration stays");
                    continue;
                }
            };
            self.apply(in_force.as_ref().unwrap_or(self.started_with), &new);
            in_force = Some(new);
        }
    }

    fn read(&self) -> Result<Config, Failure> {
        let config = self.context.read_config()?;
        wiring::demands(&config)?;
        Ok(config)
    }

    fn apply(&self, before: &Config, new: &Config) {
        let taken_up = reload::difference(before, new).reloadable;
        let waiting = reload::difference(self.started_with, new).restart;
        // First, so that what follows is said at the new level.
        if let Err(error) = self.log_level.set(&new.log.level) {
            tracing::error!(%error, "the level of the logs stays");
        }
        self.reached.take_up(new);
        tracing::warn!(
            taken_up = taken_up.join(" "),
            restart_needed = waiting.join(" "),
            "the configuration was reloaded"
        );
    }
}

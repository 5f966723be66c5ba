//! The circuit breaker of an account: this process counts its own calls, any process opens the shared breaker for all.
//! While it is open nobody asks and nothing ages; one probe at a time looks whether the provider is back.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::store::{Store, StoreError, limits::Weather};

/// When a breaker opens and how it is probed.
#[derive(Debug, Clone, Copy)]
pub struct WeatherSettings {
    /// Fewest calls in the window.
    pub calls_min: usize,
    /// The window.
    pub window: Duration,
    /// Percent failed that opens it.
    pub failed_percent: usize,
    /// First probe after.
    pub probe_first: Duration,
    /// Longest pause between probes.
    pub probe_max: Duration,
    /// Longest time of one probe; a process that died with one is waited for so long.
    pub probe_span: Duration,
}

/// One account's weather as this process sees it.
#[derive(Debug)]
pub struct AccountWeather {
    account: String,
    settings: WeatherSettings,
    calls: Mutex<VecDeque<(Instant, bool)>>,
    is_bad: AtomicBool,
    /// This process was handed the probe that is under way.
    has_probe: AtomicBool,
}

/// Calls remembered at most; enough to judge a window at any rate.
const REMEMBERED: usize = 4096;

impl AccountWeather {
    /// Fair weather.
    pub fn new(account: &str, settings: WeatherSettings) -> Self {
        Self {
            account: account.to_owned(),
            settings,
            calls: Mutex::default(),
            is_bad: AtomicBool::new(false),
            has_probe: AtomicBool::new(false),
        }
    }

    /// Was the breaker open when this process last looked?
    pub fn is_bad(&self) -> bool {
        self.is_bad.load(Ordering::Relaxed)
    }

    /// Looks at the shared breaker; a probe is handed to one asker at a time.
    pub async fn look(&self, store: &Store) -> Result<Weather, StoreError> {
        let weather = store.weather(&self.account, self.settings.probe_max, self.settings.probe_span).await?;
        self.is_bad.store(weather != Weather::Closed, Ordering::Relaxed);
        match weather {
            Weather::Closed => return Ok(weather),
            Weather::Probe => self.has_probe.store(true, Ordering::Relaxed),
            Weather::Open => {}
        }
        self.forget();
        Ok(weather)
    }

    /// Counts a call: `failed` is transport, 5xx or 401, never 429 nor an unreadable answer. Opens or closes the shared
    /// breaker where that follows; only a call that `began_in_bad_weather`, a probe, can close it.
    pub async fn count(
        &self,
        store: &Store,
        failed: Option<&str>,
        began_in_bad_weather: bool,
    ) -> Result<(), StoreError> {
        if self.is_bad() {
            if failed.is_none() && began_in_bad_weather {
                store.close_breaker(&self.account).await?;
                self.is_bad.store(false, Ordering::Relaxed);
                tracing::info!(account = %self.account, "the provider answers again; the breaker is closed");
            }
            return Ok(());
        }
        if let Some(reason) = failed.filter(|_| self.trips()) {
            store.open_breaker(&self.account, reason, self.settings.probe_first).await?;
            self.is_bad.store(true, Ordering::Relaxed);
            self.forget();
            tracing::warn!(account = %self.account, reason, "the breaker is open: asking and ageing pause");
        } else if failed.is_none() {
            self.remember(false);
        }
        Ok(())
    }

    /// This process has done with its probe, if it had one, whether that became a call or not: the next one need not wait.
    pub async fn probe_over(&self, store: &Store) {
        if self.has_probe.swap(false, Ordering::Relaxed)
            && let Err(error) = store.end_probe(&self.account).await
        {
            tracing::debug!(account = %self.account, %error, "a probe that is over runs out by itself");
        }
    }

    fn forget(&self) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Remembers a failed call and says whether the window is bad enough to open.
    fn trips(&self) -> bool {
        self.remember(true);
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = calls.iter().filter(|(_, failed)| *failed).count();
        calls.len() >= self.settings.calls_min
            && failed.saturating_mul(100) >= calls.len().saturating_mul(self.settings.failed_percent)
    }

    fn remember(&self, failed: bool) {
        let now = Instant::now();
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.push_back((now, failed));
        while calls.len() > REMEMBERED
            || calls.front().is_some_and(|(at, _)| now.duration_since(*at) > self.settings.window)
        {
            calls.pop_front();
        }
    }
}

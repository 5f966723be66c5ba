//! `GET /metrics`: what this process counted, and beside it the gauges that the database knows. Prometheus may ask often and
//! from many places: a reading serves every scrape of the next seconds, and the longer it took the longer it serves.

use std::time::{Duration, Instant};

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use tokio::sync::Mutex;

use super::WebState;
use crate::{
    store::gauges::Gauge,
    telemetry::{
        board::{Board, Value},
        catalogue as c, metrics,
    },
};

/// A reading serves at least so long.
const SERVES_MIN: Duration = Duration::from_secs(5);

/// A reading serves so many times as long as it took: the database spends at most a fiftieth of one connection on gauges.
/// With a million open rows and ten thousand exceptions a reading takes some 0.3 s and serves for a quarter of a minute.
const SERVES_TIMES: u32 = 50;

/// A reading that takes longer is given up; Prometheus itself waits ten seconds.
const READING_MAX: Duration = Duration::from_secs(5);

/// The last reading, and whoever is making the next one.
#[derive(Debug, Default)]
pub(super) struct GaugeCache(Mutex<Option<Shown>>);

#[derive(Debug)]
struct Shown {
    at: Instant,
    took: Duration,
    /// Nothing when the database did not answer.
    gauges: Option<Vec<Gauge>>,
}

impl Shown {
    fn is_fresh(&self) -> bool {
        let serves = match self.gauges {
            Some(_) => SERVES_MIN.max(self.took.saturating_mul(SERVES_TIMES)),
            None => SERVES_MIN,
        };
        self.at.elapsed() < serves
    }
}

/// `GET /metrics`.
pub(super) async fn metrics(State(state): State<WebState>) -> Response {
    let board = state.board().await;
    let text = format!("{}{}", state.0.parts.metrics.render(), board.render());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

impl WebState {
    async fn board(&self) -> Board {
        let board = Board::default();
        let parts = &self.0.parts;
        board.set(c::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], Value::Count(1));
        for pulse in parts.heartbeats.pulses() {
            board.set(c::LOOP_AGE, &[&pulse.name], millis(pulse.age));
        }
        board.zero(c::CUSTOMER_TOKEN_EXPIRES, &parts.vocabulary);
        for (account, ends_at) in &parts.customer_token_ends {
            board.set(c::CUSTOMER_TOKEN_EXPIRES, &[account], Value::Count(ends_at.timestamp()));
        }
        let mut last = self.0.gauges.0.lock().await;
        let shown = match last.take() {
            Some(shown) if shown.is_fresh() => shown,
            _ => self.read_gauges().await,
        };
        let up = Value::Count(i64::from(shown.gauges.is_some()));
        board.set::<&str>(c::DATABASE_UP, &[], up);
        board.set::<&str>(c::GAUGE_AGE, &[], millis(shown.at.elapsed()));
        board.set::<&str>(c::GAUGE_READ_SECONDS, &[], millis(shown.took));
        for gauge in shown.gauges.iter().flatten() {
            board.zero(gauge.metric, &parts.vocabulary);
            for reading in &gauge.readings {
                board.set(gauge.metric, &reading.labels, reading.value);
            }
        }
        *last = Some(shown);
        board
    }

    async fn read_gauges(&self) -> Shown {
        let began = Instant::now();
        let gauges = match self.store() {
            None => None,
            Some(store) => match tokio::time::timeout(READING_MAX, store.gauges(&self.0.scope)).await {
                Ok(Ok(gauges)) => Some(gauges),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the database's gauges could not be read");
                    None
                }
                Err(_) => {
                    tracing::warn!(seconds = READING_MAX.as_secs(), "reading the database's gauges took too long");
                    None
                }
            },
        };
        metrics::gauges_read(gauges.is_some());
        Shown { at: Instant::now(), took: began.elapsed(), gauges }
    }
}

fn millis(duration: Duration) -> Value {
    Value::Millis(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

//! What the kubelet asks. `/healthz`: do the loops tick? It never touches the database, or an outage would restart every
//! replica. `/readyz`: may work come here? The database answers, its schema is ours, and we are not draining.

use std::time::{Duration, Instant};

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

use super::{Problem, WebState};
use crate::telemetry::heartbeat::Pulse;

/// However often it is asked, the database is asked four times a second.
const READY_FOR: Duration = Duration::from_millis(250);

/// A database that needs longer for a look at its schema is not there.
const READY_WAIT: Duration = Duration::from_secs(2);

/// The last look at the database, and whoever is having the next one.
#[derive(Debug, Default)]
pub(super) struct Readiness(Mutex<Option<(Instant, Result<(), String>)>>);

/// `GET /healthz`.
pub(super) async fn healthz(State(state): State<WebState>) -> Response {
    if state.0.parts.draining.is_cancelled() {
        // Loops end one after another and stop beating; to be killed for it would cut off the calls in flight.
        return Json(json!({"status": "draining"})).into_response();
    }
    let pulses = state.0.parts.heartbeats.pulses();
    let late: Vec<String> = pulses.iter().filter(|pulse| pulse.is_late()).map(said).collect();
    if !late.is_empty() {
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, late.join("; ")).into_response();
    }
    let loops: Map<String, Value> = pulses.iter().map(|p| (p.name.clone(), json!(millis(p.age)))).collect();
    Json(json!({"status": "ok", "loop_age_ms": loops})).into_response()
}

fn said(pulse: &Pulse) -> String {
    format!("loop {} has not beaten for {} ms, its limit is {} ms", pulse.name, millis(pulse.age), millis(pulse.limit))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `GET /readyz`.
pub(super) async fn readyz(State(state): State<WebState>) -> Response {
    match state.ready().await {
        Ok(()) => Json(json!({"status": "ready"})).into_response(),
        Err(reason) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, reason).into_response(),
    }
}

impl WebState {
    async fn ready(&self) -> Result<(), String> {
        if self.0.parts.draining.is_cancelled() {
            return Err("draining: this process is ending".to_owned());
        }
        let mut last = self.0.readiness.0.lock().await;
        if let Some((at, answer)) = &*last
            && at.elapsed() < READY_FOR
        {
            return answer.clone();
        }
        let answer = self.look_at_the_database().await;
        *last = Some((Instant::now(), answer.clone()));
        answer
    }

    async fn look_at_the_database(&self) -> Result<(), String> {
        let Some(store) = self.store() else {
            return Err("the database is not connected yet".to_owned());
        };
        match tokio::time::timeout(READY_WAIT, store.check_schema()).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err(format!("the database did not answer within {} s", READY_WAIT.as_secs())),
        }
    }
}

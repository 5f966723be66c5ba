//! Control over HTTP for a simulator in another process, under `/_sim/`, on loopback only: payments and scripts in, book,
//! counts, arrivals and gates out. It adds nothing to what `World` offers a test in the same process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::arrivals::CallBudget;
use super::book::BookEntry;
use super::client::lock;
use super::gate::{Gate, GateSpec};
use super::rng::Rng;
use super::scenario::{Scenario, scripted};
use super::script::{Answer, Fault, SimPayment};
use super::server::SimError;
use super::snap::Service;
use super::world::World;

/// Room for some hundred thousand payments in one request.
const BODY_BYTES_MAX: usize = 256 * 1024 * 1024;

#[derive(Debug)]
struct Control {
    world: Arc<World>,
    gates: Mutex<BTreeMap<u64, Arc<Gate>>>,
}

type Shared = State<Arc<Control>>;

/// The control endpoints.
pub(super) fn routes(world: Arc<World>) -> Router {
    Router::new()
        .route("/_sim/payments", post(add_payments))
        .route("/_sim/series", post(add_series))
        .route("/_sim/scripts", put(set_script))
        .route("/_sim/book", get(book))
        .route("/_sim/stats", get(stats))
        .route("/_sim/arrivals", get(check_arrivals))
        .route("/_sim/gates", post(arm_gate))
        .route("/_sim/gates/{id}", get(see_gate))
        .route("/_sim/gates/{id}/release", post(release_gate))
        .route("/_sim/weather", put(set_weather))
        .route("/_sim/tokens/expire", post(expire_tokens))
        .route("/_sim/advance", post(advance))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Arc::new(Control { world, gates: Mutex::default() }))
}

impl IntoResponse for SimError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::PaymentExists { .. } => StatusCode::CONFLICT,
            Self::ClientUnknown { .. } | Self::PaymentUnknown { .. } => StatusCode::NOT_FOUND,
            Self::Listen { .. } | Self::Key { .. } | Self::Entropy | Self::Notifier(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        (status, Json(json!({ "error": self.to_string() }))).into_response()
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(Box<SimPayment>),
    Many(Vec<SimPayment>),
}

async fn add_payments(State(control): Shared, Json(payments): Json<OneOrMany>) -> Result<Json<Value>, SimError> {
    let payments = match payments {
        OneOrMany::One(payment) => vec![*payment],
        OneOrMany::Many(payments) => payments,
    };
    let added = payments.len();
    for payment in payments {
        control.world.add_payment(payment)?;
    }
    Ok(Json(json!({ "added": added })))
}

/// Many payments of one scenario: references are `prefix` + number (8 digits), the provider's are the same with an `R` in front.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Series {
    #[serde(default)]
    client_id: String,
    prefix: String,
    #[serde(default)]
    first: u64,
    count: u64,
    expected_sen: i64,
    #[serde(default)]
    scenario: Scenario,
    #[serde(default)]
    seed: u64,
}

async fn add_series(State(control): Shared, Json(series): Json<Series>) -> Result<Json<Value>, SimError> {
    let mut rng = Rng::new(series.seed);
    for number in (series.first..).zip(0..series.count).map(|(number, _)| number) {
        let mut payment = scripted(series.scenario, series.expected_sen, &mut rng);
        payment.client_id.clone_from(&series.client_id);
        payment.partner_reference_no = format!("{}{number:08}", series.prefix);
        payment.reference_no = format!("R{}", payment.partner_reference_no);
        control.world.add_payment(payment)?;
    }
    Ok(Json(json!({ "added": series.count })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewScript {
    #[serde(default)]
    client_id: String,
    partner_reference_no: String,
    script: Vec<Answer>,
}

async fn set_script(State(control): Shared, Json(new): Json<NewScript>) -> Result<Json<Value>, SimError> {
    control.world.set_script(&new.client_id, &new.partner_reference_no, new.script)?;
    Ok(Json(json!({ "replaced": new.partner_reference_no })))
}

#[derive(Deserialize)]
struct BookFilter {
    /// One page only.
    partner_reference_no: Option<String>,
    #[serde(default)]
    client_id: String,
}

#[derive(Serialize)]
struct BookPage {
    taken_sen: i64,
    returned_sen: i64,
    refunded_more_than_once: Vec<String>,
    returned_beyond_taken: Vec<String>,
    entries: Vec<BookEntry>,
}

async fn book(State(control): Shared, Query(filter): Query<BookFilter>) -> Result<Response, SimError> {
    if let Some(partner_reference_no) = filter.partner_reference_no {
        let entry = control.world.book_entry(&filter.client_id, &partner_reference_no);
        return entry.map(|entry| Json(entry).into_response()).ok_or(SimError::PaymentUnknown { partner_reference_no });
    }
    let book = control.world.book();
    let references =
        |entries: Vec<&BookEntry>| entries.iter().map(|entry| entry.partner_reference_no.clone()).collect();
    let page = BookPage {
        taken_sen: book.taken_sen,
        returned_sen: book.returned_sen,
        refunded_more_than_once: references(book.refunded_more_than_once()),
        returned_beyond_taken: references(book.returned_beyond_taken()),
        entries: book.entries,
    };
    Ok(Json(page).into_response())
}

async fn stats(State(control): Shared) -> Json<Value> {
    let world = &control.world;
    let reuses: BTreeMap<&str, u64> = world
        .clients
        .iter()
        .map(|client| (client.client.client_id.as_str(), world.external_id_reuses(&client.client.client_id)))
        .collect();
    Json(json!({ "calls": world.call_counts(), "external_id_reuses": reuses }))
}

#[derive(Deserialize)]
struct ArrivalsCheck {
    client_id: String,
    per_second: u32,
    burst: u32,
    #[serde(default)]
    tolerance_percent: u32,
}

async fn check_arrivals(State(control): Shared, Query(check): Query<ArrivalsCheck>) -> Json<Value> {
    let budget = CallBudget { per_second: check.per_second, burst: check.burst };
    let calls = control.world.arrivals().iter().filter(|arrival| arrival.client_id == check.client_id).count();
    let max_excess = control.world.max_excess(&check.client_id, budget, check.tolerance_percent);
    Json(json!({ "calls": calls, "max_excess": max_excess }))
}

async fn arm_gate(State(control): Shared, Json(spec): Json<GateSpec>) -> Json<Value> {
    let gate = control.world.arm_gate(spec);
    let id = gate.id();
    lock(&control.gates).insert(id, Arc::new(gate));
    Json(json!({ "id": id }))
}

#[derive(Deserialize)]
struct GateWait {
    /// Wait so many milliseconds for the hits to come.
    #[serde(default)]
    wait_ms: u64,
    #[serde(default = "once")]
    times: u64,
}

const fn once() -> u64 {
    1
}

async fn see_gate(State(control): Shared, Path(id): Path<u64>, Query(wait): Query<GateWait>) -> Response {
    let Some(gate) = lock(&control.gates).get(&id).cloned() else { return no_such_gate(id) };
    let waited = tokio::select! {
        hits = tokio::time::timeout(Duration::from_millis(wait.wait_ms), gate.hit_times(wait.times)) => hits.ok(),
        () = control.world.stop.cancelled() => None,
    };
    Json(json!({ "id": id, "hits": waited.unwrap_or_else(|| gate.hits()) })).into_response()
}

async fn release_gate(State(control): Shared, Path(id): Path<u64>) -> Response {
    let Some(gate) = lock(&control.gates).remove(&id) else { return no_such_gate(id) };
    gate.open();
    Json(json!({ "released": id, "hits": gate.hits() })).into_response()
}

fn no_such_gate(id: u64) -> Response {
    (StatusCode::NOT_FOUND, Json(json!({ "error": format!("there is no gate {id}; arm one first") }))).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Weather {
    service: Service,
    #[serde(default)]
    fault: Option<Fault>,
}

async fn set_weather(State(control): Shared, Json(weather): Json<Weather>) -> StatusCode {
    control.world.set_weather(weather.service, weather.fault);
    StatusCode::NO_CONTENT
}

async fn expire_tokens(State(control): Shared) -> StatusCode {
    control.world.expire_tokens();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    secs: i64,
}

async fn advance(State(control): Shared, Json(advance): Json<Advance>) -> StatusCode {
    control.world.advance_scripts(advance.secs);
    StatusCode::NO_CONTENT
}

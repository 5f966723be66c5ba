//! The listener, the routes and the end: bounds on every request, and a shutdown that lets requests in flight end. Bounds on
//! connections are in `connections`.

use std::{io, net::SocketAddr, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::limit::RequestBodyLimitLayer;
use tracing::{Instrument as _, Span};

use super::{
    PROBLEM, Problem, WebParts, WebState, api,
    connections::{Reception, receive},
    counted, notify, probes, scrape,
};
use crate::telemetry::{metrics::ProcessMetrics, trace::TraceId};

/// How often histograms are folded; without it they grow until somebody scrapes.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Why HTTP is not served.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// The address cannot be had.
    #[error("cannot listen on {address}: {}", advice(.source))]
    Bind {
        /// What was asked for.
        address: SocketAddr,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
    /// The listener failed.
    #[error("the HTTP server ended by itself")]
    Serve(#[source] io::Error),
}

fn advice(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program listens there, perhaps another rekon; stop it or set [server] listen to a free port"
                .to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "this user may not; set [server] listen to a port of 1024 or above".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address; set [server] listen to one of its own, 127.0.0.1 or 0.0.0.0".to_owned()
        }
        _ => format!("{error}; set [server] listen to another address"),
    }
}

/// Takes the address. Port 0 takes a free one.
///
/// # Errors
/// The address is taken, forbidden, or not this machine's.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, WebError> {
    TcpListener::bind(address).await.map_err(|source| WebError::Bind { address, source })
}

/// Answers until `shutdown` is cancelled and the requests in flight have ended, or their time is over.
///
/// # Errors
/// The listener failed.
pub async fn serve(listener: TcpListener, parts: WebParts, shutdown: CancellationToken) -> Result<(), WebError> {
    let limits = parts.limits;
    let drain_timeout = limits.drain_timeout;
    let metrics = parts.metrics.clone();
    let state = WebState::new(parts);
    let everything = probing().into_iter().chain(notifying()).chain(api::table());
    let reception = Reception {
        routes: bounded(routes(everything).fallback(not_found), &state),
        hall: bounded(routes(probing()).fallback(full), &state),
        limits,
    };
    tokio::select! {
        ended = receive(listener, reception, shutdown.clone()) => ended.map_err(WebError::Serve),
        () = cut_off(&shutdown, drain_timeout) => {
            tracing::warn!(seconds = drain_timeout.as_secs(), "requests in flight did not end in time and are cut off");
            Ok(())
        }
        () = keep_up(metrics) => Ok(()),
    }
}

async fn cut_off(shutdown: &CancellationToken, drain_timeout: Duration) {
    shutdown.cancelled().await;
    tokio::time::sleep(drain_timeout).await;
}

async fn keep_up(metrics: ProcessMetrics) {
    let mut ticks = tokio::time::interval(UPKEEP_EVERY);
    loop {
        ticks.tick().await;
        metrics.upkeep();
    }
}

/// A path's template, its methods, and who answers.
pub(super) type Route = (&'static str, &'static [&'static str], MethodRouter<WebState>);

/// What is answered even when every place is taken.
fn probing() -> Vec<Route> {
    vec![
        ("/healthz", &["GET"], get(probes::healthz)),
        ("/readyz", &["GET"], get(probes::readyz)),
        ("/metrics", &["GET"], get(scrape::metrics)),
    ]
}

/// Where providers knock.
fn notifying() -> Vec<Route> {
    vec![
        ("/notify/doku/{account}", &["POST"], post(notify::doku)),
        ("/notify/doku/{account}/authorization/v1/access-token/b2b", &["POST"], post(notify::token)),
    ]
}

/// Everything that is answered: methods and templates of paths.
pub(super) fn requests() -> Vec<(&'static str, &'static str)> {
    let every = probing().into_iter().chain(notifying()).chain(api::table());
    every.flat_map(|(path, methods, _)| methods.iter().map(move |method| (*method, path))).collect()
}

fn routes(table: impl IntoIterator<Item = Route>) -> Router<WebState> {
    table.into_iter().fold(Router::new(), |router, (path, _, handlers)| router.route(path, handlers))
}

fn bounded(routes: Router<WebState>, state: &WebState) -> Router {
    let body_max = state.0.parts.limits.body_max;
    routes
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::disable())
        .layer(RequestBodyLimitLayer::new(body_max))
        .layer(middleware::from_fn_with_state(state.clone(), bounds))
        .layer(middleware::from_fn_with_state(state.clone(), counted::counted))
        .with_state(state.clone())
}

/// What everybody but a probe is told while every place is taken.
async fn full() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many connections; try again").again_after(1)
}

async fn not_found(request: Request) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at {}", request.uri().path()))
}

async fn wrong_method(request: Request) -> Problem {
    let detail = format!("{} does not answer {}", request.uri().path(), request.method());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

/// What is logged while a request is worked on: under its caller's trace, where it names one. Query strings and headers are not.
fn span_of(request: &Request) -> Span {
    let named = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
    let trace_id = named.and_then(TraceId::of_traceparent).unwrap_or_else(TraceId::new);
    tracing::info_span!("request", %trace_id, method = %request.method(), path = request.uri().path())
}

/// Ends a request that takes too long, and marks every answer as neither to be stored nor guessed at.
async fn bounds(State(state): State<WebState>, request: Request, next: Next) -> Response {
    let limits = &state.0.parts.limits;
    let span = span_of(&request);
    let answered = tokio::time::timeout(limits.request_timeout, next.run(request).instrument(span.clone())).await;
    let mut response = answered.unwrap_or_else(|_| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the answer took too long; try again").into_response()
    });
    let is_said = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == PROBLEM);
    if response.status() == StatusCode::PAYLOAD_TOO_LARGE && !is_said {
        let detail = format!("a request's body may have {} bytes", limits.body_max);
        response = Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail).into_response();
    }
    tracing::debug!(parent: &span, status = response.status().as_u16(), "answered");
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

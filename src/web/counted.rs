//! Counts every request by the template of its path: a raw path is the caller's word and has no end.

use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request, State},
    http::StatusCode,
    middleware::Next,
    response::Response,
};

use super::WebState;
use crate::telemetry::{
    catalogue::{OTHER_METHOD, UNROUTED},
    metrics,
};

/// Lets a request through and counts its answer.
pub(super) async fn counted(State(state): State<WebState>, request: Request, next: Next) -> Response {
    let (route, method) = state.named(&request);
    let begun = Instant::now();
    let response = next.run(request).await;
    metrics::http_request(route, method, class(response.status()), begun.elapsed());
    response
}

impl WebState {
    /// Route and method as the vocabulary names them.
    fn named(&self, request: &Request) -> (&'static str, &'static str) {
        let matched = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
        let is_it = |(method, route): &&(&str, &str)| *route == matched && *method == request.method().as_str();
        let known = self.0.parts.vocabulary.requests.iter().find(is_it);
        known.map_or((UNROUTED, OTHER_METHOD), |(method, route)| (route, method))
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        ..400 => "2xx",
        400..500 => "4xx",
        500.. => "5xx",
    }
}

//! `POST /notify/doku/{account}`: what the provider tells us unasked. Answered with `CONTINUE` once it is written down, and
//! whatever it says: the provider delivers again only what it could not hand over. The truth is asked for by the sweeper.

use axum::{
    body::to_bytes,
    extract::{Path, Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{Problem, WebState};
use crate::{
    domain::notification::{self, NotificationError},
    telemetry::metrics,
};

/// The documented answer; anything else is delivered again.
const CONTINUE: &str = "CONTINUE";

/// The longest body of a notification, in bytes: the documented values need some hundred.
const BODY_MAX: usize = 64 * 1024;

/// `POST /notify/doku/{account}`.
pub(super) async fn doku(State(state): State<WebState>, Path(account): Path<String>, request: Request) -> Response {
    match take(&state, "doku", &account, request).await {
        Ok(()) => ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], CONTINUE).into_response(),
        Err(problem) => problem.into_response(),
    }
}

async fn take(state: &WebState, provider: &str, account: &str, request: Request) -> Result<(), Problem> {
    let intake = &state.0.parts.intake;
    if !intake.door().knows(provider, account) {
        return Err(Problem::new(StatusCode::NOT_FOUND, format!("no account of {provider} has this name")));
    }
    let notification = read(request).await.inspect_err(|_| metrics::notification(account, "refused"))?;
    let unknown = || Problem::new(StatusCode::NOT_FOUND, format!("no account of {provider} has this name"));
    let arrival = intake.door().arrival(provider, account, notification).ok_or_else(unknown)?;
    intake.bring(arrival).await.map_err(|away| Problem::new(StatusCode::SERVICE_UNAVAILABLE, away.to_string()))?;
    Ok(())
}

async fn read(request: Request) -> Result<notification::Notification, Problem> {
    let (head, body) = request.into_parts();
    let content_type = match head.headers.get(header::CONTENT_TYPE).map(|value| value.to_str()) {
        None => None,
        Some(Ok(text)) => Some(text),
        Some(Err(_)) => return Err(refused(NotificationError::ContentType)),
    };
    let body = to_bytes(body, BODY_MAX).await.map_err(|_| {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a notification may have {BODY_MAX} bytes"))
    })?;
    notification::read(head.uri.query().unwrap_or_default(), content_type, &body).map_err(refused)
}

fn refused(error: NotificationError) -> Problem {
    let status = match error {
        NotificationError::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        NotificationError::Encoding
        | NotificationError::Conflict(_)
        | NotificationError::TooLong(_)
        | NotificationError::Reference
        | NotificationError::Json => StatusCode::BAD_REQUEST,
    };
    Problem::new(status, error.to_string())
}

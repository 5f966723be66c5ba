//! Errors as `application/problem+json` (RFC 9457). A problem says what the caller did and can do, never what is inside.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

/// The media type of a problem.
pub(super) const PROBLEM: &str = "application/problem+json";

/// An answer that is not what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    errors: Vec<Value>,
    retry_after_secs: Option<u32>,
}

impl Problem {
    /// A problem; `detail` is for a person and holds no secrets.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), errors: Vec::new(), retry_after_secs: None }
    }

    /// With what is wrong, item by item.
    pub(super) fn listing(self, errors: Vec<Value>) -> Self {
        Self { errors, ..self }
    }

    /// With the time after which the same request has a chance.
    pub(super) fn again_after(self, secs: u32) -> Self {
        Self { retry_after_secs: Some(secs), ..self }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let mut body =
            json!({"type": "about:blank", "title": title, "status": self.status.as_u16(), "detail": self.detail});
        if !self.errors.is_empty()
            && let Some(fields) = body.as_object_mut()
        {
            fields.insert("errors".to_owned(), self.errors.into());
        }
        let mut response = (self.status, [(header::CONTENT_TYPE, PROBLEM)], Json(body)).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"rekon\""));
        }
        if let Some(secs) = self.retry_after_secs {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(secs));
        }
        response
    }
}

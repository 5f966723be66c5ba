//! How an outcome leaves: as an answer, as somebody else's HTML, late, torn or never. Which outcome it is was decided before.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use futures::stream;
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, Cut};
use super::postman::Notice;
use super::script::{Fault, ResetAt};
use super::snap::{self, Refusal, Service};

/// What a gateway says when it, too, does not know.
const GATEWAY_PAGE: &str =
    "<html><head><title>Gateway</title></head><body><h1>The service is unavailable</h1></body></html>\n";
/// Time for the first half of a torn answer to reach the peer before the reset discards what it has not read.
const TEAR_AFTER: Duration = Duration::from_millis(20);

/// What goes over the wire.
#[derive(Debug)]
enum Wire {
    Json { http_status: u16, body: String, retry_after_secs: Option<u64> },
    Html { http_status: u16 },
    Hold { ms: u64 },
    Reset,
    Torn { body: String },
}

/// A call's outcome: how it leaves and how it is counted.
#[derive(Debug)]
pub(super) struct Outcome {
    wire: Wire,
    slow_ms: u64,
    /// The response code, or the name of the fault.
    pub(super) label: Cow<'static, str>,
    /// What the merchant is told beside the answer.
    pub(super) notice: Option<Box<Notice>>,
}

impl Outcome {
    /// An answer with this body.
    pub(super) fn answer(http_status: u16, label: impl Into<Cow<'static, str>>, body: String) -> Self {
        Self {
            wire: Wire::Json { http_status, body, retry_after_secs: None },
            slow_ms: 0,
            label: label.into(),
            notice: None,
        }
    }

    /// A refusal with SNAP's two-field body.
    pub(super) fn refused(service: Service, refusal: &Refusal) -> Self {
        let response_code = service.response_code(refusal.http_status, &refusal.case_code);
        let mut outcome = Self::coded(refusal.http_status, response_code, &refusal.message);
        if let Wire::Json { retry_after_secs, .. } = &mut outcome.wire {
            *retry_after_secs = refusal.retry_after_secs;
        }
        outcome
    }

    /// SNAP's two-field body with a given response code.
    pub(super) fn coded(http_status: u16, response_code: String, message: &str) -> Self {
        let mut body = String::with_capacity(96);
        body.push_str("{\"responseCode\":");
        snap::push_text(&mut body, &response_code);
        body.push_str(",\"responseMessage\":");
        snap::push_text(&mut body, message);
        body.push('}');
        Self::answer(http_status, response_code, body)
    }

    /// What a fault makes of an answer with this body.
    pub(super) fn faulted(service: Service, fault: &Fault, body: String) -> Self {
        let lost = |wire, label: &'static str| Self { wire, slow_ms: 0, label: label.into(), notice: None };
        match fault {
            Fault::TimeoutBefore { ms } => lost(Wire::Hold { ms: *ms }, "timeout_before"),
            Fault::TimeoutAfter { ms } => lost(Wire::Hold { ms: *ms }, "timeout_after"),
            Fault::Reset { at: ResetAt::BeforeHeaders } => lost(Wire::Reset, "reset_before_headers"),
            Fault::Reset { at: ResetAt::MidBody } => lost(Wire::Torn { body }, "reset_mid_body"),
            Fault::Html { http_status } => lost(Wire::Html { http_status: *http_status }, "html"),
            Fault::TruncatedJson => {
                let half = body.chars().take(body.chars().count() / 2).collect();
                Self::answer(200, "truncated_json", half)
            }
            Fault::Http { http_status, case_code, response_code, retry_after_secs } => {
                let by_rule = || service.response_code(*http_status, case_code);
                let response_code = response_code.clone().unwrap_or_else(by_rule);
                let mut outcome = Self::coded(*http_status, response_code, snap::message_of(*http_status, case_code));
                if let Wire::Json { retry_after_secs: header, .. } = &mut outcome.wire {
                    *header = *retry_after_secs;
                }
                outcome
            }
        }
    }

    /// The same outcome, so many milliseconds later.
    pub(super) fn slowed(self, slow_ms: u64) -> Self {
        Self { slow_ms, ..self }
    }

    /// The same outcome, with a notification beside it.
    pub(super) fn noticing(self, notice: Option<Box<Notice>>) -> Self {
        Self { notice, ..self }
    }

    /// Sends it, after `latency_ms`. A stopping simulator holds nobody.
    pub(super) async fn deliver(self, connection: &Connection, latency_ms: u64, stop: &CancellationToken) -> Response {
        pause(latency_ms + self.slow_ms, stop).await;
        match self.wire {
            Wire::Json { http_status, body, retry_after_secs } => {
                let mut response = response(http_status, "application/json", Body::from(body));
                if let Some(seconds) = retry_after_secs {
                    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
                }
                response
            }
            Wire::Html { http_status } => response(http_status, "text/html", Body::from(GATEWAY_PAGE)),
            Wire::Hold { ms } => {
                pause(ms, stop).await;
                connection.cut(Cut::Close);
                Response::default()
            }
            Wire::Reset => {
                connection.cut(Cut::Reset);
                Response::default()
            }
            Wire::Torn { body } => torn(body, connection.clone()),
        }
    }
}

async fn pause(ms: u64, stop: &CancellationToken) {
    if ms > 0 {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(ms)) => {}
            () = stop.cancelled() => {}
        }
    }
}

fn response(http_status: u16, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(http_status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// The whole head, half of the body that the head promised, then a reset.
fn torn(body: String, connection: Connection) -> Response {
    let promised = body.len();
    let mut half = Bytes::from(body);
    half.truncate(promised / 2);
    let parts = stream::unfold((Some(half), connection), |(half, connection)| async move {
        if let Some(half) = half {
            return Some((Ok(half), (None, connection)));
        }
        tokio::time::sleep(TEAR_AFTER).await;
        connection.cut(Cut::Reset);
        Some((Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)), (None, connection)))
    });
    let mut response = response(200, "application/json", Body::from_stream(parts));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(promised));
    response
}

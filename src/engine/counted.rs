//! What use-cases count: turns results of calls and settled groups into the catalogue's counters. Nothing is decided here.

use std::time::Duration;

use crate::{
    domain::fact::Answer,
    providers::{ByHandResult, Drift, Failure, QueryResult, RefundResult, TransportError},
    telemetry::metrics::{self, CallOutcome, Operation},
};

/// A query's end.
pub(crate) fn query(account: &str, result: &QueryResult, took: Duration) {
    // Without a token nothing was asked.
    if result.meta.call_id.is_some() {
        metrics::provider_call(
            account,
            Operation::Query,
            outcome(result.failure, result.meta.http_status, &result.answer),
            took,
        );
    }
    answer(account, &result.answer);
}

/// A refund call's end.
pub(crate) fn refund(account: &str, result: &RefundResult, took: Duration) {
    let unreadable = result.reply.response_code.is_none();
    let outcome = by_status(result.failure, result.meta.http_status, unreadable);
    if result.meta.call_id.is_some() {
        metrics::provider_call(account, Operation::Refund, outcome, took);
    }
    if result.meta.drift.iter().any(|drift| matches!(drift, Drift::UnknownRefundCode(_))) {
        metrics::unknown_code(account);
    }
}

/// The end of a call that ends a QR.
pub(crate) fn qr_cancel(account: &str, result: &ByHandResult, took: Duration) {
    let unreadable = result.reply.response_code.is_none();
    let outcome = by_status(result.failure, result.meta.http_status, unreadable);
    metrics::provider_call(account, Operation::Cancel, outcome, took);
}

fn answer(account: &str, answer: &Answer) {
    metrics::fact(account, answer.observation.as_str());
    for warning in &answer.warnings {
        metrics::parse_warning(account, warning.as_str());
    }
    if matches!(answer.doubt.as_deref(), Some("unknown_code" | "unknown_response_code")) {
        metrics::unknown_code(account);
    }
}

fn outcome(failure: Option<Failure>, http_status: Option<u16>, answer: &Answer) -> CallOutcome {
    let unreadable = matches!(answer.doubt.as_deref(), Some("unreadable" | "no_response_code"));
    by_status(failure, http_status, unreadable)
}

fn by_status(failure: Option<Failure>, http_status: Option<u16>, unreadable: bool) -> CallOutcome {
    match failure {
        Some(Failure::Transport(TransportError::Timeout)) => CallOutcome::Timeout,
        Some(Failure::Transport(_)) => CallOutcome::Transport,
        Some(Failure::ServerError) => CallOutcome::ServerError,
        Some(Failure::Unauthorized) => CallOutcome::Unauthorised,
        None if unreadable => CallOutcome::Unreadable,
        None => match http_status {
            Some(200..=299) => CallOutcome::Success,
            Some(429) => CallOutcome::Throttled,
            _ => CallOutcome::Refused,
        },
    }
}

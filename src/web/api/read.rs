//! What a request says, read strictly: paths, queries and words that are not what they must be are problems of their own,
//! with what to write instead.

use axum::{
    extract::{FromRequestParts, Path, Query},
    http::{StatusCode, request::Parts},
};
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;

use crate::{
    domain::money::Sen,
    web::{Problem, WebState},
};

/// The longest reason, in characters.
const REASON_MAX: usize = 1_000;

/// The names in a path.
pub(super) struct Named<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<WebState> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &WebState) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(named)) => Ok(Self(named)),
            Err(error) => Err(Problem::new(StatusCode::BAD_REQUEST, format!("the path: {}", error.body_text()))),
        }
    }
}

/// The filters in a query; unknown ones are refused, because a filter that is ignored shows too much.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<WebState> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &WebState) -> Result<Self, Problem> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(error) => Err(Problem::new(StatusCode::BAD_REQUEST, format!("the query: {}", error.body_text()))),
        }
    }
}

/// A text that Postgres can hold: a reference with a control character names nothing, and NUL not even that.
pub(super) fn plain(name: &str, text: Option<String>) -> Result<Option<String>, Problem> {
    match text {
        Some(text) if text.is_empty() || text.chars().any(char::is_control) => {
            Err(refused(format!("{name} is {text:?}: leave it out, or write text without control characters")))
        }
        other => Ok(other),
    }
}

/// One of some words.
pub(super) fn word<T>(
    name: &str,
    text: Option<&str>,
    known: &[&str],
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let unknown = || refused(format!("{name} is {text:?}: write one of {}", known.join(", ")));
    read(text).map(Some).ok_or_else(unknown)
}

/// A time with its offset.
pub(super) fn time(name: &str, text: Option<&str>) -> Result<Option<DateTime<Utc>>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let read = DateTime::parse_from_rfc3339(text).ok().map(|at| at.with_timezone(&Utc));
    let read = read.filter(|at| (1970..10_000).contains(&chrono::Datelike::year(at)));
    read.map(Some).ok_or_else(|| {
        refused(format!(
            "{name} is {text:?}: write a time with its offset, as 2026-11-19T14:05:09%2B07:00 (the + is %2B in a query)"
        ))
    })
}

/// Not what it must be.
pub(super) fn refused(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

/// An amount in rupiah.
pub(super) fn amount(name: &str, text: Option<&str>) -> Result<Option<Sen>, Problem> {
    let Some(text) = text else { return Ok(None) };
    // Twelve thousand to one reader and twelve to another: neither is guessed.
    let is_plain = text.split_once('.').is_none_or(|(_, decimals)| decimals.len() <= 2);
    let amount = Sen::parse(text).ok().filter(|amount| is_plain && amount.is_positive());
    amount.map(Some).ok_or_else(|| {
        unacceptable(format!("{name} is {text:?}: write rupiah above zero with at most two decimals, as 12000.00"))
    })
}

/// Why somebody does something.
pub(super) fn reason(name: &str, text: String) -> Result<String, Problem> {
    let is_text = !text.trim().is_empty() && !text.chars().any(|c| c.is_control() && c != '\n' && c != '\t');
    if is_text && text.chars().count() <= REASON_MAX {
        return Ok(text);
    }
    Err(unacceptable(format!("{name} must say something, in at most {REASON_MAX} characters")))
}

fn unacceptable(detail: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}

//! `POST /notify/doku/{account}`: what the provider tells us unasked, in the account's form, and the token that SNAP BI's form
//! wants first. Answered once it is written down, as that form has it. The truth is asked for by the sweeper.
//!
//! A wrong WORDS is answered as a right one: its formula stands on no page of DOKU, and the provider delivers again only what it
//! could not hand over. The other two signatures are documented: a wrong one is said, and written down all the same.

mod answer;

use axum::{
    body::to_bytes,
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, request::Parts},
    response::{IntoResponse, Response},
};

use super::{Problem, WebState};
use crate::{
    domain::notification::NotificationError,
    engine::ingest::{Away, Form, Letter, Objection},
    telemetry::metrics,
};
use answer::{NOTIFY, TOKEN, snap};

/// The provider of this door.
const DOKU: &str = "doku";

/// The longest body of a notification, in bytes: the documented values need some hundred.
const BODY_MAX: usize = 64 * 1024;

/// Why a notification was not taken.
#[derive(Debug)]
enum Trouble {
    /// No account has this name, or it wants no token.
    Unknown(Problem),
    /// Too long.
    Large,
    /// No notification.
    Refused(NotificationError),
    /// Written down, and nobody vouches for it.
    Unsigned(Objection),
    /// The database is not there.
    Away(Away),
}

impl From<Away> for Trouble {
    fn from(away: Away) -> Self {
        Self::Away(away)
    }
}

/// `POST /notify/doku/{account}`.
pub(super) async fn doku(State(state): State<WebState>, Path(account): Path<String>, request: Request) -> Response {
    let Some(form) = state.0.parts.intake.door().form(DOKU, &account) else {
        return unknown().into_response();
    };
    let taken = take(&state, &account, request).await;
    if matches!(taken, Err(Trouble::Large | Trouble::Refused(_))) {
        metrics::notification(&account, "refused");
    }
    match form {
        Form::Legacy | Form::Json => answer::plain(form, taken),
        Form::Snap => snap(NOTIFY, taken.map(|()| serde_json::Map::new())),
    }
}

/// `POST /notify/doku/{account}/authorization/v1/access-token/b2b`.
pub(super) async fn token(State(state): State<WebState>, Path(account): Path<String>, request: Request) -> Response {
    if state.0.parts.intake.door().form(DOKU, &account) != Some(Form::Snap) {
        return Problem::new(StatusCode::NOT_FOUND, "no account of doku with this name notifies by SNAP")
            .into_response();
    }
    snap(TOKEN, give(&state, &account, request).await)
}

async fn take(state: &WebState, account: &str, request: Request) -> Result<(), Trouble> {
    let intake = &state.0.parts.intake;
    let (head, body) = opened(request).await?;
    let now = intake.now().await?;
    let header = |name: &str| text(&head.headers, name);
    let arrival = intake.door().arrival(DOKU, account, &letter(&head, &header, &body), now);
    let arrival = arrival.ok_or_else(|| Trouble::Unknown(unknown()))?.map_err(Trouble::Refused)?;
    let objection = arrival.objection();
    intake.bring(arrival).await?;
    objection.map_or(Ok(()), |why| Err(Trouble::Unsigned(why)))
}

async fn give(
    state: &WebState,
    account: &str,
    request: Request,
) -> Result<serde_json::Map<String, serde_json::Value>, Trouble> {
    let intake = &state.0.parts.intake;
    let (head, body) = opened(request).await?;
    let now = intake.now().await?;
    let header = |name: &str| text(&head.headers, name);
    let token = intake.door().token(DOKU, account, &letter(&head, &header, &body), now);
    let token = token.ok_or_else(|| Trouble::Unknown(unknown()))?.map_err(Trouble::Unsigned)?;
    Ok(answer::given(&token))
}

async fn opened(request: Request) -> Result<(Parts, Vec<u8>), Trouble> {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, BODY_MAX).await.map_err(|_| Trouble::Large)?;
    if head.headers.get("content-type").is_some_and(|kind| kind.to_str().is_err()) {
        return Err(Trouble::Refused(NotificationError::ContentType));
    }
    Ok((head, body.to_vec()))
}

fn letter<'a>(head: &'a Parts, header: &'a dyn Fn(&str) -> Option<&'a str>, body: &'a [u8]) -> Letter<'a> {
    Letter { path: head.uri.path(), query: head.uri.query().unwrap_or_default(), header, body }
}

/// A header that comes once and is text.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then(|| first.to_str().ok()).flatten()
}

fn unknown() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("no account of {DOKU} has this name"))
}

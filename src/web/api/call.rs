//! Who asks and what he sends. A token is proved before anything else is looked at; a body is read within its bound; a
//! request that acts runs to its end even where the caller hangs up, and under an Idempotency-Key it acts once.

use axum::{
    body::{Bytes, to_bytes},
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, HeaderName, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::{GRACE, fault};
use crate::{
    domain::person::{Actor, Scope},
    engine::{
        once::{self, Turn},
        people,
    },
    store::{Store, idempotency::KeptAnswer},
    web::{Problem, WebState},
};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const KEY_MAX: usize = 255;

/// Somebody whose token was proved, and the database.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// Who.
    pub(super) actor: Actor,
    /// The database.
    pub(super) store: Store,
}

impl FromRequestParts<WebState> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &WebState) -> Result<Self, Problem> {
        let token = bearer(&parts.headers)?;
        let away = || {
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the database is not connected yet; try again");
            problem.again_after(1)
        };
        let store = state.store().ok_or_else(away)?;
        let actor = people::authenticate(&store, &token).await?;
        Ok(Self { actor, store })
    }
}

impl Caller {
    /// Refuses whoever lacks a scope.
    pub(super) fn require(&self, scope: Scope) -> Result<(), Problem> {
        Ok(people::require(&self.actor, scope)?)
    }
}

fn bearer(headers: &HeaderMap) -> Result<SecretString, Problem> {
    let unproved = |detail: &str| Problem::new(StatusCode::UNAUTHORIZED, detail);
    let value = headers.get(header::AUTHORIZATION).ok_or_else(|| {
        unproved("send `Authorization: Bearer <token>`; `rekon tokens create` makes one and shows it once")
    })?;
    let token = value.to_str().ok().and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    token
        .map(SecretString::from)
        .ok_or_else(|| unproved("the Authorization header is not `Bearer <token>`: write it so"))
}

/// A request that acts: what is asked, and its body.
#[derive(Debug)]
pub(super) struct Call {
    what: String,
    key: Option<String>,
    body: Bytes,
}

impl FromRequest<WebState> for Call {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &WebState) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let max = state.0.parts.api.limits.body_max;
        let too_large =
            || Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a request's body may have {max} bytes"));
        let body = to_bytes(body, max).await.map_err(|_| too_large())?;
        if !body.is_empty() && !is_json(&parts.headers) {
            let detail = "the body is JSON: send it with `Content-Type: application/json`";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        let what = format!("{} {}", parts.method, parts.uri.path());
        Ok(Self { what, key: key(&parts.headers)?, body })
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut keys = headers.get_all(KEY).iter();
    let Some(value) = keys.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| (1..=KEY_MAX).contains(&text.len()));
    match text.filter(|_| keys.next().is_none()) {
        Some(text) => Ok(Some(text.to_owned())),
        None => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            format!("Idempotency-Key is one value of 1 to {KEY_MAX} visible ASCII characters"),
        )),
    }
}

/// What a request that acts answers where it succeeds.
#[derive(Debug)]
pub(super) struct Done {
    status: StatusCode,
    location: Option<String>,
    body: String,
}

impl Done {
    /// An answer with a document.
    pub(super) fn new(status: StatusCode, body: &impl Serialize) -> Result<Self, Problem> {
        let body = serde_json::to_string(body).map_err(|error| fault::internal(&error))?;
        Ok(Self { status, location: None, body })
    }

    /// Where the new thing is.
    pub(super) fn at(self, location: String) -> Self {
        Self { location: Some(location), ..self }
    }

    fn kept(&self) -> KeptAnswer {
        KeptAnswer { status: self.status.as_u16(), location: self.location.clone(), body: self.body.clone() }
    }

    fn again(kept: KeptAnswer) -> Response {
        let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
        let done = Self { status, location: kept.location, body: kept.body };
        ([(REPLAYED, "true")], done).into_response()
    }
}

impl IntoResponse for Done {
    fn into_response(self) -> Response {
        let kind = [(header::CONTENT_TYPE, "application/json")];
        let location = self.location.map(|location| [(header::LOCATION, location)]);
        match location {
            Some(location) => (self.status, kind, location, self.body).into_response(),
            None => (self.status, kind, self.body).into_response(),
        }
    }
}

impl Call {
    /// The body as a document.
    pub(super) fn document<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Problem> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("the body: {error}")))
    }

    /// The same where nothing may be sent as well.
    pub(super) fn optional_document<'a, T: Deserialize<'a> + Default>(&'a self) -> Result<T, Problem> {
        if self.body.is_empty() { Ok(T::default()) } else { self.document() }
    }

    /// The first character of the body that is no blank.
    pub(super) fn begins_with(&self, byte: u8) -> bool {
        self.body.iter().find(|b| !b.is_ascii_whitespace()) == Some(&byte)
    }

    /// Acts: once under an Idempotency-Key, and to the end even where the caller goes away.
    pub(super) async fn act(
        self,
        state: WebState,
        caller: Caller,
        work: impl Future<Output = Result<Done, Problem>> + Send + 'static,
    ) -> Result<Response, Problem> {
        let acting = tokio::spawn(async move {
            let Some(key) = &self.key else { return Ok(work.await?.into_response()) };
            let Caller { actor, store } = caller;
            let request = once::Request { person: &actor.name, key, what: &self.what, body: &self.body };
            let patience = state.0.parts.limits.request_timeout.saturating_add(GRACE);
            let claim = match once::claim(&store, request, patience).await? {
                Turn::Ours(claim) => claim,
                Turn::Done(kept) => return Ok(Done::again(kept)),
                Turn::UnderWay => {
                    let detail = "the same request is being worked on; try again for its answer";
                    return Err(Problem::new(StatusCode::CONFLICT, detail).again_after(1));
                }
                Turn::Other => {
                    let detail = "this Idempotency-Key belongs to another request: use a new key for a new request";
                    return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
                }
            };
            match work.await {
                Ok(done) => {
                    if let Err(error) = claim.keep(&store, &done.kept()).await {
                        tracing::warn!(%error, "an answer could not be kept under its idempotency key");
                    }
                    Ok(done.into_response())
                }
                Err(problem) => {
                    if let Err(error) = claim.give_up(&store).await {
                        tracing::warn!(%error, "an idempotency key could not be given back; it is free a little later");
                    }
                    Err(problem)
                }
            }
        });
        acting.await.unwrap_or_else(|error| Err(fault::internal(&error)))
    }
}

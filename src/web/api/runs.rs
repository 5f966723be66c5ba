//! Runs: what the calendar, people and programs had done, and one more on demand. How accounts stand, beside it.

use axum::{Json, extract::State, http::StatusCode, response::Response};
use chrono::NaiveDate;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    call::{Call, Caller, Done},
    page::{Page, Slice},
    read::{Asked, Named, plain, word},
};
use crate::{
    domain::{day::BusinessDay, person::Scope},
    engine::{
        health,
        reconcile::{self, Days, Request},
    },
    store::reads::runs::{RunFilter, RunSeen},
    web::{Problem, WebState},
};

const LIST: &str = "runs";
const STATES: [&str; 5] = ["queued", "running", "done", "failed", "incomplete"];

/// Which runs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    job: Option<String>,
    state: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// `GET /api/v1/runs`: newest first.
pub(super) async fn list(
    State(state): State<WebState>,
    caller: Caller,
    Asked(filter): Asked<Filter>,
) -> Result<Json<Page<RunSeen>>, Problem> {
    caller.require(Scope::TransactionsRead)?;
    let limits = &state.0.parts.api.limits;
    let slice = Slice::read(LIST, filter.limit.as_deref(), filter.cursor.as_deref(), limits)?;
    let known = |text: &str| STATES.contains(&text).then(|| text.to_owned());
    let filter = RunFilter {
        job: plain("job", filter.job)?,
        state: word("state", filter.state.as_deref(), &STATES, known)?,
        after: slice.after,
        limit: slice.fetch(),
    };
    let rows = caller.store.list_runs(&filter).await?;
    Ok(Json(slice.page(LIST, rows, |run| run.id)))
}

/// `GET /api/v1/runs/{id}`.
pub(super) async fn show(caller: Caller, Named(id): Named<i64>) -> Result<Json<RunSeen>, Problem> {
    caller.require(Scope::TransactionsRead)?;
    let run = caller.store.find_run(id).await?;
    let missing = || Problem::new(StatusCode::NOT_FOUND, format!("no run {id}: GET /api/v1/runs lists them"));
    run.map(Json).ok_or_else(missing)
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    date: Option<String>,
    from: Option<String>,
    to: Option<String>,
    #[serde(default)]
    accounts: Vec<String>,
}

/// `POST /api/v1/runs`: a reconciliation, by the daemon that next looks at the command bus.
pub(super) async fn create(State(state): State<WebState>, caller: Caller, call: Call) -> Result<Response, Problem> {
    caller.require(Scope::RunsWrite)?;
    let wish: Wish = call.optional_document()?;
    let days = days(&wish)?;
    let (own, by) = (state.clone(), caller.clone());
    call.act(state, caller, async move {
        let api = &own.0.parts.api;
        let request = Request { days, accounts: wish.accounts, fresh: api.fresh, requested_by: by.actor.name.clone() };
        let run = reconcile::enqueue(&by.store, &api.bus, &api.rules.accounts, &request).await?;
        let seen = by.store.find_run(run).await?;
        Ok(Done::new(StatusCode::ACCEPTED, &seen)?.at(format!("/api/v1/runs/{run}")))
    })
    .await
}

fn days(wish: &Wish) -> Result<Days, Problem> {
    let day = |name: &str, text: &Option<String>| match text {
        None => Ok(None),
        Some(text) => match text.parse::<NaiveDate>() {
            Ok(day) if (2000..3000).contains(&chrono::Datelike::year(&day)) => Ok(Some(BusinessDay::from(day))),
            Ok(_) | Err(_) => Err(refused(format!("{name} is {text:?}: write a day in WIB, as 2026-11-19"))),
        },
    };
    match (day("date", &wish.date)?, day("from", &wish.from)?, day("to", &wish.to)?) {
        (None, None, None) => Ok(Days::YesterdayAndUnsettled),
        (Some(day), None, None) => Ok(Days::Span { first: day, last: day }),
        (None, Some(first), Some(last)) if first <= last => Ok(Days::Span { first, last }),
        _ => Err(refused("write date, or from and to in that order, or nothing for yesterday and what is open".into())),
    }
}

fn refused(detail: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}

/// `GET /api/v1/accounts`: how each account stands.
pub(super) async fn accounts(State(state): State<WebState>, caller: Caller) -> Result<Json<Value>, Problem> {
    caller.require(Scope::TransactionsRead)?;
    let items = health::accounts(&caller.store, &state.0.parts.api.accounts).await?;
    Ok(Json(json!({ "items": items })))
}

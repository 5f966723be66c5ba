//! Refunds: what they are, and what people say about them. Nothing leaves here; the database holds the four eyes.

use axum::{Json, extract::State, http::StatusCode, response::Response};
use serde::Deserialize;

use super::{
    call::{Call, Caller, Done},
    page::{Page, Slice},
    read::{Asked, Named, amount, plain, reason, word},
    transactions,
};
use crate::{
    domain::{
        person::Scope,
        refund::{Channel, RefundState},
        state::Flag,
    },
    engine::approvals::{self, Which, Wish},
    store::reads::{RefundFilter, RefundRow},
    web::{Problem, WebState},
};

const LIST: &str = "refunds";

/// Which refunds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    account: Option<String>,
    state: Option<String>,
    channel: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// `GET /api/v1/refunds`: newest first.
pub(super) async fn list(
    State(state): State<WebState>,
    caller: Caller,
    Asked(filter): Asked<Filter>,
) -> Result<Json<Page<RefundRow>>, Problem> {
    caller.require(Scope::TransactionsRead)?;
    let limits = &state.0.parts.api.limits;
    let slice = Slice::read(LIST, filter.limit.as_deref(), filter.cursor.as_deref(), limits)?;
    let states = RefundState::ALL.map(RefundState::as_str);
    let channels = Channel::ALL.map(Channel::as_str);
    let filter = RefundFilter {
        state: word("state", filter.state.as_deref(), &states, RefundState::from_word)?,
        account: plain("account", filter.account)?,
        channel: word("channel", filter.channel.as_deref(), &channels, Channel::from_word)?,
        after: slice.after,
        limit: slice.fetch(),
    };
    let rows = caller.store.list_refunds(&filter).await?;
    Ok(Json(slice.page(LIST, rows, |row| row.refund_id)))
}

/// `GET /api/v1/refunds/{id}`.
pub(super) async fn show(caller: Caller, Named(id): Named<i64>) -> Result<Json<RefundRow>, Problem> {
    caller.require(Scope::TransactionsRead)?;
    Ok(Json(find(&caller, id).await?))
}

async fn find(caller: &Caller, id: i64) -> Result<RefundRow, Problem> {
    // No refund's number is empty: this finds by id alone.
    let found = caller.store.find_refunds("", Some(id)).await?.pop();
    found.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, format!("no refund {id}: GET /api/v1/refunds lists them")))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Proposal {
    account: String,
    partner_reference_no: String,
    cause: Option<String>,
    amount: Option<String>,
    reason: String,
}

/// `POST /api/v1/refunds`: proposes one; somebody else approves it.
pub(super) async fn propose(State(state): State<WebState>, caller: Caller, call: Call) -> Result<Response, Problem> {
    caller.require(Scope::RefundsPropose)?;
    let proposal: Proposal = call.document()?;
    let causes: Vec<&str> = Flag::ALL.into_iter().filter(|flag| flag.is_cause()).map(Flag::as_str).collect();
    let cause = |word: &str| Flag::from_word(word).filter(|flag| flag.is_cause());
    let wish = Wish {
        cause: word("cause", proposal.cause.as_deref(), &causes, cause)?,
        amount: amount("amount", proposal.amount.as_deref())?,
        reason: reason("reason", proposal.reason)?,
    };
    let row = transactions::find(&caller, &proposal.account, &proposal.partner_reference_no).await?;
    let (own, by) = (state.clone(), caller.clone());
    call.act(state, caller, async move {
        let reference = format!("{}/{}", row.account, row.partner_reference_no);
        let rulebook = &own.0.parts.api.rulebook;
        let refund = approvals::propose(&by.store, rulebook, &by.actor, &reference, &wish).await?;
        Ok(Done::new(StatusCode::CREATED, &refund)?.at(format!("/api/v1/refunds/{}", refund.refund_id)))
    })
    .await
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    note: Option<String>,
}

/// `POST /api/v1/refunds/{id}/approve`: by somebody who did not propose it.
pub(super) async fn approve(
    State(state): State<WebState>,
    caller: Caller,
    Named(id): Named<i64>,
    call: Call,
) -> Result<Response, Problem> {
    caller.require(Scope::RefundsApprove)?;
    let Note { note } = call.optional_document()?;
    let note = note.map(|note| reason("note", note)).transpose()?;
    find(&caller, id).await?;
    let (own, by) = (state.clone(), caller.clone());
    call.act(state, caller, async move {
        let rulebook = &own.0.parts.api.rulebook;
        let refund = approvals::approve(&by.store, rulebook, &by.actor, Which::Id(id), note.as_deref()).await?;
        Done::new(StatusCode::OK, &refund)
    })
    .await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Denial {
    reason: String,
}

/// `POST /api/v1/refunds/{id}/deny`: by a checker, or by who proposed it.
pub(super) async fn deny(
    State(state): State<WebState>,
    caller: Caller,
    Named(id): Named<i64>,
    call: Call,
) -> Result<Response, Problem> {
    if !caller.actor.may(Scope::RefundsPropose) {
        caller.require(Scope::RefundsApprove)?;
    }
    let own = find(&caller, id).await?.proposed_by == caller.actor.name;
    caller.require(if own { Scope::RefundsPropose } else { Scope::RefundsApprove })?;
    let denial: Denial = call.document()?;
    let why = reason("reason", denial.reason)?;
    let (own, by) = (state.clone(), caller.clone());
    call.act(state, caller, async move {
        let rulebook = &own.0.parts.api.rulebook;
        let refund = approvals::deny(&by.store, rulebook, &by.actor, Which::Id(id), &why).await?;
        Done::new(StatusCode::OK, &refund)
    })
    .await
}

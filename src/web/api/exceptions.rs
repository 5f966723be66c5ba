//! What waits for somebody, who looks after it, and what people decide about it.

use axum::{Json, extract::State, http::StatusCode, response::Response};
use serde::Deserialize;
use serde_json::json;

use super::{
    call::{Call, Caller, Done},
    page::{Page, Slice},
    read::{Asked, Named, amount, plain, reason, word},
    transactions,
};
use crate::{
    domain::{
        person::Scope,
        resolution::{About, ResolutionKind},
        state::Flag,
    },
    engine::{
        control::{self, Decided},
        lookup::{self, ExceptionRow},
    },
    store::reads::TransactionFilter,
    web::{Problem, WebState},
};

const LIST: &str = "exceptions";

/// Which exceptions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    account: Option<String>,
    flag: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// `GET /api/v1/exceptions`: rows that are held, in review or have an open flag, newest first.
pub(super) async fn list(
    State(state): State<WebState>,
    caller: Caller,
    Asked(filter): Asked<Filter>,
) -> Result<Json<Page<ExceptionRow>>, Problem> {
    caller.require(Scope::TransactionsRead)?;
    let limits = &state.0.parts.api.limits;
    let slice = Slice::read(LIST, filter.limit.as_deref(), filter.cursor.as_deref(), limits)?;
    let flag = flag(filter.flag.as_deref())?;
    let filter = TransactionFilter {
        account: plain("account", filter.account)?,
        flag: flag.map(|flag| flag.as_str().to_owned()),
        exceptions_only: true,
        after: slice.after,
        limit: slice.fetch(),
        ..TransactionFilter::default()
    };
    let rows = lookup::exceptions(&caller.store, &filter).await?;
    Ok(Json(slice.page(LIST, rows, |exception| exception.row.id)))
}

fn flag(text: Option<&str>) -> Result<Option<Flag>, Problem> {
    word("flag", text, &Flag::ALL.map(Flag::as_str), Flag::from_word)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Assignment {
    to: Option<String>,
    note: Option<String>,
}

/// `POST /api/v1/exceptions/{account}/{ref}/assign`: to somebody, or with `null` to nobody.
pub(super) async fn assign(
    State(state): State<WebState>,
    caller: Caller,
    Named((account, reference)): Named<(String, String)>,
    call: Call,
) -> Result<Response, Problem> {
    caller.require(Scope::ExceptionsWrite)?;
    let Assignment { to, note } = call.document()?;
    let to = plain("to", to)?;
    let note = note.map(|note| reason("note", note)).transpose()?;
    let row = transactions::find(&caller, &account, &reference).await?;
    let by = caller.clone();
    call.act(state, caller, async move {
        let reference = format!("{}/{}", row.account, row.partner_reference_no);
        control::assign(&by.store, &by.actor, &reference, to.as_deref(), note.as_deref()).await?;
        let done = json!({
            "account": row.account, "partner_reference_no": row.partner_reference_no, "assignee": to,
        });
        Done::new(StatusCode::OK, &done)
    })
    .await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Decision {
    with: String,
    flag: Option<String>,
    refund: Option<i64>,
    amount: Option<String>,
    reason: String,
}

/// `POST /api/v1/exceptions/{account}/{ref}/resolve`: what moves money waits until a second person says the same.
pub(super) async fn resolve(
    State(state): State<WebState>,
    caller: Caller,
    Named((account, reference)): Named<(String, String)>,
    call: Call,
) -> Result<Response, Problem> {
    caller.require(Scope::ExceptionsWrite)?;
    let decision: Decision = call.document()?;
    let kinds = ResolutionKind::ALL.map(ResolutionKind::as_str);
    let kind = word("with", Some(&decision.with), &kinds, ResolutionKind::from_word)?;
    let decided = Decided {
        kind: kind.unwrap_or(ResolutionKind::AskAgain),
        about: About {
            flag: flag(decision.flag.as_deref())?,
            refund_id: decision.refund,
            amount: amount("amount", decision.amount.as_deref())?,
        },
        reason: reason("reason", decision.reason)?,
    };
    let row = transactions::find(&caller, &account, &reference).await?;
    let (own, by) = (state.clone(), caller.clone());
    call.act(state, caller, async move {
        let reference = format!("{}/{}", row.account, row.partner_reference_no);
        let rulebook = &own.0.parts.api.rulebook;
        let said = control::resolve(&by.store, rulebook, &by.actor, &reference, &decided).await?;
        // Accepted: it waits for the second person.
        let status = if said.effective { StatusCode::OK } else { StatusCode::ACCEPTED };
        Done::new(status, &said)
    })
    .await
}

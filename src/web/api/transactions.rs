//! Expected payments and what became of them.

use axum::{Json, extract::State, http::StatusCode, response::Response};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    call::{Call, Caller, Done},
    page::{Page, Slice},
    read::{Asked, Named, plain, time, word},
};
use crate::{
    domain::{
        person::Scope,
        state::{Flag, State as LedgerState},
    },
    engine::{
        EngineError,
        accept::{self, AcceptError, BadItem, Expected},
        lookup,
    },
    store::reads::{TransactionFilter, TransactionRow},
    web::{Problem, WebState},
};

const LIST: &str = "transactions";

/// `POST /api/v1/transactions`: one payment or several; all or none.
pub(super) async fn create(State(state): State<WebState>, caller: Caller, call: Call) -> Result<Response, Problem> {
    caller.require(Scope::TransactionsWrite)?;
    let items = items(&call, state.0.parts.api.limits.batch_max)?;
    let (own, store) = (state.clone(), caller.store.clone());
    call.act(state, caller, async move {
        let accepted = accept::accept(&store, &own.0.parts.api.rules, &items).await?;
        let status = if accepted.created > 0 { StatusCode::CREATED } else { StatusCode::OK };
        let done = Done::new(status, &accepted)?;
        Ok(match accepted.transactions.as_slice() {
            [one] if accepted.created == 1 => done.at(place(one)),
            _ => done,
        })
    })
    .await
}

/// One object or an array of them.
fn items(call: &Call, max: usize) -> Result<Vec<Expected>, Problem> {
    if !call.begins_with(b'[') {
        return Ok(vec![call.document()?]);
    }
    // Counted before they are read: a long body of empty objects must not fill the memory.
    let written: Vec<&RawValue> = call.document()?;
    if written.is_empty() || written.len() > max {
        let detail = format!("{} payments in one request: send 1 to {max}", written.len());
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    let mut bad = Vec::new();
    let mut items = Vec::with_capacity(written.len());
    for (index, text) in written.into_iter().enumerate() {
        match serde_json::from_str(text.get()) {
            Ok(item) => items.push(item),
            Err(error) => bad.push(BadItem { index, reason: error.to_string() }),
        }
    }
    if bad.is_empty() { Ok(items) } else { Err(AcceptError::Bad(bad).into()) }
}

/// The path of a row.
fn place(row: &TransactionRow) -> String {
    format!("/api/v1/transactions/{}/{}", escaped(&row.account), escaped(&row.partner_reference_no))
}

/// Everything but unreserved characters as `%XX`.
fn escaped(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let escape = |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(escape).collect()
}

/// Which rows.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    account: Option<String>,
    state: Option<String>,
    flag: Option<String>,
    partner_reference_no: Option<String>,
    created_from: Option<String>,
    created_to: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// `GET /api/v1/transactions`: newest first.
pub(super) async fn list(
    State(state): State<WebState>,
    caller: Caller,
    Asked(filter): Asked<Filter>,
) -> Result<Json<Page<TransactionRow>>, Problem> {
    caller.require(Scope::TransactionsRead)?;
    let limits = &state.0.parts.api.limits;
    let slice = Slice::read(LIST, filter.limit.as_deref(), filter.cursor.as_deref(), limits)?;
    let states = LedgerState::ALL.map(LedgerState::as_str);
    let flags = Flag::ALL.map(Flag::as_str);
    let flag = word("flag", filter.flag.as_deref(), &flags, Flag::from_word)?;
    let filter = TransactionFilter {
        state: word("state", filter.state.as_deref(), &states, LedgerState::from_word)?,
        flag: flag.map(|flag| flag.as_str().to_owned()),
        account: plain("account", filter.account)?,
        partner_reference_no: plain("partner_reference_no", filter.partner_reference_no)?,
        created_from: time("created_from", filter.created_from.as_deref())?,
        created_to: time("created_to", filter.created_to.as_deref())?,
        after: slice.after,
        limit: slice.fetch(),
        ..TransactionFilter::default()
    };
    let rows = caller.store.list_transactions(&filter).await?;
    Ok(Json(slice.page(LIST, rows, |row| row.id)))
}

/// `GET /api/v1/transactions/{ref}`: the one row with this reference, whatever its account.
pub(super) async fn by_reference(
    caller: Caller,
    Named(reference): Named<String>,
) -> Result<Json<TransactionRow>, Problem> {
    caller.require(Scope::TransactionsRead)?;
    check_reference(&reference)?;
    let mut rows = caller.store.find_transactions(&reference, None).await?;
    match (rows.pop(), rows.as_slice()) {
        (Some(row), []) => Ok(Json(row)),
        (None, _) => Err(missing(&reference)),
        (Some(last), others) => {
            let accounts: Vec<&str> = others.iter().chain([&last]).map(|row| row.account.as_str()).collect();
            let detail = format!(
                "{reference:?} stands on several accounts ({}): ask for /api/v1/transactions/ACCOUNT/REF",
                accounts.join(", ")
            );
            Err(Problem::new(StatusCode::CONFLICT, detail))
        }
    }
}

/// `GET /api/v1/transactions/{account}/{ref}`.
pub(super) async fn show(
    caller: Caller,
    Named((account, reference)): Named<(String, String)>,
) -> Result<Json<TransactionRow>, Problem> {
    caller.require(Scope::TransactionsRead)?;
    Ok(Json(find(&caller, &account, &reference).await?))
}

/// `POST /api/v1/transactions/{account}/{ref}/recheck`: ask before everything else of the account. The answer comes by the
/// row, a moment later; the budget and the breaker hold as always.
pub(super) async fn recheck(
    State(state): State<WebState>,
    caller: Caller,
    Named((account, reference)): Named<(String, String)>,
    call: Call,
) -> Result<Response, Problem> {
    caller.require(Scope::TransactionsWrite)?;
    let row = find(&caller, &account, &reference).await?;
    if let Some(why) = lookup::unaskable(&row) {
        return Err(Problem::new(StatusCode::CONFLICT, why));
    }
    let store = caller.store.clone();
    call.act(state, caller, async move {
        store.pull(&row.account, &[row.id]).await?;
        let mut rows = store.find_transactions(&row.partner_reference_no, Some(&row.account)).await?;
        let row = rows.pop().ok_or_else(|| missing(&reference))?;
        Done::new(StatusCode::ACCEPTED, &row)
    })
    .await
}

/// The row with this account and reference, and no other.
pub(super) async fn find(caller: &Caller, account: &str, reference: &str) -> Result<TransactionRow, Problem> {
    check_reference(account)?;
    check_reference(reference)?;
    let mut rows = caller.store.find_transactions(reference, Some(account)).await?;
    rows.pop().ok_or_else(|| missing(&format!("{account}/{reference}")))
}

fn check_reference(text: &str) -> Result<(), Problem> {
    if text.chars().any(char::is_control) { Err(missing(text)) } else { Ok(()) }
}

fn missing(reference: &str) -> Problem {
    EngineError::NotFound(reference.to_owned()).into()
}

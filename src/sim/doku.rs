//! DOKU's QRIS SNAP API (token 73, query 51, refund 78), as its documentation prints it: paths, wire types and padding
//! included. What is true stands in `world`; this room only reads requests and spells answers.

mod query;
mod refund;

use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use axum::routing::post;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::client::ClientState;
use super::connection::Connection;
use super::door::{Call, X_TIMESTAMP, text, text_or_number};
use super::gate::GatePoint;
use super::reply::Outcome;
use super::script::{AmountStyle, Fault};
use super::snap::{self, Refusal, Service, push_text};
use super::world::World;

const TOKEN_PATH: &str = "/authorization/v1/access-token/b2b";
const QUERY_PATH: &str = "/snap-adapter/b2b/v1.0/qr/qr-mpm-query";
const REFUND_PATH: &str = "/snap-adapter/b2b/v1.0/qr/qr-mpm-refund";

/// DOKU's paths.
pub(super) fn routes() -> Router<Arc<World>> {
    Router::new().route(TOKEN_PATH, post(token)).route(QUERY_PATH, post(query)).route(REFUND_PATH, post(refund))
}

async fn token(
    State(world): State<Arc<World>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: Request,
) -> Response {
    let call = Call::receive(&world, Service::Token, request).await;
    call.note_arrival(&world, "");
    if let Err(outcome) = fault_of_the_day(&world, &call) {
        return finish(&world, &connection, &call, None, outcome).await;
    }
    let admitted = call.admit_token(&world).and_then(|index| check_grant(call.body()).map(|()| index));
    let index = match admitted {
        Ok(index) => index,
        Err(refusal) => return refuse(&world, &connection, &call, &refusal).await,
    };
    world.gates.pass(GatePoint::BeforeEffect, Service::Token, "").await;
    let outcome = token_outcome(&world, index);
    world.gates.pass(GatePoint::AfterEffect, Service::Token, "").await;
    finish(&world, &connection, &call, Some(index), outcome).await
}

async fn query(
    State(world): State<Arc<World>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: Request,
) -> Response {
    let call = Call::receive(&world, Service::Query, request).await;
    if let Err(outcome) = fault_of_the_day(&world, &call) {
        call.note_arrival(&world, "");
        return finish(&world, &connection, &call, None, outcome).await;
    }
    let admitted =
        call.admit(&world).and_then(|(index, client)| Ok((index, client, query::Asked::try_new(call.body(), client)?)));
    let (index, client, asked) = match admitted {
        Ok(admitted) => admitted,
        Err(refusal) => {
            call.note_arrival(&world, "");
            return refuse(&world, &connection, &call, &refusal).await;
        }
    };
    call.note_arrival(&world, &asked.partner_reference_no);
    world.gates.pass(GatePoint::BeforeEffect, Service::Query, &asked.partner_reference_no).await;
    let outcome = query::outcome(&world, client, &asked);
    world.gates.pass(GatePoint::AfterEffect, Service::Query, &asked.partner_reference_no).await;
    finish(&world, &connection, &call, Some(index), outcome).await
}

async fn refund(
    State(world): State<Arc<World>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: Request,
) -> Response {
    let call = Call::receive(&world, Service::Refund, request).await;
    if let Err(outcome) = fault_of_the_day(&world, &call) {
        call.note_arrival(&world, "");
        return finish(&world, &connection, &call, None, outcome).await;
    }
    let admitted = call
        .admit(&world)
        .and_then(|(index, client)| Ok((index, client, refund::Asked::try_new(call.body(), client)?)));
    let (index, client, asked) = match admitted {
        Ok(admitted) => admitted,
        Err(refusal) => {
            call.note_arrival(&world, "");
            return refuse(&world, &connection, &call, &refusal).await;
        }
    };
    call.note_arrival(&world, &asked.partner_reference_no);
    world.gates.pass(GatePoint::BeforeEffect, Service::Refund, &asked.partner_reference_no).await;
    let outcome = refund::outcome(&world, client, &asked, call.body());
    world.gates.pass(GatePoint::AfterEffect, Service::Refund, &asked.partner_reference_no).await;
    finish(&world, &connection, &call, Some(index), outcome).await
}

/// Bad weather meets a call before anybody looks at it.
fn fault_of_the_day(world: &World, call: &Call) -> Result<(), Outcome> {
    match world.fault_of_the_day(call.service) {
        None => Ok(()),
        Some(fault) => Err(Outcome::faulted(call.service, &fault, String::new())),
    }
}

async fn refuse(world: &World, connection: &Connection, call: &Call, refusal: &Refusal) -> Response {
    let index = world.client_index(call.claimed_client_id());
    finish(world, connection, call, index, Outcome::refused(call.service, refusal)).await
}

async fn finish(
    world: &World,
    connection: &Connection,
    call: &Call,
    index: Option<usize>,
    outcome: Outcome,
) -> Response {
    world.count(index, call.service, outcome.label.clone());
    let mut response = outcome.deliver(connection, world.options.latency_ms, &world.stop).await;
    if let Some(timestamp) = call.parts.headers.get(&X_TIMESTAMP) {
        response.headers_mut().insert(X_TIMESTAMP.clone(), timestamp.clone());
    }
    response
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenBody<'a> {
    #[serde(borrow, default)]
    grant_type: Option<&'a RawValue>,
}

fn check_grant(body: &[u8]) -> Result<(), Refusal> {
    let body: TokenBody<'_> = serde_json::from_slice(body).map_err(|_| Refusal::missing("body"))?;
    match text(body.grant_type, "grantType", 25)?.as_ref() {
        "client_credentials" => Ok(()),
        _ => Err(Refusal::malformed("grantType")),
    }
}

fn token_outcome(world: &World, client_index: usize) -> Outcome {
    let Ok(access_token) = world.issue_token(client_index) else {
        return Outcome::faulted(Service::Token, &Fault::http(500, "01"), String::new());
    };
    let ttl_secs = world.options.token_ttl_secs;
    let body = format!(
        "{{\"responseCode\":\"2007300\",\"responseMessage\":\"Successful\",\"accessToken\":\"{access_token}\",\
         \"tokenType\":\"Bearer\",\"expiresIn\":\"{ttl_secs}\",\"additionalInfo\":\"\"}}"
    );
    Outcome::answer(200, "2007300", body)
}

/// Both services name the merchant, as a string or as a number.
fn check_merchant(merchant_id: Option<&RawValue>, client: &ClientState) -> Result<(), Refusal> {
    if text_or_number(merchant_id, "merchantId", 64)? == client.client.merchant_id {
        return Ok(());
    }
    Err(Refusal::new(404, "08"))
}

fn push_money(out: &mut String, key: &str, amount_sen: i64, currency: &str, style: AmountStyle) {
    let is_quoted = match style {
        AmountStyle::Absent => return,
        AmountStyle::Null => {
            out.push_str(key);
            out.push_str("null");
            return;
        }
        AmountStyle::Text => true,
        AmountStyle::Number | AmountStyle::Decimal => false,
    };
    out.push_str(key);
    out.push_str(if is_quoted { "{\"value\":\"" } else { "{\"value\":" });
    if style == AmountStyle::Number && amount_sen % 100 == 0 {
        out.push_str(&(amount_sen / 100).to_string());
    } else {
        snap::push_amount(out, amount_sen);
    }
    out.push_str(if is_quoted { "\",\"currency\":" } else { ",\"currency\":" });
    push_text(out, currency);
    out.push('}');
}

//! The way of every call from the door to its answer, the same at every provider: arrival, weather, door, gate, effect, gate,
//! answer. What a call is about and how its answer is spelt is each provider's own.

use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::client::ClientState;
use super::connection::Connection;
use super::door::{Call, Door, X_TIMESTAMP, text};
use super::gate::GatePoint;
use super::postman;
use super::reply::Outcome;
use super::script::Fault;
use super::snap::{Refusal, Service, wib_text};
use super::world::World;

/// One service of one provider.
pub(super) trait Desk {
    /// Which service.
    const SERVICE: Service;
    /// What the provider's door wants.
    const DOOR: Door;
    /// A request that reads well.
    type Asked<'a>: Send + Sync;

    /// Reads the request; a refusal names the field.
    fn read<'a>(call: &'a Call, client: &ClientState) -> Result<Self::Asked<'a>, Refusal>;

    /// The merchant's reference in it.
    fn reference<'a>(asked: &'a Self::Asked<'_>) -> &'a str;

    /// What happens, and how it is told.
    fn outcome(world: &World, client: &ClientState, asked: &Self::Asked<'_>, call: &Call) -> Outcome;
}

/// Serves one call at a desk.
pub(super) async fn serve<D: Desk>(
    State(world): State<Arc<World>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: Request,
) -> Response {
    let call = Call::receive(&world, D::SERVICE, request).await;
    if let Err(outcome) = fault_of_the_day(&world, &call) {
        call.note_arrival(&world, "");
        return finish(&world, &connection, &call, None, outcome).await;
    }
    let admitted = call.admit(&world, D::DOOR).and_then(|(index, client)| Ok((index, client, D::read(&call, client)?)));
    let (index, client, asked) = match admitted {
        Ok(admitted) => admitted,
        Err(refusal) => {
            call.note_arrival(&world, "");
            return refuse(&world, &connection, &call, &refusal).await;
        }
    };
    let reference = D::reference(&asked);
    call.note_arrival(&world, reference);
    world.gates.pass(GatePoint::BeforeEffect, D::SERVICE, reference).await;
    let mut outcome = D::outcome(&world, client, &asked, &call);
    postman::deliver(&world, &client.client.client_id, outcome.notice.take()).await;
    world.gates.pass(GatePoint::AfterEffect, D::SERVICE, reference).await;
    finish(&world, &connection, &call, Some(index), outcome).await
}

/// Serves a B2B token by the standard.
pub(super) async fn token(state: State<Arc<World>>, connection: ConnectInfo<Connection>, request: Request) -> Response {
    grant(state, connection, request, Service::Token).await
}

/// Serves a customer's token by the standard: the one that the client's customer has, to whoever shows a consent.
pub(super) async fn customer_token(
    state: State<Arc<World>>,
    connection: ConnectInfo<Connection>,
    request: Request,
) -> Response {
    grant(state, connection, request, Service::CustomerToken).await
}

async fn grant(
    State(world): State<Arc<World>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: Request,
    service: Service,
) -> Response {
    let call = Call::receive(&world, service, request).await;
    call.note_arrival(&world, "");
    if let Err(outcome) = fault_of_the_day(&world, &call) {
        return finish(&world, &connection, &call, None, outcome).await;
    }
    let admitted = call.admit_token(&world).and_then(|index| check_grant(call.body(), service).map(|()| index));
    let index = match admitted {
        Ok(index) => index,
        Err(refusal) => return refuse(&world, &connection, &call, &refusal).await,
    };
    world.gates.pass(GatePoint::BeforeEffect, service, "").await;
    let outcome =
        if service == Service::Token { token_outcome(&world, index) } else { customer_outcome(&world, index) };
    world.gates.pass(GatePoint::AfterEffect, service, "").await;
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
    #[serde(borrow, default)]
    auth_code: Option<&'a RawValue>,
    #[serde(borrow, default)]
    refresh_token: Option<&'a RawValue>,
}

fn check_grant(body: &[u8], service: Service) -> Result<(), Refusal> {
    let body: TokenBody<'_> = serde_json::from_slice(body).map_err(|_| Refusal::missing("body"))?;
    match (service, text(body.grant_type, "grantType", 25)?.to_ascii_lowercase().as_str()) {
        (Service::Token, "client_credentials") => Ok(()),
        (Service::CustomerToken, "authorization_code") => text(body.auth_code, "authCode", 256).map(drop),
        (Service::CustomerToken, "refresh_token") => text(body.refresh_token, "refreshToken", 512).map(drop),
        _ => Err(Refusal::malformed("grantType")),
    }
}

fn customer_outcome(world: &World, client_index: usize) -> Outcome {
    let token = world.clients.get(client_index).and_then(|client| client.client.customer_token.clone());
    let Some(token) = token else { return Outcome::refused(Service::CustomerToken, &Refusal::new(404, "05")) };
    let ends = wib_text(world.script_clock() + chrono::TimeDelta::days(15));
    let body = serde_json::json!({
        "responseCode": "2007400",
        "responseMessage": "Successful",
        "accessToken": token,
        "tokenType": "Bearer",
        "accessTokenExpiryTime": ends,
        "refreshToken": "refresh-1",
        "refreshTokenExpiryTime": ends,
    });
    Outcome::answer(200, "2007400", body.to_string())
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

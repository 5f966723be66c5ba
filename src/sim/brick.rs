//! Brick's status of a dynamic QRIS (51), as its documentation has it: by GET or POST, parameters in the URL or in a body,
//! tokens for one call, integers for codes and floats for amounts, and `02` for what is paid and not yet settled. The
//! token's path is the standard's: the document gives none.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::Query as UrlQuery;
use axum::routing::{get, post};
use serde_json::{Map, Value, json};

use super::client::ClientState;
use super::desk::{Desk, serve, token};
use super::door::{Call, Door, SignedBy, Tokens};
use super::payment::Given;
use super::reply::Outcome;
use super::script::{AmountStyle, SimProvider};
use super::snap::{Refusal, Service};
use super::standard::{self, Asked, code, field, money, push_echo};
use super::world::World;

/// Brick's paths.
pub(super) fn routes() -> Router<Arc<World>> {
    Router::new()
        .route("/v2/payments/acceptance/1.0/access-token/b2b", post(token))
        .route("/v2/payments/acceptance/1.0/qr/qr-mpm-query", get(serve::<Query>).post(serve::<Query>))
}

struct Query;

impl Desk for Query {
    const SERVICE: Service = Service::Query;
    const DOOR: Door = Door {
        provider: SimProvider::Brick,
        signed_by: SignedBy::PrivateKey,
        tokens: Tokens::ForOneCall,
        wants_customer: false,
        wants_client_key: true,
        wants_channel: true,
    };
    type Asked<'a> = Asked;

    fn read(call: &Call, _client: &ClientState) -> Result<Asked, Refusal> {
        if !call.body().is_empty() {
            let body: Value = serde_json::from_slice(call.body()).map_err(|_| Refusal::missing("body"))?;
            return Asked::try_new(
                field(&body, "originalReferenceNo")?,
                field(&body, "originalPartnerReferenceNo")?,
                field(&body, "serviceCode")?.as_deref(),
            );
        }
        let UrlQuery(mut params) = UrlQuery::<HashMap<String, String>>::try_from_uri(&call.parts.uri)
            .map_err(|_| Refusal::malformed("query"))?;
        let service_code = params.remove("serviceCode");
        Asked::try_new(
            params.remove("originalReferenceNo"),
            params.remove("originalPartnerReferenceNo"),
            service_code.as_deref(),
        )
    }

    fn reference(asked: &Asked) -> &str {
        asked.reference()
    }

    fn outcome(world: &World, client: &ClientState, asked: &Asked, _call: &Call) -> Outcome {
        standard::answered(world, client, asked, &["00", "02"], spell)
    }
}

fn spell(given: &Given<'_>) -> Value {
    let Given { payment, answer, status, .. } = given;
    let description = match *status {
        "00" => "COMPLETED",
        "02" => "PAID",
        "05" => "EXPIRED",
        _ => "PROCESSING",
    };
    let mut out = Map::new();
    out.insert("responseCode".to_owned(), code("2005100", answer, true));
    out.insert("responseMessage".to_owned(), json!("Successful"));
    push_echo(&mut out, given, true);
    out.insert("serviceCode".to_owned(), code("51", answer, true));
    out.insert("latestTransactionStatus".to_owned(), code(status, answer, true));
    out.insert("transactionStatusDesc".to_owned(), json!(description));
    let amount = money(answer.amount_sen.unwrap_or(payment.expected_sen), answer, AmountStyle::Decimal);
    out.extend(amount.map(|money| ("amount".to_owned(), money)));
    Value::Object(out)
}

//! Paydia's query of a payment (51, issuer's side), as its documentation prints it: texts throughout, the customer's token
//! mandatory, and a `paidTime` that says +07:00 and is UTC. The token's path is the standard's: the document gives none.

use std::sync::Arc;

use axum::Router;
use axum::routing::post;
use chrono::TimeDelta;
use serde_json::{Map, Value, json};

use super::client::ClientState;
use super::desk::{Desk, serve, token};
use super::door::{Call, Door, SignedBy, Tokens};
use super::payment::Given;
use super::reply::Outcome;
use super::script::{AmountStyle, PaidTime, SimProvider};
use super::snap::{self, Refusal, Service, WIB_OFFSET_SECS};
use super::standard::{self, Asked, code, field, money, push_echo};
use super::world::World;

/// Paydia's paths.
pub(super) fn routes() -> Router<Arc<World>> {
    Router::new()
        .route("/snap/v1.0/access-token/b2b", post(token))
        .route("/snap/v1.0/qr/qr-mpm-query", post(serve::<Query>))
}

struct Query;

impl Desk for Query {
    const SERVICE: Service = Service::Query;
    const DOOR: Door = Door {
        provider: SimProvider::Paydia,
        signed_by: SignedBy::Secret,
        tokens: Tokens::ForAWhile,
        wants_customer: true,
        wants_client_key: false,
        wants_channel: true,
    };
    type Asked<'a> = Asked;

    fn read(call: &Call, _client: &ClientState) -> Result<Asked, Refusal> {
        let body: Value = serde_json::from_slice(call.body()).map_err(|_| Refusal::missing("body"))?;
        if field(&body, "originalExternalId")?.is_some_and(|id| id.len() > 32) {
            return Err(Refusal::malformed("originalExternalId"));
        }
        Asked::try_new(
            field(&body, "originalReferenceNo")?,
            field(&body, "originalPartnerReferenceNo")?,
            field(&body, "serviceCode")?.as_deref(),
        )
    }

    fn reference(asked: &Asked) -> &str {
        asked.reference()
    }

    fn outcome(world: &World, client: &ClientState, asked: &Asked, _call: &Call) -> Outcome {
        standard::answered(world, client, asked, &["00"], spell)
    }
}

fn spell(given: &Given<'_>) -> Value {
    let Given { payment, answer, status, registered_at } = given;
    let mut out = Map::new();
    out.insert("responseCode".to_owned(), code("2005100", answer, false));
    out.insert("responseMessage".to_owned(), json!("Success"));
    push_echo(&mut out, given, true);
    out.insert("serviceCode".to_owned(), code("51", answer, false));
    out.insert("latestTransactionStatus".to_owned(), code(status, answer, false));
    // Mandatory also where nothing was paid.
    let paid_time = match &answer.paid_time {
        PaidTime::Absent => None,
        PaidTime::Text(text) => Some(text.clone()),
        PaidTime::AfterSecs(secs) => {
            let mislabelled = *registered_at + TimeDelta::seconds(*secs - i64::from(WIB_OFFSET_SECS));
            Some(snap::wib_text(mislabelled))
        }
    };
    out.extend(paid_time.map(|text| ("paidTime".to_owned(), json!(text))));
    let amount = money(answer.amount_sen.unwrap_or(payment.expected_sen), answer, AmountStyle::Text);
    let fee = money(payment.fee_sen.unwrap_or(0), answer, AmountStyle::Text);
    out.extend(amount.map(|money| ("amount".to_owned(), money)));
    out.extend(fee.map(|money| ("feeAmount".to_owned(), money)));
    Value::Object(out)
}

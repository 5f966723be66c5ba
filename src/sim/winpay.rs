//! Winpay's query of a QRIS (51), as its documentation prints it: no tokens, texts throughout, and two statuses: `00`, and
//! `07` for whatever is not paid.

use std::sync::Arc;

use axum::Router;
use axum::routing::post;
use serde_json::{Map, Value, json};

use super::client::ClientState;
use super::desk::{Desk, serve};
use super::door::{Call, Door, SignedBy, Tokens};
use super::payment::Given;
use super::reply::Outcome;
use super::script::{AmountStyle, PaidTime, SimProvider};
use super::snap::{self, Refusal, Service};
use super::standard::{self, Asked, code, field, money, push_echo};
use super::world::World;

/// Winpay's paths.
pub(super) fn routes() -> Router<Arc<World>> {
    Router::new().route("/v1.0/qr/qr-mpm-query", post(serve::<Query>))
}

struct Query;

impl Desk for Query {
    const SERVICE: Service = Service::Query;
    const DOOR: Door = Door {
        provider: SimProvider::Winpay,
        signed_by: SignedBy::PrivateKey,
        tokens: Tokens::None,
        wants_customer: false,
        wants_client_key: false,
        wants_channel: true,
    };
    type Asked<'a> = Asked;

    fn read(call: &Call, _client: &ClientState) -> Result<Asked, Refusal> {
        let body: Value = serde_json::from_slice(call.body()).map_err(|_| Refusal::missing("body"))?;
        let contract = body.get("additionalInfo").map(|info| field(info, "contractId")).transpose()?;
        let partner_reference_no = field(&body, "originalPartnerReferenceNo")?;
        if partner_reference_no.is_none() {
            return Err(Refusal::missing("originalPartnerReferenceNo"));
        }
        Asked::try_new(contract.flatten(), partner_reference_no, field(&body, "serviceCode")?.as_deref())
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
    let is_paid = *status == "00";
    let (status, description) = if is_paid { ("00", "Success") } else { ("07", "Not Found") };
    let mut out = Map::new();
    out.insert("responseCode".to_owned(), code("2005100", answer, false));
    out.insert("responseMessage".to_owned(), json!("Success"));
    push_echo(&mut out, given, false);
    out.insert("serviceCode".to_owned(), code("47", answer, false));
    out.insert("latestTransactionStatus".to_owned(), code(status, answer, false));
    out.insert("transactionStatusDesc".to_owned(), json!(description));
    let paid_time = match &answer.paid_time {
        PaidTime::AfterSecs(secs) if is_paid => {
            Some(snap::wib_text(*registered_at + chrono::TimeDelta::seconds(*secs)))
        }
        PaidTime::Text(text) if is_paid => Some(text.clone()),
        PaidTime::AfterSecs(_) | PaidTime::Text(_) => Some(String::new()),
        PaidTime::Absent => None,
    };
    out.extend(paid_time.map(|text| ("paidTime".to_owned(), json!(text))));
    let amount = money(answer.amount_sen.unwrap_or(payment.expected_sen), answer, AmountStyle::Text);
    let fee = payment.fee_sen.and_then(|fee_sen| money(fee_sen, answer, AmountStyle::Text));
    out.extend(amount.map(|money| ("amount".to_owned(), money)));
    out.extend(fee.map(|money| ("feeAmount".to_owned(), money)));
    if is_paid {
        let info = json!({ "issuer": "Dana", "rrn": given.approval_code(), "buyerReff": "Winpay" });
        out.insert("additionalInfo".to_owned(), info);
    }
    Value::Object(out)
}

//! DOKU's QRIS SNAP API (tokens 73 and 74, generate 47, decode 48, payment 50, query 51, status 53, cancel 77, refund 78), as
//! its documentation prints it: paths, wire types and padding included. What is true stands in `world`; this room only reads
//! requests and spells answers.

mod by_hand;
pub(super) mod notify;
mod query;
mod refund;
pub(super) mod sealed;
mod status;

use std::sync::Arc;

use axum::Router;
use axum::routing::post;
use serde_json::value::RawValue;

use super::client::ClientState;
use super::desk::{customer_token, serve, token};
use super::door::{Door, SignedBy, Tokens, text_or_number};
use super::script::{AmountStyle, SimProvider};
use super::snap::{self, Refusal, push_text};
use super::world::World;

const TOKEN_PATH: &str = "/authorization/v1/access-token/b2b";
const QUERY_PATH: &str = "/snap-adapter/b2b/v1.0/qr/qr-mpm-query";
const CUSTOMER_TOKEN_PATH: &str = "/authorization/v1/access-token/b2b2c";
const GENERATE_PATH: &str = "/snap-adapter/b2b/v1.0/qr/qr-mpm-generate";
const DECODE_PATH: &str = "/snap-adapter/b2b/v1.0/qr/qr-mpm-decode";
const PAYMENT_PATH: &str = "/snap-adapter/b2b2c/v1.0/qr/qr-mpm-payment";
const CANCEL_PATH: &str = "/snap-adapter/b2b/v1.0/qr/qr-mpm-cancel";
const STATUS_PATH: &str = "/snap/v1.1/qr/qr-mpm-status";
const REFUND_PATH: &str = "/snap-adapter/b2b/v1.0/qr/qr-mpm-refund";

const DOOR: Door = Door {
    provider: SimProvider::Doku,
    signed_by: SignedBy::Secret,
    tokens: Tokens::ForAWhile,
    wants_customer: false,
    wants_client_key: false,
    wants_channel: false,
};

/// DOKU's paths.
pub(super) fn routes() -> Router<Arc<World>> {
    Router::new()
        .route(TOKEN_PATH, post(token))
        .route(CUSTOMER_TOKEN_PATH, post(customer_token))
        .route(GENERATE_PATH, post(serve::<by_hand::Generate>))
        .route(DECODE_PATH, post(serve::<by_hand::Decode>))
        .route(PAYMENT_PATH, post(serve::<by_hand::Payment>))
        .route(CANCEL_PATH, post(serve::<by_hand::Cancel>))
        .route(QUERY_PATH, post(serve::<query::Query>))
        .route(STATUS_PATH, post(serve::<status::Status>))
        .route(REFUND_PATH, post(serve::<refund::Refund>))
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

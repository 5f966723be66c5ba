//! `qr-mpm-refund` (78) as DOKU prints it. `refundAmount` stands in its sample but not in its field list; absent = all that is left.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::client::ClientState;
use super::super::desk::Desk;
use super::super::door::{Call, Door, text, text_or_number};
use super::super::payment::{RefundAsked, RefundGiven};
use super::super::reply::Outcome;
use super::super::script::AmountStyle;
use super::super::snap::{self, Refusal, Service, push_text};
use super::super::world::World;
use super::{DOOR, check_merchant, push_money};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RefundBody<'a> {
    #[serde(borrow, default)]
    merchant_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    original_partner_reference_no: Option<&'a RawValue>,
    #[serde(borrow, default)]
    original_reference_no: Option<&'a RawValue>,
    #[serde(borrow, default)]
    partner_refund_no: Option<&'a RawValue>,
    #[serde(borrow, default)]
    refund_amount: Option<MoneyBody<'a>>,
    #[serde(borrow, default)]
    reason: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct MoneyBody<'a> {
    #[serde(borrow, default)]
    value: Option<&'a RawValue>,
    #[serde(borrow, default)]
    currency: Option<&'a RawValue>,
}

/// A refund request that reads well.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    partner_reference_no: Cow<'a, str>,
    reference_no: Option<Cow<'a, str>>,
    partner_refund_no: Cow<'a, str>,
    amount_sen: Option<i64>,
}

impl<'a> Asked<'a> {
    fn try_new(body: &'a [u8], client: &ClientState) -> Result<Self, Refusal> {
        let body: RefundBody<'_> = serde_json::from_slice(body).map_err(|_| Refusal::missing("body"))?;
        check_merchant(body.merchant_id, client)?;
        let partner_reference_no = text(body.original_partner_reference_no, "originalPartnerReferenceNo", 32)?;
        let reference_no =
            body.original_reference_no.map(|token| text(Some(token), "originalReferenceNo", 64)).transpose()?;
        let partner_refund_no = text(body.partner_refund_no, "partnerRefundNo", 64)?;
        text(body.reason, "reason", 256)?;
        let amount_sen = body.refund_amount.map(|amount| read_money(&amount)).transpose()?;
        Ok(Self { partner_reference_no, reference_no, partner_refund_no, amount_sen })
    }
}

fn read_money(money: &MoneyBody<'_>) -> Result<i64, Refusal> {
    if text(money.currency, "refundAmount.currency", 3)? != "IDR" {
        return Err(Refusal::malformed("refundAmount.currency"));
    }
    let value = text_or_number(money.value, "refundAmount.value", 16)?;
    snap::parse_amount(&value).ok_or_else(|| Refusal::malformed("refundAmount.value"))
}

/// The desk.
pub(super) struct Refund;

impl Desk for Refund {
    const SERVICE: Service = Service::Refund;
    const DOOR: Door = DOOR;
    type Asked<'a> = Asked<'a>;

    fn read<'a>(call: &'a Call, client: &ClientState) -> Result<Asked<'a>, Refusal> {
        Asked::try_new(call.body(), client)
    }

    fn reference<'a>(asked: &'a Asked<'_>) -> &'a str {
        &asked.partner_reference_no
    }

    fn outcome(world: &World, client: &ClientState, asked: &Asked<'_>, call: &Call) -> Outcome {
        outcome(world, client, asked, call.body())
    }
}

/// What the refund call meets, spelt.
fn outcome(world: &World, client: &ClientState, asked: &Asked<'_>, body: &[u8]) -> Outcome {
    let not_found = || Outcome::refused(Service::Refund, &Refusal::new(404, "01"));
    let moved = client.with_payment(&asked.partner_reference_no, |payment| {
        if asked.reference_no.as_deref().is_some_and(|reference_no| reference_no != payment.reference_no()) {
            return not_found();
        }
        if !client.claim_refund_number(&asked.partner_refund_no, &asked.partner_reference_no) {
            return Outcome::refused(Service::Refund, &Refusal::new(404, "18"));
        }
        let at = world.script_clock();
        let given = payment.refund(RefundAsked {
            partner_refund_no: &asked.partner_refund_no,
            amount_sen: asked.amount_sen,
            body,
            fresh_refund_no: world.next_refund_no(),
            at,
            repeat: world.options.repeat_policy,
        });
        spell_refund(asked, payment.reference_no(), given, &snap::wib_text(at))
    });
    moved.unwrap_or_else(not_found)
}

fn spell_refund(asked: &Asked<'_>, reference_no: &str, given: RefundGiven, refund_time: &str) -> Outcome {
    let (http_status, refund_no, echoed_sen, fault) = match given {
        RefundGiven::Refused(refusal) => return Outcome::refused(Service::Refund, &refusal),
        RefundGiven::Lost(fault) => return Outcome::faulted(Service::Refund, &fault, "{}".to_owned()),
        RefundGiven::RefusedAs(response_code) => {
            let http_status = response_code.get(..3).and_then(|digits| digits.parse().ok()).unwrap_or(500);
            let message = snap::message_of(http_status, response_code.get(5..).unwrap_or_default());
            return Outcome::coded(http_status, response_code, message);
        }
        RefundGiven::Answer { http_status, refund_no, echoed_sen, fault } => {
            (http_status, refund_no, echoed_sen, fault)
        }
    };
    let response_code = Service::Refund.response_code(http_status, "00");
    let mut out = String::with_capacity(448);
    for (key, text) in [
        ("{\"responseCode\":", response_code.as_str()),
        (",\"responseMessage\":", snap::message_of(http_status, "00")),
        (",\"originalReferenceNo\":", reference_no),
        (",\"originalPartnerReferenceNo\":", &asked.partner_reference_no),
        (",\"refundNo\":", &refund_no),
        (",\"partnerRefundNo\":", &asked.partner_refund_no),
        (",\"refundTime\":", refund_time),
    ] {
        out.push_str(key);
        push_text(&mut out, text);
    }
    if let Some(amount_sen) = echoed_sen {
        push_money(&mut out, ",\"refundAmount\":", amount_sen, "IDR", AmountStyle::Number);
    }
    out.push('}');
    match fault {
        Some(fault) => Outcome::faulted(Service::Refund, &fault, out),
        None => Outcome::answer(http_status, response_code, out),
    }
}

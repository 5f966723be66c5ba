//! `qr-mpm-query` (51) as DOKU prints it.

use std::borrow::Cow;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::client::ClientState;
use super::super::desk::Desk;
use super::super::door::{Call, Door, text, text_or_number};
use super::super::payment::Given;
use super::super::postman::Notice;
use super::super::reply::Outcome;
use super::super::script::{Echo, PaidTime};
use super::super::snap::{self, Refusal, Service, push_text};
use super::super::world::World;
use super::{DOOR, check_merchant, push_money};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct QueryBody<'a> {
    #[serde(borrow, default)]
    original_reference_no: Option<&'a RawValue>,
    #[serde(borrow, default)]
    original_partner_reference_no: Option<&'a RawValue>,
    #[serde(borrow, default)]
    service_code: Option<&'a RawValue>,
    #[serde(borrow, default)]
    merchant_id: Option<&'a RawValue>,
}

/// A query that reads well. DOKU wants both references.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    reference_no: Cow<'a, str>,
    partner_reference_no: Cow<'a, str>,
}

impl<'a> Asked<'a> {
    fn try_new(body: &'a [u8], client: &ClientState) -> Result<Self, Refusal> {
        let body: QueryBody<'_> = serde_json::from_slice(body).map_err(|_| Refusal::missing("body"))?;
        let reference_no = text(body.original_reference_no, "originalReferenceNo", 64)?;
        let partner_reference_no = text(body.original_partner_reference_no, "originalPartnerReferenceNo", 64)?;
        text_or_number(body.service_code, "serviceCode", 2)?;
        check_merchant(body.merchant_id, client)?;
        Ok(Self { reference_no, partner_reference_no })
    }
}

/// The desk.
pub(super) struct Query;

impl Desk for Query {
    const SERVICE: Service = Service::Query;
    const DOOR: Door = DOOR;
    type Asked<'a> = Asked<'a>;

    fn read<'a>(call: &'a Call, client: &ClientState) -> Result<Asked<'a>, Refusal> {
        Asked::try_new(call.body(), client)
    }

    fn reference<'a>(asked: &'a Asked<'_>) -> &'a str {
        &asked.partner_reference_no
    }

    fn outcome(world: &World, client: &ClientState, asked: &Asked<'_>, _call: &Call) -> Outcome {
        outcome(world, client, asked)
    }
}

/// The scripted answer, spelt.
fn outcome(world: &World, client: &ClientState, asked: &Asked<'_>) -> Outcome {
    let now = world.script_clock();
    let answered = client.with_payment(&asked.partner_reference_no, |payment| {
        (payment.reference_no() == asked.reference_no).then(|| {
            let given = payment.query(now);
            let body = query_body(&given);
            let outcome = match &given.answer.fault {
                Some(fault) => Outcome::faulted(Service::Query, fault, body),
                None => Outcome::answer(200, "2005100", body),
            };
            outcome.slowed(given.answer.slow_ms).noticing(Notice::of(&given, now))
        })
    });
    answered.flatten().unwrap_or_else(|| Outcome::refused(Service::Query, &Refusal::new(404, "01")))
}

fn query_body(given: &Given<'_>) -> String {
    let Given { payment, answer, status, registered_at } = given;
    let mut out = String::with_capacity(704);
    let push_code = |out: &mut String, code: &str| match code.parse::<u32>() {
        Ok(number) if answer.integer_codes => out.push_str(&number.to_string()),
        _ => push_text(out, code),
    };
    out.push_str("{\"responseCode\":");
    push_code(&mut out, "2005100");
    out.push_str(",\"responseMessage\":\"Request has been processed successfully\"");
    if answer.echo != Echo::None {
        let is_wrong = answer.echo == Echo::WrongReference;
        for (key, text) in [
            (",\"originalReferenceNo\":", &payment.reference_no),
            (",\"originalPartnerReferenceNo\":", &payment.partner_reference_no),
        ] {
            out.push_str(key);
            if is_wrong {
                push_text(&mut out, &format!("X{text}"));
            } else {
                push_text(&mut out, text);
            }
        }
    }
    if answer.echo == Echo::WrongMerchant {
        out.push_str(",\"merchantId\":\"0\"");
    }
    out.push_str(",\"serviceCode\":");
    push_code(&mut out, "51");
    out.push_str(",\"latestTransactionStatus\":");
    push_code(&mut out, status);
    out.push_str(",\"transactionStatusDesc\":");
    push_text(&mut out, description(status));
    let is_paid = matches!(*status, "00" | "04");
    if is_paid {
        push_paid_time(&mut out, &answer.paid_time, *registered_at);
    }
    let amount_sen = answer.amount_sen.unwrap_or(payment.expected_sen);
    push_money(&mut out, ",\"amount\":", amount_sen, &answer.currency, answer.amount_style);
    if let Some(fee_sen) = payment.fee_sen {
        push_money(&mut out, ",\"feeAmount\":", fee_sen, &answer.currency, answer.amount_style);
    }
    if is_paid {
        // Padded as in DOKU's sample.
        out.push_str(",\"additionalInfo\":{\"approvalCode\":");
        push_text(&mut out, given.approval_code());
        out.push_str(
            ",\"convenienceFee\":\"C00000000\",\"issuerId\":\"93600014\",\"issuerName\":\"BCA\",\
             \"terminalId\":\"A01             \",\"customerName\":\"JOHN DOE                       \"}",
        );
    }
    out.push('}');
    out
}

fn push_paid_time(out: &mut String, paid_time: &PaidTime, registered_at: DateTime<Utc>) {
    let text = match paid_time {
        PaidTime::Absent => return,
        PaidTime::AfterSecs(secs) => snap::wib_text(registered_at + TimeDelta::seconds(*secs)),
        PaidTime::Text(text) => text.clone(),
    };
    out.push_str(",\"paidTime\":");
    push_text(out, &text);
}

/// The standard's words for `latestTransactionStatus`.
pub(super) fn description(status: &str) -> &'static str {
    match status {
        "00" => "Success",
        "01" => "Initiated",
        "02" => "Paying",
        "03" => "Pending",
        "04" => "Refunded",
        "05" => "Canceled",
        "06" => "Failed",
        "07" => "Not Found",
        _ => "Unknown",
    }
}

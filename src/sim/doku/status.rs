//! `qr-mpm-status` (53) as DOKU prints it for payouts: integers for codes, a blank inside the fraction of a second, and an
//! amount for the beneficiary that is not the amount.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::client::ClientState;
use super::super::desk::Desk;
use super::super::door::{Call, Door, text, text_or_number};
use super::super::payment::Given;
use super::super::reply::Outcome;
use super::super::script::{AmountStyle, Echo};
use super::super::snap::{self, Refusal, Service, push_text};
use super::super::world::World;
use super::query::description;
use super::{DOOR, push_money};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusBody<'a> {
    #[serde(borrow, default)]
    original_partner_reference_no: Option<&'a RawValue>,
    #[serde(borrow, default)]
    original_reference_no: Option<&'a RawValue>,
    #[serde(borrow, default)]
    original_external_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    service_code: Option<&'a RawValue>,
}

/// A status inquiry that reads well. DOKU wants our reference and the service; the others may be left out.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    partner_reference_no: Cow<'a, str>,
    reference_no: Option<Cow<'a, str>>,
}

/// The desk.
pub(super) struct Status;

impl Desk for Status {
    const SERVICE: Service = Service::Status;
    const DOOR: Door = Door { wants_channel: true, ..DOOR };
    type Asked<'a> = Asked<'a>;

    fn read<'a>(call: &'a Call, _client: &ClientState) -> Result<Asked<'a>, Refusal> {
        let body: StatusBody<'_> = serde_json::from_slice(call.body()).map_err(|_| Refusal::missing("body"))?;
        let optional = |token: Option<&'a RawValue>, field, chars_max| {
            token.map(|token| text(Some(token), field, chars_max)).transpose()
        };
        let partner_reference_no = text(body.original_partner_reference_no, "originalPartnerReferenceNo", 64)?;
        let reference_no = optional(body.original_reference_no, "originalReferenceNo", 64)?;
        optional(body.original_external_id, "originalExternalId", 32)?;
        text_or_number(body.service_code, "serviceCode", 2)?;
        Ok(Asked { partner_reference_no, reference_no })
    }

    fn reference<'a>(asked: &'a Asked<'_>) -> &'a str {
        &asked.partner_reference_no
    }

    fn outcome(world: &World, client: &ClientState, asked: &Asked<'_>, _call: &Call) -> Outcome {
        let now = world.script_clock();
        let answered = client.with_payment(&asked.partner_reference_no, |payment| {
            let session = session_of(payment.reference_no());
            let is_ours = |no: &str| no == payment.reference_no() || no == session;
            asked.reference_no.as_deref().is_none_or(is_ours).then(|| {
                let given = payment.query(now);
                let body = status_body(&given, &snap::wib_text(now));
                let outcome = match &given.answer.fault {
                    Some(fault) => Outcome::faulted(Service::Status, fault, body),
                    None => Outcome::answer(200, "2005300", body),
                };
                outcome.slowed(given.answer.slow_ms)
            })
        });
        answered.flatten().unwrap_or_else(|| Outcome::refused(Service::Status, &Refusal::new(404, "01")))
    }
}

/// Every transfer has a second name.
fn session_of(reference_no: &str) -> String {
    format!("I{reference_no}")
}

fn status_body(given: &Given<'_>, now: &str) -> String {
    let Given { payment, answer, status, .. } = given;
    let mut out = String::with_capacity(640);
    out.push_str("{\"responseCode\":2005300,\"responseMessage\":\"Successful\"");
    if answer.echo != Echo::None {
        let other = if answer.echo == Echo::WrongReference { "X" } else { "" };
        for (key, text) in [
            (",\"originalReferenceNo\":", format!("{other}{}", payment.reference_no)),
            (",\"originalPartnerReferenceNo\":", format!("{other}{}", payment.partner_reference_no)),
            (",\"sessionId\":", format!("{other}{}", session_of(&payment.reference_no))),
        ] {
            out.push_str(key);
            push_text(&mut out, &text);
        }
    }
    if answer.echo == Echo::WrongMerchant {
        out.push_str(",\"merchantId\":\"0\"");
    }
    out.push_str(",\"serviceCode\":43,\"latestTransactionStatus\":");
    push_text(&mut out, status);
    // DOKU prints texts here where its query prints numbers.
    let style = if answer.amount_style == AmountStyle::Number { AmountStyle::Text } else { answer.amount_style };
    let amount_sen = answer.amount_sen.unwrap_or(payment.expected_sen);
    push_money(&mut out, ",\"amount\":", amount_sen, &answer.currency, style);
    out.push_str(",\"transactionDate\":");
    push_text(&mut out, &now.replace("+07:00", ". 022+07:00"));
    out.push_str(
        ",\"originalResponseCode\":0,\"originalResponseMessage\":\"Transfer Approve\",\"transactionStatusDesc\":",
    );
    push_text(&mut out, description(status));
    out.push_str(
        ",\"additionalInfo\":{\"cashInTime\":\"2024-09-17 13:56:57\",\"remark\":\"Remark test\",\
         \"beneficiaryAmount\":\"200000.00\"}}",
    );
    out
}

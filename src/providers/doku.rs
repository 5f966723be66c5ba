//! DOKU, over SNAP: QRIS on the acquirer's side (query 51, refund 78) and the status of a transaction (53), which is how
//! payouts are asked about. By the book but for this: a query needs both references, a refund wants the approval code of the
//! query's answer back, and its amount is a JSON number.
//!
//! Source: DOKU API Reference, "Accept Payment > Direct API > SNAP > Integration Guide > QRIS" and "Payout > Kirim DOKU >
//! Check Status"; `docs/providers/doku.md`.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    Account, Asked, BuildError, ByHand, Call, Provider, QueryReading, RefundOrder, Service, snap,
    wire::{HttpRequest, HttpResponse},
};

mod by_hand;

/// The adapter. It has no state.
#[derive(Debug, Clone, Copy)]
pub struct Doku;

const REFERENCE_MAX: usize = 64;
/// `originalExternalId` of a status inquiry.
const EXTERNAL_ID_MAX: usize = 32;
/// A refund takes a shorter `originalPartnerReferenceNo` than a query.
const REFUND_REFERENCE_MAX: usize = 32;
const REFUND_NO_MAX: usize = 64;
const REASON_MAX: usize = 256;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QueryBody<'a> {
    original_reference_no: &'a str,
    original_partner_reference_no: &'a str,
    service_code: Option<&'a RawValue>,
    merchant_id: &'a RawValue,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusBody<'a> {
    original_partner_reference_no: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    original_reference_no: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    original_external_id: Option<&'a str>,
    service_code: Option<&'a RawValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RefundBody<'a> {
    merchant_id: &'a RawValue,
    original_partner_reference_no: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    original_reference_no: Option<&'a str>,
    partner_refund_no: &'a str,
    refund_amount: Money<'a>,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_info: Option<RefundInfo<'a>>,
}

#[derive(Serialize)]
struct Money<'a> {
    value: &'a RawValue,
    currency: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RefundInfo<'a> {
    approval_code: &'a str,
}

impl Provider for Doku {
    fn name(&self) -> &'static str {
        "doku"
    }

    fn profile_toml(&self) -> &'static str {
        include_str!("profiles/doku.toml")
    }

    fn services(&self) -> &'static [Service] {
        // All there are: DOKU's documents have each of them.
        &Service::ALL
    }

    fn unproven(&self) -> &'static [&'static str] {
        &[
            "notify.words: no page of DOKU prints the formula of WORDS, and two public implementations agree on the one that rekon \
           ships; compare one real notification, else set it for the account",
        ]
    }

    fn query_request(&self, account: &Account, asked: &Asked<'_>, call: &Call<'_>) -> Result<HttpRequest, BuildError> {
        let inquiry = account.inquiry_of(asked);
        let body = if inquiry == Service::Status { status_body(account, asked)? } else { query_body(account, asked)? };
        snap::transaction(account, inquiry, body, call)
    }

    fn read_query(&self, account: &Account, asked: &Asked<'_>, response: &HttpResponse) -> QueryReading {
        if account.inquiry_of(asked) == Service::Status {
            return snap::read_status(account, asked, response);
        }
        snap::read_query(account, asked, response)
    }

    fn by_hand_request(
        &self,
        account: &Account,
        asked: &ByHand<'_>,
        call: &Call<'_>,
    ) -> Result<HttpRequest, BuildError> {
        by_hand::request(account, asked, call)
    }

    fn refund_body(&self, account: &Account, refund: &RefundOrder<'_>) -> Result<String, BuildError> {
        let asked = &refund.asked;
        snap::check_field("originalPartnerReferenceNo", asked.partner_reference_no, REFUND_REFERENCE_MAX)?;
        snap::check_field("partnerRefundNo", refund.partner_refund_no, REFUND_NO_MAX)?;
        snap::check_field("reason", refund.reason, REASON_MAX)?;
        let value = snap::amount_token(refund.amount, account.profile.amount_as)?;
        Ok(serde_json::to_string(&RefundBody {
            merchant_id: &account.tokens.merchant_id,
            original_partner_reference_no: asked.partner_reference_no,
            original_reference_no: asked.reference_no,
            partner_refund_no: refund.partner_refund_no,
            refund_amount: Money { value: &value, currency: refund.currency },
            reason: refund.reason,
            additional_info: refund.approval_code.map(|approval_code| RefundInfo { approval_code }),
        })?)
    }
}

fn query_body(account: &Account, asked: &Asked<'_>) -> Result<Vec<u8>, BuildError> {
    let reference_no = asked.reference_no.ok_or(BuildError::MissingReference("reference_no"))?;
    snap::check_field("originalReferenceNo", reference_no, REFERENCE_MAX)?;
    snap::check_field("originalPartnerReferenceNo", asked.partner_reference_no, REFERENCE_MAX)?;
    Ok(serde_json::to_vec(&QueryBody {
        original_reference_no: reference_no,
        original_partner_reference_no: asked.partner_reference_no,
        service_code: account.tokens.service_code(Service::Query),
        merchant_id: &account.tokens.merchant_id,
    })?)
}

/// Only our own reference is required here. An X-EXTERNAL-ID may have 36 characters and this field takes 32: one that
/// does not fit is left out, for it is optional.
fn status_body(account: &Account, asked: &Asked<'_>) -> Result<Vec<u8>, BuildError> {
    snap::check_field("originalPartnerReferenceNo", asked.partner_reference_no, REFERENCE_MAX)?;
    if let Some(reference_no) = asked.reference_no {
        snap::check_field("originalReferenceNo", reference_no, REFERENCE_MAX)?;
    }
    Ok(serde_json::to_vec(&StatusBody {
        original_partner_reference_no: asked.partner_reference_no,
        original_reference_no: asked.reference_no,
        original_external_id: asked.external_id.filter(|id| id.len() <= EXTERNAL_ID_MAX),
        service_code: account.tokens.service_code(Service::Status),
    })?)
}

#[cfg(test)]
mod tests;

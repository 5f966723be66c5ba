//! DOKU, QRIS over SNAP (acquirer side): query (51) and refund (78). By the book but for three things: a query needs both
//! references, a refund wants the approval code of the query's answer back, and its amount is a JSON number.
//!
//! Source: DOKU API Reference, "Accept Payment > Direct API > SNAP > Integration Guide > QRIS"; `docs/providers/doku.md`.
//! Absent on purpose: generate, decode, payment and cancel, which no reconciliation calls; and `qr-mpm-status` (53), which
//! at DOKU is the status of a payout.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    Account, Asked, BuildError, Call, Provider, QueryReading, RefundOrder, RefundReading, snap,
    token::{GrantedToken, TokenError},
    wire::{HttpRequest, HttpResponse},
};

/// The adapter. It has no state.
#[derive(Debug, Clone, Copy)]
pub struct Doku;

const REFERENCE_MAX: usize = 64;
/// A refund takes a shorter `originalPartnerReferenceNo` than a query.
const REFUND_REFERENCE_MAX: usize = 32;
const REFUND_NO_MAX: usize = 64;
const REASON_MAX: usize = 256;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QueryBody<'a> {
    original_reference_no: &'a str,
    original_partner_reference_no: &'a str,
    service_code: &'a RawValue,
    merchant_id: &'a RawValue,
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

    fn inquiries(&self) -> &'static [&'static str] {
        &["query"]
    }

    fn token_request(&self, account: &Account, at: DateTime<Utc>) -> Result<HttpRequest, BuildError> {
        snap::token_request(account, at)
    }

    fn read_token(&self, response: &HttpResponse) -> Result<GrantedToken, TokenError> {
        snap::read_token(response)
    }

    fn query_request(&self, account: &Account, asked: &Asked<'_>, call: &Call<'_>) -> Result<HttpRequest, BuildError> {
        let reference_no = asked.reference_no.ok_or(BuildError::MissingReference("reference_no"))?;
        snap::check_field("originalReferenceNo", reference_no, REFERENCE_MAX)?;
        snap::check_field("originalPartnerReferenceNo", asked.partner_reference_no, REFERENCE_MAX)?;
        let body = serde_json::to_vec(&QueryBody {
            original_reference_no: reference_no,
            original_partner_reference_no: asked.partner_reference_no,
            service_code: &account.tokens.query_service_code,
            merchant_id: &account.tokens.merchant_id,
        })?;
        snap::transaction(account, &account.endpoints.query, body, call)
    }

    fn read_query(&self, account: &Account, asked: &Asked<'_>, response: &HttpResponse) -> QueryReading {
        snap::read_query(account, asked, response)
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

    fn refund_request(&self, account: &Account, body: &str, call: &Call<'_>) -> Result<HttpRequest, BuildError> {
        snap::transaction(account, &account.endpoints.refund, body.as_bytes().to_vec(), call)
    }

    fn read_refund(&self, account: &Account, asked: &Asked<'_>, response: &HttpResponse) -> RefundReading {
        snap::read_refund(account, asked, response)
    }
}

#[cfg(test)]
mod tests;

//! Paydia, over SNAP: the query of a payment on the issuer's side (51). By the book but for this: it is asked on a
//! customer's behalf, with a customer token that stands bare in its header, and any one of three references is enough.
//!
//! Source: Paydia SNAP API, "Query Payment" (QRIS MPM, issuer); `docs/providers/paydia.md`. Absent on purpose: Paydia's
//! refund, whose document rekon has not read; and its acquirer services (`qr-mpm-status` 53, notify 52).

use serde::Serialize;
use serde_json::value::RawValue;

use super::{Account, Asked, BuildError, Call, Provider, Service, snap, wire::HttpRequest};

/// The adapter. It has no state.
#[derive(Debug, Clone, Copy)]
pub struct Paydia;

const REFERENCE_MAX: usize = 64;
const EXTERNAL_ID_MAX: usize = 32;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QueryBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    original_reference_no: Option<&'a str>,
    original_partner_reference_no: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    original_external_id: Option<&'a str>,
    service_code: Option<&'a RawValue>,
}

impl Provider for Paydia {
    fn name(&self) -> &'static str {
        "paydia"
    }

    fn profile_toml(&self) -> &'static str {
        include_str!("profiles/paydia.toml")
    }

    fn services(&self) -> &'static [Service] {
        &[Service::Token, Service::Query]
    }

    fn query_request(&self, account: &Account, asked: &Asked<'_>, call: &Call<'_>) -> Result<HttpRequest, BuildError> {
        let inquiry = account.inquiry_of(asked);
        if let Some(reference_no) = asked.reference_no {
            snap::check_field("originalReferenceNo", reference_no, REFERENCE_MAX)?;
        }
        snap::check_field("originalPartnerReferenceNo", asked.partner_reference_no, REFERENCE_MAX)?;
        let body = serde_json::to_vec(&QueryBody {
            original_reference_no: asked.reference_no,
            original_partner_reference_no: asked.partner_reference_no,
            // An X-EXTERNAL-ID may have 36 characters and this field takes 32; where it does not fit, the others do.
            original_external_id: asked.external_id.filter(|id| id.len() <= EXTERNAL_ID_MAX),
            service_code: account.tokens.service_code(inquiry),
        })?;
        snap::transaction(account, inquiry, body, call)
    }
}

#[cfg(test)]
mod tests;

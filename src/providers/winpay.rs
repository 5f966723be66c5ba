//! Winpay, over SNAP: the query of a QRIS (51). By the book but for this: there are no tokens, every call is signed with
//! the private key alone; the signed path is the operation's, without the one inside `base_url`; and Winpay's own
//! reference is `additionalInfo.contractId`.
//!
//! Source: Winpay, "SNAP API > QRIS", "QRIS MPM Query" and "Signature Generation"; `docs/providers/winpay.md`. Absent on
//! purpose: everything that does not ask.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{Account, Asked, BuildError, Call, Provider, Service, snap, wire::HttpRequest};

/// The adapter. It has no state.
#[derive(Debug, Clone, Copy)]
pub struct Winpay;

/// "Length: 5-50"; a shorter reference is Winpay's to refuse.
const PARTNER_REFERENCE_MAX: usize = 50;
const CONTRACT_ID_MAX: usize = 64;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QueryBody<'a> {
    original_partner_reference_no: &'a str,
    service_code: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_info: Option<Contract<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Contract<'a> {
    contract_id: &'a str,
}

impl Provider for Winpay {
    fn name(&self) -> &'static str {
        "winpay"
    }

    fn profile_toml(&self) -> &'static str {
        include_str!("profiles/winpay.toml")
    }

    fn services(&self) -> &'static [Service] {
        &[Service::Query]
    }

    fn query_request(&self, account: &Account, asked: &Asked<'_>, call: &Call<'_>) -> Result<HttpRequest, BuildError> {
        let inquiry = account.inquiry_of(asked);
        snap::check_field("originalPartnerReferenceNo", asked.partner_reference_no, PARTNER_REFERENCE_MAX)?;
        if let Some(contract_id) = asked.reference_no {
            snap::check_field("contractId", contract_id, CONTRACT_ID_MAX)?;
        }
        let body = serde_json::to_vec(&QueryBody {
            original_partner_reference_no: asked.partner_reference_no,
            service_code: account.tokens.service_code(inquiry),
            additional_info: asked.reference_no.map(|contract_id| Contract { contract_id }),
        })?;
        snap::transaction(account, inquiry, body, call)
    }
}

#[cfg(test)]
mod tests;

//! Brick, over SNAP: the status of a dynamic QRIS (51). By the book but for this: signed with the private key, a token for
//! one call only, X-CLIENT-KEY beside X-PARTNER-ID, and by GET or by POST: Brick's page exists in both versions, so the
//! profile says which, and where the parameters stand. What 02 means there is in the profile too.
//!
//! Source: Brick, "Status for dynamic QRIS (SNAP)"; `docs/providers/brick.md`. Absent on purpose: generate and refund, which
//! the document does not have.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{Account, Asked, BuildError, Call, Provider, Service, profile::ParamsIn, snap, wire::HttpRequest};

/// The adapter. It has no state.
#[derive(Debug, Clone, Copy)]
pub struct Brick;

const REFERENCE_MAX: usize = 64;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QueryBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    original_reference_no: Option<&'a str>,
    original_partner_reference_no: &'a str,
    service_code: &'a RawValue,
}

impl Provider for Brick {
    fn name(&self) -> &'static str {
        "brick"
    }

    fn profile_toml(&self) -> &'static str {
        include_str!("profiles/brick.toml")
    }

    fn services(&self) -> &'static [Service] {
        &[Service::Token, Service::Query]
    }

    fn query_request(&self, account: &Account, asked: &Asked<'_>, call: &Call<'_>) -> Result<HttpRequest, BuildError> {
        let inquiry = account.inquiry_of(asked);
        let unsupported = || BuildError::Unsupported { provider: self.name(), service: inquiry };
        if let Some(reference_no) = asked.reference_no {
            snap::check_field("originalReferenceNo", reference_no, REFERENCE_MAX)?;
        }
        snap::check_field("originalPartnerReferenceNo", asked.partner_reference_no, REFERENCE_MAX)?;
        let service_code = account.tokens.service_code(inquiry).ok_or_else(unsupported)?;
        let operation = account.profile.operation(inquiry).ok_or_else(unsupported)?;
        let mut request = match operation.params_in {
            ParamsIn::Query => {
                let ours = [
                    ("originalPartnerReferenceNo", asked.partner_reference_no),
                    ("serviceCode", service_code.get().trim_matches('"')),
                ];
                let theirs = asked.reference_no.map(|no| ("originalReferenceNo", no));
                let params: Vec<(&str, &str)> = theirs.into_iter().chain(ours).collect();
                snap::transaction_in_url(account, inquiry, &params, call)?
            }
            ParamsIn::JsonBody => {
                let body = serde_json::to_vec(&QueryBody {
                    original_reference_no: asked.reference_no,
                    original_partner_reference_no: asked.partner_reference_no,
                    service_code,
                })?;
                snap::transaction(account, inquiry, body, call)?
            }
        };
        request.headers.push(("x-client-key", account.client_id.clone()));
        Ok(request)
    }
}

#[cfg(test)]
mod tests;

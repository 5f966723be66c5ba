//! What a person asks DOKU for: generate (47), decode (48), payment (50), cancel (77). Types as DOKU's samples send them:
//! amounts of a generate as strings, of a payment as numbers; `postalCode` and `feeType` as numbers. Cancel's body is the
//! standard's: the document that rekon has read does not print it.

use serde::Serialize;
use serde_json::value::RawValue;

use super::Money;
use crate::{
    domain::money::Sen,
    providers::{
        Account, BuildError, Call, Service,
        by_hand::{ByHand, Cancel, Decode, Generate, Payment},
        snap,
        wire::HttpRequest,
    },
};

/// Longer than this cannot be refunded at DOKU.
const PARTNER_REFERENCE_MAX: usize = 32;
const QR_MAX: usize = 512;
const IDR: &str = "IDR";
/// `feeType` of a fixed tip ("FIX_TIPS").
const FIXED_TIP: u8 = 2;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GenerateBody<'a> {
    partner_reference_no: &'a str,
    amount: Money<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fee_amount: Option<Money<'a>>,
    merchant_id: &'a RawValue,
    terminal_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    validity_period: Option<String>,
    #[serde(skip_serializing_if = "GenerateInfo::is_empty")]
    additional_info: GenerateInfo<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GenerateInfo<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    postal_code: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fee_type: Option<u8>,
}

impl GenerateInfo<'_> {
    const fn is_empty(&self) -> bool {
        self.postal_code.is_none() && self.fee_type.is_none()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DecodeBody<'a> {
    partner_reference_no: &'a str,
    qr_content: &'a str,
    scan_time: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PaymentBody<'a> {
    partner_reference_no: &'a str,
    amount: Money<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fee_amount: Option<Money<'a>>,
    additional_info: PaymentInfo<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PaymentInfo<'a> {
    qr_content: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CancelBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    original_reference_no: Option<&'a str>,
    original_partner_reference_no: &'a str,
    merchant_id: &'a RawValue,
    reason: &'a str,
}

/// Builds the request.
pub(super) fn request(account: &Account, asked: &ByHand<'_>, call: &Call<'_>) -> Result<HttpRequest, BuildError> {
    let body = match asked {
        ByHand::Generate(asked) => generate(account, asked)?,
        ByHand::Decode(asked) => decode(asked)?,
        ByHand::Payment(asked) => payment(account, asked)?,
        ByHand::Cancel(asked) => cancel(account, asked)?,
    };
    snap::transaction(account, asked.service(), body, call)
}

fn generate(account: &Account, asked: &Generate<'_>) -> Result<Vec<u8>, BuildError> {
    snap::check_field("partnerReferenceNo", asked.partner_reference_no, PARTNER_REFERENCE_MAX)?;
    let terminal_id = asked.terminal_id.or(account.terminal_id.as_deref()).unwrap_or_default();
    snap::check_field("terminalId", terminal_id, 16)?;
    let (amount, fee) = amounts(account, Service::Generate, asked.amount, asked.fee_amount)?;
    let postal_code = asked.postal_code.map(postal_code).transpose()?;
    Ok(serde_json::to_vec(&GenerateBody {
        partner_reference_no: asked.partner_reference_no,
        amount: Money { value: &amount, currency: IDR },
        fee_amount: fee.as_ref().map(|value| Money { value, currency: IDR }),
        merchant_id: &account.tokens.merchant_id,
        terminal_id,
        validity_period: asked.expires_at.map(snap::timestamp),
        additional_info: GenerateInfo {
            postal_code: postal_code.as_deref(),
            fee_type: asked.fee_amount.is_some().then_some(FIXED_TIP),
        },
    })?)
}

/// A number in the sample; Indonesian postal codes have five digits and never begin with a zero.
fn postal_code(text: &str) -> Result<Box<RawValue>, BuildError> {
    let is_code = text.len() == 5 && !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
    if !is_code {
        return Err(BuildError::Field { name: "postalCode", max: 5 });
    }
    Ok(RawValue::from_string(text.to_owned())?)
}

fn decode(asked: &Decode<'_>) -> Result<Vec<u8>, BuildError> {
    snap::check_field("partnerReferenceNo", asked.partner_reference_no, PARTNER_REFERENCE_MAX + 2)?;
    snap::check_field("qrContent", asked.qr_content, QR_MAX)?;
    Ok(serde_json::to_vec(&DecodeBody {
        partner_reference_no: asked.partner_reference_no,
        qr_content: asked.qr_content,
        scan_time: snap::timestamp(asked.scanned_at),
    })?)
}

fn payment(account: &Account, asked: &Payment<'_>) -> Result<Vec<u8>, BuildError> {
    snap::check_field("partnerReferenceNo", asked.partner_reference_no, PARTNER_REFERENCE_MAX)?;
    snap::check_field("qrContent", asked.qr_content, QR_MAX)?;
    let (amount, fee) = amounts(account, Service::Payment, asked.amount, asked.fee_amount)?;
    Ok(serde_json::to_vec(&PaymentBody {
        partner_reference_no: asked.partner_reference_no,
        amount: Money { value: &amount, currency: IDR },
        fee_amount: fee.as_ref().map(|value| Money { value, currency: IDR }),
        additional_info: PaymentInfo { qr_content: asked.qr_content },
    })?)
}

fn cancel(account: &Account, asked: &Cancel<'_>) -> Result<Vec<u8>, BuildError> {
    snap::check_field("originalPartnerReferenceNo", asked.partner_reference_no, 64)?;
    snap::check_field("reason", asked.reason, 256)?;
    if let Some(reference_no) = asked.reference_no {
        snap::check_field("originalReferenceNo", reference_no, 64)?;
    }
    Ok(serde_json::to_vec(&CancelBody {
        original_reference_no: asked.reference_no,
        original_partner_reference_no: asked.partner_reference_no,
        merchant_id: &account.tokens.merchant_id,
        reason: asked.reason,
    })?)
}

type Typed = Box<RawValue>;

fn amounts(
    account: &Account,
    service: Service,
    amount: Sen,
    fee_amount: Option<Sen>,
) -> Result<(Typed, Option<Typed>), BuildError> {
    if !amount.is_positive() {
        return Err(BuildError::Field { name: "amount.value", max: 16 });
    }
    let own = account.profile.operation(service).and_then(|o| o.amount_as);
    let amount_as = own.unwrap_or(account.profile.amount_as);
    let fee = fee_amount.map(|fee| snap::amount_token(fee, amount_as)).transpose()?;
    Ok((snap::amount_token(amount, amount_as)?, fee))
}

#[cfg(test)]
mod tests;

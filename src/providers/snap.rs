//! What the providers of the SNAP BI standard have in common: headers, the token service, and how the fields of an
//! answer are called. An adapter takes from here what its provider does by the book.

use std::fmt;

use chrono::{DateTime, FixedOffset, Utc};
use serde_json::value::RawValue;

use super::{
    Account, Asked, BuildError, Call, Drift, QueryReading, RefundReading,
    json::Object,
    profile::{AmountAs, AuthMode, IdsAs, PaymentId},
    sign::ToSign,
    token::{GrantedToken, TokenError},
    wire::{Endpoint, HttpRequest, HttpResponse},
};
use crate::domain::{
    fact::Answer,
    money::Sen,
    observe::{Reading, Said, doubt, doubt_of_http, is_same_reference, observe, paid_time, plain_text},
    reply::{RefundReply, ReplyClass},
    snap_code::ResponseCode,
};

const WIB_SECS: i32 = 7 * 3600;
/// The life of a token that names none (ASPI: 900 s).
const STANDARD_LIFE_SECS: u32 = 900;
/// A token longer than this is none (ASPI allows 2048).
const LONGEST_TOKEN: usize = 8192;
/// No token is trusted for longer.
const LONGEST_LIFE_SECS: u32 = 30 * 86_400;

/// X-TIMESTAMP: WIB, whole seconds, always 25 characters. Paydia and NICEPAY insist on +07:00, and the same text goes
/// into the header and into the signature.
pub fn timestamp(at: DateTime<Utc>) -> String {
    wib(at).format("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// The same moment on an Indonesian wall.
pub(super) fn wib(at: DateTime<Utc>) -> DateTime<FixedOffset> {
    match FixedOffset::east_opt(WIB_SECS) {
        Some(zone) => at.with_timezone(&zone),
        None => at.fixed_offset(),
    }
}

/// A signed transaction request: the standard's headers over exactly these bytes.
pub fn transaction(
    account: &Account,
    endpoint: &Endpoint,
    body: Vec<u8>,
    call: &Call<'_>,
) -> Result<HttpRequest, BuildError> {
    let timestamp = timestamp(call.at);
    let to_sign = ToSign { method: endpoint.method.as_str(), path: &endpoint.path, body: &body, timestamp: &timestamp };
    let signature = match account.profile.auth {
        AuthMode::Symmetric => account.hmac_key.sign(&to_sign, call.token),
        AuthMode::Asymmetric => account.rsa_key.as_ref().ok_or(BuildError::NoPrivateKey)?.sign(&to_sign)?,
    };
    let mut headers = Vec::with_capacity(8);
    headers.push(("content-type", "application/json".to_owned()));
    headers.push(("authorization", format!("Bearer {}", call.token)));
    headers.push(("x-timestamp", timestamp));
    headers.push(("x-signature", signature));
    headers.push(("x-partner-id", account.client_id.clone()));
    headers.push(("x-external-id", call.external_id.to_owned()));
    headers.push(("channel-id", account.channel_id.clone()));
    Ok(HttpRequest { endpoint: endpoint.clone(), headers, body })
}

/// The B2B token request (service 73): RSA over `client_id|timestamp`.
pub fn token_request(account: &Account, at: DateTime<Utc>) -> Result<HttpRequest, BuildError> {
    let timestamp = timestamp(at);
    let key = account.rsa_key.as_ref().ok_or(BuildError::NoPrivateKey)?;
    let signature = key.sign_token_request(&account.client_id, &timestamp)?;
    Ok(HttpRequest {
        endpoint: account.endpoints.token.clone(),
        headers: vec![
            ("content-type", "application/json".to_owned()),
            ("x-timestamp", timestamp),
            ("x-client-key", account.client_id.clone()),
            ("x-signature", signature),
        ],
        body: br#"{"grantType":"client_credentials"}"#.to_vec(),
    })
}

/// Reads the answer to a token request. `responseCode` is mandatory only on failure; `expiresIn` is a string or an
/// integer of seconds.
pub fn read_token(response: &HttpResponse) -> Result<GrantedToken, TokenError> {
    let refused = |code: Option<String>| TokenError::Refused { http_status: response.status, response_code: code };
    let Ok(object) = Object::read(&response.body) else {
        return Err(if response.status == 200 { TokenError::Unreadable } else { refused(None) });
    };
    let code = object.get("responseCode").characters().and_then(ResponseCode::parse);
    if response.status != 200 || code.is_some_and(|c| c.http() != 200) {
        return Err(refused(code.map(|c| c.to_string())));
    }
    let said = object.get("accessToken");
    let token = said.characters().map(str::trim).filter(|t| is_header_safe(t)).ok_or(TokenError::Unreadable)?;
    let life_secs = match object.get("expiresIn") {
        Said::Nothing => STANDARD_LIFE_SECS,
        said => said
            .characters()
            .and_then(|t| t.trim().parse::<u32>().ok())
            .filter(|secs| *secs > 0)
            .ok_or(TokenError::Unreadable)?,
    };
    Ok(GrantedToken { token: token.to_owned(), life_secs: life_secs.min(LONGEST_LIFE_SECS) })
}

fn is_header_safe(token: &str) -> bool {
    !token.is_empty() && token.len() <= LONGEST_TOKEN && token.bytes().all(|b| b.is_ascii_graphic())
}

/// Reads an answer to a query in the standard's own field names.
pub fn read_query(account: &Account, asked: &Asked<'_>, response: &HttpResponse) -> QueryReading {
    let Ok(object) = Object::read(&response.body) else {
        let why = doubt_of_http(response.status).unwrap_or(doubt::UNREADABLE);
        return QueryReading { answer: Answer::indeterminate(why), drift: Vec::new() };
    };
    let approval_code = in_additional_info(&object, "approvalCode");
    let reading = Reading {
        http_status: response.status,
        response_code: object.get("responseCode"),
        latest_transaction_status: object.get("latestTransactionStatus"),
        partner_reference_no: object.get("originalPartnerReferenceNo"),
        reference_no: object.get("originalReferenceNo"),
        external_id: object.get("originalExternalId"),
        merchant_id: object.get("merchantId"),
        amount: object.get_in("amount", "value"),
        currency: object.get_in("amount", "currency"),
        fee_amount: object.get_in("feeAmount", "value"),
        payment_id: match account.profile.payment_id {
            PaymentId::ApprovalCode => approval_code.clone(),
            PaymentId::ReferenceNo => object.get("originalReferenceNo"),
            PaymentId::Rrn => in_additional_info(&object, "rrn"),
        },
        approval_code,
        paid_time: object.get("paidTime"),
    };
    let answer = observe(asked, &reading, &account.profile.rules);
    QueryReading { drift: query_drift(account, &reading, &answer), answer }
}

/// `additionalInfo.NAME`, or `NAME` beside it.
fn in_additional_info<'a>(object: &Object<'a>, name: &str) -> Said<'a> {
    match object.get_in("additionalInfo", name) {
        Said::Nothing => object.get(name),
        said => said,
    }
}

/// Harmless oddities, for a counter: a provider that begins to drift is about to change.
fn query_drift(account: &Account, reading: &Reading<'_>, answer: &Answer) -> Vec<Drift> {
    let mut drift = Vec::new();
    for (name, said) in [
        ("responseCode", &reading.response_code),
        ("latestTransactionStatus", &reading.latest_transaction_status),
        ("originalPartnerReferenceNo", &reading.partner_reference_no),
        ("originalReferenceNo", &reading.reference_no),
        ("originalExternalId", &reading.external_id),
        ("approvalCode", &reading.approval_code),
    ] {
        if matches!(said, Said::Number(_)) {
            drift.push(Drift::NumberForText(name));
        }
    }
    if service_differs(&reading.response_code, account.profile.operations.query.service_code.as_str()) {
        drift.push(Drift::OtherService);
    }
    if let Some(raw) = &answer.paid_time_raw
        && paid_time(raw).is_none()
    {
        drift.push(Drift::TimeWithoutZone);
    }
    drift
}

fn service_differs(response_code: &Said<'_>, service_code: &str) -> bool {
    let code = response_code.characters().and_then(ResponseCode::parse);
    code.is_some_and(|code| service_code.parse() != Ok(code.service()))
}

/// Reads an answer to a refund in the standard's own field names. Never more than the answer proves: a success under
/// another HTTP status, or about another payment, is `Unknown`.
pub fn read_refund(account: &Account, asked: &Asked<'_>, response: &HttpResponse) -> RefundReading {
    let retry_after_secs = response.retry_after_secs();
    let silent = |class, why: &str| RefundReading {
        reply: RefundReply { class, retry_after_secs, ..RefundReply::unknown(why) },
        drift: Vec::new(),
    };
    // A door that is shut (401, 429) says so with or without a body; nothing behind it has been reached.
    let class_of_http = if matches!(response.status, 401 | 429) { ReplyClass::Later } else { ReplyClass::Unknown };
    let Ok(object) = Object::read(&response.body) else {
        return silent(class_of_http, doubt_of_http(response.status).unwrap_or(doubt::UNREADABLE));
    };
    let said_code = object.get("responseCode");
    let Some(code) = said_code.characters().and_then(|digits| ResponseCode::parse(digits.trim())) else {
        return silent(class_of_http, doubt_of_http(response.status).unwrap_or(doubt::NO_RESPONSE_CODE));
    };
    let (class, why) = refund_class(code, asked, &object, response.status);
    let mut drift = Vec::new();
    if matches!(said_code, Said::Number(_)) {
        drift.push(Drift::NumberForText("responseCode"));
    }
    if service_differs(&said_code, account.profile.operations.refund.service_code.as_str()) {
        drift.push(Drift::OtherService);
    }
    let text = |name| plain_text(&object.get(name)).map(|t| t.trim().to_owned());
    let reply = RefundReply {
        class,
        response_code: Some(code.to_string()),
        partner_refund_no: text("partnerRefundNo"),
        amount: refund_amount(&object),
        refund_no: text("refundNo"),
        retry_after_secs,
        doubt: why.map(str::to_owned),
    };
    RefundReading { reply, drift }
}

fn refund_class(
    code: ResponseCode,
    asked: &Asked<'_>,
    object: &Object<'_>,
    http_status: u16,
) -> (ReplyClass, Option<&'static str>) {
    let class = code.refund_class();
    // DOKU repeats the answer to an earlier, identical request under HTTP 409.
    let agrees = http_status == code.http()
        || (http_status == 409 && class == ReplyClass::Success)
        || ((400..500).contains(&http_status) && (400..500).contains(&code.http()) && class != ReplyClass::AlreadyDone);
    if !agrees && !matches!(class, ReplyClass::Inconsistent | ReplyClass::Stop) {
        return (ReplyClass::Unknown, Some(doubt::STATUS_MISMATCH));
    }
    if class == ReplyClass::Success && is_about_another_payment(asked, object) {
        return (ReplyClass::Unknown, Some(doubt::IDENTITY));
    }
    let unknown =
        (class == ReplyClass::Unknown).then(|| doubt_of_http(code.http()).unwrap_or(doubt::UNKNOWN_RESPONSE_CODE));
    (class, unknown)
}

fn is_about_another_payment(asked: &Asked<'_>, object: &Object<'_>) -> bool {
    [(Some(asked.partner_reference_no), "originalPartnerReferenceNo"), (asked.reference_no, "originalReferenceNo")]
        .into_iter()
        .filter_map(|(ours, name)| is_same_reference(ours?, &object.get(name)))
        .any(|is_same| !is_same)
}

/// The amount that went back. Another currency than ours is no amount: `judge` then lets no further refund leave.
fn refund_amount(object: &Object<'_>) -> Option<Sen> {
    match object.get_in("refundAmount", "currency") {
        Said::Nothing => {}
        Said::Text(currency) if currency.trim().eq_ignore_ascii_case("IDR") => {}
        Said::Text(_) | Said::Number(_) | Said::Nonsense => return None,
    }
    match object.get_in("refundAmount", "value") {
        Said::Text(text) => Sen::parse(&text).ok(),
        Said::Number(token) => Sen::parse_number_token(token).ok(),
        Said::Nothing | Said::Nonsense => None,
    }
}

/// An identifier as this provider wants it typed. A number only where no digit is lost by it.
pub fn id_token(id: &str, ids_as: IdsAs) -> Result<Box<RawValue>, BuildError> {
    let is_number = !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()) && (id == "0" || !id.starts_with('0'));
    match ids_as {
        IdsAs::Number if is_number => Ok(RawValue::from_string(id.to_owned())?),
        IdsAs::Number | IdsAs::String => Ok(serde_json::value::to_raw_value(id)?),
    }
}

/// An amount as this provider wants it typed: `"1200.00"`, or `1200` and `1200.25`.
pub fn amount_token(amount: Sen, amount_as: AmountAs) -> Result<Box<RawValue>, BuildError> {
    let text = amount.to_string();
    Ok(RawValue::from_string(match amount_as {
        AmountAs::String => format!("\"{text}\""),
        AmountAs::Number => text.strip_suffix(".00").unwrap_or(&text).to_owned(),
    })?)
}

/// Refuses a field that this provider would refuse, before anything leaves.
pub fn check_field(name: &'static str, value: &str, max: usize) -> Result<(), BuildError> {
    if value.is_empty() || value.len() > max || !value.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
        return Err(BuildError::Field { name, max });
    }
    Ok(())
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NumberForText(field) => write!(f, "number_for_text:{field}"),
            Self::OtherService => f.write_str("other_service"),
            Self::TimeWithoutZone => f.write_str("time_without_zone"),
        }
    }
}

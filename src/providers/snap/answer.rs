//! The answers of the standard in its own field names: what is called what, and what is odd about it. What it means is
//! `domain::observe`'s and `domain::snap_code`'s.

use std::fmt;

use crate::{
    domain::{
        fact::Answer,
        money::Sen,
        observe::{Reading, Said, doubt, doubt_of_http, is_same_reference, observe, paid_time, plain_text},
        reply::{RefundReply, ReplyClass},
        snap_code::ResponseCode,
    },
    providers::{
        Account, Asked, Drift, QueryReading, RefundReading, Service,
        json::Object,
        profile::{CodeAs, PaymentId},
        wire::HttpResponse,
    },
};

/// Reads an answer to a query in the standard's own field names.
pub fn read_query(account: &Account, asked: &Asked<'_>, response: &HttpResponse) -> QueryReading {
    read(account, asked, response, |_, _| {})
}

/// Reads an answer to a status inquiry (53). Our `reference_no` may be the transaction's `sessionId`, as DOKU's document
/// says, and then `originalReferenceNo` is the other name of the same transaction. `transactionDate` is kept as it stands
/// and dates no money: no document says that it is when the money moved.
pub fn read_status(account: &Account, asked: &Asked<'_>, response: &HttpResponse) -> QueryReading {
    let mut reading = read(account, asked, response, |object, reading| {
        let session = object.get("sessionId");
        if asked.reference_no.is_some_and(|ours| is_same_reference(ours, &session) == Some(true)) {
            reading.reference_no = session;
        }
        if reading.paid_time.is_nothing() {
            reading.paid_time = object.get("transactionDate");
        }
    });
    reading.answer.paid_time = None;
    reading
}

fn read<'a>(
    account: &Account,
    asked: &Asked<'_>,
    response: &'a HttpResponse,
    differs: impl FnOnce(&Object<'a>, &mut Reading<'a>),
) -> QueryReading {
    let Ok(object) = Object::read(&response.body) else {
        let why = doubt_of_http(response.status).unwrap_or(doubt::UNREADABLE);
        return QueryReading { answer: Answer::indeterminate(why), drift: Vec::new() };
    };
    let approval_code = in_additional_info(&object, "approvalCode");
    let mut reading = Reading {
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
    differs(&object, &mut reading);
    let answer = observe(asked, &reading, &account.profile.rules);
    QueryReading { drift: query_drift(account, asked, &reading, &answer), answer }
}

/// `additionalInfo.NAME`, or `NAME` beside it.
fn in_additional_info<'a>(object: &Object<'a>, name: &str) -> Said<'a> {
    match object.get_in("additionalInfo", name) {
        Said::Nothing => object.get(name),
        said => said,
    }
}

/// Harmless oddities, for a counter: a provider that begins to drift is about to change.
fn query_drift(account: &Account, asked: &Asked<'_>, reading: &Reading<'_>, answer: &Answer) -> Vec<Drift> {
    let inquiry = account.inquiry_of(asked);
    let code_as = account.profile.response_code_as(inquiry);
    let status_as = account.profile.latest_transaction_status_as;
    let typed = [
        ("responseCode", &reading.response_code, code_as),
        ("latestTransactionStatus", &reading.latest_transaction_status, status_as),
        ("originalPartnerReferenceNo", &reading.partner_reference_no, CodeAs::String),
        ("originalReferenceNo", &reading.reference_no, CodeAs::String),
        ("originalExternalId", &reading.external_id, CodeAs::String),
        ("approvalCode", &reading.approval_code, CodeAs::String),
    ];
    let mut drift: Vec<Drift> = typed.into_iter().filter_map(|(name, said, as_)| other_type(name, said, as_)).collect();
    let operation = account.profile.operation(inquiry);
    if operation.is_some_and(|o| service_differs(&reading.response_code, &o.service_code)) {
        drift.push(Drift::OtherService);
    }
    if let Some(raw) = &answer.paid_time_raw
        && paid_time(raw).is_none()
    {
        drift.push(Drift::TimeWithoutZone);
    }
    drift
}

/// Another JSON type than the documented one.
fn other_type(name: &'static str, said: &Said<'_>, documented: CodeAs) -> Option<Drift> {
    match (said, documented) {
        (Said::Number(_), CodeAs::String) => Some(Drift::NumberForText(name)),
        (Said::Text(_), CodeAs::Number) => Some(Drift::TextForNumber(name)),
        _ => None,
    }
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
    let ability = account.profile.rules.refund.as_ref();
    let class = ability.map_or_else(|| code.refund_class(), |ability| ability.codes.class(code));
    let (class, why) = refund_class((code, class), asked, &object, response.status);
    let code_as = account.profile.response_code_as(Service::Refund);
    let mut drift: Vec<Drift> = other_type("responseCode", &said_code, code_as).into_iter().collect();
    let operation = account.profile.operation(Service::Refund);
    if operation.is_some_and(|o| service_differs(&said_code, &o.service_code)) {
        drift.push(Drift::OtherService);
    }
    if !code.is_named() && ability.is_none_or(|ability| !ability.codes.names(code)) {
        drift.push(Drift::UnknownRefundCode(code));
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
    (code, class): (ResponseCode, ReplyClass),
    asked: &Asked<'_>,
    object: &Object<'_>,
    http_status: u16,
) -> (ReplyClass, Option<&'static str>) {
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

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NumberForText(field) => write!(f, "number_for_text:{field}"),
            Self::TextForNumber(field) => write!(f, "text_for_number:{field}"),
            Self::OtherService => f.write_str("other_service"),
            Self::TimeWithoutZone => f.write_str("time_without_zone"),
            Self::UnknownRefundCode(code) => write!(f, "unknown_refund_code:{code}"),
        }
    }
}

//! Calls that a person makes for support and in the sandbox: a new QR (47), what a QR says (48), a customer's payment (50),
//! the end of an unpaid QR (77). No rule of money uses them; only the last one is also made for a cancelled order. The answers' field names are the
//! standard's; what is sent is each adapter's.
//!
//! A success is one only if it speaks of what was asked; a refusal only if HTTP status and code agree. Everything else is
//! unknown, and the way on is a query.

use chrono::{DateTime, Utc};

use super::{Service, json::Object, wire::HttpResponse};
use crate::domain::{
    money::{Sen, as_rupiah_opt},
    observe::{Said, doubt, doubt_of_http, is_same_reference, plain_text},
    snap_code::ResponseCode,
};

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub enum ByHand<'a> {
    /// A new QR.
    Generate(Generate<'a>),
    /// What a QR says.
    Decode(Decode<'a>),
    /// A customer's payment.
    Payment(Payment<'a>),
    /// The end of an unpaid QR.
    Cancel(Cancel<'a>),
}

/// A new QR.
#[derive(Debug, Clone, Copy)]
pub struct Generate<'a> {
    /// Ours.
    pub partner_reference_no: &'a str,
    /// What is to be paid, without a tip.
    pub amount: Sen,
    /// A fixed tip.
    pub fee_amount: Option<Sen>,
    /// The terminal; `None`: the account's.
    pub terminal_id: Option<&'a str>,
    /// The end of its validity; `None`: the provider's default.
    pub expires_at: Option<DateTime<Utc>>,
    /// The merchant's postal code, five digits.
    pub postal_code: Option<&'a str>,
}

/// What a QR says.
#[derive(Debug, Clone, Copy)]
pub struct Decode<'a> {
    /// Ours, for this call.
    pub partner_reference_no: &'a str,
    /// The QR's text.
    pub qr_content: &'a str,
    /// When it was scanned.
    pub scanned_at: DateTime<Utc>,
}

/// A customer's payment of a QR.
#[derive(Clone, Copy)]
pub struct Payment<'a> {
    /// Ours, for this payment.
    pub partner_reference_no: &'a str,
    /// What is paid, without the tip.
    pub amount: Sen,
    /// The tip.
    pub fee_amount: Option<Sen>,
    /// The QR's text.
    pub qr_content: &'a str,
    /// The customer's token; `None`: the account's.
    pub customer_token: Option<&'a str>,
}

impl std::fmt::Debug for Payment<'_> {
    /// Everything but the customer's token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Payment")
            .field("partner_reference_no", &self.partner_reference_no)
            .field("amount", &self.amount)
            .finish_non_exhaustive()
    }
}

/// The end of an unpaid QR.
#[derive(Debug, Clone, Copy)]
pub struct Cancel<'a> {
    /// Ours.
    pub partner_reference_no: &'a str,
    /// The provider's.
    pub reference_no: Option<&'a str>,
    /// Why; printable ASCII.
    pub reason: &'a str,
}

impl ByHand<'_> {
    /// The call it makes.
    pub const fn service(&self) -> Service {
        match self {
            Self::Generate(_) => Service::Generate,
            Self::Decode(_) => Service::Decode,
            Self::Payment(_) => Service::Payment,
            Self::Cancel(_) => Service::Cancel,
        }
    }

    /// Does it change what can be paid, or pay? Then it belongs into the sandbox.
    pub const fn is_risky(&self) -> bool {
        matches!(self, Self::Payment(_) | Self::Cancel(_))
    }

    /// The customer's token that comes with the call.
    pub const fn customer_token(&self) -> Option<&str> {
        match self {
            Self::Payment(payment) => payment.customer_token,
            Self::Generate(_) | Self::Decode(_) | Self::Cancel(_) => None,
        }
    }

    /// Our reference, and under which name an answer must echo it. A decode's answer has a reference of its own.
    const fn echoed(&self) -> Option<(&str, &'static str)> {
        match self {
            Self::Generate(asked) => Some((asked.partner_reference_no, "partnerReferenceNo")),
            Self::Payment(asked) => Some((asked.partner_reference_no, "partnerReferenceNo")),
            Self::Cancel(asked) => Some((asked.partner_reference_no, "originalPartnerReferenceNo")),
            Self::Decode(_) => None,
        }
    }
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// Done.
    Done,
    /// Refused; nothing happened.
    Refused,
    /// Nobody knows: query before you try again.
    Unknown,
}

/// What the answer to a call by hand says. Fields that a service has not are empty.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ByHandReply {
    /// How it ended.
    pub ended: Ended,
    /// The seven digits.
    pub response_code: Option<String>,
    /// The provider's words; for people, never looked at.
    pub response_message: Option<String>,
    /// Why nobody knows.
    pub doubt: Option<String>,
    /// The provider's reference.
    pub reference_no: Option<String>,
    /// The QR's text.
    pub qr_content: Option<String>,
    /// The merchant's name in a decoded QR.
    pub merchant_name: Option<String>,
    /// The amount, without the tip.
    #[serde(serialize_with = "as_rupiah_opt")]
    pub amount: Option<Sen>,
    /// The tip.
    #[serde(serialize_with = "as_rupiah_opt")]
    pub fee_amount: Option<Sen>,
    /// The approval code of a payment.
    pub approval_code: Option<String>,
    /// When a QR was cancelled, as it stands there.
    pub cancel_time: Option<String>,
}

impl ByHandReply {
    /// No readable answer.
    pub fn unknown(doubt: &str) -> Self {
        Self {
            ended: Ended::Unknown,
            response_code: None,
            response_message: None,
            doubt: Some(doubt.to_owned()),
            reference_no: None,
            qr_content: None,
            merchant_name: None,
            amount: None,
            fee_amount: None,
            approval_code: None,
            cancel_time: None,
        }
    }
}

/// The longest QR: 512 characters by EMVCo.
const LONGEST_QR: usize = 512;

/// Reads an answer in the standard's own field names.
pub fn read(asked: &ByHand<'_>, response: &HttpResponse) -> ByHandReply {
    let Ok(object) = Object::read(&response.body) else {
        return ByHandReply::unknown(doubt_of_http(response.status).unwrap_or(doubt::UNREADABLE));
    };
    let code = object.get("responseCode").characters().and_then(|digits| ResponseCode::parse(digits.trim()));
    let Some(code) = code else {
        return ByHandReply::unknown(doubt_of_http(response.status).unwrap_or(doubt::NO_RESPONSE_CODE));
    };
    let (ended, doubt) = end(asked, code, &object, response.status);
    let text = |said: &Said<'_>| plain_text(said).map(|text| text.trim().to_owned());
    let amount = |parent| match object.get_in(parent, "value") {
        Said::Text(text) => Sen::parse(&text).ok(),
        Said::Number(token) => Sen::parse_number_token(token).ok(),
        Said::Nothing | Said::Nonsense => None,
    };
    let qr = object.get("qrContent");
    ByHandReply {
        ended,
        response_code: Some(code.to_string()),
        response_message: object.get("responseMessage").characters().map(|text| text.chars().take(150).collect()),
        doubt: doubt.map(str::to_owned),
        reference_no: text(&object.get("referenceNo")).or_else(|| text(&object.get("originalReferenceNo"))),
        qr_content: qr.characters().filter(|t| !t.is_empty() && t.len() <= LONGEST_QR).map(str::to_owned),
        merchant_name: text(&object.get("merchantName")),
        amount: amount("transactionAmount").or_else(|| amount("amount")),
        fee_amount: amount("feeAmount"),
        approval_code: text(&object.get_in("additionalInfo", "approvalCode")),
        cancel_time: text(&object.get("cancelTime")),
    }
}

fn end(asked: &ByHand<'_>, code: ResponseCode, object: &Object<'_>, http_status: u16) -> (Ended, Option<&'static str>) {
    if http_status != code.http() {
        return (Ended::Unknown, Some(doubt::STATUS_MISMATCH));
    }
    match (code.http(), code.case()) {
        (200, 0) => {
            let same = asked.echoed().map(|(ours, name)| is_same_reference(ours, &object.get(name)));
            if matches!(same, Some(Some(false))) {
                (Ended::Unknown, Some(doubt::IDENTITY))
            } else {
                (Ended::Done, None)
            }
        }
        // "Duplicate" and "inconsistent" say that something was done under this reference before.
        (409, 1) | (404, 18) => (Ended::Unknown, Some(doubt::CONFLICT)),
        (400..=499, _) => (Ended::Refused, None),
        _ => (Ended::Unknown, Some(doubt_of_http(code.http()).unwrap_or(doubt::UNKNOWN_RESPONSE_CODE))),
    }
}

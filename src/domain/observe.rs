//! From what an answer *says* to what it *means*: the one place where a provider's words become an observation. Pure and
//! the same for every provider; what differs (which field is called what, which status means what) comes in as a
//! [`Reading`] and a [`Profile`].
//!
//! The rule behind all others: an answer is PAID only if nothing speaks against it. Whatever is missing, unreadable or
//! contradictory makes it INDETERMINATE, with the doubt named; it never makes it unpaid. Absent on purpose: comparing
//! the amount with the order's. That is `decide`'s.
//!
//! Nothing that differs from call to call may enter an [`Answer`]: equal answers collapse into one fact.

mod text;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::domain::{
    fact::{Answer, Echo, Warning},
    money::Sen,
    observation::Observation,
    profile::Profile,
    snap_code::{QueryClass, ResponseCode},
};

pub use text::{paid_time, plain_text, two_digits};

/// One field of an answer as it stands there. JSON's `null` is `Nothing`; it is never zero and never "00".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Said<'a> {
    /// Missing or null.
    #[default]
    Nothing,
    /// A JSON string, unescaped, untrimmed.
    Text(Cow<'a, str>),
    /// A JSON number's own spelling, such as `1200.0`.
    Number(&'a str),
    /// Something that no reading makes sense of: an object, a truth value, one key with two values.
    Nonsense,
}

impl Said<'_> {
    /// The characters, whether quoted or not.
    pub fn characters(&self) -> Option<&str> {
        match self {
            Said::Text(text) => Some(text),
            Said::Number(token) => Some(token),
            Said::Nothing | Said::Nonsense => None,
        }
    }

    /// Missing, null or blank.
    pub fn is_nothing(&self) -> bool {
        match self {
            Said::Nothing => true,
            Said::Text(text) => text.trim().is_empty(),
            Said::Number(_) | Said::Nonsense => false,
        }
    }
}

/// What we asked about, as far as the answer must speak of the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'a> {
    /// Our reference.
    pub partner_reference_no: &'a str,
    /// The provider's reference, where we know it.
    pub reference_no: Option<&'a str>,
    /// The X-EXTERNAL-ID of the original request, where we know it.
    pub external_id: Option<&'a str>,
    /// The account's merchant.
    pub merchant_id: &'a str,
    /// Money that goes out: asked about by its status, never as a payment.
    pub is_payout: bool,
}

/// What the text of an answer to a query says, field by field, before any meaning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading<'a> {
    /// The HTTP status beside the body.
    pub http_status: u16,
    /// `responseCode`.
    pub response_code: Said<'a>,
    /// `latestTransactionStatus`.
    pub latest_transaction_status: Said<'a>,
    /// `originalPartnerReferenceNo`.
    pub partner_reference_no: Said<'a>,
    /// `originalReferenceNo`.
    pub reference_no: Said<'a>,
    /// `originalExternalId`.
    pub external_id: Said<'a>,
    /// `merchantId`.
    pub merchant_id: Said<'a>,
    /// `amount.value`.
    pub amount: Said<'a>,
    /// `amount.currency`.
    pub currency: Said<'a>,
    /// `feeAmount.value`.
    pub fee_amount: Said<'a>,
    /// What the profile names to tell two payments apart.
    pub payment_id: Said<'a>,
    /// `approvalCode`.
    pub approval_code: Said<'a>,
    /// `paidTime`.
    pub paid_time: Said<'a>,
}

/// Why an answer is INDETERMINATE: the words of `Answer::doubt`, of metrics and of `explain`.
pub mod doubt {
    /// The body is not a JSON object that can be read to its end.
    pub const UNREADABLE: &str = "unreadable";
    /// The body names no seven digits.
    pub const NO_RESPONSE_CODE: &str = "no_response_code";
    /// Seven digits that no document names.
    pub const UNKNOWN_RESPONSE_CODE: &str = "unknown_response_code";
    /// HTTP status and `responseCode` contradict one another.
    pub const STATUS_MISMATCH: &str = "status_mismatch";
    /// A success without `latestTransactionStatus`.
    pub const NO_STATUS: &str = "no_status";
    /// A `latestTransactionStatus` that the profile does not know.
    pub const UNKNOWN_CODE: &str = "unknown_code";
    /// A wrong reference or merchant.
    pub const IDENTITY: &str = "identity";
    /// No reference to compare.
    pub const NO_ECHO: &str = "no_echo";
    /// Paid, without a readable amount.
    pub const AMOUNT: &str = "amount";
    /// Paid, without a readable currency.
    pub const CURRENCY: &str = "currency";
    /// 202.
    pub const IN_PROGRESS: &str = "in_progress";
    /// 400.
    pub const BAD_REQUEST: &str = "bad_request";
    /// 401: signature, clock or credentials.
    pub const UNAUTHORIZED: &str = "unauthorized";
    /// 403, 404 and 405 but for "not found".
    pub const REFUSED: &str = "refused";
    /// 409: the request's id was used before.
    pub const CONFLICT: &str = "conflict";
    /// 429.
    pub const RATE_LIMITED: &str = "rate_limited";
    /// 5xx.
    pub const SERVER_ERROR: &str = "server_error";
}

/// Reads an answer to a query.
pub fn observe(asked: &Asked<'_>, reading: &Reading<'_>, profile: &Profile) -> Answer {
    let code = reading.response_code.characters().and_then(|digits| ResponseCode::parse(digits.trim()));
    let Some(code) = code else {
        return Answer::indeterminate(doubt_of_http(reading.http_status).unwrap_or(doubt::NO_RESPONSE_CODE));
    };
    let mut answer = Answer { response_code: Some(code.to_string()), doubt: None, ..Answer::indeterminate("") };
    if reading.http_status != code.http() {
        answer.warnings.push(Warning::Status);
        if !may_disagree(reading.http_status, code) {
            return doubted(answer, doubt_of_http(code.http()).unwrap_or(doubt::STATUS_MISMATCH));
        }
    }
    match code.query_class() {
        QueryClass::Success => success(asked, reading, profile, answer),
        QueryClass::NotFound => {
            answer.echo = echo(asked, reading, &mut answer.warnings);
            if answer.echo == Echo::Wrong {
                return doubted(answer, doubt::IDENTITY);
            }
            answer.observation = Observation::Absent;
            answer
        }
        QueryClass::TokenInvalid | QueryClass::RateLimited | QueryClass::Conflict | QueryClass::Indeterminate => {
            doubted(answer, doubt_of_http(code.http()).unwrap_or(doubt::UNKNOWN_RESPONSE_CODE))
        }
    }
}

/// The doubt that an HTTP status alone raises; `None` where the status names nothing.
pub fn doubt_of_http(status: u16) -> Option<&'static str> {
    match status {
        202 => Some(doubt::IN_PROGRESS),
        400 => Some(doubt::BAD_REQUEST),
        401 => Some(doubt::UNAUTHORIZED),
        403..=405 => Some(doubt::REFUSED),
        409 => Some(doubt::CONFLICT),
        429 => Some(doubt::RATE_LIMITED),
        500..=599 => Some(doubt::SERVER_ERROR),
        _ => None,
    }
}

/// Two disagreements are known and harmless for a query: DOKU repeats an earlier success under HTTP 409, and gateways
/// put a refusal into an HTTP 200. Every other one leaves no side to believe.
fn may_disagree(http_status: u16, code: ResponseCode) -> bool {
    match code.query_class() {
        QueryClass::Success => http_status == 409,
        QueryClass::NotFound => http_status == 200,
        QueryClass::TokenInvalid | QueryClass::RateLimited | QueryClass::Conflict | QueryClass::Indeterminate => false,
    }
}

fn success(asked: &Asked<'_>, reading: &Reading<'_>, profile: &Profile, mut answer: Answer) -> Answer {
    answer.echo = echo(asked, reading, &mut answer.warnings);
    answer.latest_transaction_status = two_digits(&reading.latest_transaction_status);
    let means = answer.latest_transaction_status.as_deref().and_then(|code| profile.status.get(code)).map(|m| m.means);
    if let Some(Observation::Paid | Observation::Reversed) = means {
        money(reading, profile, &mut answer);
    }
    let why = match (answer.echo, means) {
        (Echo::Wrong, _) => Some(doubt::IDENTITY),
        (_, None) if reading.latest_transaction_status.is_nothing() => Some(doubt::NO_STATUS),
        (_, None) => Some(doubt::UNKNOWN_CODE),
        (Echo::Silent, _) => Some(doubt::NO_ECHO),
        // Nothing taken is not a payment: a zero is read as no amount.
        (Echo::Right, Some(Observation::Paid)) if !answer.amount.is_some_and(Sen::is_positive) => {
            answer.warnings.push(Warning::Amount);
            Some(doubt::AMOUNT)
        }
        (Echo::Right, Some(Observation::Paid)) if answer.currency.is_none() => Some(doubt::CURRENCY),
        (Echo::Right, Some(_)) => None,
    };
    answer.warnings.sort_unstable();
    answer.warnings.dedup();
    match (why, means) {
        (Some(why), _) => doubted(answer, why),
        (None, Some(means)) => Answer { observation: means, ..answer },
        (None, None) => doubted(answer, doubt::UNKNOWN_CODE),
    }
}

fn doubted(mut answer: Answer, why: &str) -> Answer {
    answer.observation = Observation::Indeterminate;
    answer.doubt = Some(why.to_owned());
    answer
}

/// Reads what only a payment has. Answers about unpaid rows carry none of it: some providers fill `paidTime` and
/// `amount` with dummies that change from call to call.
fn money(reading: &Reading<'_>, profile: &Profile, answer: &mut Answer) {
    match amount(&reading.amount) {
        Ok(amount) => answer.amount = amount,
        Err(()) => answer.warnings.push(Warning::Amount),
    }
    // An unreadable fee could explain the amount, so it is a doubt about the amount.
    match amount(&reading.fee_amount) {
        Ok(fee) => answer.fee_amount = fee,
        Err(()) => answer.warnings.push(Warning::Amount),
    }
    answer.currency = text::currency(&reading.currency);
    if answer.currency.is_none() {
        answer.warnings.push(Warning::Currency);
    }
    answer.payment_id = plain_text(&reading.payment_id).map(|id| id.trim().to_owned());
    // DOKU wants it back on a refund exactly as it gave it, blanks and all.
    answer.approval_code = plain_text(&reading.approval_code).map(str::to_owned);
    answer.paid_time_raw = plain_text(&reading.paid_time).map(str::to_owned);
    answer.paid_time = answer.paid_time_raw.as_deref().filter(|_| profile.paid_time_trusted).and_then(paid_time);
}

fn amount(said: &Said<'_>) -> Result<Option<Sen>, ()> {
    match said {
        Said::Nothing => Ok(None),
        Said::Text(text) => Sen::parse(text).map(Some).map_err(|_| ()),
        Said::Number(token) => Sen::parse_number_token(token).map(Some).map_err(|_| ()),
        Said::Nonsense => Err(()),
    }
}

/// Does the answer speak of the payment we asked about? One right reference and none wrong is enough; the merchant can
/// only speak against it, for it is on every payment.
fn echo(asked: &Asked<'_>, reading: &Reading<'_>, warnings: &mut Vec<Warning>) -> Echo {
    let references = [
        (Some(asked.partner_reference_no), &reading.partner_reference_no),
        (asked.reference_no, &reading.reference_no),
        (asked.external_id, &reading.external_id),
    ];
    let mut verdict = Echo::Silent;
    for (ours, theirs) in references.into_iter().filter_map(|(ours, theirs)| Some((ours?, theirs))) {
        match compare(ours, theirs) {
            Likeness::Same if verdict != Echo::Wrong => verdict = Echo::Right,
            Likeness::Other => verdict = Echo::Wrong,
            Likeness::Doubtful => warnings.push(Warning::Reference),
            Likeness::Same | Likeness::Unsaid => {}
        }
    }
    match compare(asked.merchant_id, &reading.merchant_id) {
        Likeness::Other => Echo::Wrong,
        // A merchant typed as an integer loses its leading zeros at many providers; the reference decides.
        Likeness::Same | Likeness::Unsaid | Likeness::Doubtful => verdict,
    }
}

enum Likeness {
    Same,
    Other,
    /// A number that equals ours but for leading zeros, or nothing readable: speaks neither for nor against.
    Doubtful,
    Unsaid,
}

fn compare(ours: &str, theirs: &Said<'_>) -> Likeness {
    if theirs.is_nothing() {
        return Likeness::Unsaid;
    }
    match theirs {
        Said::Nothing => Likeness::Unsaid,
        Said::Nonsense => Likeness::Doubtful,
        Said::Text(text) if text.trim() == ours => Likeness::Same,
        Said::Number(token) if *token == ours => Likeness::Same,
        Said::Number(token) if *token == ours.trim_start_matches('0') => Likeness::Doubtful,
        Said::Text(_) | Said::Number(_) => Likeness::Other,
    }
}

/// Does what was said about a reference equal ours? For answers that are no observation, such as a refund's.
/// `None`: nothing that could be compared.
pub fn is_same_reference(ours: &str, theirs: &Said<'_>) -> Option<bool> {
    match compare(ours, theirs) {
        Likeness::Same => Some(true),
        Likeness::Other => Some(false),
        Likeness::Doubtful | Likeness::Unsaid => None,
    }
}

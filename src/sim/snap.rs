//! The spelling of SNAP BI on the provider's side: response codes, amounts, times. It knows no payments and no HTTP.

use std::borrow::Cow;

use chrono::{DateTime, FixedOffset, Utc};

/// Seconds that WIB (Jakarta) is ahead of UTC; it knows no summer time.
pub(super) const WIB_OFFSET_SECS: i32 = 7 * 3600;

/// A service of the standard, by the two digits that stand inside every response code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// B2B access token (73).
    Token,
    /// `qr-mpm-query` (51).
    Query,
    /// `qr-mpm-refund` (78).
    Refund,
    /// `qr-mpm-status` (53).
    Status,
    /// B2B2C access token (74).
    CustomerToken,
    /// `qr-mpm-generate` (47).
    Generate,
    /// `qr-mpm-decode` (48).
    Decode,
    /// `qr-mpm-payment` (50).
    Payment,
    /// `qr-mpm-cancel` (77).
    Cancel,
}

impl Service {
    /// The service code.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Token => "73",
            Self::Query => "51",
            Self::Refund => "78",
            Self::Status => "53",
            Self::CustomerToken => "74",
            Self::Generate => "47",
            Self::Decode => "48",
            Self::Payment => "50",
            Self::Cancel => "77",
        }
    }

    /// `HTTP status ‖ service code ‖ case code`.
    pub(super) fn response_code(self, http_status: u16, case_code: &str) -> String {
        format!("{http_status}{}{case_code}", self.code())
    }
}

/// A definite no: an HTTP status, a case code and the standard's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// HTTP status.
    pub(super) http_status: u16,
    /// The last two digits of the response code.
    pub(super) case_code: Cow<'static, str>,
    /// `responseMessage`.
    pub(super) message: Cow<'static, str>,
    /// `Retry-After`, in seconds.
    pub(super) retry_after_secs: Option<u64>,
}

impl Refusal {
    /// A refusal with the standard's usual message for that status and case.
    pub(super) fn new(http_status: u16, case_code: impl Into<Cow<'static, str>>) -> Self {
        let case_code = case_code.into();
        let message = message_of(http_status, &case_code).into();
        Self { http_status, case_code, message, retry_after_secs: None }
    }

    /// 400xx02: a mandatory field is missing.
    pub(super) fn missing(field: &str) -> Self {
        Self { message: format!("Invalid Mandatory Field {field}").into(), ..Self::new(400, "02") }
    }

    /// 400xx01: a field has the wrong format.
    pub(super) fn malformed(field: &str) -> Self {
        Self { message: format!("Invalid Field Format {field}").into(), ..Self::new(400, "01") }
    }

    /// 401xx00 with its reason.
    pub(super) fn unauthorized(reason: &str) -> Self {
        Self { message: format!("Unauthorized. {reason}").into(), ..Self::new(401, "00") }
    }
}

/// The standard's message for an HTTP status and case code.
pub(super) fn message_of(http_status: u16, case_code: &str) -> &'static str {
    match (http_status, case_code) {
        (200, _) => "Request has been processed successfully",
        (202, _) => "Request In Progress",
        (400, _) => "Bad Request",
        (401, "01") => "Access Token Invalid (B2B)",
        (401, _) => "Unauthorized",
        (403, "00") => "Transaction Expired",
        (403, "04") => "Activity Count Limit Exceeded",
        (403, "14") => "Insufficient Funds",
        (403, _) => "Transaction Not Permitted",
        (404, "00") => "Invalid Transaction Status",
        (404, "01") => "Transaction Not Found",
        (404, "08") => "Invalid Merchant",
        (404, "13") => "Invalid Amount",
        (404, "18") => "Inconsistent Request",
        (405, _) => "Requested Operation Is Not Allowed",
        (409, "01") => "Duplicate partnerReferenceNo",
        (409, _) => "Conflict",
        (429, _) => "Too Many Requests",
        (504, _) => "Timeout",
        (500, "01") => "Internal Server Error",
        (500, "02") => "External Server Error",
        (500..=599, _) => "General Error",
        _ => "Unknown",
    }
}

/// Writes sen as rupiah with two decimals: 120000 → `1200.00`.
pub(super) fn push_amount(out: &mut String, amount_sen: i64) {
    let magnitude = amount_sen.unsigned_abs();
    if amount_sen < 0 {
        out.push('-');
    }
    out.push_str(&(magnitude / 100).to_string());
    out.push_str(if magnitude % 100 < 10 { ".0" } else { "." });
    out.push_str(&(magnitude % 100).to_string());
}

/// Reads rupiah with at most two decimals (`1200`, `1200.5`, `1200.00`) as sen; no signs, separators or exponents.
pub(super) fn parse_amount(text: &str) -> Option<i64> {
    let (rupiah, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(rupiah) || !all_digits(decimals) || decimals.len() > 2 {
        return None;
    }
    let sen: i64 = decimals.parse().ok()?;
    let sen = if decimals.len() == 1 { sen * 10 } else { sen };
    rupiah.parse::<i64>().ok()?.checked_mul(100)?.checked_add(sen)
}

/// Writes a JSON string with its quotes and escapes.
pub(super) fn push_text(out: &mut String, text: &str) {
    let plain = text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
    out.push('"');
    if plain {
        out.push_str(text);
    } else {
        for character in text.chars() {
            match character {
                '"' | '\\' => out.extend(['\\', character]),
                '\u{0}'..='\u{1F}' => {
                    let escape = format!("\\u{:04x}", u32::from(character));
                    out.push_str(&escape);
                }
                _ => out.push(character),
            }
        }
    }
    out.push('"');
}

/// An instant as SNAP writes it: `2026-11-20T16:05:09+07:00`.
pub(super) fn wib_text(at: DateTime<Utc>) -> String {
    let Some(wib) = FixedOffset::east_opt(WIB_OFFSET_SECS) else { return String::new() };
    at.with_timezone(&wib).to_rfc3339_opts(chrono::SecondsFormat::Secs, false)
}

/// Reads an X-TIMESTAMP: exactly 25 characters, `yyyy-MM-ddTHH:mm:ss+07:00`.
pub(super) fn parse_timestamp(text: &str) -> Option<DateTime<Utc>> {
    if text.len() != 25 || !text.ends_with("+07:00") || text.as_bytes().get(10) != Some(&b'T') {
        return None;
    }
    DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc())
}

/// The number of the WIB calendar day that an instant falls on.
pub(super) fn wib_day(at: DateTime<Utc>) -> i64 {
    at.timestamp().saturating_add(i64::from(WIB_OFFSET_SECS)).div_euclid(86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_go_out_with_two_decimals_and_come_in_as_sen() {
        for (sen, text) in [(0, "0.00"), (5, "0.05"), (120_000, "1200.00"), (120_025, "1200.25")] {
            let mut written = String::new();
            push_amount(&mut written, sen);
            assert_eq!((written.as_str(), parse_amount(text)), (text, Some(sen)));
        }
        assert_eq!((parse_amount("1200"), parse_amount("1200.5")), (Some(120_000), Some(120_050)));
        for wrong in ["", "-1", "1e3", "10.000,00", "1.234", "1.", ".5", "99999999999999999999"] {
            assert_eq!(parse_amount(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_are_wib_to_the_second_and_nothing_else_is_read() {
        let at = parse_timestamp("2026-11-20T16:05:09+07:00").unwrap();
        assert_eq!(
            (at.to_rfc3339(), wib_text(at)),
            ("2026-11-20T09:05:09+00:00".into(), "2026-11-20T16:05:09+07:00".into())
        );
        for wrong in [
            "2026-11-20T16:05:09Z",
            "2026-11-20 16:05:09+07:00",
            "2026-11-20T16:05:09+08:00",
            "2026-13-20T16:05:09+07:00",
        ] {
            assert_eq!(parse_timestamp(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_wib_day_turns_at_five_in_the_afternoon_utc() {
        let before = parse_timestamp("2026-11-20T23:59:59+07:00").unwrap();
        let after = parse_timestamp("2026-11-21T00:00:00+07:00").unwrap();
        assert_eq!(wib_day(after) - wib_day(before), 1);
    }

    #[test]
    fn text_that_needs_escapes_stays_json() {
        let mut out = String::new();
        push_text(&mut out, "a\"b\\c\n");
        assert_eq!(serde_json::from_str::<String>(&out).unwrap(), "a\"b\\c\n");
    }
}

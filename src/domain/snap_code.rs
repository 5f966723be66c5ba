//! SNAP BI response codes: what the seven digits mean for a query and for a refund. Protocol, so code and not data; the
//! source is the standard's table (ASPI, data and security standard v1.0.2), with the gaps noted where they are decided.
//!
//! A code is read by its HTTP class and its case. The service code in the middle is only compared for drift: providers
//! are known to answer a query (51) with another service's digits. Absent on purpose: `latestTransactionStatus`, which
//! is data of each provider (`observation::StatusMap`).

use std::fmt;

use crate::domain::reply::ReplyClass;

/// `responseCode`: HTTP status (3 digits), service (2), case (2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResponseCode {
    http: u16,
    service: u8,
    case: u8,
}

/// What the code of an answer to a *query* says. About the payment it says nothing, but for `NotFound`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryClass {
    /// 200xx00: the call was answered; the body says the rest.
    Success,
    /// 404xx01: the provider does not know the payment. Proves nothing alone.
    NotFound,
    /// 401xx01 and 401xx03: our token is not, or no longer, known. Worth one new token.
    TokenInvalid,
    /// 429: asked too often.
    RateLimited,
    /// 409xx00: this X-EXTERNAL-ID was used before.
    Conflict,
    /// Everything else: no verdict.
    Indeterminate,
}

impl ResponseCode {
    /// Reads the seven digits, written as a text or as an integer: the first digit is never 0, so both spell alike.
    pub fn parse(digits: &str) -> Option<Self> {
        if digits.len() != 7 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let http = digits.get(..3)?.parse().ok()?;
        let service = digits.get(3..5)?.parse().ok()?;
        let case = digits.get(5..)?.parse().ok()?;
        (100..600).contains(&http).then_some(Self { http, service, case })
    }

    /// The HTTP status inside the code.
    pub const fn http(self) -> u16 {
        self.http
    }

    /// The service that answered; compared for drift only.
    pub const fn service(self) -> u8 {
        self.service
    }

    /// The case of that status.
    pub const fn case(self) -> u8 {
        self.case
    }

    /// The class of an answer to a query.
    pub const fn query_class(self) -> QueryClass {
        match (self.http, self.case) {
            (200, 0) => QueryClass::Success,
            (404, 1) => QueryClass::NotFound,
            (401, 1 | 3) => QueryClass::TokenInvalid,
            (429, _) => QueryClass::RateLimited,
            (409, 0) => QueryClass::Conflict,
            _ => QueryClass::Indeterminate,
        }
    }

    /// Is it in the standard's table of codes (Standar Nasional Open API Pembayaran, response codes)?
    pub const fn is_named(self) -> bool {
        matches!(
            (self.http, self.case),
            (200 | 202 | 429 | 504, 0) | (400 | 500, 0..=2) | (401, 0..=4) | (403, 0..=12 | 14..=20 | 23) | (404, 0..=19) | (405 | 409, 0..=1)
        )
    }

    /// The class of an answer to a refund.
    ///
    /// `Refusal` and `Closed` are reserved for codes that say no to *this* request for good: they let a later refund have a new
    /// number, so a code that leaves room for "done already" or "not yet" must never be one. A profile may replace rows
    /// (`refund_codes`).
    pub const fn refund_class(self) -> ReplyClass {
        match (self.http, self.case) {
            (200, 0) => ReplyClass::Success,
            (409, 1) => ReplyClass::AlreadyDone,
            (404, 18) => ReplyClass::Inconsistent,
            (403 | 404, case) => Self::refund_no(self.http, case),
            // Nothing was done: the door was shut, the id was used, or the hour is wrong.
            (429 | 401, _) | (409, 0) | (405, 1) => ReplyClass::Later,
            // 202 is "accepted, not done"; after 5xx nobody knows.
            (202 | 500..=599, _) => ReplyClass::Unknown,
            // 400 is our own mistake, 405xx00 a service that is not there, the rest is news. Repeating cannot mend it.
            _ => ReplyClass::Stop,
        }
    }

    #[expect(clippy::match_same_arms, reason = "one arm for each reason")]
    const fn refund_no(http: u16, case: u8) -> ReplyClass {
        match (http, case) {
            // Amount, count, token, merchant and account limits, cut-off hours, lack of balance: all pass with time.
            (403, 2 | 4 | 6 | 14 | 17 | 20 | 23) => ReplyClass::Later,
            // Expired, not permitted: the refund's window is over, or this payment has no way back by API.
            (403, 0 | 15) => ReplyClass::Closed,
            // Not allowed, fraud, do not honor, cards and OTPs, inactive, blacklisted: nobody pays that out unasked.
            (403, 1 | 3 | 5 | 7..=12 | 18 | 19) => ReplyClass::Refusal,
            // "Invalid transaction status": the original cannot be refunded as it stands. It may have been refunded
            // already, by an attempt of ours or by somebody else, so it is no definite no. This attempt did nothing:
            // `Later` asks the provider again before the same number goes out once more, and there a 04 is seen.
            (404, 0) => ReplyClass::Later,
            // "Invalid amount": more than what is left to refund. No to this number, and the same number keeps its
            // amount, so waiting cannot help.
            (404, 13) => ReplyClass::Refusal,
            // Bank not supported, no issuer, expired: the way back is not there.
            (404, 3 | 9 | 19) => ReplyClass::Closed,
            // Cancelled by the customer.
            (404, 4) => ReplyClass::Refusal,
            // "Transaction not found", seconds after a query that found it paid: wrong ids, merchant or environment.
            // Nothing moved, but time does not mend it and a new number would meet the same: a person must look. So
            // too for unknown merchant, partner and terminal, for a suspended transaction (403xx16: it may resume),
            // and for every case that the table does not name.
            _ => ReplyClass::Stop,
        }
    }
}

impl fmt::Display for ResponseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03}{:02}{:02}", self.http, self.service, self.case)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn code(digits: &str) -> ResponseCode {
        ResponseCode::parse(digits).unwrap_or_else(|| panic!("{digits} is a code"))
    }

    #[test]
    fn seven_digits_are_a_code_and_nothing_else_is() {
        let read = code("2005100");
        assert_eq!((read.http(), read.service(), read.case()), (200, 51, 0));
        for text in
            ["", "200510", "20051000", "20051OO", "0005100", "9995100", " 2005100", "2005100.", "-200510", "२००५१००"]
        {
            assert_eq!(ResponseCode::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_query_code_is_read_by_class_and_case_whatever_its_service() {
        use QueryClass::{Conflict, Indeterminate, NotFound, RateLimited, Success, TokenInvalid};
        for (digits, class) in [
            ("2005100", Success),
            ("2005300", Success),
            ("2005101", Indeterminate),
            ("2025100", Indeterminate),
            ("4005101", Indeterminate),
            ("4015100", Indeterminate),
            ("4015101", TokenInvalid),
            ("4015102", Indeterminate),
            ("4015103", TokenInvalid),
            ("4015104", Indeterminate),
            ("4035100", Indeterminate),
            ("4045100", Indeterminate),
            ("4045101", NotFound),
            ("4045116", Indeterminate),
            ("4095100", Conflict),
            ("4095101", Indeterminate),
            ("4295100", RateLimited),
            ("5005101", Indeterminate),
            ("5045100", Indeterminate),
        ] {
            assert_eq!(code(digits).query_class(), class, "{digits}");
        }
    }

    #[test]
    fn a_refund_code_is_a_refusal_only_where_it_says_no_for_good() {
        use ReplyClass::{AlreadyDone, Closed, Inconsistent, Later, Refusal, Stop, Success, Unknown};
        for (class, digits) in [
            (Success, &["2007800"][..]),
            (AlreadyDone, &["4097801"]),
            (Inconsistent, &["4047818"]),
            (
                Refusal,
                &["4037801", "4037803", "4037805", "4037807", "4037812", "4037818", "4037819", "4047804", "4047813"],
            ),
            (Closed, &["4037800", "4037815", "4047803", "4047809", "4047819"]),
            (Later, &["4297800", "4017800", "4017801", "4017803", "4097800", "4057801", "4047800"]),
            (Later, &["4037802", "4037804", "4037806", "4037814", "4037817", "4037820", "4037823"]),
            (Unknown, &["2027800", "5007800", "5007801", "5007802", "5047800", "5987800"]),
            (
                Stop,
                &["4007800", "4007801", "4007802", "4007803", "4057800", "4047801", "4047808", "4047816", "4047817"],
            ),
            (
                Stop,
                &["4037813", "4037816", "4037821", "4037899", "4047899", "4097802", "2007801", "3027800", "4187800"],
            ),
        ] {
            for digits in digits {
                assert_eq!(code(digits).refund_class(), class, "{digits}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_code_or_not_and_a_code_spells_itself(text in "[0-9]{7}|\\PC{0,12}") {
            if let Some(code) = ResponseCode::parse(&text) {
                prop_assert_eq!(code.to_string(), text);
            }
        }

        #[test]
        fn nothing_but_200_and_409_ever_tells_that_money_went_back(http in 100_u16..600, case in 0_u8..100) {
            let code = ResponseCode { http, service: 78, case };
            let tells = matches!(code.refund_class(), ReplyClass::Success | ReplyClass::AlreadyDone);
            prop_assert_eq!(tells, (http, case) == (200, 0) || (http, case) == (409, 1));
        }
    }
}

//! What a provider's answers to a refund mean where its profile knows better than the standard's table (`snap_code`): a code
//! is a no, a no to the API alone, a "not now" with its time, or a person's. What no table may say is held here, in code.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::domain::{day::BusinessDay, order::later, reply::ReplyClass, snap_code::ResponseCode};

/// What a code says, in a profile's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodeMeans {
    /// No, for good.
    Refusal,
    /// No, for good and by API: a bank transfer is left.
    ByHand,
    /// Not now: the same number again, later.
    Later,
    /// Our mistake, or news: a person looks.
    Review,
}

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodeMeaning {
    /// What it says.
    pub means: CodeMeans,
    /// Of `later`: a duration, `next_day` (00:00 WIB), or empty: the account's ladder.
    #[serde(default)]
    pub wait: String,
    /// Where it is written, for people.
    #[serde(default)]
    pub note: String,
}

/// How long a "not now" lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodeWait {
    /// The account's ladder says.
    Ladder,
    /// So many seconds.
    Secs(i64),
    /// Until the next day in WIB begins: limits per day are full.
    NextDay,
}

impl CodeWait {
    /// The time to which this puts off, after `now`; `ladder_secs` is the ladder's step.
    pub fn until(self, now: DateTime<Utc>, ladder_secs: i64) -> DateTime<Utc> {
        match self {
            Self::Ladder => later(now, ladder_secs),
            Self::Secs(secs) => later(now, secs),
            Self::NextDay => BusinessDay::of(now).end(),
        }
    }
}

/// Why a table is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefundCodesError {
    /// The key is no code.
    #[error("refund code {0:?} is not written as HTTP status, xx and case, such as \"403xx14\"")]
    NotACode(String),
    /// This code is never data.
    #[error(
        "refund code {0:?} leaves open whether money went back, or says it: only 400, 403, 404 (but for 404xx18) and 405 can be told apart"
    )]
    NeverData(String),
    /// A wait where nothing waits.
    #[error("refund code {0:?} waits and does not mean later")]
    WaitsForNothing(String),
    /// Not a wait.
    #[error("refund code {code:?}: {wait:?} is not a wait; write \"next_day\", or a duration such as \"1h\"")]
    Wait {
        /// The key.
        code: String,
        /// What stands there.
        wait: String,
    },
}

/// A profile's table: HTTP status and case to meaning. Codes that it does not name are the standard's.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RefundCodes(BTreeMap<String, (CodeMeans, CodeWait)>);

impl RefundCodes {
    /// Checks a table; `seconds` reads a duration.
    pub fn try_new(
        table: &BTreeMap<String, CodeMeaning>,
        seconds: impl Fn(&str) -> Option<i64>,
    ) -> Result<Self, RefundCodesError> {
        let row = |(code, meaning): (&String, &CodeMeaning)| {
            check_code(code)?;
            let wait = match meaning.wait.as_str() {
                "" => CodeWait::Ladder,
                _ if meaning.means != CodeMeans::Later => return Err(RefundCodesError::WaitsForNothing(code.clone())),
                "next_day" => CodeWait::NextDay,
                text => CodeWait::Secs(
                    seconds(text)
                        .ok_or_else(|| RefundCodesError::Wait { code: code.clone(), wait: text.to_owned() })?,
                ),
            };
            Ok((code.clone(), (meaning.means, wait)))
        };
        table.iter().map(row).collect::<Result<_, _>>().map(Self)
    }

    /// The class of an answer to a refund.
    pub fn class(&self, code: ResponseCode) -> ReplyClass {
        match self.get(code) {
            Some((CodeMeans::Refusal, _)) => ReplyClass::Refusal,
            Some((CodeMeans::ByHand, _)) => ReplyClass::Closed,
            Some((CodeMeans::Later, _)) => ReplyClass::Later,
            Some((CodeMeans::Review, _)) => ReplyClass::Stop,
            None => code.refund_class(),
        }
    }

    /// Does the table name this code?
    pub fn names(&self, code: ResponseCode) -> bool {
        self.get(code).is_some()
    }

    /// How long this code, seven digits, puts off.
    pub fn wait(&self, response_code: Option<&str>) -> CodeWait {
        let code = response_code.and_then(ResponseCode::parse);
        code.and_then(|code| self.get(code)).map_or(CodeWait::Ladder, |(_, wait)| *wait)
    }

    fn get(&self, code: ResponseCode) -> Option<&(CodeMeans, CodeWait)> {
        self.0.get(&format!("{:03}xx{:02}", code.http(), code.case()))
    }
}

/// Success, "done already", "done otherwise", 5xx and what shuts the door before the refund are the protocol's to say: data
/// that called one of them a no would let money go twice.
fn check_code(code: &str) -> Result<(), RefundCodesError> {
    let parts = code.split_once("xx").filter(|(http, case)| http.len() == 3 && case.len() == 2);
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    let Some((http, case)) = parts.filter(|(http, case)| digits(http) && digits(case)) else {
        return Err(RefundCodesError::NotACode(code.to_owned()));
    };
    if !matches!(http, "400" | "403" | "404" | "405") || (http, case) == ("404", "18") {
        return Err(RefundCodesError::NeverData(code.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone as _;
    use proptest::prelude::*;

    use super::*;

    fn table(rows: &[(&str, CodeMeans, &str)]) -> Result<RefundCodes, RefundCodesError> {
        let row = |(code, means, wait): &(&str, CodeMeans, &str)| {
            ((*code).to_owned(), CodeMeaning { means: *means, wait: (*wait).to_owned(), note: String::new() })
        };
        RefundCodes::try_new(&rows.iter().map(row).collect(), |text| text.strip_suffix('s')?.parse().ok())
    }

    fn code(digits: &str) -> ResponseCode {
        ResponseCode::parse(digits).unwrap()
    }

    #[test]
    fn a_row_replaces_one_code_of_any_service_and_leaves_the_standard_to_the_others() {
        let codes = table(&[
            ("403xx14", CodeMeans::Later, "90s"),
            ("403xx15", CodeMeans::ByHand, ""),
            ("403xx02", CodeMeans::Later, "next_day"),
            ("404xx00", CodeMeans::Refusal, ""),
            ("403xx16", CodeMeans::Review, ""),
        ])
        .unwrap();
        for (digits, class, wait) in [
            ("4037814", ReplyClass::Later, CodeWait::Secs(90)),
            ("4035814", ReplyClass::Later, CodeWait::Secs(90)),
            ("4037815", ReplyClass::Closed, CodeWait::Ladder),
            ("4037802", ReplyClass::Later, CodeWait::NextDay),
            ("4047800", ReplyClass::Refusal, CodeWait::Ladder),
            ("4037816", ReplyClass::Stop, CodeWait::Ladder),
            ("4057801", ReplyClass::Later, CodeWait::Ladder),
            ("2007800", ReplyClass::Success, CodeWait::Ladder),
        ] {
            assert_eq!((codes.class(code(digits)), codes.wait(Some(digits))), (class, wait), "{digits}");
        }
        assert_eq!(codes.wait(None), CodeWait::Ladder);
        assert_eq!(codes.wait(Some("nonsense")), CodeWait::Ladder);
    }

    #[test]
    fn the_next_day_begins_at_midnight_in_indonesia() {
        let at = |hour, minute| Utc.with_ymd_and_hms(2026, 11, 20, hour, minute, 0).unwrap();
        assert_eq!(CodeWait::NextDay.until(at(16, 59), 5), at(17, 0), "23:59 WIB");
        assert_eq!(CodeWait::NextDay.until(at(17, 0), 5), Utc.with_ymd_and_hms(2026, 11, 21, 17, 0, 0).unwrap());
        assert_eq!(CodeWait::Secs(3600).until(at(1, 0), 5), at(2, 0));
        assert_eq!(CodeWait::Ladder.until(at(1, 0), 60), at(1, 1));
    }

    #[test]
    fn what_is_no_code_or_waits_wrongly_is_refused() {
        for text in ["", "403", "4037814", "403x14", "403xx1", "40Axx14", "403xx014", "xx"] {
            assert_eq!(table(&[(text, CodeMeans::Later, "")]), Err(RefundCodesError::NotACode(text.into())), "{text}");
        }
        assert!(matches!(table(&[("403xx14", CodeMeans::Later, "soon")]), Err(RefundCodesError::Wait { .. })));
        assert!(matches!(table(&[("403xx14", CodeMeans::Refusal, "9s")]), Err(RefundCodesError::WaitsForNothing(_))));
    }

    fn any_meaning() -> impl Strategy<Value = CodeMeans> {
        prop::sample::select(vec![CodeMeans::Refusal, CodeMeans::ByHand, CodeMeans::Later, CodeMeans::Review])
    }

    proptest! {
        /// Whatever a profile says: an answer after which money may have gone back is never a no, and none makes a success.
        #[test]
        fn no_table_makes_a_no_of_what_may_have_moved_money(http in 100_u16..600, case in 0_u8..100, means in any_meaning()) {
            let key = format!("{http:03}xx{case:02}");
            let digits = format!("{http:03}78{case:02}");
            let standard = code(&digits).refund_class();
            match table(&[(&key, means, "")]) {
                Ok(codes) => prop_assert!(!matches!(codes.class(code(&digits)), ReplyClass::Success | ReplyClass::AlreadyDone)),
                Err(_) => prop_assert!(!matches!(http, 400 | 403 | 405) || (http, case) == (404, 18)),
            }
            if matches!(standard, ReplyClass::Success | ReplyClass::AlreadyDone | ReplyClass::Inconsistent | ReplyClass::Unknown) {
                prop_assert_eq!(table(&[(&key, means, "")]), Err(RefundCodesError::NeverData(key)));
            }
        }
    }
}

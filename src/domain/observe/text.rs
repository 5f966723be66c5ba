//! How single texts of an answer are read: status digits, currencies, identifiers and times. Each either reads or does
//! not; none guesses.

use chrono::{DateTime, Utc};

use super::Said;

/// Identifiers and times longer than this are no identifiers; the standard's longest is 64.
const MAX_TEXT: usize = 64;

/// `latestTransactionStatus` in two digits. An *integer* loses its leading zero on the way and gets it back (0 → "00",
/// 2 → "02"). A *text* is taken as it stands: "0" is no code of the standard, and neither is "".
pub fn two_digits(said: &Said<'_>) -> Option<String> {
    let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    match said {
        Said::Text(text) => Some(text.trim()).filter(|t| t.len() == 2 && is_digits(t)).map(str::to_owned),
        Said::Number(token) if token.len() <= 2 && is_digits(token) => Some(format!("{token:0>2}")),
        Said::Number(_) | Said::Nothing | Said::Nonsense => None,
    }
}

/// Three letters, in upper case; anything else names no currency.
pub(super) fn currency(said: &Said<'_>) -> Option<String> {
    match said {
        Said::Text(text) => {
            let text = text.trim();
            (text.len() == 3 && text.bytes().all(|b| b.is_ascii_alphabetic())).then(|| text.to_ascii_uppercase())
        }
        Said::Nothing | Said::Number(_) | Said::Nonsense => None,
    }
}

/// A short printable text that is not blank: what may be stored, shown and sent back.
pub fn plain_text<'s>(said: &'s Said<'_>) -> Option<&'s str> {
    said.characters().filter(|t| !t.trim().is_empty() && t.len() <= MAX_TEXT && !t.contains(char::is_control))
}

/// Reads a time that names its zone: RFC 3339 with `T` or a blank, `+0700` for `+07:00`, any number of decimals, and
/// DOKU's `14:41:52. 022+07:00`. A time without a zone is not read: it may be WIB or UTC, and seven hours move a payment
/// to another day and past an expiry.
pub fn paid_time(raw: &str) -> Option<DateTime<Utc>> {
    let text = raw.trim().replace(". ", ".").replace("'T'", "T");
    DateTime::parse_from_rfc3339(&text)
        .or_else(|_| DateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.f%z"))
        .or_else(|_| DateTime::parse_from_str(&text, "%Y-%m-%d %H:%M:%S%.f%z"))
        .ok()
        .map(|at| at.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_status_gets_its_zero_back_and_a_text_is_taken_as_it_stands() {
        for (said, digits) in [
            (Said::Text("00".into()), Some("00")),
            (Said::Text(" 03 ".into()), Some("03")),
            (Said::Number("0"), Some("00")),
            (Said::Number("2"), Some("02")),
            (Said::Number("14"), Some("14")),
            (Said::Text("0".into()), None),
            (Said::Text("".into()), None),
            (Said::Text("SUCCESS".into()), None),
            (Said::Number("-0"), None),
            (Said::Number("0.0"), None),
            (Said::Number("100"), None),
            (Said::Nothing, None),
            (Said::Nonsense, None),
        ] {
            assert_eq!(two_digits(&said).as_deref(), digits, "{said:?}");
        }
    }

    #[test]
    fn a_time_is_read_only_with_its_zone() {
        let noon = "2023-08-18T16:12:21Z".parse::<DateTime<Utc>>().unwrap();
        for text in [
            "2023-08-18T23:12:21+07:00",
            "2023-08-18T16:12:21Z",
            "2023-08-18T23:12:21.000+07:00",
            "2023-08-18T23:12:21. 000+07:00",
            "2023-08-18T23:12:21+0700",
            "2023-08-18 23:12:21+07:00",
            "2023-08-18'T'23:12:21+07:00",
            " 2023-08-18T23:12:21+07:00 ",
        ] {
            assert_eq!(paid_time(text), Some(noon), "{text}");
        }
        for text in
            ["2023-08-18T23:12:21", "2023-08-18 23:12:21", "20230818231221", "2023-08-18", "06:20:06+07:00", "", "-"]
        {
            assert_eq!(paid_time(text), None, "{text}");
        }
    }

    #[test]
    fn a_text_that_a_database_or_a_header_cannot_hold_is_no_text() {
        for text in ["", "   ", "a\0b", "a\nb", &"9".repeat(65)] {
            assert_eq!(plain_text(&Said::Text(text.into())), None, "{text:?}");
        }
        assert_eq!(plain_text(&Said::Number("328580")), Some("328580"));
    }
}

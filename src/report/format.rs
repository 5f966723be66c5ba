//! How money, times, days and spans are written for people, in one place for every format and language.
//!
//! Digits are Indonesian in English texts too: two styles in one office invite a misreading by a factor of 1000. Programs get
//! [`plain`](crate::domain::money::Sen) amounts and [`iso`] times instead.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use crate::domain::{day::BusinessDay, money::Sen};

/// What this crate keeps money in.
pub const CURRENCY: &str = "IDR";
/// Between `Rp` and the digits, so that no line break tears an amount apart.
const NO_BREAK_SPACE: char = '\u{a0}';
const WIB_AHEAD: TimeDelta = TimeDelta::hours(7);

/// `Rp 12.000`, `Rp 12.000,50`, `-Rp 12.000`: dots between thousands, a comma before sen, and sen only if there are any.
pub fn rupiah(amount: Sen) -> String {
    let text = amount.to_string();
    let (sign, text) = text.strip_prefix('-').map_or(("", text.as_str()), |abs| ("-", abs));
    let (whole, sen) = text.split_once('.').unwrap_or((text, "00"));
    let tail = if sen == "00" { String::new() } else { format!(",{sen}") };
    format!("{sign}Rp{NO_BREAK_SPACE}{}{tail}", thousands(whole))
}

/// `1.980`: a number of things.
pub fn count(number: u64) -> String {
    thousands(&number.to_string())
}

/// `1 row`, `1.980 rows`.
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

fn thousands(digits: &str) -> String {
    let mut out = String::with_capacity(digits.len().saturating_mul(4) / 3);
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push('.');
        }
        out.push(digit);
    }
    out
}

/// The wall clock in WIB; saturates at the end of the calendar.
pub(crate) fn wall_clock(at: DateTime<Utc>) -> NaiveDateTime {
    at.naive_utc().checked_add_signed(WIB_AHEAD).unwrap_or(NaiveDateTime::MAX)
}

/// `19 Nov 2026 14:05:09 WIB`, for people.
pub fn wib(at: DateTime<Utc>) -> String {
    wall_clock(at).format("%-d %b %Y %H:%M:%S WIB").to_string()
}

/// `2026-11-19T14:05:09+07:00`, for programs; fractions of a second only if there are any.
pub fn iso(at: DateTime<Utc>) -> String {
    wall_clock(at).format("%Y-%m-%dT%H:%M:%S%.f+07:00").to_string()
}

/// `19 November 2026`.
pub fn day(day: BusinessDay) -> String {
    day.date().format("%-d %B %Y").to_string()
}

/// `19 November 2026`, or `17 to 19 November 2026`, `28 November to 2 December 2026` where there are more days.
pub fn days(first: BusinessDay, last: BusinessDay) -> String {
    if first == last {
        return day(first);
    }
    let (a, b) = (first.date(), last.date());
    let same = |pattern: &str| a.format(pattern).to_string() == b.format(pattern).to_string();
    let start = match (same("%Y"), same("%Y-%m")) {
        (true, true) => "%-d",
        (true, false) => "%-d %B",
        (false, _) => "%-d %B %Y",
    };
    format!("{} to {}", a.format(start), day(last))
}

/// `850 ms`, `9 s`, `1 min 40 s`, `2 h 5 min`, `3 d 4 h`: the two largest units, cut, not rounded.
pub fn duration(span: Duration) -> String {
    let secs = span.as_secs();
    let pair = |large: u64, unit: &str, small: u64, sub: &str| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {sub}"),
    };
    match secs {
        0 => format!("{} ms", span.subsec_millis()),
        1..60 => format!("{secs} s"),
        60..3_600 => pair(secs / 60, "min", secs % 60, "s"),
        3_600..86_400 => pair(secs / 3_600, "h", secs % 3_600 / 60, "min"),
        _ => pair(secs / 86_400, "d", secs % 86_400 / 3_600, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads `rupiah` back: what a careful person does with his eyes.
    fn read(text: &str) -> Option<Sen> {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let digits = text.strip_prefix("Rp\u{a0}")?.replace('.', "").replace(',', ".");
        let sen = Sen::parse(&digits).ok()?;
        Some(if negative { Sen::ZERO.minus(sen) } else { sen })
    }

    #[test]
    fn rupiah_is_written_the_indonesian_way() {
        for (sen, text) in [
            (0, "Rp\u{a0}0"),
            (1, "Rp\u{a0}0,01"),
            (99_900, "Rp\u{a0}999"),
            (100_000, "Rp\u{a0}1.000"),
            (1_200_050, "Rp\u{a0}12.000,50"),
            (123_456_789_000, "Rp\u{a0}1.234.567.890"),
            (-1_200_000, "-Rp\u{a0}12.000"),
            (-5, "-Rp\u{a0}0,05"),
        ] {
            assert_eq!(rupiah(Sen::new(sen)), text);
        }
    }

    #[test]
    fn times_are_told_in_wib_and_written_with_their_offset() {
        let at: DateTime<Utc> = "2026-11-19T17:05:09Z".parse().unwrap();
        assert_eq!(wib(at), "20 Nov 2026 00:05:09 WIB");
        assert_eq!(iso(at), "2026-11-20T00:05:09+07:00");
        let fine: DateTime<Utc> = "2026-11-19T07:05:09.120Z".parse().unwrap();
        assert_eq!(wib(fine), "19 Nov 2026 14:05:09 WIB");
        assert_eq!(iso(fine), "2026-11-19T14:05:09.120+07:00");
        assert_eq!(iso(fine).parse::<DateTime<Utc>>().unwrap(), fine);
    }

    #[test]
    fn days_are_named_as_shortly_as_is_clear() {
        let d = |text: &str| text.parse::<BusinessDay>().unwrap();
        assert_eq!(days(d("2026-11-09"), d("2026-11-09")), "9 November 2026");
        assert_eq!(days(d("2026-11-17"), d("2026-11-19")), "17 to 19 November 2026");
        assert_eq!(days(d("2026-11-28"), d("2026-12-02")), "28 November to 2 December 2026");
        assert_eq!(days(d("2026-12-31"), d("2027-01-01")), "31 December 2026 to 1 January 2027");
        assert_eq!(days(d("2025-11-28"), d("2026-11-28")), "28 November 2025 to 28 November 2026");
    }

    #[test]
    fn spans_show_their_two_largest_units() {
        for (millis, text) in [
            (850, "850 ms"),
            (9_999, "9 s"),
            (60_000, "1 min"),
            (100_000, "1 min 40 s"),
            (7_500_000, "2 h 5 min"),
            (273_600_000, "3 d 4 h"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
    }

    proptest! {
        #[test]
        fn money_text_round_trips(sen in -999_999_999_999_999_999_i64..=999_999_999_999_999_999) {
            prop_assert_eq!(read(&rupiah(Sen::new(sen))), Some(Sen::new(sen)));
        }

        #[test]
        fn iso_times_round_trip(micros in 0_i64..4_000_000_000_000_000) {
            let at = DateTime::from_timestamp_micros(micros).unwrap();
            prop_assert_eq!(iso(at).parse::<DateTime<Utc>>().unwrap(), at);
        }
    }
}

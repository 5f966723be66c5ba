//! Texts with a unit in them: durations (`90s`) and rupiah (`1000000.00`). Exact, without floats.

use std::time::Duration;

/// What a duration looks like, for messages.
pub(crate) const DURATION_FORM: &str = "a duration such as \"20ms\", \"90s\", \"5m\", \"2h\" or \"7d\"";

/// What an amount looks like, for messages.
pub(crate) const MONEY_FORM: &str = "rupiah as text with two decimals, such as \"1000000.00\"";

const SEN_PER_RUPIAH: i64 = 100;

/// A whole number and one unit of `ms s m h d`.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let seconds_per_unit = match unit {
        "ms" => return Some(Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    number.checked_mul(seconds_per_unit).map(Duration::from_secs)
}

/// The shortest text that reads back as this duration.
pub(crate) fn format_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if duration.subsec_millis() > 0 {
        return format!("{}ms", duration.as_millis());
    }
    match [(86_400, "d"), (3_600, "h"), (60, "m")]
        .into_iter()
        .find(|(unit, _)| seconds > 0 && seconds.is_multiple_of(*unit))
    {
        Some((unit, letter)) => format!("{}{letter}", seconds / unit),
        None => format!("{seconds}s"),
    }
}

/// Rupiah with exactly two decimals, as sen. No sign, no exponent, no grouping.
pub(crate) fn parse_money(text: &str) -> Option<i64> {
    let (rupiah, sen) = text.split_once('.')?;
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(rupiah) || !is_digits(sen) || sen.len() != 2 {
        return None;
    }
    let rupiah: i64 = rupiah.parse().ok()?;
    let sen: i64 = sen.parse().ok()?;
    rupiah.checked_mul(SEN_PER_RUPIAH)?.checked_add(sen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_whole_number_and_one_unit() {
        assert_eq!(parse_duration("20ms"), Some(Duration::from_millis(20)));
        assert_eq!(parse_duration("90s"), Some(Duration::from_secs(90)));
        assert_eq!(parse_duration("48h"), Some(Duration::from_hours(48)));
        assert_eq!(parse_duration("7d"), Some(Duration::from_hours(168)));
        for refused in
            ["", "s", "90", "1.5h", "-1s", "1h30m", "90 s", "90S", "99999999999999999999s", "18446744073709551615d"]
        {
            assert_eq!(parse_duration(refused), None, "{refused}");
        }
    }

    #[test]
    fn a_duration_is_shown_as_it_would_be_written() {
        for text in ["20ms", "1500ms", "0s", "59s", "90s", "5m", "36h", "2d"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
    }

    #[test]
    fn money_is_text_with_two_decimals() {
        assert_eq!(parse_money("1000000.00"), Some(100_000_000));
        assert_eq!(parse_money("0.05"), Some(5));
        for refused in [
            "",
            "1000000",
            "1.000.000,00",
            "1e6",
            "-1.00",
            "+1.00",
            "1.0",
            "1.000",
            ".50",
            "1.",
            "92233720368547758.08",
        ] {
            assert_eq!(parse_money(refused), None, "{refused}");
        }
    }
}

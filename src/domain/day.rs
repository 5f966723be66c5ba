//! The business day of finance: a calendar date in WIB, which is UTC+7 all year (no daylight saving, no zone database needed).
//!
//! A day is the half-open span `[start, end)`, so that consecutive days neither overlap nor leave a gap. Deliberately absent:
//! "now" (the caller passes it in), cut-off hours of single providers (their profiles hold those) and any other time zone.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// How far WIB is ahead of UTC.
const WIB_AHEAD: TimeDelta = TimeDelta::hours(7);

/// One calendar date in WIB. Ordered by time; written `YYYY-MM-DD`, also in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BusinessDay(NaiveDate);

/// Why a text is not a business day.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DayError {
    /// The text has another shape than four, two and two digits joined by hyphens.
    #[error("`{0}` is not a day: write it as YYYY-MM-DD, for example 2026-11-19")]
    Shape(String),
    /// The shape is right, but the calendar has no such date.
    #[error("`{0}` is not a day: the calendar has no such date")]
    NoSuchDate(String),
}

impl BusinessDay {
    /// The day whose span holds `instant`. Instants at the far ends of the calendar saturate.
    pub fn of(instant: DateTime<Utc>) -> Self {
        let wib = instant.naive_utc().checked_add_signed(WIB_AHEAD);
        Self(wib.unwrap_or(NaiveDateTime::MAX).date())
    }

    /// The last whole day before `now`: what a nightly run reconciles when nobody names a day.
    pub fn yesterday(now: DateTime<Utc>) -> Self {
        Self::of(now).previous()
    }

    /// The first instant of the day: 00:00 WIB, which is 17:00 UTC of the date before.
    pub fn start(self) -> DateTime<Utc> {
        let midnight = self.0.and_time(NaiveTime::MIN).checked_sub_signed(WIB_AHEAD);
        midnight.unwrap_or(NaiveDateTime::MIN).and_utc()
    }

    /// The first instant that belongs to the next day.
    pub fn end(self) -> DateTime<Utc> {
        let midnight = self.start().checked_add_signed(TimeDelta::days(1));
        midnight.unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// Whether `instant` lies in `[start, end)`.
    pub fn contains(self, instant: DateTime<Utc>) -> bool {
        Self::of(instant) == self
    }

    /// The day after.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.succ_opt().unwrap_or(self.0))
    }

    /// The day before.
    #[must_use]
    pub fn previous(self) -> Self {
        Self(self.0.pred_opt().unwrap_or(self.0))
    }

    /// The bare calendar date, for SQL `date` columns and spreadsheets.
    pub fn date(self) -> NaiveDate {
        self.0
    }
}

impl From<NaiveDate> for BusinessDay {
    /// Takes a date that is already meant in WIB.
    fn from(date: NaiveDate) -> Self {
        Self(date)
    }
}

impl FromStr for BusinessDay {
    type Err = DayError;

    fn from_str(text: &str) -> Result<Self, DayError> {
        // chrono alone would also take `2026-1-9`, `+2026-01-09` and inner blanks: a typo must not silently choose a day.
        let shaped = text.len() == 10
            && text.bytes().enumerate().all(|(i, b)| if i == 4 || i == 7 { b == b'-' } else { b.is_ascii_digit() });
        if !shaped {
            return Err(DayError::Shape(text.to_owned()));
        }
        NaiveDate::parse_from_str(text, "%Y-%m-%d").map(Self).map_err(|_| DayError::NoSuchDate(text.to_owned()))
    }
}

impl TryFrom<String> for BusinessDay {
    type Error = DayError;

    fn try_from(text: String) -> Result<Self, DayError> {
        text.parse()
    }
}

impl From<BusinessDay> for String {
    fn from(day: BusinessDay) -> Self {
        day.to_string()
    }
}

impl fmt::Display for BusinessDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.0.year(), self.0.month(), self.0.day())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn day(text: &str) -> BusinessDay {
        text.parse().unwrap()
    }

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_day_starts_and_ends_at_midnight_in_wib() {
        let d = day("2026-11-19");
        assert_eq!(d.start(), utc("2026-11-18T17:00:00Z"));
        assert_eq!(d.end(), utc("2026-11-19T17:00:00Z"));
        assert_eq!(d.start(), utc("2026-11-19T00:00:00+07:00"));
    }

    #[test]
    fn one_millisecond_decides_the_day() {
        assert_eq!(BusinessDay::of(utc("2026-11-18T16:59:59.999Z")), day("2026-11-18"));
        assert_eq!(BusinessDay::of(utc("2026-11-18T17:00:00.000Z")), day("2026-11-19"));
        assert_eq!(BusinessDay::of(utc("2026-11-18T17:00:00.001Z")), day("2026-11-19"));
        assert_eq!(BusinessDay::of(utc("2026-11-19T16:59:59.999Z")), day("2026-11-19"));
        assert_eq!(BusinessDay::of(utc("2026-11-19T17:00:00Z")), day("2026-11-20"));
    }

    #[test]
    fn the_money_of_jakartas_first_hours_is_that_days_money() {
        // 23:59 of the day before, 00:30, 06:59, 07:00 and 23:59 in Jakarta.
        let paid = [
            ("2026-11-19T16:59:00Z", 1_000_000),
            ("2026-11-19T17:30:00Z", 10_000),
            ("2026-11-19T23:59:00Z", 2_000),
            ("2026-11-20T00:00:00Z", 300),
            ("2026-11-20T16:59:00Z", 40),
        ];
        let day: BusinessDay = "2026-11-20".parse().unwrap();
        let rupiah: i64 =
            paid.iter().filter(|(at, _)| day.contains(at.parse().unwrap())).map(|(_, rupiah)| rupiah).sum();
        assert_eq!(rupiah, 12_340, "the day's money is what was paid between two midnights in Jakarta");
    }

    #[test]
    fn yesterday_is_named_in_wib_not_in_utc() {
        // 06:00 WIB on the 20th is still the 19th in UTC: the job that runs then reconciles the 19th, not the 18th.
        assert_eq!(BusinessDay::yesterday(utc("2026-11-19T23:00:00Z")), day("2026-11-19"));
        assert_eq!(BusinessDay::yesterday(utc("2026-11-19T16:59:59.999Z")), day("2026-11-18"));
    }

    #[test]
    fn leap_days_and_year_ends_are_ordinary_days() {
        assert_eq!(day("2028-02-28").next(), day("2028-02-29"));
        assert_eq!(day("2028-02-29").next(), day("2028-03-01"));
        assert_eq!(day("2027-02-28").next(), day("2027-03-01"));
        assert_eq!(day("2027-01-01").previous(), day("2026-12-31"));
        assert_eq!(BusinessDay::of(utc("2026-12-31T17:00:00Z")), day("2027-01-01"));
        assert_eq!(BusinessDay::of(utc("2026-12-31T16:59:59.999Z")), day("2026-12-31"));
    }

    #[test]
    fn texts_that_only_resemble_a_day_are_refused() {
        for text in [
            "",
            "2026-1-9",
            "+2026-01-09",
            "2026-11-19 ",
            "2026/11/19",
            "19-11-2026",
            "2026-11-1９",
            "20261119",
            "yesterday",
        ] {
            assert_eq!(text.parse::<BusinessDay>(), Err(DayError::Shape(text.to_owned())), "{text:?}");
        }
        for text in ["2026-02-29", "2026-13-01", "2026-00-10", "2026-11-31", "1900-02-29"] {
            assert_eq!(text.parse::<BusinessDay>(), Err(DayError::NoSuchDate(text.to_owned())), "{text:?}");
        }
    }

    #[test]
    fn the_ends_of_the_calendar_saturate_instead_of_panicking() {
        let (first, last) = (BusinessDay::of(DateTime::<Utc>::MIN_UTC), BusinessDay::of(DateTime::<Utc>::MAX_UTC));
        assert!(first.start() <= first.end() && last.start() <= last.end());
        let beyond = BusinessDay::from(NaiveDate::MAX);
        assert_eq!(beyond.next(), beyond);
        assert_eq!(BusinessDay::from(NaiveDate::MIN).start(), NaiveDateTime::MIN.and_utc());
    }

    #[test]
    fn json_carries_the_day_as_text_and_refuses_a_bad_one() {
        assert_eq!(serde_json::to_string(&day("2026-11-19")).unwrap(), "\"2026-11-19\"");
        assert_eq!(serde_json::from_str::<BusinessDay>("\"2026-11-19\"").unwrap(), day("2026-11-19"));
        assert!(serde_json::from_str::<BusinessDay>("\"2026-11-32\"").is_err());
    }

    proptest! {
        #[test]
        fn every_instant_lies_in_exactly_its_own_day(millis in -62_000_000_000_000_i64..250_000_000_000_000) {
            let instant = DateTime::<Utc>::from_timestamp_millis(millis).unwrap();
            let d = BusinessDay::of(instant);
            prop_assert!(d.start() <= instant && instant < d.end());
            prop_assert!(d.contains(instant) && !d.next().contains(instant) && !d.previous().contains(instant));
            prop_assert_eq!(d.end(), d.next().start());
            prop_assert_eq!(d.to_string().parse::<BusinessDay>(), Ok(d));
        }
    }
}

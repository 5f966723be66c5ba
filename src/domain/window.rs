//! When a provider takes refunds: how young and how old a payment may be, and the hours of the day, in WIB, in which it takes
//! none. Data of each profile; nothing about a single provider stands here.
//!
//! Absent on purpose: balances and limits, which only the provider knows. It says so in its answer (`refund_codes`).

use chrono::{DateTime, NaiveTime, Utc};

use crate::domain::{
    day::BusinessDay,
    order::{later, secs_between},
};

const DAY_SECS: i64 = 24 * 3600;

/// Hours of every day in WIB: from the first (included) to the second (excluded), over midnight where that is earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Hours {
    from: NaiveTime,
    to: NaiveTime,
}

impl Hours {
    /// Reads `23:30-00:30`. `None` for anything else, and for hours that begin when they end.
    pub fn parse(text: &str) -> Option<Self> {
        let (from, to) = text.split_once('-')?;
        let time = |t: &str| (t.len() == 5).then(|| NaiveTime::parse_from_str(t, "%H:%M").ok())?;
        let (from, to) = (time(from)?, time(to)?);
        (from != to).then_some(Self { from, to })
    }

    /// The end of these hours, where `at` lies in them.
    pub fn end_after(self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let second = |time: NaiveTime| time.signed_duration_since(NaiveTime::MIN).num_seconds();
        let midnight = BusinessDay::of(at).start();
        let now = secs_between(midnight, at);
        let (from, to) = (second(self.from), second(self.to));
        let ends = if from < to {
            (from <= now && now < to).then_some(to)
        } else if now >= from {
            Some(to.saturating_add(DAY_SECS))
        } else {
            (now < to).then_some(to)
        };
        ends.map(|secs| later(midnight, secs))
    }
}

impl TryFrom<String> for Hours {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} is not hours of the day"))
    }
}

impl From<Hours> for String {
    fn from(hours: Hours) -> Self {
        format!("{}-{}", hours.from.format("%H:%M"), hours.to.format("%H:%M"))
    }
}

/// May a refund of a payment be sent?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Now.
    Open,
    /// Not before this time, UTC.
    OpensAt(DateTime<Utc>),
    /// Never again, since this time, UTC.
    Closed(DateTime<Utc>),
}

/// When a provider takes refunds.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RefundWindow {
    /// Not younger than this after the payment, seconds.
    pub min_age_secs: Option<i64>,
    /// Not older than this after the payment, seconds.
    pub max_age_secs: Option<i64>,
    /// Hours of the day in which none is taken.
    pub blackout: Vec<Hours>,
}

impl RefundWindow {
    /// May a refund of a payment of `paid_at` leave now?
    pub fn door(&self, paid_at: DateTime<Utc>, now: DateTime<Utc>) -> Door {
        let at = self.out_of_blackout(self.min_age_secs.map_or(now, |secs| now.max(later(paid_at, secs))));
        match self.ends_at(paid_at) {
            Some(end) if at > end => Door::Closed(end),
            _ if at > now => Door::OpensAt(at),
            _ => Door::Open,
        }
    }

    /// The last moment at which a refund of a payment of `paid_at` may leave; `None` where no end is known.
    pub fn ends_at(&self, paid_at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.max_age_secs.map(|secs| later(paid_at, secs))
    }

    /// `at`, or the end of the hours in which nothing is taken.
    pub fn out_of_blackout(&self, mut at: DateTime<Utc>) -> DateTime<Utc> {
        // Hours that touch are left one after the other.
        for _ in 0..=self.blackout.len() {
            match self.blackout.iter().filter_map(|hours| hours.end_after(at)).max() {
                Some(end) => at = end,
                None => break,
            }
        }
        at
    }

    /// Is there no minute of the day at which a refund could leave? Such a table is refused.
    pub fn is_never_open(&self) -> bool {
        let start = BusinessDay::of(DateTime::UNIX_EPOCH).start();
        (0..DAY_SECS.div_euclid(60)).all(|minute| {
            let at = later(start, minute.saturating_mul(60));
            self.blackout.iter().any(|hours| hours.end_after(at).is_some())
        })
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "times of one test year")]
mod tests {
    use chrono::{TimeDelta, TimeZone as _};
    use proptest::prelude::*;

    use super::*;

    /// 20 November 2026 in WIB.
    fn wib(hour: i64, minute: i64) -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 11, 19, 17, 0, 0).unwrap() + TimeDelta::minutes(hour * 60 + minute)
    }

    fn closed_in(hours: &[&str]) -> RefundWindow {
        let blackout = hours.iter().map(|text| Hours::parse(text).unwrap()).collect();
        RefundWindow { blackout, ..RefundWindow::default() }
    }

    #[test]
    fn hours_are_read_as_they_are_written_and_nothing_else_is() {
        for text in ["23:30-00:30", "00:00-06:00", "08:15-08:16"] {
            assert_eq!(Hours::parse(text).map(String::from).as_deref(), Some(text));
        }
        for text in [
            "",
            "-",
            "8:00-09:00",
            "08:00",
            "08:00-08:00",
            "24:00-01:00",
            "08:60-09:00",
            "08:00–09:00",
            "08:00-09:00:00",
        ] {
            assert_eq!(Hours::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn hours_over_midnight_end_on_the_next_day_of_indonesia() {
        let night = closed_in(&["23:55-06:00"]);
        for (now, opens) in [
            (wib(23, 54), None),
            (wib(23, 55), Some(wib(30, 0))),
            (wib(24, 0), Some(wib(30, 0))),
            (wib(29, 59), Some(wib(30, 0))),
            (wib(30, 0), None),
            (wib(5, 59), Some(wib(6, 0))),
        ] {
            let door = opens.map_or(Door::Open, Door::OpensAt);
            assert_eq!(night.door(wib(0, 0), now), door, "{now}");
        }
        // The second before and the last one of the hours.
        assert_eq!(night.door(wib(0, 0), wib(23, 55) - TimeDelta::seconds(1)), Door::Open);
        assert_eq!(night.door(wib(0, 0), wib(30, 0) - TimeDelta::seconds(1)), Door::OpensAt(wib(30, 0)));
    }

    #[test]
    fn a_payment_is_too_young_then_open_then_too_old() {
        let window =
            RefundWindow { min_age_secs: Some(900), max_age_secs: Some(7 * DAY_SECS), ..RefundWindow::default() };
        let paid = wib(12, 0);
        assert_eq!(window.door(paid, wib(12, 1)), Door::OpensAt(wib(12, 15)));
        assert_eq!(window.door(paid, wib(12, 15)), Door::Open);
        let end = paid + TimeDelta::days(7);
        assert_eq!(window.door(paid, end), Door::Open);
        assert_eq!(window.door(paid, end + TimeDelta::seconds(1)), Door::Closed(end));
    }

    #[test]
    fn what_would_open_only_after_its_end_is_closed() {
        let window = RefundWindow { max_age_secs: Some(3 * 3600), ..closed_in(&["22:00-06:00"]) };
        let paid = wib(20, 0);
        assert_eq!(window.door(paid, wib(21, 59)), Door::Open);
        assert_eq!(window.door(paid, wib(22, 0)), Door::Closed(wib(23, 0)), "it is over before the night is");
    }

    #[test]
    fn a_day_without_a_minute_is_told() {
        assert!(closed_in(&["00:00-12:00", "12:00-00:00"]).is_never_open());
        assert!(!closed_in(&["00:01-00:00"]).is_never_open());
        assert!(!RefundWindow::default().is_never_open());
    }

    proptest! {
        /// Wherever the door points to, it is open there; and it never points back.
        #[test]
        fn a_door_that_opens_is_open_then(
            hours in prop::collection::vec((0_u32..1440, 1_u32..700), 0..4),
            min in prop::option::of(1_i64..200_000),
            max in prop::option::of(1_i64..900_000),
            age in 0_i64..1_000_000,
        ) {
            let clock = |minutes: u32| format!("{:02}:{:02}", minutes / 60 % 24, minutes % 60);
            let blackout = hours.iter().filter_map(|(from, long)| Hours::parse(&format!("{}-{}", clock(*from), clock(from + long)))).collect();
            let window = RefundWindow { min_age_secs: min, max_age_secs: max, blackout };
            prop_assume!(!window.is_never_open());
            let paid = wib(3, 7);
            let now = later(paid, age);
            match window.door(paid, now) {
                Door::Open => prop_assert!(window.ends_at(paid).is_none_or(|end| now <= end)),
                Door::OpensAt(at) => {
                    prop_assert!(at > now);
                    prop_assert_eq!(window.door(paid, at), Door::Open);
                }
                Door::Closed(end) => {
                    prop_assert_eq!(Some(end), window.ends_at(paid));
                    prop_assert!(matches!(window.door(paid, later(now, 90_000)), Door::Closed(_)), "it never opens again");
                }
            }
        }
    }
}

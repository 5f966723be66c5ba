//! When a job runs: five cron fields with their Unix meaning, in a timezone, and what becomes of a missed slot.
//!
//! The `cron` crate wants seconds and counts days of the week from Sunday = 1; Unix counts from Sunday = 0. A number there
//! would silently run a day off, so weekdays are given by name only.

use std::str::FromStr as _;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::reader::Section;

/// What becomes of slots that passed while nobody ran.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Missed {
    /// They are run, oldest first.
    CatchUp,
    /// They are left out; the next slot runs.
    Skip,
}

/// When a job runs.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The five fields as written.
    pub text: String,
    /// The same for the `cron` crate, with seconds in front.
    pub cron: cron::Schedule,
    /// Where the fields are read.
    pub timezone: Tz,
    /// What becomes of missed slots.
    pub missed: Missed,
}

impl Schedule {
    /// The first slot after that time, in UTC.
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.cron.after(&after.with_timezone(&self.timezone)).next().map(|slot| slot.with_timezone(&Utc))
    }
}

/// Reads `cron`, `timezone` and `missed` of a job's table.
pub(crate) fn read(section: &mut Section<'_>) -> Option<Schedule> {
    let text = section.text("cron", "five fields: minute hour day-of-month month weekday, such as \"0 6 * * *\"");
    let cron =
        text.as_deref().and_then(|text| parse_cron(text).map_or_else(|problem| section.refuse("cron", problem), Some));
    let timezone =
        section.parsed("timezone", "a timezone's name, such as \"Asia/Jakarta\" or \"UTC\"", |text| text.parse().ok());
    let missed = section.choice("missed", &[("catch_up", Missed::CatchUp), ("skip", Missed::Skip)]);
    Some(Schedule { text: text?, cron: cron?, timezone: timezone?, missed: missed? })
}

fn parse_cron(text: &str) -> Result<cron::Schedule, String> {
    let fields: Vec<_> = text.split_whitespace().collect();
    let [_, _, day, _, weekday] = fields.as_slice() else {
        return Err(format!("must be five fields, minute hour day-of-month month weekday; there are {}", fields.len()));
    };
    if weekday.contains(|c: char| c.is_ascii_digit()) {
        return Err("weekdays are written by name (mon, tue, wed, thu, fri, sat, sun), never by number: programs disagree on what 1 is".to_owned());
    }
    if *day != "*" && *weekday != "*" {
        return Err("day-of-month and weekday cannot both be restricted: make one of them *".to_owned());
    }
    let schedule = cron::Schedule::from_str(&format!("0 {}", fields.join(" ")))
        .map_err(|error| format!("cannot be read: {error}"))?;
    // Any fixed moment does: a schedule that never comes from there never comes.
    if schedule.after(&DateTime::<Utc>::UNIX_EPOCH).next().is_none() {
        return Err("this moment never comes".to_owned());
    }
    Ok(schedule)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(text: &str, after: &str) -> String {
        let schedule = Schedule {
            text: text.to_owned(),
            cron: parse_cron(text).unwrap(),
            timezone: chrono_tz::Asia::Jakarta,
            missed: Missed::Skip,
        };
        schedule.next_after(after.parse().unwrap()).unwrap().to_rfc3339()
    }

    #[test]
    fn six_in_the_morning_in_jakarta_is_eleven_at_night_in_utc() {
        assert_eq!(next("0 6 * * *", "2026-11-20T00:00:00Z"), "2026-11-20T23:00:00+00:00");
    }

    #[test]
    fn weekdays_by_name_mean_that_day() {
        // 2026-11-20 is a Friday; 22:00 WIB on Sunday the 22nd is 15:00 UTC.
        assert_eq!(next("0 22 * * sun", "2026-11-20T00:00:00Z"), "2026-11-22T15:00:00+00:00");
        assert_eq!(next("0 22 * * MON-FRI", "2026-11-20T16:00:00Z"), "2026-11-23T15:00:00+00:00");
    }

    #[test]
    fn what_is_not_five_unix_fields_is_refused() {
        for (text, problem) in [
            ("0 0 6 * * *", "there are 6"),
            ("@daily", "there are 1"),
            ("0 6 * * 1", "by name"),
            ("0 6 1 * mon", "cannot both"),
            ("61 6 * * *", "cannot be read"),
            ("0 0 30 2 *", "never comes"),
        ] {
            let refused = parse_cron(text).unwrap_err();
            assert!(refused.contains(problem), "{text}: {refused}");
        }
    }
}

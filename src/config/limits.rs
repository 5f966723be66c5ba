//! The two kinds of limited value that every section reads: durations and money.

use std::time::Duration;

use super::reader::Section;
use super::values::{DURATION_FORM, MONEY_FORM, format_duration, parse_duration, parse_money};

impl Section<'_> {
    /// A duration from `min` to `max`; the limits are texts, as in the documentation.
    pub(crate) fn duration(&mut self, key: &str, min: &str, max: &str) -> Option<Duration> {
        let duration = self.parsed(key, DURATION_FORM, parse_duration)?;
        let is_within = parse_duration(min).is_none_or(|min| duration >= min)
            && parse_duration(max).is_none_or(|max| duration <= max);
        if is_within { Some(duration) } else { self.refuse(key, format!("must be from {min} to {max}")) }
    }

    /// The same in whole seconds, for rules that count in seconds.
    pub(crate) fn seconds(&mut self, key: &str, min: &str, max: &str) -> Option<i64> {
        let duration = self.duration(key, min, max)?;
        if duration.subsec_nanos() > 0 {
            return self.refuse(
                key,
                format!(
                    "must be whole seconds, such as \"{}\"",
                    format_duration(Duration::from_secs(duration.as_secs().saturating_add(1)))
                ),
            );
        }
        i64::try_from(duration.as_secs()).ok()
    }

    /// Money in sen, at least `min_sen`.
    pub(crate) fn money_sen(&mut self, key: &str, min_sen: i64) -> Option<i64> {
        let sen = self.parsed(key, MONEY_FORM, parse_money)?;
        if sen >= min_sen {
            Some(sen)
        } else {
            self.refuse(key, format!("must be at least {}.{:02}", min_sen / 100, min_sen % 100))
        }
    }
}

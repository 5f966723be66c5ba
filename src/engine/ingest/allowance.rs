//! How often unverifiable notifications may make us ask about an account: a GCRA row on the database's clock, shared by every
//! replica, so that more replicas grant no more.

use chrono::{DateTime, TimeDelta, Utc};

use crate::config::NotifyLimits;

/// What an account may ask for at this moment, and what was taken of it.
#[derive(Debug)]
pub(super) struct Allowance {
    next_free: DateTime<Utc>,
    now: DateTime<Utc>,
    spacing: TimeDelta,
    is_spent: bool,
}

impl Allowance {
    /// `tat`: the next free slot as it stands in the table. Slots that nobody took add up to the burst and no further.
    pub(super) fn new(limits: &NotifyLimits, tat: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Self {
        let spacing_ms = 60_000_u32.checked_div(limits.unverified_per_minute).unwrap_or(60_000);
        let spacing = TimeDelta::milliseconds(i64::from(spacing_ms.max(1)));
        let saved = i32::try_from(limits.unverified_burst.saturating_sub(1)).unwrap_or(i32::MAX);
        let oldest = spacing.checked_mul(saved).and_then(|span| now.checked_sub_signed(span)).unwrap_or(now);
        Self { next_free: tat.map_or(oldest, |tat| tat.max(oldest)), now, spacing, is_spent: false }
    }

    /// Takes one slot, if one is free by now.
    pub(super) fn take(&mut self) -> bool {
        let is_free = self.next_free <= self.now;
        if is_free {
            self.next_free = self.next_free.checked_add_signed(self.spacing).unwrap_or(self.next_free);
            self.is_spent = true;
        }
        is_free
    }

    /// What is to be written back; `None`: nothing was taken.
    pub(super) fn spent(&self) -> Option<DateTime<Utc>> {
        self.is_spent.then_some(self.next_free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> NotifyLimits {
        NotifyLimits {
            unverified_per_minute: 12,
            unverified_burst: 3,
            per_payment: 20,
            kept_max: 100,
            group_max: 100,
            linger: std::time::Duration::ZERO,
        }
    }

    fn taken(tat: Option<DateTime<Utc>>, now: DateTime<Utc>) -> (usize, Option<DateTime<Utc>>) {
        let mut allowance = Allowance::new(&limits(), tat, now);
        ((0..100).filter(|_| allowance.take()).count(), allowance.spent().or(tat))
    }

    #[test]
    fn at_most_the_burst_goes_at_once_and_then_one_per_spacing_however_long_nobody_came() {
        let start = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let (first, tat) = taken(None, start);
        assert_eq!(first, 3);
        assert_eq!(taken(tat, start).0, 0);
        let (second, tat) = taken(tat, start + TimeDelta::seconds(5));
        assert_eq!(second, 1);
        assert_eq!(taken(tat, start + TimeDelta::days(400)).0, 3);
    }
}

//! What was measured, and how a median and a ratio are made of it. Everything is an integer: a ratio is thousandths.

use super::{Extent, door::DoorFigures, loops::Comparison, machine::Machine, pending::Pending, pure::Pure};

/// Everything.
#[derive(Debug, serde::Serialize)]
pub(super) struct Figures {
    /// How much was measured.
    pub(super) extent: Extent,
    /// On what.
    pub(super) machine: Machine,
    /// The provider answers at once.
    pub(super) at_once: Comparison,
    /// The provider takes 20 ms.
    pub(super) in_20_ms: Comparison,
    /// Many and few pending rows.
    pub(super) pending: Pending,
    /// One core, no I/O.
    pub(super) pure: Pure,
    /// Notifications at the door.
    pub(super) door: DoorFigures,
}

/// A ratio in thousandths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub(super) struct Permille(pub(super) u64);

impl Permille {
    /// `part` ÷ `whole`; zero where there is no whole.
    pub(super) fn of(part: u64, whole: u64) -> Self {
        Self(part.saturating_mul(1000).checked_div(whole).unwrap_or(0))
    }
}

impl std::fmt::Display for Permille {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// The middle of the values, the lower one of two; zero of none.
pub(super) fn median<T: Ord + Copy + Default>(values: impl IntoIterator<Item = T>) -> T {
    let mut sorted: Vec<T> = values.into_iter().collect();
    sorted.sort_unstable();
    let middle = sorted.len().saturating_sub(1) / 2;
    sorted.get(middle).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_two_is_the_lower_and_a_ratio_has_three_places() {
        assert_eq!(median([4_u64, 1, 9]), 4);
        assert_eq!(median([9_u64, 1]), 1);
        assert_eq!(median::<u64>([]), 0);
        assert_eq!(Permille::of(469, 1000).to_string(), "0.469");
        assert_eq!(Permille::of(1, 0).to_string(), "0.000");
    }
}

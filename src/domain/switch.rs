//! The kill switch: a ladder of what rekon may do on an account. The lowest of what the configuration, the switches and an open
//! refund breaker allow is what holds. Who may turn it stands in the database.

use crate::domain::policy::RefundMode;

/// A rung of the ladder, lowest first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Answers are recorded, states and flags follow; nothing is posted and nothing leaves.
    Observe,
    /// The ledger is posted as well; nothing is proposed and nothing leaves.
    Post,
    /// Refunds are proposed, and leave when two people agree.
    Propose,
    /// Whatever the configuration says.
    #[default]
    Auto,
}

impl Level {
    /// Every rung, lowest first.
    pub const ALL: [Self; 4] = [Self::Observe, Self::Post, Self::Propose, Self::Auto];

    /// The word in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Post => "post",
            Self::Propose => "propose",
            Self::Auto => "auto",
        }
    }

    /// The reverse of [`Level::as_str`].
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == word)
    }

    /// What is left of a configured mode under this rung.
    pub const fn cap(self, mode: RefundMode) -> RefundMode {
        match (self, mode) {
            (Self::Observe | Self::Post, _) | (_, RefundMode::Off) => RefundMode::Off,
            (Self::Propose, RefundMode::Propose | RefundMode::Auto) | (Self::Auto, RefundMode::Propose) => {
                RefundMode::Propose
            }
            (Self::Auto, RefundMode::Auto) => RefundMode::Auto,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_of_rung_and_configuration_holds() {
        use RefundMode::{Auto, Off, Propose};
        for (level, expected) in [
            (Level::Observe, [Off, Off, Off]),
            (Level::Post, [Off, Off, Off]),
            (Level::Propose, [Off, Propose, Propose]),
            (Level::Auto, [Off, Propose, Auto]),
        ] {
            assert_eq!([Off, Propose, Auto].map(|mode| level.cap(mode)), expected, "{level:?}");
            assert_eq!(Level::from_word(level.as_str()), Some(level));
        }
        assert!(Level::ALL.is_sorted());
    }
}

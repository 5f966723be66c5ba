//! The nine things a provider can have said about a payment, whatever words it uses. Which code means which is data
//! (`StatusMap`); what may never be mapped is held here, in code.

use std::collections::BTreeMap;

/// A provider's answer, normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Observation {
    /// Money was taken.
    Paid,
    /// The QR is alive and unpaid.
    Open,
    /// Somebody is paying right now.
    InFlight,
    /// Money was given back; how much and by whom is not said.
    Reversed,
    /// The provider cancelled it.
    Cancelled,
    /// The QR is over.
    Expired,
    /// The payment failed; not final anywhere.
    Failed,
    /// The provider does not know it; proves nothing alone.
    Absent,
    /// No answer, an unknown one, or one in doubt. Never a verdict.
    Indeterminate,
}

impl Observation {
    /// Every observation, in the order of the design.
    pub const ALL: [Self; 9] = [
        Self::Paid,
        Self::Open,
        Self::InFlight,
        Self::Reversed,
        Self::Cancelled,
        Self::Expired,
        Self::Failed,
        Self::Absent,
        Self::Indeterminate,
    ];

    /// The word stored in the database and used as a metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Paid => "PAID",
            Self::Open => "OPEN",
            Self::InFlight => "IN_FLIGHT",
            Self::Reversed => "REVERSED",
            Self::Cancelled => "CANCELLED",
            Self::Expired => "EXPIRED",
            Self::Failed => "FAILED",
            Self::Absent => "ABSENT",
            Self::Indeterminate => "INDETERMINATE",
        }
    }

    /// The reverse of [`Observation::as_str`], also in lower case as `jobs.toml` writes it.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|o| o.as_str().eq_ignore_ascii_case(word))
    }

    /// Counts towards closing as unpaid.
    pub const fn is_negative(self) -> bool {
        match self {
            Self::Open | Self::Absent | Self::Cancelled | Self::Expired | Self::Failed => true,
            Self::Paid | Self::InFlight | Self::Reversed | Self::Indeterminate => false,
        }
    }

    /// Says that a payment is dead; after PAID that is a regression.
    pub const fn is_dead(self) -> bool {
        match self {
            Self::Cancelled | Self::Expired | Self::Failed => true,
            Self::Paid | Self::Open | Self::InFlight | Self::Reversed | Self::Absent | Self::Indeterminate => false,
        }
    }
}

/// What one `latestTransactionStatus` means at one provider.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusMeaning {
    /// The observation.
    pub means: Observation,
    /// Does the provider call it final? Shown to people; no rule closes or pays by it alone.
    #[serde(rename = "final", default)]
    pub is_final: bool,
    /// Where this is written, or why it is assumed.
    #[serde(default)]
    pub note: String,
}

/// A provider's whole status table. Total over 00–07 by construction; any other code is INDETERMINATE.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "BTreeMap<String, StatusMeaning>")]
pub struct StatusMap(BTreeMap<String, StatusMeaning>);

/// Why a status table is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatusMapError {
    /// One of 00–07 has no row.
    #[error("status {0} is missing; all of 00–07 must be listed")]
    Missing(String),
    /// 01 and 03–07 may never mean paid, whatever a file says.
    #[error("status {0} can never mean PAID")]
    NeverPaid(String),
    /// A key is not two digits.
    #[error("status {0:?} is not two digits")]
    NotACode(String),
    /// A negative answer may not be called final.
    #[error("status {0} is negative and cannot be final: failed and absent payments have been paid later")]
    NegativeFinal(String),
}

impl TryFrom<BTreeMap<String, StatusMeaning>> for StatusMap {
    type Error = StatusMapError;

    fn try_from(table: BTreeMap<String, StatusMeaning>) -> Result<Self, StatusMapError> {
        Self::try_new(table)
    }
}

impl StatusMap {
    /// Checks a table: complete, and inside the guard rails that data cannot lift.
    pub fn try_new(table: BTreeMap<String, StatusMeaning>) -> Result<Self, StatusMapError> {
        for n in 0..=7 {
            let code = format!("{n:02}");
            if !table.contains_key(&code) {
                return Err(StatusMapError::Missing(code));
            }
        }
        for (code, meaning) in &table {
            if code.len() != 2 || !code.bytes().all(|b| b.is_ascii_digit()) {
                return Err(StatusMapError::NotACode(code.clone()));
            }
            if meaning.means == Observation::Paid && !matches!(code.as_str(), "00" | "02") {
                return Err(StatusMapError::NeverPaid(code.clone()));
            }
            if meaning.is_final && meaning.means.is_negative() {
                return Err(StatusMapError::NegativeFinal(code.clone()));
            }
        }
        Ok(Self(table))
    }

    /// The meaning of a two-digit code; `None` for a code that no document names.
    pub fn get(&self, code: &str) -> Option<&StatusMeaning> {
        self.0.get(code)
    }

    /// All rows, by code.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &StatusMeaning)> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standard() -> BTreeMap<String, StatusMeaning> {
        use Observation::{Absent, Cancelled, Failed, InFlight, Open, Paid, Reversed};
        [Paid, Open, InFlight, Open, Reversed, Cancelled, Failed, Absent]
            .into_iter()
            .enumerate()
            .map(|(n, means)| (format!("{n:02}"), StatusMeaning { means, is_final: false, note: String::new() }))
            .collect()
    }

    #[test]
    fn a_table_without_one_of_the_eight_codes_is_refused() {
        let mut table = standard();
        assert!(StatusMap::try_new(table.clone()).is_ok());
        table.remove("06");
        assert_eq!(StatusMap::try_new(table), Err(StatusMapError::Missing("06".into())));
    }

    #[test]
    fn no_table_can_make_a_failed_payment_paid_or_a_negative_final() {
        let mut table = standard();
        table.get_mut("06").unwrap().means = Observation::Paid;
        assert_eq!(StatusMap::try_new(table), Err(StatusMapError::NeverPaid("06".into())));
        let mut table = standard();
        table.get_mut("07").unwrap().is_final = true;
        assert_eq!(StatusMap::try_new(table), Err(StatusMapError::NegativeFinal("07".into())));
    }

    #[test]
    fn words_round_trip_in_both_cases() {
        for o in Observation::ALL {
            assert_eq!(Observation::from_word(o.as_str()), Some(o));
            assert_eq!(Observation::from_word(&o.as_str().to_lowercase()), Some(o));
        }
    }
}

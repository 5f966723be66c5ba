//! The money in a QRIS payload: fields 54 to 57 and the total they ask for, without floats.
//!
//! Deliberately absent: comparing with what was paid. A provider may state the amount with or without the tip, and may have
//! cut off the sen; which of these meets the expectation is settled by `decide`, on these numbers.

use super::QrisError;
use crate::domain::money::Sen;

/// The longest amount or fixed tip, in characters.
const MAX_AMOUNT_CHARS: usize = 13;
const MAX_PERCENT_CHARS: usize = 5;

/// What is added to the amount (field 55).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tip {
    /// `01`: the payer is asked and may add anything or nothing.
    Prompted,
    /// `02`: field 56.
    Fixed(Sen),
    /// `03`: field 57.
    Percent(TipPercent),
}

/// A tip in hundredths of a percent: `2.5` is 250. Always more than 0 and less than 100 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TipPercent(u16);

/// What the payer is expected to be charged, tip included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedTotal {
    /// The payload states no amount: the payer types it.
    Unstated,
    /// Exactly this.
    Exact(Sen),
    /// This or more: the payer was asked for a tip.
    AtLeast(Sen),
}

impl TipPercent {
    /// Hundredths of a percent, 1 to 9,999.
    pub fn hundredths(self) -> u16 {
        self.0
    }

    /// The tip on `amount`, rounded to the nearest sen, half a sen up. Providers that keep whole rupiah only come out lower;
    /// the rule "equal after truncation to rupiah" accepts those where paid and expected are compared.
    pub fn of(self, amount: Sen) -> Result<Sen, QrisError> {
        // 128 bits: the largest amount times 9,999 does not fit into 64.
        let parts = i128::from(amount.sen()).checked_mul(i128::from(self.0)).and_then(|p| p.checked_add(5_000));
        let tip = parts.map(|p| p.div_euclid(10_000)).and_then(|tip| i64::try_from(tip).ok());
        tip.map(Sen::new).ok_or(QrisError::OutOfRange)
    }
}

impl Tip {
    /// What this tip adds to `amount`; `None` where only the payer knows.
    pub fn on(self, amount: Sen) -> Result<Option<Sen>, QrisError> {
        match self {
            Self::Prompted => Ok(None),
            Self::Fixed(tip) => Ok(Some(tip)),
            Self::Percent(percent) => percent.of(amount).map(Some),
        }
    }
}

impl ExpectedTotal {
    pub(super) fn of(amount: Option<Sen>, tip: Option<Tip>) -> Result<Self, QrisError> {
        let Some(amount) = amount else { return Ok(Self::Unstated) };
        match tip.map_or(Ok(Some(Sen::ZERO)), |tip| tip.on(amount))? {
            None => Ok(Self::AtLeast(amount)),
            Some(tip) => amount.checked_add(tip).map(Self::Exact).ok_or(QrisError::OutOfRange),
        }
    }
}

/// Field 54.
pub(super) fn read_amount(value: Option<&str>) -> Result<Option<Sen>, QrisError> {
    const RULE: &str = "an amount is 1 to 13 characters, more than 0, with at most two decimals after a point";
    let Some(text) = value else { return Ok(None) };
    let amount = read_decimals(text, MAX_AMOUNT_CHARS).map(Sen::new).filter(|sen| sen.is_positive());
    amount.map(Some).ok_or_else(|| QrisError::Value { tag: "54", value: text.to_owned(), rule: RULE })
}

/// Fields 55, 56 and 57, which stand or fall together.
pub(super) fn read_tip(
    kind: Option<&str>,
    fixed: Option<&str>,
    percent: Option<&str>,
) -> Result<Option<Tip>, QrisError> {
    match (kind, fixed, percent) {
        (None, None, None) => Ok(None),
        (Some("01"), None, None) => Ok(Some(Tip::Prompted)),
        (Some("02"), Some(text), None) => read_fixed(text).map(Some),
        (Some("03"), None, Some(text)) => read_percent(text).map(Some),
        (None, ..) => Err(QrisError::Tip { rule: "56 and 57 need 55" }),
        (Some("01"), ..) => Err(QrisError::Tip { rule: "55 = 01 (the payer is asked) goes with neither 56 nor 57" }),
        (Some("02"), ..) => Err(QrisError::Tip { rule: "55 = 02 (fixed) needs 56 and no 57" }),
        (Some("03"), ..) => Err(QrisError::Tip { rule: "55 = 03 (percent) needs 57 and no 56" }),
        (Some(other), ..) => {
            Err(QrisError::Value { tag: "55", value: other.to_owned(), rule: "only 01, 02 and 03 are known" })
        }
    }
}

/// A fixed tip of zero is let through: some acquirers write `0.00` for "no fee", and it cannot change a total.
fn read_fixed(text: &str) -> Result<Tip, QrisError> {
    const RULE: &str = "a fixed tip is 1 to 13 characters with at most two decimals after a point";
    let fixed = read_decimals(text, MAX_AMOUNT_CHARS).map(|sen| Tip::Fixed(Sen::new(sen)));
    fixed.ok_or_else(|| QrisError::Value { tag: "56", value: text.to_owned(), rule: RULE })
}

fn read_percent(text: &str) -> Result<Tip, QrisError> {
    const RULE: &str = "a percentage is 1 to 5 characters, more than 0 and less than 100, with at most two decimals";
    let hundredths = read_decimals(text, MAX_PERCENT_CHARS).filter(|h| (1..10_000).contains(h));
    let percent = hundredths.and_then(|h| u16::try_from(h).ok()).map(|h| Tip::Percent(TipPercent(h)));
    percent.ok_or_else(|| QrisError::Value { tag: "57", value: text.to_owned(), rule: RULE })
}

/// Digits with at most two decimals, as hundredths. No sign, no separator, no exponent, no bare point at either end.
fn read_decimals(text: &str, max_chars: usize) -> Option<i64> {
    let (whole, decimals) = match text.split_once('.') {
        Some((whole, decimals)) => (whole, Some(decimals)),
        None => (text, None),
    };
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let hundredths = match decimals {
        None => "00".to_owned(),
        Some(d) if all_digits(d) && d.len() <= 2 => format!("{d:0<2}"),
        Some(_) => return None,
    };
    if text.len() > max_chars || !all_digits(whole) {
        return None;
    }
    format!("{whole}{hundredths}").parse().ok()
}

//! The money in a QRIS payload: fields 54 to 57 and the total they ask for, in sen and without floats.
//!
//! Deliberately absent: comparing with what was paid. A provider may state the amount with or without the tip, and may have
//! cut off the sen; which of these meets the expectation is settled by `decide`, on these numbers.

use super::QrisError;

/// The longest amount or fixed tip, in characters.
const MAX_AMOUNT_CHARS: usize = 13;
const MAX_PERCENT_CHARS: usize = 5;

/// What is added to the amount (field 55).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tip {
    /// `01`: the payer is asked and may add anything or nothing.
    Prompted,
    /// `02`: field 56, in sen.
    FixedSen(i64),
    /// `03`: field 57.
    Percent(TipPercent),
}

/// A tip in hundredths of a percent: `2.5` is 250. Always more than 0 and less than 100 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TipPercent(u16);

/// What the payer is expected to be charged, tip included, in sen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedTotal {
    /// The payload states no amount: the payer types it.
    Unstated,
    /// Exactly this.
    Exact(i64),
    /// This or more: the payer was asked for a tip.
    AtLeast(i64),
}

impl TipPercent {
    /// Hundredths of a percent, 1 to 9,999.
    pub fn hundredths(self) -> u16 {
        self.0
    }

    /// The tip on `amount_sen`, rounded to the nearest sen, half a sen up. Providers that keep whole rupiah only come out lower;
    /// the rule "equal after truncation to rupiah" accepts those where paid and expected are compared.
    pub fn of(self, amount_sen: i64) -> Result<i64, QrisError> {
        // 128 bits: the largest amount times 9,999 does not fit into 64.
        let tip = (i128::from(amount_sen) * i128::from(self.0) + 5_000) / 10_000;
        i64::try_from(tip).map_err(|_| QrisError::OutOfRange)
    }
}

impl ExpectedTotal {
    pub(super) fn of(amount_sen: Option<i64>, tip: Option<Tip>) -> Result<Self, QrisError> {
        let Some(amount) = amount_sen else { return Ok(Self::Unstated) };
        let added = match tip {
            None => 0,
            Some(Tip::Prompted) => return Ok(Self::AtLeast(amount)),
            Some(Tip::FixedSen(fixed)) => fixed,
            Some(Tip::Percent(percent)) => percent.of(amount)?,
        };
        amount.checked_add(added).map(Self::Exact).ok_or(QrisError::OutOfRange)
    }
}

/// Field 54.
pub(super) fn read_amount(value: Option<&str>) -> Result<Option<i64>, QrisError> {
    const RULE: &str = "an amount is 1 to 13 characters, more than 0, with at most two decimals after a point";
    let Some(text) = value else { return Ok(None) };
    let amount = read_decimals(text, MAX_AMOUNT_CHARS).filter(|sen| *sen > 0);
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
    let fixed = read_decimals(text, MAX_AMOUNT_CHARS).map(Tip::FixedSen);
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

//! Money as integer sen. Absent on purpose: floats, rounding, other currencies' exponents.

use std::fmt;

/// An amount in sen (Rp 1 = 100 sen). Never negative on the wire; differences inside may be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Sen(i64);

/// Why a text is not an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Nothing, or no digit at all.
    #[error("the amount is empty")]
    Empty,
    /// A sign, a thousand separator, NaN, a unit …
    #[error("the amount is not a plain decimal number")]
    NotDecimal,
    /// More than two decimals that are not zero.
    #[error("the amount has more than two decimals")]
    TooPrecise,
    /// Does not fit 16 digits of rupiah.
    #[error("the amount is too large")]
    TooLarge,
}

/// The widest amount that `numeric(18,2)` holds, in sen.
const MAX_SEN: i64 = 999_999_999_999_999_999;
/// A JSON exponent beyond this is nonsense for rupiah and is refused before any arithmetic.
const MAX_EXPONENT: i32 = 24;

impl Sen {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// An amount of `sen` sen.
    pub const fn new(sen: i64) -> Self {
        Self(sen)
    }

    /// An amount of whole rupiah; saturates at the widest amount.
    pub const fn rupiah(rupiah: i64) -> Self {
        Self(rupiah.saturating_mul(100))
    }

    /// The amount in sen.
    pub const fn sen(self) -> i64 {
        self.0
    }

    /// Sum, or `None` where it leaves the range of `i64`.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(v) => Some(Self(v)),
            None => None,
        }
    }

    /// Sum that stays at the end of the range instead of wrapping.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Difference that stays at the end of the range instead of wrapping; may be negative.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// More than nothing.
    pub const fn is_positive(self) -> bool {
        self.0 > 0
    }

    /// The amount without its sen: 1200.25 → 1200.00 (some providers cut decimals off).
    #[must_use]
    pub const fn truncated_to_rupiah(self) -> Self {
        match self.0.checked_rem(100) {
            Some(rest) => Self(self.0.saturating_sub(rest)),
            None => self,
        }
    }

    /// Is `self` = `other` × 10ⁿ for a whole n ≠ 0 (either way)? A sign of a unit slip, not of a payment.
    pub fn is_power_of_ten_of(self, other: Self) -> bool {
        let (mut small, large) = if self < other { (self.0, other.0) } else { (other.0, self.0) };
        if small <= 0 || small == large {
            return false;
        }
        while small < large {
            match small.checked_mul(10) {
                Some(next) => small = next,
                None => return false,
            }
        }
        small == large
    }

    /// Reads a decimal text such as a JSON *string* `"1200.00"`: digits, at most one point, at most two decimals that
    /// are not zero; no sign, exponent, separator or blank inside.
    pub fn parse(text: &str) -> Result<Self, AmountError> {
        Self::parse_decimal(text.trim(), 0)
    }

    /// Reads a JSON *number token* such as `1200`, `1200.0` or `1.2e3`: as [`Sen::parse`], and an exponent is allowed.
    pub fn parse_number_token(token: &str) -> Result<Self, AmountError> {
        match token.split_once(['e', 'E']) {
            None => Self::parse_decimal(token, 0),
            Some((mantissa, exponent)) => {
                let exponent: i32 =
                    exponent.strip_prefix('+').unwrap_or(exponent).parse().map_err(|_| AmountError::NotDecimal)?;
                if exponent.abs() > MAX_EXPONENT {
                    return Err(AmountError::TooLarge);
                }
                Self::parse_decimal(mantissa, exponent)
            }
        }
    }

    /// `digits[.digits]` × 10^exponent, exactly.
    fn parse_decimal(text: &str, exponent: i32) -> Result<Self, AmountError> {
        if text.is_empty() {
            return Err(AmountError::Empty);
        }
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        let plain = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !plain(whole) || !plain(decimals) || (text.contains('.') && decimals.is_empty()) {
            return Err(AmountError::NotDecimal);
        }
        // The value is `all` × 10^-(decimals - exponent); the sen are two places further right.
        let all = format!("{whole}{decimals}");
        let significant = all.trim_start_matches('0');
        let decimals_len = i32::try_from(decimals.len()).map_err(|_| AmountError::TooPrecise)?;
        let shift = exponent.saturating_sub(decimals_len).saturating_add(2);
        let digits = if shift >= 0 {
            let zeros = usize::try_from(shift).map_err(|_| AmountError::TooLarge)?;
            format!("{significant}{}", "0".repeat(if significant.is_empty() { 0 } else { zeros }))
        } else {
            let cut = usize::try_from(shift.unsigned_abs()).map_err(|_| AmountError::TooPrecise)?;
            let keep = significant.len().saturating_sub(cut);
            let (head, tail) = significant.split_at_checked(keep).ok_or(AmountError::NotDecimal)?;
            if tail.bytes().any(|b| b != b'0') {
                return Err(AmountError::TooPrecise);
            }
            head.to_owned()
        };
        if digits.is_empty() {
            return Ok(Self::ZERO);
        }
        if digits.len() > 18 {
            return Err(AmountError::TooLarge);
        }
        let sen: i64 = digits.parse().map_err(|_| AmountError::TooLarge)?;
        if sen > MAX_SEN { Err(AmountError::TooLarge) } else { Ok(Self(sen)) }
    }
}

impl fmt::Display for Sen {
    /// `1200.00`: the text of SNAP amounts and of `numeric(18,2)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let abs = self.0.unsigned_abs();
        let (whole, rest) = (abs.checked_div(100).unwrap_or(0), abs.checked_rem(100).unwrap_or(0));
        write!(f, "{sign}{whole}.{rest:02}")
    }
}

/// Writes an amount as `"1200.00"`, for `serialize_with`: what people and programs outside read is rupiah.
pub fn as_rupiah<S: serde::Serializer>(amount: &Sen, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(amount)
}

/// The same where there may be none.
pub fn as_rupiah_opt<S: serde::Serializer>(amount: &Option<Sen>, serializer: S) -> Result<S::Ok, S::Error> {
    match amount {
        Some(amount) => serializer.collect_str(amount),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_same_amount_in_every_spelling_is_the_same_sen() {
        for text in ["1200", "1200.00", "1200.0", "01200.000"] {
            assert_eq!(Sen::parse(text), Ok(Sen::new(120_000)), "{text}");
        }
        for token in ["1200", "1200.0", "1.2e3", "12E2", "120000e-2", "1.2E+3"] {
            assert_eq!(Sen::parse_number_token(token), Ok(Sen::new(120_000)), "{token}");
        }
        assert_eq!(Sen::parse("1200.25"), Ok(Sen::new(120_025)));
        assert_eq!(Sen::parse("0"), Ok(Sen::ZERO));
    }

    /// A float loses a sen here and there: 0.29 × 100 is 28.999…, and 17 digits do not fit.
    #[test]
    fn every_sen_is_read_as_itself_and_none_is_lost() {
        for sen in (0..200_000).chain(MAX_SEN - 200..=MAX_SEN) {
            let text = Sen::new(sen).to_string();
            assert_eq!(Sen::parse(&text), Ok(Sen::new(sen)), "money was lost reading {text}");
            assert_eq!(Sen::parse_number_token(&text), Ok(Sen::new(sen)), "money was lost reading {text}");
        }
    }

    #[test]
    fn what_is_not_a_plain_decimal_is_refused_with_its_reason() {
        for (text, why) in [
            ("", AmountError::Empty),
            ("1,200", AmountError::NotDecimal),
            ("1.200,00", AmountError::NotDecimal),
            ("10.000.00", AmountError::NotDecimal),
            ("1e3", AmountError::NotDecimal),
            ("-1", AmountError::NotDecimal),
            ("+1", AmountError::NotDecimal),
            ("NaN", AmountError::NotDecimal),
            ("1.", AmountError::NotDecimal),
            (".5", AmountError::NotDecimal),
            ("0.001", AmountError::TooPrecise),
            ("1200.005", AmountError::TooPrecise),
            ("10000000000000000", AmountError::TooLarge),
        ] {
            assert_eq!(Sen::parse(text), Err(why), "{text}");
        }
        assert_eq!(Sen::parse_number_token("1e99"), Err(AmountError::TooLarge));
        assert_eq!(Sen::parse_number_token("1e-3"), Err(AmountError::TooPrecise));
    }

    #[test]
    fn a_power_of_ten_is_seen_both_ways() {
        assert!(Sen::new(100).is_power_of_ten_of(Sen::new(10_000)));
        assert!(Sen::new(10_000).is_power_of_ten_of(Sen::new(100)));
        assert!(!Sen::new(100).is_power_of_ten_of(Sen::new(100)));
        assert!(!Sen::new(0).is_power_of_ten_of(Sen::new(100)));
        assert!(!Sen::new(150).is_power_of_ten_of(Sen::new(10_000)));
    }

    proptest! {
        #[test]
        fn text_and_sen_round_trip(sen in 0..=MAX_SEN) {
            prop_assert_eq!(Sen::parse(&Sen::new(sen).to_string()), Ok(Sen::new(sen)));
            prop_assert_eq!(Sen::parse_number_token(&Sen::new(sen).to_string()), Ok(Sen::new(sen)));
        }

        #[test]
        fn any_text_is_read_or_refused_without_panic(text in "\\PC{0,40}") {
            let read = [Sen::parse(&text), Sen::parse_number_token(&text)];
            prop_assert!(read.into_iter().flatten().all(|sen| sen >= Sen::ZERO));
        }
    }
}

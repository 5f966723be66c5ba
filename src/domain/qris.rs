//! What a merchant-presented QRIS payload says: its fields, its amount and the tip on top, guarded by its checksum.
//!
//! A payload is a row of fields, each a two-digit id, a two-digit length **in characters** and a value (EMVCo MPM; limits per
//! the QRIS validators of astrapay/spring-qris). Ids nobody knows are legal; a doubled id is not. Deliberately absent: drawing
//! QR images, provider calls, and any opinion on whether the payment matches (that is `decide`'s).

mod amount;

use std::{fmt, iter};

pub use amount::{ExpectedTotal, Tip, TipPercent};

use crate::domain::money::Sen;

/// The longest payload that is read, in characters (SNAP BI gives `qrContent` of service 47 a length of 512).
pub const MAX_CHARS: usize = 512;

const FORMAT: &str = "00";
const INITIATION: &str = "01";
const CURRENCY: &str = "53";
const ADDITIONAL: &str = "62";
const CHECKSUM: &str = "63";
/// Id and length of the checksum field; both are covered by the checksum.
const CHECKSUM_HEAD: &str = "6304";
/// ISO 4217 number of the rupiah.
const RUPIAH: &str = "360";

/// A payload that was read whole and whose checksum is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qris {
    fields: Vec<Field>,
    additional: Vec<Field>,
    initiation: Option<Initiation>,
    amount: Option<Sen>,
    tip: Option<Tip>,
}

/// One field: a two-digit id and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The id as written, `"00"` to `"99"`.
    pub tag: String,
    /// The value as written.
    pub value: String,
}

/// Tag 01: may the code be paid once or many times?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initiation {
    /// `11`: printed once and paid by many people, so it can never stand for one order.
    Static,
    /// `12`: made for one order.
    Dynamic,
}

/// Why a text is not a QRIS payload that can be relied on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QrisError {
    /// More than [`MAX_CHARS`] characters.
    #[error("the QRIS payload has {found} characters, the limit is {MAX_CHARS}")]
    TooLong {
        /// How many characters it has.
        found: usize,
    },
    /// An id or a length is not two ASCII digits, or the text ends inside a field.
    #[error("the QRIS payload breaks off at character {at}: {what}; copy it again, whole and unchanged")]
    Broken {
        /// Where the field begins that cannot be read, counted from 0 within its own level.
        at: usize,
        /// What was expected there.
        what: &'static str,
    },
    /// The same id appears twice on one level.
    #[error("the QRIS payload has field {tag} twice")]
    Duplicate {
        /// The doubled id.
        tag: String,
    },
    /// Field 00 is not the first or is not `01`.
    #[error("the QRIS payload must begin with `000201`")]
    Format,
    /// Field 63 is missing, not the last one or not four characters long.
    #[error("the QRIS payload must end with `6304` and four checksum digits")]
    ChecksumMissing,
    /// The checksum does not belong to the text: a character was lost or changed.
    #[error(
        "the QRIS checksum is {found}, but the text gives {computed}: a character was lost or changed; copy it again"
    )]
    Checksum {
        /// What field 63 says.
        found: String,
        /// What the text gives.
        computed: String,
    },
    /// Field 53 is not `360`.
    #[error("the QRIS currency is `{found}`, not 360 (rupiah)")]
    Currency {
        /// What field 53 says; empty if it is missing.
        found: String,
    },
    /// A field's value breaks its own rule.
    #[error("the QRIS field {tag} holds `{value}`: {rule}")]
    Value {
        /// The field's id.
        tag: &'static str,
        /// What it holds.
        value: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// Fields 55, 56 and 57 do not fit together.
    #[error("the QRIS tip fields contradict each other: {rule}")]
    Tip {
        /// The rule they break.
        rule: &'static str,
    },
    /// The total does not fit into the range of money.
    #[error("the QRIS amount with its tip is out of range")]
    OutOfRange,
}

impl Qris {
    /// Reads a payload exactly as scanned; surrounding blanks are an error too, for the checksum cannot vouch for them.
    pub fn parse(payload: &str) -> Result<Self, QrisError> {
        let found = payload.chars().count();
        if found > MAX_CHARS {
            return Err(QrisError::TooLong { found });
        }
        let fields = read_fields(payload)?;
        if !fields.first().is_some_and(|f| f.tag == FORMAT && f.value == "01") {
            return Err(QrisError::Format);
        }
        check_checksum(payload, &fields)?;
        let value = |tag: &str| find(&fields, tag);
        if value(CURRENCY) != Some(RUPIAH) {
            return Err(QrisError::Currency { found: value(CURRENCY).unwrap_or_default().to_owned() });
        }
        let initiation = value(INITIATION).map(Initiation::read).transpose()?;
        let amount = amount::read_amount(value("54"))?;
        let tip = amount::read_tip(value("55"), value("56"), value("57"))?;
        let additional = value(ADDITIONAL).map_or(Ok(Vec::new()), read_fields)?;
        Ok(Self { fields, additional, initiation, amount, tip })
    }

    /// The fields in the order of the payload, the checksum last.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The value of a top-level field.
    pub fn field(&self, tag: &str) -> Option<&str> {
        find(&self.fields, tag)
    }

    /// The sub-fields of field 62: 01 bill number, 05 reference label, 07 terminal, 50 and up the provider's own (at DOKU, 50 is
    /// the `partner_reference_no`).
    pub fn additional(&self) -> &[Field] {
        &self.additional
    }

    /// The value of a sub-field of field 62.
    pub fn additional_field(&self, tag: &str) -> Option<&str> {
        find(&self.additional, tag)
    }

    /// Field 01; `None` where the payload does not say.
    pub fn initiation(&self) -> Option<Initiation> {
        self.initiation
    }

    /// Field 54, without tip; `None` where the payer types the amount.
    pub fn amount(&self) -> Option<Sen> {
        self.amount
    }

    /// Fields 55–57.
    pub fn tip(&self) -> Option<Tip> {
        self.tip
    }

    /// What the payer is expected to be charged, tip included.
    pub fn expected_total(&self) -> Result<ExpectedTotal, QrisError> {
        ExpectedTotal::of(self.amount, self.tip)
    }
}

impl Initiation {
    fn read(value: &str) -> Result<Self, QrisError> {
        match value {
            "11" => Ok(Self::Static),
            "12" => Ok(Self::Dynamic),
            _ => Err(QrisError::Value {
                tag: INITIATION,
                value: value.to_owned(),
                rule: "only 11 (static) and 12 (dynamic) are known",
            }),
        }
    }
}

/// Writes `fields` as a payload and appends the checksum. The caller chooses the fields and their order; what comes out is not
/// longer than a reader may take and every id and length is well formed, but only [`Qris::parse`] judges the meaning.
pub fn encode(fields: &[Field]) -> Result<String, QrisError> {
    let covered = format!("{}{CHECKSUM_HEAD}", write_fields(fields)?);
    let payload = format!("{covered}{:04X}", crc16(covered.bytes()));
    match payload.chars().count() {
        found if found > MAX_CHARS => Err(QrisError::TooLong { found }),
        _ => Ok(payload),
    }
}

/// Writes `fields` without a checksum: the value of a template field such as 62.
pub fn write_fields(fields: &[Field]) -> Result<String, QrisError> {
    for (at, field) in fields.iter().enumerate() {
        let length = field.value.chars().count();
        if !is_two_digits(&field.tag) {
            return Err(QrisError::Broken { at, what: "an id is two digits" });
        }
        if !(1..=99).contains(&length) {
            return Err(QrisError::Broken { at, what: "a value has 1 to 99 characters" });
        }
    }
    Ok(fields.iter().map(Field::to_string).collect())
}

impl Field {
    /// A field from its id and value.
    pub fn new(tag: impl Into<String>, value: impl Into<String>) -> Self {
        Self { tag: tag.into(), value: value.into() }
    }
}

impl fmt::Display for Field {
    /// Id, length in characters and value, as they stand in a payload.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:02}{}", self.tag, self.value.chars().count(), self.value)
    }
}

fn find<'a>(fields: &'a [Field], tag: &str) -> Option<&'a str> {
    fields.iter().find(|f| f.tag == tag).map(|f| f.value.as_str())
}

fn read_fields(text: &str) -> Result<Vec<Field>, QrisError> {
    let mut fields: Vec<Field> = Vec::new();
    let (mut rest, mut at) = (text, 0);
    while !rest.is_empty() {
        let broken = |what| QrisError::Broken { at, what };
        let (tag, after) =
            take(rest, 2).filter(|(t, _)| is_two_digits(t)).ok_or(broken("a two-digit id is expected"))?;
        let (digits, after) =
            take(after, 2).filter(|(d, _)| is_two_digits(d)).ok_or(broken("a two-digit length is expected"))?;
        let length: usize =
            digits.parse().ok().filter(|n| *n > 0).ok_or(broken("a value of length 00 is not allowed"))?;
        let (value, after) = take(after, length).ok_or(broken("the text ends before the value does"))?;
        if find(&fields, tag).is_some() {
            return Err(QrisError::Duplicate { tag: tag.to_owned() });
        }
        fields.push(Field::new(tag, value));
        at = at.saturating_add(4).saturating_add(length);
        rest = after;
    }
    Ok(fields)
}

/// Splits after `count` characters, not bytes: a merchant name may hold an é, and its length field counts it once.
fn take(text: &str, count: usize) -> Option<(&str, &str)> {
    let mut ends = text.char_indices().map(|(i, _)| i).chain(iter::once(text.len()));
    text.split_at_checked(ends.nth(count)?)
}

fn is_two_digits(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())
}

fn check_checksum(payload: &str, fields: &[Field]) -> Result<(), QrisError> {
    let found = match fields.last() {
        Some(last) if last.tag == CHECKSUM && last.value.chars().count() == 4 => last.value.clone(),
        _ => return Err(QrisError::ChecksumMissing),
    };
    let covered = payload.strip_suffix(&found).unwrap_or(payload);
    // Compared as text, so that `f6ea` is refused: the standard writes capitals, and a reader must not forgive a changed character.
    let computed = format!("{:04X}", crc16(covered.bytes()));
    if computed == found { Ok(()) } else { Err(QrisError::Checksum { found, computed }) }
}

/// CRC-16/CCITT-FALSE: polynomial 0x1021, start 0xFFFF, nothing reflected, nothing added at the end.
fn crc16(bytes: impl Iterator<Item = u8>) -> u16 {
    bytes.fold(0xFFFF, |crc, byte| {
        (0..8)
            .fold(crc ^ (u16::from(byte) << 8), |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 })
    })
}

#[cfg(test)]
mod tests;

//! One line of an import: which columns there are, and what each may hold. Every refusal says what stands there and what to
//! write instead. Pure; what the ledger already holds is compared elsewhere.

use chrono::{DateTime, SubsecRound as _, Utc};

use crate::{
    domain::{
        money::{AmountError, Sen},
        order::{Direction, OrderStatus},
        profile::Demands,
        qris::{Initiation, Qris},
    },
    store::import::NewRow,
};

/// A column that the merchant may write, in the order of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// `account`
    Account,
    /// `partner_reference_no`
    PartnerReferenceNo,
    /// `reference_no`
    ReferenceNo,
    /// `external_id`
    ExternalId,
    /// `direction`
    Direction,
    /// `amount`
    Amount,
    /// `currency`
    Currency,
    /// `order_status`
    OrderStatus,
    /// `created_at`
    CreatedAt,
    /// `expires_at`
    ExpiresAt,
    /// `qr_content`
    QrContent,
}

impl Column {
    /// Every column.
    pub const ALL: [Self; 11] = [
        Self::Account,
        Self::PartnerReferenceNo,
        Self::ReferenceNo,
        Self::ExternalId,
        Self::Direction,
        Self::Amount,
        Self::Currency,
        Self::OrderStatus,
        Self::CreatedAt,
        Self::ExpiresAt,
        Self::QrContent,
    ];

    /// Columns without which no line makes sense.
    pub const REQUIRED: [Self; 3] = [Self::Account, Self::PartnerReferenceNo, Self::Amount];

    /// The name in the table and in the header.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::PartnerReferenceNo => "partner_reference_no",
            Self::ReferenceNo => "reference_no",
            Self::ExternalId => "external_id",
            Self::Direction => "direction",
            Self::Amount => "amount",
            Self::Currency => "currency",
            Self::OrderStatus => "order_status",
            Self::CreatedAt => "created_at",
            Self::ExpiresAt => "expires_at",
            Self::QrContent => "qr_content",
        }
    }
}

/// The longest reference, in characters.
const REFERENCE_MAX: usize = 64;
/// The longest X-EXTERNAL-ID, in characters (SNAP BI).
const EXTERNAL_ID_MAX: usize = 36;

/// What a line's fields say, column by column; empty text is nothing.
#[derive(Debug, Default)]
pub struct Fields<'a> {
    values: [Option<&'a str>; Column::ALL.len()],
}

impl<'a> Fields<'a> {
    /// Sets a column; an empty text leaves it unset.
    pub fn set(&mut self, column: Column, text: &'a str) {
        let place = Column::ALL.iter().position(|c| *c == column).and_then(|i| self.values.get_mut(i));
        if let Some(place) = place {
            *place = Some(text).filter(|text| !text.is_empty());
        }
    }

    fn get(&self, column: Column) -> Option<&'a str> {
        Column::ALL.iter().zip(self.values).find(|(c, _)| **c == column).and_then(|(_, value)| value)
    }

    /// Reads the line, or says what is wrong with it. `demands` gives what an account's provider cannot do without, and
    /// `None` for an account that is not configured; `accounts` names those that are.
    pub fn read(
        &self,
        line: i64,
        accounts: &[String],
        demands: impl Fn(&str) -> Option<Demands>,
    ) -> Result<NewRow, String> {
        self.check_characters()?;
        let account = self.required(Column::Account)?;
        let demands = demands(account).ok_or_else(|| match accounts {
            [] => format!("account {account:?} is not configured; there is no [accounts] section yet"),
            known => format!("account {account:?} is not configured; known: {}", known.join(", ")),
        })?;
        let direction = self.word(Column::Direction, "in or out", Direction::from_word)?.unwrap_or(Direction::In);
        let references = demands.of(direction).ok_or_else(|| {
            format!(
                "direction is out, and nobody can be asked about a payout at account {account:?}: its provider has no status \
                 service; name the account that the payout was made with"
            )
        })?;
        let amount = self.amount()?;
        let row = NewRow {
            line,
            account: account.to_owned(),
            partner_reference_no: self.reference(Column::PartnerReferenceNo, REFERENCE_MAX, true)?.unwrap_or_default(),
            reference_no: self.reference(Column::ReferenceNo, REFERENCE_MAX, references.reference_no)?,
            external_id: self.reference(Column::ExternalId, EXTERNAL_ID_MAX, references.external_id)?,
            direction,
            amount,
            order_status: self.word(Column::OrderStatus, "open, fulfilled or cancelled", OrderStatus::from_word)?,
            created_at: self.time(Column::CreatedAt)?,
            expires_at: self.time(Column::ExpiresAt)?,
            qr_content: self.qr_content(amount)?,
        };
        match self.get(Column::Currency) {
            None | Some("IDR") => Ok(row),
            Some(other) => Err(format!("currency is {other:?}: only IDR is known")),
        }
    }

    fn check_characters(&self) -> Result<(), String> {
        for (column, value) in Column::ALL.iter().zip(self.values) {
            let Some(value) = value else { continue };
            if value.trim() != value {
                return Err(format!("{} begins or ends with a blank: remove it", column.as_str()));
            }
            if value.chars().any(char::is_control) {
                return Err(format!("{} holds a control character such as a line end: remove it", column.as_str()));
            }
        }
        Ok(())
    }

    fn required(&self, column: Column) -> Result<&'a str, String> {
        self.get(column).ok_or_else(|| format!("{} is empty", column.as_str()))
    }

    fn reference(&self, column: Column, max: usize, is_required: bool) -> Result<Option<String>, String> {
        let name = column.as_str();
        match self.get(column) {
            None if column == Column::PartnerReferenceNo => Err(format!("{name} is empty")),
            None if is_required => {
                Err(format!("{name} is empty, and this account's provider cannot be asked without it"))
            }
            None => Ok(None),
            Some(text) if text.chars().count() > max => {
                Err(format!("{name} has {} characters, the limit is {max}", text.chars().count()))
            }
            Some(text) => Ok(Some(text.to_owned())),
        }
    }

    fn amount(&self) -> Result<Sen, String> {
        let text = self.required(Column::Amount)?;
        // `12.000` is twelve thousand to a reader in Indonesia and twelve to a parser: neither is guessed.
        if text.split_once('.').is_some_and(|(_, decimals)| decimals.len() > 2) {
            return Err(format!(
                "amount {text:?} has more than two decimals: write rupiah without thousands separators, as 12000.00"
            ));
        }
        let amount = Sen::parse(text).map_err(|error| match error {
            AmountError::NotDecimal => format!(
                "amount {text:?} is not a plain decimal number: write rupiah without sign or separators, as 12000.00"
            ),
            AmountError::Empty | AmountError::TooPrecise | AmountError::TooLarge => {
                format!("amount {text:?} is refused: {error}")
            }
        })?;
        if amount.is_positive() { Ok(amount) } else { Err(format!("amount {text:?} is not more than zero")) }
    }

    fn word<T>(&self, column: Column, allowed: &str, read: fn(&str) -> Option<T>) -> Result<Option<T>, String> {
        let Some(text) = self.get(column) else { return Ok(None) };
        let refused = || format!("{} is {text:?}: write {allowed}", column.as_str());
        read(text).map(Some).ok_or_else(refused)
    }

    fn time(&self, column: Column) -> Result<Option<DateTime<Utc>>, String> {
        let Some(text) = self.get(column) else { return Ok(None) };
        let name = column.as_str();
        let read = DateTime::parse_from_rfc3339(text)
            .map_err(|_| format!("{name} is {text:?}: write a time with its offset, as 2026-11-19T14:05:09+07:00"))?;
        let at = read.with_timezone(&Utc).trunc_subsecs(6);
        if (1970..10_000).contains(&chrono::Datelike::year(&at)) {
            Ok(Some(at))
        } else {
            Err(format!("{name} is {text:?}: a year from 1970 to 9999 is expected"))
        }
    }

    /// A code that does not belong to this amount would make every payment look wrong: it is refused before money moves.
    fn qr_content(&self, amount: Sen) -> Result<Option<String>, String> {
        let Some(text) = self.get(Column::QrContent) else { return Ok(None) };
        let qris = Qris::parse(text).map_err(|error| format!("qr_content: {error}"))?;
        if qris.initiation() == Some(Initiation::Static) {
            return Err("qr_content is a static QR (tag 01 = 11): many people may pay it, so it cannot stand for one \
                        order; make a dynamic one"
                .to_owned());
        }
        match qris.amount() {
            Some(asked) if asked.truncated_to_rupiah() != amount.truncated_to_rupiah() => {
                Err(format!("qr_content asks for {asked}, but amount is {amount}: one of the two is wrong"))
            }
            Some(_) | None => Ok(Some(text.to_owned())),
        }
    }
}

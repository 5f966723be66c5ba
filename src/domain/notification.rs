//! DOKU's notification "Notify QRIS" as text, read strictly: sixteen values as query or form parameters, and a JSON body of
//! four. What it says is a **hint to ask** and never a verdict: its only signature (WORDS) covers four of the sixteen values,
//! neither the amount nor the status nor our reference, and has no nonce, so whoever caught one can change all the rest.
//! Its two JSON successors are in `json`; what all of them come to is [`Told`].
//!
//! Source: DOKU, archived page "Notify QRIS"; merchants' public code reads the same values out of a form. Absent on purpose:
//! the check of signatures (needs a secret), and any effect on a payment's state.

mod form;
mod json;

pub use json::{read_json, read_snap};

use serde_json::{Value, json};

use crate::domain::{money::Sen, observation::Observation};

/// One of the sixteen values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// The signature.
    Words,
    /// The acquirer's code.
    Acquirer,
    /// The customer's account number; personal.
    CustomerPan,
    /// The acquirer's number of the payment.
    Invoice,
    /// Our reference: `partner_reference_no`.
    TransactionId,
    /// The convenience fee's code.
    ConvenienceFee,
    /// The terminal.
    TerminalId,
    /// `INBOUND`.
    Origin,
    /// Rupiah as text.
    Amount,
    /// `yyyyMMddHHmmss`, without a zone.
    TxnDate,
    /// The merchant's account number.
    MerchantPan,
    /// The provider's reference.
    ReferenceId,
    /// The customer's name; personal.
    CustomerName,
    /// `S`; anything else is no success.
    TxnStatus,
    /// The issuer.
    IssuerName,
    /// The issuer's id; in DOKU's own sample the customer's account number.
    IssuerId,
}

impl Field {
    /// Every field, in the order of the document.
    pub const ALL: [Self; 16] = [
        Self::Words,
        Self::Acquirer,
        Self::CustomerPan,
        Self::Invoice,
        Self::TransactionId,
        Self::ConvenienceFee,
        Self::TerminalId,
        Self::Origin,
        Self::Amount,
        Self::TxnDate,
        Self::MerchantPan,
        Self::ReferenceId,
        Self::CustomerName,
        Self::TxnStatus,
        Self::IssuerName,
        Self::IssuerId,
    ];

    /// The parameter's name.
    pub const fn wire(self) -> &'static str {
        match self {
            Self::Words => "WORDS",
            Self::Acquirer => "ACQUIRER",
            Self::CustomerPan => "CUSTOMERPAN",
            Self::Invoice => "INVOICE",
            Self::TransactionId => "TRANSACTIONID",
            Self::ConvenienceFee => "CONVENIENCEFEE",
            Self::TerminalId => "TERMINALID",
            Self::Origin => "ORIGIN",
            Self::Amount => "AMOUNT",
            Self::TxnDate => "TXNDATE",
            Self::MerchantPan => "MERCHANTPAN",
            Self::ReferenceId => "REFERENCEID",
            Self::CustomerName => "CUSTOMERNAME",
            Self::TxnStatus => "TXNSTATUS",
            Self::IssuerName => "ISSUERNAME",
            Self::IssuerId => "ISSUERID",
        }
    }

    /// The name in a configured formula; `WORDS` cannot sign itself.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Words => "words",
            Self::Acquirer => "acquirer",
            Self::CustomerPan => "customer_pan",
            Self::Invoice => "invoice",
            Self::TransactionId => "transaction_id",
            Self::ConvenienceFee => "convenience_fee",
            Self::TerminalId => "terminal_id",
            Self::Origin => "origin",
            Self::Amount => "amount",
            Self::TxnDate => "txn_date",
            Self::MerchantPan => "merchant_pan",
            Self::ReferenceId => "reference_id",
            Self::CustomerName => "customer_name",
            Self::TxnStatus => "txn_status",
            Self::IssuerName => "issuer_name",
            Self::IssuerId => "issuer_id",
        }
    }

    fn of_wire(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.wire().eq_ignore_ascii_case(name))
    }
}

/// Reads a formula such as `issuer_id,txn_date,merchant_pan,invoice`: what is signed in front of the shared key, in order.
/// `None`: a name that is no field, one named twice, or none at all.
pub fn formula(text: &str) -> Option<Vec<Field>> {
    let known = |word: &str| Field::ALL.into_iter().find(|field| field.word() == word && *field != Field::Words);
    let fields = text.split(',').map(|word| known(word.trim())).collect::<Option<Vec<_>>>()?;
    let is_once = fields.iter().enumerate().all(|(at, field)| !fields.iter().take(at).any(|earlier| earlier == field));
    is_once.then_some(fields)
}

/// Why a request is no notification. `Display` holds nothing of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotificationError {
    /// A body of another kind.
    #[error("the body must be application/json or application/x-www-form-urlencoded")]
    ContentType,
    /// Parameters that are not percent-encoded UTF-8.
    #[error("the parameters are not percent-encoded UTF-8")]
    Encoding,
    /// One parameter with two different values.
    #[error("{} is given twice with different values", .0.wire())]
    Conflict(Field),
    /// A value longer than any documented one.
    #[error("{} has more than {VALUE_MAX} characters", .0.wire())]
    TooLong(Field),
    /// Our reference is missing or cannot be one.
    #[error("{0} must be 1 to {REFERENCE_MAX} printable characters")]
    Reference(&'static str),
    /// The body is not the documented JSON object.
    #[error("the body is not the documented JSON object, or one of its values is too long or no text and no number")]
    Json,
}

/// The longest value that is kept, in characters.
pub const VALUE_MAX: usize = 256;
/// The longest reference, in characters.
const REFERENCE_MAX: usize = 64;

/// A notification as it came.
#[derive(Clone, PartialEq, Eq)]
pub struct Notification {
    values: [Option<String>; Field::ALL.len()],
    body: Body,
}

impl std::fmt::Debug for Notification {
    /// Nothing personal.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Notification({})", self.redacted())
    }
}

/// The documented JSON body.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Body {
    transaction_id: Option<Value>,
    activity_code: Option<Value>,
    message: Option<Value>,
    process_date: Option<Value>,
}

/// What a notification claims. Nobody vouches for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// What it would mean if it were true.
    pub observation: Observation,
    /// Why it means nothing.
    pub doubt: Option<&'static str>,
    /// The amount, where it reads.
    pub amount: Option<Sen>,
}

/// What a notification comes to, however it was spelt.
#[derive(Clone, PartialEq, Eq)]
pub struct Told {
    /// Our reference.
    pub partner_reference_no: String,
    /// What it claims.
    pub claim: Claim,
    /// The currency that it names, or that its document implies.
    pub currency: Option<String>,
    /// The status as it was spelt; empty where there was none.
    pub status: String,
    /// The time of payment as it was spelt; empty where there was none.
    pub time: String,
    /// What may be stored and shown.
    pub redacted: Value,
}

impl std::fmt::Debug for Told {
    /// Nothing personal.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Told({})", self.redacted)
    }
}

/// The words of [`Claim::doubt`].
pub mod doubt {
    /// Status and message contradict one another: DOKU sends success codes with "Transaction is Refunded".
    pub const CONTRADICTION: &str = "contradiction";
    /// A status that no document names.
    pub const UNKNOWN_STATUS: &str = "unknown_status";
    /// A success without a readable amount.
    pub const AMOUNT: &str = "amount";
    /// About something else than a QRIS payment.
    pub const OTHER_SERVICE: &str = "other_service";
}

/// Reads a request: its query string, its content type and its body. A missing content type is taken by the look of the body.
///
/// # Errors
/// [`NotificationError`]; two parameters of one name must agree, wherever they stand.
pub fn read(query: &str, content_type: Option<&str>, body: &[u8]) -> Result<Notification, NotificationError> {
    let mut values: [Option<String>; Field::ALL.len()] = Default::default();
    take(&mut values, query)?;
    let body = match kind(content_type, body)? {
        Kind::Nothing => Body::default(),
        Kind::Json => read_body(body)?,
        Kind::Form => {
            take(&mut values, std::str::from_utf8(body).map_err(|_| NotificationError::Encoding)?)?;
            Body::default()
        }
    };
    let notification = Notification { values, body };
    check_reference(Field::TransactionId.wire(), notification.partner_reference_no())?;
    Ok(notification)
}

fn check_reference(name: &'static str, reference: &str) -> Result<(), NotificationError> {
    let is_printable = !reference.chars().any(char::is_control);
    let is_reference = is_printable && (1..=REFERENCE_MAX).contains(&reference.chars().count());
    is_reference.then_some(()).ok_or(NotificationError::Reference(name))
}

enum Kind {
    Nothing,
    Json,
    Form,
}

fn kind(content_type: Option<&str>, body: &[u8]) -> Result<Kind, NotificationError> {
    let media = content_type.and_then(|text| text.split(';').next()).unwrap_or_default().trim().to_ascii_lowercase();
    let looks_like = match body.trim_ascii_start().first() {
        None => Kind::Nothing,
        Some(b'{') => Kind::Json,
        Some(_) => Kind::Form,
    };
    match (media.as_str(), looks_like) {
        ("", kind) => Ok(kind),
        ("application/json" | "application/x-www-form-urlencoded", Kind::Nothing) => Ok(Kind::Nothing),
        ("application/json", _) => Ok(Kind::Json),
        ("application/x-www-form-urlencoded", _) => Ok(Kind::Form),
        _ => Err(NotificationError::ContentType),
    }
}

fn take(values: &mut [Option<String>; Field::ALL.len()], text: &str) -> Result<(), NotificationError> {
    for (name, value) in form::pairs(text).ok_or(NotificationError::Encoding)? {
        let Some(field) = Field::of_wire(&name) else { continue };
        if value.chars().count() > VALUE_MAX {
            return Err(NotificationError::TooLong(field));
        }
        let Some(place) = Field::ALL.iter().zip(values.iter_mut()).find(|(f, _)| **f == field).map(|(_, v)| v) else {
            continue;
        };
        match place {
            Some(there) if *there != value => return Err(NotificationError::Conflict(field)),
            _ => *place = Some(value),
        }
    }
    Ok(())
}

fn read_body(body: &[u8]) -> Result<Body, NotificationError> {
    // A derived reader would take a JSON array for the fields in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(NotificationError::Json);
    }
    let body: Body = serde_json::from_slice(body).map_err(|_| NotificationError::Json)?;
    let is_scalar = |value: &Option<Value>| !matches!(value, Some(Value::Array(_) | Value::Object(_)));
    let is_flat = [&body.transaction_id, &body.activity_code, &body.message, &body.process_date]
        .into_iter()
        .all(|value| is_scalar(value) && text_of(value.as_ref()).chars().count() <= VALUE_MAX);
    is_flat.then_some(body).ok_or(NotificationError::Json)
}

fn text_of(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Bool(flag)) => flag.to_string(),
        Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => String::new(),
    }
}

impl Notification {
    /// A value as it came, decoded; empty where there is none.
    pub fn value(&self, field: Field) -> &str {
        let found = Field::ALL.iter().zip(&self.values).find(|(f, _)| **f == field);
        found.and_then(|(_, value)| value.as_deref()).unwrap_or_default()
    }

    /// Our reference.
    pub fn partner_reference_no(&self) -> &str {
        self.value(Field::TransactionId).trim()
    }

    /// What it claims. Only a plain yes is a yes, and only a plain no a no.
    pub fn claim(&self) -> Claim {
        let amount = Sen::parse(self.value(Field::Amount)).ok().filter(|amount| amount.is_positive());
        let message = text_of(self.body.message.as_ref()).to_ascii_lowercase();
        let (says_yes, says_no) = (message.contains("success"), message.contains("fail"));
        let silent = message.trim().is_empty();
        let (observation, doubt) = match self.value(Field::TxnStatus).trim() {
            "S" if (says_yes || silent) && !says_no => match amount {
                Some(_) => (Observation::Paid, None),
                None => (Observation::Indeterminate, Some(doubt::AMOUNT)),
            },
            "F" if (says_no || silent) && !says_yes => (Observation::Failed, None),
            "S" | "F" => (Observation::Indeterminate, Some(doubt::CONTRADICTION)),
            _ => (Observation::Indeterminate, Some(doubt::UNKNOWN_STATUS)),
        };
        Claim { observation, doubt, amount }
    }

    /// What it comes to. The document names no other currency than rupiah, and no field for one.
    pub fn told(&self) -> Told {
        let claim = self.claim();
        Told {
            partner_reference_no: self.partner_reference_no().to_owned(),
            currency: claim.amount.map(|_| "IDR".to_owned()),
            claim,
            status: self.value(Field::TxnStatus).trim().to_owned(),
            time: self.value(Field::TxnDate).trim().to_owned(),
            redacted: self.redacted(),
        }
    }

    /// Everything that makes it what it is, unambiguously: the same text is a redelivery.
    pub fn canonical(&self) -> String {
        let Body { transaction_id, activity_code, message, process_date } = &self.body;
        let body = [transaction_id, activity_code, message, process_date].map(|value| text_of(value.as_ref()));
        json!([self.values, body]).to_string()
    }

    /// What may be stored and shown: names are masked, of account numbers the bank and the last digits remain, and of the
    /// signature as much as tells two apart. What no document names is not here at all.
    pub fn redacted(&self) -> Value {
        let shown = |field: Field| {
            let value = &printable(self.value(field));
            match field {
                Field::CustomerName => masked(value, 1, 0),
                Field::CustomerPan | Field::IssuerId => masked(value, 8, 4),
                Field::Words => masked(value, 8, 0),
                Field::Acquirer
                | Field::Invoice
                | Field::TransactionId
                | Field::ConvenienceFee
                | Field::TerminalId
                | Field::Origin
                | Field::Amount
                | Field::TxnDate
                | Field::MerchantPan
                | Field::ReferenceId
                | Field::TxnStatus
                | Field::IssuerName => value.clone(),
            }
        };
        let given = Field::ALL.iter().zip(&self.values).filter(|(_, value)| value.is_some());
        let parameters: serde_json::Map<String, Value> =
            given.map(|(field, _)| (field.wire().to_owned(), Value::String(shown(*field)))).collect();
        let Body { transaction_id, activity_code, message, process_date } = &self.body;
        let [transaction_id, activity_code, message, process_date] =
            [transaction_id, activity_code, message, process_date]
                .map(|value| value.as_ref().map(|value| printable(&text_of(Some(value)))));
        json!({
            "parameters": parameters,
            "body": {"transactionId": transaction_id, "activityCode": activity_code, "message": message, "processDate": process_date},
        })
    }
}

/// Without characters that no table and no terminal should hold.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// The first and last characters; all of a text that has no more than these is hidden but its first.
fn masked(text: &str, first: usize, last: usize) -> String {
    let length = text.chars().count();
    if length <= first.saturating_add(last) {
        let head: String = text.chars().take(usize::from(length > 1)).collect();
        return format!("{head}***");
    }
    let head: String = text.chars().take(first).collect();
    let tail: String = text.chars().skip(length.saturating_sub(last)).collect();
    format!("{head}***{tail}")
}

#[cfg(test)]
mod tests;

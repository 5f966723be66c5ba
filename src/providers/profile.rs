//! A provider's profile: what is data about it. Embedded as TOML, complete and commented; an account may replace any key
//! that stands there, and no other.
//!
//! Absent on purpose: inheritance between providers, and defaults in code. Every profile says everything itself.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;
use toml::{Table, Value};

use super::{Provider, service::Service};
use crate::{
    config::nearest_name,
    domain::{
        chain::fingerprint,
        money::Sen,
        observation::{Observation, StatusMap, StatusMapError, StatusMeaning},
        profile::{Ladder, Profile, RefundAbility, RefundRepeat, RequiredReferences},
        refund_codes::{CodeMeaning, RefundCodes, RefundCodesError},
        window::{Hours, RefundWindow},
    },
};

mod words;

pub use words::{
    AmountAs, AuthMode, CodeAs, CustomerTokenAs, IdsAs, Limits, Operation, ParamsIn, PaymentId, SignedPath, TokenUse,
};

/// A profile with an account's replacements.
#[derive(Debug, Clone)]
pub struct ProviderProfile {
    /// What the rules of money look at.
    pub rules: Profile,
    /// The document behind it.
    pub source: String,
    /// When it was read, `yyyy-MM-dd`.
    pub read_on: String,
    /// Hosts where real money moves.
    pub hosts: Vec<String>,
    /// Hosts of the sandbox; raw refunds and payments by hand only there.
    pub sandbox_hosts: Vec<String>,
    /// How transactions are signed.
    pub auth: AuthMode,
    /// What becomes of a B2B token.
    pub tokens: TokenUse,
    /// Which path is signed.
    pub signed_path: SignedPath,
    /// One X-EXTERNAL-ID for every call; `None`: a new one for each, as the standard has it.
    pub fixed_external_id: Option<String>,
    /// CHANNEL-ID, where the account names none.
    pub channel_id: String,
    /// How digits-only identifiers are typed.
    pub ids_as: IdsAs,
    /// How amounts are typed.
    pub amount_as: AmountAs,
    /// How `responseCode` is typed in answers; a call may have its own.
    pub response_code_as: CodeAs,
    /// How `latestTransactionStatus` is typed in answers.
    pub latest_transaction_status_as: CodeAs,
    /// What tells two payments apart.
    pub payment_id: PaymentId,
    /// The calls, by service: exactly those that the adapter can make.
    pub operations: BTreeMap<Service, Operation>,
    /// How hard it may be asked.
    pub limits: Limits,
    /// Longest time for one call.
    pub timeout: Duration,
    /// SHA-256 of the whole merged profile in its canonical text; stored with every decision.
    pub version: String,
}

/// Why a profile is refused.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// A key that the profile does not have.
    #[error("unknown profile key `{key}`{}", .nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
    UnknownKey {
        /// The whole key, with dots.
        key: String,
        /// The nearest known one.
        nearest: Option<String>,
    },
    /// A value of the wrong kind or a missing key.
    #[error("the profile cannot be read: {0}")]
    Malformed(#[from] toml::de::Error),
    /// The status table breaks a guard rail.
    #[error("the profile's status table is refused")]
    Status(#[from] StatusMapError),
    /// Not a duration.
    #[error("`{key}`: {text:?} is not a duration of at least 1s; write for example \"90s\", \"5m\", \"2h\" or \"30d\"")]
    Duration {
        /// The key.
        key: String,
        /// What stands there.
        text: String,
    },
    /// The refund table says what no table may say.
    #[error("`refund.codes` is refused")]
    RefundCodes(#[from] RefundCodesError),
    /// Not hours of a day.
    #[error("`refund.blackout`: {0:?} is not hours of the day in WIB, such as \"23:30-00:30\"")]
    Hours(String),
    /// Hours that leave no minute.
    #[error("`refund.blackout` covers the whole day: set `refund_by_api = false` instead")]
    NeverOpen,
    /// Not an amount.
    #[error("`refund.min_amount`: {0:?} is not an amount in rupiah above zero, such as \"1.00\"")]
    MinAmount(String),
    /// A window that ends before it begins.
    #[error("`refund.max_age` is shorter than `refund.min_age`: no refund could ever leave")]
    WindowEmpty,
    /// A cancel where there is none.
    #[error("`cancel_qr` is true and rekon knows no cancel call of this provider: set it to false")]
    NoCancel,
    /// A ladder without steps.
    #[error("`{0}` has no step; write at least one, such as [\"60s\"]")]
    EmptyLadder(String),
    /// A ladder for no observation.
    #[error("`ladder.{0}` is no observation in lower case, such as `open`, and not `default`")]
    NoObservation(String),
    /// A number that must not be zero.
    #[error("`limits.{0}` must be at least 1")]
    ZeroLimit(&'static str),
    /// The adapter and its profile disagree about what can be done.
    #[error("the profile describes other operations than the adapter has: {0}")]
    Operations(String),
    /// Refunds where there are none.
    #[error("`refund_by_api` is true and rekon knows no refund call of this provider: set it to false")]
    NoRefund,
    /// A body where none is sent as it stands, or none that a provider reads.
    #[error(
        "`operations.{0}.body` must be a JSON object, and only `token` has one, such as '{{\"grantType\":\"client_credentials\"}}'"
    )]
    Body(Service),
    /// HMAC signs the token too.
    #[error("`auth` is symmetric and `tokens` is none: a symmetric signature covers a token")]
    NoToken,
}

/// The file as it stands.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    provider: String,
    source: String,
    read_on: String,
    hosts: Vec<String>,
    sandbox_hosts: Vec<String>,
    auth: AuthMode,
    tokens: TokenUse,
    signed_path: SignedPath,
    external_id: String,
    channel_id: String,
    ids_as: IdsAs,
    amount_as: AmountAs,
    response_code_as: CodeAs,
    latest_transaction_status_as: CodeAs,
    payment_id: PaymentId,
    paid_time_trusted: bool,
    default_validity: String,
    refund_by_api: bool,
    refund_partial: bool,
    refund_repeat: RefundRepeat,
    refund: RefundFile,
    cancel_qr: bool,
    timeout: String,
    required: RequiredReferences,
    #[serde(default)]
    required_by_status: RequiredReferences,
    limits: Limits,
    operations: BTreeMap<Service, Operation>,
    status: BTreeMap<String, StatusMeaning>,
    ladder: BTreeMap<String, Vec<String>>,
}

/// What is known about a provider's refunds; an empty text where nothing is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefundFile {
    min_age: String,
    max_age: String,
    blackout: Vec<String>,
    min_amount: String,
    later_for: String,
    codes: BTreeMap<String, CodeMeaning>,
}

impl RefundFile {
    fn ability(&self, partial: bool, repeat: RefundRepeat, ladder: &Ladder) -> Result<RefundAbility, ProfileError> {
        let age = |key: &str, text: &str| (!text.is_empty()).then(|| seconds(key, text)).transpose();
        let hours = |text: &String| Hours::parse(text).ok_or_else(|| ProfileError::Hours(text.clone()));
        let window = RefundWindow {
            min_age_secs: age("refund.min_age", &self.min_age)?,
            max_age_secs: age("refund.max_age", &self.max_age)?,
            blackout: self.blackout.iter().map(hours).collect::<Result<_, _>>()?,
        };
        if window.is_never_open() {
            return Err(ProfileError::NeverOpen);
        }
        if window.max_age_secs.is_some_and(|max| window.min_age_secs.is_some_and(|min| max < min)) {
            return Err(ProfileError::WindowEmpty);
        }
        let min_amount = Sen::parse(&self.min_amount).ok().filter(|amount| amount.is_positive());
        Ok(RefundAbility {
            partial,
            repeat,
            // Looks at an unknown refund and its repeats go by the ladder's default steps: one knob for an account.
            ladder_secs: ladder.default.clone(),
            window,
            min_amount: min_amount.ok_or_else(|| ProfileError::MinAmount(self.min_amount.clone()))?,
            later_for_secs: seconds("refund.later_for", &self.later_for)?,
            codes: RefundCodes::try_new(&self.codes, |text| seconds("refund.codes", text).ok())?,
        })
    }
}

impl ProviderProfile {
    /// A provider's profile with the keys that an account replaces. A `ladder` that has any step takes the place of the
    /// whole ladder, but for a `default` that it does not name.
    pub fn load(provider: &dyn Provider, replaced: &Table, ladder: Table) -> Result<Self, ProfileError> {
        let mut table: Table = provider.profile_toml().parse()?;
        merge(&mut table, replaced, "")?;
        if !ladder.is_empty()
            && let Some(Value::Table(shipped)) = table.get_mut("ladder")
        {
            shipped.retain(|name, _| name == "default");
            shipped.extend(ladder);
        }
        let version = fingerprint(&Value::Table(table.clone()).to_string());
        let file: File = Value::Table(table).try_into()?;
        check_abilities(provider, &file)?;
        Self::check(file, version)
    }

    /// How a call is made; `None` where this provider has no such call.
    pub fn operation(&self, service: Service) -> Option<&Operation> {
        self.operations.get(&service)
    }

    /// How the answer to a call types `responseCode`.
    pub fn response_code_as(&self, service: Service) -> CodeAs {
        self.operation(service).and_then(|o| o.response_code_as).unwrap_or(self.response_code_as)
    }

    fn check(file: File, version: String) -> Result<Self, ProfileError> {
        let limits = [
            ("per_second", file.limits.per_second),
            ("burst", file.limits.burst),
            ("concurrency", file.limits.concurrency),
        ];
        if let Some((name, _)) = limits.into_iter().find(|(_, value)| *value == 0) {
            return Err(ProfileError::ZeroLimit(name));
        }
        let timeout = seconds("timeout", &file.timeout)?;
        let ladder = ladder(&file.ladder)?;
        let ability = file.refund.ability(file.refund_partial, file.refund_repeat, &ladder)?;
        let rules = Profile {
            provider: file.provider,
            status: StatusMap::try_new(file.status)?,
            required: file.required,
            required_out: file.operations.contains_key(&Service::Status).then_some(file.required_by_status),
            default_validity_secs: seconds("default_validity", &file.default_validity)?,
            paid_time_trusted: file.paid_time_trusted,
            payment_id_is_unique: file.payment_id != PaymentId::ApprovalCode,
            cancel_qr: file.cancel_qr,
            refund: file.refund_by_api.then_some(ability),
            ladder,
        };
        Ok(Self {
            rules,
            source: file.source,
            read_on: file.read_on,
            hosts: file.hosts,
            sandbox_hosts: file.sandbox_hosts,
            auth: file.auth,
            tokens: file.tokens,
            signed_path: file.signed_path,
            fixed_external_id: Some(file.external_id).filter(|id| !id.is_empty()),
            channel_id: file.channel_id,
            ids_as: file.ids_as,
            amount_as: file.amount_as,
            response_code_as: file.response_code_as,
            latest_transaction_status_as: file.latest_transaction_status_as,
            payment_id: file.payment_id,
            operations: file.operations,
            limits: file.limits,
            timeout: Duration::from_secs(timeout.unsigned_abs()),
            version,
        })
    }
}

/// Can the adapter do what the profile promises, and does the profile describe all that it can do?
fn check_abilities(provider: &dyn Provider, file: &File) -> Result<(), ProfileError> {
    let can = provider.services();
    let unknown = file.operations.keys().filter(|service| !can.contains(service));
    let missing = can.iter().filter(|service| !file.operations.contains_key(service));
    let differences: Vec<&str> = unknown.chain(missing).map(|service| service.as_str()).collect();
    if !differences.is_empty() {
        return Err(ProfileError::Operations(differences.join(", ")));
    }
    if file.refund_by_api && !can.contains(&Service::Refund) {
        return Err(ProfileError::NoRefund);
    }
    if file.cancel_qr && !can.contains(&Service::Cancel) {
        return Err(ProfileError::NoCancel);
    }
    let is_object = |body: &str| serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(body).is_ok();
    let unfit = |(service, operation): &(&Service, &Operation)| match &operation.body {
        Some(body) => **service != Service::Token || !is_object(body),
        None => false,
    };
    if let Some((service, _)) = file.operations.iter().find(unfit) {
        return Err(ProfileError::Body(*service));
    }
    if file.auth == AuthMode::Symmetric && file.tokens == TokenUse::None {
        return Err(ProfileError::NoToken);
    }
    Ok(())
}

/// Tables whose keys are data; their names are checked where they are read.
const OPEN_TABLES: [&str; 3] = ["status", "ladder", "refund.codes"];

/// Lays `over` onto `base`, key by key. A key that `base` has not is refused: the embedded profile lists them all.
fn merge(base: &mut Table, over: &Table, prefix: &str) -> Result<(), ProfileError> {
    for (key, value) in over {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match (base.get_mut(key), value) {
            (Some(Value::Table(below)), Value::Table(over)) => merge(below, over, &path)?,
            (Some(old), value) => *old = value.clone(),
            (None, value) if OPEN_TABLES.contains(&prefix) => {
                base.insert(key.clone(), value.clone());
            }
            (None, _) => return Err(ProfileError::UnknownKey { nearest: nearest(key, base), key: path }),
        }
    }
    Ok(())
}

fn nearest(key: &str, known: &Table) -> Option<String> {
    let known: Vec<&str> = known.keys().map(String::as_str).collect();
    nearest_name(key, &known).map(str::to_owned)
}

fn ladder(table: &BTreeMap<String, Vec<String>>) -> Result<Ladder, ProfileError> {
    let mut default = None;
    let mut by_observation = BTreeMap::new();
    for (name, texts) in table {
        let steps = steps(&format!("ladder.{name}"), texts)?;
        if name == "default" {
            default = Some(steps);
        } else {
            let observation = Observation::from_word(name)
                .filter(|o| o.as_str().to_ascii_lowercase() == *name)
                .ok_or_else(|| ProfileError::NoObservation(name.clone()))?;
            by_observation.insert(observation, steps);
        }
    }
    let default = default.ok_or_else(|| ProfileError::EmptyLadder("ladder.default".to_owned()))?;
    Ok(Ladder { default, by_observation })
}

fn steps(key: &str, texts: &[String]) -> Result<Vec<i64>, ProfileError> {
    if texts.is_empty() {
        return Err(ProfileError::EmptyLadder(key.to_owned()));
    }
    texts.iter().map(|text| seconds(key, text)).collect()
}

/// Reads `90s`, `5m`, `2h` or `30d`, at least one second and at most ten years.
fn seconds(key: &str, text: &str) -> Result<i64, ProfileError> {
    const LONGEST_SECS: i64 = 10 * 365 * 86_400;
    let read = || {
        let unit = match text.chars().last()? {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return None,
        };
        let digits = text.get(..text.len().checked_sub(1)?)?;
        let is_plain = digits.bytes().all(|b| b.is_ascii_digit());
        let secs = is_plain.then(|| digits.parse::<i64>().ok())??.checked_mul(unit)?;
        (1..=LONGEST_SECS).contains(&secs).then_some(secs)
    };
    read().ok_or_else(|| ProfileError::Duration { key: key.to_owned(), text: text.to_owned() })
}

#[cfg(test)]
mod tests;

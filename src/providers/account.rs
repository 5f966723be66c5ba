//! One contract with one provider, ready to call: the merged profile, keys expanded, URLs joined. Made once at start.
//! Absent on purpose: reading files and the environment. Secrets arrive as values.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use serde_json::value::RawValue;
use toml::{Table, Value};

use super::{
    Asked, BuildError, Provider,
    profile::{AuthMode, Limits, Operation, ProfileError, ProviderProfile, SignedPath},
    provider,
    service::Service,
    sign::{HmacKey, KeyError, RsaKey},
    snap,
    wire::Endpoint,
};

/// What a configuration says about an account; empty options leave the profile's.
#[derive(Debug, Clone)]
pub struct AccountSettings {
    /// Its name in `transactions.account`.
    pub name: String,
    /// The provider's name.
    pub provider: String,
    /// Scheme, host and base path, without a slash at the end.
    pub base_url: String,
    /// X-PARTNER-ID and X-CLIENT-KEY.
    pub client_id: String,
    /// The key of symmetric signatures.
    pub client_secret: SecretString,
    /// A PEM RSA key.
    pub private_key: Option<SecretString>,
    /// `merchantId`.
    pub merchant_id: String,
    /// `terminalId`.
    pub terminal_id: Option<String>,
    /// CHANNEL-ID.
    pub channel_id: Option<String>,
    /// The customer's token, where the provider asks on a customer's behalf.
    pub customer_token: Option<SecretString>,
    /// How a payment is inquired: `query` or `status`.
    pub inquiry: String,
    /// Calls per second.
    pub per_second: Option<u32>,
    /// Calls at once after a pause.
    pub burst: Option<u32>,
    /// Calls in flight per process.
    pub concurrency: Option<u32>,
    /// Longest time for one call.
    pub timeout: Option<Duration>,
    /// Pauses by lower-case observation or `default`. Where there is any, it replaces the profile's ladder; only a
    /// missing `default` is still the profile's.
    pub ladder: BTreeMap<String, Vec<Duration>>,
    /// Keys of the profile that are replaced.
    pub profile: Table,
}

/// Values of every body, spelt once as this provider wants them.
#[derive(Debug)]
pub struct BodyTokens {
    /// `merchantId`.
    pub merchant_id: Box<RawValue>,
    service_codes: BTreeMap<Service, Box<RawValue>>,
}

impl BodyTokens {
    /// `serviceCode` of an inquiry.
    pub fn service_code(&self, inquiry: Service) -> Option<&RawValue> {
        self.service_codes.get(&inquiry).map(|token| &**token)
    }
}

/// An account.
#[derive(Debug)]
pub struct Account {
    /// Its name in `transactions.account`.
    pub name: String,
    /// Its adapter.
    pub provider: &'static dyn Provider,
    /// The provider's profile with this account's replacements.
    pub profile: ProviderProfile,
    /// The provider's host, without scheme and port.
    pub host: String,
    /// X-PARTNER-ID and X-CLIENT-KEY.
    pub client_id: String,
    /// `merchantId`.
    pub merchant_id: String,
    /// `terminalId`.
    pub terminal_id: Option<String>,
    /// CHANNEL-ID.
    pub channel_id: String,
    /// How hard the provider may be asked.
    pub limits: Limits,
    /// Longest time for one call.
    pub timeout: Duration,
    /// How payments are inquired; payouts always by their status.
    pub inquiry: Service,
    /// Where its calls go.
    endpoints: BTreeMap<Service, Endpoint>,
    /// Values of every body.
    pub tokens: BodyTokens,
    pub(super) hmac_key: HmacKey,
    pub(super) rsa_key: Option<RsaKey>,
    pub(super) client_secret: SecretString,
    pub(super) customer_token: Option<SecretString>,
}

/// Why an account cannot be used. The name of the account is in every message.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// No such provider.
    #[error("account `{account}`: unknown provider {provider:?}")]
    UnknownProvider {
        /// The account.
        account: String,
        /// What was written.
        provider: String,
    },
    /// The provider has no such inquiry.
    #[error("account `{account}`: {provider} has no inquiry {inquiry:?}; it has: {known}")]
    UnknownInquiry {
        /// The account.
        account: String,
        /// The provider.
        provider: &'static str,
        /// What was written.
        inquiry: String,
        /// What there is.
        known: String,
    },
    /// The profile's keys do not hold together.
    #[error("account `{account}`: [accounts.{account}.profile] or its ladder is refused: {source}")]
    Profile {
        /// The account.
        account: String,
        /// Why.
        source: ProfileError,
    },
    /// The private key is unusable.
    #[error("account `{account}`: {source}")]
    Key {
        /// The account.
        account: String,
        /// Why.
        source: KeyError,
    },
    /// The provider needs a private key and there is none.
    #[error("account `{account}`: {provider} needs `private_key` (PKCS#8 PEM) for its token requests")]
    NoPrivateKey {
        /// The account.
        account: String,
        /// The provider.
        provider: &'static str,
    },
    /// The provider answers only on behalf of a customer, and there is none.
    #[error("account `{account}`: {provider} needs `customer_token`, the customer's B2B2C token, for every query")]
    NoCustomerToken {
        /// The account.
        account: String,
        /// The provider.
        provider: &'static str,
    },
    /// A value that cannot stand in a header, a URL or a body.
    #[error("account `{account}`: `{key}` is empty, too long, or holds characters that HTTP cannot carry")]
    Value {
        /// The account.
        account: String,
        /// The key.
        key: &'static str,
    },
}

impl Account {
    /// Checks the settings against the provider's profile.
    pub fn try_new(settings: AccountSettings) -> Result<Self, AccountError> {
        let account = settings.name.clone();
        let provider = provider(&settings.provider).ok_or_else(|| AccountError::UnknownProvider {
            account: account.clone(),
            provider: settings.provider.clone(),
        })?;
        let inquiry = inquiry(provider, &settings)?;
        let mut profile = ProviderProfile::load(provider, &settings.profile, ladder_table(&settings.ladder))
            .map_err(|source| AccountError::Profile { account: account.clone(), source })?;
        if let Some(by_status) = profile.rules.required_out.filter(|_| inquiry == Service::Status) {
            profile.rules.required = by_status;
        }
        let asks_for_customer = profile.operation(inquiry).is_some_and(|o| o.customer_token.is_some());
        if asks_for_customer && settings.customer_token.as_ref().is_none_or(|t| t.expose_secret().is_empty()) {
            return Err(AccountError::NoCustomerToken { account, provider: provider.name() });
        }
        let private_key = settings
            .private_key
            .as_ref()
            .ok_or_else(|| AccountError::NoPrivateKey { account: account.clone(), provider: provider.name() })?;
        let rsa_key = RsaKey::from_pem(private_key).map_err(|source| AccountError::Key { account, source })?;
        Self::assemble(settings, (provider, inquiry), profile, rsa_key)
    }

    fn assemble(
        settings: AccountSettings,
        (provider, inquiry): (&'static dyn Provider, Service),
        profile: ProviderProfile,
        rsa_key: RsaKey,
    ) -> Result<Self, AccountError> {
        let refuse = |key| AccountError::Value { account: settings.name.clone(), key };
        let channel_id = settings.channel_id.clone().unwrap_or_else(|| profile.channel_id.clone());
        for (key, value, max) in [
            ("client_id", &settings.client_id, 64),
            ("merchant_id", &settings.merchant_id, 64),
            ("channel_id", &channel_id, 16),
        ] {
            snap::check_field(key, value, max).map_err(|_| refuse(key))?;
        }
        let secret_is_empty = settings.client_secret.expose_secret().is_empty();
        if profile.auth == AuthMode::Symmetric && secret_is_empty {
            return Err(refuse("client_secret"));
        }
        let (host, base_path) = split_url(&settings.base_url).ok_or_else(|| refuse("base_url"))?;
        let token = settings.customer_token.as_ref().map(ExposeSecret::expose_secret);
        if token.is_some_and(|token| !snap::is_header_safe(token)) {
            return Err(refuse("customer_token"));
        }
        let base_url = settings.base_url.trim_end_matches('/');
        let signed_base = match profile.signed_path {
            SignedPath::Full => base_path,
            SignedPath::Operation => "",
        };
        let endpoint = |operation: &Operation| Endpoint {
            method: operation.method,
            url: Arc::from(format!("{base_url}{}", operation.path)),
            path: Arc::from(format!("{signed_base}{}", operation.path)),
        };
        let endpoints = profile.operations.iter().map(|(service, o)| (*service, endpoint(o))).collect();
        let tokens = body_tokens(&settings.merchant_id, &profile).map_err(|_| refuse("merchant_id"))?;
        let limits = Limits {
            per_second: settings.per_second.unwrap_or(profile.limits.per_second),
            burst: settings.burst.unwrap_or(profile.limits.burst),
            concurrency: settings.concurrency.unwrap_or(profile.limits.concurrency),
        };
        Ok(Self {
            host: host.to_owned(),
            hmac_key: HmacKey::new(&settings.client_secret),
            rsa_key: Some(rsa_key),
            timeout: settings.timeout.unwrap_or(profile.timeout),
            name: settings.name,
            client_id: settings.client_id,
            merchant_id: settings.merchant_id,
            terminal_id: settings.terminal_id,
            client_secret: settings.client_secret,
            customer_token: settings.customer_token,
            inquiry,
            provider,
            profile,
            channel_id,
            limits,
            endpoints,
            tokens,
        })
    }

    /// Where a call goes.
    pub fn endpoint(&self, service: Service) -> Result<&Endpoint, BuildError> {
        self.endpoints.get(&service).ok_or(BuildError::Unsupported { provider: self.provider.name(), service })
    }

    /// How this row is inquired. Money out is not money in: a payout is never asked about as a payment.
    pub fn inquiry_of(&self, asked: &Asked<'_>) -> Service {
        if asked.is_payout { Service::Status } else { self.inquiry }
    }

    /// Is it asked on this machine?
    pub fn is_loopback(&self) -> bool {
        matches!(self.host.as_str(), "localhost" | "127.0.0.1" | "[::1]")
    }

    /// Is this the provider's sandbox (or this machine), where money is play money?
    pub fn is_sandbox(&self) -> bool {
        self.is_loopback() || self.profile.sandbox_hosts.iter().any(|host| host.eq_ignore_ascii_case(&self.host))
    }
}

fn inquiry(provider: &dyn Provider, settings: &AccountSettings) -> Result<Service, AccountError> {
    let inquiries = || provider.services().iter().filter(|s| matches!(s, Service::Query | Service::Status));
    inquiries().find(|s| s.as_str() == settings.inquiry).copied().ok_or_else(|| AccountError::UnknownInquiry {
        account: settings.name.clone(),
        provider: provider.name(),
        inquiry: settings.inquiry.clone(),
        known: inquiries().map(|s| s.as_str()).collect::<Vec<_>>().join(", "),
    })
}

fn body_tokens(merchant_id: &str, profile: &ProviderProfile) -> Result<BodyTokens, BuildError> {
    let service_code = |service| {
        let operation = profile.operation(service)?;
        let code = operation.sent_service_code.as_ref().unwrap_or(&operation.service_code);
        Some(snap::id_token(code, profile.ids_as))
    };
    Ok(BodyTokens {
        merchant_id: snap::id_token(merchant_id, profile.ids_as)?,
        service_codes: [Service::Query, Service::Status]
            .into_iter()
            .filter_map(|service| Some(service_code(service)?.map(|token| (service, token))))
            .collect::<Result<_, _>>()?,
    })
}

/// The host without its port, and the path without a slash at the end.
fn split_url(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let (authority, path) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len()))?;
    let is_plain = url.bytes().all(|b| b.is_ascii_graphic()) && !url.contains(['@', '?', '#', '\\']);
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    (is_plain && !host.is_empty()).then_some((host, path.trim_end_matches('/')))
}

/// The account's ladder in the profile's own words, so that it becomes part of the profile's version.
fn ladder_table(ladder: &BTreeMap<String, Vec<Duration>>) -> Table {
    let seconds = |step: &Duration| Value::String(format!("{}s", step.as_millis().div_ceil(1000)));
    let steps = |steps: &Vec<Duration>| Value::Array(steps.iter().map(seconds).collect());
    ladder.iter().map(|(name, list)| (name.clone(), steps(list))).collect()
}

#[cfg(test)]
mod tests;

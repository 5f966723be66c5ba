//! One contract with one provider, ready to call: the merged profile, keys expanded, URLs joined. Made once at start.
//! Absent on purpose: reading files and the environment. Secrets arrive as values.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use serde_json::value::RawValue;
use toml::{Table, Value};

use super::{
    BuildError, Provider,
    profile::{AuthMode, Limits, Operation, ProfileError, ProviderProfile},
    provider,
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

/// The endpoints of an account.
#[derive(Debug, Clone)]
pub struct Endpoints {
    /// Of the B2B token.
    pub token: Endpoint,
    /// Of the query.
    pub query: Endpoint,
    /// Of the refund.
    pub refund: Endpoint,
}

/// Values of every body, spelt once as this provider wants them.
#[derive(Debug)]
pub struct BodyTokens {
    /// `merchantId`.
    pub merchant_id: Box<RawValue>,
    /// `serviceCode` of a query.
    pub query_service_code: Box<RawValue>,
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
    /// Where its calls go.
    pub endpoints: Endpoints,
    /// Values of every body.
    pub tokens: BodyTokens,
    pub(super) hmac_key: HmacKey,
    pub(super) rsa_key: Option<RsaKey>,
    pub(super) client_secret: SecretString,
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
        if !provider.inquiries().contains(&settings.inquiry.as_str()) {
            return Err(AccountError::UnknownInquiry {
                account,
                provider: provider.name(),
                inquiry: settings.inquiry,
                known: provider.inquiries().join(", "),
            });
        }
        let profile = ProviderProfile::load(provider, &settings.profile, ladder_table(&settings.ladder))
            .map_err(|source| AccountError::Profile { account: account.clone(), source })?;
        let private_key = settings
            .private_key
            .as_ref()
            .ok_or_else(|| AccountError::NoPrivateKey { account: account.clone(), provider: provider.name() })?;
        let rsa_key = RsaKey::from_pem(private_key).map_err(|source| AccountError::Key { account, source })?;
        Self::assemble(settings, provider, profile, rsa_key)
    }

    fn assemble(
        settings: AccountSettings,
        provider: &'static dyn Provider,
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
        let endpoint = |operation: &Operation| Endpoint {
            method: operation.method,
            url: Arc::from(format!("{}{}", settings.base_url.trim_end_matches('/'), operation.path)),
            path: Arc::from(format!("{}{}", base_path, operation.path)),
        };
        let endpoints = Endpoints {
            token: endpoint(&profile.operations.token),
            query: endpoint(&profile.operations.query),
            refund: endpoint(&profile.operations.refund),
        };
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
            provider,
            profile,
            channel_id,
            limits,
            endpoints,
            tokens,
        })
    }

    /// Is this the provider's sandbox (or this machine), where money is play money?
    pub fn is_sandbox(&self) -> bool {
        let is_loopback = matches!(self.host.as_str(), "localhost" | "127.0.0.1" | "[::1]");
        is_loopback || self.profile.sandbox_hosts.iter().any(|host| host.eq_ignore_ascii_case(&self.host))
    }
}

fn body_tokens(merchant_id: &str, profile: &ProviderProfile) -> Result<BodyTokens, BuildError> {
    let query = &profile.operations.query;
    let service_code = query.sent_service_code.as_ref().unwrap_or(&query.service_code);
    Ok(BodyTokens {
        merchant_id: snap::id_token(merchant_id, profile.ids_as)?,
        query_service_code: snap::id_token(service_code, profile.ids_as)?,
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

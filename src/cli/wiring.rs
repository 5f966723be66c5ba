//! Where the command line meets the providers: their names, and what each demands of an expected payment.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::{
    config::Config,
    domain::profile::Demands,
    engine::{EngineError, health::AccountTerms, rulebook::Rulebook, runtime, webhooks},
    providers,
};

/// The providers that an account may name.
pub(crate) fn known_providers() -> Vec<&'static str> {
    providers::providers().iter().map(|p| p.name()).collect()
}

/// What each configured account's provider demands of a row before it can be asked.
pub(crate) fn demands(config: &Config) -> Result<BTreeMap<String, Demands>, EngineError> {
    let accounts = runtime::accounts(config)?;
    Ok(accounts.into_iter().map(|a| (a.name.clone(), a.profile.rules.demands())).collect())
}

/// The terms in force: the policy and each account's profile.
pub(crate) fn rulebook(config: &Config) -> Result<Rulebook, EngineError> {
    let accounts = runtime::accounts(config)?;
    let rulebook = Rulebook::new(config.policy, accounts.into_iter().map(|a| (a.name, a.profile.rules)));
    Ok(rulebook.telling(webhooks::subscriptions(config)))
}

/// What a reader of the accounts' state should know of their settings.
pub(crate) fn account_terms(config: &Config) -> Result<Vec<AccountTerms>, EngineError> {
    let accounts = runtime::accounts(config)?.into_iter().map(|account| AccountTerms {
        provider: config.accounts.get(&account.name).map(|a| a.provider.clone()).unwrap_or_default(),
        calls_per_second: account.limits.per_second,
        burst: account.limits.burst,
        account: account.name,
    });
    Ok(accounts.collect())
}

/// When accounts' customer tokens end, where they say so.
pub(crate) fn customer_token_ends(config: &Config) -> Result<BTreeMap<String, DateTime<Utc>>, EngineError> {
    let accounts = runtime::accounts(config)?;
    Ok(accounts.into_iter().filter_map(|a| a.customer_token_expires_at().map(|end| (a.name, end))).collect())
}

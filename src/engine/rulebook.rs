//! The terms in force in this process: the policy and each account's profile, with the hashes that every decision
//! names. Immutable for the life of the process.

use std::{collections::BTreeMap, sync::Arc};

use crate::domain::{case::Terms, chain, policy::Policy, profile::Profile, webhook::Subscription};

/// An account's profile and its hash.
#[derive(Debug, Clone)]
pub struct AccountRules {
    /// The profile with the account's overrides.
    pub profile: Profile,
    /// Its fingerprint.
    pub hash: Arc<str>,
}

/// Policy and profiles.
#[derive(Debug, Clone)]
pub struct Rulebook {
    /// The policy.
    pub policy: Policy,
    /// Its fingerprint.
    pub policy_hash: String,
    /// Rules by account.
    pub accounts: BTreeMap<String, AccountRules>,
    /// Who is told of changes. No part of what decisions stand on.
    pub subscriptions: Vec<Subscription>,
}

impl Rulebook {
    /// A rulebook of a policy and the accounts' profiles.
    pub fn new(policy: Policy, profiles: impl IntoIterator<Item = (String, Profile)>) -> Self {
        let fingerprint = |text: Result<String, serde_json::Error>| chain::fingerprint(&text.unwrap_or_default());
        let policy_hash = fingerprint(serde_json::to_string(&policy));
        let accounts = profiles
            .into_iter()
            .map(|(name, profile)| {
                let hash = fingerprint(serde_json::to_string(&profile)).into();
                (name, AccountRules { profile, hash })
            })
            .collect();
        Self { policy, policy_hash, accounts, subscriptions: Vec::new() }
    }

    /// The same where these are told of changes.
    #[must_use]
    pub fn telling(self, subscriptions: Vec<Subscription>) -> Self {
        Self { subscriptions, ..self }
    }

    /// The documents that decisions name: fingerprint, kind, canonical JSON.
    pub fn documents(&self) -> Vec<(String, &'static str, String)> {
        let profiles =
            self.accounts.values().map(|a| (a.hash.to_string(), "profile", serde_json::to_string(&a.profile)));
        let policy = (self.policy_hash.clone(), "policy", serde_json::to_string(&self.policy));
        let all = std::iter::once(policy).chain(profiles);
        all.filter_map(|(hash, kind, body)| Some((hash, kind, body.ok()?))).collect()
    }

    /// The terms of an account; without a profile where it is not configured.
    pub fn terms(&self, account: &str) -> Terms<'_> {
        Terms { profile: self.accounts.get(account).map(|a| &a.profile), policy: &self.policy }
    }

    /// The hash of an account's profile; `-` where it is not configured.
    pub fn profile_hash(&self, account: &str) -> &str {
        self.accounts.get(account).map_or("-", |a| &a.hash)
    }

    /// The same, to keep.
    pub fn shared_profile_hash(&self, account: &str) -> Arc<str> {
        self.accounts.get(account).map_or_else(|| "-".into(), |a| Arc::clone(&a.hash))
    }
}

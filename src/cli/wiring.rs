//! Where the command line meets the providers: their names, and what each demands of an expected payment.

use crate::{config::Config, domain::profile::RequiredReferences};

/// The providers that an account may name.
pub(crate) const KNOWN_PROVIDERS: &[&str] = &["brick", "doku", "paydia"];

/// The references without which the account's provider cannot be asked; `None` where the account is not configured.
pub(crate) fn required_references(config: &Config, account: &str) -> Option<RequiredReferences> {
    config.accounts.get(account).map(|_| RequiredReferences::default())
}

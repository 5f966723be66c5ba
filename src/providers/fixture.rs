//! A complete account for the room's own tests. Its RSA key is made for tests and opens nothing.

use super::{Account, AccountSettings};

/// The private key of tests.
pub(crate) const TEST_KEY_PEM: &str = include_str!("../../tests/fixtures/providers/test_key.pem");

/// DOKU's sandbox as its document shows it, with a secret of our own.
pub(crate) fn settings() -> AccountSettings {
    AccountSettings {
        name: "doku-main".into(),
        provider: "doku".into(),
        base_url: "https://api-sandbox.doku.com".into(),
        client_id: "BRN-0240-1657686175289".into(),
        client_secret: "SK-test-secret".into(),
        private_key: Some(TEST_KEY_PEM.into()),
        merchant_id: "2997".into(),
        terminal_id: None,
        channel_id: None,
        customer_token: None,
        inquiry: "query".into(),
        per_second: None,
        burst: None,
        concurrency: None,
        timeout: None,
        ladder: std::collections::BTreeMap::new(),
        profile: toml::Table::new(),
    }
}

/// The account of [`settings`].
pub(crate) fn account() -> Account {
    Account::try_new(settings()).expect("the test settings are whole")
}

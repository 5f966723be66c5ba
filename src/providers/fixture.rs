//! A complete account for the room's own tests. Its RSA key is made for tests and opens nothing.

use super::{Account, AccountSettings, Call, wire::HttpRequest};

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

/// A call as the adapters get it.
pub(crate) fn call() -> Call<'static> {
    Call {
        token: Some("token-1"),
        customer_token: None,
        external_id: "41807553358950093184162180797837",
        at: "2026-11-20T10:00:05.9Z".parse().expect("a time"),
    }
}

/// A header's value; empty where there is none.
pub(crate) fn header<'r>(request: &'r HttpRequest, name: &str) -> &'r str {
    request.headers.iter().find(|(n, _)| *n == name).map_or("", |(_, value)| value)
}

/// The same with another provider, base URL and replaced keys of its profile.
pub(crate) fn account_of(provider: &str, base_url: &str, profile: &str) -> Account {
    Account::try_new(AccountSettings {
        provider: provider.into(),
        base_url: base_url.into(),
        customer_token: Some("customer-1".into()),
        profile: profile.parse().expect("TOML"),
        ..settings()
    })
    .expect("the test settings are whole")
}

/// The account of [`settings`].
pub(crate) fn account() -> Account {
    Account::try_new(settings()).expect("the test settings are whole")
}

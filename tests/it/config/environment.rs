//! The environment over the file: what wins, which names are found, and which are refused.

use std::time::Duration;

use rekon::config::{Config, DatabaseTarget};
use rekon::domain::policy::{FlagAction, RefundMode};
use secrecy::ExposeSecret as _;

use super::{ACCOUNT, PROVIDERS, env};

#[test]
fn environment_wins_over_the_file() {
    let pairs = [
        ("REKON__JOBS__SWEEP__EVERY", "5s"),
        ("REKON__SETTLE__GROUP_MAX", "7"),
        ("REKON__DATABASE__EMBEDDED", "true"),
        ("REKON__POLICY__FLAGS__PAID_LATE", "accept"),
        ("REKON__REFUNDS__MODE", "off"),
        ("REKON__ACCOUNTS__DOKU_MAIN__CLIENT_ID", "12345"),
        ("REKON__ACCOUNTS__DOKU_MAIN__RATE", "{ per_second = 3 }"),
        ("REKON__ACCOUNTS__DOKU_MAIN__RATE__BURST", "4"),
        ("REKON__ACCOUNTS__DOKU_MAIN__LADDER__DEFAULT", "[\"1s\", \"2s\"]"),
        ("REKON__ACCOUNTS__DOKU_MAIN__PROFILE__REFUND_REPEAT", "safe"),
        ("REKON__ACCOUNTS__DOKU_MAIN__CUSTOMER_TOKEN__ENV", "PAYDIA_CUSTOMER_TOKEN"),
    ];
    let config =
        Config::from_toml(&format!("[jobs.sweep]\nevery = \"9s\"\n{ACCOUNT}"), &env(&pairs), &PROVIDERS).unwrap();
    assert_eq!(config.jobs.sweep.every, Duration::from_secs(5));
    assert_eq!(config.settle.group_max, 7);
    assert!(matches!(config.database.target, DatabaseTarget::Embedded));
    assert_eq!(config.policy.action("paid_late"), FlagAction::Accept);
    assert_eq!(config.policy.refunds.mode, RefundMode::Off);
    let account = &config.accounts["doku-main"];
    assert_eq!(account.client_id, "12345");
    assert_eq!((account.rate.per_second, account.rate.burst, account.rate.concurrency), (Some(3), Some(4), None));
    assert_eq!(account.ladder.as_ref().unwrap().default, [1, 2]);
    assert_eq!(account.profile.get("refund_repeat").and_then(toml::Value::as_str), Some("safe"));
    assert_eq!(account.customer_token.as_ref().unwrap().expose_secret(), "hush-token");
}

#[test]
fn an_account_with_an_underscore_is_found_before_one_with_a_dash() {
    let text = ACCOUNT.replace("doku-main", "doku_main");
    let config = Config::from_toml(&text, &env(&[("REKON__ACCOUNTS__DOKU_MAIN__TIMEOUT", "3s")]), &PROVIDERS).unwrap();
    assert_eq!(config.accounts["doku_main"].timeout, Duration::from_secs(3));
}

#[test]
fn a_secret_named_by_the_environment_replaces_the_files_reference() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "from-file\n").unwrap();
    let pairs = [("REKON__ACCOUNTS__DOKU_MAIN__CLIENT_SECRET__FILE", file.to_str().unwrap())];
    let config = Config::from_toml(ACCOUNT, &env(&pairs), &PROVIDERS).unwrap();
    assert_eq!(config.accounts["doku-main"].client_secret.expose_secret(), "from-file");
}

#[test]
fn wrong_variables_are_refused_by_name() {
    let refused = |name: &str, value: &str| {
        Config::from_toml(ACCOUNT, &env(&[(name, value)]), &PROVIDERS).unwrap_err().to_string()
    };
    for (name, value, message) in [
        (
            "REKON__JOBS__SWEEP__EVRY",
            "5s",
            "environment REKON__JOBS__SWEEP__EVRY: jobs.sweep.evry: unknown key; did you mean `every`?",
        ),
        (
            "REKON__JOBS__SWEEP__EVERY",
            "soon",
            "environment REKON__JOBS__SWEEP__EVERY: jobs.sweep.every = \"soon\": must be a duration",
        ),
        ("REKON__SETTLE__GROUP_MAX", "many", "settle.group_max = \"many\": must be a whole number"),
        ("REKON__JOBS____EVERY", "5s", "not a key; variables are written REKON__SECTION__KEY"),
        ("REKON__LOG__LEVEL__X", "5s", "`level` holds a single value, so nothing can be set below it"),
        ("REKON__ACCOUNTS__DOKU_MAIN__CLIENT_SECRET", "hush-literal", "secrets are not written into the configuration"),
        ("REKON__ACCOUNTS__DOKU_MIAN__TIMEOUT", "5s", "accounts.doku-mian.client_id: missing"),
    ] {
        let refused = refused(name, value);
        assert!(refused.contains(message), "{refused}\nlacks {message}");
        assert!(!refused.contains("hush"), "{refused}");
    }
}

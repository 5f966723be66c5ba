//! Settings that make an account, and settings that must not.

use super::*;
use crate::{domain::observation::Observation, providers::fixture};

fn refused(settings: AccountSettings) -> String {
    Account::try_new(settings).unwrap_err().to_string()
}

#[test]
fn an_accounts_own_values_win_over_the_profile() {
    let account = Account::try_new(AccountSettings {
        per_second: Some(50),
        timeout: Some(Duration::from_millis(1500)),
        channel_id: Some("95221".into()),
        ..fixture::settings()
    })
    .unwrap();
    assert_eq!((account.limits.per_second, account.limits.burst, account.limits.concurrency), (50, 10, 32));
    assert_eq!(account.timeout, Duration::from_millis(1500));
    assert_eq!(account.channel_id, "95221");
}

#[test]
fn an_accounts_ladder_replaces_the_profiles_and_shows_in_the_version() {
    let shipped = fixture::account();
    let step = |secs| vec![Duration::from_secs(secs)];
    let with = |ladder: &[(&str, Vec<Duration>)]| {
        let ladder = ladder.iter().map(|(name, steps)| ((*name).to_owned(), steps.clone())).collect();
        Account::try_new(AccountSettings { ladder, ..fixture::settings() }).unwrap()
    };
    let fast = with(&[("default", step(5))]);
    assert_eq!(fast.profile.rules.ladder.step_secs(Observation::Absent, 0), 5, "no step of the profile is left");
    assert_ne!(fast.profile.version, shipped.profile.version);
    let open = with(&[("open", step(7))]);
    assert_eq!(open.profile.rules.ladder.step_secs(Observation::Open, 0), 7);
    assert_eq!(open.profile.rules.ladder.default, shipped.profile.rules.ladder.default, "a ladder has a default");
    let short = with(&[("default", vec![Duration::from_millis(200)])]);
    assert_eq!(short.profile.rules.ladder.default, [1], "a step is at least a second");
}

#[test]
fn an_account_that_cannot_work_says_which_and_why() {
    let good = fixture::settings;
    for (settings, words) in [
        (AccountSettings { provider: "dokku".into(), ..good() }, ["doku-main", "unknown provider \"dokku\""]),
        (
            AccountSettings { inquiry: "stats".into(), ..good() },
            ["doku-main", "has no inquiry \"stats\"; it has: query, status"],
        ),
        (AccountSettings { private_key: None, ..good() }, ["doku-main", "needs `private_key`"]),
        (AccountSettings { private_key: Some("nonsense".into()), ..good() }, ["doku-main", "openssl pkcs8"]),
        (AccountSettings { client_id: String::new(), ..good() }, ["doku-main", "`client_id`"]),
        (AccountSettings { client_secret: "".into(), ..good() }, ["doku-main", "`client_secret`"]),
        (AccountSettings { client_id: "a\r\nX-Evil: 1".into(), ..good() }, ["doku-main", "`client_id`"]),
        (AccountSettings { base_url: "ftp://x".into(), ..good() }, ["doku-main", "`base_url`"]),
        (AccountSettings { base_url: "https://user@host".into(), ..good() }, ["doku-main", "`base_url`"]),
        (
            AccountSettings { profile: "refund_repaet = 1".parse().unwrap(), ..good() },
            ["doku-main", "did you mean `refund_repeat`?"],
        ),
    ] {
        let message = refused(settings);
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    }
}

#[test]
fn only_the_sandbox_and_this_machine_are_play_money() {
    let at = |base_url: &str| {
        Account::try_new(AccountSettings { base_url: base_url.into(), ..fixture::settings() }).unwrap()
    };
    assert!(at("https://api-sandbox.doku.com").is_sandbox());
    assert!(at("http://127.0.0.1:9099").is_sandbox());
    assert!(at("http://[::1]:9099").is_sandbox());
    assert!(!at("https://api.doku.com").is_sandbox());
    assert!(!at("https://api-sandbox.doku.com.evil.example").is_sandbox());
}

#[test]
fn an_account_shows_no_secret() {
    let shown = format!("{:?}", fixture::account());
    assert!(!shown.contains("SK-test-secret") && !shown.contains("PRIVATE KEY"), "{shown}");
}

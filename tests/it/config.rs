//! The configuration: what is refused and with which words, what wins over what, and that the manual is complete.

mod endpoints;
mod environment;
mod secrets;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rekon::config::{BUILT_IN, Config, ConfigErrors, DatabaseTarget, LoadOptions, Source};
use rekon::domain::observation::Observation;
use rekon::domain::policy::{FlagActions, Policy};
use rekon::domain::state::Flag;
use secrecy::ExposeSecret as _;

const PROVIDERS: [&str; 3] = ["brick", "doku", "paydia"];
const KEY: &str = include_str!("../fixtures/keys/rsa-pkcs8.pem");
const ACCOUNT: &str = "[accounts.doku-main]\nprovider = \"doku\"\nbase_url = \"https://api-sandbox.doku.com\"\nclient_id = \"BRN-1\"\n\
                       client_secret = { env = \"DOKU_CLIENT_SECRET\" }\nmerchant_id = \"2115\"\n";

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let secrets = [
        ("DOKU_CLIENT_SECRET", "hush-hush"),
        ("REKON_WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("REKON_WEBHOOK_SECRET_OLD", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx"),
        ("DOKU_KEY", KEY),
        ("DOKU_SHARED_KEY", "hush-shared"),
        ("DOKU_PUBLIC_KEY", include_str!("../fixtures/providers/test_key.pub.pem")),
        ("PAYDIA_CUSTOMER_TOKEN", "hush-token"),
        ("HOME", "/home/x"),
    ];
    secrets.iter().chain(pairs).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn load(text: &str) -> Result<Config, ConfigErrors> {
    Config::from_toml(text, &env(&[]), &PROVIDERS)
}

fn refusal(text: &str) -> String {
    match load(text) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(errors) => errors.to_string(),
    }
}

fn assert_refused(cases: &[(&str, &str)]) {
    for (text, message) in cases {
        let refused = refusal(text);
        assert!(refused.contains(message), "{text}\ngave:\n{refused}\nwithout:\n{message}");
        assert!(refused.starts_with("the configuration has 1 error:"), "{text}\ngave:\n{refused}");
    }
}

/// The account of `ACCOUNT` with one key more, or with one key written otherwise.
fn account_with(line: &str) -> String {
    let key = line.split(['=', ' ']).next().unwrap();
    let others: String = ACCOUNT
        .lines()
        .filter(|other| !other.starts_with(&format!("{key} ")))
        .fold(String::new(), |text, line| text + line + "\n");
    format!("{others}{line}\n")
}

#[test]
fn shipped_file_is_the_built_in_default_and_gives_the_documented_policy() {
    let built_in = Config::load(LoadOptions { path: None, env: &env(&[]), known_providers: &PROVIDERS }).unwrap();
    let shipped = load(BUILT_IN).unwrap();
    assert_eq!(built_in.policy, Policy::default());
    assert_eq!(shipped.policy, Policy::default());
    let values = |config: &Config| {
        config.settings().iter().map(|setting| (setting.path.clone(), setting.value.clone())).collect::<Vec<_>>()
    };
    assert_eq!(values(&built_in), values(&shipped));
    assert!(built_in.accounts.is_empty());
    assert!(matches!(built_in.database.target, DatabaseTarget::Missing));
    assert_eq!(built_in.jobs.sweep.every, Duration::from_secs(1));
    assert_eq!(built_in.jobs.sweep.lease, Duration::from_mins(1));
    assert_eq!(built_in.jobs.daily.schedule.text, "0 6 * * *");
    assert_eq!(built_in.jobs.daily.schedule.timezone, chrono_tz::Asia::Jakarta);
    assert_eq!((built_in.settle.group_max, built_in.settle.linger), (500, Duration::from_millis(20)));
    assert_eq!(built_in.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(built_in.warnings(), Vec::<String>::new());
}

/// The shipped file with every example switched on, so that it holds every key there is.
fn shipped_with_examples() -> String {
    BUILT_IN
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(example) if !example.starts_with(' ') && !example.is_empty() => example,
            _ => line,
        })
        .map(|line| if line.starts_with("private_key") { "private_key = { env = \"DOKU_KEY\" }" } else { line })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn every_key_stands_in_the_shipped_file_and_in_the_manual() {
    let pairs = [("DATABASE_URL", "postgres://u:p@h/d"), ("DATABASE_DIRECT_URL", "postgres://u:p@h/d")];
    let config = Config::from_toml(&shipped_with_examples(), &env(&pairs), &PROVIDERS).unwrap();
    let written: BTreeSet<String> = config
        .settings()
        .iter()
        .filter(|setting| setting.source != Source::Default)
        .map(|setting| setting.path.join("."))
        .map(|key| {
            key.replace("accounts.doku-main.", "accounts.NAME.")
                .replace("webhooks.shop.", "webhooks.NAME.")
                .replace("refunds.flags.overpaid.", "refunds.flags.FLAG.")
        })
        .collect();
    assert_eq!(&written, config.known_keys(), "left: keys in jobs.toml, right: keys that rekon reads");
    assert!(written.len() > 80, "{} keys", written.len());

    let manual = include_str!("../../docs/config.md");
    let sections: BTreeSet<&str> = written.iter().filter_map(|key| key.split('.').next()).collect();
    let is_key = |code: &str| {
        let is_dotted = code.contains('.') && code.chars().all(|c| c.is_ascii_alphanumeric() || "._".contains(c));
        is_dotted && code != "jobs.toml" && code.split('.').next().is_some_and(|section| sections.contains(section))
    };
    let described: BTreeSet<String> =
        manual.split('`').skip(1).step_by(2).filter(|code| is_key(code)).map(str::to_owned).collect();
    assert_eq!(described, written, "left: keys in docs/config.md, right: keys that rekon reads");
}

#[test]
fn examples_of_the_shipped_file_load_as_they_are_documented() {
    let pairs = [("DATABASE_URL", "postgres://u:p@h/d"), ("DATABASE_DIRECT_URL", "postgres://u:p@h/d")];
    let config = Config::from_toml(&shipped_with_examples(), &env(&pairs), &PROVIDERS).unwrap();
    let account = &config.accounts["doku-main"];
    assert_eq!(account.client_secret.expose_secret(), "hush-hush");
    assert_eq!(account.customer_token.as_ref().unwrap().expose_secret(), "hush-token");
    assert_eq!((account.rate.per_second, account.rate.burst, account.rate.concurrency), (Some(10), Some(10), Some(32)));
    let ladder = account.ladder.as_ref().unwrap();
    assert_eq!(ladder.default, [5, 15, 60, 300, 1_800, 7_200]);
    assert_eq!(ladder.by_observation[&Observation::Absent], [60, 300, 1_800, 7_200]);
    assert_eq!(load(ACCOUNT).unwrap().accounts["doku-main"].ladder, None, "the profile's stays");
    assert_eq!(account.profile.get("refund_repeat").and_then(toml::Value::as_str), Some("safe"));
    assert!(matches!(&config.database.target, DatabaseTarget::Url { direct_url: Some(_), .. }));
}

#[test]
fn each_form_of_notifications_demands_its_key() {
    let notify = |terms: &str| account_with(&format!("notify = {{ {terms} }}"));
    assert_refused(&[
        (&notify("form = \"legacy\""), "accounts.doku-main.notify.shared_key: missing"),
        (&notify("form = \"snap\""), "accounts.doku-main.notify.public_key: missing"),
        (&notify("form = \"snap\", public_key = { env = \"DOKU_KEY\" }"), "not an RSA key of 2048 bits or more"),
        (&notify("form = \"words\""), "one of \"legacy\", \"json\", \"snap\""),
        (&notify("form = \"json\", signed_path = \"hook\""), "a path as the provider signs it"),
        (&notify("form = \"json\", clock_skew = \"2h\""), "clock_skew"),
    ]);
    let snap = load(&notify("form = \"snap\", public_key = { env = \"DOKU_PUBLIC_KEY\" }")).unwrap();
    let form = &snap.accounts["doku-main"].notify.as_ref().unwrap().form;
    assert!(matches!(form, rekon::config::NotifyForm::Snap { token_ttl, .. } if token_ttl.as_secs() == 900));
    assert!(load(&notify("form = \"json\"")).is_ok(), "the client secret is there already");
}

#[test]
fn unknown_keys_are_refused_with_line_and_nearest_name() {
    assert_refused(&[
        (
            "\n[jobs.sweep]\nevry = \"1s\"\n",
            "jobs.toml:3: jobs.sweep.evry: unknown key; did you mean `every`? Allowed here: chunk_max, chunk_span, every, lease",
        ),
        ("[job]\n", "jobs.toml:1: job: unknown key; did you mean `jobs`?"),
        (
            "[policy.flags]\noverpayed = \"hold\"\n",
            "jobs.toml:2: policy.flags.overpayed: unknown key; did you mean `overpaid`?",
        ),
        ("[server]\nzzzzzzzzz = 1\n", "server.zzzzzzzzz: unknown key. Allowed here: api, body_max"),
        (
            &account_with("merchantid = \"1\""),
            "accounts.doku-main.merchantid: unknown key; did you mean `merchant_id`?",
        ),
        (
            &account_with("ladder = { default = [\"5s\"], opn = [\"5s\"] }"),
            "accounts.doku-main.ladder.opn: unknown key; did you mean `open`?",
        ),
        (
            &account_with("provider = \"dokku\""),
            "accounts.doku-main.provider = \"dokku\": unknown provider; did you mean \"doku\"? Known: brick, doku, paydia",
        ),
    ]);
}

#[test]
fn all_errors_are_reported_at_once() {
    let refused = refusal(
        "[jobs.sweep]\nevry = \"1s\"\nlease = \"soon\"\n[refunds]\nmode = \"yes\"\nauto_limit = 5\n[accounts.a]\nprovider = \"doku\"\n[policy]\nclose_answers = 1\n",
    );
    for message in [
        "has 9 errors:",
        "jobs.toml:2: jobs.sweep.evry: unknown key",
        "jobs.toml:3: jobs.sweep.lease = \"soon\": must be a duration such as",
        "jobs.toml:5: refunds.mode = \"yes\": must be one of \"off\", \"propose\", \"auto\"",
        "jobs.toml:6: refunds.auto_limit = 5: must be rupiah as text with two decimals",
        "jobs.toml:10: policy.close_answers = 1: must be a whole number from 2 to 100",
        "jobs.toml:7: accounts.a.base_url: missing; it must be an https URL",
        "jobs.toml:7: accounts.a.client_id: missing",
        "jobs.toml:7: accounts.a.client_secret: missing; secrets are not written into the configuration",
        "jobs.toml:7: accounts.a.merchant_id: missing",
    ] {
        assert!(refused.contains(message), "{refused}\nlacks {message}");
    }
}

#[test]
fn what_is_not_toml_is_refused_with_its_line() {
    let refused = refusal("[jobs.sweep]\nevery = \nlease = \"60s\"\n");
    assert!(refused.contains("jobs.toml:2: this is not TOML"), "{refused}");
    let refused = refusal("[server]\nlisten = \"1.2.3.4:5\"\nlisten = \"1.2.3.4:6\"\n");
    assert!(refused.contains("jobs.toml:3: this is not TOML: duplicate key"), "{refused}");
}

#[test]
fn values_out_of_their_limits_are_refused() {
    assert_refused(&[
        ("jobs = 3\n", "jobs.toml:1: jobs: must be a table"),
        ("[jobs.sweep]\nevery = 1\n", "jobs.sweep.every = 1: must be a duration such as"),
        ("[jobs.sweep]\nevery = \"0s\"\n", "jobs.sweep.every = \"0s\": must be from 10ms to 1h"),
        ("[jobs.sweep]\nchunk_max = 501\n", "must be a whole number from 1 to 500"),
        (
            "[policy]\nconfirm_after = \"1500ms\"\n",
            "policy.confirm_after = \"1500ms\": must be whole seconds, such as \"2s\"",
        ),
        ("[policy]\nconfirm_after = \"0s\"\n", "must be from 1s to 1d"),
        ("[refunds]\nmin_refund = \"0.00\"\n", "refunds.min_refund = \"0.00\": must be at least 0.01"),
        (
            "[refunds]\ndaily_budget = \"1.000.000,00\"\n",
            "must be rupiah as text with two decimals, such as \"1000000.00\"",
        ),
        ("[server]\nlisten = \"8080\"\n", "must be an address and a port"),
        ("[server]\npublic_url = \"rekon.example.com\"\n", "must be an http or https URL"),
        ("[log]\nformat = \"xml\"\n", "log.format = \"xml\": must be one of \"text\", \"json\""),
        ("[breaker]\nprobe_first = \"2m\"\n", "must not be longer than probe_max"),
        ("[jobs.daily]\ncron = \"0 6 * * 1\"\n", "weekdays are written by name"),
        ("[jobs.daily]\ncron = \"0 0 6 * * *\"\n", "must be five fields"),
        (
            "[jobs.daily]\ntimezone = \"WIB\"\n",
            "jobs.daily.timezone = \"WIB\": must be a timezone's name, such as \"Asia/Jakarta\"",
        ),
        ("[jobs.daily]\nmissed = \"maybe\"\n", "must be one of \"catch_up\", \"skip\""),
        (
            &account_with("rate = { per_second = 0 }"),
            "accounts.doku-main.rate.per_second = 0: must be a whole number from 1 to 1000000",
        ),
        (&account_with("ladder = { default = [] }"), "must be a list with at least one item"),
        (&account_with("ladder = { default = [\"5s\", 5] }"), "each item is a duration"),
        (&account_with("inquiry = \"poll\""), "must be one of \"query\", \"status\""),
        (&account_with("profile = 1"), "accounts.doku-main.profile = 1: must be a table"),
        (
            "[accounts.Doku]\nprovider = \"doku\"\nbase_url = \"https://x\"\nclient_id = \"1\"\nclient_secret = { env = \"DOKU_CLIENT_SECRET\" }\nmerchant_id = \"1\"\n",
            "an account's name is a lower-case letter",
        ),
    ]);
}

#[test]
fn policies_that_lose_money_are_refused() {
    assert_refused(&[
        (
            "[policy.flags]\noverpaid = \"refund_full\"\n",
            "policy.flags.overpaid = \"refund_full\": an overpaid order keeps its own money",
        ),
        (
            "[policy.flags]\nunderpaid = \"refund_difference\"\n",
            "policy.flags.underpaid = \"refund_difference\": there is no excess to return",
        ),
        (
            "[policy.flags]\npaid_late = \"refund\"\n",
            "must be one of \"hold\", \"refund_full\", \"refund_difference\", \"accept\"",
        ),
    ]);
    for flag in [
        "amount_changed",
        "cancelled_after_paid",
        "currency",
        "duplicate_reference",
        "identity",
        "refund_amount_differs",
        "refund_unknown",
        "refunded_outside",
        "regression",
        "scale",
    ] {
        for action in ["refund_full", "refund_difference", "accept"] {
            let message = format!(
                "policy.flags.{flag} = \"{action}\": must be \"hold\": under this flag no money leaves without a person"
            );
            assert_refused(&[(&format!("[policy.flags]\n{flag} = \"{action}\"\n"), &message)]);
        }
        assert_eq!(load(&format!("[policy.flags]\n{flag} = \"hold\"\n")).unwrap().policy, Policy::default());
    }
}

#[test]
fn a_ladder_is_given_whole_and_in_whole_seconds() {
    let missing = "accounts.doku-main.ladder.default: missing; it must be a list";
    let seconds = "must be a list with at least one item; each item is a duration of whole seconds from \"1s\"";
    assert_refused(&[
        (&account_with("ladder = { open = [\"5s\"] }"), missing),
        (&account_with("ladder = { default = [\"500ms\"] }"), seconds),
        (&account_with("ladder = { default = [\"0s\"] }"), seconds),
    ]);
}

#[test]
fn the_policy_speaks_of_flags_that_exist() {
    for name in FlagActions::CONFIGURABLE.iter().chain(&FlagActions::ALWAYS_HOLD) {
        assert!(Flag::from_word(name).is_some(), "{name}");
    }
    let blockers = Flag::ALL.into_iter().filter(|flag| flag.is_blocker()).map(Flag::as_str);
    for name in blockers {
        assert!(FlagActions::ALWAYS_HOLD.contains(&name), "{name} is a blocker and must hold");
    }
}

#[test]
fn http_is_allowed_only_to_this_machine() {
    for here in ["http://127.0.0.1:9000", "http://localhost:9000", "http://[::1]:9000/"] {
        let config = load(&account_with(&format!("base_url = \"{here}\""))).unwrap();
        assert_eq!(config.accounts["doku-main"].base_url, here.trim_end_matches('/'));
    }
    assert_refused(&[
        (&account_with("base_url = \"http://api.doku.com\""), "http is allowed only to this machine"),
        (&account_with("base_url = \"http://127.0.0.1.example.com\""), "http is allowed only to this machine"),
        (&account_with("base_url = \"https://user:pw@api.doku.com\""), "must be an https URL without user"),
        (&account_with("base_url = \"api.doku.com\""), "must be an https URL"),
    ]);
}

#[test]
fn two_accounts_of_one_contract_are_refused() {
    let twice = format!("{ACCOUNT}\n{}", ACCOUNT.replace("doku-main", "doku-second"));
    assert_refused(&[(
        &twice,
        "jobs.toml:13: accounts.doku-second.merchant_id = \"2115\": account `doku-main` has the same provider, client_id and merchant_id",
    )]);
    load(&twice.replacen("2115", "2116", 1)).unwrap();
}

#[test]
fn show_loads_again_and_names_every_source() {
    let pairs = [("REKON__JOBS__SWEEP__EVERY", "5s"), ("REKON__ACCOUNTS__DOKU_MAIN__TIMEOUT", "3s")];
    let config =
        Config::from_toml(&format!("[refunds]\nmode = \"auto\"\n{ACCOUNT}"), &env(&pairs), &PROVIDERS).unwrap();
    let shown = config.show(true);
    for line in [
        "[jobs.sweep]\nevery = \"5s\"  # environment REKON__JOBS__SWEEP__EVERY\n",
        "lease = \"60s\"  # default\n",
        "mode = \"auto\"  # jobs.toml:2\n",
        "client_secret = { env = \"DOKU_CLIENT_SECRET\" }  # jobs.toml:7\n",
        "timeout = \"3s\"  # environment REKON__ACCOUNTS__DOKU_MAIN__TIMEOUT\n",
    ] {
        assert!(shown.contains(line), "{shown}\nlacks {line}");
    }
    let again = load(&shown).unwrap();
    assert_eq!(again.policy, config.policy);
    assert_eq!(again.jobs.sweep.every, Duration::from_secs(5));
    assert_eq!(again.accounts["doku-main"].timeout, Duration::from_secs(3));
    assert!(!config.show(false).contains("# default"));
}

#[test]
fn the_database_is_a_url_or_embedded_or_missing() {
    let target =
        |text: &str, pairs: &[(&str, &str)]| Config::from_toml(text, &env(pairs), &PROVIDERS).unwrap().database.target;
    let url = [("DATABASE_URL", "postgres://u:hush@h/d")];
    assert!(matches!(target("", &[]), DatabaseTarget::Missing));
    assert!(matches!(target("", &url), DatabaseTarget::Url { direct_url: None, .. }));
    assert!(matches!(target("", &[("DATABASE_URL", "mysql://u:hush@h/d")]), DatabaseTarget::Missing));
    assert!(matches!(target("[database]\nembedded = true\n", &url), DatabaseTarget::Embedded));
    assert!(matches!(target("[database]\nurl = { env = \"DATABASE_URL\" }\n", &url), DatabaseTarget::Url { .. }));
    assert_refused(&[
        (
            "[database]\nurl = { env = \"DATABASE_URL\" }\n",
            "database.url: the environment variable DATABASE_URL is not set or empty",
        ),
        ("[database]\nbin_dir = \"bin\"\n", "database.bin_dir = \"bin\": must be an absolute path of a folder"),
    ]);
    let both =
        Config::from_toml("[database]\nurl = { env = \"DATABASE_URL\" }\nembedded = true\n", &env(&url), &PROVIDERS)
            .unwrap_err();
    assert!(both.to_string().contains("database.embedded = true: url is given too; keep one of the two"), "{both}");
}

#[test]
fn the_file_is_named_by_flag_or_variable_and_its_folder_holds_relative_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my.toml");
    std::fs::write(folder.path().join("secret"), "from-file").unwrap();
    std::fs::write(&path, account_with("client_secret = { file = \"secret\" }")).unwrap();
    let named = env(&[("REKON_CONFIG", path.to_str().unwrap())]);
    let by_variable = Config::load(LoadOptions { path: None, env: &named, known_providers: &PROVIDERS }).unwrap();
    let by_flag = Config::load(LoadOptions {
        path: Some(&path),
        env: &env(&[("REKON_CONFIG", "/no/such")]),
        known_providers: &PROVIDERS,
    })
    .unwrap();
    for config in [by_variable, by_flag] {
        assert_eq!(config.path.as_deref(), Some(path.as_path()));
        assert_eq!(config.accounts["doku-main"].client_secret.expose_secret(), "from-file");
    }
    let missing = Config::load(LoadOptions {
        path: Some(std::path::Path::new("/no/such.toml")),
        env: &named,
        known_providers: &PROVIDERS,
    });
    let missing = missing.unwrap_err().to_string();
    assert!(missing.contains("/no/such.toml:1: cannot read this file: No such file"), "{missing}");
}

#[test]
fn a_lease_that_calls_may_outlive_gives_a_warning() {
    let config = load(&format!("[jobs.sweep]\nlease = \"5s\"\n{ACCOUNT}")).unwrap();
    let warnings = config.warnings().join("\n");
    assert!(warnings.contains("accounts.doku-main.timeout is more than half of jobs.sweep.lease"), "{warnings}");
    assert!(warnings.contains("jobs.sweep.chunk_span is more than half"), "{warnings}");
}

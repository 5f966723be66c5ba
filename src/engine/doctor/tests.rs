//! Every finding, shown by its signs alone; that an installation that is well has none but what nobody proved; and that the
//! page explains exactly these.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::*;
use crate::{
    config::DatabaseTarget,
    store::{
        doctor::{SickRun, Stopped},
        webhooks::EndpointRow,
    },
};

const PAGE: &str = include_str!("../../../docs/doctor.md");
const KEY: &str = include_str!("../../../tests/fixtures/providers/test_key.pem");

fn at() -> DateTime<Utc> {
    "2026-11-20T03:00:00Z".parse().unwrap()
}

fn jwt(end: DateTime<Utc>) -> String {
    let claims = URL_SAFE_NO_PAD.encode(format!("{{\"exp\":{}}}", end.timestamp()));
    format!("e30.{claims}.c2ln")
}

/// A configuration with one account of DOKU; `lines` belong to it, `more` to the file.
fn config(lines: &str, more: &str, customer_token: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.pem");
    std::fs::write(&key, KEY).unwrap();
    let text = format!(
        "[database]\nurl = {{ env = \"DATABASE_URL\" }}\n{more}\n[accounts.shop]\nprovider = \"doku\"\nbase_url = \"https://api.doku.com\"\n\
         client_id = \"C\"\nmerchant_id = \"1\"\nclient_secret = {{ env = \"SECRET\" }}\nprivate_key = {{ file = \"{}\" }}\n{lines}",
        key.display()
    );
    let env = [
        ("DATABASE_URL", "postgres://db/x"),
        ("SECRET", "hush"),
        ("CUSTOMER", customer_token),
        ("HOOK", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    ];
    let env: BTreeMap<String, String> = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Config::from_toml(&text, &env, &["doku", "paydia"]).unwrap_or_else(|errors| panic!("{errors}"))
}

fn healthy() -> ServerSigns {
    ServerSigns {
        is_fsync_on: true,
        is_encrypted: true,
        is_local: false,
        shares_sessions: false,
        statement_timeout: Duration::from_secs(30),
        lock_timeout: Duration::from_secs(2),
    }
}

fn well() -> Signs {
    let database =
        DatabaseSigns::Reached { ahead: TimeDelta::zero(), server: healthy(), tables: Ok(TableSigns::default()) };
    Signs { at: at(), database }
}

fn found(config: &Config, signs: &Signs) -> Vec<Finding> {
    let accounts = crate::engine::runtime::accounts(config).unwrap();
    judge(config, &accounts, signs)
}

/// The ids that these tests have shown, and with which severity.
fn ids(config: &Config, signs: &Signs) -> Vec<(&'static str, Severity)> {
    found(config, signs).into_iter().map(|finding| (finding.id, finding.severity)).collect()
}

fn with_tables(tables: TableSigns) -> Signs {
    let database = DatabaseSigns::Reached { ahead: TimeDelta::zero(), server: healthy(), tables: Ok(tables) };
    Signs { at: at(), database }
}

fn with_server(server: ServerSigns) -> Signs {
    let database = DatabaseSigns::Reached { ahead: TimeDelta::zero(), server, tables: Ok(TableSigns::default()) };
    Signs { at: at(), database }
}

const BELIEVED: [(&str, Severity); 2] =
    [("refunds.repeat_unproven", Severity::Note), ("profile.assumed", Severity::Note)];

#[test]
fn who_is_well_hears_only_what_nobody_proved() {
    assert_eq!(ids(&config("", "", ""), &well()), BELIEVED);
    let proved = config("[accounts.shop.profile]\nrefund_repeat = \"safe\"\n", "", "");
    assert_eq!(ids(&proved, &well()), [BELIEVED[1]]);
}

#[test]
fn a_customers_token_is_watched_to_its_end() {
    let of = |token: &str| {
        let config = config("customer_token = { env = \"CUSTOMER\" }\n", "", token);
        ids(&config, &well()).into_iter().find(|(id, _)| id.starts_with("customer_token"))
    };
    let days = |days| jwt(at() + TimeDelta::days(days));
    assert_eq!(of(&days(15)), None);
    assert_eq!(of(&days(13)), Some(("customer_token.ends_soon", Severity::Warning)));
    assert_eq!(of(&days(0)), Some(("customer_token.expired", Severity::Error)));
    assert_eq!(of(&days(-400)), Some(("customer_token.expired", Severity::Error)));
    assert_eq!(of("opaque-token"), Some(("customer_token.end_unknown", Severity::Warning)));
    let config = config("customer_token = { env = \"CUSTOMER\" }\n", "", &days(-1));
    assert!(!format!("{:?}", found(&config, &well())).contains(&days(-1)), "the token itself is nobody's business");
}

#[test]
fn a_pooler_is_seen_by_its_shared_sessions_and_by_the_limits_it_drops() {
    let pooled = ServerSigns { shares_sessions: true, ..healthy() };
    let first = |config: &Config, server| ids(config, &with_server(server)).first().copied();
    let without = config("", "", "");
    assert_eq!(first(&without, pooled), Some(("database.pooler_without_direct_url", Severity::Error)));
    let with = config("", "direct_url = { env = \"DATABASE_URL\" }", "");
    assert_eq!(ids(&with, &with_server(pooled)), BELIEVED);
    for unlimited in [
        ServerSigns { statement_timeout: Duration::ZERO, ..pooled },
        ServerSigns { lock_timeout: Duration::from_secs(3), ..pooled },
    ] {
        assert_eq!(first(&with, unlimited), Some(("database.limits_dropped", Severity::Warning)));
    }
    let stricter = ServerSigns { statement_timeout: Duration::from_secs(1), ..pooled };
    assert_eq!(ids(&with, &with_server(stricter)), BELIEVED);
}

#[test]
fn doors_that_stand_open_and_formulas_that_nobody_prints_are_named() {
    let notified = config("[accounts.shop.notify]\nshared_key = { env = \"SECRET\" }\n", "", "");
    assert!(ids(&notified, &well()).contains(&("notify.words_unproven", Severity::Note)));
    let open = config("", "[server]\nlisten = \"0.0.0.0:8080\"\n", "");
    assert!(ids(&open, &well()).contains(&("server.open", Severity::Note)));
    let mut local = config("", "", "");
    local.accounts.get_mut("shop").unwrap().base_url = "http://127.0.0.1:9".into();
    assert!(ids(&local, &well()).contains(&("account.loopback", Severity::Note)));
    let mut private = config("", "", "");
    private.database.target = DatabaseTarget::Embedded;
    assert!(ids(&private, &well()).contains(&("database.private", Severity::Note)));
}

#[test]
fn a_database_that_is_away_unmigrated_or_forgetful_is_an_error() {
    let config = config("", "", "");
    let first = |signs: &Signs| ids(&config, signs).first().copied();
    let away = Signs { database: DatabaseSigns::Unreachable("no route".into()), ..well() };
    assert_eq!(first(&away), Some(("database.unreachable", Severity::Error)));
    let tables = Err("schema version 8, program version 9".to_owned());
    let old = DatabaseSigns::Reached { ahead: TimeDelta::zero(), server: healthy(), tables };
    assert_eq!(first(&Signs { database: old, ..well() }), Some(("database.unmigrated", Severity::Error)));
    let forgetful = ServerSigns { is_fsync_on: false, ..healthy() };
    assert_eq!(first(&with_server(forgetful)), Some(("database.fsync_off", Severity::Error)));
    let plain = ServerSigns { is_encrypted: false, ..healthy() };
    assert_eq!(first(&with_server(plain)), Some(("database.plain_connection", Severity::Warning)));
    let local = ServerSigns { is_encrypted: false, is_local: true, ..healthy() };
    assert_eq!(first(&with_server(local)), Some(BELIEVED[0]), "nobody listens inside a machine");
}

#[test]
fn clocks_that_differ_are_a_finding_either_way() {
    let config = config("", "", "");
    let by = |secs| {
        let database = DatabaseSigns::Reached {
            ahead: TimeDelta::seconds(secs),
            server: healthy(),
            tables: Ok(TableSigns::default()),
        };
        ids(&config, &Signs { database, ..well() }).contains(&("clock.differs", Severity::Warning))
    };
    assert_eq!([-6, -5, 0, 5, 6].map(by), [true, false, false, false, true]);
}

#[test]
fn what_waits_in_the_tables_for_somebody_is_named() {
    let named = "[webhooks.shop]\nurl = \"https://shop.example\"\nsecret = { env = \"HOOK\" }\n";
    let config = config("", named, "");
    let endpoint = |endpoint: &str, pending, dead, disabled_at: Option<DateTime<Utc>>| EndpointRow {
        endpoint: endpoint.into(),
        pending,
        dead,
        oldest_at: None,
        disabled_at,
        disabled_why: disabled_at.map(|_| "it answered 410 Gone".into()),
        paused_until: None,
    };
    let run = |id| SickRun { id, job: "daily".into(), slot: "2026-11-19".into(), heard_at: at() - TimeDelta::hours(1) };
    let tables = TableSigns {
        open_ended: vec![("shop".into(), 12)],
        stopped: vec![Stopped { account: "shop".into(), why: "another refundNo".into(), since: Some(at()) }],
        breakers: vec![("shop".into(), at(), "timeout".into())],
        silent_runs: vec![run(7)],
        failed_runs: vec![run(6)],
        webhooks: vec![endpoint("shop", 0, 3, Some(at())), endpoint("forgotten", 7, 0, None)],
    };
    let found = found(&config, &with_tables(tables));
    let said = |id: &str| &found.iter().find(|finding| finding.id == id).unwrap_or_else(|| panic!("no {id}")).what;
    assert_eq!(
        said("expires_at.missing"),
        "account shop: 12 awaited payments without expires_at, each taken to be valid for 30 days"
    );
    assert!(said("refunds.stopped").contains("another refundNo"));
    assert!(said("breaker.open").contains("timeout"));
    assert!(said("run.silent").contains("run 7 (daily 2026-11-19): not heard for 60 minutes"));
    assert_eq!(said("webhooks.dead_letters"), "endpoint shop: 3 dead letters");
    assert!(said("webhooks.endpoint_disabled").contains("410 Gone"));
    assert_eq!(said("webhooks.unconfigured"), "endpoint forgotten: 7 messages wait");
    assert!(said("run.failed").contains("run 6"));
    assert!(found.is_sorted_by_key(|finding| finding.severity), "the worst first");
}

#[test]
fn the_page_explains_every_finding_and_no_other() {
    let headings: Vec<&str> = PAGE.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let told: BTreeSet<&str> = headings.iter().copied().collect();
    let known: BTreeMap<&str, Severity> = catalogue().into_iter().collect();
    assert_eq!(known.len(), catalogue().len(), "an id stands for one finding");
    assert_eq!(told, known.keys().copied().collect(), "left: headings of docs/doctor.md, right: findings");
    for (id, severity) in known {
        let section = PAGE.split(&format!("## {id}\n")).nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
        let first = section.trim().lines().next().unwrap_or_default();
        assert!(first.starts_with(&format!("*{}.*", severity.as_str())), "{id}: {first}");
        assert!(section.contains("To do:"), "{id} says what to do");
        assert_eq!(link(id), format!("docs/doctor.md#{}", id.replace('.', "")));
    }
}

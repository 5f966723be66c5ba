//! `/metrics`: the form, the catalogue, the manual, and numbers that are those of the tables.

use std::{collections::BTreeSet, time::Duration};

use rekon::{
    domain::{explain::Rule, observation::Observation, refund::RefundState},
    store::limits::CallClass,
    telemetry::{
        catalogue::{CATALOGUE, INVARIANTS, Kind, Metric},
        metrics::{self, CallOutcome, JobOutcome, Operation, Worker},
    },
};

use super::house::{House, process_metrics, vocabulary};
use crate::support::TestDb;

const MANUAL: &str = include_str!("../../../docs/metrics.md");
const SECOND: Duration = Duration::from_secs(1);

/// A sample's name as the scrape sorts it.
fn sample(name: &str, metric: &Metric, values: &[&str]) -> String {
    let mut pairs: Vec<String> =
        metric.labels.iter().zip(values).map(|(label, value)| format!("{}=\"{value}\"", label.name)).collect();
    pairs.sort();
    if pairs.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", pairs.join(",")) }
}

#[tokio::test]
async fn every_combination_of_labels_is_there_before_anything_happens() {
    let db = TestDb::new().await;
    let house = House::open(Some(db.store.clone())).await;
    let scrape = house.scrape().await;
    for metric in CATALOGUE {
        for values in vocabulary().combinations(metric) {
            let name = match metric.kind {
                Kind::Histogram(_) => format!("{}_count", metric.name),
                Kind::Counter | Kind::ProcessGauge | Kind::SetGauge | Kind::DatabaseGauge => metric.name.to_owned(),
            };
            let value = scrape.value(&sample(&name, metric, &values));
            let is_gauge = matches!(metric.kind, Kind::DatabaseGauge);
            assert!(!is_gauge || value == "0", "{name} is {value} in an empty database");
        }
    }
    // Two accounts, four operations, eight outcomes; two accounts and the rest of the world, 23 flags and none.
    let count = |family: &str| scrape.samples.keys().filter(|s| scrape.family(s) == family && is_ours(s)).count();
    assert_eq!(count("rekon_provider_calls_total"), 64);
    assert_eq!(count("rekon_exceptions"), 72);
    assert_eq!(count("rekon_refunds"), 15);
}

#[tokio::test]
async fn what_is_shown_is_the_catalogue_and_nothing_else() {
    let db = TestDb::new().await;
    let house = House::open(Some(db.store.clone())).await;
    let _beat = house.heartbeats.register("sweep", SECOND);
    count_everything_once();
    let scrape = house.scrape().await;
    let shown: BTreeSet<&str> = scrape.types.keys().map(String::as_str).collect();
    let known: BTreeSet<&str> = CATALOGUE.iter().map(|metric| metric.name).collect();
    assert_eq!(shown, known);
    for metric in CATALOGUE {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Histogram(_) => "histogram",
            Kind::ProcessGauge | Kind::SetGauge | Kind::DatabaseGauge => "gauge",
        };
        assert_eq!(scrape.types[metric.name], kind, "{}", metric.name);
        assert_eq!(scrape.helps[metric.name], metric.help);
    }
    let words = vocabulary();
    for metric in CATALOGUE.iter().filter(|metric| matches!(metric.kind, Kind::Counter)) {
        let known: BTreeSet<String> =
            words.combinations(metric).iter().map(|values| sample(metric.name, metric, values)).collect();
        let shown = scrape.samples.keys().filter(|sample| scrape.family(sample) == metric.name && is_ours(sample));
        assert_eq!(shown.cloned().collect::<BTreeSet<String>>(), known, "a label value that nobody announced");
    }
}

/// Not counted by another test of this process: their shops call their account so.
fn is_ours(sample: &str) -> bool {
    ["doku-main", "doku-second", "issuer", "sim"]
        .iter()
        .all(|account| !sample.contains(&format!("account=\"{account}\"")))
}

/// Every function that counts, with every word of the enumerations of this room.
fn count_everything_once() {
    process_metrics();
    let outcomes = [
        CallOutcome::Success,
        CallOutcome::Refused,
        CallOutcome::Unauthorised,
        CallOutcome::Throttled,
        CallOutcome::ServerError,
        CallOutcome::Timeout,
        CallOutcome::Transport,
        CallOutcome::Unreadable,
    ];
    for operation in [Operation::Token, Operation::Query, Operation::Refund, Operation::Cancel] {
        for outcome in outcomes {
            metrics::provider_call("shop", operation, outcome, SECOND);
        }
    }
    metrics::fact("shop", Observation::Paid.as_str());
    metrics::parse_warning("shop", "amount");
    metrics::unknown_code("shop");
    metrics::drift("shop", 2);
    metrics::notification("shop", "verified");
    metrics::decision(Rule::PaidExact.id());
    metrics::refund_transition("shop", RefundState::Confirmed.as_str());
    metrics::time_to_truth("shop", SECOND);
    metrics::lease_claimed("shop", 3);
    metrics::check_lateness("shop", SECOND);
    metrics::settle_group(7, SECOND);
    metrics::stale_answers(1);
    metrics::poisoned_rows(1);
    metrics::budget_slot("shop", CallClass::Due.as_str());
    metrics::budget_wait("shop", CallClass::Due.as_str(), SECOND);
    [Worker::Check, Worker::Refund, Worker::Command, Worker::Webhook].into_iter().for_each(metrics::worker_restarted);
    for outcome in [JobOutcome::Done, JobOutcome::Failed, JobOutcome::Incomplete] {
        metrics::job_ended("daily", outcome, SECOND);
    }
    metrics::sentinel_pass(SECOND);
    metrics::http_request("/readyz", "GET", "2xx", SECOND);
    metrics::gauges_read(false);
}

/// Whoever invents paths must not invent series.
#[tokio::test]
async fn requests_are_counted_by_the_template_of_their_path_and_inventions_all_under_one() {
    let db = TestDb::new().await;
    let house = House::open(Some(db.store.clone())).await;
    let count = |scrape: &super::house::Scrape, route: &str, method: &str, status: &str| {
        scrape.whole(&format!("rekon_http_requests_total{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}}"))
    };
    let before = house.scrape().await;
    assert_eq!(house.get("/api/v1/transactions/INV-7").await.status, 401);
    assert_eq!(house.get("/wp-login.php?q=1").await.status, 404);
    assert_eq!(house.get("/notify/doku/shop").await.status, 405);
    let after = house.scrape().await;
    for (route, method, status, least) in
        [("/api/v1/transactions/{ref}", "GET", "4xx", 1), ("(none)", "other", "4xx", 2), ("/metrics", "GET", "2xx", 1)]
    {
        // Other tests of this process are counted too.
        let more = count(&after, route, method, status) - count(&before, route, method, status);
        assert!(more >= least, "{method} {route} {status}: {more} more");
    }
    assert!(!after.samples.keys().any(|sample| sample.contains("INV-7") || sample.contains("wp-login")));
    let timed = "rekon_http_request_seconds_count{method=\"GET\",route=\"/api/v1/transactions/{ref}\"}";
    assert!(after.whole(timed) > before.whole(timed));
}

#[tokio::test]
async fn names_follow_the_rules_of_prometheus() {
    for Metric { name, kind, help, labels } in CATALOGUE.iter().copied() {
        assert!(name.starts_with("rekon_"), "{name}");
        assert_eq!(name.ends_with("_total"), matches!(kind, Kind::Counter), "{name}");
        assert!(
            !["ms", "millis", "sen", "idr", "minutes"].iter().any(|unit| name.split('_').any(|word| word == *unit)),
            "{name}"
        );
        assert!(help.ends_with('.') && !help.contains('\n'), "{name}: {help}");
        assert!(!labels.iter().any(|label| ["le", "quantile"].contains(&label.name)), "{name}");
        if let Kind::Histogram(buckets) = kind {
            assert!(buckets.is_sorted() && buckets.len() <= 12, "{name}");
        }
    }
}

#[tokio::test]
async fn histograms_are_buckets_and_never_summaries() {
    process_metrics();
    let house = House::open(None).await;
    // Nobody else uses this account and class.
    metrics::budget_wait("kiosk", CallClass::Cashier.as_str(), Duration::from_millis(60));
    let scrape = house.scrape().await;
    let bucket = |le: &str| {
        scrape
            .value(&format!("rekon_budget_wait_seconds_bucket{{account=\"kiosk\",class=\"cashier\",le=\"{le}\"}}"))
            .to_owned()
    };
    assert_eq!((bucket("0.05"), bucket("0.1"), bucket("+Inf")), ("0".to_owned(), "1".to_owned(), "1".to_owned()));
    assert!(!scrape.types.values().any(|kind| kind == "summary"));
}

#[test]
fn the_manual_and_the_catalogue_name_the_same_metrics_with_the_same_words() {
    let row = |metric: &&Metric| {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{}`", label.name)).collect();
        let labels = if labels.is_empty() { "–".to_owned() } else { labels.join(", ") };
        format!("| `{}` | {labels} | {} |", metric.name, metric.help)
    };
    let known: BTreeSet<String> = CATALOGUE.iter().map(row).collect();
    let written: BTreeSet<String> =
        MANUAL.lines().filter(|line| line.starts_with("| `rekon_")).map(str::to_owned).collect();
    assert_eq!(written, known);
    let sections =
        ["Counters of this process", "Histograms of this process", "Gauges of this process", "Gauges of the database"];
    for metric in CATALOGUE {
        let section = match metric.kind {
            Kind::Counter => sections[0],
            Kind::Histogram(_) => sections[1],
            Kind::ProcessGauge | Kind::SetGauge => sections[2],
            Kind::DatabaseGauge => sections[3],
        };
        let (_, after) = MANUAL.split_once(&format!("## {section}\n")).unwrap();
        let text = after.split("\n## ").next().unwrap();
        assert!(text.contains(&format!("`{}`", metric.name)), "{} stands in another section", metric.name);
    }
    for word in INVARIANTS.iter().chain(&["unauthorised", "throttled", "(unconfigured)", "(none)"]) {
        assert!(MANUAL.contains(&format!("`{word}`")), "the manual does not explain {word}");
    }
    // Alerts speak of metrics that exist.
    for word in
        MANUAL.split(|c: char| !(c.is_ascii_lowercase() || c == '_')).filter(|w| w.starts_with("rekon_") && w.len() > 6)
    {
        let name = word.trim_end_matches("_bucket");
        assert!(CATALOGUE.iter().any(|metric| metric.name == name), "{word} is not in the catalogue");
    }
}

/// Rows as rekon would have left them; triggers that guard the way are off for this one statement's connection.
async fn given(db: &TestDb, sql: &str) {
    db.run(&format!("begin; set local session_replication_role = replica; {sql}; commit")).await;
}

const A_HANDFUL: &str = "
insert into rekon.transactions (id, account, partner_reference_no, amount, state, paid_amount, refunded_amount, refund_reserved, flags, flags_open,
                                next_check_at, paid_at) overriding system value values
  (1, 'shop',  'fresh',     1000, 'pending', null, 0, 0, '{}', '{}', now() + interval '1 hour', null),
  (2, 'shop',  'overdue',   1000, 'pending', null, 0, 0, '{}', '{}', now() - interval '90 seconds', null),
  (3, 'gone',  'elsewhere', 1000, 'review',  null, 0, 0, '{unknown_account}', '{unknown_account}', null, null),
  (4, 'shop',  'short',     1000, 'held',    900.50, 0, 0, '{underpaid}', '{underpaid}', null, now()),
  (5, 'shop',  'two flags', 1000, 'review',  2000, 500, 0, '{overpaid,regression}', '{overpaid,regression}', null, now()),
  (6, 'shop',  'excess',    1000, 'paid',    1500, 0, 500, '{overpaid}', '{overpaid}', null, now()),
  (7, 'shop',  'healed',    1000, 'paid',    1500, 500, 0, '{overpaid}', '{}', null, now()),
  (8, 'kiosk', 'cancelled', 1000, 'refunding', 1000, 0, 1000, '{paid_after_cancel}', '{paid_after_cancel}', null, now()),
  (9, 'kiosk', 'paid just now', 1000, 'unpaid', null, 0, 0, '{}', '{}', now() + interval '1 second', null);
insert into rekon.facts (transaction_id, seq, source, call_id, observation, echo, amount, currency, sent_at, answered_at, profile_hash)
  values (9, 1, 'query', 'c', 'PAID', 'right', 1000, 'IDR', now(), now(), 'p');
insert into rekon.journal (transaction_id, entry_no, at, upto_seq, kind, state, content, prev_hash, hash)
  select id, 1, now(), 0, 'decision', 'paid', '{}', sha256('a'), sha256('b') from rekon.transactions where id between 4 and 8;
insert into rekon.postings (transaction_id, entry_no, line, account, debit, credit) values
  (4, 1, 1, 'provider_clearing', 900.50, 0), (4, 1, 2, 'suspense:underpaid', 0, 900.50),
  (6, 1, 1, 'provider_clearing', 1500, 0), (6, 1, 2, 'merchant_payable', 0, 1000), (6, 1, 3, 'suspense:overpaid', 0, 500),
  (7, 1, 1, 'suspense:overpaid', 500, 0), (7, 1, 2, 'suspense:overpaid', 0, 500),
  (8, 1, 1, 'provider_clearing', 1000, 0), (8, 1, 2, 'refund_in_flight', 0, 1000);
insert into rekon.refund_saga (transaction_id, cause, amount, state, proposed_by, approved_by, content_hash, partner_refund_no, request_body, proof,
                               last_sent_at) values
  (5, 'overpaid', 500, 'confirmed', 'policy', 'policy', 'h', 'R5', '{}', 'answer', now()),
  (6, 'overpaid', 500, 'unknown', 'policy', 'policy', 'h', 'R6', '{}', null, now() - interval '2 hours'),
  (7, 'overpaid', 500, 'confirmed', 'policy', 'policy', 'h', 'R7', '{}', 'answer', now()),
  (8, 'paid_after_cancel', 1000, 'sending', 'policy', 'policy', 'h', 'R8', '{}', null, now()),
  (4, 'underpaid', 900.50, 'proposed', 'policy', null, 'h', null, null, null, null);
insert into rekon.people (name, roles, changed_by) values ('agus', '{admin}', 'agus');
insert into rekon.pauses (account, paused, made_by, reason) values ('kiosk', true, 'agus', 'upkeep');
insert into rekon.breakers (account, opened_at, probe_at) values ('shop', now(), now()), ('kiosk', null, null);
insert into rekon.account_controls (account, refunds_stopped) values ('kiosk', 'a success named another amount');
insert into rekon.account_controls (account, breaker_opened_at, breaker_reason) values ('shop', now(), 'count_per_hour');
insert into rekon.runs (job, slot, state, finished_at) values
  ('daily', 'a', 'done', '2026-11-19T23:00:00Z'), ('daily', 'b', 'failed', '2026-11-20T23:00:00Z'), ('ad hoc', 'c', 'done', now());
insert into rekon.runs (job, slot, state, finished_at, params, report) select 'reconcile', n::text, s, at::timestamptz, p::jsonb, r::jsonb from (values
  (1, 'done', '2026-11-19T21:00:00Z', '{\"unsettled\": true, \"accounts\": [\"shop\", \"kiosk\", \"old\"]}', '{\"asked\": 5, \"must_ask\": 5}'),
  (2, 'incomplete', '2026-11-19T22:00:00Z', '{\"unsettled\": true, \"accounts\": [\"shop\", \"kiosk\"]}', '{\"asked\": 5, \"must_ask\": 5, \"looks_left\": 2}'),
  (3, 'incomplete', '2026-11-19T23:00:00Z', '{\"unsettled\": true, \"accounts\": [\"shop\", \"kiosk\"]}', '{\"asked\": 4, \"must_ask\": 5}'),
  (4, 'done', '2026-11-19T23:10:00Z', '{\"unsettled\": true, \"accounts\": [\"shop\"]}', '{\"asked\": 5, \"must_ask\": 5}'),
  (5, 'done', '2026-11-19T23:20:00Z', '{\"unsettled\": false, \"accounts\": [\"shop\", \"kiosk\"]}', '{\"asked\": 5, \"must_ask\": 5}'),
  (6, 'failed', '2026-11-19T23:30:00Z', '{\"unsettled\": true, \"accounts\": [\"shop\", \"kiosk\"]}', null)) as x (n, s, at, p, r)";

#[tokio::test]
async fn gauges_are_what_stands_in_the_tables() {
    let db = TestDb::new().await;
    given(&db, A_HANDFUL).await;
    let house = House::open(Some(db.store.clone())).await;
    let scrape = house.scrape().await;
    let expected = [
        ("rekon_open_rows{account=\"shop\",state=\"pending\"}", "2"),
        ("rekon_open_rows{account=\"shop\",state=\"held\"}", "1"),
        ("rekon_open_rows{account=\"shop\",state=\"review\"}", "1"),
        ("rekon_open_rows{account=\"kiosk\",state=\"refunding\"}", "1"),
        ("rekon_open_rows{account=\"kiosk\",state=\"pending\"}", "0"),
        ("rekon_open_rows{account=\"(unconfigured)\",state=\"review\"}", "1"),
        ("rekon_oldest_overdue_seconds{account=\"kiosk\"}", "0"),
        ("rekon_exceptions{account=\"shop\",flag=\"underpaid\"}", "1"),
        ("rekon_exceptions{account=\"shop\",flag=\"regression\"}", "1"),
        ("rekon_exceptions{account=\"shop\",flag=\"overpaid\"}", "0"),
        ("rekon_exceptions{account=\"(unconfigured)\",flag=\"unknown_account\"}", "1"),
        ("rekon_value_at_risk_rupiah{account=\"shop\",flag=\"underpaid\"}", "900.5"),
        ("rekon_value_at_risk_rupiah{account=\"shop\",flag=\"regression\"}", "1500"),
        ("rekon_suspense_rupiah{account=\"shop\",cause=\"underpaid\"}", "900.5"),
        ("rekon_suspense_rupiah{account=\"shop\",cause=\"overpaid\"}", "500"),
        ("rekon_refunds{account=\"shop\",state=\"unknown\"}", "1"),
        ("rekon_refunds{account=\"shop\",state=\"proposed\"}", "1"),
        ("rekon_refunds{account=\"kiosk\",state=\"sending\"}", "1"),
        ("rekon_refund_in_flight_rupiah{account=\"shop\"}", "500"),
        ("rekon_refund_in_flight_rupiah{account=\"kiosk\"}", "1000"),
        ("rekon_refund_unknown_oldest_seconds{account=\"kiosk\"}", "0"),
        ("rekon_refunds_stopped{account=\"kiosk\"}", "1"),
        ("rekon_refunds_stopped{account=\"shop\"}", "0"),
        ("rekon_refund_breaker_open{account=\"shop\"}", "1"),
        ("rekon_refund_breaker_open{account=\"kiosk\"}", "0"),
        ("rekon_switch_lowered{account=\"shop\"}", "1"),
        ("rekon_switch_lowered{account=\"kiosk\"}", "0"),
        ("rekon_breaker_open{account=\"shop\"}", "1"),
        ("rekon_breaker_open{account=\"kiosk\"}", "0"),
        ("rekon_account_paused{account=\"kiosk\"}", "1"),
        ("rekon_account_paused{account=\"shop\"}", "0"),
        ("rekon_run_last_success_timestamp_seconds{calendar_job=\"daily\"}", "1795129200"),
        // The second: of everything, and each row was asked.
        ("rekon_run_last_success_timestamp_seconds{calendar_job=\"reconcile\"}", "1795125600"),
        ("rekon_run_last_success_timestamp_seconds{calendar_job=\"seal\"}", "0"),
    ];
    for (name, value) in expected {
        assert_eq!(scrape.value(name), value, "{name}");
    }
    for invariant in INVARIANTS {
        assert_eq!(
            scrape.value(&format!("rekon_invariant_violations{{invariant=\"{invariant}\"}}")),
            "0",
            "{invariant}"
        );
    }
    assert!(scrape.whole("rekon_oldest_overdue_seconds{account=\"shop\"}") >= 90);
    assert!(scrape.whole("rekon_refund_unknown_oldest_seconds{account=\"shop\"}") >= 7_200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_that_takes_too_long_is_given_up_and_made_once_for_all_who_ask() {
    let db = TestDb::new().await;
    let house = House::open(Some(db.store.clone())).await;
    let mut lock = db.store.begin().await.unwrap();
    sqlx::query("lock table rekon.transactions in access exclusive mode").execute(&mut *lock).await.unwrap();
    // The lock is held until all have answered: the statement's own limit ends the wait.
    let answers = futures::future::join_all((0..4).map(|_| house.scrape())).await;
    lock.rollback().await.unwrap();
    for scrape in &answers {
        assert_eq!(scrape.value("rekon_database_up"), "0");
        assert!(!scrape.types.contains_key("rekon_open_rows"));
        assert!(scrape.samples.contains_key("rekon_poisoned_rows_total"));
    }
    // All four show the one reading: it took the same time for each of them.
    let took: BTreeSet<&str> = answers.iter().map(|scrape| scrape.value("rekon_gauge_read_seconds")).collect();
    assert_eq!(took.len(), 1, "{took:?}");
    let again = House::open(Some(db.store.clone())).await;
    assert_eq!(again.scrape().await.value("rekon_database_up"), "1");
}

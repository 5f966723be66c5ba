//! What people and the calendar do to messages at the same time, and what looking at them reads.

use std::time::Duration;

use rekon::{
    domain::webhook::Next,
    store::webhooks::{Attempted, Filter},
};
use sqlx::Connection as _;

use crate::{sql::statement, support::TestDb};

const DAY: Duration = Duration::from_hours(24);

/// A payment with a journal entry that messages may tell of.
async fn with_entry() -> TestDb {
    let db = TestDb::new().await;
    assert_eq!(db.insert_payment("shop", "INV-1", "150000").await, 1);
    db.run(
        "insert into rekon.journal (transaction_id, entry_no, at, upto_seq, kind, state, content, prev_hash, hash)
         values (1, 1, now(), 1, 'decision', 'pending', '{}', sha256(''), sha256('1'))",
    )
    .await;
    db
}

/// So many messages; `columns` and `values` say what became of them.
async fn messages(db: &TestDb, event: &str, count: u32, columns: &str, values: &str) {
    db.run(&format!(
        "insert into rekon.webhooks (endpoint, event_id, transaction_id, entry_no, type, body, created_at, {columns})
         select 'shop', '{event}' || n, 1, 1, 'transaction.paid', '{{}}', now() - interval '100 days', {values} from generate_series(1, {count}) as n"
    ))
    .await;
}

fn dead() -> Filter {
    Filter { states: vec!["dead".to_owned()], ..Filter::default() }
}

#[tokio::test]
async fn what_somebody_replays_is_not_pruned_and_holds_the_pruning_up_for_nobody() {
    let db = with_entry().await;
    messages(&db, "old", 2, "state, next_at, dead_at", "'dead', null, now() - interval '91 days'").await;
    let mut session = db.connect().await;
    let mut replaying = session.begin().await.expect("he begins");
    sqlx::query(
        "update rekon.webhooks set state = 'pending', next_at = now(), dead_at = null, replays = 1 where id = 1",
    )
    .execute(&mut *replaying)
    .await
    .expect("he replays");
    // While he has not committed.
    assert_eq!(db.store.prune_webhooks(DAY * 7, DAY * 90, 100).await.expect("it prunes the other"), 1);
    replaying.commit().await.expect("he ends");
    assert_eq!(db.store.prune_webhooks(DAY * 7, DAY * 90, 100).await.expect("it prunes nothing"), 0);
    assert_eq!(db.text("select string_agg(id || ' ' || state, ',') from rekon.webhooks").await, "1 pending");
}

#[tokio::test]
async fn a_message_that_is_being_sent_is_not_given_up() {
    let db = with_entry().await;
    messages(&db, "late", 1, "next_at", "now() - interval '91 days'").await;
    let leased = db.store.claim_webhooks("shop", 1, "me", Duration::from_mins(5)).await.expect("it is due");
    assert_eq!(db.store.give_up_webhooks(DAY * 90, 100).await.expect("the database answers"), 0);
    let (id, epoch) = (leased[0].id, leased[0].epoch);
    let sent =
        Attempted { endpoint: "shop", id, epoch, rung: 0, status: Some(200), error: None, next: Next::Delivered };
    assert!(db.store.end_webhook(&sent).await.expect("the database answers"), "its end is written down");
    assert_eq!(db.text("select state from rekon.webhooks").await, "delivered");
    // A lease that nobody holds any more protects nothing.
    messages(
        &db,
        "lost",
        1,
        "next_at, lease_owner, lease_until",
        "now() - interval '91 days', 'me', now() - interval '1 second'",
    )
    .await;
    assert_eq!(db.store.give_up_webhooks(DAY * 90, 100).await.expect("the database answers"), 1);
}

/// As it is prepared once and run for every filter.
#[tokio::test]
async fn looking_for_dead_letters_and_replaying_them_reads_no_delivered_message() {
    let db = with_entry().await;
    messages(&db, "told", 40_000, "state, next_at, delivered_at", "'delivered', null, now()").await;
    messages(&db, "dead", 20, "state, next_at, dead_at", "'dead', null, now()").await;
    messages(&db, "waits", 20, "next_at", "now()").await;
    db.run("vacuum analyze rekon.webhooks").await;
    for (name, types, values) in [
        ("store::webhooks::desk::list", "text[], text, timestamptz, bigint", "array['dead'], null, null, 50"),
        (
            "store::webhooks::desk::list",
            "text[], text, timestamptz, bigint",
            "array['dead', 'pending'], 'shop', now() - interval '200 days', 50",
        ),
        (
            "store::webhooks::desk::replay",
            "text[], text, timestamptz, bigint, bigint",
            "array['dead'], null, null, 0, 2000",
        ),
    ] {
        let mut session = db.connect().await;
        let prepared = format!("set plan_cache_mode = force_generic_plan; prepare it ({types}) as {}", statement(name));
        sqlx::raw_sql(sqlx::AssertSqlSafe(prepared)).execute(&mut session).await.expect("it is prepared");
        let explained = format!("explain (analyze, buffers, format json) execute it ({values})");
        let plan: serde_json::Value =
            sqlx::query_scalar(sqlx::AssertSqlSafe(explained)).fetch_one(&mut session).await.expect("a plan");
        let blocks = |kind: &str| plan[0]["Plan"][kind].as_i64().expect("it is counted");
        let touched = blocks("Shared Hit Blocks") + blocks("Shared Read Blocks");
        println!("{name} ({values}): {touched} blocks");
        assert!(!plan.to_string().contains("Seq Scan\",\"Relation Name\":\"webhooks"), "{plan}");
        assert!(touched < 600, "{name}: {touched} blocks, {plan}");
    }
}

#[tokio::test]
async fn every_state_is_listed_newest_first_and_replayed_in_chunks() {
    let db = with_entry().await;
    messages(&db, "told", 3, "state, next_at, delivered_at", "'delivered', null, now()").await;
    messages(&db, "dead", 2, "state, next_at, dead_at", "'dead', null, now()").await;
    messages(&db, "waits", 1, "next_at", "now()").await;
    let listed = async |filter: &Filter, limit| {
        let rows = db.store.webhooks(filter, limit).await.expect("the database answers");
        rows.iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(listed(&Filter::default(), 10).await, [6, 5, 4, 3, 2, 1]);
    assert_eq!(listed(&Filter::default(), 4).await, [6, 5, 4, 3]);
    assert_eq!(listed(&dead(), 10).await, [5, 4]);
    let since = chrono::DateTime::from_timestamp(4_000_000_000, 0);
    assert_eq!(listed(&Filter { since, ..Filter::default() }, 10).await, [0_i64; 0]);
    assert_eq!(listed(&Filter { endpoint: Some("erp".to_owned()), ..Filter::default() }, 10).await, [0_i64; 0]);
    messages(&db, "many", 4_100, "state, next_at, dead_at", "'dead', null, now()").await;
    let both = Filter { states: vec!["dead".to_owned(), "delivered".to_owned()], ..Filter::default() };
    assert_eq!(db.store.replay_webhooks(&both).await.expect("it replays").replayed, 4_105);
    assert_eq!(
        db.text("select count(*) || ' ' || max(replays) from rekon.webhooks where state = 'pending'").await,
        "4106 1"
    );
}

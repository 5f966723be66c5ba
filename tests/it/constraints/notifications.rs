//! What is kept of notifications that became no fact, and of drift: bounded words, and nothing that was never seen.

use crate::support::TestDb;

const HASH: &str = "sha256('a')";

fn notification(hash: &str, outcome: &str, n: i32) -> String {
    format!(
        "insert into rekon.notifications (account, payload_hash, reference, outcome, is_verified, body, n)
         values ('shop', {hash}, 'INV-1', '{outcome}', false, '{{}}', {n})"
    )
}

fn drift(kind: &str, n: i32) -> String {
    format!("insert into rekon.drift (account, kind, n, first_at, last_at) values ('shop', {kind}, {n}, now(), now())")
}

#[tokio::test]
async fn a_notification_is_kept_under_its_hash_with_a_known_reason() {
    let db = TestDb::new().await;
    db.run(&notification(HASH, "unmatched", 1)).await;
    db.expect_refused(&notification("'\\x00'", "unmatched", 1), "notifications_hash_is_sha256").await;
    db.expect_refused(&notification("sha256('b')", "paid", 1), "notifications_outcome_is_known").await;
    db.expect_refused(&notification("sha256('b')", "limited", 0), "notifications_came_at_least_once").await;
}

#[tokio::test]
async fn drift_has_a_short_name_and_was_seen() {
    let db = TestDb::new().await;
    db.run(&drift("'other_service'", 1)).await;
    db.expect_refused(&drift("repeat('x', 81)", 1), "drift_kind_is_short").await;
    db.expect_refused(&drift("''", 1), "drift_kind_is_short").await;
    db.expect_refused(&drift("'time_without_zone'", 0), "drift_was_seen").await;
}

//! What is kept under an Idempotency-Key is a whole success of a whole request.

use crate::support::TestDb;

fn key(key: &str, hash: &str, answer: &str) -> String {
    format!(
        "insert into rekon.idempotency_keys (person, key, request_hash, status, location, body) values ('wati', {key}, {hash}, {answer})"
    )
}

#[tokio::test]
async fn a_kept_answer_is_a_whole_success_under_a_key_of_some_length() {
    let db = TestDb::new().await;
    db.people().await;
    let hash = "sha256('a')";
    db.expect_refused(&key("''", hash, "null, null, null"), "idempotency_keys_are_short").await;
    db.expect_refused(&key("repeat('k', 256)", hash, "null, null, null"), "idempotency_keys_are_short").await;
    db.expect_refused(&key("'k'", "'\\x00'", "null, null, null"), "idempotency_keys_hash_is_sha256").await;
    db.expect_refused(&key("'k'", hash, "409, null, '{}'"), "idempotency_keys_keep_success").await;
    db.expect_refused(&key("'k'", hash, "201, null, null"), "idempotency_keys_are_whole").await;
    db.expect_refused(&key("'k'", hash, "null, '/x', null"), "idempotency_keys_are_whole").await;
    db.run(&key("'k'", hash, "null, null, null")).await;
    db.run(&key("'l'", hash, "201, '/x', '{}'")).await;
}

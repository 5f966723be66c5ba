//! The token that replicas share is whole, sealed, and of a fetch that somebody claimed.

use crate::support::TestDb;

fn token(epoch: &str, sealed: &str) -> String {
    format!(
        "insert into rekon.provider_tokens (account, claims, epoch, sealed, refresh_at, expires_at)
         values ('shop', 3, {epoch}, {sealed}, now(), now())"
    )
}

#[tokio::test]
async fn a_shared_token_is_whole_and_sealed_and_was_claimed() {
    let db = TestDb::new().await;
    let sealed = "sha256('a')";
    db.expect_refused(&token("null", sealed), "provider_tokens_are_whole").await;
    db.expect_refused(&token("3", "null"), "provider_tokens_are_whole").await;
    db.expect_refused(&token("4", sealed), "provider_tokens_were_claimed").await;
    db.expect_refused(&token("0", sealed), "provider_tokens_were_claimed").await;
    // A nonce and a tag alone seal nothing.
    db.expect_refused(&token("3", "substr(sha256('a'), 1, 28)"), "provider_tokens_are_sealed").await;
    db.run(&token("3", sealed)).await;
}

//! Messages to merchants' endpoints: one per endpoint and event, of an entry that is there, sent as it was written, brought to one
//! end, and not forgotten before.

use crate::support::TestDb;

/// A payment with two journal entries.
async fn with_entries() -> TestDb {
    let db = TestDb::new().await;
    assert_eq!(db.insert_payment("shop", "INV-1", "150000").await, 1);
    db.run(
        "insert into rekon.journal (transaction_id, entry_no, at, upto_seq, kind, state, content, prev_hash, hash)
         values (1, 1, now(), 1, 'decision', 'pending', '{}', sha256(''), sha256('1'));
         insert into rekon.journal (transaction_id, entry_no, at, upto_seq, kind, state, content, prev_hash, hash)
         values (1, 2, now(), 2, 'decision', 'pending', '{}', sha256('1'), sha256('2'))",
    )
    .await;
    db
}

fn message(endpoint: &str, event: &str, entry_no: i32) -> String {
    format!(
        "insert into rekon.webhooks (endpoint, event_id, transaction_id, entry_no, type, body) values ('{endpoint}', '{event}', 1, {entry_no}, 'transaction.paid', '{{}}')"
    )
}

#[tokio::test]
async fn an_endpoint_hears_of_an_event_once_and_of_nothing_that_is_not_in_the_journal() {
    let db = with_entries().await;
    db.run(&message("shop", "msg_1", 1)).await;
    db.expect_refused(&message("shop", "msg_1", 2), "webhooks_tell_once").await;
    db.expect_refused(&message("shop", "msg_3", 3), "webhooks_tell_of_an_entry").await;
    db.expect_refused(&message("", "msg_2", 2), "webhooks_endpoint_is_named").await;
    db.expect_refused(&message("shop", "", 2), "webhooks_event_id_is_short").await;
    db.expect_refused(&message("shop", "msg_2", 2).replace("'{}'", "''"), "webhooks_body_is_small").await;
    db.expect_refused(&message("shop", "msg_2", 2).replace("'{}'", "repeat('x', 20481)"), "webhooks_body_is_small")
        .await;
    db.run(&message("erp", "msg_1", 1)).await;
    db.run(&message("shop", "msg_2", 2)).await;
}

#[tokio::test]
async fn a_message_is_sent_as_it_was_written() {
    let db = with_entries().await;
    db.run(&message("shop", "msg_1", 1)).await;
    for change in [
        "endpoint = 'erp'",
        "event_id = 'msg_9'",
        "entry_no = 2",
        "type = 'x'",
        "body = '{ }'",
        "created_at = created_at - interval '1 day'",
    ] {
        db.expect_refused(&format!("update rekon.webhooks set {change}"), "webhooks_keep_their_word").await;
    }
    db.run("update rekon.webhooks set attempts = 2, lease_epoch = 3, last_status = 500").await;
    for change in ["attempts = 1", "lease_epoch = 2", "replays = -1"] {
        db.expect_refused(&format!("update rekon.webhooks set {change}"), "webhooks_count_up").await;
    }
    db.expect_refused("update rekon.webhooks set rung = -1", "webhooks_counts_are_counts").await;
}

#[tokio::test]
async fn a_message_comes_to_one_end_and_only_a_replay_undoes_it() {
    let db = with_entries().await;
    db.run(&message("shop", "msg_1", 1)).await;
    db.expect_refused("update rekon.webhooks set state = 'lost', next_at = null", "webhooks_state_is_known").await;
    db.expect_refused("update rekon.webhooks set next_at = null", "webhooks_due_while_pending").await;
    db.expect_refused("update rekon.webhooks set state = 'dead', next_at = null", "webhooks_end_has_its_time").await;
    db.expect_refused("delete from rekon.webhooks", "webhooks_wait").await;
    db.expect_refused("truncate rekon.webhooks", "webhooks_wait").await;
    db.run("update rekon.webhooks set state = 'delivered', next_at = null, delivered_at = now()").await;
    let dead = "update rekon.webhooks set state = 'dead', delivered_at = null, dead_at = now()";
    db.expect_refused(dead, "webhooks_end_once").await;
    let again = "update rekon.webhooks set state = 'pending', next_at = now(), delivered_at = null";
    db.expect_refused(again, "webhooks_end_once").await;
    db.run(&format!("{again}, replays = replays + 1")).await;
    db.run("update rekon.webhooks set state = 'dead', next_at = null, dead_at = now()").await;
    db.run("delete from rekon.webhooks").await;
}

#[tokio::test]
async fn a_disabled_endpoint_says_why() {
    let db = TestDb::new().await;
    let disable = "insert into rekon.webhook_endpoints (endpoint, disabled_at) values ('shop', now())";
    db.expect_refused(disable, "webhook_endpoints_say_why").await;
    db.run(
        &disable.replace(
            "disabled_at) values ('shop', now())",
            "disabled_at, disabled_why) values ('shop', now(), 'gone')",
        ),
    )
    .await;
}

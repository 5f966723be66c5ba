//! Transfers by hand, refunds that are put off, candidates, and the ends of QRs: what the database refuses of them.

use crate::support::TestDb;

/// A paid row 1 of 100000 and, under `doku-main`, a cancelled order 2.
async fn rows() -> TestDb {
    let db = TestDb::new().await;
    db.people().await;
    assert_eq!(db.insert_paid("INV-1", "100000").await, 1);
    assert_eq!(db.insert_payment("doku-main", "INV-2", "1000").await, 2);
    db.run("update rekon.transactions set order_status = 'cancelled' where id = 2").await;
    db
}

/// A refund by hand that somebody else than the policy has approved.
const TASK: &str = "insert into rekon.refund_saga (transaction_id, cause, amount, proposed_by, content_hash, channel) values (1, 'paid_late', 40000, 'policy', 'h', 'manual');
    update rekon.refund_saga set state = 'approved', approved_by = 'sari';";
const HAND_OVER: &str = "update rekon.refund_saga set state = 'reserved', partner_refund_no = 'RK1';
    update rekon.transactions set refund_reserved = 40000 where id = 1;
    update rekon.refund_saga set state = 'sending';";

fn transfer(columns: &str) -> String {
    format!(
        "update rekon.refund_saga set state = 'confirmed', proof = 'person', {columns} where state = 'sending';
         update rekon.transactions set refund_reserved = 0, refunded_amount = 40000 where id = 1;"
    )
}

fn set(columns: &str) -> String {
    format!("update rekon.refund_saga set {columns}")
}

#[tokio::test]
async fn no_rule_approves_a_transfer() {
    let db = rows().await;
    db.run("insert into rekon.refund_saga (transaction_id, cause, amount, proposed_by, content_hash, channel) values (1, 'paid_late', 40000, 'policy', 'h', 'manual')")
        .await;
    db.expect_refused(&set("channel = 'post'"), "refunds_channel_stays").await;
    db.expect_refused(
        "insert into rekon.refund_saga (transaction_id, cause, amount, proposed_by, content_hash, channel) values (1, 'overpaid', 1, 'policy', 'h', 'post')",
        "refunds_channel_is_known",
    )
    .await;
    db.expect_refused(&set("state = 'approved', approved_by = 'policy'"), "refunds_policy_approves_no_transfer").await;
    db.run(&set("state = 'approved', approved_by = 'sari'")).await;
}

#[tokio::test]
async fn a_transfer_is_confirmed_by_another_person_with_the_banks_reference_once() {
    let db = rows().await;
    db.run(TASK).await;
    db.expect_refused(
        &set("state = 'reserved', partner_refund_no = 'RK1', request_body = '{}'"),
        "refunds_sent_under_a_number",
    )
    .await;
    db.run(HAND_OVER).await;
    db.expect_refused(&set("state = 'unknown'"), "refunds_transfer_makes_no_call").await;
    db.expect_refused(&set("attempts = 1"), "refunds_transfer_makes_no_call").await;
    db.expect_refused(&set("state = 'confirmed', proof = 'person'"), "refunds_transfer_is_told").await;
    db.expect_refused(&transfer("bank_reference = 'B-1'"), "refunds_transfer_is_told").await;
    db.expect_refused(&set("bank_reference = 'B-1', transferred_by = 'joko'"), "refunds_transfer_is_told").await;
    for approver in ["sari", "policy"] {
        db.expect_refused(
            &transfer(&format!("bank_reference = 'B-1', transferred_by = '{approver}'")),
            "refunds_transfer_by_another",
        )
        .await;
    }
    db.expect_refused(&transfer("bank_reference = '', transferred_by = 'joko'"), "refunds_bank_reference_is_short")
        .await;
    db.expect_refused(
        &set("state = 'confirmed', proof = 'answer', bank_reference = 'B-1', transferred_by = 'joko'"),
        "refunds_transfer_is_proved_by_a_person",
    )
    .await;
    db.run(&transfer("bank_reference = 'B-1', transferred_by = 'joko'")).await;
    db.expect_refused(&set("bank_reference = 'B-2'"), "refunds_transfer_stays").await;
    db.expect_refused(&set("transferred_by = 'budi'"), "refunds_transfer_stays").await;
}

#[tokio::test]
async fn one_transfer_proves_one_refund() {
    let db = rows().await;
    db.run(TASK).await;
    db.run(HAND_OVER).await;
    db.run(&transfer("bank_reference = 'B-1', transferred_by = 'joko'")).await;
    let second = "
        insert into rekon.refund_saga (transaction_id, cause, amount, proposed_by, content_hash, channel) values (1, 'underpaid', 1, 'policy', 'h', 'manual');
        update rekon.refund_saga set state = 'approved', approved_by = 'sari' where cause = 'underpaid';
        update rekon.refund_saga set state = 'reserved', partner_refund_no = 'RK2' where cause = 'underpaid';
        update rekon.refund_saga set state = 'sending' where cause = 'underpaid';
        update rekon.transactions set refund_reserved = 0, refunded_amount = 40001 where id = 1;";
    let confirm = |bank: &str| {
        format!(
            "{second} update rekon.refund_saga set state = 'confirmed', proof = 'person', bank_reference = '{bank}', transferred_by = 'joko' where cause = 'underpaid'"
        )
    };
    db.expect_refused(&confirm("B-1"), "refunds_one_per_bank_reference").await;
    db.run(&confirm("B-2")).await;
}

#[tokio::test]
async fn only_an_unsent_refund_becomes_a_transfer_and_only_as_a_proposal() {
    let db = rows().await;
    db.run("insert into rekon.refund_saga (transaction_id, cause, amount, proposed_by, why, content_hash) values (1, 'paid_late', 40000, 'budi', 'so', 'h')").await;
    db.run(&set("state = 'approved', approved_by = 'sari'")).await;
    db.expect_refused(&set("channel = 'manual'"), "refunds_channel_stays").await;
    db.run(&set("channel = 'manual', state = 'proposed', approved_by = null")).await;
    db.expect_refused(&set("channel = 'api'"), "refunds_channel_stays").await;
    db.run("insert into rekon.refund_saga (transaction_id, cause, amount, proposed_by, why, content_hash) values (1, 'overpaid', 1, 'budi', 'so', 'h')").await;
    db.run("update rekon.refund_saga set attempts = 1 where cause = 'overpaid'").await;
    db.expect_refused(
        "update rekon.refund_saga set channel = 'manual' where cause = 'overpaid'",
        "refunds_channel_stays",
    )
    .await;
}

#[tokio::test]
async fn what_is_put_off_has_a_beginning_and_a_next_time_and_a_candidate_its_reason() {
    let db = rows().await;
    db.run("insert into rekon.refund_saga (transaction_id, cause, amount, proposed_by, why, content_hash) values (1, 'paid_late', 40000, 'budi', 'so', 'h')").await;
    db.expect_refused(&set("put_off_since = now()"), "refunds_put_off_whole").await;
    db.run(&set("put_off_since = now(), put_off_until = now()")).await;
    db.expect_refused(&set("candidate_id = 2"), "refunds_candidate_is_whole").await;
    db.expect_refused(&set("candidate_id = 1, candidate_why = 'open_order'"), "refunds_candidate_is_whole").await;
    db.expect_refused(&set("candidate_id = 2, candidate_why = 'looks_alike'"), "refunds_candidate_is_explained").await;
    db.run(&set("candidate_id = 2, candidate_why = 'open_order'")).await;
    assert_eq!(
        db.text("select candidate_reference_no || ' ' || candidate_why from rekon.refunds").await,
        "INV-2 open_order"
    );
}

#[tokio::test]
async fn the_qr_of_a_cancelled_order_is_ended_once_along_its_path() {
    let db = rows().await;
    let make = |id: i64| format!("insert into rekon.qr_cancels (transaction_id) values ({id})");
    db.expect_refused(&make(1), "qr_cancels_of_cancelled_orders").await;
    db.run(&make(2)).await;
    db.expect_refused(&make(2), "qr_cancels_pkey").await;
    let to = |state: &str| format!("update rekon.qr_cancels set state = '{state}', ended_at = now(), next_at = null");
    db.expect_refused(&to("done"), "qr_cancels_path").await;
    db.expect_refused(&to("over"), "qr_cancels_path").await;
    db.expect_refused(
        "insert into rekon.qr_cancels (transaction_id, state, next_at) values (2, 'over', null)",
        "qr_cancels_state_is_known",
    )
    .await;
    db.run("update rekon.qr_cancels set state = 'asking', attempts = 1").await;
    db.expect_refused(&to("void"), "qr_cancels_path").await;
    db.expect_refused("update rekon.qr_cancels set attempts = 0", "qr_cancels_path").await;
    db.expect_refused("update rekon.qr_cancels set lost = 2", "qr_cancels_lost_are_counted").await;
    db.expect_refused("update rekon.qr_cancels set state = 'done', next_at = null", "qr_cancels_end_whole").await;
    db.expect_refused("update rekon.qr_cancels set state = 'done', ended_at = now()", "qr_cancels_rest_at_the_end")
        .await;
    db.run(&to("done")).await;
    db.expect_refused("update rekon.qr_cancels set state = 'asking', ended_at = null", "qr_cancels_path").await;
    db.expect_refused("delete from rekon.qr_cancels", "qr_cancels_stay").await;
    db.expect_refused("truncate rekon.qr_cancels", "qr_cancels_stay_all").await;
    let other = db.insert_payment("doku-main", "INV-3", "1000").await;
    db.run(&format!("update rekon.transactions set order_status = 'cancelled' where id = {other}")).await;
    db.expect_refused(
        &format!("insert into rekon.qr_cancels (transaction_id, attempts) values ({other}, -1)"),
        "qr_cancels_attempts_are_counted",
    )
    .await;
}

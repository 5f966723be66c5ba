//! A refund's content: who may agree to it, what it may be called, what of it is fixed and what must be proved.

use crate::support::TestDb;

/// A paid row 1 of 100000 and a statement's worth of refunds on it.
async fn paid_row() -> TestDb {
    let db = TestDb::new().await;
    db.people().await;
    assert_eq!(db.insert_paid("INV-1", "100000").await, 1);
    db
}

fn propose(cause: &str, amount: &str, proposed_by: &str) -> String {
    format!(
        "insert into rekon.refund_saga (transaction_id, cause, amount, proposed_by, content_hash, why) values (1, '{cause}', {amount}, '{proposed_by}', 'h', 'so')"
    )
}

fn set(columns: &str) -> String {
    format!("update rekon.refund_saga set {columns}")
}

const RESERVE: &str = "update rekon.refund_saga set state = 'reserved', partner_refund_no = 'RK1', request_body = '{}' where state = 'approved';
    update rekon.transactions set refund_reserved = 40000;";
const SEND: &str =
    "update rekon.refund_saga set state = 'sending', attempts = attempts + 1 where state in ('reserved', 'unknown');";
const RELEASE: &str = "update rekon.transactions set refund_reserved = 0;";
const CONFIRM: &str = "update rekon.refund_saga set state = 'confirmed', proof = 'answer' where state = 'sending';
    update rekon.transactions set refund_reserved = 0, refunded_amount = 40000;";

#[tokio::test]
async fn an_approver_is_not_the_proposer() {
    let db = paid_row().await;
    db.run(&propose("paid_late", "40000", "budi")).await;
    db.expect_refused(&set("state = 'approved'"), "refunds_approved_by_somebody").await;
    db.expect_refused(&set("state = 'approved', approved_by = 'budi'"), "refunds_approver_is_not_proposer").await;
    db.expect_refused(&set("state = 'approved', approved_by = 'policy'"), "refunds_policy_approves_its_own").await;
    db.expect_refused(&set("approved_by = 'sari'"), "refunds_proposed_is_not_approved").await;
    db.run(&set("state = 'approved', approved_by = 'sari'")).await;
    db.run(&propose("overpaid", "1", "policy")).await;
    db.run("update rekon.refund_saga set state = 'approved', approved_by = 'policy' where cause = 'overpaid'").await;
    db.run(&propose("underpaid", "1", "policy")).await;
    db.run("update rekon.refund_saga set state = 'approved', approved_by = 'sari' where cause = 'underpaid'").await;
}

#[tokio::test]
async fn an_approval_stands_on_its_content() {
    let db = paid_row().await;
    db.run(&propose("paid_late", "40000", "budi")).await;
    db.run(&set("content_hash = 'h2'")).await;
    db.run(&set("state = 'approved', approved_by = 'sari'")).await;
    db.expect_refused(&set("content_hash = 'h3'"), "refunds_approval_stands").await;
    db.expect_refused(&set("approved_by = 'joko'"), "refunds_approval_stands").await;
    db.expect_refused(&set("state = 'proposed'"), "refunds_proposed_is_not_approved").await;
    db.run(&set("state = 'proposed', approved_by = null, content_hash = 'h3'")).await;
    db.expect_refused(&set("state = 'approved'"), "refunds_approved_by_somebody").await;
}

#[tokio::test]
async fn a_refund_is_born_unsent() {
    let db = paid_row().await;
    let born = |columns: &str, values: &str| {
        format!(
            "insert into rekon.refund_saga (transaction_id, cause, amount, proposed_by, approved_by, content_hash, {columns})
             values (1, 'overpaid', 1, 'policy', 'policy', 'h', {values})"
        )
    };
    for state in ["reserved", "sending", "unknown", "refused", "denied", "expired"] {
        db.expect_refused(
            &born("state, partner_refund_no, request_body", &format!("'{state}', 'RK1', '{{}}'")),
            "refunds_born",
        )
        .await;
    }
    db.expect_refused(
        &born("state, partner_refund_no, request_body, proof", "'confirmed', 'RK1', '{}', 'person'"),
        "refunds_born",
    )
    .await;
    db.expect_refused(&born("state, partner_refund_no", "'approved', 'RK1'"), "refunds_born").await;
    db.expect_refused(&born("state, attempts", "'approved', 1"), "refunds_born").await;
    db.expect_refused(&born("state, unanswered", "'approved', true"), "refunds_born").await;
    db.run(&born("state", "'approved'")).await;
}

#[tokio::test]
async fn refunds_are_positive_and_for_money_in() {
    let db = paid_row().await;
    for amount in ["0", "-1", "'NaN'"] {
        db.expect_refused(&propose("overpaid", amount, "policy"), "refunds_amount_is_positive").await;
    }
    db.run(
        "insert into rekon.transactions (account, partner_reference_no, amount, direction) values ('shop', 'OUT-1', 1, 'out');
         update rekon.transactions set state = 'paid', paid_amount = 1 where partner_reference_no = 'OUT-1'",
    )
    .await;
    let payout = db.value::<i64>("select id from rekon.transactions where direction = 'out'").await;
    db.expect_refused(
        &propose("overpaid", "1", "policy").replace("(1,", &format!("({payout},")),
        "refunds_for_money_in",
    )
    .await;
}

#[tokio::test]
async fn one_refund_per_cause() {
    let db = paid_row().await;
    db.run(&propose("paid_late", "40000", "budi")).await;
    db.expect_refused(&propose("paid_late", "1", "budi"), "refunds_one_per_cause").await;
    db.run(&propose("overpaid", "1", "budi")).await;
    db.run("update rekon.refund_saga set state = 'denied', denied_by = 'sari'").await;
    db.run(&propose("paid_late", "40000", "budi")).await;
    db.run(&set("state = 'approved', approved_by = 'sari' where state = 'proposed'")).await;
    db.run(&format!("{RESERVE}{SEND}{CONFIRM}")).await;
    db.expect_refused(&propose("paid_late", "1", "budi"), "refunds_one_per_cause").await;
}

#[tokio::test]
async fn one_refund_in_flight_per_row() {
    let db = paid_row().await;
    db.run(&format!("{};{}", propose("paid_late", "40000", "budi"), propose("overpaid", "1", "budi"))).await;
    db.run(&set("state = 'approved', approved_by = 'sari'")).await;
    let reserve = |cause: &str, number: &str| {
        format!(
            "update rekon.refund_saga set state = 'reserved', partner_refund_no = '{number}', request_body = '{{}}' where cause = '{cause}';
             update rekon.transactions set refund_reserved = (select sum(amount) from rekon.refund_saga where state in ('reserved', 'sending', 'unknown'));"
        )
    };
    db.run(&reserve("paid_late", "RK1")).await;
    db.expect_refused(&reserve("overpaid", "RK2"), "refunds_one_in_flight").await;
    db.run(SEND).await;
    db.expect_refused(&reserve("overpaid", "RK2"), "refunds_one_in_flight").await;
    db.run(&set("state = 'unknown' where state = 'sending'")).await;
    db.expect_refused(&reserve("overpaid", "RK2"), "refunds_one_in_flight").await;
    db.run(&format!("{SEND}{CONFIRM}")).await;
    db.expect_refused(&reserve("overpaid", "RK1"), "refunds_number_is_unique").await;
    db.run(&reserve("overpaid", "RK2")).await;
}

#[tokio::test]
async fn what_a_refund_is_about_is_frozen() {
    let db = paid_row().await;
    db.insert_paid("INV-2", "100000").await;
    db.run(&propose("paid_late", "40000", "budi")).await;
    for columns in
        ["transaction_id = 2", "cause = 'overpaid'", "amount = 39999.99", "sequence = 2", "proposed_by = 'sari'"]
    {
        db.expect_refused(&set(columns), "refunds_frozen").await;
    }
    db.expect_refused("delete from rekon.refund_saga", "refunds_stay").await;
    db.expect_refused("truncate rekon.refund_saga cascade", "refunds_stay_all").await;
}

#[tokio::test]
async fn a_number_is_plain_and_stored_before_the_first_call() {
    let db = paid_row().await;
    db.run(&propose("paid_late", "40000", "budi")).await;
    db.run(&set("state = 'approved', approved_by = 'sari'")).await;
    for number in ["RK-1", "", "RK 1", "RK1é", &"A".repeat(33)] {
        db.expect_refused(&set(&format!("partner_refund_no = '{number}'")), "refunds_number_is_plain").await;
    }
    for columns in [
        "state = 'reserved'",
        "state = 'reserved', partner_refund_no = 'RK1'",
        "state = 'reserved', request_body = '{}'",
    ] {
        db.expect_refused(&set(columns), "refunds_sent_under_a_number").await;
    }
    db.run(RESERVE).await;
    db.expect_refused(&set("request_body = null"), "refunds_sent_under_a_number").await;
}

#[tokio::test]
async fn a_number_that_was_sent_keeps_its_bytes() {
    let db = paid_row().await;
    db.run(&propose("paid_late", "40000", "budi")).await;
    db.run(&set("state = 'approved', approved_by = 'sari'")).await;
    db.run(RESERVE).await;
    // Never sent: another body may be minted.
    db.run(&set("request_body = '{\"reason\":\"late\"}'")).await;
    db.run(SEND).await;
    let later = ["state = 'unknown', unanswered = true", "state = 'sending', attempts = 2", "state = 'reserved'"];
    for step in later {
        for bytes in ["partner_refund_no = 'RK2'", "request_body = '{}'", "partner_refund_no = 'RK2', attempts = 0"] {
            let refused = db.try_run(&set(bytes)).await.unwrap_err();
            let by = refused.as_database_error().and_then(|e| e.constraint()).map(str::to_owned);
            assert!(matches!(by.as_deref(), Some("refunds_number_is_frozen" | "refunds_memory")), "{bytes}: {refused}");
        }
        db.expect_refused(&set("attempts = attempts - 1"), "refunds_memory").await;
        db.run(&set(step)).await;
    }
    db.expect_refused(&set("partner_refund_no = 'RK2'"), "refunds_number_is_frozen").await;
}

#[tokio::test]
async fn a_refund_of_unknown_fate_cannot_be_given_up() {
    let db = paid_row().await;
    db.run(&propose("paid_late", "40000", "budi")).await;
    db.run(&set("state = 'approved', approved_by = 'sari'")).await;
    db.run(&format!("{RESERVE}{SEND}")).await;
    db.run(&set("state = 'unknown', unanswered = true")).await;
    db.expect_refused(&set("unanswered = false"), "refunds_memory").await;
    for state in ["state = 'proposed', approved_by = null", "state = 'denied'", "state = 'expired'"] {
        db.expect_refused(&format!("{};{RELEASE}", set(state)), "refunds_path").await;
    }
    // Sent again and put off by the provider: the number is waiting, the first attempt is still out there.
    db.run(SEND).await;
    db.run(&set("state = 'reserved'")).await;
    for state in ["state = 'proposed', approved_by = null", "state = 'denied'", "state = 'expired'"] {
        db.expect_refused(&format!("{};{RELEASE}", set(state)), "refunds_unknown_stays").await;
        db.expect_refused(&format!("{};{RELEASE}", set(&format!("{state}, attempts = 0"))), "refunds_memory").await;
    }
}

#[tokio::test]
async fn a_put_off_refund_that_got_an_answer_may_be_given_up() {
    let db = paid_row().await;
    db.run(&propose("paid_late", "40000", "budi")).await;
    db.run(&set("state = 'approved', approved_by = 'sari'")).await;
    db.run(&format!("{RESERVE}{SEND}")).await;
    db.run(&set("state = 'reserved'")).await;
    db.run(&format!("{};{RELEASE}", set("state = 'expired'"))).await;
}

#[tokio::test]
async fn confirmed_needs_a_proof_and_only_confirmed_has_one() {
    let db = paid_row().await;
    db.run(&propose("paid_late", "40000", "budi")).await;
    db.expect_refused(&set("proof = 'answer'"), "refunds_confirmed_with_proof").await;
    db.run(&set("state = 'approved', approved_by = 'sari'")).await;
    db.run(&format!("{RESERVE}{SEND}")).await;
    db.expect_refused(&set("state = 'confirmed'"), "refunds_confirmed_with_proof").await;
    db.expect_refused(&set("state = 'unknown', proof = 'query'"), "refunds_confirmed_with_proof").await;
    db.expect_refused(&set("state = 'confirmed', proof = 'hope'"), "refunds_proof_is_known").await;
    db.run(CONFIRM).await;
    db.expect_refused(&set("proof = null"), "refunds_confirmed_with_proof").await;
    let read = "select (partner_reference_no, cause, amount, state, partner_refund_no, proof) from rekon.refunds";
    assert_eq!(db.text(read).await, "(INV-1,paid_late,40000.00,confirmed,RK1,answer)");
}

#[tokio::test]
async fn the_row_and_its_refunds_say_the_same() {
    let db = paid_row().await;
    db.run(&propose("paid_late", "40000", "budi")).await;
    db.run(&set("state = 'approved', approved_by = 'sari'")).await;
    let unbooked = set("state = 'reserved', partner_refund_no = 'RK1', request_body = '{}'");
    db.expect_refused(&unbooked, "refunds_are_booked").await;
    db.expect_refused("update rekon.transactions set refund_reserved = 40000", "refunds_are_booked").await;
    db.expect_refused("update rekon.transactions set refunded_amount = 40000", "refunds_are_booked").await;
    db.expect_refused(
        &format!("{RESERVE}update rekon.transactions set refund_reserved = 39999.99"),
        "refunds_are_booked",
    )
    .await;
    db.run(&format!("{RESERVE}{SEND}")).await;
    db.expect_refused(RELEASE, "refunds_are_booked").await;
    db.expect_refused(&set("state = 'refused'"), "refunds_are_booked").await;
    db.expect_refused(&set("state = 'confirmed', proof = 'answer'"), "refunds_are_booked").await;
    db.run(CONFIRM).await;
}

#[tokio::test]
async fn an_attempt_ends_once_and_stays() {
    let db = paid_row().await;
    db.run(&propose("paid_late", "40000", "budi")).await;
    db.run("insert into rekon.refund_attempts (refund_id, attempt, call_id) values (1, 1, 'c1')").await;
    let again = "insert into rekon.refund_attempts (refund_id, attempt, call_id) values (1, 1, 'c2')";
    db.expect_refused(again, "refund_attempts_pkey").await;
    db.expect_refused("update rekon.refund_attempts set call_id = 'c2'", "refund_attempts_end_once").await;
    db.expect_refused("update rekon.refund_attempts set outcome = 'success'", "refund_attempts_end_whole").await;
    db.run("update rekon.refund_attempts set ended_at = now(), outcome = 'success'").await;
    db.expect_refused("update rekon.refund_attempts set outcome = 'refused'", "refund_attempts_end_once").await;
    db.expect_refused("update rekon.refund_attempts set ended_at = null, outcome = null", "refund_attempts_end_once")
        .await;
    db.expect_refused("delete from rekon.refund_attempts", "refund_attempts_stay").await;
    db.expect_refused("truncate rekon.refund_attempts", "refund_attempts_stay_all").await;
}

#[tokio::test]
async fn a_days_budget_has_a_cap_and_is_spent_once() {
    let db = TestDb::new().await;
    let budget = |reserved: &str, cap: &str| {
        format!("insert into rekon.refund_budgets values ('shop', '2026-11-20', {reserved}, {cap})")
    };
    for (reserved, cap) in [("100.01", "100"), ("-1", "100"), ("1", "'NaN'"), ("'NaN'", "'NaN'")] {
        db.expect_refused(&budget(reserved, cap), "refund_budgets_hold").await;
    }
    db.run(&budget("40", "100")).await;
    db.expect_refused("update rekon.refund_budgets set reserved = reserved + 60.01", "refund_budgets_hold").await;
    db.run("update rekon.refund_budgets set reserved = reserved + 60").await;
    db.expect_refused(&budget("0", "100"), "refund_budgets_pkey").await;
    db.expect_refused("delete from rekon.refund_budgets", "refund_budgets_stay").await;
    db.expect_refused("truncate rekon.refund_budgets", "refund_budgets_stay_all").await;
    db.run("insert into rekon.account_controls (account, refunds_stopped) values ('shop', 'another refundNo for the same number')").await;
    db.expect_refused("delete from rekon.account_controls", "account_controls_stay").await;
    db.expect_refused("truncate rekon.account_controls cascade", "account_controls_stay_all").await;
}

#[tokio::test]
async fn words_and_counts_are_checked_behind_the_triggers_too() {
    let db = paid_row().await;
    db.run(&propose("paid_late", "40000", "budi")).await;
    db.expect_refused(
        &propose("overpaid", "1", "budi")
            .replace("amount, prop", "sequence, amount, prop")
            .replace("1, 'budi'", "0, 1, 'budi'"),
        "refunds_count_from_one",
    )
    .await;
    db.expect_refused(&set("needs_person = 'somebody'"), "refunds_needs_person_is_known").await;
    db.expect_refused(
        "insert into rekon.refund_attempts (refund_id, attempt, call_id) values (1, 0, 'c1')",
        "refund_attempts_count_from_one",
    )
    .await;
    db.run("alter table rekon.refund_saga disable trigger refunds_step; alter table rekon.transactions disable trigger transactions_only_grow").await;
    db.expect_refused(&set("state = 'lost', approved_by = 'sari'"), "refunds_state_is_known").await;
    db.expect_refused(&set("attempts = -1"), "refunds_attempts_are_counted").await;
    db.expect_refused(&set("resends = -1"), "refunds_resends_are_counted").await;
    db.expect_refused("update rekon.transactions set refunded_amount = -0.01", "transactions_refunded_is_not_negative")
        .await;
}

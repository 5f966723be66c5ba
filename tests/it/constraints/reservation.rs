//! Never more returned than taken: what the row itself refuses, whoever asks and however many at once.

use sqlx::Connection as _;

use crate::support::TestDb;

/// Changes of one row's money columns, with the books of its refunds left out of sight.
async fn paid_row() -> TestDb {
    let db = TestDb::new().await;
    db.insert_paid("INV-1", "100000").await;
    db.run("alter table rekon.transactions disable trigger refunds_are_booked").await;
    db
}

fn set(columns: &str) -> String {
    format!("update rekon.transactions set {columns}")
}

#[tokio::test]
async fn reserved_and_refunded_stay_within_paid() {
    let db = paid_row().await;
    db.expect_refused(&set("refund_reserved = 100000.01"), "transactions_reserve_what_is_there").await;
    db.expect_refused(&set("refunded_amount = 100000.01"), "transactions_never_return_more_than_paid").await;
    db.run(&set("refund_reserved = 60000")).await;
    db.expect_refused(&set("refunded_amount = 40000.01"), "transactions_never_return_more_than_paid").await;
    db.run(&set("refund_reserved = 0, refunded_amount = 60000")).await;
    db.expect_refused(&set("refund_reserved = 40000.01"), "transactions_reserve_what_is_there").await;
    db.run(&set("refund_reserved = 40000")).await;
}

#[tokio::test]
async fn what_was_never_paid_is_never_returned() {
    let db = TestDb::new().await;
    db.insert_payment("shop", "INV-1", "100000").await;
    db.expect_refused(&set("refund_reserved = 0.01"), "transactions_reserve_what_is_there").await;
    db.expect_refused(&set("refunded_amount = 0.01"), "transactions_never_return_more_than_paid").await;
}

#[tokio::test]
async fn a_reservation_leaves_what_went_back_outside() {
    let db = paid_row().await;
    db.run(&set("refunded_outside = 30000")).await;
    db.expect_refused(&set("refund_reserved = 70000.01"), "transactions_reserve_what_is_there").await;
    db.expect_refused(
        &set("refund_reserved = 50000, refunded_outside = 50000.01"),
        "transactions_reserve_what_is_there",
    )
    .await;
    db.run(&set("refund_reserved = 70000")).await;
}

#[tokio::test]
async fn a_true_outside_refund_is_always_recordable() {
    let db = paid_row().await;
    db.run(&set("refund_reserved = 100000")).await;
    // It happened: the books must say so, even beyond what was paid, and what is reserved may still be confirmed or released.
    db.run(&set("refunded_outside = 250000")).await;
    db.run(&set("refund_reserved = 100000, refunded_outside = 300000")).await;
    db.run(&set("refund_reserved = 40000, refunded_amount = 60000")).await;
    db.expect_refused(&set("refund_reserved = 40000.01"), "transactions_reserve_what_is_there").await;
    db.run(&set("refund_reserved = 0")).await;
}

#[tokio::test]
async fn money_columns_are_numbers_and_not_negative() {
    let db = paid_row().await;
    for (columns, constraint) in [
        ("refund_reserved = -0.01", "transactions_reserved_is_not_negative"),
        ("refunded_outside = -0.01", "transactions_outside_is_not_negative"),
        ("refunded_outside = 'NaN'", "transactions_outside_is_not_negative"),
        ("paid_amount = 'NaN'", "transactions_paid_is_a_number"),
        // Not a number is more than any number, so that these stumble over the limits first.
        ("refund_reserved = 'NaN'", "transactions_reserve_what_is_there"),
        ("refunded_amount = 'NaN'", "transactions_never_return_more_than_paid"),
    ] {
        db.expect_refused(&set(columns), constraint).await;
    }
    db.expect_refused(&set("paid_amount = 'NaN', refunded_amount = 'NaN'"), "transactions_paid_is_a_number").await;
}

#[tokio::test]
async fn what_is_known_is_not_forgotten() {
    let db = paid_row().await;
    for lower in ["paid_amount = 99999.99", "paid_amount = null"] {
        db.expect_refused(&set(lower), "transactions_paid_stays").await;
    }
    db.run(&set("paid_amount = 100000.01, refunded_amount = 10000")).await;
    db.expect_refused(&set("refunded_amount = 9999.99"), "transactions_refunded_stays").await;
    db.run(&set("seq = 3, journal_no = 2")).await;
    for lower in ["seq = 2", "journal_no = 1"] {
        db.expect_refused(&set(lower), "transactions_count_up").await;
    }
    db.run(&set("seq = 3, journal_no = 2, refunded_outside = 0")).await;
}

#[tokio::test]
async fn paid_money_is_never_in_unpaid() {
    let db = paid_row().await;
    for state in ["pending", "unpaid"] {
        db.expect_refused(&set(&format!("state = '{state}'")), "transactions_paid_money_is_not_lost").await;
    }
    db.expect_refused(&set("state = 'lost'"), "transactions_state_is_known").await;
    db.insert_payment("shop", "INV-2", "1").await;
    for state in ["paid", "held", "refunding", "refunded", "partly_refunded"] {
        db.run(&format!("update rekon.transactions set state = '{state}' where partner_reference_no = 'INV-1'")).await;
        db.expect_refused(
            &format!("update rekon.transactions set state = '{state}' where partner_reference_no = 'INV-2'"),
            "transactions_paid_money_is_not_lost",
        )
        .await;
    }
    for state in ["unpaid", "review", "pending"] {
        db.run(&format!("update rekon.transactions set state = '{state}' where partner_reference_no = 'INV-2'")).await;
    }
}

#[tokio::test]
async fn of_two_who_reserve_the_same_money_one_wins() {
    let db = paid_row().await;
    // Each of them has read 100000 paid and nothing reserved, and takes its 60000 on top of what stands there.
    let take = "update rekon.transactions set refund_reserved = refund_reserved + 60000";
    let (mut first, mut second) = (db.connect().await, db.connect().await);
    let mut winner = first.begin().await.unwrap();
    sqlx::query(take).execute(&mut *winner).await.unwrap();
    let loser = tokio::spawn(async move { sqlx::query(take).execute(&mut second).await });
    db.wait_until_blocked(1).await;
    winner.commit().await.unwrap();
    let refused = loser.await.unwrap().unwrap_err();
    assert_eq!(refused.as_database_error().and_then(|e| e.constraint()), Some("transactions_reserve_what_is_there"));
    assert_eq!(db.text("select refund_reserved from rekon.transactions").await, "60000.00");
}

#[tokio::test]
async fn of_two_who_spend_the_same_budget_one_wins() {
    let db = TestDb::new().await;
    db.run("insert into rekon.refund_budgets (account, day, cap) values ('shop', '2026-11-20', 100000)").await;
    let take = "update rekon.refund_budgets set reserved = reserved + 60000";
    let (mut first, mut second) = (db.connect().await, db.connect().await);
    let mut winner = first.begin().await.unwrap();
    sqlx::query(take).execute(&mut *winner).await.unwrap();
    let loser = tokio::spawn(async move { sqlx::query(take).execute(&mut second).await });
    db.wait_until_blocked(1).await;
    winner.commit().await.unwrap();
    let refused = loser.await.unwrap().unwrap_err();
    assert_eq!(refused.as_database_error().and_then(|e| e.constraint()), Some("refund_budgets_hold"));
}

//! What the merchant may change later: each change is kept, numbered in the row's sequence, and makes the row due now.

use crate::support::TestDb;

#[tokio::test]
async fn references_and_the_qr_may_be_set_once() {
    let db = TestDb::new().await;
    db.insert_payment("shop", "INV-1", "150000").await;
    for (column, value) in [("reference_no", "'R-1'"), ("external_id", "'E-1'"), ("qr_content", "'0002010102125802ID'")]
    {
        db.run(&format!("update rekon.transactions set {column} = {value}")).await;
        db.run(&format!("update rekon.transactions set {column} = {value}")).await;
        for other in ["'other'", "null"] {
            db.expect_refused(&format!("update rekon.transactions set {column} = {other}"), "transactions_set_once")
                .await;
        }
    }
    assert_eq!(db.text("select array_agg(seq order by seq) from rekon.order_changes").await, "{1,2,3}");
    db.expect_refused(
        "insert into rekon.transactions (account, partner_reference_no, amount) values ('shop', 'INV-2', 1);
         update rekon.transactions set qr_content = '0002010102115802ID' where partner_reference_no = 'INV-2'",
        "transactions_qr_is_dynamic",
    )
    .await;
}

#[tokio::test]
async fn validity_may_only_move_later() {
    let db = TestDb::new().await;
    db.insert_payment("shop", "INV-1", "150000").await;
    db.run("update rekon.transactions set expires_at = '2026-11-20 10:00+07'").await;
    db.run("update rekon.transactions set expires_at = '2026-11-20 11:00+07'").await;
    for earlier in ["'2026-11-20 10:59:59+07'", "null", "'-infinity'"] {
        db.expect_refused(
            &format!("update rekon.transactions set expires_at = {earlier}"),
            "transactions_expiry_only_later",
        )
        .await;
    }
    assert_eq!(db.text("select array_agg(seq order by seq) from rekon.order_changes").await, "{1,2}");
}

#[tokio::test]
async fn order_status_goes_its_path_and_no_other() {
    const STATUSES: [&str; 3] = ["open", "fulfilled", "cancelled"];
    const PATH: [(&str, &str); 3] = [("open", "fulfilled"), ("open", "cancelled"), ("fulfilled", "cancelled")];
    let db = TestDb::new().await;
    for from in STATUSES {
        for to in STATUSES.into_iter().filter(|to| *to != from) {
            let reference = format!("{from}-{to}");
            db.run(&format!(
                "insert into rekon.transactions (account, partner_reference_no, amount, order_status) values ('shop', '{reference}', 1, '{from}')"
            ))
            .await;
            let change = format!(
                "update rekon.transactions set order_status = '{to}' where partner_reference_no = '{reference}'"
            );
            if PATH.contains(&(from, to)) {
                db.run(&change).await;
            } else {
                db.expect_refused(&change, "transactions_order_status_path").await;
            }
        }
    }
}

#[tokio::test]
async fn each_change_is_appended_and_makes_the_row_due_now() {
    let db = TestDb::new().await;
    db.insert_payment("shop", "INV-1", "150000").await;
    // rekon has heard something (seq 1) and will ask again in an hour.
    db.run("update rekon.transactions set seq = 1, next_check_at = now() + interval '1 hour'").await;
    db.run("update rekon.transactions set order_status = 'fulfilled', reference_no = 'R-1'").await;
    assert_eq!(db.text("select (seq, next_check_at <= clock_timestamp()) from rekon.transactions").await, "(2,t)");
    db.run("update rekon.transactions set next_check_at = null").await;
    db.run("update rekon.transactions set order_status = 'cancelled', next_check_at = null").await;
    assert_eq!(db.text("select (seq, next_check_at <= clock_timestamp()) from rekon.transactions").await, "(3,t)");
    let log = db
        .text(
            "select string_agg(format('%s %s>%s %s %s', seq, status_from, status_to, detail ->> 'reference_no', at <= clock_timestamp()), '; ' order by seq)
               from rekon.order_changes",
        )
        .await;
    assert_eq!(log, "2 open>fulfilled R-1 t; 3 fulfilled>cancelled R-1 t");
}

#[tokio::test]
async fn a_refused_change_leaves_no_trace() {
    let db = TestDb::new().await;
    db.insert_payment("shop", "INV-1", "150000").await;
    db.expect_refused("update rekon.transactions set order_status = 'cancelled', amount = 1", "transactions_frozen")
        .await;
    assert_eq!(db.text("select (seq, order_status) from rekon.transactions").await, "(0,open)");
    assert_eq!(db.value::<i64>("select count(*) from rekon.order_changes").await, 0);
}

#[tokio::test]
async fn a_merchant_who_races_rekon_takes_the_next_number() {
    let db = TestDb::new().await;
    db.insert_payment("shop", "INV-1", "150000").await;
    let mut settle = db.store.begin().await.unwrap();
    sqlx::query("select 1 from rekon.transactions for update").execute(&mut *settle).await.unwrap();
    let mut merchant = db.connect().await;
    let cancel = tokio::spawn(async move {
        sqlx::query("update rekon.transactions set order_status = 'cancelled'").execute(&mut merchant).await.unwrap();
    });
    db.wait_until_blocked(1).await;
    sqlx::query("update rekon.transactions set seq = 1").execute(&mut *settle).await.unwrap();
    settle.commit().await.unwrap();
    cancel.await.unwrap();
    assert_eq!(
        db.text(
            "select (t.seq, c.seq) from rekon.transactions t join rekon.order_changes c on c.transaction_id = t.id"
        )
        .await,
        "(2,2)"
    );
}

#[tokio::test]
async fn the_log_of_changes_is_append_only() {
    let db = TestDb::new().await;
    db.insert_payment("shop", "INV-1", "150000").await;
    db.run("update rekon.transactions set order_status = 'fulfilled'").await;
    db.expect_refused("update rekon.order_changes set status_to = 'cancelled'", "order_changes_stay").await;
    db.expect_refused("delete from rekon.order_changes", "order_changes_stay").await;
    db.expect_refused("truncate rekon.order_changes", "order_changes_stay_all").await;
}

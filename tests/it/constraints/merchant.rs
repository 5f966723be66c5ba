//! The row as the merchant inserts it, and the columns he can never change.

use crate::support::TestDb;

const QR_DYNAMIC: &str = "00020101021226570011ID.CO.TEST.WWW5802ID6304ABCD";

/// A statement that inserts one row with these extra columns.
fn insert(columns: &str, values: &str) -> String {
    format!(
        "insert into rekon.transactions (account, partner_reference_no, amount, {columns}) values ('shop', 'INV-1', 150000, {values})"
    )
}

#[tokio::test]
async fn an_honest_insert_is_pending_and_due_at_once() {
    let db = TestDb::new().await;
    db.run(&insert(
        "external_id, expires_at, qr_content",
        &format!("'41807553358950093184162180797837', now() + '1 day', '{QR_DYNAMIC}'"),
    ))
    .await;
    let row = db
        .text(
            "select (state, flags, flags_open, paid_amount is null, refunded_amount, refunded_outside, checks, order_status, direction, currency,
                     next_check_at <= clock_timestamp(), seq) from rekon.transactions",
        )
        .await;
    assert_eq!(row, "(pending,{},{},t,0.00,0.00,0,open,in,IDR,t,0)");
}

#[tokio::test]
async fn rekons_columns_are_refused_on_insert() {
    let db = TestDb::new().await;
    for (column, value) in [
        ("state", "'unpaid'"),
        ("state", "'review'"),
        ("flags", "'{overpaid}'"),
        ("flags_open", "'{overpaid}'"),
        ("paid_amount", "150000"),
        ("fee_amount", "0"),
        ("refunded_amount", "1"),
        ("refunded_outside", "1"),
        ("refund_reserved", "1"),
        ("paid_at", "now()"),
        ("checks", "1"),
        ("last_checked_at", "now()"),
        ("next_check_at", "null"),
        ("next_check_at", "now() + '10 years'"),
        ("seq", "1"),
        ("closed_seq", "0"),
        ("journal_no", "1"),
        ("journal_hash", "'\\x00'"),
        ("lease_owner", "'me'"),
        ("lease_until", "'infinity'"),
        ("lease_epoch", "7"),
    ] {
        db.expect_refused(&insert(column, value), "transactions_born").await;
    }
    db.run(&insert("state, flags, next_check_at", "'pending', '{}', now()")).await;
}

#[tokio::test]
async fn amounts_are_positive_rupiah() {
    let db = TestDb::new().await;
    for amount in ["0", "-1", "0.004", "'NaN'"] {
        let sql = format!(
            "insert into rekon.transactions (account, partner_reference_no, amount) values ('shop', 'INV-1', {amount})"
        );
        db.expect_refused(&sql, "transactions_amount_is_positive").await;
    }
    db.expect_refused(&insert("currency", "'USD'"), "transactions_currency_is_rupiah").await;
    db.expect_refused(&insert("currency", "'idr'"), "transactions_currency_is_rupiah").await;
    db.expect_refused(&insert("direction", "'both'"), "transactions_direction_is_known").await;
    db.expect_refused(&insert("order_status", "'shipped'"), "transactions_order_status_is_known").await;
    db.run(&insert("currency, direction, order_status", "'IDR', 'out', 'fulfilled'")).await;
    db.insert_payment("shop", "INV-2", "0.01").await;
    db.insert_payment("shop", "INV-3", "9999999999999999.99").await;
}

#[tokio::test]
async fn references_have_1_to_64_characters() {
    let db = TestDb::new().await;
    let long = "X".repeat(65);
    let of = |reference: &str| {
        format!(
            "insert into rekon.transactions (account, partner_reference_no, amount) values ('shop', '{reference}', 1)"
        )
    };
    db.expect_refused(&of(&long), "transactions_reference_is_short").await;
    db.expect_refused(&of(""), "transactions_reference_is_short").await;
    db.expect_refused(&insert("reference_no", &format!("'{long}'")), "transactions_reference_no_is_short").await;
    db.expect_refused(&insert("reference_no", "''"), "transactions_reference_no_is_short").await;
    db.expect_refused(&insert("external_id", &format!("'{}'", &long[..37])), "transactions_external_id_is_short").await;
    db.expect_refused(
        "insert into rekon.transactions (account, partner_reference_no, amount) values ('', 'A', 1)",
        "transactions_account_is_named",
    )
    .await;
    db.run(&of(&long[..64])).await;
    db.run(&insert("reference_no, external_id", &format!("'{}', '{}'", &long[..64], &long[..36]))).await;
}

#[tokio::test]
async fn a_reference_is_unique_within_its_account() {
    let db = TestDb::new().await;
    db.insert_payment("shop", "INV-1", "150000").await;
    db.expect_refused(
        "insert into rekon.transactions (account, partner_reference_no, amount) values ('shop', 'INV-1', 150000)",
        "transactions_reference_is_unique",
    )
    .await;
    db.insert_payment("other", "INV-1", "150000").await;
}

#[tokio::test]
async fn dates_are_dates() {
    let db = TestDb::new().await;
    for never in ["'infinity'", "'-infinity'", "'10000-01-01 00:00Z'"] {
        db.expect_refused(&insert("created_at", never), "transactions_creation_is_a_date").await;
        db.expect_refused(&insert("expires_at", never), "transactions_expiry_is_a_date").await;
    }
    db.run(&insert("created_at, expires_at", "'2026-11-19 23:59:59+07', '9999-12-31 00:00Z'")).await;
}

#[tokio::test]
async fn a_static_qr_is_refused_wherever_its_tag_01_stands() {
    let db = TestDb::new().await;
    for qr in [
        "00020101021126570011ID.CO.TEST.WWW5802ID6304ABCD",
        // Tag 26, eleven characters of which look like a dynamic tag 01, comes first.
        "0002012611010212ABCDE0102115802ID6304ABCD",
    ] {
        db.expect_refused(&insert("qr_content", &format!("'{qr}'")), "transactions_qr_is_dynamic").await;
    }
    // A dynamic one with the bytes of a static tag inside a value, one without tag 01, and one that is no payload at all.
    for (n, qr) in
        ["0002010102122611010211ABCDE5802ID6304ABCD", "0002015802ID6304ABCD", "hello", "01", ""].iter().enumerate()
    {
        let sql = format!(
            "insert into rekon.transactions (account, partner_reference_no, amount, qr_content) values ('shop', 'QR-{n}', 1, '{qr}')"
        );
        db.run(&sql).await;
    }
}

#[tokio::test]
async fn what_the_payment_is_about_is_frozen() {
    let db = TestDb::new().await;
    db.insert_payment("shop", "INV-1", "150000").await;
    for change in [
        "account = 'other'",
        "partner_reference_no = 'INV-2'",
        "direction = 'out'",
        "amount = 149999.99",
        "currency = 'USD'",
        "id = default",
        "created_at = created_at - interval '1 day'",
    ] {
        db.expect_refused(&format!("update rekon.transactions set {change}"), "transactions_frozen").await;
    }
    // Writing the same value is no change, as an ORM that saves whole rows does.
    db.run("update rekon.transactions set account = account, amount = 150000.00, order_status = 'open'").await;
    assert_eq!(db.value::<i64>("select count(*) from rekon.order_changes").await, 0);
}

#[tokio::test]
async fn a_payment_is_never_deleted() {
    let db = TestDb::new().await;
    db.insert_payment("shop", "INV-1", "150000").await;
    db.expect_refused("delete from rekon.transactions", "transactions_stay").await;
    db.expect_refused("truncate rekon.transactions cascade", "transactions_stay_all").await;
    assert_eq!(db.value::<i64>("select count(*) from rekon.transactions").await, 1);
}

#[tokio::test]
async fn copy_passes_the_same_checks() {
    let db = TestDb::new().await;
    let mut connection = db.connect().await;
    let columns = "copy rekon.transactions (account, partner_reference_no, amount) from stdin (format csv)";
    let mut honest = connection.copy_in_raw(columns).await.unwrap();
    honest.send("shop,INV-1,150000.00\nshop,INV-2,1\n".as_bytes()).await.unwrap();
    assert_eq!(honest.finish().await.unwrap(), 2);
    let mut copied = connection
        .copy_in_raw("copy rekon.transactions (account, partner_reference_no, amount, state) from stdin (format csv)")
        .await
        .unwrap();
    copied.send("shop,INV-3,150000.00,unpaid\n".as_bytes()).await.unwrap();
    let refused = copied.finish().await.unwrap_err();
    assert_eq!(refused.as_database_error().and_then(|e| e.constraint()), Some("transactions_born"));
}

#[tokio::test]
async fn a_slot_of_a_job_is_run_once() {
    let db = TestDb::new().await;
    let run = "insert into rekon.runs (job, slot) values ('daily', '2026-11-20')";
    db.run(run).await;
    db.expect_refused(run, "runs_one_per_slot").await;
    db.expect_refused("update rekon.runs set state = 'lost'", "runs_state_is_known").await;
    db.run("insert into rekon.runs (job, slot) values ('daily', '2026-11-21'), ('prune', '2026-11-20')").await;
}

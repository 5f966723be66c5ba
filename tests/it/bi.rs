//! The views for business intelligence: what they add up to, and that their role reads them and nothing else.

use rekon::sim::Answer;
use sqlx::{AssertSqlSafe, Executor as _};

use crate::{
    engine::{SAFE, payment},
    support::{
        TestDb,
        shop::{SHORT_TIMES, Shop},
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn a_day_adds_up_in_wib_whatever_the_session_s_zone() {
    let shop = Shop::open(SAFE, SHORT_TIMES).await;
    // Half an hour before and after midnight in Jakarta, which is the same day in UTC.
    let late = shop
        .expect(payment("INV-1", 1_000), &[("created_at", "'2026-11-18 16:30Z'"), ("expires_at", "'2030-01-01Z'")])
        .await;
    let early = shop
        .expect(payment("INV-2", 2_500), &[("created_at", "'2026-11-18 17:30Z'"), ("expires_at", "'2030-01-01Z'")])
        .await;
    let open = shop.db.insert_payment("nobody", "INV-3", "700.00").await;
    let work = shop.work().await;
    shop.until(&Shop::end_of(late), "paid{}").await;
    shop.until(&Shop::end_of(early), "paid{}").await;
    shop.until(&Shop::end_of(open), "review{unknown_account}").await;
    work.stop().await;
    let db = &shop.db;
    for zone in ["UTC", "America/New_York"] {
        let mut session = db.connect().await;
        session.execute(AssertSqlSafe(format!("set timezone = '{zone}'"))).await.expect("a zone");
        let days: Vec<String> = sqlx::query_scalar(
            "select concat_ws(' ', day, expected_rows, expected_amount, open_rows) from rekon.bi_days where account = 'doku-main' and expected_rows > 0 order by day",
        )
        .fetch_all(&mut session)
        .await
        .expect("the view answers");
        assert_eq!(days, ["2026-11-18 1 1000.00 0", "2026-11-19 1 2500.00 0"], "{zone}");
    }
    let total = |column: &str| format!("select sum({column}) from rekon.bi_days");
    assert_eq!(db.text(&total("paid_amount")).await, "3500.00");
    assert_eq!(db.text(&total("expected_rows")).await, "3");
    assert_eq!(db.text(&total("exception_rows")).await, "1");
    assert_eq!(db.text("select sum(kept_amount) from rekon.bi_transactions").await, "3500.00");
    assert_eq!(db.text("select pg_typeof(amount) from rekon.bi_transactions limit 1").await, "numeric");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_in_dollars_is_added_to_no_rupiah() {
    let shop = Shop::open(SAFE, SHORT_TIMES).await;
    let dollars = vec![Answer { currency: "USD".to_owned(), ..Answer::paid() }];
    let foreign = shop.expect(payment("INV-1", 1_000).answering(dollars), &[]).await;
    let ours = shop.expect(payment("INV-2", 2_500), &[]).await;
    let work = shop.work().await;
    shop.until(&Shop::end_of(foreign), "held{currency}").await;
    shop.until(&Shop::end_of(ours), "paid{}").await;
    work.stop().await;
    // The table says what the provider named.
    assert_eq!(
        shop.db.text("select paid_amount from rekon.transactions where partner_reference_no = 'INV-1'").await,
        "1000.00"
    );
    let row = "select concat_ws(' ', coalesce(paid_amount::text, '-'), kept_amount, is_foreign) from rekon.bi_transactions where partner_reference_no = 'INV-1'";
    assert_eq!(shop.db.text(row).await, "- 0 t");
    let day = "select concat_ws(' ', sum(expected_rows), sum(exception_rows), sum(paid_rows), sum(paid_amount), sum(foreign_rows)) from rekon.bi_days";
    assert_eq!(shop.db.text(day).await, "2 1 1 2500.00 1");
}

#[tokio::test]
async fn every_column_says_what_it_is_and_none_is_about_a_person() {
    let db = TestDb::new().await;
    let silent = "select string_agg(attrelid::regclass || '.' || attname, ' ') from pg_attribute
                   where attrelid in ('rekon.bi_transactions'::regclass, 'rekon.bi_days'::regclass) and attnum > 0 and col_description(attrelid, attnum) is null";
    assert_eq!(db.text(silent).await, "-");
    // Reports are built on these names: a change of this list is a break.
    let columns = |view: &str| {
        format!(
            "select string_agg(attname, ' ' order by attnum) from pg_attribute where attrelid = 'rekon.{view}'::regclass and attnum > 0"
        )
    };
    assert_eq!(
        db.text(&columns("bi_transactions")).await,
        "account partner_reference_no direction currency amount order_status state flags paid_amount fee_amount refunded_amount refunded_outside \
         kept_amount is_exception created_at created_day expires_at paid_at paid_day checks last_checked_at is_foreign"
    );
    assert_eq!(
        db.text(&columns("bi_days")).await,
        "day account direction expected_rows expected_amount open_rows exception_rows paid_rows paid_amount fee_amount returned_amount foreign_rows"
    );
}

#[tokio::test]
async fn the_reader_reads_the_views_and_nothing_else() {
    let db = TestDb::new().await;
    let mut tx = db.store.begin().await.expect("a transaction");
    tx.execute("set local role rekon_reader").await.expect("the role is there");
    tx.execute("select * from rekon.bi_transactions; select * from rekon.bi_days").await.expect("it reads");
    tx.rollback().await.expect("it rolls back");
    let more = "select string_agg(relname, ' ' order by relname) from pg_class where relnamespace = 'rekon'::regnamespace and relkind in ('r', 'v', 'S')
                  and case when relkind = 'S' then has_sequence_privilege('rekon_reader', oid, 'usage, select, update')
                           else has_table_privilege('rekon_reader', oid, 'select, insert, update, delete, truncate, references, trigger')
                             or has_any_column_privilege('rekon_reader', oid, 'select, insert, update, references') end";
    assert_eq!(db.text(more).await, "bi_days bi_transactions");
    let writes = "select string_agg(relname, ' ') from pg_class where relnamespace = 'rekon'::regnamespace and relkind in ('r', 'v')
                    and has_table_privilege('rekon_reader', oid, 'insert, update, delete, truncate')";
    assert_eq!(db.text(writes).await, "-");
}

//! A brake that is let go of: every row that it held up is looked at again, whoever holds rows in the meantime and whoever dies; and
//! no other row.

use std::time::Duration;

use rekon::{
    domain::{
        person::{Actor, PersonKind, Role, Scope},
        switch::Level,
    },
    engine::{Ctx, Engine, control, released},
    jobs::house::House,
    sim::{Answer, SimPayment},
    store::{
        limits::CallClass,
        released::{Released, Walk},
    },
    telemetry::heartbeat::Heartbeats,
};
use sqlx::Executor as _;
use tokio_util::sync::CancellationToken;

use crate::{
    engine::{SAFE, payment},
    support::{
        TestDb,
        shop::{ACCOUNT, SHORT_TIMES, Shop, Working},
    },
};

fn checker(name: &str) -> Actor {
    Actor {
        name: name.to_owned(),
        kind: PersonKind::Person,
        roles: [Role::Checker].into(),
        scopes: [Scope::SwitchesWrite].into(),
        token_id: 0,
    }
}

async fn turn(ctx: &Ctx, by: &str, level: Level) -> bool {
    let turned = control::turn(&ctx.store, &ctx.rulebook, &checker(by), (ACCOUNT, level), "so").await;
    turned.expect("the switch is turned").1.effective
}

async fn overpaid(shop: &Shop, reference: &str) -> i64 {
    let more = payment(reference, 150_000).answering([Answer::paid_amount(17_000_000)]);
    shop.expect(SimPayment { taken_sen: Some(17_000_000), ..more }, &[]).await
}

/// A shop at work whose three overpaid payments have told of themselves under a switch that lets nothing leave.
async fn held_up() -> (Shop, Working, Vec<i64>) {
    let shop = Shop::open(SAFE, SHORT_TIMES).await;
    shop.db.people().await;
    let work = shop.work().await;
    assert!(turn(&work.ctx, "sari", Level::Post).await, "one person lowers");
    let mut ids = Vec::new();
    for n in 1..=3 {
        ids.push(overpaid(&shop, &format!("INV-{n}")).await);
    }
    let quiet = "select count(*) from rekon.transactions where flags_open = '{overpaid}' and next_check_at > now() + interval '1 hour'";
    shop.until(quiet, "3").await;
    (shop, work, ids)
}

const RETURNED: &str = "select string_agg(transaction_id::text, ',' order by transaction_id) from rekon.refund_saga where state = 'confirmed'";

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_merchant_holds_keeps_no_other_from_waking_and_wakes_when_he_lets_go() {
    let (shop, work, ids) = held_up().await;
    let mut merchant = shop.db.store.begin().await.expect("a transaction");
    let holds = format!("select 1 from rekon.transactions where id = {} for update", ids[1]);
    merchant.execute(sqlx::AssertSqlSafe(holds)).await.expect("it is there");
    assert!(!turn(&work.ctx, "sari", Level::Auto).await, "one person raises nothing");
    assert!(turn(&work.ctx, "joko", Level::Auto).await);
    shop.until(RETURNED, &format!("{},{}", ids[0], ids[2])).await;
    merchant.commit().await.expect("he lets go");
    shop.until(RETURNED, &format!("{},{},{}", ids[0], ids[1], ids[2])).await;
    shop.until("select count(*) from rekon.released", "0").await;
    work.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_after_the_switch_was_raised_leaves_the_waking_to_the_next_one() {
    let (shop, work, ids) = held_up().await;
    let ctx = std::sync::Arc::clone(&work.ctx);
    work.stop().await;
    turn(&ctx, "sari", Level::Auto).await;
    assert!(turn(&ctx, "joko", Level::Auto).await);
    assert_eq!(shop.db.text("select string_agg(account || what, ' ') from rekon.released").await, "doku-mainrefunds");
    let again = shop.work().await;
    shop.until(RETURNED, &format!("{},{},{}", ids[0], ids[1], ids[2])).await;
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refunds_that_two_people_re_arm_are_due_before_a_run_that_is_all_there_is_asks() {
    let shop = Shop::open(SAFE, SHORT_TIMES).await;
    shop.db.people().await;
    let work = shop.work().await;
    shop.db.run(&format!("insert into rekon.account_controls (account, breaker_opened_at, breaker_reason) values ('{ACCOUNT}', now(), 'so')")).await;
    let id = overpaid(&shop, "INV-1").await;
    shop.until("select state from rekon.refund_saga", "proposed").await;
    let ctx = std::sync::Arc::clone(&work.ctx);
    work.stop().await;
    shop.db.run("update rekon.transactions set next_check_at = null").await;
    for by in ["sari", "joko"] {
        control::rearm(&ctx.store, &ctx.rulebook, &checker(by), ACCOUNT, "so").await.expect("he may");
    }
    // What a reconciliation does before it asks, and nothing else.
    let run =
        Engine::start(shop.db.another_store().await, &shop.config(), CallClass::Adhoc, &[], Heartbeats::new()).await;
    let run = run.expect("the engine starts");
    drop(House::open(&run.ctx).await);
    assert_eq!(shop.db.text("select count(*) from rekon.released").await, "0");
    assert_eq!(shop.db.text("select next_check_at <= clock_timestamp() from rekon.transactions").await, "true");
    run.finish().await.expect("the engine ends in order");
    let next = shop.work().await;
    shop.until(RETURNED, &id.to_string()).await;
    next.stop().await;
}

/// Paid rows of several kinds, none of them due.
const ROWS: &str = "insert into rekon.transactions (account, partner_reference_no, amount, direction) values
      ('shop', 'MORE', 1, 'in'), ('shop', 'BLOCKED', 1, 'in'), ('shop', 'SKEWED', 1, 'in'), ('shop', 'CLEAN', 1, 'in'),
      ('other', 'MORE', 1, 'in'), ('shop', 'OUT', 1, 'out'), ('shop', 'LEASED', 1, 'in'), ('shop', 'LATER', 1, 'in');
    update rekon.transactions set state = 'paid', paid_amount = 1, next_check_at = null, last_checked_at = now() - interval '1 day',
      flags_open = case partner_reference_no when 'BLOCKED' then array['refund_blocked'] when 'SKEWED' then array['time_skew']
                     when 'CLEAN' then '{}' when 'LEASED' then '{}' else array['overpaid'] end,
      lease_until = case partner_reference_no when 'LEASED' then now() + interval '1 hour' end;
    update rekon.transactions set next_check_at = now() + interval '1 hour' where partner_reference_no = 'LATER';";

const DUE: &str = "select coalesce(string_agg(account || partner_reference_no, ' ' order by id), '') from rekon.transactions where next_check_at <= clock_timestamp()";

async fn carry_on(db: &TestDb) {
    released::carry_on(&db.store, &CancellationToken::new()).await.expect("the database answers");
}

#[tokio::test]
async fn letting_go_wakes_what_it_can_change_and_nothing_else() {
    let db = TestDb::new().await;
    db.run(ROWS).await;
    db.run("insert into rekon.released (account, what) values ('shop', 'refunds')").await;
    carry_on(&db).await;
    assert_eq!(db.text(DUE).await, "shopMORE shopBLOCKED shopLEASED shopLATER");
    assert_eq!(db.text("select count(*) from rekon.released").await, "0");

    let db = TestDb::new().await;
    db.run(ROWS).await;
    db.run("update rekon.transactions set last_checked_at = now() where partner_reference_no in ('CLEAN', 'OUT') or account = 'other'").await;
    db.run("insert into rekon.released (account, what, since) values ('*', 'postings', now() - interval '10 minutes')")
        .await;
    carry_on(&db).await;
    assert_eq!(db.text(DUE).await, "shopCLEAN otherMORE shopLEASED");
}

#[tokio::test]
async fn the_walk_goes_on_where_a_step_failed_and_comes_back_for_what_was_held() {
    let db = TestDb::new().await;
    db.run(
        "insert into rekon.transactions (account, partner_reference_no, amount) select 'shop', 'INV' || n, 1 from generate_series(1, 50) n;
         update rekon.transactions set state = 'paid', paid_amount = 1, next_check_at = null, flags_open = '{overpaid}';
         insert into rekon.released (account, what) values ('*', 'refunds')",
    )
    .await;
    let due = "select count(*) from rekon.transactions where next_check_at is not null";
    let place = "select behind_id || ' ' || held::text from rekon.released";
    let brake = Released { account: "*".to_owned(), what: "refunds".to_owned() };
    let step = async || db.store.walk(&brake, &["overpaid"], 10).await;
    let mut merchant = db.store.begin().await.expect("a transaction");
    merchant.execute("select 1 from rekon.transactions where id = 7 for update").await.expect("it is there");
    assert_eq!(step().await.expect("it steps"), Walk::On);
    assert_eq!((db.text(due).await, db.text(place).await), ("9".to_owned(), "10 {7}".to_owned()));
    // In the middle of the second step: what dies has done nothing, and the record stands as it was.
    db.run("create function rekon.dies() returns trigger language plpgsql as $$ begin raise exception 'it dies here'; end $$;
            create trigger dies before update on rekon.transactions for each row when (old.id = 15) execute function rekon.dies()").await;
    step().await.expect_err("it dies");
    assert_eq!((db.text(due).await, db.text(place).await), ("9".to_owned(), "10 {7}".to_owned()));
    db.run("create or replace function rekon.dies() returns trigger language plpgsql as $$ begin return new; end $$")
        .await;
    // Somebody else's step is not waited for.
    let mut other = db.store.begin().await.expect("a transaction");
    other.execute("select 1 from rekon.released for update").await.expect("it is there");
    assert_eq!(step().await.expect("it looks"), Walk::Taken);
    other.rollback().await.expect("it lets go");
    tokio::time::timeout(Duration::from_mins(1), carry_on(&db)).await.expect("no row is waited for");
    assert_eq!(
        (db.text(due).await, db.text("select held from rekon.released").await),
        ("49".to_owned(), "{7}".to_owned())
    );
    assert_eq!(step().await.expect("it looks"), Walk::Waits);
    merchant.commit().await.expect("he lets go");
    assert_eq!(step().await.expect("it steps"), Walk::Over);
    assert_eq!(
        (db.text(due).await, db.text("select count(*) from rekon.released").await),
        ("50".to_owned(), "0".to_owned())
    );
}

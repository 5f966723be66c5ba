//! The two roles with the least rights: rekon's own does a whole day and cannot rewrite what was said; the merchant's says what he
//! expects, changes what he may, and reads.

use std::time::Duration;

use rekon::{
    engine::{upkeep, verify},
    sim::{Answer, SimPayment},
    store::Store,
};
use sqlx::{AssertSqlSafe, Executor as _};

use crate::support::{
    TestDb, connect_options,
    process::Daemon,
    shop::{SHORT_TIMES, Shop},
};

/// Connections of this role, for whoever takes a URL.
fn as_role(url: &str, role: &str) -> String {
    let mark = if url.contains('?') { '&' } else { '?' };
    format!("{url}{mark}options[role]={role}")
}

/// What the database says to this role's statement; rolled back.
async fn try_as(db: &TestDb, role: &str, sql: &str) -> Result<(), String> {
    let mut tx = db.store.begin().await.expect("a transaction");
    tx.execute(AssertSqlSafe(format!("set local role {role}"))).await.expect("the role is there");
    let said = tx.execute(AssertSqlSafe(sql.to_owned())).await;
    said.map(drop).map_err(|error| {
        let code =
            error.as_database_error().and_then(sqlx::error::DatabaseError::code).unwrap_or_default().into_owned();
        format!("{code} {error}")
    })
}

#[track_caller]
fn assert_denied(said: &Result<(), String>, what: &str) {
    // 42501: insufficient_privilege. Not a trigger's refusal: the right itself is missing.
    assert!(said.as_ref().is_err_and(|error| error.starts_with("42501")), "{what}: {said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_day_runs_as_rekon_app() {
    let account = "rate = { per_second = 1000, burst = 100, concurrency = 8 }\n[accounts.doku-main.ladder]\ndefault = [\"1s\"]\n\
        [accounts.doku-main.profile]\nrefund_repeat = \"safe\"\n";
    let shop = Shop::open(account, SHORT_TIMES).await;
    shop.db.people().await;
    let payment = |reference: &str| SimPayment {
        reference_no: format!("R-{reference}"),
        ..SimPayment::exact(reference, 5_000_000)
    };
    let exact = shop.expect(payment("EXACT"), &[]).await;
    let more = payment("MORE").answering([Answer::paid_amount(5_700_000)]);
    let more = shop.expect(SimPayment { taken_sen: Some(5_700_000), ..more }, &[]).await;
    let less = shop.expect(payment("LESS").answering([Answer::paid_amount(4_000_000)]), &[]).await;
    let mut env = shop.env();
    env.insert("DATABASE_URL".to_owned(), as_role(&shop.db.url, "rekon_app"));
    let mut daemon = Daemon::spawn(&shop.config_text, &env);
    shop.until(&Shop::end_of(exact), "paid{}").await;
    shop.until(&format!("select refunded_amount from rekon.transactions where id = {more}"), "7000.00").await;
    shop.until(&format!("select state from rekon.transactions where id = {less}"), "held").await;
    shop.until("select passed_at is not null from rekon.sentinel", "true").await;
    let shown = daemon.wait_for_status("/metrics", 200).await;
    assert!(shown.contains("rekon_database_up 1") && shown.contains("rekon_open_rows"), "{shown}");
    let ended = daemon.terminate().await;
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(!ended.said.contains("permission denied"), "{}", ended.said);
    // What the calendar does, and a person with the same rights.
    let store = Store::connect(&connect_options(&as_role(&shop.db.url, "rekon_app"))).await.expect("it connects");
    let work = shop.work_on(store.clone()).await.expect("the engine starts");
    for job in ["seal", "prune"] {
        let queued = format!(
            "insert into rekon.runs (job, slot, params, state) values ('{job}', now()::text, '{{\"day\": \"2026-01-01\"}}', 'queued') returning id"
        );
        let id = shop.db.value::<i64>(&queued).await;
        let run = store.take_run(id, Duration::from_mins(1)).await.expect("it is taken").expect("it was queued");
        let done =
            if job == "seal" { upkeep::seal(&work.ctx, &run).await } else { upkeep::prune(&work.ctx, &run).await };
        assert!(done.is_ok(), "{job}: {done:?}");
    }
    work.stop().await;
    let reconciled = Daemon::command("reconcile", &shop.config_text, &env).end().await;
    assert_eq!(reconciled.code, Some(3), "one payment waits for a person: {}", reconciled.said);
    let proof = verify::verify(&store, |_| {}).await.expect("the ledger can be read");
    assert_eq!((proof.broken, proof.rows), (0, 3));
}

/// What is only ever added to, and by whom.
const ADDED_TO: &[&str] = &[
    "facts",
    "journal",
    "postings",
    "seals",
    "sealed",
    "terms",
    "switches",
    "rearms",
    "resolutions",
    "assignments",
    "pauses",
];
const WRITTEN_BY_TRIGGERS: &[&str] = &["order_changes", "people_history"];

#[tokio::test]
async fn rekon_app_rewrites_nothing_that_was_said() {
    let db = TestDb::new().await;
    for table in ADDED_TO.iter().chain(WRITTEN_BY_TRIGGERS) {
        let column = db
            .text(&format!(
                "select attname from pg_attribute where attrelid = 'rekon.{table}'::regclass and attnum = 2"
            ))
            .await;
        for sql in [
            format!("update rekon.{table} set {column} = {column}"),
            format!("delete from rekon.{table}"),
            format!("truncate rekon.{table}"),
            format!("alter table rekon.{table} disable trigger all"),
        ] {
            assert_denied(&try_as(&db, "rekon_app", &sql).await, &sql);
        }
    }
    for table in WRITTEN_BY_TRIGGERS {
        let sql = format!("insert into rekon.{table} default values");
        assert_denied(&try_as(&db, "rekon_app", &sql).await, &sql);
    }
    for sql in [
        "delete from rekon.transactions",
        "delete from rekon.refund_saga",
        "drop table rekon.facts",
        "create table rekon.mine ()",
        "update rekon._migrations set success = false",
        "create or replace function rekon.ceiling(p_account text) returns text language sql as 'select ''auto'''",
    ] {
        assert_denied(&try_as(&db, "rekon_app", sql).await, sql);
    }
}

#[tokio::test]
async fn every_table_is_granted_to_rekon_app_on_purpose() {
    let db = TestDb::new().await;
    let rights = |right: &str| {
        format!(
            "select coalesce(string_agg(relname, ' ' order by relname), '') from pg_class where relnamespace = 'rekon'::regnamespace and relkind = 'r'
               and relname <> '_migrations' and not has_table_privilege('rekon_app', oid, '{right}')"
        )
    };
    assert_eq!(db.text(&rights("select")).await, "");
    let jobs = "select count(*) filter (where not has_table_privilege('rekon_app', oid, 'select, insert, update, delete')), count(*) > 0
                  from pg_class where relnamespace = 'apalis'::regnamespace and relkind = 'r'";
    assert_eq!(db.text(&format!("select row(a.*) from ({jobs}) a")).await, "(0,t)", "the job runtime's tables");
    // A new table is forgotten here until `rekon.grant_roles` knows it. The sentinel is one row for ever.
    assert_eq!(db.text(&rights("insert")).await, "order_changes people_history seal_turn sentinel");
    let unchanged = db.text(&rights("update")).await;
    let mut expected: Vec<&str> = ADDED_TO.iter().chain(WRITTEN_BY_TRIGGERS).copied().collect();
    expected.sort_unstable();
    assert_eq!(unchanged, expected.join(" "));
}

#[tokio::test]
async fn the_merchant_says_what_he_expects_and_reads_what_became_of_it() {
    let db = TestDb::new().await;
    let expect = "insert into rekon.transactions (account, partner_reference_no, amount, expires_at) values ('shop', 'INV-1', 5000, now())";
    let mut tx = db.store.begin().await.unwrap();
    tx.execute("set local role rekon_merchant").await.unwrap();
    tx.execute(expect).await.expect("he expects a payment");
    tx.execute("insert into rekon.transactions (account, partner_reference_no, amount) values ('shop', 'INV-1', 5000) on conflict do nothing").await.unwrap();
    tx.execute("update rekon.transactions set order_status = 'fulfilled', reference_no = 'R-1' where partner_reference_no = 'INV-1'").await.unwrap();
    tx.execute("select state, flags, paid_amount from rekon.transactions; select * from rekon.refunds; select * from rekon.suspense").await.unwrap();
    tx.commit().await.unwrap();
    // His change is in the log that he himself cannot write.
    assert_eq!(db.text("select status_to from rekon.order_changes").await, "fulfilled");
    for sql in [
        "update rekon.transactions set state = 'paid', paid_amount = 5000",
        "update rekon.transactions set next_check_at = null",
        "update rekon.transactions set amount = 1",
        "insert into rekon.transactions (account, partner_reference_no, amount, state) values ('shop', 'INV-2', 5000, 'paid')",
        "delete from rekon.transactions",
        "truncate rekon.transactions",
        "insert into rekon.order_changes (transaction_id, seq, status_from, status_to, detail) values (1, 9, 'open', 'cancelled', '{}')",
        "select * from rekon.facts",
        "select * from rekon.people",
        "select * from rekon.tokens",
        "select * from rekon.webhooks",
        "select * from rekon.webhook_endpoints",
        "insert into rekon.refund_saga (transaction_id) values (1)",
        "insert into rekon.switches (account, level, made_by, reason) values ('shop', 'auto', 'agus', 'so')",
    ] {
        assert_denied(&try_as(&db, "rekon_merchant", sql).await, sql);
    }
}

#[tokio::test]
async fn a_migrator_who_may_not_make_roles_leaves_them_out() {
    let db = TestDb::new().await;
    // The migration's own block, as somebody without CREATEROLE, for a role that nobody has.
    let migration = include_str!("../../migrations/0016_roles.sql");
    let block = migration.split("do $$").nth(1).and_then(|rest| rest.split("end $$;").next()).expect("the block");
    let block = format!("do $${}end $$", block.replace("'rekon_app', 'rekon_merchant'", "'rekon_nobody_has_it'"));
    assert_eq!(try_as(&db, "rekon_app", &block).await, Ok(()));
    assert_eq!(db.text("select count(*) from pg_roles where rolname = 'rekon_nobody_has_it'").await, "0");
}

//! What keeps the house: who has a run, the seal over many chains, what is forgotten and what is not, rows of unknown
//! accounts, leases that go back, a lock that somebody holds.

use std::time::{Duration, Instant};

use rekon::{
    engine::{
        EngineError,
        reconcile::{self, Days, End, Request},
    },
    store::{
        ConnectOptions, Store,
        runs::Progress,
        settle::{self, Batch, RawAnswer},
        slots::{self, Patience},
    },
};
use sqlx::Connection as _;

use crate::{
    sql::statement,
    support::{TestDb, connect_options, shop::Shop},
};

const MINUTE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);
const QUEUED: &str = "insert into rekon.runs (job, slot, state) values ('seal', 'a', 'queued') returning id";

#[tokio::test]
async fn a_run_has_one_worker_and_one_that_was_silent_loses_it() {
    let db = TestDb::new().await;
    let id: i64 = db.value(&format!("with n as ({QUEUED}) select id from n")).await;
    let take = async || db.store.take_run(id, MINUTE).await.unwrap().map(|run| run.attempt);
    assert_eq!(take().await, Some(1));
    assert_eq!(take().await, None, "somebody has it");
    assert!(db.store.beat_taken(id, 1).await.unwrap());
    db.run("update rekon.runs set heartbeat_at = now() - interval '2 minutes'").await;
    assert_eq!(take().await, Some(2), "its worker was silent");
    assert!(!db.store.beat_taken(id, 1).await.unwrap(), "the first worker has lost it");
    let nothing = serde_json::json!({});
    assert_eq!(db.store.give_back_run(id, 1, 20, &nothing).await.unwrap(), None);
    assert_eq!(db.store.give_back_run(id, 2, 20, &nothing).await.unwrap(), Some(false));
    assert_eq!(db.text("select state from rekon.runs").await, "queued");
    db.run("update rekon.runs set state = 'done'").await;
    assert_eq!(take().await, None, "it has ended");
}

#[tokio::test]
async fn a_run_that_was_begun_anew_is_not_ended_by_the_worker_that_lost_it() {
    let db = TestDb::new().await;
    let id: i64 = db.value(&format!("with n as ({QUEUED}) select id from n")).await;
    let (first, report) = (db.store.take_run(id, MINUTE).await.unwrap().unwrap(), serde_json::json!({ "sealed": 1 }));
    db.run("update rekon.runs set heartbeat_at = now() - interval '2 minutes'").await;
    let second = db.store.take_run(id, MINUTE).await.unwrap().unwrap();
    // The first one was slow, not dead: it comes back and says that it is done.
    assert!(!db.store.finish_run(id, first.attempt, "done", &report).await.unwrap());
    assert_eq!(db.text("select (state, finished_at, report) from rekon.runs").await, "(running,,)");
    assert!(db.store.finish_run(id, second.attempt, "incomplete", &report).await.unwrap());
    assert!(!db.store.finish_run(id, second.attempt, "done", &report).await.unwrap(), "what has ended has ended");
    assert_eq!(db.text("select (state, report) from rekon.runs").await, r#"(incomplete,"{""sealed"": 1}")"#);
}

/// The same for a reconciliation that a person started: taking it up is a new attempt.
#[tokio::test]
async fn a_reconciliation_that_was_taken_up_is_lost_to_the_process_that_began_it() {
    let shop = Shop::open("", "").await;
    let (begun, later) = (shop.work().await, shop.work().await);
    let request = Request {
        days: Days::YesterdayAndUnsettled,
        accounts: Vec::new(),
        fresh: DAY,
        requested_by: "test".to_owned(),
    };
    let run = reconcile::begin(&begun.ctx, &request).await.unwrap();
    assert!(matches!(reconcile::begin(&later.ctx, &request).await, Err(EngineError::Busy(_))));
    shop.db.run("update rekon.runs set heartbeat_at = now() - interval '2 minutes'").await;
    let taken_up = reconcile::begin(&later.ctx, &request).await.unwrap();
    assert_eq!((taken_up.id, taken_up.attempt), (run.id, run.attempt + 1));
    let deadline = begun.ctx.clock.now() + DAY;
    let followed = reconcile::follow(&begun.ctx, &run, deadline, |_| {}).await;
    assert!(matches!(followed, Err(EngineError::RunLost(id)) if id == run.id), "{followed:?}");
    let finished = reconcile::finish(&begun.ctx, &run, End::Complete, &Progress::default()).await;
    assert!(matches!(finished, Err(EngineError::RunLost(_))), "{finished:?}");
    assert_eq!(shop.db.text("select state from rekon.runs").await, "running");
    let (end, progress) = reconcile::follow(&later.ctx, &taken_up, deadline, |_| {}).await.unwrap();
    reconcile::finish(&later.ctx, &taken_up, end, &progress).await.unwrap();
    assert_eq!(shop.db.text("select state from rekon.runs").await, "done");
    begun.stop().await;
    later.stop().await;
}

#[tokio::test]
async fn a_lost_run_is_found_by_one_replica_and_left_alone_until_it_is_lost_again() {
    let db = TestDb::new().await;
    let id: i64 = db.value(&format!("with n as ({QUEUED}) select id from n")).await;
    let patience = Patience { queued: MINUTE, running: MINUTE, attempts_max: 3 };
    let mut found = Vec::new();
    for age in ["0", "2 minutes", "0"] {
        db.run(&format!("update rekon.runs set heartbeat_at = heartbeat_at - interval '{age}'")).await;
        let mut tx = db.store.begin().await.unwrap();
        let lost = slots::find_lost(&mut tx, &["seal"], patience).await.unwrap();
        tx.commit().await.unwrap();
        found.push(lost.iter().map(|run| run.id).collect::<Vec<_>>());
    }
    assert_eq!(found, [vec![], vec![id], vec![]]);
}

const SEALED_WHOLE: &str = "select s.chains || ' ' || (s.head = sha256(s.prev_head || int4send(s.no) || convert_to(s.day::text, 'UTF8')
           || coalesce((select string_agg(int8send(transaction_id) || int4send(entry_no) || hash, ''::bytea order by transaction_id)
                from rekon.sealed where seal_no = s.no), '')))
    from rekon.seals s order by no desc limit 1";

#[tokio::test]
async fn a_seal_covers_every_chain_that_has_moved_since_the_one_before() {
    let db = TestDb::new().await;
    db.run(
        "begin;
         set local session_replication_role = replica;
         insert into rekon.transactions (account, partner_reference_no, amount, journal_no, journal_hash)
         select 'shop', 'INV' || n, 1, least(n % 3, 1), case when n % 3 > 0 then sha256(n::text::bytea) end from generate_series(1, 20000) n;
         insert into rekon.journal (transaction_id, entry_no, at, upto_seq, kind, state, content, prev_hash, hash)
         select id, 1, now(), 1, 'decision', 'paid', '{}', journal_hash, journal_hash from rekon.transactions where journal_no > 0;
         commit",
    )
    .await;
    let seal = async |day: &str| db.store.seal(day.parse().unwrap()).await.unwrap();
    assert!(seal("2026-11-19").await);
    assert!(!seal("2026-11-19").await, "a second seal of the day is none");
    assert_eq!(db.text(SEALED_WHOLE).await, "13334 true");
    db.run(
        "insert into rekon.journal (transaction_id, entry_no, at, upto_seq, kind, state, content, prev_hash, hash)
         select id, 2, now(), 1, 'decision', 'paid', '{}', journal_hash, sha256(journal_hash) from rekon.transactions where id in (1, 19999);
         update rekon.transactions set journal_no = 2, journal_hash = sha256(journal_hash) where id in (1, 19999)",
    )
    .await;
    assert!(seal("2026-11-21").await);
    assert_eq!(db.text(SEALED_WHOLE).await, "2 true");
    assert!(seal("2026-11-20").await, "a day that is caught up");
    assert_eq!(db.text(SEALED_WHOLE).await, "0 true", "a quiet day is sealed as well");
}

#[tokio::test]
async fn a_body_is_as_young_as_the_newest_fact_that_names_it() {
    let db = TestDb::new().await;
    db.run(
        "insert into rekon.raw_answers (hash, body, first_at, last_at)
         select sha256(b), b, now() - interval '500 days', now() - interval '500 days' from unnest(array['again', 'old']::bytea[]) b",
    )
    .await;
    let again =
        RawAnswer { hash: db.value("select sha256('again')").await, body: std::sync::Arc::new(b"again".to_vec()) };
    let mut tx = db.store.begin().await.unwrap();
    settle::write(&mut tx, &Batch { raws: vec![again], ..Batch::default() }).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(db.store.prune_bodies(400 * DAY, 100).await.unwrap(), 1);
    assert_eq!(db.text("select convert_from(body, 'UTF8') from rekon.raw_answers").await, "again");
}

#[tokio::test]
async fn what_never_ended_is_forgotten_like_what_did() {
    let db = TestDb::new().await;
    let paid = db.insert_payment("shop", "INV", "1.00").await;
    db.run(&format!(
        "insert into rekon.runs (job, slot, state, heartbeat_at, finished_at)
         select 'daily', s || f, s, now() - f, case when s = 'done' then now() - f end
           from unnest(array['queued', 'running', 'done']) s, unnest(array[interval '1 day', interval '500 days']) f;
         insert into rekon.run_items (run_id, transaction_id, must_ask) select id, {paid}, true from rekon.runs;
         insert into apalis.jobs (job, id, job_type, status, attempts, max_attempts, run_at, done_at)
         select '', s || a || d, 'rekon-commands', s, a, 3, now() - d, now() - d
           from unnest(array['Done', 'Killed', 'Failed']) s, unnest(array[1, 3]) a, unnest(array[interval '1 hour', interval '9 days']) d"
    ))
    .await;
    let deleted = (
        db.store.prune_items(400 * DAY, 100).await.unwrap(),
        db.store.prune_runs(400 * DAY, 100).await.unwrap(),
        db.store.prune_stale_runs(400 * DAY, 100).await.unwrap(),
        db.store.prune_commands(7 * DAY, 100).await.unwrap(),
    );
    assert_eq!(deleted, (3, 1, 2, 5));
    assert_eq!(db.text("select count(*) from rekon.run_items").await, "3");
    // A failed one that may be tried again stays, however old.
    assert_eq!(db.text("select count(*) from apalis.jobs where status = 'Failed' and attempts = 1").await, "2");
}

#[tokio::test]
async fn strays_are_looked_for_without_a_look_at_every_due_row() {
    let db = TestDb::new().await;
    db.run(
        "insert into rekon.transactions (account, partner_reference_no, amount)
         select a, 'INV' || n, 1 from generate_series(1, 20000) n, unnest(array['known-1', 'known-2']) a;
         insert into rekon.transactions (account, partner_reference_no, amount)
         select 'known-1', 'PAID' || n, 1 from generate_series(1, 20000) n;
         update rekon.transactions set next_check_at = null where partner_reference_no like 'PAID%';
         insert into rekon.transactions (account, partner_reference_no, amount) values ('stray', 'INV', 1);
         analyze rekon.transactions",
    )
    .await;
    let known = vec!["known-1".to_owned(), "known-2".to_owned()];
    assert_eq!(db.store.claim_strays(&known, 10, "me", MINUTE).await.unwrap().len(), 1);
    let sql = statement("store::leases::strays");
    let values = [("$1", "array['known-1', 'known-2']"), ("$2", "10"), ("$3", "'me'"), ("$4", "interval '1 minute'")];
    let sql = values.iter().fold(sql, |sql, (parameter, value)| sql.replace(parameter, value));
    let explained = format!("explain (analyze, buffers, format json) {sql}");
    let plan: serde_json::Value = db.value(&explained).await;
    let blocks = |kind: &str| plan[0]["Plan"][kind].as_i64().expect("it is counted");
    let touched = blocks("Shared Hit Blocks") + blocks("Shared Read Blocks");
    println!("{touched} blocks for 40,001 due rows");
    assert!(touched < 40, "{touched} blocks were read: {plan:#}");
}

#[tokio::test]
async fn a_process_that_ends_gives_back_its_leases_on_rows_and_on_refunds() {
    let db = TestDb::new().await;
    let paid = db.insert_paid("INV", "10.00").await;
    db.run(&format!(
        "insert into rekon.refund_saga (transaction_id, cause, amount, proposed_by, content_hash) values ({paid}, 'overpaid', 1, 'policy', 'x')"
    ))
    .await;
    assert_eq!(db.store.claim_due("shop", 10, "me", MINUTE).await.unwrap().rows.len(), 1);
    assert_eq!(db.store.claim_refunds("shop", 10, "me", MINUTE).await.unwrap().len(), 1);
    assert_eq!(db.store.release("somebody else").await.unwrap(), 0);
    assert_eq!(db.store.release("me").await.unwrap(), 2);
    let left = "select (select count(*) from rekon.transactions where lease_until is not null)
        + (select count(*) from rekon.refund_saga where lease_until is not null)";
    assert_eq!(db.text(left).await, "0");
}

#[tokio::test]
async fn leases_are_given_back_without_a_look_at_every_row() {
    let db = TestDb::new().await;
    db.run(
        "insert into rekon.transactions (account, partner_reference_no, amount, next_check_at)
         select a, 'PAID' || n, 1, now() from generate_series(1, 20000) n, unnest(array['shop', 'till']) a;
         update rekon.transactions set next_check_at = null;
         insert into rekon.transactions (account, partner_reference_no, amount)
         select a, 'DUE' || n, 1 from generate_series(1, 20) n, unnest(array['shop', 'till']) a",
    )
    .await;
    db.run("vacuum analyze rekon.transactions").await;
    for (account, owner) in [("shop", "me"), ("till", "me"), ("till", "another")] {
        assert_eq!(db.store.claim_due(account, 5, owner, MINUTE).await.unwrap().rows.len(), 5);
    }
    let sql = statement("store::leases::release").replace("$1", "'me'").replace("$2", "20000");
    let explained = format!("explain (analyze, buffers, format json) {sql}");
    let plan: serde_json::Value = db.value(&explained).await;
    let blocks = |kind: &str| plan[0]["Plan"][kind].as_i64().expect("it is counted");
    let touched = blocks("Shared Hit Blocks") + blocks("Shared Read Blocks");
    println!("{touched} blocks for 10 leases among 40,040 rows");
    assert!(touched < 200, "{touched} blocks were read: {plan:#}");
    let held = "select string_agg(distinct lease_owner, ' ') || count(*) from rekon.transactions where lease_until is not null";
    assert_eq!(db.text(held).await, "another5");
}

#[tokio::test]
async fn a_lock_that_somebody_holds_is_not_waited_for_longer_than_configured() {
    let db = TestDb::new().await;
    let id = db.insert_payment("shop", "INV", "1.00").await;
    let options = ConnectOptions { lock_timeout: Duration::from_millis(200), ..connect_options(&db.url) };
    let store = Store::connect(&options).await.unwrap();
    let mut merchant = db.connect().await;
    let mut open = merchant.begin().await.unwrap();
    sqlx::query("update rekon.transactions set order_status = 'fulfilled'").execute(&mut *open).await.unwrap();
    let begun = Instant::now();
    let error = store.pull("shop", &[id]).await.expect_err("the row is locked");
    assert!(error.is_transient() && begun.elapsed() < Duration::from_secs(20), "{error:?} after {:?}", begun.elapsed());
    open.rollback().await.unwrap();
    store.pull("shop", &[id]).await.expect("the lock is gone");
}

#[tokio::test]
async fn money_at_risk_counts_the_rows_that_hold_some() {
    let db = TestDb::new().await;
    for reference in ["HELD", "RETURNED"] {
        let id = db.insert_payment("shop", reference, "10.00").await;
        let zero = "decode(repeat('00', 32), 'hex')";
        let entry = |no: u32, at: &str, to: &str| {
            format!(
                "insert into rekon.journal (transaction_id, entry_no, at, upto_seq, kind, state, content, prev_hash, hash)
                 values ({id}, {no}, now(), 1, 'decision', 'paid', '{{}}', {zero}, {zero});
                 insert into rekon.postings (transaction_id, entry_no, line, account, debit, credit)
                 values ({id}, {no}, 1, '{at}', 5, 0), ({id}, {no}, 2, '{to}', 0, 5);"
            )
        };
        db.run(&entry(1, "provider_clearing", "suspense:overpaid")).await;
        if reference == "RETURNED" {
            db.run(&entry(2, "suspense:overpaid", "provider_clearing")).await;
        }
    }
    db.run("update rekon.transactions set flags = '{overpaid}', flags_open = '{overpaid}'").await;
    let at_risk = db.store.overview(false).await.unwrap().at_risk;
    let told: Vec<String> =
        at_risk.iter().map(|s| format!("{} {} {} {}", s.account, s.cause, s.rows, s.amount)).collect();
    assert_eq!(told, ["shop overpaid 1 5.00"]);
}

//! The invariant sentinel: each rule of money, broken by direct SQL with all guards off, is found within a pass, is counted
//! under its name, and stops the refunds of the account concerned; what is mended is forgotten, what stopped stays stopped.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use rekon::{
    engine::sentinel::{self, Pass, SentinelSettings},
    sim::{Answer, SimPayment},
    store::sentinel::PROOFS,
    telemetry::catalogue::INVARIANTS,
};

use crate::{
    engine::{SAFE, payment},
    sql::statement,
    support::{
        TestDb,
        shop::{ACCOUNT, SHORT_TIMES, Shop},
    },
};

const ALWAYS: SentinelSettings = SentinelSettings { every: Duration::ZERO, slice: 1_000 };
const OFF: &str = "set session_replication_role = replica";
const ON: &str = "set session_replication_role = default";

/// What breaks each rule, on a paid row whose excess went back. Constraints and indexes that would refuse it go first.
const DAMAGES: &[(&str, &str)] = &[
    ("returned_at_most_paid", "update rekon.transactions set refunded_outside = 160000 where paid_amount > 0"),
    ("budget_adds_up", "update rekon.refund_budgets set reserved = reserved + 1"),
    ("seals_are_chained", "update rekon.seals set prev_head = sha256('x') where no = 2"),
    (
        "paid_is_not_unpaid",
        "alter table rekon.transactions drop constraint transactions_paid_money_is_not_lost; update rekon.transactions set state = 'unpaid', next_check_at = null",
    ),
    ("paid_as_first_answered", "update rekon.facts set amount = amount + 1 where seq = 1"),
    ("postings_balance", "update rekon.postings set credit = credit - 1 where entry_no = 1 and credit > 1"),
    ("balances_equal_row", "delete from rekon.postings where account = 'provider_clearing'"),
    ("suspense_equals_flags", "update rekon.postings set account = 'suspense:underpaid' where account = 'merchant_payable'"),
    ("refunds_add_up", "update rekon.refund_saga set amount = amount - 1"),
    (
        "one_refund_per_cause",
        "drop index rekon.refunds_one_per_cause; insert into rekon.refund_saga (transaction_id, cause, amount, proposed_by, content_hash)
         select transaction_id, cause, 1, 'policy', 'x' from rekon.refund_saga",
    ),
    (
        "one_refund_in_flight",
        "drop index rekon.refunds_one_in_flight; insert into rekon.refund_saga (transaction_id, cause, sequence, amount, state, proposed_by, approved_by,
           content_hash, partner_refund_no, request_body)
         select transaction_id, c, 1, 1, 'unknown', 'policy', 'policy', 'x', c, 'x' from rekon.refund_saga, unnest(array['aa', 'bb']) c",
    ),
    (
        "approver_is_not_proposer",
        "alter table rekon.refund_saga drop constraint refunds_approver_is_not_proposer; update rekon.refund_saga set proposed_by = 'ani', why = 'so', approved_by = 'ani'",
    ),
    ("sent_on_two_answers", "update rekon.facts set observation = 'OPEN' where seq = 2"),
    ("chain_links", "update rekon.journal set content = replace(content, '170000.00', '170000.01') where entry_no = 1"),
    ("chain_head", "update rekon.transactions set journal_no = journal_no + 1"),
    ("row_equals_journal", "update rekon.transactions set flags_open = '{underpaid}'"),
    ("decision_says_why", "update rekon.journal set content = (content::jsonb || '{\"because\": []}')::text"),
    ("sequence_is_dense", "delete from rekon.facts where seq = 2"),
    ("facts_as_written", "update rekon.facts set profile_hash = 'x' where seq = 2"),
    ("nothing_is_forgotten", "update rekon.refund_saga set state = 'sending', proof = null, next_at = null"),
];

async fn settled() -> Shop {
    let shop = Shop::open(SAFE, SHORT_TIMES).await;
    let more = SimPayment {
        script: vec![Answer::paid_amount(17_000_000)],
        taken_sen: Some(17_000_000),
        ..payment("INV-1", 150_000)
    };
    let id = shop.expect(more, &[]).await;
    let work = shop.work().await;
    shop.until("select state from rekon.refunds", "confirmed").await;
    shop.until(&Shop::end_of(id), "paid{overpaid}").await;
    work.stop().await;
    for day in ["2026-11-19", "2026-11-20"] {
        assert!(shop.db.store.seal(day.parse().expect("a day")).await.expect("it is sealed"));
    }
    shop
}

async fn pass(db: &TestDb) -> Pass {
    let known = [ACCOUNT.to_owned(), "other".to_owned()];
    sentinel::pass(&db.store, ALWAYS, &known).await.expect("the database answers").expect("a pass is due")
}

async fn gauges(db: &TestDb) -> BTreeSet<String> {
    let sql = "select coalesce(array_agg(distinct invariant), '{}') from rekon.violations";
    db.value::<Vec<String>>(sql).await.into_iter().collect()
}

/// Every source, test and migration, one behind the other.
fn sources(root: &Path) -> String {
    let mut folders: Vec<_> = ["src", "tests", "migrations"].iter().map(|folder| root.join(folder)).collect();
    let mut text = String::new();
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).expect("a folder of ours").flatten().map(|entry| entry.path()) {
            match path.extension().and_then(|e| e.to_str()) {
                None if path.is_dir() => folders.push(path),
                Some("rs" | "sql") => text.push_str(&fs::read_to_string(&path).expect("a source can be read")),
                _ => {}
            }
        }
    }
    text
}

#[test]
fn every_rule_is_a_metric_stands_in_the_manual_and_has_its_damage_here() {
    let rules: BTreeSet<&str> = PROOFS.iter().map(|proof| proof.id).collect();
    assert_eq!(rules, INVARIANTS.iter().copied().collect());
    assert_eq!(rules, DAMAGES.iter().map(|(rule, _)| *rule).collect());
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manual = fs::read_to_string(root.join("docs/invariants.md")).expect("it is there");
    let numbers = (1..=30).filter(|n| !manual.contains(&format!("\n| {n} |"))).collect::<Vec<_>>();
    assert_eq!(numbers, [0_i32; 0], "the thirty are listed");
    // What it names in code style is a rule here, a test, or a rule of the database.
    let known = sources(root);
    let words =
        manual.lines().filter(|line| line.starts_with("| ")).flat_map(|line| line.split('`').skip(1).step_by(2));
    let unknown: Vec<_> = words
        .filter(|word| {
            !rules.contains(word)
                && [format!("fn {word}("), format!(" {word} "), format!("'{word}'")]
                    .iter()
                    .all(|text| !known.contains(text))
        })
        .collect();
    assert!(unknown.is_empty(), "docs/invariants.md names what is not there: {unknown:?}");
    let missing: Vec<_> = rules.iter().filter(|rule| !manual.contains(&format!("`{rule}`"))).collect();
    assert!(missing.is_empty(), "docs/invariants.md lacks {missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_rule_of_money_that_is_broken_is_found_in_the_next_pass_and_stops_the_refunds() {
    let shop = settled().await;
    let honest = pass(&shop.db).await;
    assert_eq!((honest.found, honest.rows, honest.is_rotation), (Vec::new(), 1, true));
    let stopped = "select string_agg(account, ',' order by account) from rekon.account_controls where refunds_stopped is not null";
    for (rule, damage) in DAMAGES {
        let db = shop.db.copy().await;
        db.run(&format!("{OFF}; {damage}; {ON}")).await;
        let found = pass(&db).await.found;
        assert!(found.iter().any(|v| v.invariant == *rule), "{rule} is not seen after {damage}: {found:?}");
        assert!(gauges(&db).await.contains(*rule), "{rule} is not counted");
        let concerned = if *rule == "seals_are_chained" { "doku-main,other" } else { ACCOUNT };
        assert_eq!(db.text(stopped).await, concerned, "{rule}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_refund_leaves_an_account_whose_rows_break_a_rule_and_status_says_why() {
    let shop = settled().await;
    shop.db
        .run(&format!(
            "{OFF}; update rekon.transactions set fee_amount = 1, refunded_amount = refunded_amount + 1; {ON}"
        ))
        .await;
    let found = pass(&shop.db).await.found;
    assert!(found.iter().any(|v| v.invariant == "refunds_add_up"), "{found:?}");
    let more = SimPayment {
        script: vec![Answer::paid_amount(17_000_000)],
        taken_sen: Some(17_000_000),
        ..payment("INV-2", 150_000)
    };
    shop.expect(more, &[]).await;
    let work = shop.work().await;
    let second = "from rekon.refund_saga r join rekon.transactions t on t.id = r.transaction_id where t.partner_reference_no = 'INV-2'";
    shop.until(&format!("select (r.state = 'approved' and r.blocked)::text {second}"), "true").await;
    work.stop().await;
    assert_eq!(shop.sim.world().book().returned_sen, 2_000_000, "only the first one went back");
    let reason = shop.db.text(&format!("select r.reason {second}")).await;
    assert!(reason.contains("balances_equal_row") || reason.contains("refunds_add_up"), "{reason}");
    let overview = shop.db.store.overview(false).await.expect("the database answers");
    assert_eq!(overview.refunds_stopped.len(), 1);
    assert!(overview.refunds_stopped[0].reason.contains("is broken (row 1)"), "{:?}", overview.refunds_stopped);
    assert!(!overview.violations.is_empty());
    // Mended, it is no longer counted; what stopped stays stopped until people have looked.
    shop.db
        .run(&format!("{OFF}; update rekon.transactions set refunded_amount = refunded_amount - 1 where id = 1; {ON}"))
        .await;
    assert_eq!(pass(&shop.db).await.found, []);
    assert!(gauges(&shop.db).await.is_empty());
    assert_eq!(shop.db.store.overview(false).await.expect("the database answers").refunds_stopped.len(), 1);
}

#[tokio::test]
async fn a_table_larger_than_a_slice_is_looked_at_in_turns_and_new_rows_at_once() {
    let db = TestDb::new().await;
    db.run("insert into rekon.transactions (account, partner_reference_no, amount) select 'shop', 'INV' || n, 1 from generate_series(1, 250) n").await;
    db.run(&format!("{OFF}; update rekon.transactions set journal_no = 1 where id in (150, 250); {ON}")).await;
    let small = SentinelSettings { every: Duration::ZERO, slice: 100 };
    let mut seen = Vec::new();
    for _ in 0..4 {
        let pass = sentinel::pass(&db.store, small, &[]).await.expect("the database answers").expect("a pass is due");
        seen.push((pass.rows, pass.is_rotation, pass.found.iter().map(|v| v.transaction_id).collect::<Vec<_>>()));
    }
    // What was found stays under the eye.
    assert_eq!(
        seen,
        [(100, false, vec![]), (100, false, vec![150]), (51, true, vec![150, 250]), (102, false, vec![150, 250])]
    );
    assert!(db.store.sentinel_turn(100, None).await.expect("the database answers").is_some());
    assert!(
        db.store.sentinel_turn(100, None).await.expect("the database answers").is_none(),
        "one replica makes a pass"
    );
}

#[tokio::test]
async fn no_pass_begins_beside_another_and_one_that_never_ends_leaves_half_its_rows_to_the_next() {
    let db = TestDb::new().await;
    let rows = async || {
        let turn = db.store.sentinel_turn(1_000, None).await.expect("the database answers");
        turn.map(|turn| turn.rows)
    };
    let give_up = "update rekon.sentinel set next_at = now()";
    assert_eq!(rows().await, Some(1_000));
    assert_eq!(rows().await, None, "it is under way");
    let given_up = "select next_at - now() between interval '50 seconds' and interval '70 seconds' from rekon.sentinel";
    assert_eq!(db.text(given_up).await, "true", "longer than a pass may take");
    for less in [500, 250, 125, 100, 100] {
        db.run(give_up).await;
        assert_eq!(rows().await, Some(less));
    }
    // One that comes to its end quickly: more again.
    let settings = SentinelSettings { every: Duration::ZERO, slice: 1_000 };
    db.run(give_up).await;
    for more in [200, 400, 800, 1_000] {
        assert!(sentinel::pass(&db.store, settings, &[]).await.expect("the database answers").is_some());
        assert_eq!(db.value::<i64>("select rows_at_once from rekon.sentinel").await, more);
    }
}

/// Rows with one journal entry each, all within half a minute of an hour ago and many at the very same time.
const BUSY: &str = "insert into rekon.transactions (account, partner_reference_no, amount) select 'shop', 'INV' || n, 1 from generate_series(1, 200) n;
    insert into rekon.journal (transaction_id, entry_no, at, upto_seq, kind, state, content, prev_hash, hash)
    select id, 1, date_trunc('hour', now()) - interval '1 hour' + (id / 70) * interval '1 second', 0, 'decision', 'pending', '{}', sha256(''), sha256('')
      from rekon.transactions;
    update rekon.sentinel set new_from = date_trunc('hour', now()) - interval '2 hours'";

#[tokio::test]
async fn more_entries_than_a_pass_reads_in_half_a_minute_are_read_one_behind_the_other_to_the_end() {
    let db = TestDb::new().await;
    db.run(&format!("{OFF}; {BUSY}; {ON}")).await;
    let small = SentinelSettings { every: Duration::ZERO, slice: 10 };
    let look = async || {
        // Away from the slow look, which would find them in its own time.
        db.run("update rekon.sentinel set behind_id = 1000000").await;
        let pass = sentinel::pass(&db.store, small, &[]).await.expect("the database answers").expect("a pass is due");
        assert!(pass.rows <= 50, "{} rows in one pass", pass.rows);
    };
    let is_at_the_end = "select s.new_from > max(j.at) from rekon.sentinel s, rekon.journal j group by s.new_from";
    let cursor = "select new_from || ' ' || lpad(new_id::text, 6, '0') from rekon.sentinel";
    let mut before = db.text(cursor).await;
    for _ in 0..5 {
        assert_eq!(db.text(is_at_the_end).await, "false");
        look().await;
        let now = db.text(cursor).await;
        assert!(now > before, "it went from {before} to {now}");
        before = now;
    }
    look().await;
    assert_eq!(db.text("select count(distinct transaction_id) from rekon.violations").await, "200");
    assert_eq!(db.text(is_at_the_end).await, "true");
    // An entry that was decided a while ago and committed only now.
    db.run(&format!(
        "{OFF}; with late as (insert into rekon.transactions (account, partner_reference_no, amount) values ('shop', 'LATE', 1) returning id)
         insert into rekon.journal (transaction_id, entry_no, at, upto_seq, kind, state, content, prev_hash, hash)
         select id, 1, clock_timestamp() - interval '10 seconds', 0, 'decision', 'pending', '{{}}', sha256(''), sha256('') from late; {ON}"
    ))
    .await;
    let seen = "select count(*) from rekon.violations v join rekon.transactions t on t.id = v.transaction_id where t.partner_reference_no = 'LATE'";
    assert_eq!(db.text(seen).await, "0");
    look().await;
    assert_ne!(db.text(seen).await, "0");
}

#[tokio::test]
async fn a_slice_of_what_is_new_is_read_without_a_look_at_all_that_came_since() {
    let db = TestDb::new().await;
    db.run(&format!(
        "{OFF}; insert into rekon.journal (transaction_id, entry_no, at, upto_seq, kind, state, content, prev_hash, hash)
         select n, 1, '2026-11-01 00:00Z'::timestamptz + n * interval '10 milliseconds', 0, 'decision', 'paid', repeat('x', 400), sha256(''), sha256('')
           from generate_series(1, 100000) n; {ON}"
    ))
    .await;
    db.run("select brin_summarize_new_values('rekon.journal_by_time'); analyze rekon.journal").await;
    let at = |secs: i64| format!("'2026-11-01 00:00Z'::timestamptz + interval '{secs} seconds'");
    let values = [
        ("$1", at(100)),
        ("$2", "10000".to_owned()),
        ("$3", "1".to_owned()),
        ("$4", at(130)),
        ("$5", "1000".to_owned()),
    ];
    let sql = statement("store::sentinel::new");
    let sql = values.iter().fold(sql, |sql, (parameter, value)| sql.replace(parameter, value));
    let plan: serde_json::Value = db.value(&format!("explain (analyze, buffers, format json) {sql}")).await;
    let count = |what: &str| plan[0]["Plan"][what].as_i64().expect("it is counted");
    let touched = count("Shared Hit Blocks") + count("Shared Read Blocks");
    let all = db.value::<i64>("select pg_relation_size('rekon.journal') / 8192").await;
    println!("{touched} blocks of {all}");
    assert!(plan[0]["Plan"]["Actual Rows"].to_string().starts_with("1000"), "a whole slice: {plan:#}");
    assert!(touched < all / 10, "{touched} blocks of {all} were read: {plan:#}");
}

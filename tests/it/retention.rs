//! What grows, what bounds it, and that forgetting what may be forgotten takes no evidence along. The table of docs/operations.md has to
//! name every table there is, and to say of each what its grants say.

use std::{collections::BTreeMap, fs, time::Duration};

use rekon::{
    engine::upkeep,
    engine::verify,
    sim::{Answer, SimPayment},
};

use crate::{
    engine::{SAFE, payment},
    support::{
        TestDb,
        shop::{SHORT_TIMES, Shop},
    },
};

/// Tables of the manual's section, with what bounds each.
fn documented() -> BTreeMap<String, String> {
    let manual = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md")).expect("the manual");
    let section =
        manual.split("\n## What grows").nth(1).expect("the section").split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.flat_map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let bound = (*cells.last().expect("cells")).to_owned();
        let names = cells[0].split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        names.into_iter().map(move |name| (name, bound.clone()))
    })
    .collect()
}

#[tokio::test]
async fn every_table_says_in_the_manual_what_bounds_it() {
    let db = TestDb::new().await;
    let there: Vec<String> = db
        .value(
            "select array_agg(case schemaname when 'rekon' then '' else schemaname || '.' end || tablename)
               from pg_tables where schemaname in ('rekon', 'apalis')",
        )
        .await;
    let documented = documented();
    assert_eq!(
        documented.keys().cloned().collect::<Vec<_>>(),
        there.iter().cloned().collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    );
    let config = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/config.md")).expect("the keys");
    for table in there.iter().filter(|table| !table.contains('.')) {
        let may_delete =
            db.value::<bool>(&format!("select has_table_privilege('rekon_app', 'rekon.{table}', 'delete')")).await;
        let bound = &documented[table];
        let is_bounded = bound.starts_with("pruned") || bound.starts_with("emptied");
        let is_kept = bound.starts_with("kept") || bound.starts_with("does not grow");
        assert!(is_bounded != is_kept, "{table}: {bound}");
        assert_eq!(may_delete, is_bounded, "the daemon's role and the manual disagree about {table}: {bound}");
    }
    for (table, bound) in documented.iter().filter(|(_, bound)| bound.starts_with("pruned")) {
        let named = bound.split('`').nth(1).unwrap_or_default();
        assert!(bound == "pruned after a day" || config.contains(&format!("| `{named}` |")), "{table}: {bound}");
    }
}

/// Every row of every table that is kept, in one hash each.
async fn kept(db: &TestDb) -> BTreeMap<String, String> {
    let mut hashes = BTreeMap::new();
    for (table, bound) in documented() {
        if bound.starts_with("kept") && !table.contains('.') {
            let all =
                format!("select md5(coalesce(string_agg(x::text, e'\\n' order by x::text), '')) from rekon.{table} x");
            hashes.insert(table, db.text(&all).await);
        }
    }
    hashes
}

#[tokio::test(flavor = "multi_thread")]
async fn pruning_takes_what_is_old_and_no_evidence_and_the_proof_says_what_is_gone() {
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
    let whole = verify::verify(&shop.db.store, |_| {}).await.expect("the database answers");
    assert!(whole.broken == 0 && whole.bodies > 0 && whole.facts_without_body == 0, "{whole:?}");
    // More than a chunk, so that one statement cannot take it all.
    shop.db.people().await;
    shop.db
        .run(
            "update rekon.raw_answers set first_at = first_at - interval '500 days', last_at = last_at - interval '500 days';
             insert into rekon.raw_answers (hash, body, first_at, last_at)
               select sha256(n::text::bytea), n::text::bytea, now() - interval '500 days', now() - interval '500 days' from generate_series(1, 7000) n;
             insert into rekon.drift (account, kind, n, first_at, last_at) values ('doku-main', 'old', 1, now() - interval '500 days', now() - interval '500 days');
             insert into rekon.idempotency_keys (person, key, request_hash, claimed_at) values ('budi', 'old', sha256('x'), now() - interval '2 days');
             insert into rekon.runs (job, slot, state, heartbeat_at, finished_at) values ('daily', 'old', 'done', now() - interval '500 days', now() - interval '500 days')",
        )
        .await;
    let before = kept(&shop.db).await;
    assert!(before.len() > 15, "{before:?}");
    let run = shop
        .db
        .value::<i64>("insert into rekon.runs (job, slot, state) values ('prune', 'now', 'queued') returning id")
        .await;
    let run = shop.db.store.take_run(run, Duration::from_mins(1)).await.expect("it is taken").expect("it was queued");
    assert!(upkeep::prune(&work.ctx, &run).await.expect("it prunes"));
    work.stop().await;
    let after = kept(&shop.db).await;
    assert_eq!(after, before, "no row of evidence is touched");
    let left = "select concat_ws(' ', (select count(*) from rekon.raw_answers), (select count(*) from rekon.drift where kind = 'old'),
        (select count(*) from rekon.idempotency_keys), (select count(*) from rekon.runs where slot = 'old'))";
    assert_eq!(shop.db.text(left).await, "0 0 0 0");
    let proof = verify::verify(&shop.db.store, |_| {}).await.expect("the database answers");
    let named = shop.db.value::<i64>("select count(*) from rekon.facts where raw_hash is not null").await;
    assert_eq!((proof.broken, proof.bodies, proof.facts_without_body), (0, 0, named.unsigned_abs()));
    assert!(named > 0);
}

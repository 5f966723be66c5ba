//! When there are ten times as many rows due as calls: the rupiah that is checked is near the most that could be, and no row
//! waits longer than the bound that `engine::runtime` names.

use std::time::Duration;

use rekon::{
    sim::{Answer, Rng, Service, SimPayment},
    store::{dearest::Choice, leases::Leased},
};

use crate::{
    sql::statement,
    support::{
        TestDb,
        shop::{ACCOUNT, Shop},
    },
};

const MINUTE: Duration = Duration::from_mins(1);

/// Rupiah as a shop sees them: most payments are small, some are large (Rp 1,000 to Rp 10,000,000).
fn amount(rng: &mut Rng) -> i64 {
    let magnitude = u32::try_from(rng.between(3, 6)).expect("small");
    10_i64.pow(magnitude) * rng.between(10, 99) / 10
}

/// Rows that became due one after another, the last one now; their amounts in that order.
async fn due_rows(db: &TestDb, count: usize, rng: &mut Rng) -> Vec<i64> {
    let amounts: Vec<i64> = (0..count).map(|_| amount(rng)).collect();
    let list = amounts.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    db.run(&format!(
        "insert into rekon.transactions (account, partner_reference_no, amount)
         select 'shop', 'INV' || n, a from unnest(array[{list}]) with ordinality as u (a, n);
         update rekon.transactions set next_check_at = now() - ({count} - id) * interval '10 milliseconds'"
    ))
    .await;
    amounts
}

fn numbers(rows: &[Leased]) -> Vec<usize> {
    rows.iter().map(|row| row.partner_reference_no.trim_start_matches("INV").parse().expect("a number")).collect()
}

#[tokio::test]
async fn a_budget_for_a_tenth_of_the_rows_checks_nearly_the_most_rupiah_that_it_could() {
    let (db, mut rng) = (TestDb::new().await, Rng::new(4));
    let amounts = due_rows(&db, 6_000, &mut rng).await;
    // Ten calls a second for a minute, in chunks of seven seconds.
    let choice = Choice { limit: 70, oldest: 7, window: 20_000 };
    let (mut checked, mut in_turn) = (0, 0);
    for n in 0..9 {
        let rows = db.store.claim_dearest("shop", choice, "me", MINUTE).await.unwrap().rows;
        let numbers = numbers(&rows);
        assert_eq!(numbers.len(), 70);
        let of_chunk: Vec<i64> = numbers.iter().map(|n| amounts[n - 1]).collect();
        checked += of_chunk.iter().sum::<i64>();
        in_turn += amounts[n * 70..(n + 1) * 70].iter().sum::<i64>();
        db.run("update rekon.transactions set next_check_at = null where lease_until is not null").await;
    }
    let mut best = amounts.clone();
    best.sort_unstable_by(|a, b| b.cmp(a));
    let (best, all): (i64, i64) = (best[..630].iter().sum(), amounts.iter().sum());
    let percent = |part: i64| part * 100 / best;
    println!(
        "Rp {checked} of at most {best} ({} %); in turn {} %; {} % of all with a tenth of the calls",
        percent(checked),
        percent(in_turn),
        checked * 100 / all
    );
    assert!(percent(checked) >= 85, "{} % of the best", percent(checked));
    assert!(percent(in_turn) < 50, "and that is not what came in turn");
}

/// Larger payments come all the time, more of them than there are calls. A small one that is there already is asked about
/// after at most ten times as many chunks as if all were asked in turn.
#[tokio::test]
async fn a_small_payment_waits_no_longer_than_the_bound_however_many_large_ones_come() {
    let db = TestDb::new().await;
    let (small, chunk) = (200, Choice { limit: 20, oldest: 2, window: 20_000 });
    db.run(&format!(
        "insert into rekon.transactions (account, partner_reference_no, amount) select 'shop', 'INV' || n, 1 from generate_series(1, {small}) n;
         update rekon.transactions set next_check_at = now() - interval '1 second'"
    ))
    .await;
    let mut chunks = 0;
    while db
        .value::<bool>(
            "select exists (select 1 from rekon.transactions where amount = 1 and next_check_at is not null)",
        )
        .await
    {
        db.run(&format!(
            "insert into rekon.transactions (account, partner_reference_no, amount)
             select 'shop', 'BIG' || {chunks} || '-' || n, 9000000 from generate_series(1, 60) n"
        ))
        .await;
        let rows = db.store.claim_dearest("shop", chunk, "me", MINUTE).await.unwrap().rows;
        assert_eq!(rows.len(), 20);
        db.run("update rekon.transactions set next_check_at = null where lease_until is not null").await;
        chunks += 1;
    }
    println!("{small} small ones among {} large ones were asked about within {chunks} chunks of 20", chunks * 60);
    assert!(chunks <= 10 * small / 20, "{chunks} chunks");
    assert!(chunks > small / 20, "the large ones were asked about meanwhile");
}

#[tokio::test]
async fn what_waits_long_enough_overtakes_what_is_worth_more() {
    let db = TestDb::new().await;
    db.run(
        "insert into rekon.transactions (account, partner_reference_no, amount) values ('shop', 'INV1', 1000000), ('shop', 'INV2', 10000), ('shop', 'INV3', 20000);
         update rekon.transactions set next_check_at = now() - case partner_reference_no when 'INV2' then interval '3 hours' else interval '1 second' end",
    )
    .await;
    let choice = Choice { limit: 2, oldest: 0, window: 100 };
    let rows = db.store.claim_dearest("shop", choice, "me", MINUTE).await.unwrap().rows;
    assert_eq!(numbers(&rows), [2, 1], "Rp 10,000 for three hours, Rp 1,000,000 for a second");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_that_choose_at_once_never_get_the_same_row() {
    let (db, mut rng) = (TestDb::new().await, Rng::new(5));
    due_rows(&db, 1_000, &mut rng).await;
    let choice = Choice { limit: 50, oldest: 10, window: 20_000 };
    let mut claims = Vec::new();
    for n in 0..8 {
        let store = db.another_store().await;
        claims.push(tokio::spawn(async move {
            store.claim_dearest("shop", choice, &format!("r{n}"), MINUTE).await.unwrap().rows
        }));
    }
    let mut got = Vec::new();
    for claim in claims {
        got.extend(numbers(&claim.await.unwrap()));
    }
    let all = got.len();
    got.sort_unstable();
    got.dedup();
    assert_eq!(got.len(), all);
    assert_eq!(db.text("select count(*) from rekon.transactions where lease_epoch > 1").await, "0");
    assert!(all >= 50, "somebody got a whole chunk: {all}");
}

/// What choosing costs: the window is read, the table is not.
#[tokio::test]
async fn choosing_among_many_due_rows_reads_the_window_and_no_more() {
    let db = TestDb::new().await;
    db.run(
        "insert into rekon.transactions (account, partner_reference_no, amount) select 'shop', 'INV' || n, n from generate_series(1, 60000) n;
         analyze rekon.transactions",
    )
    .await;
    let sql = statement("store::dearest::claim");
    let values =
        [("$1", "'shop'"), ("$2", "2000"), ("$3", "14"), ("$4", "70"), ("$5", "'me'"), ("$6", "interval '1 minute'")];
    let sql = values.iter().fold(sql, |sql, (parameter, value)| sql.replace(parameter, value));
    let plan: serde_json::Value = db.value(&format!("explain (analyze, buffers, format json) {sql}")).await;
    let text = plan.to_string();
    let blocks = |kind: &str| plan[0]["Plan"][kind].as_i64().expect("it is counted");
    let touched = blocks("Shared Hit Blocks") + blocks("Shared Read Blocks");
    println!("{touched} blocks, {} ms", plan[0]["Execution Time"]);
    assert!(!text.contains("Seq Scan"), "{text}");
    assert!(touched < 6_000, "{touched} blocks for a window of 2,000 rows");
}

/// The whole loop: the first calls that reach the provider are about the largest payments.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_account_is_asked_about_the_large_payments_first() {
    let lines =
        "rate = { per_second = 20, burst = 5, concurrency = 8 }\n[accounts.doku-main.ladder]\ndefault = [\"1h\"]\n";
    let shop = Shop::open(lines, "[jobs.sweep]\nevery = \"50ms\"\nchunk_span = \"1s\"\n").await;
    let mut rng = Rng::new(6);
    let mut amounts = std::collections::BTreeMap::new();
    for n in 0..600 {
        let (reference, rupiah) = (format!("INV{n}"), amount(&mut rng));
        let payment = SimPayment::exact(&reference, rupiah * 100).answering(vec![Answer::status("01")]);
        shop.sim.world().add_payment(SimPayment { reference_no: format!("R-{n}"), ..payment }).expect("it is new");
        amounts.insert(reference, rupiah);
    }
    let list = amounts
        .iter()
        .map(|(r, a)| format!("('{ACCOUNT}', '{r}', 'R-{}', {a})", &r[3..]))
        .collect::<Vec<_>>()
        .join(",");
    shop.db
        .run(&format!(
            "insert into rekon.transactions (account, partner_reference_no, reference_no, amount) values {list}"
        ))
        .await;
    let working = shop.work().await;
    shop.until("select count(*) >= 60 from rekon.transactions where checks > 0", "true").await;
    working.stop().await;
    let arrivals = shop.sim.world().arrivals();
    let asked = arrivals.iter().filter(|a| a.service == Service::Query).take(60);
    let checked: i64 = asked.map(|a| amounts[&a.partner_reference_no]).sum();
    let mut best: Vec<i64> = amounts.into_values().collect();
    best.sort_unstable_by(|a, b| b.cmp(a));
    let best: i64 = best[..60].iter().sum();
    println!("the first 60 of 600 calls asked about Rp {checked}, the most is {best}: {} %", checked * 100 / best);
    assert!(checked * 100 / best >= 70, "{} % of the best", checked * 100 / best);
}

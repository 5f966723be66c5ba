//! Upgrades of a database in use: rows that an earlier program wrote go through every later migration while a merchant inserts, and the
//! new program settles and proves them. And what a migration may not do, because the table behind it is large and others write.

mod lint;

use std::{fs, path::PathBuf, time::Duration};

use rekon::{engine::verify, sim::SimPayment, store::Store};
use sqlx::Executor as _;
use tokio_util::sync::CancellationToken;

use crate::{
    engine::SAFE,
    support::{
        connect_options,
        process::Daemon,
        shop::{SHORT_TIMES, Shop},
    },
};

fn root(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The dumps of earlier schemas, oldest first.
fn dumps() -> Vec<(String, String)> {
    let mut found: Vec<_> = fs::read_dir(root("tests/fixtures/schema"))
        .expect("the fixtures")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "sql"))
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).expect("it can be read"))
        })
        .collect();
    found.sort();
    found
}

fn payment(reference: &str) -> SimPayment {
    SimPayment { reference_no: format!("R-{reference}"), ..SimPayment::exact(reference, 5_000_000) }
}

/// What must not change about a payment that was settled long ago.
const SETTLED: &str = "select md5(string_agg(concat_ws('|', t.id, t.account, t.partner_reference_no, t.amount, t.state, t.flags, t.paid_amount, t.refunded_amount,
      t.journal_no, t.journal_hash, (select string_agg(concat_ws(',', r.cause, r.amount, r.state, r.partner_refund_no), ';' order by r.id)
                                       from rekon.refund_saga r where r.transaction_id = t.id)), e'\\n' order by t.id))
   from rekon.transactions t where t.account <> 'doku-main'";

/// A merchant's program as it was before the upgrade: it inserts and inserts, and is told when to stop. How many there are.
async fn merchant(url: String, stop: CancellationToken) -> u32 {
    let store = Store::connect(&connect_options(&url)).await.expect("the database answers");
    let mut n = 0;
    while !stop.is_cancelled() {
        n += 1;
        let insert = format!(
            "insert into rekon.transactions (account, partner_reference_no, reference_no, amount) values ('doku-main', 'DURING-{n}', 'R-DURING-{n}', 50000)"
        );
        store
            .pool()
            .execute(sqlx::AssertSqlSafe(insert))
            .await
            .expect("a merchant's insert passes while it is migrated");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    n
}

async fn restored(dump: &str) -> Shop {
    let shop = Shop::open(SAFE, SHORT_TIMES).await;
    shop.db.run("drop schema rekon cascade; drop schema apalis cascade").await;
    let mut connection = shop.db.connect().await;
    connection.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(dump.to_owned()))).await.expect("the dump is restored");
    // The dump grows old; its own rows are not what is due here.
    shop.db
        .run(
            "set session_replication_role = replica;
             update rekon.transactions set next_check_at = now() + interval '7 days' where account <> 'doku-main' and next_check_at is not null;
             update rekon.transactions set created_at = now(), next_check_at = now() where account = 'doku-main';
             set session_replication_role = default",
        )
        .await;
    shop
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_every_earlier_schema_are_migrated_under_a_writing_merchant_and_settle() {
    let dumps = dumps();
    assert!(!dumps.is_empty());
    for (version, dump) in dumps {
        let shop = restored(&dump).await;
        let before = shop.db.text(SETTLED).await;
        let stop = CancellationToken::new();
        let writing = tokio::spawn(merchant(shop.db.url.clone(), stop.clone()));
        shop.until("select count(*) > 3 from rekon.transactions where partner_reference_no like 'DURING-%'", "true")
            .await;
        let migrated = Daemon::command("migrate", &shop.config_text, &shop.env()).end().await;
        assert_eq!(migrated.code, Some(0), "from {version}: {}", migrated.said);
        stop.cancel();
        let inserted = writing.await.expect("the merchant's program never failed");
        assert_eq!(shop.db.text(SETTLED).await, before, "from {version}: what was settled stands as it stood");

        let world = shop.sim.world();
        let references = (1..=5).map(|n| format!("OLD-{n}")).chain((1..=inserted).map(|n| format!("DURING-{n}")));
        for reference in references {
            world.add_payment(payment(&reference)).expect("the simulator takes the payment");
        }
        let work = shop.work().await;
        let left = "select count(*) from rekon.transactions where account = 'doku-main' and (state <> 'paid' or flags <> '{}')";
        shop.until(left, "0").await;
        work.stop().await;
        let proof = verify::verify(&shop.db.store, |_| {}).await.expect("the database answers");
        let rows = shop.db.value::<i64>("select count(*) from rekon.transactions").await;
        assert_eq!((proof.broken, proof.rows), (0, rows.unsigned_abs()), "from {version}: {:#?}", proof.breaks);
        println!("from {version}: {rows} rows, {inserted} of them inserted during the migration");
    }
}

//! A database that is there and refuses: no disk, no memory, a standby that takes no writes, a transaction that cannot be
//! serialized. It says so in the middle of settling, of reserving a refund and of storing its answer; then it works again.

use rekon::{engine::verify, sim::Answer};

use super::payment;
use crate::support::shop::Shop;

const ACCOUNT_LINES: &str = "rate = { per_second = 1000, burst = 100, concurrency = 32 }\ntimeout = \"1s\"\n\
    [accounts.doku-main.ladder]\ndefault = [\"1s\"]\n[accounts.doku-main.profile]\nrefund_repeat = \"safe\"\n";
/// A refund whose step was refused waits for its lease to end.
const SECTIONS: &str = "[policy]\nconfirm_after = \"1s\"\nwatch = \"1h\"\n[refunds]\nmode = \"auto\"\n\
    [jobs.sweep]\nevery = \"50ms\"\nlease = \"3s\"\nchunk_span = \"1s\"\n";
/// What it says: disk full, out of memory, read-only, not serializable, deadlock, I/O error.
const SAID: [&str; 6] = ["53100", "53200", "25006", "40001", "40P01", "58030"];
/// Where: an answer is settled, a refund is leased, reserved or ends, an attempt is stored, money is posted.
const AT: [&str; 4] = [
    "insert on rekon.facts",
    "update on rekon.refund_saga",
    "insert on rekon.refund_attempts",
    "insert on rekon.postings",
];
/// So often at each place; a sequence counts, because what a transaction counts goes back with it.
const TIMES: u32 = 3;

async fn refuse(shop: &Shop, code: &str) {
    for (nth, at) in AT.iter().enumerate() {
        for sql in [
            format!("create sequence public.said_{nth}"),
            format!("create function public.refuse_{nth}() returns trigger language plpgsql as $$ begin
                if nextval('public.said_{nth}') <= {TIMES} then raise exception 'not now' using errcode = '{code}'; end if;
                return null; end $$"),
            format!("create trigger zz_refuse after {at} for each statement execute function public.refuse_{nth}()"),
        ] {
            shop.db.run(&sql).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_refuses_for_a_while_loses_nothing_and_doubles_nothing() {
    let lives = SAID.map(|code| async move {
        let shop = Shop::open(ACCOUNT_LINES, SECTIONS).await;
        let mut more = payment("INV-1", 150_000);
        more.script = vec![Answer::paid_amount(17_000_000)];
        more.taken_sen = Some(17_000_000);
        refuse(&shop, code).await;
        let over = shop.expect(more, &[]).await;
        let exact = shop.expect(payment("INV-2", 90_000), &[]).await;
        let work = shop.work().await;
        shop.until(&format!("select refunded_amount from rekon.transactions where id = {over}"), "20000.00").await;
        shop.until(&Shop::end_of(over), "paid{overpaid}").await;
        shop.until(&Shop::end_of(exact), "paid{}").await;
        work.stop().await;
        for (nth, at) in AT.iter().enumerate() {
            let asked = shop.db.value::<i64>(&format!("select last_value from public.said_{nth}")).await;
            assert!(asked > i64::from(TIMES), "{code}: {asked} at {at}");
        }
        let book = shop.sim.world().book();
        assert_eq!((book.taken_sen, book.returned_sen), (26_000_000, 2_000_000), "{code}");
        assert_eq!(shop.db.text("select count(*) from rekon.refund_saga").await, "1", "{code}");
        let proof = verify::verify(&shop.db.store, |_| {}).await.expect("the database answers");
        assert_eq!(proof.breaks, [], "{code}");
    });
    futures::future::join_all(lives).await;
}

//! A backlog that would take most of an hour, and somebody who waits at the till: who is asked next.

use std::time::Duration;

use rekon::sim::{Answer, Service, SimPayment};

use super::{
    PATIENT,
    door::{Doorway, Knock},
};
use crate::support::shop::{ACCOUNT, SHORT_TIMES, Shop};

/// Two calls a second, and not one more.
const SLOW: &str = "rate = { per_second = 2, burst = 1, concurrency = 8 }\n\
    [accounts.doku-main.notify]\nshared_key = { env = \"SHARED_KEY\" }\n\
    [accounts.doku-main.ladder]\ndefault = [\"5m\"]\n";

/// Most calls that may leave between the notification and its question: what is on its way already, and little more. The
/// backlog is a thousand times that.
const NEXT_FEW: usize = 8;

async fn backlog(shop: &Shop) {
    let rows = format!(
        "insert into rekon.transactions (account, partner_reference_no, reference_no, amount, created_at)
         select '{ACCOUNT}', 'OLD-' || n, 'R-OLD-' || n, 1000, now() - interval '2 hours' from generate_series(1, 5000) as n"
    );
    shop.db.run(&rows).await;
    let older = "update rekon.transactions set next_check_at = now() - interval '1 hour' where partner_reference_no like 'OLD-%'";
    shop.db.run(older).await;
}

/// The row that nobody would ask about for an hour.
async fn awaited(shop: &Shop) -> i64 {
    let payment = SimPayment { reference_no: "R-INV-1".to_owned(), ..SimPayment::exact("INV-1", 15_000_000) };
    let id = shop.expect(SimPayment { script: vec![Answer::paid()], ..payment }, &[]).await;
    shop.db
        .run(&format!("update rekon.transactions set next_check_at = now() + interval '1 hour' where id = {id}"))
        .await;
    id
}

fn queries(shop: &Shop) -> Vec<String> {
    let arrivals = shop.sim.world().arrivals();
    arrivals.into_iter().filter(|a| a.service == Service::Query).map(|a| a.partner_reference_no).collect()
}

async fn until_the_backlog_is_under_way(shop: &Shop) {
    while queries(shop).len() < 3 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn waited_for(shop: &Shop, before: usize) -> usize {
    let asked = queries(shop);
    let at = asked.iter().position(|reference| reference == "INV-1").expect("it was asked");
    at.saturating_sub(before)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_notification_overtakes_five_thousand_older_rows() {
    let shop = Shop::open(SLOW, SHORT_TIMES).await;
    let id = awaited(&shop).await;
    backlog(&shop).await;
    let work = shop.work().await;
    until_the_backlog_is_under_way(&shop).await;
    let door = Doorway::open(&shop).await;
    let before = queries(&shop).len();
    assert_eq!(door.knock(&Knock::paid("INV-1", "150000.00").signed()).await.body, "CONTINUE");
    shop.until(&Shop::end_of(id), "paid{}").await;
    work.stop().await;
    let waited = waited_for(&shop, before);
    assert!(waited <= NEXT_FEW, "{waited} calls left before it");
    assert_eq!(shop.db.text("select count(*) from rekon.pulled").await, "0", "the entry has done its work");
}

/// Calls that may leave before the question about a row of a chunk: those that have their slots already, of two processes.
const NEXT_OF_A_CHUNK: usize = 4;

/// A row of little worth that is leased with a chunk of dear ones, and stands at its end.
async fn last_of_a_chunk(shop: &Shop) -> i64 {
    let dear = format!(
        "insert into rekon.transactions (account, partner_reference_no, reference_no, amount, created_at)
         select '{ACCOUNT}', 'OLD-' || n, 'R-OLD-' || n, 9000000, now() - interval '2 hours' from generate_series(1, 12) as n"
    );
    shop.db.run(&dear).await;
    let payment = SimPayment { reference_no: "R-INV-1".to_owned(), ..SimPayment::exact("INV-1", 100_000) };
    shop.expect(SimPayment { script: vec![Answer::paid()], ..payment }, &[]).await
}

/// The notification of a row that a chunk under way holds, on accounts with these lines and so many processes.
async fn hurried_in_a_chunk(rate: &str, processes: usize) {
    let lines = SLOW.replace("concurrency = 8", rate);
    let shop = Shop::open(&lines, SHORT_TIMES).await;
    let id = last_of_a_chunk(&shop).await;
    let mut working = Vec::new();
    for _ in 0..processes {
        working.push(shop.work().await);
    }
    shop.until(&format!("select lease_until is not null from rekon.transactions where id = {id}"), "true").await;
    until_the_backlog_is_under_way(&shop).await;
    let door = Doorway::open(&shop).await;
    let before = queries(&shop).len();
    assert!(!queries(&shop).contains(&"INV-1".to_owned()), "it waits in its chunk");
    assert_eq!(door.knock(&Knock::paid("INV-1", "1000.00").signed()).await.body, "CONTINUE");
    shop.until(&Shop::end_of(id), "paid{}").await;
    let waited = waited_for(&shop, before);
    assert!(waited <= NEXT_OF_A_CHUNK, "{waited} calls left before it");
    // The rest of the chunk is asked, and this one not again: neither by its chunk nor by the other lane.
    shop.until("select count(*) from rekon.transactions where checks > 0", "13").await;
    shop.until("select count(*) from rekon.pulled", "0").await;
    for work in working {
        work.stop().await;
    }
    assert_eq!(queries(&shop).iter().filter(|reference| *reference == "INV-1").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_sits_unsent_in_a_chunk_is_asked_next_and_once() {
    // Two askers: it stands in the chunk's queue.
    hurried_in_a_chunk("concurrency = 3", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_waits_for_its_call_slot_is_asked_next_and_once() {
    // More askers than rows: every row is in somebody's hands.
    hurried_in_a_chunk("concurrency = 64", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_in_the_chunk_of_whichever_process_is_asked_next_and_once() {
    hurried_in_a_chunk("concurrency = 8", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_one_waits_its_turn_and_moves_nobody_aside() {
    let shop = Shop::open(SLOW, SHORT_TIMES).await;
    let id = awaited(&shop).await;
    backlog(&shop).await;
    let work = shop.work().await;
    until_the_backlog_is_under_way(&shop).await;
    let door = Doorway::open(&shop).await;
    assert_eq!(door.knock(&Knock::paid("INV-1", "150000.00")).await.status, 200);
    let due = format!("select next_check_at <= now() from rekon.transactions where id = {id}");
    assert_eq!(shop.db.text(&due).await, "true", "it is due");
    let asked = queries(&shop).len();
    while queries(&shop).len() < asked + 4 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    work.stop().await;
    assert!(!queries(&shop).contains(&"INV-1".to_owned()), "older rows come first");
}

#[tokio::test]
async fn who_waits_longest_is_claimed_first_and_an_entry_waits_while_somebody_holds_its_row() {
    let shop = Shop::open("", "").await;
    let mut ids = Vec::new();
    for n in 1..=3 {
        ids.push(shop.db.insert_payment(ACCOUNT, &format!("INV-{n}"), "1000.00").await);
    }
    let (store, minute) = (&shop.db.store, std::time::Duration::from_mins(1));
    let claimed = async |limit| {
        let claim = store.claim_pulled(ACCOUNT, limit, "me", minute).await.expect("the database answers");
        claim.0.rows.iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(claimed(10).await, Vec::<i64>::new(), "nobody waits for a row that is only due");
    for id in ids.iter().rev() {
        store.pull(ACCOUNT, &[*id]).await.unwrap();
    }
    // Somebody asks about the last one already.
    let held = store.claim_one(ids[2], "another", minute).await.unwrap();
    assert_eq!(claimed(1).await, vec![ids[1]]);
    assert_eq!(claimed(10).await, vec![ids[0]]);
    // Who holds a row is told that somebody waits for it, and no other is.
    assert_eq!(store.claim_pulled(ACCOUNT, 10, "another", minute).await.unwrap().1, vec![ids[2]]);
    assert_eq!(store.claim_pulled(ACCOUNT, 10, "me", minute).await.unwrap().1, Vec::<i64>::new());
    store.release_rows(&[(ids[2], held.rows[0].epoch)]).await.unwrap();
    // It was asked meanwhile and nothing is due: the entry is dropped, the row left alone.
    shop.db.run(&format!("update rekon.transactions set next_check_at = null where id = {}", ids[2])).await;
    assert_eq!(claimed(10).await, Vec::<i64>::new());
    assert_eq!(shop.db.text("select count(*) from rekon.pulled").await, "0");
    // Another account's rows are not ours.
    store.release("me").await.unwrap();
    store.pull(ACCOUNT, &[ids[0]]).await.unwrap();
    assert!(store.claim_pulled("another", 10, "me", minute).await.unwrap().0.rows.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn in_bad_weather_nobody_is_hurried() {
    let shop = Shop::open(PATIENT, SHORT_TIMES).await;
    shop.expect(SimPayment { reference_no: "R-INV-1".to_owned(), ..SimPayment::exact("INV-1", 100_000) }, &[]).await;
    shop.db.store.open_breaker(ACCOUNT, "5xx", Duration::from_hours(1)).await.unwrap();
    let work = shop.work().await;
    let account = work.ctx.account(ACCOUNT).unwrap();
    while !account.weather.is_bad() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // As a look in fair weather left it.
    account.hurry.set([4_711]);
    let cleared = account.hurry.any(|ids| ids.is_empty().then_some(()));
    tokio::time::timeout(Duration::from_mins(1), cleared).await.expect("the next look in bad weather takes them away");
    work.stop().await;
}

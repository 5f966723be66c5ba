//! The table that the merchant writes, as he meets it: rows that cannot be asked, changes of mind, closing and reopening,
//! and how he hears of the outcome.

use rekon::sim::{Answer, SimPayment};
use sqlx::postgres::PgListener;

use super::{SAFE, payment};
use crate::support::shop::{SHORT_TIMES, Shop};

/// Validity and watch are over as soon as a row expires.
const CLOSES_SOON: &str = r#"
[policy]
confirm_after = "1s"
watch = "1s"
close_spread = "2s"
stuck_after = "3s"
[jobs.sweep]
every = "50ms"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_an_unknown_account_waits_in_review_and_is_asked_once_the_account_exists() {
    let shop = Shop::open(SAFE, SHORT_TIMES).await;
    let id = shop.db.insert_payment("doku-second", "INV-1", "1000.00").await;
    let work = shop.work().await;
    shop.until(&Shop::end_of(id), "review{unknown_account}").await;
    work.stop().await;
    // The operator adds the account and starts rekon again.
    let mut second = shop;
    second.config_text = second.config_text.replace("doku-main", "doku-second");
    second.sim.world().add_payment(payment("INV-1", 1_000)).expect("the provider knows it");
    second.db.run("update rekon.transactions set reference_no = 'R-INV-1'").await;
    let work = second.work().await;
    second.until(&Shop::end_of(id), "paid{}").await;
    work.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_without_the_reference_that_doku_wants_is_asked_once_it_is_set() {
    let shop = Shop::open(SAFE, SHORT_TIMES).await;
    shop.sim.world().add_payment(payment("INV-1", 1_000)).expect("the provider knows it");
    let id = shop.db.insert_payment("doku-main", "INV-1", "1000.00").await;
    let work = shop.work().await;
    shop.until(&Shop::end_of(id), "review{missing_reference}").await;
    assert_eq!(shop.db.text("select checks from rekon.transactions").await, "0", "it could not be asked");
    shop.db.run(&format!("update rekon.transactions set reference_no = 'R-INV-1' where id = {id}")).await;
    shop.until(&Shop::end_of(id), "paid{}").await;
    work.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payout_at_an_account_that_cannot_ask_waits_in_review_and_is_asked_once_it_can() {
    let mut shop = Shop::open(SAFE, SHORT_TIMES).await;
    let doku_alone = shop.config_text.clone();
    let (_, key) = doku_alone.split_once("private_key = ").unwrap();
    let key = key.lines().next().unwrap();
    let issuer = format!(
        "[accounts.issuer]\nprovider = \"paydia\"\nbase_url = \"{}\"\nclient_id = \"P\"\nmerchant_id = \"1\"\n\
         client_secret = {{ env = \"DOKU_SECRET\" }}\ncustomer_token = {{ env = \"SHARED_KEY\" }}\nprivate_key = {key}\n",
        shop.sim.base_url(),
    );
    shop.config_text += &issuer;
    let sql = "insert into rekon.transactions (account, partner_reference_no, amount, direction) values ('issuer', 'OUT-1', 1000, 'out') returning id";
    let id = shop.db.value::<i64>(sql).await;
    let work = shop.work().await;
    shop.until(&Shop::end_of(id), "review{unknown_account}").await;
    // Pulled forward it finds nobody to ask, comes to rest again, and no call was spent on it.
    shop.db.run("update rekon.transactions set next_check_at = now()").await;
    shop.until("select coalesce(next_check_at::text, 'nothing due') from rekon.transactions", "nothing due").await;
    let trace = "select checks || '/' || (select count(*) from rekon.facts) from rekon.transactions";
    assert_eq!(shop.db.text(trace).await, "0/0");
    assert!(shop.sim.world().arrivals().is_empty(), "{:?}", shop.sim.world().arrivals());
    let why = "select string_agg(content, '') from rekon.journal";
    assert!(shop.db.text(why).await.contains("payout.unaskable"));
    work.stop().await;
    // It is not pulled in vain; but as soon as its account can be asked about payouts, it is.
    let issuer = ["issuer".to_owned()];
    assert_eq!(shop.db.store.find_again(&issuer, &[]).await.unwrap(), 0);
    shop.config_text = doku_alone.replace("doku-main", "issuer");
    shop.sim.world().add_payment(payment("OUT-1", 1_000)).expect("the provider knows it");
    let work = shop.work().await;
    shop.until(&Shop::end_of(id), "paid{}").await;
    work.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn negatives_to_the_end_close_the_row_and_a_later_payment_is_held() {
    let shop = Shop::open(SAFE, CLOSES_SOON).await;
    let open = SimPayment { script: vec![Answer::status("01")], ..payment("INV-1", 1_000) };
    let id = shop
        .expect(open, &[("expires_at", "now() - interval '2 seconds'"), ("created_at", "now() - interval '1 minute'")])
        .await;
    let work = shop.work().await;
    shop.until(&Shop::end_of(id), "unpaid{}").await;
    assert_eq!(
        shop.db.text("select count(*) || ' ' || sum(n) from rekon.sightings").await,
        "1 3",
        "three answers, one fact"
    );
    assert_eq!(shop.db.text("select next_check_at from rekon.transactions").await, "-", "nobody asks a closed row");
    shop.sim.world().set_script("", "INV-1", vec![Answer::paid()]).expect("the customer pays after all");
    shop.db.run(&format!("update rekon.transactions set next_check_at = now() where id = {id}")).await;
    shop.until(&Shop::end_of(id), "held{paid_after_close}").await;
    work.stop().await;
    let suspense = "select account || ' ' || credit from rekon.postings where credit > 0";
    assert_eq!(shop.db.text(suspense).await, "suspense:paid_after_close 1000.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_say_nothing_never_close_and_end_as_stuck() {
    let shop = Shop::open(SAFE, CLOSES_SOON).await;
    let silent = SimPayment { script: vec![Answer::status("02")], ..payment("INV-1", 1_000) };
    let id = shop
        .expect(silent, &[("expires_at", "now() - interval '1 second'"), ("created_at", "now() - interval '1 minute'")])
        .await;
    let work = shop.work().await;
    shop.until(&Shop::end_of(id), "review{stuck}").await;
    work.stop().await;
    assert_ne!(
        shop.db.text("select next_check_at from rekon.transactions").await,
        "-",
        "a stuck row goes on being asked"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_after_the_payment_was_settled_holds_the_money_and_says_so() {
    let shop = Shop::open(SAFE, SHORT_TIMES).await;
    let id = shop.expect(payment("INV-1", 1_000), &[]).await;
    let mut listener = PgListener::connect(&shop.db.url).await.expect("anybody may listen");
    listener.listen("rekon_state").await.expect("anybody may listen");
    let work = shop.work().await;
    shop.until(&Shop::end_of(id), "paid{}").await;
    shop.db.run(&format!("update rekon.transactions set order_status = 'cancelled' where id = {id}")).await;
    shop.until(&Shop::end_of(id), "held{cancelled_after_paid}").await;
    work.stop().await;
    let mut heard = Vec::new();
    for _ in 0..2 {
        heard.push(listener.recv().await.expect("two changes, two notices").payload().to_owned());
    }
    let held =
        r#"{"account":"doku-main","flags":["cancelled_after_paid"],"partner_reference_no":"INV-1","state":"held"}"#;
    assert_eq!(heard.last().map(String::as_str), Some(held));
    assert_eq!(shop.sim.world().book().returned_sen, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_echo_counts_for_nothing_and_a_right_one_heals_it() {
    let shop = Shop::open(SAFE, SHORT_TIMES).await;
    let wrong = Answer { echo: rekon::sim::Echo::WrongReference, ..Answer::paid() };
    let slip = SimPayment { script: vec![wrong.clone(), wrong.clone(), Answer::paid()], ..payment("INV-1", 1_000) };
    let never = SimPayment { script: vec![wrong], ..payment("INV-2", 1_000) };
    let (healed, lost) = (shop.expect(slip, &[]).await, shop.expect(never, &[]).await);
    let work = shop.work().await;
    shop.until(&Shop::end_of(healed), "paid{}").await;
    shop.until(&Shop::end_of(lost), "review{identity}").await;
    work.stop().await;
    assert_eq!(shop.db.text(&format!("select paid_amount from rekon.transactions where id = {lost}")).await, "-");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_answer_after_the_payment_is_looked_at_twice_before_a_person_is_called() {
    let shop = Shop::open(SAFE, SHORT_TIMES).await;
    let dies = SimPayment { script: vec![Answer::paid(), Answer::status("06")], ..payment("INV-1", 1_000) };
    let recovers =
        SimPayment { script: vec![Answer::paid(), Answer::status("03"), Answer::paid()], ..payment("INV-2", 1_000) };
    let (dead, alive) = (shop.expect(dies, &[]).await, shop.expect(recovers, &[]).await);
    let work = shop.work().await;
    shop.until(&Shop::end_of(dead), "paid{}").await;
    shop.until(&Shop::end_of(alive), "paid{}").await;
    shop.db.run("update rekon.transactions set next_check_at = now()").await;
    shop.until(&Shop::end_of(dead), "review{regression}").await;
    shop.db.run(&format!("update rekon.transactions set next_check_at = now() where id = {alive}")).await;
    shop.until(&format!("select checks >= 3 from rekon.transactions where id = {alive}"), "true").await;
    shop.until(&Shop::end_of(alive), "paid{}").await;
    work.stop().await;
}

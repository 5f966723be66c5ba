//! A pause is somebody's word, given once, kept for good; and it holds for whoever asks for a call slot.

use crate::support::TestDb;

fn turn(account: &str, paused: bool, by: &str) -> String {
    format!("insert into rekon.pauses (account, paused, made_by, reason) values ('{account}', {paused}, '{by}', 'so')")
}

const SLOTS: &str = "select granted from rekon.take_slots('shop', 'refund', 1, 5000, 20, 100, 250000, 2000000)";

#[tokio::test]
async fn a_paused_account_gets_no_slot_and_no_probe_and_its_pause_is_an_outage() {
    let db = TestDb::new().await;
    db.people().await;
    db.expect_refused(&turn("shop", false, "wati"), "pauses_change_something").await;
    db.expect_refused(&turn("shop", true, "nobody"), "pauses_by_people").await;
    db.expect_refused(&turn("shop", true, "wati").replace("'so'", "' '"), "pauses_say_why").await;
    assert_eq!(db.text(SLOTS).await, "1");
    db.run(&turn("shop", true, "wati")).await;
    db.expect_refused(&turn("shop", true, "sari"), "pauses_change_something").await;
    assert_eq!(db.text(SLOTS).await, "0");
    assert_eq!(db.text("select rekon.weather('shop', 60)").await, "open");
    assert_eq!(db.text("select rekon.weather('till', 60)").await, "closed");
    let outage =
        "select (count(*) filter (where until_at is null), count(*)) from rekon.outages where account = 'shop'";
    assert_eq!(db.text(outage).await, "(1,1)");
    // A breaker that opens and closes meanwhile ends its own outage and no other.
    db.store.open_breaker("shop", "timeout", std::time::Duration::from_secs(1)).await.unwrap();
    db.store.close_breaker("shop").await.unwrap();
    assert_eq!(db.text(outage).await, "(1,2)");
    assert_eq!(db.store.pauses().await.unwrap().len(), 1);
    db.run(&turn("shop", false, "sari")).await;
    assert_eq!((db.text(outage).await.as_str(), db.text(SLOTS).await.as_str()), ("(0,2)", "1"));
    assert_eq!(db.store.pauses().await.unwrap(), []);
    db.expect_refused("update rekon.pauses set reason = 'other'", "pauses_stay").await;
    db.expect_refused("truncate rekon.pauses cascade", "pauses_stay_all").await;
}

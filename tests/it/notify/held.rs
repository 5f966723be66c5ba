//! Rows that a merchant's transaction holds while their provider notifies of them.

use std::time::{Duration, Instant};

use futures::future::join_all;
use sqlx::Connection as _;

use super::{
    PATIENT,
    door::{Doorway, Knock},
    only_when_woken,
};
use crate::support::shop::Shop;

const OTHER: &str = "doku-second";

/// A shop with two accounts, where a held row is waited for so long.
async fn shop(lock_timeout: &str) -> Shop {
    let sections = format!("{}[database]\nlock_timeout = \"{lock_timeout}\"\n", only_when_woken());
    let mut shop = Shop::open(PATIENT, &sections).await;
    let line = |key: &str| shop.config_text.lines().find(|line| line.starts_with(key)).expect("it is there").to_owned();
    let (url, key) = (line("base_url"), line("private_key"));
    let other = format!(
        "[accounts.{OTHER}]\nprovider = \"doku\"\n{url}\nclient_id = \"BRN-2\"\nclient_secret = {{ env = \"DOKU_SECRET\" }}\n{key}\n\
         merchant_id = \"2116\"\nchannel_id = \"H2H\"\n[accounts.{OTHER}.notify]\nshared_key = {{ env = \"SHARED_KEY\" }}\n"
    );
    shop.config_text.push_str(&other);
    shop
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_somebody_holds_keep_no_other_notification_waiting() {
    let shop = shop("5s").await;
    for n in 0..20 {
        shop.db.insert_payment("doku-main", &format!("HELD-{n}"), "1000.00").await;
    }
    shop.db.insert_payment(OTHER, "FREE", "1000.00").await;
    let door = Doorway::open(&shop).await;
    let mut merchant = shop.db.connect().await;
    let mut open = merchant.begin().await.expect("he begins");
    sqlx::query("update rekon.transactions set qr_content = qr_content where account = 'doku-main'")
        .execute(&mut *open)
        .await
        .expect("he locks them");
    let about_held = || {
        join_all((0..20).map(async |n| {
            let answer = door.knock(&Knock::paid(&format!("HELD-{n}"), "1000.00").signed()).await;
            (answer.status, Instant::now())
        }))
    };
    let about_free = async {
        // They are on their way first.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let knock = Knock::paid("FREE", "1000.00").signed();
        let answer = door.post(OTHER, &knock.query(), Some("application/json"), knock.body().as_bytes()).await;
        (answer.status, Instant::now())
    };
    let (held, (status, answered_at)) = tokio::join!(about_held(), about_free);
    assert_eq!(status, 200, "the other account's is written down");
    assert!(held.iter().all(|(status, _)| *status == 503), "{held:?}");
    assert!(held.iter().all(|(_, at)| *at > answered_at), "it waited for none of them");
    assert_eq!(shop.db.text("select count(*) from rekon.facts").await, "1");
    open.rollback().await.expect("he lets them go");
    let again = about_held().await;
    assert!(again.iter().all(|(status, _)| *status == 200), "delivered again: {again:?}");
    assert_eq!(
        shop.db.text("select count(*) || ' ' || count(distinct transaction_id) from rekon.facts").await,
        "21 21"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_let_go_in_time_hears_its_notification_without_another_delivery() {
    let shop = shop("15s").await;
    shop.db.insert_payment("doku-main", "HELD", "1000.00").await;
    let door = Doorway::open(&shop).await;
    let mut merchant = shop.db.connect().await;
    let mut open = merchant.begin().await.expect("he begins");
    sqlx::query("update rekon.transactions set qr_content = 'another'").execute(&mut *open).await.expect("he locks it");
    let knock = Knock::paid("HELD", "1000.00").signed();
    let letting_go = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        open.commit().await.expect("he lets it go");
    };
    let (answer, ()) = tokio::join!(door.knock(&knock), letting_go);
    assert_eq!(answer.body, "CONTINUE");
    assert_eq!(shop.db.text("select count(*) from rekon.facts").await, "1");
}

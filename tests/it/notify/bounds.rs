//! What is refused, what is kept apart, and what a flood finds.

use std::time::Instant;

use futures::{StreamExt as _, stream};
use rekon::sim::{Answer, SimPayment};

use super::{
    PATIENT,
    door::{Doorway, Knock},
    only_when_woken, paid_when_asked_again,
};
use crate::support::shop::Shop;

async fn shop(limits: &str) -> (Shop, Doorway) {
    let shop = Shop::open(PATIENT, &format!("{}[server.notify]\n{limits}\n", only_when_woken())).await;
    let door = Doorway::open(&shop).await;
    (shop, door)
}

#[tokio::test]
async fn what_is_no_notification_gets_the_right_error_and_leaves_no_trace() {
    let (shop, door) = shop("").await;
    shop.expect(paid_when_asked_again("INV-1"), &[]).await;
    let knock = Knock::paid("INV-1", "1.00");
    let (query, body) = (knock.query(), knock.body());
    let form = Some("application/x-www-form-urlencoded");
    let other = knock.clone().with("AMOUNT", "2.00").query();
    let long = "x".repeat(64 * 1024 + 1);
    let huge = "x".repeat(1_048_577);
    for (account, query, kind, body, status) in [
        ("doku-main", query.as_str(), Some("text/xml"), body.as_bytes(), 415),
        ("doku-main", &query, Some("application/json"), b"{\"message\":", 400),
        ("doku-main", &query, Some("application/json"), &[0xff, 0x00, 0xfe], 400),
        ("doku-main", &query, form, other.as_bytes(), 400),
        ("doku-main", "TRANSACTIONID=%ff", None, b"", 400),
        ("doku-main", "", None, b"", 400),
        ("doku-main", &query, None, long.as_bytes(), 413),
        ("doku-main", &query, None, huge.as_bytes(), 413),
        ("doku-second", &query, None, body.as_bytes(), 404),
        ("%00", &query, None, body.as_bytes(), 404),
    ] {
        let answer = door.post(account, query, kind, body).await;
        assert_eq!(answer.status, status, "{account} {kind:?} {:?}", answer.body);
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        assert_eq!(answer.json()["status"], status);
    }
    let get = "GET /notify/doku/doku-main HTTP/1.1\r\nhost: rekon\r\nconnection: close\r\n\r\n";
    assert_eq!(crate::web::house::ask(door.address, get).await.status, 405);
    let traces = "select (select count(*) from rekon.facts) + (select count(*) from rekon.notifications)";
    assert_eq!(shop.db.text(traces).await, "0");
}

#[tokio::test]
async fn every_way_in_which_the_values_come_is_the_same_notification() {
    let (shop, door) = shop("").await;
    shop.expect(paid_when_asked_again("INV-1"), &[]).await;
    let values = Knock::paid("INV-1", "1.00").signed().query();
    for (query, kind, body) in [
        (values.as_str(), None, ""),
        ("", Some("application/x-www-form-urlencoded"), values.as_str()),
        ("", None, &values),
        (&values, Some("application/json; charset=utf-8"), ""),
    ] {
        assert_eq!(door.post("doku-main", query, kind, body.as_bytes()).await.body, "CONTINUE");
    }
    assert_eq!(shop.db.text("select count(*) || ' ' || max(observation) from rekon.facts").await, "1 PAID");
}

#[tokio::test]
async fn a_reference_that_nobody_has_is_kept_apart_and_never_delivered_again() {
    let (shop, door) = shop("kept_max = 3").await;
    for n in [1, 1, 2, 3, 4, 5] {
        let answer = door.knock(&Knock::paid(&format!("NOBODY-{n}"), "1.00").signed()).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "CONTINUE"));
    }
    let kept = "select string_agg(reference || ' ' || outcome || ' ' || n || ' ' || is_verified, ', ' order by reference) from rekon.notifications";
    let three = "NOBODY-1 unmatched 2 true, NOBODY-2 unmatched 1 true, NOBODY-3 unmatched 1 true";
    assert_eq!(shop.db.text(kept).await, three, "and no more than three");
    let body = shop.db.text("select string_agg(body::text, ' ') from rekon.notifications").await;
    assert!(
        body.contains("93600501***7249") && !body.contains("YURI") && !body.contains("9360050110001187249"),
        "{body}"
    );
    shop.db
        .run("update rekon.notifications set last_at = now() - interval '31 days' where reference <> 'NOBODY-1'")
        .await;
    let month = std::time::Duration::from_hours(30 * 24);
    assert_eq!(shop.db.store.prune_notifications(month, 100).await.unwrap(), 2);
}

#[tokio::test]
async fn a_value_that_no_table_can_hold_is_kept_in_one_that_it_can() {
    let (shop, door) = shop("").await;
    shop.expect(paid_when_asked_again("INV-1"), &[]).await;
    for reference in ["INV-1", "NOBODY"] {
        let query = format!(
            "TRANSACTIONID={reference}&TXNSTATUS=S%00&TXNDATE=%00&AMOUNT=1%00&INVOICE=%00%1b%5b2J&ISSUERID=%00"
        );
        let answer =
            door.post("doku-main", &query, None, br#"{"message":"\u0000","activityCode":"\ud83e\udd80"}"#).await;
        assert_eq!(answer.body, "CONTINUE", "{reference}");
    }
    let kept = "select (select count(*) from rekon.facts) || ' ' || (select count(*) from rekon.notifications)";
    assert_eq!(shop.db.text(kept).await, "1 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forger_cannot_make_us_storm_the_provider() {
    let (shop, door) = shop("unverified_per_minute = 1\nunverified_burst = 2").await;
    for n in 0..20 {
        let open = SimPayment { script: vec![Answer::status("03")], ..paid_when_asked_again(&format!("INV-{n}")) };
        shop.expect(open, &[]).await;
    }
    let work = shop.work().await;
    shop.until("select sum(checks) from rekon.transactions", "20").await;
    // Two replicas' doors, so that the allowance is seen to be shared.
    let second = Doorway::open(&shop).await;
    for n in 0..200 {
        let knock = Knock::paid(&format!("INV-{}", n % 20), &format!("{n}.50"));
        let door = if n % 2 == 0 { &door } else { &second };
        assert_eq!(door.knock(&knock).await.body, "CONTINUE");
    }
    shop.until("select sum(checks) from rekon.transactions", "22").await;
    let apart = "select outcome || ' ' || sum(n) from rekon.notifications group by outcome";
    assert_eq!(shop.db.text(apart).await, "limited 198");
    // A right signature is not held up by the forger's flood.
    door.knock(&Knock::paid("INV-19", "150000.00").signed()).await;
    shop.until("select sum(checks) from rekon.transactions", "23").await;
    work.stop().await;
}

#[tokio::test]
async fn a_row_takes_its_fill_of_notifications_and_no_more() {
    let (shop, door) = shop("per_payment = 4").await;
    shop.expect(paid_when_asked_again("INV-1"), &[]).await;
    for n in 0..10 {
        assert_eq!(door.knock(&Knock::paid("INV-1", &format!("{n}.50")).signed()).await.body, "CONTINUE");
    }
    assert_eq!(shop.db.text("select count(*) || ' ' || max(seq) from rekon.facts").await, "4 4");
    assert_eq!(shop.db.text("select seq from rekon.transactions").await, "4");
    assert_eq!(shop.db.text("select count(*) || ' ' || max(outcome) from rekon.notifications").await, "6 crowded");
}

#[tokio::test]
async fn a_row_that_is_full_of_forgeries_still_hears_the_true_one() {
    let (shop, door) = shop("per_payment = 4\nunverified_burst = 100").await;
    shop.expect(paid_when_asked_again("INV-1"), &[]).await;
    for n in 0..10 {
        door.knock(&Knock::paid("INV-1", &format!("{n}.50"))).await;
    }
    let facts = "select count(*) filter (where doubt is null) || ' signed, ' || count(*) filter (where doubt = 'unverified') || ' not' from rekon.facts";
    assert_eq!(shop.db.text(facts).await, "0 signed, 4 not");
    assert_eq!(shop.db.text("select count(*) || ' ' || max(outcome) from rekon.notifications").await, "6 crowded");
    door.knock(&Knock::paid("INV-1", "150000.00").signed()).await;
    assert_eq!(shop.db.text(facts).await, "1 signed, 4 not");
    assert_eq!(shop.db.text("select count(*) from rekon.pulled").await, "1", "and its row is asked before all others");
    // What is signed has a bound of its own, and fills no forger's.
    for n in 0..10 {
        door.knock(&Knock::paid("INV-1", &format!("{n}.75")).signed()).await;
    }
    assert_eq!(shop.db.text(facts).await, "4 signed, 4 not");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_are_written_down_whole_before_they_are_answered() {
    let (shop, door) = shop("").await;
    let sql = "insert into rekon.transactions (account, partner_reference_no, amount, next_check_at)
               select 'doku-main', 'INV-' || n, 1000, now() from generate_series(0, 249) as n";
    shop.db.run(sql).await;
    let begun = Instant::now();
    // Each twice, on connections of their own, 64 at a time.
    let answers: Vec<_> = stream::iter(0..500)
        .map(|n| async move { (n, n % 250) })
        .buffer_unordered(64)
        .map(|(_, row)| {
            let door = &door;
            async move { door.knock(&Knock::paid(&format!("INV-{row}"), "1000.00").signed()).await.body }
        })
        .buffer_unordered(64)
        .collect()
        .await;
    assert!(answers.iter().all(|body| body == "CONTINUE"), "{answers:?}");
    println!("500 notifications in {:?}", begun.elapsed());
    let facts = "select count(*) || ' ' || count(distinct transaction_id) || ' ' || max(seq) from rekon.facts";
    assert_eq!(shop.db.text(facts).await, "250 250 1");
}

#[tokio::test]
async fn without_a_database_the_provider_is_asked_to_deliver_again() {
    let (shop, door) = shop("").await;
    shop.expect(paid_when_asked_again("INV-1"), &[]).await;
    let store = door.store.send_replace(None);
    let knock = Knock::paid("INV-1", "1.00").signed();
    assert_eq!(door.knock(&knock).await.status, 503);
    door.store.send_replace(store);
    assert_eq!(door.knock(&knock).await.status, 200);
    assert_eq!(shop.db.text("select count(*) from rekon.facts").await, "1");
}

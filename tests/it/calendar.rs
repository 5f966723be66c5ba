//! The calendar without a leader: of two replicas that see the same slot, one runs it, over the real command bus.

use std::time::Duration;

use crate::support::shop::Shop;

const EVERY_MINUTE: &str = r#"
[jobs.daily]
cron = "* * * * *"
[jobs.seal]
cron = "* * * * *"
[jobs.sweep]
every = "50ms"
"#;

/// Waits for the next full minute, because nothing shorter than a minute can stand in a calendar.
#[tokio::test(flavor = "multi_thread")]
async fn each_slot_is_run_once_by_one_of_two_replicas() {
    let shop = Shop::open("rate = { per_second = 100, burst = 10, concurrency = 8 }", EVERY_MINUTE).await;
    let (one, other) = (shop.work_with_calendar().await, shop.work_with_calendar().await);
    let done = "select count(*) from rekon.runs where state = 'done' and job in ('daily', 'seal')";
    for _ in 0..90 {
        if shop.db.text(done).await.parse::<i64>().is_ok_and(|done| done >= 2) {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let runs = "select string_agg(distinct job || ' ' || state, ', ' order by job || ' ' || state) from rekon.runs where job in ('daily', 'seal')";
    shop.until(runs, "daily done, seal done").await;
    one.stop().await;
    other.stop().await;
    let twice = "select count(*) from (select job, slot from rekon.runs group by job, slot having count(*) > 1) d";
    assert_eq!(shop.db.text(twice).await, "0");
    let left = "select count(*) from apalis.jobs where status not in ('Done')";
    assert_eq!(shop.db.text(left).await, "0", "every command was acknowledged");
    assert_ne!(shop.db.text("select count(*) from rekon.seals").await, "0");
}

//! The calendar without a leader: of two replicas that see the same slot, one runs it, over the real command bus.

use std::time::Duration;

use rekon::sim::{Answer, SimPayment};

use crate::support::{TestDb, shop::Shop};

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

/// A run of the calendar as it stands when its slot was used and everything else about it was lost.
fn used(job: &str, slot_minutes_ago: u32, state: &str, day: &str, attempts: u32) -> String {
    format!(
        "insert into rekon.runs (job, slot, params, state, heartbeat_at, attempts) values ('{job}',
           to_char((now() - interval '{slot_minutes_ago} minutes') at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS\"+00:00\"'),
           jsonb_build_object('day', {day}), '{state}', now() - interval '1 hour', {attempts})"
    )
}

const TODAY: &str = "(now() at time zone 'Asia/Jakarta')::date::text";
const RATE: &str = "rate = { per_second = 100, burst = 10, concurrency = 8 }";
const RUNS: &str = "select string_agg(concat_ws(' ', job, state, attempts), ', ' order by id) from rekon.runs";

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_lost_its_command_or_its_worker_is_done_anyway() {
    let shop = Shop::open(RATE, "").await;
    // Queued without a command; its worker died; it cannot be done; it could not be done twenty times.
    shop.db.run(&used("seal", 5, "queued", TODAY, 0)).await;
    shop.db.run(&used("daily", 4, "running", TODAY, 1)).await;
    shop.db.run(&used("daily", 3, "queued", "'no day'", 0)).await;
    shop.db.run(&used("daily", 2, "queued", "'no day'", 19)).await;
    shop.db.run(&used("daily", 1, "running", TODAY, 20)).await;
    let (one, other) = (shop.work_with_calendar().await, shop.work_with_calendar().await);
    let ended = "seal done 1, daily done 2, daily queued 1, daily failed 20, daily failed 20";
    for _ in 0..90 {
        if shop.db.text(RUNS).await == ended {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(shop.db.text(RUNS).await, ended);
    let said = "select count(*) from rekon.runs where report ->> 'unfinished' like '%no day%'";
    assert_eq!(shop.db.text(said).await, "2", "it is said why");
    assert_eq!(shop.db.text("select count(*) from rekon.seals").await, "1");
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_process_is_told_to_end_goes_back_to_the_queue() {
    let shop = Shop::open(RATE, "[jobs.sweep]\nevery = \"50ms\"\n").await;
    // It stays open, so the day has a further look before its deadline.
    let open = SimPayment { reference_no: "R-OPEN".into(), ..SimPayment::exact("OPEN", 5_000_000) };
    shop.expect(open.answering(vec![Answer::status("01")]), &[]).await;
    shop.db.run(&used("daily", 5, "queued", TODAY, 0)).await;
    let work = shop.work_with_calendar().await;
    for _ in 0..90 {
        if shop.db.text(RUNS).await == "daily running 1" {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(shop.db.text(RUNS).await, "daily running 1");
    work.stop().await;
    assert_eq!(shop.db.text(RUNS).await, "daily queued 1");
    assert_eq!(shop.db.text("select finished_at from rekon.runs").await, "-");
}

/// A transaction pooler carries neither notifications nor what the bus needs. The direct way leads to another database here,
/// so that it can be seen who went it.
#[tokio::test(flavor = "multi_thread")]
async fn wake_ups_and_commands_go_by_the_direct_url() {
    let direct = TestDb::new().await;
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("direct_url");
    std::fs::write(&secret, &direct.url).expect("it is written");
    let shop = Shop::open(RATE, &format!("[database]\ndirect_url = {{ file = \"{}\" }}\n", secret.display())).await;
    let work = shop.work_with_calendar().await;
    let listening =
        "select count(*) from pg_stat_activity where datname = current_database() and query ilike 'listen%'";
    for _ in 0..600 {
        if direct.value::<i64>(listening).await >= 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((direct.value::<i64>(listening).await, shop.db.value::<i64>(listening).await), (2, 0));
    assert_eq!(direct.text("select count(*) > 0 from apalis.workers").await, "true");
    assert_eq!(shop.db.text("select count(*) from apalis.workers").await, "0");
    work.stop().await;
}

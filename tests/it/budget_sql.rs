//! `rekon.take_slots` and `rekon.weather`: what replicas share about a provider, tried by several connections at once.
//!
//! A slot's time is computed here as its user computes it: at once when it lies in the past, else at its own time.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rekon::store::wake::{Heard, Wakes};
use sqlx::{Connection as _, PgConnection, Row as _};

use crate::support::TestDb;

/// 200 calls a second, 20 at once.
const SPACING_US: i64 = 5_000;
const BURST: i32 = 20;
const BURST_US: i64 = 20 * SPACING_US;
const NEAR_US: i64 = 100_000;
/// Far enough that no other class can take a reserve away.
const FAR_US: i64 = NEAR_US + BURST_US + 4 * SPACING_US;
const SHARES: [(&str, i32); 4] = [("due", 600), ("refund", 160), ("adhoc", 160), ("cashier", 80)];
const HOUR_US: i64 = 3_600_000_000;

/// One request for slots.
#[derive(Clone, Copy)]
struct Ask {
    class: &'static str,
    want: i32,
    spacing_us: i64,
    share: i32,
    near_us: i64,
    far_us: i64,
}

impl Ask {
    fn of(class: &'static str, want: i32) -> Self {
        let share = SHARES.iter().find(|(name, _)| *name == class).map_or(0, |(_, share)| *share);
        Self { class, want, spacing_us: SPACING_US, share, near_us: NEAR_US, far_us: FAR_US }
    }
}

/// What was granted, with times in microseconds of the epoch.
struct Grant {
    granted: i32,
    first_us: i64,
    retry_us: i64,
    /// When each slot may be used.
    nominal: Vec<i64>,
}

/// Takes slots of the account `shop` and reads, before anybody else can, when that was by the database's clock.
async fn take(connection: &mut PgConnection, ask: Ask) -> Grant {
    let mut tx = connection.begin().await.unwrap();
    let row =
        sqlx::query("select granted, first_us, retry_us from rekon.take_slots('shop', $1, $2, $3, $4, $5, $6, $7)")
            .bind(ask.class)
            .bind(ask.want)
            .bind(ask.spacing_us)
            .bind(BURST)
            .bind(ask.share)
            .bind(ask.near_us)
            .bind(ask.far_us)
            .fetch_one(&mut *tx)
            .await
            .unwrap();
    let (granted, first_us): (i32, i64) = (row.get(0), row.get(1));
    let next_us: Option<i64> = sqlx::query_scalar(
        "select (extract(epoch from tat) * 1000000)::bigint from rekon.call_budgets where account = 'shop' and class = 'all' and isfinite(tat)",
    )
    .fetch_optional(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
    let mut nominal = Vec::new();
    if let (Some(next_us), true) = (next_us, granted > 0) {
        let first_at = next_us - i64::from(granted) * ask.spacing_us;
        let granted_at = first_at - first_us;
        nominal = (0..i64::from(granted)).map(|i| granted_at.max(first_at + i * ask.spacing_us)).collect();
    }
    Grant { granted, first_us, retry_us: row.get(2), nominal }
}

/// A small generator, so that a run can be repeated.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// In any window of t, both ends included, at most `burst + t / spacing` slots.
fn assert_within_budget(mut nominal: Vec<i64>) {
    nominal.sort_unstable();
    for (i, from) in nominal.iter().enumerate() {
        for (j, to) in nominal.iter().enumerate().skip(i) {
            let most = i64::from(BURST) + (to - from) / SPACING_US;
            let count = i64::try_from(j - i + 1).unwrap();
            assert!(count <= most, "{count} slots within {} us, at most {most} may be", to - from);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_window_holds_more_than_burst_and_rate() {
    let db = TestDb::new().await;
    let started = Instant::now();
    let mut replicas = Vec::new();
    for replica in 0..6_u64 {
        let mut connection = db.connect().await;
        replicas.push(tokio::spawn(async move {
            let (mut dice, mut nominal) = (Dice(replica), Vec::new());
            while started.elapsed() < Duration::from_secs(2) {
                let (class, _) = SHARES[usize::try_from(dice.below(4)).unwrap()];
                let want = i32::try_from(dice.below(13)).unwrap();
                let grant = take(&mut connection, Ask::of(class, want)).await;
                assert!(grant.granted <= want && grant.granted >= 0, "{} of {want}", grant.granted);
                nominal.extend(grant.nominal);
                // Everybody goes quiet for a while at the same time: a pause must not be paid out later.
                let pause = if (800..1_000).contains(&started.elapsed().as_millis()) { 300 } else { dice.below(4) };
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            nominal
        }));
    }
    let mut nominal = Vec::new();
    for replica in replicas {
        nominal.extend(replica.await.unwrap());
    }
    assert!(nominal.len() > 200, "half the rate, at least: {}", nominal.len());
    assert_within_budget(nominal);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_calls_of_an_account_share_one_burst() {
    let db = TestDb::new().await;
    let mut callers = Vec::new();
    for n in 0..8 {
        let mut connection = db.connect().await;
        let (class, _) = SHARES[n % 4];
        // A slot an hour: whatever the machine does, there is one burst and no more.
        let ask = Ask { spacing_us: HOUR_US, near_us: 0, far_us: 0, ..Ask::of(class, 7) };
        callers.push(tokio::spawn(async move { take(&mut connection, ask).await.granted }));
    }
    let mut granted = 0;
    for caller in callers {
        granted += caller.await.unwrap();
    }
    assert_eq!(granted, BURST);
}

#[tokio::test]
async fn an_idle_reserve_is_lent() {
    let db = TestDb::new().await;
    let mut connection = db.connect().await;
    let ask = Ask { spacing_us: HOUR_US, near_us: 0, far_us: 0, ..Ask::of("cashier", 100) };
    let all = take(&mut connection, ask).await;
    assert_eq!(
        (all.granted, all.first_us),
        (BURST, -19 * HOUR_US),
        "a class with 8 % gets everything while nobody else asks"
    );
    let none = take(&mut connection, Ask { class: "refund", ..ask }).await;
    assert_eq!(none.granted, 0, "what was lent is spent");
    assert!(none.retry_us > HOUR_US / 2, "{}", none.retry_us);
}

#[tokio::test]
async fn a_class_without_a_share_lives_on_loans() {
    let db = TestDb::new().await;
    let mut connection = db.connect().await;
    let ask = Ask { share: 0, spacing_us: HOUR_US, near_us: 0, far_us: 100 * HOUR_US, ..Ask::of("adhoc", 100) };
    assert_eq!(take(&mut connection, ask).await.granted, BURST);
    assert_eq!(take(&mut connection, ask).await.granted, 0, "no reserve lies ahead");
}

#[tokio::test]
async fn wanting_nothing_takes_nothing() {
    let db = TestDb::new().await;
    let mut connection = db.connect().await;
    assert_eq!(take(&mut connection, Ask::of("due", 0)).await.granted, 0);
    assert_eq!(db.value::<i64>("select count(*) from rekon.call_budgets where isfinite(tat)").await, 0);
    for wrong in [
        "'all', 1, 5000, 20, 100",
        "'due', -1, 5000, 20, 100",
        "'due', 1, 0, 20, 100",
        "'due', 1, 5000, 0, 100",
        "'due', 1, 5000, 20, 1001",
    ] {
        let refused = db.try_run(&format!("select rekon.take_slots('shop', {wrong}, 0, 0)")).await.unwrap_err();
        assert_eq!(
            refused.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref(),
            Some("22023"),
            "{wrong}: {refused}"
        );
    }
    db.expect_refused(
        "select rekon.take_slots('shop', 'spree', 1, 5000, 20, 100, 0, 0)",
        "call_budgets_class_is_known",
    )
    .await;
}

#[tokio::test]
async fn a_full_near_horizon_leaves_a_reserve_its_slot() {
    let db = TestDb::new().await;
    let mut connection = db.connect().await;
    let wide = Ask { spacing_us: HOUR_US, near_us: 2 * HOUR_US, far_us: 40 * HOUR_US, ..Ask::of("due", 1_000) };
    // The due class takes its reserve and all that is lent: the burst, now, and the two hours that are near.
    let first = take(&mut connection, wide).await;
    assert_eq!(first.granted, BURST + 2);
    assert_eq!(take(&mut connection, wide).await.granted, 0, "its reserve is spent and nothing is near");
    let refund = take(&mut connection, Ask { class: "refund", share: 160, want: 1_000, ..wide }).await;
    assert_eq!(refund.granted, 3, "16 % of a burst of 20");
    assert!(refund.first_us > 2 * HOUR_US && refund.first_us <= wide.far_us, "{}", refund.first_us);
    let more = take(&mut connection, Ask { class: "refund", share: 160, want: 1, ..wide }).await;
    assert_eq!(more.granted, 0);
    // Six hours are taken: the next loan is near in four, before its reserve has grown back (6.25).
    assert!(more.retry_us > 3 * HOUR_US && more.retry_us <= 4 * HOUR_US, "{}", more.retry_us);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_gets_through_while_the_sweep_hammers() {
    let db = TestDb::new().await;
    let started = Instant::now();
    let lasts = Duration::from_secs(2);
    let mut sweepers = Vec::new();
    for _ in 0..3 {
        let mut connection = db.connect().await;
        sweepers.push(tokio::spawn(async move {
            let mut nominal = Vec::new();
            while started.elapsed() < lasts {
                nominal.extend(take(&mut connection, Ask::of("due", 50)).await.nominal);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            nominal
        }));
    }
    let mut connection = db.connect().await;
    let (mut refunds, mut nominal) = (0, Vec::new());
    while started.elapsed() < lasts {
        let grant = take(&mut connection, Ask::of("refund", 1)).await;
        assert!(grant.first_us <= FAR_US, "{}", grant.first_us);
        refunds += grant.granted;
        nominal.extend(grant.nominal);
        let wait = if grant.granted == 0 { grant.retry_us.min(50_000) } else { 1_000 };
        tokio::time::sleep(Duration::from_micros(wait.unsigned_abs())).await;
    }
    for sweeper in sweepers {
        nominal.extend(sweeper.await.unwrap());
    }
    // Its share of 16 % of 200 a second is 64 in two seconds; a busy machine asks less often.
    assert!(refunds >= 32, "only {refunds} refunds got a slot");
    assert!(nominal.len() > 200, "the sweep lives as well: {}", nominal.len());
    assert_within_budget(nominal);
}

#[tokio::test]
async fn a_push_back_delays_everybody() {
    let db = TestDb::new().await;
    let mut connection = db.connect().await;
    assert_eq!(take(&mut connection, Ask::of("due", 1)).await.granted, 1);
    db.another_store().await.push_back("shop", Duration::from_mins(10)).await.unwrap();
    for (class, _) in SHARES {
        let grant = take(&mut connection, Ask::of(class, 5)).await;
        assert_eq!(grant.granted, 0, "{class}");
        assert!(grant.retry_us > 500_000_000 && grant.retry_us < 600_000_000, "{class}: {}", grant.retry_us);
    }
    // A shorter one does not shorten it, and another account does not notice.
    db.store.push_back("shop", Duration::from_secs(1)).await.unwrap();
    assert_eq!(take(&mut connection, Ask::of("refund", 5)).await.granted, 0);
    assert_eq!(db.text("select granted from rekon.take_slots('other', 'due', 5, 5000, 20, 600, 0, 0)").await, "5");
    // When it has passed, calls begin at the rate and not with a burst.
    db.run("update rekon.call_budgets set tat = clock_timestamp() + interval '1 hour' where account = 'shop' and class = 'all'").await;
    let after = take(
        &mut connection,
        Ask { spacing_us: HOUR_US, near_us: 2 * HOUR_US, far_us: 2 * HOUR_US, ..Ask::of("due", 20) },
    )
    .await;
    assert_eq!(after.granted, 2, "in one hour and in two");
    assert!(after.first_us > HOUR_US / 2);
}

#[tokio::test]
async fn a_push_back_is_told_once_however_many_answers_said_it() {
    let db = TestDb::new().await;
    let mut heard = Wakes::listen(&db.another_store().await).await.unwrap();
    db.store.push_back("shop", Duration::from_mins(5)).await.unwrap();
    // A storm: ten more calls in flight come back with a 429 that asks for no more, and then one that does.
    for _ in 0..10 {
        db.store.push_back("shop", Duration::from_mins(4)).await.unwrap();
    }
    db.store.push_back("shop", Duration::from_mins(10)).await.unwrap();
    db.store.pull("shop", &[]).await.unwrap();
    let shop = || "shop".to_owned();
    for said in [Heard::Slow(shop()), Heard::Slow(shop()), Heard::Wake(shop())] {
        assert_eq!(heard.next().await.unwrap(), said);
    }
}

/// What is lent goes to refunds before the cashier, to him before what is due, and last to a person's run, by how far ahead
/// each may reach: a class that wants more than its reserve cannot keep one above it from a loan.
#[tokio::test]
async fn a_loan_goes_to_the_class_that_reaches_further() {
    let db = TestDb::new().await;
    let mut connection = db.connect().await;
    let near = |class, hours| Ask {
        share: 0,
        spacing_us: HOUR_US,
        near_us: hours * HOUR_US,
        far_us: 0,
        ..Ask::of(class, 1_000)
    };
    assert_eq!(take(&mut connection, near("due", 5)).await.granted, BURST + 5);
    assert_eq!(take(&mut connection, near("adhoc", 4)).await.granted, 0, "what is due takes all that is near");
    assert_eq!(take(&mut connection, near("cashier", 6)).await.granted, 1);
    assert_eq!(take(&mut connection, near("due", 5)).await.granted, 0);
    assert_eq!(take(&mut connection, near("refund", 7)).await.granted, 1);
    assert_eq!(take(&mut connection, near("cashier", 6)).await.granted, 0);
}

/// As shipped (a reserve of 20 %): its class, its share in thousandths, and how far a loan may reach in slots of an account with
/// 200 calls a second: 100 ms, and 25 ms for each class that it stands above what is due.
const SHIPPED: [(&str, i32, i64); 4] = [("refund", 80, 30), ("cashier", 40, 25), ("due", 800, 20), ("adhoc", 80, 15)];
const HOURS: i32 = 1_000;

/// So many slots each class got in a thousand hours with a slot each, and the longest that it waited for one, in hours. Those who
/// ask want more than there is, every hour, in any order. The hours pass when the test says so, whatever the machine does.
async fn a_thousand_hours(db: &TestDb, asking: &[&str]) -> BTreeMap<&'static str, (i32, i32)> {
    let mut connection = db.connect().await;
    let mut dice = Dice(7);
    let mut got: BTreeMap<&str, (i32, i32, i32)> = BTreeMap::new();
    db.run("delete from rekon.call_budgets").await;
    // The burst and what lies near are gone after a hundred hours.
    for hour in -100..HOURS {
        let mut turn: Vec<_> = SHIPPED.iter().filter(|(class, ..)| asking.contains(class)).collect();
        let first = usize::try_from(dice.below(4)).unwrap() % turn.len();
        turn.rotate_left(first);
        if dice.below(2) == 0 {
            turn.reverse();
        }
        for &&(class, share, near) in &turn {
            let reach = Ask {
                share,
                spacing_us: HOUR_US,
                near_us: near * HOUR_US,
                far_us: 400 * HOUR_US,
                ..Ask::of(class, 100)
            };
            let granted = take(&mut connection, reach).await.granted;
            let (slots, last, longest) = got.entry(class).or_default();
            if hour >= 0 && granted > 0 {
                (*slots, *longest) = (*slots + granted, (*longest).max(hour - *last));
                *last = hour;
            }
        }
        db.run("update rekon.call_budgets set tat = tat - interval '1 hour' where isfinite(tat)").await;
    }
    let ends = |(slots, last, longest): (i32, i32, i32)| (slots, longest.max(HOURS - last));
    got.into_iter().map(|(class, got)| (class, ends(got))).collect()
}

/// Refunds, then the cashier and what a notification pulled forward, then what is due, then `rekon reconcile`, whoever started it:
/// in this order what is free goes to whoever wants more than its reserve, and each keeps its reserve from all the others.
#[tokio::test]
async fn each_class_goes_before_those_below_it_and_none_is_starved() {
    let db = TestDb::new().await;
    let order = SHIPPED.map(|(class, ..)| class);
    for asking in [&order[..], &["refund", "cashier", "adhoc"], &["cashier", "adhoc"], &["due", "adhoc"], &["adhoc"]] {
        let got = a_thousand_hours(&db, asking).await;
        println!("{asking:?}: {got:?}");
        let total: i32 = got.values().map(|(slots, _)| slots).sum();
        assert!((HOURS - 5..=HOURS + 5).contains(&total), "{asking:?}: {total} slots in {HOURS} hours");
        let reserves: i32 =
            SHIPPED.iter().filter(|(class, ..)| asking.contains(class)).map(|(_, share, _)| share).sum();
        for (class, share, _) in SHIPPED.into_iter().filter(|(class, ..)| asking.contains(class)) {
            let (slots, longest) = got[class];
            // All that nobody has reserved goes to the first who asks.
            let due_to_it = share + if class == asking[0] { HOURS - reserves } else { 0 };
            assert!(
                (slots - due_to_it).abs() <= 5,
                "{asking:?}: {class} got {slots} slots and should have got {due_to_it}"
            );
            // The bound: nobody waits longer than its reserve takes to grow one slot.
            assert!(longest <= HOURS / share + 1, "{asking:?}: {class} waited {longest} hours");
        }
    }
}

#[tokio::test]
async fn the_weather_is_closed_until_somebody_opens_it() {
    let db = TestDb::new().await;
    let weather = "select rekon.weather('shop', 60)";
    assert_eq!(db.text(weather).await, "closed");
    db.expect_refused(
        "insert into rekon.breakers (account, opened_at) values ('shop', now())",
        "breakers_open_have_a_probe",
    )
    .await;
    db.store.open_breaker("shop", "401 from the provider", Duration::from_mins(5)).await.unwrap();
    assert_eq!(db.text(weather).await, "open");
    assert_eq!(db.text("select rekon.weather('other', 60)").await, "closed");
    db.store.close_breaker("shop").await.unwrap();
    assert_eq!(db.text(weather).await, "closed");
    assert_eq!(db.text("select (count(*), count(until_at)) from rekon.outages").await, "(1,1)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_caller_probes_and_the_next_pause_is_twice_as_long() {
    let db = TestDb::new().await;
    db.store.open_breaker("shop", "5xx", Duration::from_secs(1)).await.unwrap();
    for (nth, pause) in [(1, 2), (2, 4), (3, 8), (4, 16), (5, 32), (6, 60), (7, 60)] {
        // The pause is over.
        db.run("update rekon.breakers set probe_at = clock_timestamp() - interval '1 ms'").await;
        let mut callers = Vec::new();
        for _ in 0..6 {
            let mut connection = db.connect().await;
            callers.push(tokio::spawn(async move {
                sqlx::query_scalar::<_, String>("select rekon.weather('shop', 60)")
                    .fetch_one(&mut connection)
                    .await
                    .unwrap()
            }));
        }
        let mut words = Vec::new();
        for caller in callers {
            words.push(caller.await.unwrap());
        }
        words.sort_unstable();
        assert_eq!(words, ["open", "open", "open", "open", "open", "probe"], "probe {nth}");
        let left: i64 =
            db.value("select ceil(extract(epoch from probe_at - clock_timestamp()))::bigint from rekon.breakers").await;
        assert!(left <= pause && left > pause / 2, "after probe {nth} it waits {left} s, not {pause}");
    }
}

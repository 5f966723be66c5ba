//! The windows in which a process can die, each held open for sure and hit at least ten times.

use std::time::Duration;

use futures::future::BoxFuture;
use rekon::sim::{GatePoint, Service};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use super::day::{Day, Kind, Row};

/// Kills that must hit each window.
const KILLS: usize = 10;
/// Attempts at most: one that missed its window is not counted.
const TRIES: usize = 20;
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Window {
    /// A query has arrived at the provider, or its answer is on the way.
    QueryUnanswered,
    /// The provider has given the money back; rekon does not know.
    RefundDoneUnstored,
    /// A refund is reserved; its attempt is not stored.
    ReservedUnsent,
    /// The attempt is stored; nothing has left.
    SendingUnsent,
    /// The transaction that settles an answer is open.
    MidSettle,
    /// Rows are leased; nobody has been called.
    LeasedIdle,
}

impl Window {
    const ALL: [Self; 6] = [
        Self::QueryUnanswered,
        Self::RefundDoneUnstored,
        Self::ReservedUnsent,
        Self::SendingUnsent,
        Self::MidSettle,
        Self::LeasedIdle,
    ];

    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::QueryUnanswered => ("QU", "query sent, no answer yet"),
            Self::RefundDoneUnstored => ("RD", "refund done, answer not stored"),
            Self::ReservedUnsent => ("RU", "reserved, attempt not stored"),
            Self::SendingUnsent => ("SU", "attempt stored, nothing sent"),
            Self::MidSettle => ("MS", "settle transaction open"),
            Self::LeasedIdle => ("LI", "rows leased, nobody called"),
        }
    }

    /// One kill in this window; false where it missed.
    fn kill(self, day: &mut Day) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            match self {
                Self::QueryUnanswered => query_unanswered(day).await,
                Self::RefundDoneUnstored => refund_done_unstored(day).await,
                Self::ReservedUnsent => reserved_unsent(day).await,
                Self::SendingUnsent => sending_unsent(day).await,
                Self::MidSettle => mid_settle(day).await,
                Self::LeasedIdle => leased_idle(day).await,
            }
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_with_ten_kills_in_every_window_ends_as_if_nobody_had_died() {
    let days = Window::ALL.into_iter().zip(20_261_120..).map(|(window, seed)| killed_day(window, seed));
    let hits = futures::future::join_all(days).await;
    println!("{:<32} {:>5} {:>6} {:>8}", "kill -9 while", "kills", "missed", "payments");
    for (window, (kills, missed, payments)) in Window::ALL.iter().zip(&hits) {
        println!("{:<32} {kills:>5} {missed:>6} {payments:>8}", window.words().1);
    }
    for (window, (kills, ..)) in Window::ALL.iter().zip(hits) {
        assert!(kills >= KILLS, "{window:?} was hit {kills} times only");
    }
}

/// A day of its own, killed in one window again and again among payments of every kind: hits, misses, payments.
async fn killed_day(window: Window, seed: u64) -> (usize, usize, usize) {
    let mut day = Day::begin(window.words().0, seed).await;
    let (mut hits, mut missed) = (0, 0);
    while hits < KILLS && hits + missed < TRIES {
        day.sell_one_of(&Kind::ALL).await;
        let hit = tokio::time::timeout(PATIENCE, window.kill(&mut day)).await;
        if hit.unwrap_or_else(|_| panic!("{window:?} was not reached; kills so far {hits}\n{}", day.rekon().said())) {
            hits += 1;
        } else {
            missed += 1;
        }
    }
    day.ends_well().await;
    proven_as(&day, window).await;
    (hits, missed, day.rows.len())
}

/// The refunds that a kill met say how they were proven.
async fn proven_as(day: &Day, window: Window) {
    let expected = |kind| match (window, kind) {
        // A 04 proves that a full refund arrived; what a difference became, only its repeat can tell.
        (Window::RefundDoneUnstored, Kind::CancelledThenPaid) => Some("query 1"),
        (Window::RefundDoneUnstored, Kind::Overpaid) | (Window::SendingUnsent, _) => Some("repeat 2"),
        (Window::ReservedUnsent, _) => Some("answer 1"),
        _ => None,
    };
    for row in day.rows.iter().filter(|row| row.is_target) {
        if let Some(expected) = expected(row.kind) {
            assert_eq!(day.refund_of(row, "proof || ' ' || attempts").await, expected, "{row:?}");
        }
    }
}

/// The first query of a payment, or the second one that proves it, stands at the provider's door or has been answered there.
async fn query_unanswered(day: &mut Day) -> bool {
    let is_second = day.rng.between(0, 1) == 1;
    let kinds = if is_second { &Kind::GOES_BACK[..] } else { &Kind::ALL[..] };
    let target = day.target(kinds).await;
    let first = day.gate(GatePoint::AfterEffect, Service::Query, &target);
    day.rekon();
    first.hit().await;
    if !is_second {
        day.kill_9();
        return true;
    }
    let second = day.gate(GatePoint::BeforeEffect, Service::Query, &target);
    first.release();
    second.hit().await;
    day.kill_9();
    true
}

async fn refund_done_unstored(day: &mut Day) -> bool {
    let target = day.target(&Kind::GOES_BACK).await;
    let gate = day.gate(GatePoint::AfterEffect, Service::Refund, &target);
    day.rekon();
    gate.hit().await;
    day.kill_9();
    day.refund_of(&target, "state").await == "sending" && day.refund_calls(&target) == (1, 1)
}

/// The table of attempts is locked: a refund is reserved, and the transaction that would send it cannot store its attempt.
async fn reserved_unsent(day: &mut Day) -> bool {
    let mut lock = held(day, "lock table rekon.refund_attempts in share mode").await;
    let target = day.target(&Kind::GOES_BACK).await;
    day.rekon();
    until_refund(day, &target, "reserved").await;
    day.shop.db.wait_until_blocked(1).await;
    day.kill_9();
    let hit = day.refund_of(&target, "state").await == "reserved" && day.refund_calls(&target) == (0, 0);
    let_go(&mut lock).await;
    hit
}

/// As above; then the budget's row is locked instead, so that the stored attempt waits for a call slot.
async fn sending_unsent(day: &mut Day) -> bool {
    let mut attempts = held(day, "lock table rekon.refund_attempts in share mode").await;
    let target = day.target(&Kind::GOES_BACK).await;
    day.rekon();
    until_refund(day, &target, "reserved").await;
    day.shop.db.wait_until_blocked(1).await;
    let mut budget = held(day, "select 1 from rekon.call_budgets for update").await;
    // Slots that were leased before are gone after this.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let_go(&mut attempts).await;
    until_refund(day, &target, "sending").await;
    day.shop.db.wait_until_blocked(1).await;
    day.kill_9();
    let hit = day.refund_of(&target, "state").await == "sending" && day.refund_calls(&target) == (0, 0);
    let_go(&mut budget).await;
    hit
}

/// The transaction holds the row and cannot go on: it waits for the row itself, or for the facts, journal or postings.
async fn mid_settle(day: &mut Day) -> bool {
    let target = day.target(&[Kind::Exact, Kind::Overpaid, Kind::Underpaid, Kind::CancelledThenPaid]).await;
    let at = match day.rng.between(0, 3) {
        0 => format!("select 1 from rekon.transactions where id = {} for update", target.id),
        1 => "lock table rekon.facts in share mode".to_owned(),
        2 => "lock table rekon.journal in share mode".to_owned(),
        _ => "lock table rekon.postings in share mode".to_owned(),
    };
    let gate = day.gate(GatePoint::AfterEffect, Service::Query, &target);
    day.rekon();
    gate.hit().await;
    let mut lock = held(day, &at).await;
    gate.release();
    let is_held = "select count(*) = 0 from (select 1 from rekon.transactions where id = $id for update skip locked) x";
    day.shop.until(&is_held.replace("$id", &target.id.to_string()), "true").await;
    day.shop.db.wait_until_blocked(1).await;
    day.kill_9();
    let_go(&mut lock).await;
    let nothing = format!("select state || ' ' || seq || ' ' || journal_no from rekon.transactions where id = {}", target.id);
    day.shop.db.text(&nothing).await == "pending 0 0"
}

/// The budget's row is locked: rows are leased and wait for call slots.
async fn leased_idle(day: &mut Day) -> bool {
    let mut budget = held(day, "select 1 from rekon.call_budgets for update").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut targets = Vec::new();
    for _ in 0..4 {
        targets.push(day.target(&Kind::ALL).await);
    }
    day.rekon();
    for target in &targets {
        let leased = format!("select lease_until is not null from rekon.transactions where id = {}", target.id);
        day.shop.until(&leased, "true").await;
    }
    day.kill_9();
    let asked = |row: &Row| day.shop.sim.world().times_asked(Service::Query, &row.reference).len();
    let hit = targets.iter().map(asked).sum::<usize>() == 0;
    let_go(&mut budget).await;
    hit
}

async fn until_refund(day: &Day, target: &Row, state: &str) {
    day.shop.until(&format!("select state from rekon.refund_saga where transaction_id = {}", target.id), state).await;
}

/// A transaction of somebody else's that has taken a lock.
async fn held(day: &Day, lock: &str) -> PgConnection {
    let mut connection = day.shop.db.connect().await;
    connection.execute("begin").await.expect("it begins");
    connection.execute(AssertSqlSafe(lock.to_owned())).await.expect("the lock is had");
    connection
}

async fn let_go(connection: &mut PgConnection) {
    connection.execute("rollback").await.expect("it ends");
    connection.ping().await.expect("it lives");
}

//! The windows in which a process can die, each held open for sure and hit at least ten times.

use std::time::Duration;

use futures::future::BoxFuture;
use rekon::sim::{GatePoint, Service};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use super::day::{Day, Kind, Row};

/// Kills that must hit each window.
const KILLS: usize = 10;
/// Attempts at most: one that missed its window is not counted.
const TRIES: usize = 40;
const BUDGET: &str = "select 1 from rekon.call_budgets for update";
/// Slots that were leased before are of no use after this.
const SLOTS_GONE: Duration = Duration::from_millis(300);
/// Longest way to a window.
const PATIENCE: Duration = Duration::from_secs(6);

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
        // On a busy machine a step may come too late for the lock that waits for it: killed all the same, and not counted.
        match tokio::time::timeout(PATIENCE, window.kill(&mut day)).await {
            Ok(true) => hits += 1,
            Ok(false) => missed += 1,
            Err(_) => {
                missed += 1;
                day.kill_9();
            }
        }
    }
    day.ends_well().await;
    proven_as(&day, window).await;
    (hits, missed, day.rows.len())
}

/// The refunds that a kill met say how they were proven. Another kill may have met the same refund later, in its resend.
async fn proven_as(day: &Day, window: Window) {
    for row in day.rows.iter().filter(|row| row.was_hit) {
        let expected: &[&str] = match (window, row.kind) {
            // A 04 proves that a full refund arrived; what became of a difference, only its repeat can tell.
            (Window::RefundDoneUnstored, Kind::CancelledThenPaid) => &["query"],
            (Window::RefundDoneUnstored | Window::SendingUnsent, Kind::Overpaid) => &["repeat"],
            (Window::SendingUnsent, Kind::CancelledThenPaid) => &["repeat", "query"],
            (Window::ReservedUnsent, Kind::Overpaid) => &["answer", "repeat"],
            (Window::ReservedUnsent, Kind::CancelledThenPaid) => &["answer", "query", "repeat"],
            _ => continue,
        };
        let proof = day.refund_of(row, "proof").await;
        assert!(expected.contains(&proof.as_str()), "{row:?} is proven by {proof}, not by {expected:?}");
    }
}

/// The first query of a payment, or the second one that proves it, stands at the provider's door or has been answered there.
async fn query_unanswered(day: &mut Day) -> bool {
    let is_second = day.rng.between(0, 1) == 1;
    let kinds = if is_second { &Kind::GOES_BACK[..] } else { &Kind::ALL[..] };
    let target = day.sell_one_of(kinds).await;
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
    let target = day.sell_one_of(&Kind::GOES_BACK).await;
    let gate = day.gate(GatePoint::AfterEffect, Service::Refund, &target);
    day.rekon();
    gate.hit().await;
    day.kill_9();
    let hit = day.refund_of(&target, "state").await == "sending" && day.refund_calls(&target) == (1, 1);
    day.aimed_at(&target, hit)
}

/// The refund is reserved, and the transaction that would send it waits for the row.
async fn reserved_unsent(day: &mut Day) -> bool {
    let Some((target, row)) = reserved(day).await else { return false };
    day.kill_9();
    let hit = day.refund_of(&target, "state").await == "reserved" && day.refund_calls(&target) == (0, 0);
    row.let_go().await;
    day.aimed_at(&target, hit)
}

/// A target whose refund is reserved, and the lock that keeps it from being sent. It stands in the row's queue between
/// rekon's two transactions: a first lock keeps the refund from being leased until both PAID answers are there, a second
/// one holds the reservation until the third one has queued behind it.
async fn reserved(day: &mut Day) -> Option<(Row, Lock)> {
    let target = day.sell_one_of(&Kind::GOES_BACK).await;
    day.rekon();
    let of_target = format!("where transaction_id = {}", target.id);
    let waits = "select state = 'approved' and lease_until is null and next_at > now() from rekon.refund_saga";
    day.shop.until(&format!("{waits} {of_target}"), "true").await;
    let lease = Lock::take(day, &format!("select 1 from rekon.refund_saga {of_target} for key share")).await;
    let rests = "lease_until is null and coalesce(next_check_at, 'infinity') > now() + interval '1 hour'";
    day.shop.until(&format!("select {rests} from rekon.transactions where id = {}", target.id), "true").await;
    let the_row = format!("select 1 from rekon.transactions where id = {} for update", target.id);
    let first = Lock::take(day, &the_row).await;
    lease.let_go().await;
    first.until_waited_for(day).await;
    let second = Lock::queue(day, the_row).await;
    first.let_go().await;
    let second = second.await.expect("it gets its turn");
    // The reservation wrote a new version of the row, and rekon may have been the first to lock that.
    if day.refund_of(&target, "state").await != "reserved" {
        second.let_go().await;
        return None;
    }
    second.until_waited_for(day).await;
    Some((target, second))
}

/// As above; then the budget's row is locked instead, so that the stored attempt waits for a call slot.
async fn sending_unsent(day: &mut Day) -> bool {
    let Some((target, row)) = reserved(day).await else { return false };
    let budget = Lock::take(day, BUDGET).await;
    tokio::time::sleep(SLOTS_GONE).await;
    row.let_go().await;
    until_refund(day, &target, "sending").await;
    budget.until_waited_for(day).await;
    day.kill_9();
    let hit = day.refund_of(&target, "state").await == "sending" && day.refund_calls(&target) == (0, 0);
    budget.let_go().await;
    day.aimed_at(&target, hit)
}

/// The transaction is open and cannot go on: it waits for the row itself, or for the facts, journal or postings.
async fn mid_settle(day: &mut Day) -> bool {
    let target = day.sell_one_of(&Kind::PAID_AT_ONCE).await;
    let at = match day.rng.between(0, 3) {
        0 => format!("select 1 from rekon.transactions where id = {} for update", target.id),
        1 => "lock table rekon.facts in share mode".to_owned(),
        2 => "lock table rekon.journal in share mode".to_owned(),
        _ => "lock table rekon.postings in share mode".to_owned(),
    };
    let gate = day.gate(GatePoint::AfterEffect, Service::Query, &target);
    day.rekon();
    gate.hit().await;
    let lock = Lock::take(day, &at).await;
    gate.release();
    lock.until_waited_for(day).await;
    day.kill_9();
    lock.let_go().await;
    let nothing =
        format!("select state || ' ' || seq || ' ' || journal_no from rekon.transactions where id = {}", target.id);
    day.shop.db.text(&nothing).await == "pending 0 0"
}

/// The budget's row is locked: rows are leased and wait for call slots.
async fn leased_idle(day: &mut Day) -> bool {
    let budget = Lock::take(day, BUDGET).await;
    tokio::time::sleep(SLOTS_GONE).await;
    let mut targets = Vec::new();
    for _ in 0..4 {
        targets.push(day.sell_one_of(&Kind::ALL).await);
    }
    day.rekon();
    for target in &targets {
        let leased = format!("select lease_until is not null from rekon.transactions where id = {}", target.id);
        day.shop.until(&leased, "true").await;
    }
    day.kill_9();
    let asked = |row: &Row| day.shop.sim.world().times_asked(Service::Query, &row.reference).len();
    let hit = targets.iter().map(asked).sum::<usize>() == 0;
    budget.let_go().await;
    hit
}

async fn until_refund(day: &Day, target: &Row, state: &str) {
    day.shop.until(&format!("select state from rekon.refund_saga where transaction_id = {}", target.id), state).await;
}

/// A transaction of somebody else's that has taken a lock.
struct Lock {
    connection: PgConnection,
    pid: i32,
}

impl Lock {
    async fn take(day: &Day, lock: &str) -> Self {
        Self::begin(day).await.lock(lock).await
    }

    /// Queues for a lock; returns when it stands in the queue.
    async fn queue(day: &Day, lock: String) -> tokio::task::JoinHandle<Self> {
        let begun = Self::begin(day).await;
        let waits = format!("select wait_event_type = 'Lock' from pg_stat_activity where pid = {}", begun.pid);
        let queued = tokio::spawn(async move { begun.lock(&lock).await });
        day.shop.until(&waits, "true").await;
        queued
    }

    async fn begin(day: &Day) -> Self {
        let mut connection = day.shop.db.connect().await;
        connection.execute("begin").await.expect("it begins");
        let pid = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut connection).await.expect("a number");
        Self { connection, pid }
    }

    async fn lock(mut self, lock: &str) -> Self {
        self.connection.execute(AssertSqlSafe(lock.to_owned())).await.expect("the lock is had");
        self
    }

    /// Waits until somebody waits for what this one holds.
    async fn until_waited_for(&self, day: &Day) {
        let waiting =
            format!("select count(*) > 0 from pg_stat_activity where {} = any (pg_blocking_pids(pid))", self.pid);
        day.shop.until(&waiting, "true").await;
    }

    async fn let_go(mut self) {
        self.connection.execute("rollback").await.expect("it ends");
        self.connection.close().await.expect("it closes");
    }
}

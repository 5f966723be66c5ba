//! What DOKU tells the merchant unasked in the course of the demo's day, and what somebody else tells him in its name: which
//! row is told of, how, and when. Sent for real to the demo's own door; none of it may change an end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use serde::Serialize;
use tokio::time::Instant;

use crate::{
    domain::order::{Direction, later},
    sim::{BookEntry, Notice, Notifier, Says, Scenario, SimPayment, World},
};

use super::{
    accounts::{DOKU, SHARED_KEY},
    day::{Plan, Planned},
    kinds::Turn,
};

/// How many are under way at once.
const AT_ONCE: usize = 16;
/// How often the provider looks whether the time for the next ones has come.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long after an answer left a notification may follow: by then rekon has written the answer down.
const HEARD_AFTER: Duration = Duration::from_secs(1);
/// What is not due this long after the day's questions have ended never will be.
const PATIENCE: Duration = Duration::from_secs(20);

/// What turns between the two runs turns so long after the payment.
const TURNED_AFTER_SECS: i64 = 3_600;

/// How a notification comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Manner {
    InTime,
    Late,
    Twice,
    OutOfOrder,
    Contradicting,
    Forged,
    Copied,
    Unknown,
}

impl Manner {
    /// Every manner, as it is shown.
    pub(super) const ALL: [(Self, &'static str, &'static str); 8] = [
        (Self::InTime, "in time", "before anybody asked"),
        (Self::Late, "late", "after the query had found it"),
        (Self::Twice, "twice", "the same one before and after"),
        (Self::OutOfOrder, "out of order", "\"failed\" after \"paid\""),
        (Self::Contradicting, "contradicting", "a code of success, the words of a refund"),
        (Self::Forged, "forged", "\"paid\" where nobody paid, wrongly signed"),
        (Self::Copied, "copied", "\"paid\" where nobody paid, under another payment's right signature"),
        (Self::Unknown, "unknown", "\"paid\" for a reference that nobody has"),
    ];
}

/// When a notification leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// Before anybody asked.
    Before,
    /// Once the row was asked about.
    Asked,
    /// Once an answer said that it was paid.
    Found,
}

/// One notification that will be sent.
#[derive(Debug, Clone)]
pub(super) struct Knock {
    manner: Manner,
    when: When,
    /// The row whose story decides when.
    partner_reference_no: String,
    notice: Notice,
}

impl Knock {
    fn new(manner: Manner, when: When, row: &Planned, notice: Notice) -> Self {
        Self { manner, when, partner_reference_no: row.payment.partner_reference_no.clone(), notice }
    }

    fn is_due(&self, entry: Option<BookEntry>) -> bool {
        match self.when {
            When::Before => true,
            When::Asked => entry.is_some_and(|entry| entry.queries > 0),
            When::Found => entry.is_some_and(|entry| entry.queries > 0 && entry.taken_sen > 0),
        }
    }
}

/// What is sent before the day's first question, and what in the course of it.
#[derive(Debug, Default)]
pub(super) struct Knocks {
    pub(super) before: Vec<Knock>,
    pub(super) during: Vec<Knock>,
    /// A row that was told of with a copied signature, as `ACCOUNT/REF`.
    pub(super) copied_example: String,
}

impl Knocks {
    /// Every third row that is truly paid is told of, each in the next manner; of every row that is not, a lie is told.
    pub(super) fn plan(plan: &Plan) -> Self {
        let mut knocks = Self::default();
        let (mut paid, mut unpaid) = (0_usize, 0_usize);
        let mut genuine: Option<Notice> = None;
        let is_told = |row: &&Planned| row.kind.account == &DOKU && row.kind.direction == Direction::In;
        for row in plan.rows.iter().filter(is_told) {
            if is_never_paid(row) {
                unpaid += 1;
                knocks.lie(row, genuine.clone().filter(|_| unpaid.is_multiple_of(2)));
            } else {
                genuine = Some(notice(row, Says::Paid));
                paid += 1;
                let manner = Manner::ALL.get(paid / 3 % 5).filter(|_| paid.is_multiple_of(3));
                knocks.add(manner.into_iter().flat_map(|(manner, ..)| truths(*manner, row)));
            }
        }
        knocks
    }

    /// A forger's word, or a genuine signature that he caught.
    fn lie(&mut self, row: &Planned, genuine: Option<Notice>) {
        let knock = match genuine {
            None => Knock::new(Manner::Forged, When::Asked, row, notice(row, Says::Paid).forged()),
            Some(genuine) => {
                if self.copied_example.is_empty() {
                    self.copied_example = row.named();
                }
                Knock::new(Manner::Copied, When::Asked, row, genuine.copied_to(&row.payment))
            }
        };
        self.add([knock]);
    }

    fn add(&mut self, knocks: impl IntoIterator<Item = Knock>) {
        for knock in knocks {
            if knock.when == When::Before { self.before.push(knock) } else { self.during.push(knock) }
        }
    }
}

/// What DOKU tells about what turned between the two runs, at once.
pub(super) fn of_the_turn(plan: &Plan) -> Vec<Knock> {
    let told = |row: &Planned| {
        let says = match row.kind.turn {
            Turn::None => return None,
            Turn::Fails => Says::Failed,
            Turn::IsPaid => Says::Paid,
        };
        let notice = Notice::about(&row.payment, says, later(row.paid_at(), TURNED_AFTER_SECS), SHARED_KEY);
        Some(Knock::new(Manner::InTime, When::Before, row, notice))
    };
    plan.rows.iter().filter_map(told).collect()
}

/// What a true payment's notifications are, in each manner.
fn truths(manner: Manner, row: &Planned) -> Vec<Knock> {
    let knock = |when, says| Knock::new(manner, when, row, notice(row, says));
    match manner {
        Manner::InTime => {
            let nobody = SimPayment {
                partner_reference_no: format!("{}-NOBODY", row.payment.partner_reference_no),
                ..row.payment.clone()
            };
            let unknown = notice(row, Says::Paid).copied_to(&nobody);
            vec![knock(When::Before, Says::Paid), Knock::new(Manner::Unknown, When::Asked, row, unknown)]
        }
        Manner::Late => vec![knock(When::Found, Says::Paid)],
        Manner::Twice => vec![knock(When::Before, Says::Paid), knock(When::Found, Says::Paid)],
        Manner::OutOfOrder => vec![knock(When::Before, Says::Paid), knock(When::Found, Says::Failed)],
        Manner::Contradicting => vec![knock(When::Before, Says::Contradiction)],
        // These are no truths.
        Manner::Forged | Manner::Copied | Manner::Unknown => Vec::new(),
    }
}

fn notice(row: &Planned, says: Says) -> Notice {
    Notice::about(&row.payment, says, row.paid_at(), SHARED_KEY)
}

/// Not by the time of the first run.
fn is_never_paid(row: &Planned) -> bool {
    matches!(row.kind.scenario, Scenario::NeverPaid | Scenario::InFlightForever | Scenario::IndeterminateForever)
}

/// How many were sent, and whether all arrived.
#[derive(Debug, Default, Serialize)]
pub(super) struct Sent {
    pub(super) by_manner: BTreeMap<Manner, u64>,
    pub(super) undelivered: u64,
}

impl Sent {
    /// All of them.
    pub(super) fn total(&self) -> u64 {
        self.by_manner.values().sum()
    }

    /// So many in this manner.
    pub(super) fn of(&self, manner: Manner) -> u64 {
        self.by_manner.get(&manner).copied().unwrap_or_default()
    }

    /// Both together.
    pub(super) fn and(mut self, other: &Self) -> Self {
        for (manner, n) in &other.by_manner {
            *self.by_manner.entry(*manner).or_default() += n;
        }
        self.undelivered += other.undelivered;
        self
    }
}

/// Sends them all, some at once.
pub(super) async fn deliver(notifier: Notifier, knocks: Vec<Knock>) -> Sent {
    let mut sent = Sent::default();
    let notifier = &notifier;
    let sending = |knock: Knock| async move { (knock.manner, notifier.deliver(&knock.notice).await) };
    let mut deliveries = stream::iter(knocks).map(sending).buffer_unordered(AT_ONCE);
    while let Some((manner, is_taken)) = deliveries.next().await {
        *sent.by_manner.entry(manner).or_default() += 1;
        sent.undelivered += u64::from(!is_taken);
    }
    sent
}

/// Sends each when its time has come; what is not due long after the day's end counts as undelivered.
pub(super) async fn deliver_in_time(
    notifier: Notifier,
    world: Arc<World>,
    mut waiting: Vec<Knock>,
    day_is_over: tokio_util::sync::CancellationToken,
) -> Sent {
    let mut sent = Sent::default();
    let mut ripening: Vec<(Instant, Knock)> = Vec::new();
    let mut ends: Option<Instant> = None;
    while !(waiting.is_empty() && ripening.is_empty()) {
        let now = Instant::now();
        let is_due = |knock: &Knock| knock.is_due(world.book_entry(DOKU.client_id, &knock.partner_reference_no));
        let (due, later): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_due);
        waiting = later;
        ripening.extend(due.into_iter().map(|knock| (now + HEARD_AFTER, knock)));
        let (ripe, unripe): (Vec<_>, Vec<_>) = ripening.into_iter().partition(|(from, _)| *from <= now);
        ripening = unripe;
        sent = sent.and(&deliver(notifier.clone(), ripe.into_iter().map(|(_, knock)| knock).collect()).await);
        if day_is_over.is_cancelled() && *ends.get_or_insert(now + PATIENCE) < now {
            sent.undelivered += u64::try_from(waiting.len().saturating_add(ripening.len())).unwrap_or(u64::MAX);
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    sent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_the_smallest_and_the_usual_day_every_manner_is_there_ten_times() {
        let now = chrono::DateTime::from_timestamp(1_795_160_000, 0).unwrap();
        for payments in [490, 2_000] {
            let knocks = Knocks::plan(&Plan::draw(payments, 7, now));
            for (manner, ..) in Manner::ALL {
                let n = knocks.before.iter().chain(&knocks.during).filter(|knock| knock.manner == manner).count();
                assert!(n >= 10, "{manner:?}: {n} of {payments}");
            }
            assert!(knocks.copied_example.starts_with("doku/INV-"));
        }
    }
}

//! A case: all that is known about one row, as loaded under its lock. The only input of `decide` and of the saga
//! beside terms and time.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::domain::{
    fact::{Fact, Source},
    money::Sen,
    observation::Observation,
    order::{Order, OrderChange, OrderStatus},
    policy::{Policy, RefundMode},
    posting::LedgerAccount,
    profile::Profile,
    refund::Refund,
    resolution::{Resolution, ResolutionKind},
    state::{Flag, Flags, State},
    switch::Level,
};

/// What earlier decisions left behind that cannot be folded from facts alone.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Prior {
    /// The state before.
    pub state: State,
    /// The flags before.
    pub flags: Flags,
    /// The row's sequence when it was closed as unpaid, if ever.
    pub closed_seq: Option<i32>,
}

impl Default for Prior {
    fn default() -> Self {
        Self { state: State::Pending, flags: Flags::default(), closed_seq: None }
    }
}

/// A time in which the account's breaker was open: nobody could ask, so nothing aged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Outage {
    /// Opened, UTC.
    pub from: DateTime<Utc>,
    /// Closed, UTC; `None` while it lasts.
    pub until: Option<DateTime<Utc>>,
}

/// Everything known about one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// What the merchant expects.
    pub order: Order,
    /// What he changed, by sequence.
    pub changes: Vec<OrderChange>,
    /// What was said, by sequence.
    pub facts: Vec<Fact>,
    /// What goes or went back, by id.
    pub refunds: Vec<Refund>,
    /// What earlier decisions left.
    pub prior: Prior,
    /// The same provider reference stands on another row of the account.
    pub duplicate_reference: bool,
    /// The end of its QR was asked for at the provider, or is about to be.
    pub qr_cancel_asked: bool,
    /// The account's outages that touch this row's life.
    pub outages: Vec<Outage>,
    /// Money returned outside of us, as a person or a file stated it.
    pub refunded_outside: Sen,
    /// What people decided, by sequence.
    pub resolutions: Vec<Resolution>,
    /// The highest rung that switches and an open refund breaker allow.
    pub ceiling: Level,
    /// Current balances of this row's money (debit minus credit, sen) per ledger account.
    pub balances: BTreeMap<LedgerAccount, i64>,
}

/// Under which terms a case is decided.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// The provider's profile with the account's overrides; `None` where the account is not configured.
    pub profile: Option<&'a Profile>,
    /// The policy in force.
    pub policy: &'a Policy,
}

impl Case {
    /// Forgets what came after a place in the row's sequence.
    pub fn cut_to(&mut self, seq: i32) {
        self.facts.retain(|f| f.seq <= seq);
        self.changes.retain(|c| c.seq <= seq);
        self.resolutions.retain(|r| r.seq <= seq);
    }

    /// Facts that may move a state: answers to our own queries.
    pub fn query_facts(&self) -> impl DoubleEndedIterator<Item = &Fact> {
        self.facts.iter().filter(|f| f.source == Source::Query)
    }

    /// The first PAID answer: by it the row counts as paid.
    pub fn first_paid(&self) -> Option<&Fact> {
        self.query_facts().find(|f| f.heard() == Observation::Paid)
    }

    /// The latest thing a query said, by sequence: clocks may step, the sequence does not.
    pub fn last_answer(&self) -> Option<&Fact> {
        self.query_facts().next_back()
    }

    /// The latest thing a query said that was a verdict at all.
    pub fn last_verdict(&self) -> Option<&Fact> {
        self.query_facts().rev().find(|f| f.heard() != Observation::Indeterminate)
    }

    /// The highest sequence number given so far.
    pub fn last_seq(&self) -> i32 {
        let facts = self.facts.iter().map(|f| f.seq).max().unwrap_or(0);
        let resolutions = self.resolutions.iter().map(|r| r.seq).max().unwrap_or(0);
        self.changes.iter().map(|c| c.seq).max().unwrap_or(0).max(facts).max(resolutions)
    }

    /// The order's status just before sequence number `seq`.
    pub fn order_status_before(&self, seq: i32) -> OrderStatus {
        let after = self.changes.iter().filter(|c| c.seq > seq && c.from != c.to).min_by_key(|c| c.seq);
        after.map_or(self.order.order_status, |change| change.from)
    }

    /// Was the order fulfilled at any time?
    pub fn was_ever_fulfilled(&self) -> bool {
        let fulfilled = |s: OrderStatus| s == OrderStatus::Fulfilled;
        fulfilled(self.order.order_status) || self.changes.iter().any(|c| fulfilled(c.from) || fulfilled(c.to))
    }

    /// The mode that holds for this row's refunds of a cause: the configuration's, capped by switches and breaker.
    pub fn refund_mode(&self, policy: &Policy, cause: Flag) -> RefundMode {
        self.ceiling.cap(policy.refunds.mode_of(cause.as_str()))
    }

    /// Did a person mark a dispute that is not over? Nothing new leaves then.
    pub fn is_disputed(&self) -> bool {
        let marks = |r: &&Resolution| matches!(r.kind, ResolutionKind::Dispute | ResolutionKind::Undispute);
        self.resolutions.iter().rev().find(marks).is_some_and(|r| r.kind == ResolutionKind::Dispute)
    }

    /// Did a person keep the money of this cause in suspense, and nobody decide otherwise since?
    pub fn is_kept(&self, cause: Flag) -> bool {
        let last = self.resolutions.iter().rev().find(|r| r.about.flag == Some(cause));
        last.is_some_and(|r| r.kind == ResolutionKind::KeepInSuspense)
    }

    /// What was paid: the amount of the first PAID, without fee.
    pub fn paid_amount(&self) -> Option<Sen> {
        self.first_paid().and_then(|f| f.answer.amount)
    }

    /// Seconds of outage between two times; where outages overlap (a breaker opens while people have paused the account), once.
    pub fn outage_secs(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> i64 {
        let mut outages: Vec<&Outage> = self.outages.iter().collect();
        outages.sort_by_key(|o| o.from);
        let (mut secs, mut counted_to) = (0_i64, from);
        for o in outages {
            let (start, end) = (o.from.max(counted_to), o.until.unwrap_or(to).min(to));
            secs = secs.saturating_add(end.signed_duration_since(start).num_seconds().max(0));
            counted_to = counted_to.max(end);
        }
        secs
    }
}

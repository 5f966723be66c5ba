//! What another policy would have done: the same story is told to it, decision by decision, and each row's state, refunds and
//! balances at the end of the day stand beside what is stored.
//!
//! Providers are not asked again, so a refund that only the other policy proposes stays where the policy leaves it, and one
//! that both have goes the way that it went. Decisions are taken where rekon took one and wherever something was heard.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    domain::{
        case::{Case, Prior},
        day::BusinessDay,
        money::Sen,
        posting::LedgerAccount,
        refund::Refund,
        state::{Flag, Flags, State},
    },
    engine::{
        decisions::{Occasion, Written, content::Remembered},
        replay::{MOST_LISTED, past::Past},
        rulebook::Rulebook,
    },
    store::reads::as_rupiah,
};

/// Refunds of a cause on both sides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CauseDiff {
    /// Refunds that live or went.
    pub stored: u64,
    /// Their sum.
    #[serde(serialize_with = "as_rupiah")]
    pub stored_amount: Sen,
    /// The same under the other policy.
    pub other: u64,
    /// Their sum.
    #[serde(serialize_with = "as_rupiah")]
    pub other_amount: Sen,
    /// Of these, the ones that the other policy approves alone.
    #[serde(serialize_with = "as_rupiah")]
    pub other_alone: Sen,
}

/// A ledger account's balance over the rows, debit minus credit, on both sides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LedgerDiff {
    /// As stored.
    #[serde(serialize_with = "as_rupiah")]
    pub stored: Sen,
    /// Under the other policy.
    #[serde(serialize_with = "as_rupiah")]
    pub other: Sen,
}

/// A row that ends otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RowDiff {
    /// The account.
    pub account: String,
    /// The payment.
    pub partner_reference_no: String,
    /// State and flags as stored, as `paid{overpaid}`.
    pub stored: String,
    /// The same under the other policy.
    pub other: String,
}

/// What another policy would have done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct WhatIf {
    /// Rows whose end, refunds or balances differ.
    pub different: u64,
    /// Refunds by cause; causes without a difference are listed too.
    pub refunds: BTreeMap<&'static str, CauseDiff>,
    /// Balances by ledger account.
    pub balances: BTreeMap<String, LedgerDiff>,
    /// The first rows whose state or flags differ.
    pub rows: Vec<RowDiff>,
}

/// A row at the end of the day.
#[derive(Debug, Clone, PartialEq, Eq)]
struct End {
    state: State,
    flags: Flags,
    refunds: Vec<Refund>,
    balances: BTreeMap<LedgerAccount, i64>,
}

impl End {
    fn told(&self) -> String {
        format!("{}{{{}}}", self.state.as_str(), self.flags.listed().join(","))
    }

    /// Refunds that live or went: cause and amount.
    fn money(&self) -> Vec<(Flag, Sen)> {
        let mut money: Vec<_> =
            self.refunds.iter().filter(|r| r.state.occupies_cause()).map(|r| (r.cause, r.amount)).collect();
        money.sort_unstable();
        money
    }
}

impl WhatIf {
    /// Tells a row's story to the other policy and adds what comes of it.
    pub(super) fn row(&mut self, past: &Past, other: &Rulebook, day: BusinessDay) {
        let until = day.end();
        let (stored, told) = (stored_end(past, until), other_end(past, other, until));
        if stored.told() != told.told() || stored.money() != told.money() || stored.balances != told.balances {
            self.different = self.different.saturating_add(1);
        }
        if stored.told() != told.told() && self.rows.len() < MOST_LISTED {
            let order = past.order();
            self.rows.push(RowDiff {
                account: order.account.clone(),
                partner_reference_no: order.partner_reference_no.clone(),
                stored: stored.told(),
                other: told.told(),
            });
        }
        for (cause, amount) in stored.money() {
            let sum = self.refunds.entry(cause.as_str()).or_default();
            sum.stored = sum.stored.saturating_add(1);
            sum.stored_amount = sum.stored_amount.plus(amount);
        }
        for refund in told.refunds.iter().filter(|r| r.state.occupies_cause()) {
            let sum = self.refunds.entry(refund.cause.as_str()).or_default();
            sum.other = sum.other.saturating_add(1);
            sum.other_amount = sum.other_amount.plus(refund.amount);
            if refund.approved_by.is_some() && !refund.is_approved_by_person() {
                sum.other_alone = sum.other_alone.plus(refund.amount);
            }
        }
        for (account, sen) in stored.balances {
            let balance = self.balances.entry(account.word()).or_default();
            balance.stored = balance.stored.plus(Sen::new(sen));
        }
        for (account, sen) in told.balances {
            let balance = self.balances.entry(account.word()).or_default();
            balance.other = balance.other.plus(Sen::new(sen));
        }
    }
}

fn stored_end(past: &Past, until: DateTime<Utc>) -> End {
    let entries = (0..past.entries()).take_while(|nth| past.at(*nth).is_some_and(|at| at < until)).count();
    let last = entries.checked_sub(1).and_then(|nth| past.remembered(nth));
    let prior = last.map_or_else(Prior::default, Remembered::prior);
    End {
        state: prior.state,
        flags: prior.flags,
        refunds: last.map(Remembered::refunds_left).unwrap_or_default(),
        balances: past.balances(entries),
    }
}

/// A moment at which something is decided: a place in the sequence, a time, and the entry that stands there.
struct Moment {
    at: DateTime<Utc>,
    seq: i32,
    entry: Option<usize>,
}

fn moments(past: &Past, until: DateTime<Utc>) -> Vec<Moment> {
    let entries = (0..past.entries()).filter_map(|nth| {
        let remembered = past.remembered(nth)?;
        Some(Moment { at: remembered.at, seq: remembered.upto_seq, entry: Some(nth) })
    });
    let mut moments: Vec<Moment> = entries.collect();
    let decided: Vec<i32> = moments.iter().map(|moment| moment.seq).collect();
    let heard = past.today().facts.iter().filter(|fact| !decided.contains(&fact.seq));
    moments.extend(heard.map(|fact| Moment { at: fact.answered_at, seq: fact.seq, entry: None }));
    moments.retain(|moment| moment.at < until);
    moments.sort_by_key(|moment| (moment.seq, moment.at, moment.entry));
    moments
}

fn other_end(past: &Past, other: &Rulebook, until: DateTime<Utc>) -> End {
    let mut end =
        End { state: State::Pending, flags: Flags::default(), refunds: Vec::new(), balances: BTreeMap::new() };
    let (mut closed_seq, mut outside) = (None, Sen::ZERO);
    for moment in moments(past, until) {
        let mut row = past.row_today();
        past.rewind(&mut row.case, moment.seq, moment.at);
        let gone = if let Some(remembered) = moment.entry.and_then(|nth| past.remembered(nth)) {
            remembered.restore(&mut row.case);
            outside = row.case.refunded_outside;
            std::mem::take(&mut row.case.refunds)
        } else {
            first_heard(&mut row.case, moment.seq);
            row.case.refunded_outside = outside;
            Vec::new()
        };
        row.case.refunds = along(std::mem::take(&mut end.refunds), &gone);
        row.case.prior = Prior { state: end.state, flags: end.flags.clone(), closed_seq };
        row.case.balances = std::mem::take(&mut end.balances);
        drop(Written::again(&mut row, other, moment.at, &Occasion::refund("decision")));
        let Case { prior, refunds, balances, .. } = row.case;
        closed_seq = prior.closed_seq;
        end = End { state: prior.state, flags: prior.flags, refunds, balances };
    }
    end
}

/// Where nothing was written down, this fact had been heard once, and those before it as often as they ever were.
fn first_heard(case: &mut Case, seq: i32) {
    for fact in case.facts.iter_mut().filter(|fact| fact.seq >= seq) {
        (fact.sightings, fact.last_at, fact.last_sent_at) = (1, fact.answered_at, fact.sent_at);
    }
}

/// A refund that both sides have goes the way that it went.
fn along(refunds: Vec<Refund>, gone: &[Refund]) -> Vec<Refund> {
    let twin = |refund: &Refund| gone.iter().rfind(|g| g.cause == refund.cause && g.amount == refund.amount).cloned();
    let mut ids = 0_i64;
    refunds
        .into_iter()
        .map(|refund| {
            // Under numbers of their own, so that an action finds the one that it means.
            ids = ids.saturating_sub(1);
            let went = twin(&refund).filter(|twin| !twin.state.is_unsent() && refund.state.occupies_cause());
            Refund { id: ids, ..went.unwrap_or(refund) }
        })
        .collect()
}

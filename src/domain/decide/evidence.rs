//! What the facts of a case amount to: is the expected amount met, is the payment late, dead, doubled, closed? Each
//! question is one small function over the row's sequence. No state is chosen here.

use chrono::{DateTime, Utc};

use crate::domain::{
    case::Case,
    fact::{Echo, Fact},
    money::Sen,
    observation::Observation,
    observe::paid_time,
    order::{Direction, later, secs_between},
    policy::Policy,
    profile::Profile,
};

/// How a paid amount stands to the expected one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    /// Equal.
    Exact,
    /// Equal with the tip that the QR fixes.
    WithTip,
    /// Equal with the fee that the answer names.
    WithFee,
    /// Equal once sen are cut off.
    Truncated,
    /// A power of ten away: a unit slip.
    Scale,
    /// Less.
    Under,
    /// More.
    Over,
}

/// Compares what was paid with what was expected.
pub(super) fn compare(case: &Case, paid: Sen, fee: Option<Sen>) -> Match {
    let expected = case.order.amount;
    let with_tip = case.order.tip.map(|tip| expected.plus(tip));
    let with_fee = fee.map(|fee| expected.plus(fee));
    let cut = paid.truncated_to_rupiah();
    let accepted = || [Some(expected), with_tip, with_fee].into_iter().flatten();
    if paid == expected {
        Match::Exact
    } else if with_tip == Some(paid) {
        Match::WithTip
    } else if with_fee == Some(paid) {
        Match::WithFee
    } else if accepted().any(|a| a.truncated_to_rupiah() == cut) {
        Match::Truncated
    } else if accepted().any(|a| paid.is_power_of_ten_of(a)) {
        Match::Scale
    } else if paid < expected {
        Match::Under
    } else {
        Match::Over
    }
}

/// What was paid above the order's amount, and above its tip where the tip was paid too; zero if not more.
pub fn excess_over(case: &Case, paid: Sen) -> Sen {
    let with_tip = case.order.tip.map(|tip| case.order.amount.plus(tip)).filter(|total| *total <= paid);
    let excess = paid.minus(with_tip.unwrap_or(case.order.amount));
    if excess.is_positive() { excess } else { Sen::ZERO }
}

/// The end of the watch: answers after it may close the row.
pub(super) fn watch_ends(case: &Case, profile: &Profile, policy: &Policy) -> DateTime<Utc> {
    later(case.order.valid_until(profile.default_validity_secs), policy.watch_secs)
}

/// Answers of another payment or merchant since the last right one: (how many, the facts).
pub(super) fn wrong_echoes(case: &Case) -> (i32, Vec<i32>) {
    let mut count: i32 = 0;
    let mut facts = Vec::new();
    for fact in case.query_facts() {
        match fact.answer.echo {
            Echo::Right => {
                count = 0;
                facts.clear();
            }
            Echo::Wrong => {
                count = count.saturating_add(fact.sightings);
                facts.push(fact.seq);
            }
            Echo::Silent => {}
        }
    }
    (count, facts)
}

/// The negatives that close a row, if there are enough of them: their sequence numbers.
pub(super) fn closing(case: &Case, policy: &Policy, deadline: DateTime<Utc>) -> Option<Vec<i32>> {
    let last = case.last_answer()?;
    if !last.heard().is_negative() || last.bad_weather {
        return None;
    }
    let mut answers: u32 = 0;
    let mut first: Option<DateTime<Utc>> = None;
    let mut seqs = Vec::new();
    for fact in case.query_facts().filter(|f| f.heard().is_negative() && f.last_at > deadline) {
        // A fact that began before the deadline proves one answer after it, the last.
        let (n, begins) =
            if fact.answered_at > deadline { (fact.sightings, fact.answered_at) } else { (1, fact.last_at) };
        answers = answers.saturating_add(u32::try_from(n).unwrap_or(0));
        first = Some(first.map_or(begins, |f| f.min(begins)));
        seqs.push(fact.seq);
    }
    let spread = first.map_or(0, |f| secs_between(f, last.last_at));
    (answers >= policy.close_answers.max(2) && spread >= policy.close_spread_secs).then_some(seqs)
}

/// Is the payment proven to be later than the QR's validity?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lateness {
    /// No proof.
    NotProven,
    /// The provider's trusted paid time says so.
    PaidTime(DateTime<Utc>),
    /// After the validity the provider still said unpaid (fact).
    UnpaidAnswer(i32),
}

/// Looks for a proof of lateness.
pub(super) fn lateness(case: &Case, profile: &Profile, paid: &Fact) -> Lateness {
    let valid_until = case.order.valid_until(profile.default_validity_secs);
    if let Some(at) = trusted_paid_time(paid) {
        return if at > valid_until { Lateness::PaidTime(at) } else { Lateness::NotProven };
    }
    case.query_facts()
        .filter(|f| f.seq < paid.seq)
        .find(|f| matches!(f.heard(), Observation::Open | Observation::Absent) && f.last_at > valid_until)
        .map_or(Lateness::NotProven, |f| Lateness::UnpaidAnswer(f.seq))
}

/// PAID answers, in sequence.
pub(super) fn paid_facts(case: &Case) -> impl DoubleEndedIterator<Item = &Fact> {
    case.query_facts().filter(|f| f.heard() == Observation::Paid)
}

/// PAID answers of the same payment whose amount, or whose currency where both name one, is not the first one's.
pub(super) fn changed_amounts(case: &Case, first: &Fact) -> Vec<i32> {
    paid_facts(case).filter(|f| is_changed(case, first, f)).map(|f| f.seq).collect()
}

fn is_changed(case: &Case, first: &Fact, fact: &Fact) -> bool {
    let other_currency = matches!(
        (&first.answer.currency, &fact.answer.currency),
        (Some(a), Some(b)) if a != b
    );
    (fact.answer.amount != first.answer.amount || other_currency) && !is_other_payment(case, fact)
}

/// PAID answers that name another payment than the first one that was named.
pub(super) fn other_payments(case: &Case) -> Vec<i32> {
    paid_facts(case).filter(|f| is_other_payment(case, f)).map(|f| f.seq).collect()
}

fn is_other_payment(case: &Case, fact: &Fact) -> bool {
    let first_named = paid_facts(case).find_map(|f| f.answer.payment_id.as_ref());
    match (first_named, &fact.answer.payment_id) {
        (Some(a), Some(b)) => a != b,
        _ => false,
    }
}

/// How firmly the provider calls a paid payment dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Regression {
    /// Not at all.
    None,
    /// Once, or not yet far enough apart.
    Once(i32),
    /// At least twice, far enough apart. A PAID between them does not unsay the first one.
    Twice(Vec<i32>),
}

/// Looks at the answers after the first PAID for dead ones.
pub(super) fn regression(case: &Case, policy: &Policy, first: &Fact) -> Regression {
    let mut since: Option<DateTime<Utc>> = None;
    let mut seqs = Vec::new();
    for fact in case.query_facts().filter(|f| f.seq > first.seq && f.heard().is_dead()) {
        let begin = *since.get_or_insert(fact.answered_at);
        seqs.push(fact.seq);
        let again = seqs.len() > 1 || fact.sightings > 1;
        if again && secs_between(begin, fact.last_sent_at) >= policy.confirm_after_secs {
            return Regression::Twice(seqs);
        }
    }
    seqs.last().map_or(Regression::None, |seq| Regression::Once(*seq))
}

/// The last answer after the first PAID, if it contradicts it: dead, of another payment; of money in, another amount;
/// of a payout, given back. Such an answer asks for a second look.
pub(super) fn doubt<'c>(case: &'c Case, first: &Fact) -> Option<&'c Fact> {
    let contradicts = |f: &Fact| match case.order.direction {
        Direction::In => f.heard() == Observation::Paid && is_changed(case, first, f),
        Direction::Out => f.heard() == Observation::Reversed,
    };
    case.query_facts()
        .rev()
        .take_while(|f| f.seq > first.seq)
        .find(|f| f.heard() != Observation::Indeterminate || f.answer.echo == Echo::Wrong)
        .filter(|f| f.heard().is_dead() || f.answer.echo == Echo::Wrong || contradicts(f))
}

/// A PAID that bears this time is impossible if the answer came so much earlier, seconds: a zone slip is an hour at
/// least, and clocks that merely drift are closer.
const SKEW_SECS: i64 = 3600;

/// The provider's paid time, unless it lies in the future of the answer that named it.
pub(super) fn trusted_paid_time(paid: &Fact) -> Option<DateTime<Utc>> {
    paid.answer.paid_time.filter(|_| !is_skewed(paid))
}

/// When the payment was made, as far as is known: the provider's trusted time, else the time of the first PAID answer.
pub fn paid_at(case: &Case) -> Option<DateTime<Utc>> {
    case.first_paid().map(|first| trusted_paid_time(first).unwrap_or(first.answered_at))
}

/// Does the answer name a paid time that had not come yet?
pub(super) fn is_skewed(paid: &Fact) -> bool {
    paid.answer.paid_time.is_some_and(|at| secs_between(paid.answered_at, at) >= SKEW_SECS)
}

/// The paid time of the answer as it was given, where it names no zone or is no time: it dates nothing.
pub(super) fn unzoned(paid: &Fact) -> Option<&str> {
    paid.answer.paid_time_raw.as_deref().filter(|raw| paid_time(raw).is_none())
}

/// Do the last two authenticated answers say PAID, alike, without doubt, far enough apart? The rule under which
/// money may leave. The second request must have left `confirm_after` after the first answer was recorded.
pub fn two_observations(case: &Case, policy: &Policy) -> TwoObservations {
    let mut answers = case.query_facts().rev();
    let Some(last) = answers.next() else {
        return TwoObservations::Missing { not_before: None };
    };
    if last.heard() != Observation::Paid || !last.answer.warnings.is_empty() {
        return TwoObservations::Missing { not_before: None };
    }
    for earlier in answers {
        let alike = earlier.heard() == Observation::Paid
            && earlier.answer.warnings.is_empty()
            && earlier.answer.amount == last.answer.amount
            && earlier.answer.currency == last.answer.currency
            && earlier.answer.payment_id == last.answer.payment_id;
        if !alike {
            break;
        }
        if secs_between(earlier.answered_at, last.sent_at) >= policy.confirm_after_secs {
            return TwoObservations::Stand { last_answered_at: last.answered_at };
        }
    }
    // The oldest of the unbroken run of PAID answers is the one to wait on.
    let since = case
        .query_facts()
        .rev()
        .take_while(|f| {
            f.heard() == Observation::Paid
                && f.answer.warnings.is_empty()
                && f.answer.amount == last.answer.amount
                && f.answer.currency == last.answer.currency
                && f.answer.payment_id == last.answer.payment_id
        })
        .map(|f| f.answered_at)
        .min();
    TwoObservations::Missing { not_before: since.map(|at| later(at, policy.confirm_after_secs)) }
}

/// The outcome of [`two_observations`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TwoObservations {
    /// Both stand.
    Stand {
        /// When the second answer was recorded.
        last_answered_at: DateTime<Utc>,
    },
    /// One is missing.
    Missing {
        /// The earliest time at which a further request counts; `None` where the last answer is not PAID at all.
        not_before: Option<DateTime<Utc>>,
    },
}

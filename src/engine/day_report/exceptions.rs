//! A waiting row as a person reads it: since when, by which rule, why, and what to do. All of it follows from the row's open
//! flags and what its journal says; nothing is decided again.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::{
    domain::{
        explain::Rule,
        refund::RefundState,
        state::{Flag, State},
    },
    engine::{explain::sentence, lookup},
    report::{day::ExceptionRow, format},
    store::day::{Entry, OpenRefund, WaitingRow},
};

/// What stands for the rule where no decision is written down.
const NO_RULE: &str = "none";

/// The row in the words of the report.
pub(super) fn told(row: &WaitingRow) -> ExceptionRow {
    let concern = Concern::of(row);
    ExceptionRow {
        account: row.account.clone(),
        partner_reference_no: row.partner_reference_no.clone(),
        reference_no: row.reference_no.clone(),
        state: row.state,
        flags: row.flags_open.clone(),
        expected: row.amount,
        paid: row.paid_amount,
        refunded: row.refunded_amount,
        at_risk: row.at_risk,
        since: since(row),
        why: concern.why(row),
        next_step: concern.next_step(row),
        rule: concern.rule,
    }
}

/// What a person has to settle first.
struct Concern {
    flag: Option<Flag>,
    rule: String,
}

impl Concern {
    /// The first open flag that the last decision raised; without one, the last rule that it took.
    fn of(row: &WaitingRow) -> Self {
        let rules = row.journal.last().map(rules).unwrap_or_default();
        let mut open = row.flags_open.clone();
        open.sort_unstable_by_key(|flag| (urgency(*flag), *flag));
        let raised = open.iter().find_map(|flag| {
            let rule = rules.iter().find(|id| known(id).and_then(raises) == Some(*flag))?;
            Some((*flag, rule.clone()))
        });
        match raised {
            Some((flag, rule)) => Self { flag: Some(flag), rule },
            None => {
                Self { flag: open.first().copied(), rule: rules.last().cloned().unwrap_or_else(|| NO_RULE.to_owned()) }
            }
        }
    }

    fn why(&self, row: &WaitingRow) -> String {
        if let Some(refund) = proposal(row) {
            let waits = format!("A refund of {} waits for an approval.", format::rupiah(refund.amount));
            return match refund.reason.as_deref() {
                Some(reason) => format!("{waits} {}", as_sentence(reason)),
                None => waits,
            };
        }
        let said = match (known(&self.rule), self.flag) {
            (Some(rule), flag) if flag.is_none() || raises(rule) == flag => sentence(rule).to_owned(),
            (_, Some(flag)) => as_sentence(lookup::flag_words(flag).0),
            (_, None) => "No rule can decide it.".to_owned(),
        };
        let reason = row.refund.as_ref().and_then(|refund| refund.reason.as_deref());
        match reason.filter(|_| self.flag == Some(Flag::RefundBlocked)) {
            Some(reason) => format!("{said} {}", as_sentence(reason)),
            None => said,
        }
    }

    fn next_step(&self, row: &WaitingRow) -> String {
        if let Some(refund) = proposal(row) {
            return format!("Look at it with `rekon refunds show {}` and approve or deny it.", refund.id);
        }
        match self.flag {
            Some(flag) => as_sentence(lookup::flag_words(flag).1),
            None => format!("Look at `rekon explain {}/{}` and decide.", row.account, row.partner_reference_no),
        }
    }
}

/// Who cannot ask settles nothing else; what blocks comes before what is owed; a clock that is off holds nobody up.
const fn urgency(flag: Flag) -> u8 {
    match flag {
        Flag::UnknownAccount | Flag::MissingReference => 0,
        Flag::Currency
        | Flag::Scale
        | Flag::Identity
        | Flag::AmountChanged
        | Flag::DuplicateReference
        | Flag::Regression
        | Flag::RefundedOutside
        | Flag::RefundUnknown
        | Flag::RefundAmountDiffers => 1,
        Flag::RefundBlocked => 2,
        Flag::CancelledAfterPaid
        | Flag::PaidAfterCancel
        | Flag::PaidAfterClose
        | Flag::PaidLate
        | Flag::DuplicatePayment
        | Flag::Underpaid
        | Flag::Overpaid
        | Flag::Requested
        | Flag::Stuck
        | Flag::PayoutNotDone => 3,
        Flag::TimeSkew => 4,
    }
}

/// The flag that a rule raises, where it raises one.
const fn raises(rule: Rule) -> Option<Flag> {
    Some(match rule {
        Rule::AccountUnknown | Rule::PayoutUnaskable => Flag::UnknownAccount,
        Rule::ReferenceMissing => Flag::MissingReference,
        Rule::IdentityDiffers | Rule::IdentityThrice => Flag::Identity,
        Rule::Stuck => Flag::Stuck,
        Rule::AmountOver => Flag::Overpaid,
        Rule::AmountUnder => Flag::Underpaid,
        Rule::AmountScale => Flag::Scale,
        Rule::AmountChanged | Rule::AmountChangedTwice => Flag::AmountChanged,
        Rule::CurrencyDiffers => Flag::Currency,
        Rule::DuplicateReference => Flag::DuplicateReference,
        Rule::DuplicatePayment => Flag::DuplicatePayment,
        Rule::CancelledBefore => Flag::PaidAfterCancel,
        Rule::CancelledAfter => Flag::CancelledAfterPaid,
        Rule::LateByPaidTime | Rule::LateByAnswer => Flag::PaidLate,
        Rule::AfterClose => Flag::PaidAfterClose,
        Rule::TimeSkew | Rule::TimeWithoutZone => Flag::TimeSkew,
        Rule::RegressionTwice => Flag::Regression,
        Rule::ReversedOutside => Flag::RefundedOutside,
        Rule::RefundRequested => Flag::Requested,
        Rule::RefundBlocked | Rule::RefundByHand => Flag::RefundBlocked,
        Rule::RefundUnknown | Rule::RefundContradicted => Flag::RefundUnknown,
        Rule::RefundAmountDiffers => Flag::RefundAmountDiffers,
        Rule::PayoutNotDone => Flag::PayoutNotDone,
        Rule::RefundDisputed
        | Rule::SettledByPerson
        | Rule::KeptByPerson
        | Rule::ClosedByPerson
        | Rule::NothingSaid
        | Rule::NotPaidYet
        | Rule::ClosedUnpaid
        | Rule::Reopened
        | Rule::PaidExact
        | Rule::PaidWithTip
        | Rule::PaidWithFee
        | Rule::PaidTruncated
        | Rule::PaidAccepted
        | Rule::QrCancelAsked
        | Rule::RegressionOnce
        | Rule::ReversedOurs
        | Rule::ReversedWhileSending
        | Rule::RefundProposed
        | Rule::RefundApproved
        | Rule::RefundExpired
        | Rule::RefundProvedByQuery
        | Rule::RefundedInFull
        | Rule::RefundedInPart
        | Rule::Refunding
        | Rule::HeldByCause
        | Rule::PayoutPaid => return None,
    })
}

fn known(id: &str) -> Option<Rule> {
    Rule::ALL.into_iter().find(|rule| rule.id() == id)
}

fn proposal(row: &WaitingRow) -> Option<&OpenRefund> {
    row.refund.as_ref().filter(|refund| refund.state == RefundState::Proposed)
}

/// The ids of the rules of a journal entry, in its order.
fn rules(entry: &Entry) -> Vec<String> {
    let content: Value = serde_json::from_str(&entry.content).unwrap_or_default();
    let because = content.get("because").and_then(Value::as_array);
    let ids = because.into_iter().flatten().filter_map(|reason| reason.get("rule").and_then(Value::as_str));
    ids.map(str::to_owned).collect()
}

/// When the unbroken stretch of decisions began that left it waiting; a row without any waits since it was made.
fn since(row: &WaitingRow) -> DateTime<Utc> {
    let stretch = row.journal.iter().rev().take_while(|entry| waits(entry)).last();
    stretch.or_else(|| row.journal.last()).map_or(row.created_at, |entry| entry.at)
}

/// Did this decision leave the row waiting for a person?
fn waits(entry: &Entry) -> bool {
    if State::from_word(&entry.state).is_some_and(State::is_exception) {
        return true;
    }
    let content: Value = serde_json::from_str(&entry.content).unwrap_or_default();
    let list = |key| content.get(key).and_then(Value::as_array).into_iter().flatten();
    list("flags").any(|flag| flag == Flag::RefundBlocked.as_str())
        || list("refunds")
            .any(|refund| refund.get("state").and_then(Value::as_str) == Some(RefundState::Proposed.as_str()))
}

/// A phrase as a sentence: a capital before it and a full stop behind it.
fn as_sentence(phrase: &str) -> String {
    let mut letters = phrase.trim().chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    let stop = if phrase.trim_end().ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{stop}", letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::Sen;
    use serde_json::json;

    fn entry(hour: u32, state: &str, content: &Value) -> Entry {
        let at = format!("2026-11-19T{hour:02}:00:00Z").parse().unwrap();
        Entry { at, state: state.to_owned(), content: content.to_string() }
    }

    fn row(state: State, flags_open: &[Flag], journal: Vec<Entry>) -> WaitingRow {
        WaitingRow {
            id: 1,
            account: "doku-main".to_owned(),
            partner_reference_no: "INV-1".to_owned(),
            reference_no: None,
            state,
            flags_open: flags_open.to_vec(),
            amount: Sen::rupiah(50_000),
            paid_amount: Some(Sen::rupiah(40_000)),
            refunded_amount: Sen::ZERO,
            at_risk: Sen::rupiah(40_000),
            created_at: "2026-11-18T00:00:00Z".parse().unwrap(),
            refund: None,
            journal,
        }
    }

    fn because(rules: &[&str]) -> Value {
        json!({"because": rules.iter().map(|rule| json!({"rule": rule})).collect::<Vec<_>>()})
    }

    #[test]
    fn the_rule_behind_the_first_cause_is_named_and_not_the_summary_of_all() {
        let last = entry(9, "held", &because(&["late.paid_time", "amount.under", "held.by_cause"]));
        let shown = told(&row(State::Held, &[Flag::Underpaid, Flag::PaidLate], vec![last]));
        assert_eq!(shown.rule, "late.paid_time");
        assert_eq!(shown.why, "The provider's paid time lies after the validity.");
        assert_eq!(shown.next_step, "Fulfil late, or return the money.");
    }

    #[test]
    fn a_row_that_nobody_can_ask_about_says_so_before_its_older_flags() {
        let last = entry(9, "review", &because(&["account.unknown"]));
        let shown = told(&row(State::Review, &[Flag::Underpaid, Flag::UnknownAccount], vec![last]));
        assert_eq!(shown.rule, "account.unknown");
        assert!(shown.next_step.contains("[accounts]"), "{}", shown.next_step);
    }

    #[test]
    fn a_blocked_refund_tells_its_reason_and_a_proposal_asks_for_an_answer() {
        let last = entry(9, "paid", &because(&["amount.over"]));
        let mut waiting = row(State::Paid, &[Flag::Overpaid, Flag::RefundBlocked], vec![last]);
        let refund = |state, reason: Option<&str>| OpenRefund {
            id: 42,
            state,
            amount: Sen::rupiah(1_500),
            reason: reason.map(str::to_owned),
        };
        waiting.refund = Some(refund(RefundState::Approved, Some("the day's budget is spent")));
        let mut blocked = waiting.clone();
        blocked.journal = vec![entry(9, "paid", &because(&["amount.over", "refund.blocked"]))];
        let shown = told(&blocked);
        assert_eq!(shown.rule, "refund.blocked");
        assert_eq!(shown.why, "Money is owed back and cannot go by itself. The day's budget is spent.");

        waiting.refund = Some(refund(RefundState::Proposed, None));
        let shown = told(&waiting);
        assert_eq!(shown.why, "A refund of Rp\u{a0}1.500 waits for an approval.");
        assert!(shown.next_step.contains("rekon refunds show 42"), "{}", shown.next_step);

        waiting.refund = Some(refund(RefundState::Proposed, Some("INV-2 waits for the same amount")));
        let shown = told(&waiting);
        assert_eq!(shown.why, "A refund of Rp\u{a0}1.500 waits for an approval. INV-2 waits for the same amount.");
    }

    #[test]
    fn it_waits_since_the_stretch_began_and_not_since_the_last_word() {
        let blocked = json!({"flags": ["overpaid", "refund_blocked"]});
        let proposed = json!({"refunds": [{"state": "proposed"}]});
        let journal = vec![
            entry(1, "held", &json!({})),
            entry(2, "paid", &json!({"flags": ["overpaid"]})),
            entry(3, "paid", &proposed),
            entry(4, "paid", &blocked),
            entry(5, "review", &json!({})),
        ];
        let started = |journal: Vec<Entry>| since(&row(State::Review, &[], journal)).to_rfc3339();
        assert_eq!(started(journal), "2026-11-19T03:00:00+00:00");
        assert_eq!(started(vec![]), "2026-11-18T00:00:00+00:00");
    }

    #[test]
    fn a_journal_that_is_no_json_costs_the_rule_and_not_the_report() {
        let torn = Entry { at: "2026-11-19T09:00:00Z".parse().unwrap(), state: "held".into(), content: "{".into() };
        let shown = told(&row(State::Held, &[Flag::Underpaid], vec![torn]));
        assert_eq!((shown.rule.as_str(), shown.why.as_str()), (NO_RULE, "Paid less than expected."));
    }
}

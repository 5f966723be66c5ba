//! From what a person types to the row he means, and what a person can do about a row that does not reconcile.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    domain::{
        money::Sen,
        order::secs_between,
        state::{Flag, State},
    },
    engine::EngineError,
    store::{
        Store,
        control::Care,
        reads::{RefundRow, TransactionFilter, TransactionRow, as_rupiah},
    },
};

/// Finds the one row that a reference means: `ACCOUNT/REF`, or a `partner_reference_no` that stands on one account only.
///
/// # Errors
/// [`EngineError::NotFound`], or [`EngineError::Ambiguous`] where it stands on several accounts.
pub async fn transaction(store: &Store, reference: &str) -> Result<TransactionRow, EngineError> {
    // A reference may itself hold a slash, so the reading with an account comes first and need not hold.
    if let Some((account, rest)) = reference.split_once('/')
        && let Some(row) = store.find_transactions(rest, Some(account)).await?.into_iter().next()
    {
        return Ok(row);
    }
    let mut rows = store.find_transactions(reference, None).await?;
    match rows.len() {
        0 => Err(EngineError::NotFound(reference.to_owned())),
        1 => rows.pop().ok_or_else(|| EngineError::NotFound(reference.to_owned())),
        _ => Err(EngineError::Ambiguous {
            reference: reference.to_owned(),
            accounts: rows.into_iter().map(|row| row.account).collect(),
        }),
    }
}

/// Finds the refund with this `partner_refund_no`, else with this id.
pub async fn refund(store: &Store, number_or_id: &str) -> Result<Option<RefundRow>, EngineError> {
    let found = store.find_refunds(number_or_id, number_or_id.parse().ok()).await?;
    let by_number = found.iter().position(|refund| refund.partner_refund_no.as_deref() == Some(number_or_id));
    Ok(found.into_iter().nth(by_number.unwrap_or(0)))
}

/// A row that waits for somebody.
#[derive(Debug, Clone, Serialize)]
pub struct ExceptionRow {
    /// The row.
    #[serde(flatten)]
    pub row: TransactionRow,
    /// Seconds since it was made.
    pub age_secs: i64,
    /// The money that is not settled: what was paid less what went back, or what is expected where nothing was paid.
    #[serde(serialize_with = "as_rupiah")]
    pub value_at_risk: Sen,
    /// The open flag that decides, in one sentence.
    pub why: &'static str,
    /// What helps.
    pub next_step: &'static str,
    /// Who looks after it, and what waits for a second person.
    #[serde(flatten)]
    pub care: Care,
}

/// The exceptions that pass a filter, with who looks after them.
pub async fn exceptions(store: &Store, filter: &TransactionFilter) -> Result<Vec<ExceptionRow>, EngineError> {
    let rows = store.list_transactions(filter).await?;
    let now = store.now().await?;
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let mut care: BTreeMap<i64, Care> = store.care(&ids).await?.into_iter().map(|c| (c.transaction_id, c)).collect();
    Ok(rows
        .into_iter()
        .map(|row| {
            let care = care.remove(&row.id).unwrap_or_default();
            ExceptionRow::of(row, care, now)
        })
        .collect())
}

impl ExceptionRow {
    /// Reads a row as an exception at a time.
    pub fn of(row: TransactionRow, care: Care, now: DateTime<Utc>) -> Self {
        let (why, next_step) = deciding_flag(&row).map_or_else(|| state_words(row.state), flag_words);
        Self {
            age_secs: secs_between(row.created_at, now).max(0),
            value_at_risk: match row.paid_amount {
                Some(paid) => paid.minus(row.refunded_amount).minus(row.refunded_outside),
                None => row.amount,
            },
            why,
            next_step,
            care,
            row,
        }
    }
}

/// Why no provider can be asked about a row, and what to do; `None`: one can.
pub fn unaskable(row: &TransactionRow) -> Option<&'static str> {
    let is_open = |flag: Flag| row.flags_open.iter().any(|word| word == flag.as_str());
    if is_open(Flag::MissingReference) {
        return Some(
            "the row lacks a reference without which the provider cannot be asked: set reference_no or external_id",
        );
    }
    is_open(Flag::UnknownAccount)
        .then_some("no configured account can be asked about it: add it under [accounts]; a payout wants one whose provider has a status service")
}

/// The first open flag in the order of causes.
pub fn deciding_flag(row: &TransactionRow) -> Option<Flag> {
    row.flags_open.iter().filter_map(|word| Flag::from_word(word)).min()
}

fn state_words(state: State) -> (&'static str, &'static str) {
    match state {
        State::Review => ("no rule can decide it", "look at `rekon explain` and decide"),
        State::Held => ("money was taken and something does not reconcile", "look at `rekon explain` and decide"),
        State::Pending | State::Paid | State::Refunding | State::Refunded | State::PartlyRefunded | State::Unpaid => {
            ("it has an open flag", "look at `rekon explain`")
        }
    }
}

/// What a flag says, and what a person does about it.
pub const fn flag_words(flag: Flag) -> (&'static str, &'static str) {
    match flag {
        Flag::Currency => ("paid in another currency", "ask the provider which amount was settled"),
        Flag::Scale => ("paid amount is the expected one times a power of ten", "ask the provider for the true amount"),
        Flag::Identity => ("answers spoke of another payment or merchant", "compare the references with the provider"),
        Flag::AmountChanged => ("a later PAID has another amount", "ask the provider which amount is true"),
        Flag::DuplicateReference => ("two orders carry one provider reference", "find out which order was paid"),
        Flag::Regression => ("the provider called a paid payment dead", "ask the provider for its final word"),
        Flag::RefundedOutside => ("money went back that rekon did not send", "state the outside refund"),
        Flag::RefundUnknown => ("a refund's fate is unknown", "ask the provider by its partner_refund_no"),
        Flag::RefundAmountDiffers => {
            ("a refund was done with another amount", "settle the difference with the provider")
        }
        Flag::CancelledAfterPaid => ("the order was cancelled after it was paid", "decide whether the money goes back"),
        Flag::PaidAfterCancel => ("paid although the order was cancelled", "approve the refund, or fulfil after all"),
        Flag::PaidAfterClose => ("paid after it was closed as unpaid", "fulfil late, or return the money"),
        Flag::PaidLate => ("paid after the QR's validity", "fulfil late, or return the money"),
        Flag::DuplicatePayment => ("two payments for one order", "return the second one"),
        Flag::Underpaid => ("paid less than expected", "collect the rest, accept it, or return the money"),
        Flag::Overpaid => ("paid more than expected", "approve the refund of the difference"),
        Flag::Requested => ("a person asked to return money", "approve or deny the refund"),
        Flag::RefundBlocked => {
            ("a refund is owed and cannot go by itself", "see the refund's reason; return it by hand")
        }
        Flag::Stuck => ("neither paid nor closed long after the watch", "ask the provider; it is asked on meanwhile"),
        Flag::TimeSkew => ("the provider's times are off", "compare clocks with the provider"),
        Flag::UnknownAccount => (
            "no configured account can be asked about it",
            "add it under [accounts]; a payout wants one whose provider has a status service",
        ),
        Flag::MissingReference => ("a reference is missing that the provider wants", "fill it in on the row"),
        Flag::PayoutNotDone => ("a payout was called dead", "ask the provider whether the money left"),
    }
}

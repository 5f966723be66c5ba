//! Why a row stands where it stands: its evidence in order, the last decision that changed something with a sentence for
//! each rule it took, what the same rules say of the evidence now, and what would change it. It writes nothing.

mod sentences;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    domain::{
        decide,
        explain::Rule,
        money::Sen,
        state::{Flag, State},
    },
    engine::{EngineError, lookup, rulebook::Rulebook},
    store::{
        Store, StoreError, cases, now_in,
        reads::{
            RefundRow, TransactionRow, as_rupiah,
            evidence::{AttemptRow, ChangeRow, EntryRow, FactRow, ResolutionRow},
        },
    },
};

pub use sentences::sentence;

/// The longest excerpt of a body, in characters.
const EXCERPT_MAX: usize = 2_000;
/// Parts of field names whose values no reader of an explanation needs.
const HIDDEN: [&str; 10] =
    ["token", "secret", "signature", "authorization", "phone", "email", "name", "account", "customer", "pan"];

/// A rule that the last decision took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Because {
    /// Its stable id.
    pub rule: String,
    /// It in one sentence.
    pub sentence: &'static str,
    /// What it looked at.
    pub inputs: Value,
    /// The facts it stood on.
    pub facts: Vec<i64>,
}

/// A row under the terms in force at the time of the look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// The state that a decision would give it.
    pub state: State,
    /// The flags that would be listed.
    pub flags: Vec<&'static str>,
    /// Why.
    pub because: Vec<Because>,
}

/// What one account of the ledger holds of the row's money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Balance {
    /// The ledger account.
    pub account: String,
    /// `Dr` or `Cr`.
    pub side: &'static str,
    /// How much.
    #[serde(serialize_with = "as_rupiah")]
    pub amount: Sen,
}

/// A row and all that explains it.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// Database time of the look.
    pub at: DateTime<Utc>,
    /// The row.
    pub transaction: TransactionRow,
    /// When the last decision was written down; `None`: nothing was decided yet.
    pub decided_at: Option<DateTime<Utc>>,
    /// Why it came out as it did.
    pub because: Vec<Because>,
    /// What the rules say of all the evidence now. A decision that changes nothing is not written down, so this may know
    /// more than `because`.
    pub now: Standing,
    /// What was said, by sequence.
    pub facts: Vec<FactRow>,
    /// What the merchant changed, by sequence.
    pub changes: Vec<ChangeRow>,
    /// What people decided, by sequence.
    pub resolutions: Vec<ResolutionRow>,
    /// Refunds and how they are known.
    pub refunds: Vec<RefundRow>,
    /// Calls of refunds.
    pub attempts: Vec<AttemptRow>,
    /// Decisions and what they moved.
    pub journal: Vec<EntryRow>,
    /// Where the row's money is.
    pub balances: Vec<Balance>,
    /// What would change it.
    pub what_next: Vec<String>,
    /// The start of the last body as it came, without personal data; `None`: none is kept.
    pub last_answer: Option<String>,
}

/// Explains the row that a reference means.
///
/// # Errors
/// As [`lookup::transaction`].
pub async fn explain(store: &Store, rulebook: &Rulebook, reference: &str) -> Result<Explanation, EngineError> {
    let transaction = lookup::transaction(store, reference).await?;
    let now = standing(store, rulebook, &transaction).await?;
    let evidence = store.evidence(transaction.id).await?;
    let refunds = store.refunds_of(transaction.id).await?;
    let last = evidence.journal.last();
    Ok(Explanation {
        at: evidence.at,
        decided_at: last.map(|entry| entry.at),
        because: last.map(|entry| because(&entry.content)).unwrap_or_default(),
        now,
        balances: balances(&evidence.journal),
        what_next: what_next(&transaction, evidence.at),
        last_answer: evidence.last_body.as_deref().map(excerpt),
        facts: evidence.facts,
        changes: evidence.changes,
        resolutions: evidence.resolutions,
        attempts: evidence.attempts,
        journal: evidence.journal,
        refunds,
        transaction,
    })
}

/// Decides on what is stored, and throws the decision away.
async fn standing(store: &Store, rulebook: &Rulebook, row: &TransactionRow) -> Result<Standing, EngineError> {
    let mut tx = store.begin().await?;
    let loaded = cases::read(&mut tx, &[row.id]).await?;
    let at = now_in(&mut tx).await?;
    tx.rollback().await.map_err(StoreError::from)?;
    let case = &loaded.first().ok_or_else(|| EngineError::NotFound(row.partner_reference_no.clone()))?.case;
    let decision = decide::decide(case, &rulebook.terms(&row.account), at);
    let because = because(&json!({ "because": decision.because }));
    Ok(Standing { state: decision.state, flags: decision.flags.listed(), because })
}

/// The reasons of a journal entry.
fn because(content: &Value) -> Vec<Because> {
    let reasons = content.get("because").and_then(Value::as_array);
    reasons
        .into_iter()
        .flatten()
        .map(|reason| {
            let id = reason.get("rule").and_then(Value::as_str).unwrap_or_default();
            let facts = reason.get("facts").and_then(Value::as_array);
            Because {
                rule: id.to_owned(),
                sentence: Rule::ALL
                    .into_iter()
                    .find(|rule| rule.id() == id)
                    .map_or("A rule that this version of rekon does not know.", sentence),
                inputs: reason.get("inputs").cloned().unwrap_or_default(),
                facts: facts.into_iter().flatten().filter_map(Value::as_i64).collect(),
            }
        })
        .collect()
}

fn balances(journal: &[EntryRow]) -> Vec<Balance> {
    let mut sums: std::collections::BTreeMap<&str, i64> = std::collections::BTreeMap::new();
    for posting in journal.iter().flat_map(|entry| &entry.postings) {
        let sum = sums.entry(&posting.account).or_insert(0);
        *sum = sum.saturating_add(posting.debit.minus(posting.credit).sen());
    }
    sums.into_iter()
        .filter(|(_, sum)| *sum != 0)
        .map(|(account, sum)| Balance {
            account: account.to_owned(),
            side: if sum > 0 { "Dr" } else { "Cr" },
            amount: Sen::new(sum.saturating_abs()),
        })
        .collect()
}

fn what_next(row: &TransactionRow, now: DateTime<Utc>) -> Vec<String> {
    let mut next = vec![match row.next_check_at {
        Some(at) if at <= now => "It is due: the next sweep asks the provider.".to_owned(),
        Some(at) => format!("The provider is asked again at {}.", in_wib(at)),
        None => {
            "Nothing is due: it is asked again after a notification, a recheck or a reconcile of its day.".to_owned()
        }
    }];
    next.push(state_outlook(row.state).to_owned());
    let open = row.flags_open.iter().filter_map(|word| Flag::from_word(word));
    next.extend(open.map(|flag| {
        let (why, step) = lookup::flag_words(flag);
        format!("{}: {why}; {step}.", flag.as_str())
    }));
    next
}

/// RFC 3339 at WIB's offset, so that one screen has one time of day.
fn in_wib(at: DateTime<Utc>) -> String {
    let shifted = chrono::FixedOffset::east_opt(7 * 3600).map(|wib| at.with_timezone(&wib).fixed_offset());
    shifted.unwrap_or_else(|| at.fixed_offset()).to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

const fn state_outlook(state: State) -> &'static str {
    match state {
        State::Pending => {
            "A PAID answer to a query settles it; enough negative answers after its watch close it as unpaid."
        }
        State::Paid => "A reversal, a dead answer seen twice, another amount or a cancelled order would move it.",
        State::Held => "It leaves when its deciding flag is settled: by a refund, by policy or by a person.",
        State::Refunding => "It leaves when the refund is confirmed, refused or given up before it was sent.",
        State::Refunded => "It rests; a PAID answer after a refund proved by query would reopen it.",
        State::PartlyRefunded => "It rests; a further cause or a reversal would move it.",
        State::Unpaid => "It rests; a later PAID answer reopens it as held with paid_after_close.",
        State::Review => "A person decides, unless its flag heals by itself.",
    }
}

/// The start of a body, values of personal or secret fields replaced.
pub(crate) fn excerpt(body: &[u8]) -> String {
    let text = match serde_json::from_slice::<Value>(body) {
        Ok(mut value) => {
            hide(&mut value);
            value.to_string()
        }
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    text.chars().take(EXCERPT_MAX).collect()
}

fn hide(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let folded = name.to_lowercase();
                match value {
                    Value::String(_) | Value::Number(_) if HIDDEN.iter().any(|part| folded.contains(part)) => {
                        *value = Value::String("(hidden)".to_owned());
                    }
                    _ => hide(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_shows_the_status_and_hides_the_customer() {
        let body = br#"{"responseCode":"2005100","additionalInfo":{"customerName":"Budi","list":[{"phoneNo":62811}]},"amount":{"value":"1.00"}}"#;
        let shown = excerpt(body);
        assert!(shown.contains("2005100") && shown.contains("1.00"), "{shown}");
        assert!(!shown.contains("Budi") && !shown.contains("62811"), "{shown}");
        assert_eq!(excerpt(b"<html>502</html>"), "<html>502</html>");
        assert_eq!(excerpt("x".repeat(5_000).as_bytes()).len(), EXCERPT_MAX);
    }

    #[test]
    fn a_rule_of_another_version_is_named_and_not_guessed() {
        let told = because(
            &serde_json::json!({"because": [{"rule": "amount.exact", "inputs": {"paid": "1.00"}, "facts": [3]}, {"rule": "x.y"}]}),
        );
        assert_eq!((told[0].rule.as_str(), told[0].facts.as_slice()), ("amount.exact", &[3][..]));
        assert!(told[1].sentence.contains("does not know"));
    }
}

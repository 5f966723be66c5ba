//! Why a row stands where it stands: its evidence in order, the last decision that changed something with a sentence for
//! each rule it took, what the same rules say of the evidence now, and what would change it. It writes nothing.

mod indonesian;
mod sentences;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    domain::{
        decide,
        explain::Rule,
        fact::{Echo, Source},
        money::Sen,
        observation::Observation,
        refund::RefundState,
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

pub use sentences::{Lang, sentence};

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

/// A fact, what became of it, and the answer that it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FactTold {
    /// The fact.
    #[serde(flatten)]
    pub row: FactRow,
    /// Does a rule stand on it, that of the last decision or one of now?
    pub is_used: bool,
    /// Why none does.
    pub ignored: Option<&'static str>,
    /// The start of the body as it came, without personal data; `None`: it is not kept, or the fact is an old one.
    pub excerpt: Option<String>,
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
    pub facts: Vec<FactTold>,
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
pub async fn explain(
    store: &Store,
    rulebook: &Rulebook,
    reference: &str,
    lang: Lang,
) -> Result<Explanation, EngineError> {
    let transaction = lookup::transaction(store, reference).await?;
    let now = standing(store, rulebook, &transaction, lang).await?;
    let evidence = store.evidence(transaction.id).await?;
    let refunds = store.refunds_of(transaction.id).await?;
    let last = evidence.journal.last();
    let because = last.map(|entry| because(&entry.content, lang)).unwrap_or_default();
    let used: BTreeSet<i64> = because.iter().chain(&now.because).flat_map(|reason| reason.facts.clone()).collect();
    let mut bodies: BTreeMap<i32, Vec<u8>> = evidence.bodies.into_iter().collect();
    let facts = evidence.facts.into_iter().map(|row| {
        let body = bodies.remove(&row.seq);
        told(row, &used, body.as_deref(), lang)
    });
    Ok(Explanation {
        at: evidence.at,
        decided_at: last.map(|entry| entry.at),
        because,
        now,
        balances: balances(&evidence.journal),
        what_next: what_next(&transaction, &refunds, evidence.at, lang),
        last_answer: evidence.last_body.as_deref().map(excerpt),
        facts: facts.collect(),
        changes: evidence.changes,
        resolutions: evidence.resolutions,
        attempts: evidence.attempts,
        journal: evidence.journal,
        refunds,
        transaction,
    })
}

/// Decides on what is stored, and throws the decision away.
async fn standing(
    store: &Store,
    rulebook: &Rulebook,
    row: &TransactionRow,
    lang: Lang,
) -> Result<Standing, EngineError> {
    let mut tx = store.begin().await?;
    let loaded = cases::read(&mut tx, &[row.id]).await?;
    let at = now_in(&mut tx).await?;
    tx.rollback().await.map_err(StoreError::from)?;
    let case = &loaded.first().ok_or_else(|| EngineError::NotFound(row.partner_reference_no.clone()))?.case;
    let decision = decide::decide(case, &rulebook.terms(&row.account), at);
    let because = because(&json!({ "because": decision.because }), lang);
    Ok(Standing { state: decision.state, flags: decision.flags.listed(), because })
}

/// A fact with what became of it.
fn told(row: FactRow, used: &BTreeSet<i64>, body: Option<&[u8]>, lang: Lang) -> FactTold {
    let is_used = used.contains(&i64::from(row.seq));
    let ignored = (!is_used).then(|| {
        if row.source == Source::Notification.as_str() {
            lang.pick("a notification is a hint to ask: it moves nothing", "notifikasi hanya petunjuk untuk bertanya")
        } else if row.echo == Echo::Wrong.as_str() {
            lang.pick("it speaks of another payment or merchant", "menyebut pembayaran atau merchant lain")
        } else if row.observation == Observation::Indeterminate.as_str() || row.echo == Echo::Silent.as_str() {
            lang.pick(
                "it says nothing for certain about this payment",
                "tidak memastikan apa pun tentang pembayaran ini",
            )
        } else {
            lang.pick("no rule that holds now stands on it", "tidak ada aturan yang berlaku bersandar padanya")
        }
    });
    FactTold { row, is_used, ignored, excerpt: body.map(excerpt) }
}

/// The reasons of a journal entry.
fn because(content: &Value, lang: Lang) -> Vec<Because> {
    let reasons = content.get("because").and_then(Value::as_array);
    reasons
        .into_iter()
        .flatten()
        .map(|reason| {
            let id = reason.get("rule").and_then(Value::as_str).unwrap_or_default();
            let facts = reason.get("facts").and_then(Value::as_array);
            Because {
                rule: id.to_owned(),
                sentence: Rule::ALL.into_iter().find(|rule| rule.id() == id).map_or(
                    lang.pick(
                        "A rule that this version of rekon does not know.",
                        "Aturan yang tidak dikenal oleh versi rekon ini.",
                    ),
                    |rule| lang.rule(rule),
                ),
                inputs: reason.get("inputs").cloned().unwrap_or_default(),
                facts: facts.into_iter().flatten().filter_map(Value::as_i64).collect(),
            }
        })
        .collect()
}

fn balances(journal: &[EntryRow]) -> Vec<Balance> {
    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
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

fn what_next(row: &TransactionRow, refunds: &[RefundRow], now: DateTime<Utc>, lang: Lang) -> Vec<String> {
    let mut next = vec![match row.next_check_at {
        Some(at) if at <= now => lang
            .pick(
                "It is due: the next sweep asks the provider.",
                "Sudah waktunya: putaran berikut menanyakan penyedia.",
            )
            .to_owned(),
        Some(at) => {
            let asked = lang.pick("The provider is asked again at", "Penyedia ditanya lagi pada");
            format!("{asked} {}.", in_wib(at))
        }
        None => lang
            .pick(
                "Nothing is due: it is asked again after a notification, a recheck or a reconcile of its day.",
                "Tidak ada jadwal: ditanya lagi setelah notifikasi, recheck, atau reconcile harinya.",
            )
            .to_owned(),
    }];
    next.push(lang.outlook(row.state).to_owned());
    let open = row.flags_open.iter().filter_map(|word| Flag::from_word(word));
    next.extend(open.map(|flag| {
        let (why, step) = lang.flag(flag);
        format!("{}: {why}; {step}.", flag.as_str())
    }));
    next.extend(refunds.iter().filter_map(|refund| meant_for_another(refund, lang)));
    next
}

/// What a person does with a proposal whose money another order may have a claim to; `None` for all others.
pub fn meant_for_another(refund: &RefundRow, lang: Lang) -> Option<String> {
    let other = refund.candidate_reference_no.as_ref().filter(|_| refund.state == RefundState::Proposed)?;
    Some(lang.candidate(refund.refund_id, other, refund.candidate_why.as_deref().unwrap_or_default()))
}

/// RFC 3339 at WIB's offset, so that one screen has one time of day.
fn in_wib(at: DateTime<Utc>) -> String {
    let shifted = chrono::FixedOffset::east_opt(7 * 3600).map(|wib| at.with_timezone(&wib).fixed_offset());
    shifted.unwrap_or_else(|| at.fixed_offset()).to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
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
            Lang::En,
        );
        assert_eq!((told[0].rule.as_str(), told[0].facts.as_slice()), ("amount.exact", &[3][..]));
        assert!(told[1].sentence.contains("does not know"));
    }
}

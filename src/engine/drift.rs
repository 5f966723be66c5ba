//! The drift sentinel: what providers begin to say or spell otherwise is counted, listed and shown with a sample, long before
//! it is a doubt about money. The first time is written at once; then each kind at most every [`WRITE_EVERY`], so that a
//! provider that drifts in every answer costs a statement a minute.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};

use crate::{
    domain::{fact::Answer, observe::doubt, order::secs_between},
    engine::{Ctx, explain},
    providers::{QueryResult, RefundResult, client::Meta},
    store::{Store, StoreError, drift::DriftRow},
    telemetry::metrics,
};

/// How often a kind is written at most.
const WRITE_EVERY: Duration = Duration::from_mins(1);
/// Kinds of one account that a process tells apart; the rest counts as one.
const KINDS_MAX: usize = 100;
/// The longest sample, in characters.
const SAMPLE_MAX: usize = 500;
/// A provider's clock further off than this has shifted, seconds.
const CLOCK_OFF_SECS: i64 = 60;

/// What this process has seen and not yet written.
#[derive(Debug, Default)]
pub struct DriftBook(Mutex<BTreeMap<(String, String), Held>>);

#[derive(Debug)]
struct Held {
    row: DriftRow,
    written_at: Instant,
}

impl DriftBook {
    /// Counts kinds and gives what is to be written now.
    fn note(&self, account: &str, kinds: Vec<String>, sample: &str, at: DateTime<Utc>) -> Vec<DriftRow> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = held.keys().filter(|(of, _)| of == account).count();
        let mut due = Vec::new();
        for kind in kinds {
            let is_new = !held.contains_key(&(account.to_owned(), kind.clone()));
            let kind = if is_new && known >= KINDS_MAX { "other".to_owned() } else { kind };
            let seen = |n: i64| DriftRow {
                account: account.to_owned(),
                kind: kind.clone(),
                n,
                first_at: at,
                last_at: at,
                sample: Some(sample.to_owned()),
            };
            match held.get_mut(&(account.to_owned(), kind.clone())) {
                None => {
                    tracing::warn!(
                        account,
                        kind,
                        "the provider answers otherwise than it is documented; see `rekon providers show {account} --drift`"
                    );
                    due.push(seen(1));
                    held.insert((account.to_owned(), kind.clone()), Held { row: seen(0), written_at: Instant::now() });
                }
                Some(held) => {
                    let first_at = if held.row.n == 0 { at } else { held.row.first_at };
                    held.row = DriftRow { first_at, ..seen(held.row.n.saturating_add(1)) };
                    if held.written_at.elapsed() >= WRITE_EVERY {
                        due.push(held.row.clone());
                        held.row.n = 0;
                        held.written_at = Instant::now();
                    }
                }
            }
        }
        due
    }

    /// Writes what is left, at the end of the process.
    pub(crate) async fn finish(&self, store: &Store) -> Result<(), StoreError> {
        let rest: Vec<DriftRow> = {
            let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *held).into_values().map(|held| held.row).filter(|row| row.n > 0).collect()
        };
        if rest.is_empty() { Ok(()) } else { store.count_drift(&rest).await }
    }
}

/// Looks at a query's end.
pub(crate) async fn query(ctx: &Ctx, account: &str, result: &QueryResult) {
    let kinds = [of_meta(&result.meta, ctx.clock.now()), of_answer(&result.answer)].concat();
    write(ctx, account, kinds, &result.raw).await;
}

/// Looks at a refund call's end.
pub(crate) async fn refund(ctx: &Ctx, account: &str, result: &RefundResult) {
    write(ctx, account, of_meta(&result.meta, ctx.clock.now()), &result.raw).await;
}

async fn write(ctx: &Ctx, account: &str, mut kinds: Vec<String>, raw: &[u8]) {
    kinds.sort_unstable();
    kinds.dedup();
    if kinds.is_empty() {
        return;
    }
    metrics::drift(account, u64::try_from(kinds.len()).unwrap_or(u64::MAX));
    let sample: String = explain::excerpt(raw).chars().filter(|c| !c.is_control()).take(SAMPLE_MAX).collect();
    let due = ctx.drift.note(account, kinds, &sample, ctx.clock.now());
    // A warning that cannot be listed is still logged and counted.
    if !due.is_empty()
        && let Err(error) = ctx.store.count_drift(&due).await
    {
        tracing::warn!(account, %error, "drift could not be listed");
    }
}

fn of_meta(meta: &Meta, now: DateTime<Utc>) -> Vec<String> {
    let mut kinds: Vec<String> = meta.drift.iter().map(ToString::to_string).collect();
    if meta.date.is_some_and(|theirs| secs_between(theirs, now).abs() > CLOCK_OFF_SECS) {
        kinds.push("clock_shifted".to_owned());
    }
    kinds
}

/// What no document names, and what a document names and the answer lacks.
fn of_answer(answer: &Answer) -> Vec<String> {
    let with =
        |word: &str, what: Option<&String>| what.map_or_else(|| word.to_owned(), |what| format!("{word}:{what}"));
    let kind = match answer.doubt.as_deref() {
        Some(doubt::UNKNOWN_CODE) => with("unknown_status", answer.latest_transaction_status.as_ref()),
        Some(doubt::UNKNOWN_RESPONSE_CODE) => with("unknown_response_code", answer.response_code.as_ref()),
        Some(doubt::STATUS_MISMATCH) => with("status_mismatch", answer.response_code.as_ref()),
        Some(doubt::NO_STATUS) => "missing_field:latestTransactionStatus".to_owned(),
        Some(doubt::NO_RESPONSE_CODE) => "missing_field:responseCode".to_owned(),
        Some(doubt::NO_ECHO) => "missing_field:references".to_owned(),
        Some(doubt::AMOUNT) => "unreadable_field:amount".to_owned(),
        Some(doubt::CURRENCY) => "unreadable_field:currency".to_owned(),
        _ => return Vec::new(),
    };
    vec![kind]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_written_at_once_and_then_held_and_endless_kinds_become_one() {
        let book = DriftBook::default();
        let at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let note = |kind: &str| book.note("shop", vec![kind.to_owned()], "{}", at);
        assert_eq!(note("unknown_status:14").len(), 1);
        assert_eq!(note("unknown_status:14").len(), 0);
        for n in 0..500 {
            note(&format!("unknown_response_code:{n}"));
        }
        let held = book.0.lock().unwrap();
        assert_eq!(held.len(), KINDS_MAX + 1);
        assert_eq!(held[&("shop".to_owned(), "unknown_status:14".to_owned())].row.n, 1);
        assert_eq!(held[&("shop".to_owned(), "other".to_owned())].row.n, 400);
    }
}

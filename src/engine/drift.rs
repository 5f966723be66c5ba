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
    use crate::providers::{Asked, Drift, fixture, wire::HttpResponse};

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

    fn meta(drift: Vec<Drift>, date: Option<DateTime<Utc>>) -> Meta {
        Meta { http_status: Some(200), retry_after_secs: None, date, drift, call_id: None }
    }

    /// What DOKU's adapter and the book make of this answer.
    fn kinds(profile: &str, http_status: u16, body: &str) -> Vec<String> {
        let account = fixture::account_of("doku", "https://x", profile);
        let asked = Asked {
            partner_reference_no: "INV-1",
            reference_no: Some("DK1"),
            external_id: None,
            merchant_id: "2997",
            is_payout: false,
        };
        let response = HttpResponse { status: http_status, headers: Vec::new(), body: body.into() };
        let reading = account.provider.read_query(&account, &asked, &response);
        [of_meta(&meta(reading.drift, None), DateTime::UNIX_EPOCH), of_answer(&reading.answer)].concat()
    }

    const PAID: &str = r#"{"responseCode":"2005100","originalReferenceNo":"DK1","originalPartnerReferenceNo":"INV-1","latestTransactionStatus":"00","amount":{"value":"12.00","currency":"IDR"},"paidTime":"2026-11-20T10:00:00+07:00"}"#;

    #[test]
    fn each_kind_is_what_one_change_of_a_documented_answer_makes() {
        assert!(kinds("", 200, PAID).is_empty(), "{:?}", kinds("", 200, PAID));
        for (from, to, kind) in [
            (r#""latestTransactionStatus":"00""#, r#""latestTransactionStatus":"14""#, "unknown_status:14"),
            (
                r#""latestTransactionStatus":"00""#,
                r#""latestTransactionStatus":0"#,
                "number_for_text:latestTransactionStatus",
            ),
            (r#""latestTransactionStatus":"00","#, "", "missing_field:latestTransactionStatus"),
            (r#""responseCode":"2005100","#, "", "missing_field:responseCode"),
            (r#""responseCode":"2005100""#, r#""responseCode":2005100"#, "number_for_text:responseCode"),
            (r#""responseCode":"2005100""#, r#""responseCode":"2005177""#, "unknown_response_code:2005177"),
            (r#""responseCode":"2005100""#, r#""responseCode":"2004700""#, "other_service"),
            (r#""originalReferenceNo":"DK1","originalPartnerReferenceNo":"INV-1","#, "", "missing_field:references"),
            (r#""originalReferenceNo":"DK1""#, r#""originalReferenceNo":17"#, "number_for_text:originalReferenceNo"),
            (r#""value":"12.00""#, r#""value":"12,00""#, "unreadable_field:amount"),
            (r#","currency":"IDR""#, "", "unreadable_field:currency"),
            (r#"10:00:00+07:00""#, r#"10:00:00""#, "time_without_zone"),
        ] {
            assert!(PAID.contains(from), "{from}");
            let seen = kinds("", 200, &PAID.replace(from, to));
            assert!(seen.iter().any(|seen| seen == kind), "{to}: {seen:?} and not {kind}");
        }
        assert_eq!(kinds("", 201, PAID), ["status_mismatch:2005100"]);
        assert_eq!(kinds("response_code_as = \"number\"", 200, PAID), ["text_for_number:responseCode"]);
        assert!(kinds("response_code_as = \"either\"", 200, &PAID.replace("\"2005100\"", "2005100")).is_empty());
    }

    #[test]
    fn a_clock_is_shifted_by_more_than_a_minute_either_way() {
        let at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let of = |secs| of_meta(&meta(Vec::new(), Some(at + chrono::TimeDelta::seconds(secs))), at);
        for (secs, expected) in [(0, 0), (60, 0), (-60, 0), (61, 1), (-61, 1)] {
            assert_eq!(of(secs), vec!["clock_shifted"; expected], "{secs} s");
        }
        assert!(of_meta(&meta(Vec::new(), None), at).is_empty());
    }
}

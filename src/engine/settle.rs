//! Settles answers: records them as facts under the rows' locks, decides, writes. One transaction for a whole group;
//! a group that fails is settled row by row, so that one poisoned row harms only itself.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, SubsecRound as _, Utc};
use sha2::{Digest, Sha256};

use crate::{
    domain::{
        chain::Link,
        fact::{Answer, Fact, Source},
        order::later,
    },
    engine::{
        EngineError,
        decisions::{Occasion, Written},
        rulebook::Rulebook,
    },
    store::{
        Store, Tx,
        cases::{self, Loaded},
        settle::{self, NewFact, RawAnswer, Sighting},
    },
    telemetry::metrics,
};

/// An answer to one query, not yet written down.
#[derive(Debug, Clone)]
pub struct Answered {
    /// The row.
    pub id: i64,
    /// The lease under which it was asked; `None` where the asker holds the row by a refund's lease.
    pub epoch: Option<i64>,
    /// The X-EXTERNAL-ID of the call.
    pub call_id: Arc<str>,
    /// What was said.
    pub answer: Arc<Answer>,
    /// Database time when the request left, never later than the truth.
    pub sent_at: DateTime<Utc>,
    /// The body as it came, secrets out.
    pub raw: Option<Arc<Vec<u8>>>,
    /// The account's breaker was not closed.
    pub bad_weather: bool,
    /// The query itself left; false where not even a token could be had.
    pub was_sent: bool,
}

/// What became of a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[must_use = "an unread report hides poisoned rows"]
pub struct SettleReport {
    /// Answers written.
    pub settled: usize,
    /// Answers of a void lease: recorded, and nothing else.
    pub stale: usize,
    /// Rows that could not be settled; their leases run out and they are asked again.
    pub poisoned: usize,
}

/// How long a row that could not be settled is left alone.
const POISONED_WAIT: Duration = Duration::from_mins(5);

/// Rows decided before other work of the thread has its turn.
const TURN: usize = 16;

/// Settles a group of answers.
pub async fn settle(store: &Store, rulebook: &Rulebook, answers: &[Answered]) -> Result<SettleReport, EngineError> {
    match settle_group(store, rulebook, answers).await {
        Ok(report) => Ok(report),
        // A database that is away fails row by row just as well, only later.
        Err(e) if e.is_unavailable() || (answers.len() <= 1 && e.is_transient()) => Err(e),
        Err(error) => {
            tracing::warn!(%error, rows = answers.len(), "a group could not be settled; settling row by row");
            let mut report = SettleReport::default();
            let mut last = None;
            for answer in answers {
                match settle_group(store, rulebook, std::slice::from_ref(answer)).await {
                    Ok(one) => {
                        report.settled = report.settled.saturating_add(one.settled);
                        report.stale = report.stale.saturating_add(one.stale);
                    }
                    Err(e) if e.is_transient() => {
                        report.poisoned = report.poisoned.saturating_add(1);
                        last = Some(e);
                    }
                    Err(e) => {
                        store.postpone(answer.id, POISONED_WAIT).await?;
                        metrics::poisoned_rows(1);
                        tracing::error!(error = %e, id = answer.id, "a row could not be settled");
                        report.poisoned = report.poisoned.saturating_add(1);
                    }
                }
            }
            match last {
                Some(e) if report.poisoned == answers.len() => Err(e),
                _ => Ok(report),
            }
        }
    }
}

/// Decides rows about which nothing new was said: time has passed, or they cannot be asked about.
pub async fn look(store: &Store, rulebook: &Rulebook, ids: &[i64]) -> Result<(), EngineError> {
    let mut tx = store.begin().await?;
    let mut loaded = cases::lock(&mut tx, ids).await?;
    let now = crate::store::now_in(&mut tx).await?;
    let mut written = Written::default();
    for row in &mut loaded {
        written.decide(row, rulebook, now, &Occasion::look());
    }
    written.write(&mut tx).await?;
    tx.commit().await.map_err(crate::store::StoreError::from)?;
    Ok(())
}

async fn settle_group(store: &Store, rulebook: &Rulebook, answers: &[Answered]) -> Result<SettleReport, EngineError> {
    let mut by_row: BTreeMap<i64, Vec<&Answered>> = BTreeMap::new();
    for answer in answers {
        by_row.entry(answer.id).or_default().push(answer);
    }
    let ids: Vec<i64> = by_row.keys().copied().collect();
    let begun = Instant::now();
    let mut tx = store.begin().await?;
    let mut loaded = cases::lock(&mut tx, &ids).await?;
    let now = crate::store::now_in(&mut tx).await?;
    let mut written = Written::default();
    let mut report = SettleReport::default();
    for (nth, row) in loaded.iter_mut().enumerate() {
        // Answers are waiting on this thread too: a group is decided in short turns.
        if nth.is_multiple_of(TURN) {
            tokio::task::yield_now().await;
        }
        let Some(answers) = by_row.get(&row.case.order.id) else { continue };
        settle_row(&mut tx, row, answers, rulebook, now, &mut written, &mut report).await?;
    }
    written.write(&mut tx).await?;
    tx.commit().await.map_err(crate::store::StoreError::from)?;
    metrics::settle_group(u32::try_from(ids.len()).unwrap_or(u32::MAX), begun.elapsed());
    metrics::stale_answers(u64::try_from(report.stale).unwrap_or(u64::MAX));
    Ok(report)
}

#[expect(clippy::too_many_arguments, reason = "one call site; a struct would only rename the same seven things")]
async fn settle_row(
    tx: &mut Tx,
    row: &mut Loaded,
    answers: &[&Answered],
    rulebook: &Rulebook,
    now: DateTime<Utc>,
    written: &mut Written,
    report: &mut SettleReport,
) -> Result<(), EngineError> {
    let mut live = false;
    // A commit whose answer was lost is tried again: what it wrote is not written twice.
    let news: Vec<&Answered> = answers.iter().copied().filter(|answered| !is_recorded(row, answered)).collect();
    if news.is_empty() {
        report.settled = report.settled.saturating_add(answers.len());
        return Ok(());
    }
    for answered in &news {
        record(row, answered, rulebook, now, written);
        let stale = answered.epoch.is_some_and(|epoch| epoch != row.lease_epoch);
        live |= !stale;
        if stale {
            report.stale = report.stale.saturating_add(1);
        } else {
            report.settled = report.settled.saturating_add(1);
        }
    }
    if live {
        let mut occasion = Occasion::answer(news.iter().any(|a| a.epoch.is_some()));
        occasion.checks = i32::try_from(news.iter().filter(|a| a.was_sent).count()).unwrap_or(1);
        let was_paid = row.paid_amount.is_some();
        written.decide(row, rulebook, now, &occasion);
        if !was_paid && row.paid_amount.is_some() {
            let took = now.signed_duration_since(row.case.order.created_at).to_std().unwrap_or_default();
            metrics::time_to_truth(&row.case.order.account, took);
        }
    } else {
        settle::write_stale(tx, row.case.order.id, row.seq, now).await?;
    }
    Ok(())
}

/// Has the answer to this very call been recorded before? A call is told by when it left, in microseconds as the database
/// keeps them: sightings keep no call's number.
fn is_recorded(row: &Loaded, answered: &Answered) -> bool {
    let sent_at = answered.sent_at.timestamp_micros();
    row.case.query_facts().any(|f| f.last_sent_at.timestamp_micros() == sent_at)
}

/// Adds an answer to the case in memory: as a new fact, or as one more sighting of the last one.
fn record(row: &mut Loaded, answered: &Answered, rulebook: &Rulebook, now: DateTime<Utc>, written: &mut Written) {
    let id = row.case.order.id;
    let boundaries = boundaries(row, rulebook);
    let last = row.case.facts.iter_mut().rev().find(|f| f.source == Source::Query);
    if let Some(fact) = last.filter(|f| f.absorbs(&answered.answer, now, answered.bad_weather, &boundaries)) {
        fact.sightings = fact.sightings.saturating_add(1);
        fact.last_at = now;
        fact.last_sent_at = answered.sent_at.trunc_subsecs(6);
        written.batch.sightings.push(Sighting { transaction_id: id, fact: fact.clone() });
        return;
    }
    row.seq = row.seq.saturating_add(1);
    let fact = Fact {
        seq: row.seq,
        source: Source::Query,
        answer: Arc::clone(&answered.answer),
        sent_at: answered.sent_at.trunc_subsecs(6),
        answered_at: now,
        last_at: now,
        last_sent_at: answered.sent_at.trunc_subsecs(6),
        sightings: 1,
        bad_weather: answered.bad_weather,
    };
    let raw_hash = answered.raw.as_ref().map(|body| {
        let hash: Link = Sha256::digest(&**body).into();
        written.batch.raws.push(RawAnswer { hash, body: Arc::clone(body) });
        hash
    });
    written.batch.facts.push(NewFact {
        transaction_id: id,
        fact: fact.clone(),
        call_id: Arc::clone(&answered.call_id),
        payment_id_is_unique: rulebook
            .terms(&row.case.order.account)
            .profile
            .is_some_and(|profile| profile.payment_id_is_unique),
        raw_hash,
        profile_hash: rulebook.shared_profile_hash(&row.case.order.account),
    });
    row.case.facts.push(fact);
}

/// Times on whose two sides answers are never folded together: the end of validity and the end of the watch.
fn boundaries(row: &Loaded, rulebook: &Rulebook) -> Vec<DateTime<Utc>> {
    let Some(profile) = rulebook.terms(&row.case.order.account).profile else { return Vec::new() };
    let valid_until = row.case.order.valid_until(profile.default_validity_secs);
    vec![valid_until, later(valid_until, rulebook.policy.watch_secs)]
}

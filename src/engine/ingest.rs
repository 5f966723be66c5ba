//! Notifications: each adds a fact to the row it names and makes that row due now; the next query tells the truth. No state
//! moves here, no provider is called, and what a notification claims changes nothing.
//!
//! Many are written in one transaction. Whoever floods us finds four bounds: the same payload again is a redelivery, a row
//! takes `per_payment` facts of either kind, verified and not, unverifiable ones make us ask only so often per account, and what
//! becomes no fact is kept apart up to `kept_max` per account. Every query then goes through the account's own call budget.

mod allowance;
mod intake;
mod seal;
mod snap;
mod words;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use crate::{
    config::{Config, NotifyLimits},
    domain::{
        fact::{Answer, Echo, Fact, Source},
        notification::{NotificationError, Told},
        observation::Observation,
    },
    engine::{EngineError, rulebook::Rulebook},
    store::{
        Store, StoreError,
        notifications::{self, Apart, Moved, Target},
        settle::{self, Batch, NewFact, RawAnswer},
    },
    telemetry::metrics,
};
use seal::{Read, Seal};

pub use intake::{Away, Intake, intake};
pub use seal::{Form, Letter, Objection};
pub use snap::GivenToken;

/// The doubt of a notification that bears no right signature.
const UNVERIFIED: &str = "unverified";

/// The accounts whose provider may knock, and on what terms.
#[derive(Debug)]
pub struct Door {
    accounts: BTreeMap<String, DoorAccount>,
    limits: NotifyLimits,
    /// How long a notification waits for its row while somebody holds it.
    hold: Duration,
}

#[derive(Debug)]
struct DoorAccount {
    provider: String,
    profile_hash: Arc<str>,
    seal: Seal,
}

/// One notification at the door.
#[derive(Debug, Clone)]
pub struct Arrival {
    account: String,
    profile_hash: Arc<str>,
    hash: Vec<u8>,
    /// What another one must not have for this one to be news: what is signed of it, and the number that its sender gave it and
    /// signed.
    marks: Vec<String>,
    objection: Option<Objection>,
    told: Told,
}

/// What became of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A new fact of its row, signed rightly; the row is asked now.
    Verified,
    /// A new fact of its row without a right signature; the row is asked now.
    Unverified,
    /// The same payload is a fact already.
    Redelivered,
    /// No row has its reference.
    Unmatched,
    /// Unverifiable, and too many of those came for this account.
    Limited,
    /// Its row has as many notifications of its kind as it takes.
    Crowded,
}

impl Outcome {
    /// The word in the table and the metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Unverified => "unverified",
            Self::Redelivered => "redelivered",
            Self::Unmatched => "unmatched",
            Self::Limited => "limited",
            Self::Crowded => "crowded",
        }
    }

    const fn is_fact(self) -> bool {
        matches!(self, Self::Verified | Self::Unverified)
    }

    const fn is_apart(self) -> bool {
        matches!(self, Self::Unmatched | Self::Limited | Self::Crowded)
    }
}

impl Door {
    /// The door of a configuration.
    pub fn new(config: &Config, rulebook: &Rulebook) -> Self {
        let account = |a: &crate::config::Account| DoorAccount {
            provider: a.provider.clone(),
            profile_hash: rulebook.shared_profile_hash(&a.name),
            seal: Seal::of(a),
        };
        let accounts = config.accounts.values().map(|a| (a.name.clone(), account(a))).collect();
        Self { accounts, limits: config.server.notify, hold: config.database.lock_timeout }
    }

    /// How an account of that provider spells its notifications; `None` where there is no such account.
    pub fn form(&self, provider: &str, account: &str) -> Option<Form> {
        self.known(provider, account).map(|known| known.seal.form())
    }

    /// Takes a notification for an account of that provider; `None` where there is no such account.
    ///
    /// # Errors
    /// It is none: nothing of it can be kept.
    pub fn arrival(
        &self,
        provider: &str,
        account: &str,
        letter: &Letter<'_>,
        now: DateTime<Utc>,
    ) -> Option<Result<Arrival, NotificationError>> {
        let known = self.known(provider, account)?;
        Some(known.seal.read(letter, now).map(|read| Arrival::new(account, known, read)))
    }

    /// A token for a provider that notifies by SNAP BI; `None` where the account does not.
    ///
    /// # Errors
    /// Whoever asks is not the provider.
    pub fn token(
        &self,
        provider: &str,
        account: &str,
        letter: &Letter<'_>,
        now: DateTime<Utc>,
    ) -> Option<Result<GivenToken, Objection>> {
        match &self.known(provider, account)?.seal {
            Seal::Snap(key) => Some(key.token(letter, now)),
            Seal::Legacy(_) | Seal::Json(_) => None,
        }
    }

    fn known(&self, provider: &str, account: &str) -> Option<&DoorAccount> {
        self.accounts.get(account).filter(|known| known.provider == provider)
    }
}

impl Arrival {
    fn new(account: &str, known: &DoorAccount, read: Read) -> Self {
        let Read { told, payload, request_id, objection } = read;
        let hash = Sha256::digest(&payload).to_vec();
        let number = request_id.map(|id| hex::encode(Sha256::digest(format!("request {id}"))));
        let marks = [Some(hex::encode(&hash)), number].into_iter().flatten().collect();
        let (account, profile_hash) = (account.to_owned(), known.profile_hash.clone());
        Self { account, profile_hash, hash, marks, objection, told }
    }

    /// Why nobody vouches for it; `None`: it is signed rightly.
    pub const fn objection(&self) -> Option<Objection> {
        self.objection
    }

    const fn is_verified(&self) -> bool {
        self.objection.is_none()
    }

    /// Its identity among the facts of a row.
    fn call_id(&self) -> String {
        format!("{CALL_ID}{}", self.marks.join("."))
    }

    fn pair(&self) -> (&str, &str) {
        (&self.account, &self.told.partner_reference_no)
    }

    fn is_one_of(&self, rows: &BTreeSet<(String, String)>) -> bool {
        !rows.is_empty() && rows.contains(&(self.account.clone(), self.told.partner_reference_no.clone()))
    }
}

/// The beginning of a notification's `call_id`; its marks follow.
const CALL_ID: &str = "notify:";

/// Writes a group of notifications in one transaction and says what became of each, in their order. `None`: somebody else holds its
/// row, and nothing of it is written.
///
/// # Errors
/// The database; nothing is written then.
pub async fn ingest(store: &Store, door: &Door, arrivals: &[Arrival]) -> Result<Vec<Option<Outcome>>, EngineError> {
    let pairs: Vec<(&str, &str)> = arrivals.iter().map(Arrival::pair).collect::<BTreeSet<_>>().into_iter().collect();
    let mut tx = store.begin().await?;
    let notifications::Named { locked: targets, held } = notifications::lock(&mut tx, &pairs).await?;
    let is_free: Vec<bool> = arrivals.iter().map(|arrival| !arrival.is_one_of(&held)).collect();
    let arrivals: Vec<&Arrival> =
        arrivals.iter().zip(&is_free).filter_map(|(a, is_free)| is_free.then_some(a)).collect();
    if arrivals.is_empty() {
        return Ok(vec![None; is_free.len()]);
    }
    let ids: Vec<i64> = targets.iter().map(|t| t.id).collect();
    let mut rows = Rows::new(targets, notifications::recorded(&mut tx, &ids).await?);
    let doubtful: BTreeSet<&str> = arrivals.iter().filter(|a| !a.is_verified()).map(|a| a.account.as_str()).collect();
    let doubtful: Vec<&str> = doubtful.into_iter().collect();
    let now = crate::store::now_in(&mut tx).await?;
    let mut allowances = BTreeMap::new();
    if !doubtful.is_empty() && !ids.is_empty() {
        for (account, tat) in notifications::allowances(&mut tx, &doubtful).await? {
            allowances.insert(account, allowance::Allowance::new(&door.limits, tat, now));
        }
    }
    let outcomes: Vec<Outcome> =
        arrivals.iter().map(|arrival| rows.judge(arrival, &mut allowances, door.limits.per_payment)).collect();
    let written = written(&arrivals, &outcomes, &mut rows, now);
    settle::write(&mut tx, &written.batch).await?;
    let spent: Vec<_> = allowances.into_iter().filter_map(|(a, allowance)| Some((a, allowance.spent()?))).collect();
    if !spent.is_empty() {
        notifications::spend(&mut tx, &spent).await?;
    }
    if !written.moved.is_empty() {
        let woken: Vec<&str> = written.woken.iter().map(String::as_str).collect();
        notifications::move_and_wake(&mut tx, &written.moved, &woken).await?;
    }
    if !written.apart.is_empty() {
        notifications::keep_apart(&mut tx, &written.apart, i64::from(door.limits.kept_max)).await?;
    }
    tx.commit().await.map_err(StoreError::from)?;
    for (arrival, outcome) in arrivals.iter().zip(&outcomes) {
        metrics::notification(&arrival.account, outcome.as_str());
    }
    let mut outcomes = outcomes.into_iter();
    Ok(is_free.into_iter().map(|is_free| if is_free { outcomes.next() } else { None }).collect())
}

/// The locked rows, and what is recorded of them.
struct Rows {
    by_pair: BTreeMap<(String, String), Target>,
    recorded: BTreeMap<i64, Recorded>,
}

/// A row's notifications so far.
#[derive(Default)]
struct Recorded {
    verified: u32,
    unverified: u32,
    marks: BTreeSet<String>,
}

impl Recorded {
    /// Each kind has room of its own, so that no forger fills what is the provider's.
    const fn room(&mut self, is_verified: bool) -> &mut u32 {
        if is_verified { &mut self.verified } else { &mut self.unverified }
    }

    fn add<'a>(&mut self, is_verified: bool, marks: impl Iterator<Item = &'a str>) {
        let facts = self.room(is_verified);
        *facts = facts.saturating_add(1);
        self.marks.extend(marks.map(str::to_owned));
    }
}

impl Rows {
    fn new(targets: Vec<Target>, recorded: Vec<notifications::Recorded>) -> Self {
        let mut calls: BTreeMap<i64, Recorded> = BTreeMap::new();
        for notifications::Recorded { id, call_id, doubt } in recorded {
            let is_verified = doubt.as_deref() != Some(UNVERIFIED);
            let marks = call_id.strip_prefix(CALL_ID).unwrap_or(&call_id).split('.');
            calls.entry(id).or_default().add(is_verified, marks);
        }
        let by_pair = targets.into_iter().map(|t| ((t.account.clone(), t.partner_reference_no.clone()), t)).collect();
        Self { by_pair, recorded: calls }
    }

    fn target(&mut self, arrival: &Arrival) -> Option<&mut Target> {
        let (account, reference) = arrival.pair();
        self.by_pair.get_mut(&(account.to_owned(), reference.to_owned()))
    }

    fn judge(
        &mut self,
        arrival: &Arrival,
        allowances: &mut BTreeMap<String, allowance::Allowance>,
        per_payment: u32,
    ) -> Outcome {
        let Some(id) = self.target(arrival).map(|target| target.id) else { return Outcome::Unmatched };
        let recorded = self.recorded.entry(id).or_default();
        if arrival.marks.iter().any(|mark| recorded.marks.contains(mark)) {
            return Outcome::Redelivered;
        }
        if *recorded.room(arrival.is_verified()) >= per_payment {
            return Outcome::Crowded;
        }
        let is_granted =
            arrival.is_verified() || allowances.get_mut(&arrival.account).is_some_and(allowance::Allowance::take);
        if !is_granted {
            return Outcome::Limited;
        }
        recorded.add(arrival.is_verified(), arrival.marks.iter().map(String::as_str));
        if arrival.is_verified() { Outcome::Verified } else { Outcome::Unverified }
    }
}

/// What a group writes.
#[derive(Default)]
struct Written {
    batch: Batch,
    moved: Vec<Moved>,
    woken: BTreeSet<String>,
    apart: Vec<Apart>,
}

fn written(arrivals: &[&Arrival], outcomes: &[Outcome], rows: &mut Rows, now: DateTime<Utc>) -> Written {
    let mut written = Written::default();
    let mut moved: BTreeMap<i64, Moved> = BTreeMap::new();
    let mut apart: BTreeMap<(&str, &[u8]), Apart> = BTreeMap::new();
    for (arrival, outcome) in arrivals.iter().zip(outcomes) {
        if outcome.is_apart() {
            let kept = apart.entry((&arrival.account, &arrival.hash)).or_insert_with(|| kept_apart(arrival, *outcome));
            kept.n = kept.n.saturating_add(1);
        } else if outcome.is_fact()
            && let Some(target) = rows.target(arrival)
        {
            target.seq = target.seq.saturating_add(1);
            let was_first = moved.get(&target.id).is_some_and(|earlier| earlier.is_first);
            let is_first = was_first || *outcome == Outcome::Verified;
            moved.insert(target.id, Moved { id: target.id, seq: target.seq, is_first });
            written.woken.insert(arrival.account.clone());
            add_fact(&mut written.batch, arrival, target, now);
        }
    }
    written.moved = moved.into_values().collect();
    written.apart = apart.into_values().collect();
    written
}

fn kept_apart(arrival: &Arrival, outcome: Outcome) -> Apart {
    Apart {
        account: arrival.account.clone(),
        payload_hash: arrival.hash.clone(),
        reference: arrival.told.partner_reference_no.clone(),
        outcome: outcome.as_str(),
        is_verified: arrival.is_verified(),
        body: arrival.told.redacted.clone(),
        n: 0,
    }
}

fn add_fact(batch: &mut Batch, arrival: &Arrival, target: &Target, now: DateTime<Utc>) {
    let body = arrival.told.redacted.to_string().into_bytes();
    let raw_hash = Sha256::digest(&body).into();
    batch.raws.push(RawAnswer { hash: raw_hash, body: Arc::new(body) });
    let fact = Fact {
        seq: target.seq,
        source: Source::Notification,
        answer: Arc::new(claimed(arrival)),
        sent_at: now,
        answered_at: now,
        last_at: now,
        last_sent_at: now,
        sightings: 1,
        bad_weather: false,
    };
    batch.facts.push(NewFact {
        transaction_id: target.id,
        fact,
        call_id: arrival.call_id().into(),
        // What a notification claims is no payment.
        payment_id_is_unique: false,
        raw_hash: Some(raw_hash),
        profile_hash: arrival.profile_hash.clone(),
    });
}

/// The claim as a fact keeps it, for people who read the row's story. Without a right signature it claims nothing.
fn claimed(arrival: &Arrival) -> Answer {
    let told = &arrival.told;
    let short = |text: &str| Some(text.to_owned()).filter(|text| is_plain(text));
    let (observation, doubt) = if arrival.is_verified() {
        (told.claim.observation, told.claim.doubt)
    } else {
        (Observation::Indeterminate, Some(UNVERIFIED))
    };
    Answer {
        observation,
        echo: Echo::Right,
        latest_transaction_status: short(&told.status),
        amount: told.claim.amount,
        currency: told.currency.as_deref().and_then(short),
        paid_time_raw: short(&told.time),
        doubt: doubt.map(str::to_owned),
        ..Answer::indeterminate("")
    }
}

/// A short word that a table and a terminal can show.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.len() <= 32 && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
}

//! Writes what a group of settled rows became: facts, sightings, journal, postings and the rows themselves, each in one
//! statement for the whole group. Every row is held locked by the caller's transaction.

mod written;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};

use crate::{
    domain::{
        chain::Link,
        fact::{Answer, Fact},
        money::Sen,
        observation::Observation,
        posting::Posting,
        state::State,
        webhook::Message,
    },
    store::{Store, StoreError, Tx, limits::interval, webhooks},
};

/// A new fact of a row.
#[derive(Debug, Clone)]
pub struct NewFact {
    /// The row.
    pub transaction_id: i64,
    /// The fact.
    pub fact: Fact,
    /// The X-EXTERNAL-ID of the call.
    pub call_id: Arc<str>,
    /// Its `payment_id` is the provider's for one payment alone.
    pub payment_id_is_unique: bool,
    /// SHA-256 of the stored body.
    pub raw_hash: Option<Link>,
    /// The profile in force.
    pub profile_hash: Arc<str>,
}

impl NewFact {
    fn unique_payment_id(&self) -> Option<&str> {
        let said = &self.fact.answer;
        let id = said.payment_id.as_deref().filter(|_| said.observation == Observation::Paid);
        id.filter(|_| self.payment_id_is_unique)
    }
}

/// One more sighting of a stored fact.
#[derive(Debug, Clone)]
pub struct Sighting {
    /// The row.
    pub transaction_id: i64,
    /// The fact as it stands with this sighting counted.
    pub fact: Fact,
}

/// A body as it came.
#[derive(Debug, Clone)]
pub struct RawAnswer {
    /// SHA-256 of the body.
    pub hash: Link,
    /// The body, secrets out.
    pub body: Arc<Vec<u8>>,
}

/// One journal entry with its lines.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The row.
    pub transaction_id: i64,
    /// Its number in the row's chain, from 1.
    pub entry_no: i32,
    /// Database time of the decision.
    pub at: DateTime<Utc>,
    /// What the decision had seen.
    pub upto_seq: i32,
    /// `decision`, or the refund transition it was decided with.
    pub kind: String,
    /// The state decided.
    pub state: State,
    /// Canonical JSON.
    pub content: String,
    /// The link before.
    pub prev_hash: Link,
    /// This link.
    pub hash: Link,
    /// Lines; may be none.
    pub postings: Vec<Posting>,
}

/// A row as it is to stand.
#[derive(Debug, Clone)]
pub struct RowUpdate {
    /// The row.
    pub id: i64,
    /// Ledger state.
    pub state: State,
    /// Listed flags, sorted.
    pub flags: Vec<&'static str>,
    /// Open flags, sorted.
    pub flags_open: Vec<&'static str>,
    /// Paid, gross.
    pub paid_amount: Option<Sen>,
    /// Fee.
    pub fee_amount: Option<Sen>,
    /// Paid when.
    pub paid_at: Option<DateTime<Utc>>,
    /// Queries sent since the last write.
    pub checks: i32,
    /// When the last answer was recorded.
    pub last_checked_at: Option<DateTime<Utc>>,
    /// When to ask again.
    pub next_check_at: Option<DateTime<Utc>>,
    /// Last number of the sequence.
    pub seq: i32,
    /// Closed at.
    pub closed_seq: Option<i32>,
    /// Journal entries.
    pub journal_no: i32,
    /// Last journal hash.
    pub journal_hash: Option<Vec<u8>>,
    /// Gives the lease back.
    pub release_lease: bool,
}

/// Everything a group writes.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Bodies.
    pub raws: Vec<RawAnswer>,
    /// New facts.
    pub facts: Vec<NewFact>,
    /// Sightings.
    pub sightings: Vec<Sighting>,
    /// Journal entries.
    pub entries: Vec<Entry>,
    /// Rows.
    pub rows: Vec<RowUpdate>,
    /// Payloads of `NOTIFY rekon_state`.
    pub notices: Vec<String>,
    /// Messages to merchants' endpoints.
    pub messages: Vec<Message>,
}

// A body that goes on coming is as young as the newest fact that names it, to the day. DO UPDATE locks the row that stands
// there already, so that a body which is being pruned is waited for and then written anew.
const RAWS: &str = "-- store::settle::raws
insert into rekon.raw_answers as r (hash, body) select * from unnest($1::bytea[], $2::bytea[])
on conflict (hash) do update set last_at = clock_timestamp() where r.last_at < clock_timestamp() - interval '1 day'";

// Sen to rupiah by a product: exact, and half the price of a quotient.
const FACTS: &str = "-- store::settle::facts
insert into rekon.facts (transaction_id, seq, source, call_id, observation, echo, response_code, latest_transaction_status, amount, currency,
                         fee_amount, payment_id, approval_code, paid_time, paid_time_raw, warnings, doubt, bad_weather, sent_at, answered_at,
                         raw_hash, profile_hash, unique_payment_id, hash)
select u.tx, u.seq, u.source, u.call_id, u.observation, u.echo, u.code, u.status, u.amount * 0.01, u.currency, u.fee * 0.01,
       u.payment_id, u.approval, u.paid_time, u.paid_raw, string_to_array(u.warnings, ','), u.doubt, u.bad, u.sent_at, u.answered_at,
       u.raw_hash, u.profile, u.unique_payment, u.hash
  from unnest($1::bigint[], $2::int[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bigint[], $10::text[],
              $11::bigint[], $12::text[], $13::text[], $14::timestamptz[], $15::text[], $16::text[], $17::text[], $18::bool[],
              $19::timestamptz[], $20::timestamptz[], $21::bytea[], $22::text[], $23::text[], $24::bytea[])
    as u(tx, seq, source, call_id, observation, echo, code, status, amount, currency, fee, payment_id, approval, paid_time, paid_raw, warnings,
         doubt, bad, sent_at, answered_at, raw_hash, profile, unique_payment, hash)";

const SIGHTINGS: &str = "-- store::settle::sightings
insert into rekon.sightings (transaction_id, seq, n, first_at, last_at, last_sent_at)
select * from unnest($1::bigint[], $2::int[], $3::int[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[])
on conflict (transaction_id, seq) do update set n = excluded.n, last_at = excluded.last_at, last_sent_at = excluded.last_sent_at";

const ENTRIES: &str = "-- store::settle::entries
insert into rekon.journal (transaction_id, entry_no, at, upto_seq, kind, state, content, prev_hash, hash)
select * from unnest($1::bigint[], $2::int[], $3::timestamptz[], $4::int[], $5::text[], $6::text[], $7::text[], $8::bytea[], $9::bytea[])";

const POSTINGS: &str = "-- store::settle::postings
insert into rekon.postings (transaction_id, entry_no, line, account, debit, credit)
select u.tx, u.entry_no, u.line, u.account, greatest(u.sen, 0) * 0.01, greatest(-u.sen, 0) * 0.01
  from unnest($1::bigint[], $2::int[], $3::smallint[], $4::text[], $5::bigint[]) as u(tx, entry_no, line, account, sen)";

const ROWS: &str = "-- store::settle::rows
update rekon.transactions t
   set state = u.state, flags = string_to_array(u.flags, ','), flags_open = string_to_array(u.flags_open, ','),
       paid_amount = u.paid * 0.01, fee_amount = u.fee * 0.01, paid_at = u.paid_at, checks = t.checks + u.checks,
       last_checked_at = coalesce(u.last_checked_at, t.last_checked_at), next_check_at = u.next_check_at, seq = u.seq,
       closed_seq = u.closed_seq, journal_no = u.journal_no, journal_hash = u.journal_hash,
       lease_owner = case when u.release then null else t.lease_owner end, lease_until = case when u.release then null else t.lease_until end
  from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::timestamptz[], $8::int[], $9::timestamptz[],
              $10::timestamptz[], $11::int[], $12::int[], $13::int[], $14::bytea[], $15::bool[])
    as u(id, state, flags, flags_open, paid, fee, paid_at, checks, last_checked_at, next_check_at, seq, closed_seq, journal_no, journal_hash, release)
 where t.id = u.id";

const NOTICES: &str = "-- store::settle::notices
select count(pg_notify('rekon_state', u)) from unnest($1::text[]) as u";

const STALE: &str = "-- store::settle::stale
update rekon.transactions set seq = $2, checks = checks + 1, last_checked_at = $3, next_check_at = least(coalesce(next_check_at, $3), $3) where id = $1";

const POSTPONE: &str = "-- store::settle::postpone
update rekon.transactions set next_check_at = clock_timestamp() + $2, lease_owner = null, lease_until = null where id = $1";

impl Store {
    /// A row that could not be settled is left alone for a while, so that it does not eat the budget of the others.
    pub async fn postpone(&self, id: i64, wait: Duration) -> Result<(), StoreError> {
        sqlx::query(POSTPONE).bind(id).bind(interval(wait)).execute(self.pool()).await?;
        Ok(())
    }
}

/// Writes a batch in the caller's transaction.
pub async fn write(tx: &mut Tx, batch: &Batch) -> Result<(), StoreError> {
    raws(tx, &batch.raws).await?;
    facts(tx, &batch.facts).await?;
    sightings(tx, &batch.sightings).await?;
    entries(tx, &batch.entries).await?;
    rows(tx, &batch.rows).await?;
    webhooks::put(tx, &batch.messages).await?;
    if !batch.notices.is_empty() {
        sqlx::query(NOTICES).bind(&batch.notices).execute(&mut **tx).await?;
    }
    Ok(())
}

/// Records that a worker with a void lease brought a fact: the sequence moves and nothing is decided. The row is due: what was decided
/// without this fact may stand no more, and only somebody with a lease may decide anew.
pub async fn write_stale(tx: &mut Tx, id: i64, seq: i32, at: DateTime<Utc>) -> Result<(), StoreError> {
    sqlx::query(STALE).bind(id).bind(seq).bind(at).execute(&mut **tx).await?;
    Ok(())
}

/// Stores bodies; one that is there already stays.
pub async fn raws(tx: &mut Tx, raws: &[RawAnswer]) -> Result<(), StoreError> {
    if raws.is_empty() {
        return Ok(());
    }
    // In the order of their hashes: two groups with a body in common must not wait on one another crosswise.
    let mut sorted: Vec<&RawAnswer> = raws.iter().collect();
    sorted.sort_by_key(|raw| raw.hash);
    sorted.dedup_by(|a, b| a.hash == b.hash);
    let hashes: Vec<&[u8]> = sorted.iter().map(|r| r.hash.as_slice()).collect();
    let bodies: Vec<&[u8]> = sorted.iter().map(|r| r.body.as_slice()).collect();
    sqlx::query(RAWS).bind(hashes).bind(bodies).execute(&mut **tx).await?;
    Ok(())
}

async fn facts(tx: &mut Tx, facts: &[NewFact]) -> Result<(), StoreError> {
    if facts.is_empty() {
        return Ok(());
    }
    let answers: Vec<&Answer> = facts.iter().map(|f| &*f.fact.answer).collect();
    let hashes: Vec<Link> = facts.iter().map(written::hash).collect();
    let words = |warnings: &Answer| warnings.warnings.iter().map(|w| w.as_str()).collect::<Vec<_>>().join(",");
    sqlx::query(FACTS)
        .bind(column(facts, |f| f.transaction_id))
        .bind(column(facts, |f| f.fact.seq))
        .bind(column(facts, |f| f.fact.source.as_str()))
        .bind(column(facts, |f| &*f.call_id))
        .bind(column(&answers, |a| a.observation.as_str()))
        .bind(column(&answers, |a| a.echo.as_str()))
        .bind(column(&answers, |a| a.response_code.as_deref()))
        .bind(column(&answers, |a| a.latest_transaction_status.as_deref()))
        .bind(column(&answers, |a| a.amount.map(Sen::sen)))
        .bind(column(&answers, |a| a.currency.as_deref()))
        .bind(column(&answers, |a| a.fee_amount.map(Sen::sen)))
        .bind(column(&answers, |a| a.payment_id.as_deref()))
        .bind(column(&answers, |a| a.approval_code.as_deref()))
        .bind(column(&answers, |a| a.paid_time))
        .bind(column(&answers, |a| a.paid_time_raw.as_deref()))
        .bind(column(&answers, |a| words(a)))
        .bind(column(&answers, |a| a.doubt.as_deref()))
        .bind(column(facts, |f| f.fact.bad_weather))
        .bind(column(facts, |f| f.fact.sent_at))
        .bind(column(facts, |f| f.fact.answered_at))
        .bind(column(facts, |f| f.raw_hash.as_ref().map(Link::as_slice)))
        .bind(column(facts, |f| &*f.profile_hash))
        .bind(column(facts, NewFact::unique_payment_id))
        .bind(column(&hashes, Link::as_slice))
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn sightings(tx: &mut Tx, sightings: &[Sighting]) -> Result<(), StoreError> {
    if sightings.is_empty() {
        return Ok(());
    }
    sqlx::query(SIGHTINGS)
        .bind(column(sightings, |s| s.transaction_id))
        .bind(column(sightings, |s| s.fact.seq))
        .bind(column(sightings, |s| s.fact.sightings))
        .bind(column(sightings, |s| s.fact.answered_at))
        .bind(column(sightings, |s| s.fact.last_at))
        .bind(column(sightings, |s| s.fact.last_sent_at))
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn entries(tx: &mut Tx, entries: &[Entry]) -> Result<(), StoreError> {
    if entries.is_empty() {
        return Ok(());
    }
    sqlx::query(ENTRIES)
        .bind(column(entries, |e| e.transaction_id))
        .bind(column(entries, |e| e.entry_no))
        .bind(column(entries, |e| e.at))
        .bind(column(entries, |e| e.upto_seq))
        .bind(column(entries, |e| e.kind.as_str()))
        .bind(column(entries, |e| e.state.as_str()))
        .bind(column(entries, |e| e.content.as_str()))
        .bind(column(entries, |e| e.prev_hash.as_slice()))
        .bind(column(entries, |e| e.hash.as_slice()))
        .execute(&mut **tx)
        .await?;
    let lines: Vec<(i64, i32, i16, Posting)> = entries
        .iter()
        .flat_map(|e| (1_i16..).zip(&e.postings).map(|(line, p)| (e.transaction_id, e.entry_no, line, *p)))
        .collect();
    if lines.is_empty() {
        return Ok(());
    }
    sqlx::query(POSTINGS)
        .bind(column(&lines, |l| l.0))
        .bind(column(&lines, |l| l.1))
        .bind(column(&lines, |l| l.2))
        .bind(column(&lines, |l| l.3.account.word()))
        .bind(column(&lines, |l| l.3.sen))
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn rows(tx: &mut Tx, rows: &[RowUpdate]) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(ROWS)
        .bind(column(rows, |r| r.id))
        .bind(column(rows, |r| r.state.as_str()))
        .bind(column(rows, |r| r.flags.join(",")))
        .bind(column(rows, |r| r.flags_open.join(",")))
        .bind(column(rows, |r| r.paid_amount.map(Sen::sen)))
        .bind(column(rows, |r| r.fee_amount.map(Sen::sen)))
        .bind(column(rows, |r| r.paid_at))
        .bind(column(rows, |r| r.checks))
        .bind(column(rows, |r| r.last_checked_at))
        .bind(column(rows, |r| r.next_check_at))
        .bind(column(rows, |r| r.seq))
        .bind(column(rows, |r| r.closed_seq))
        .bind(column(rows, |r| r.journal_no))
        .bind(column(rows, |r| r.journal_hash.as_deref()))
        .bind(column(rows, |r| r.release_lease))
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// One column of a table of rows, as an array for `UNNEST`.
fn column<'a, R, C>(rows: &'a [R], pick: impl Fn(&'a R) -> C) -> Vec<C> {
    rows.iter().map(pick).collect()
}

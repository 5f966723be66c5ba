//! The evidence behind one row: who said what and when, what the merchant changed, what was decided and posted, how refunds
//! went, and the last body as it came. Append-only tables, read in their own order.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::Row;

use super::{as_rupiah, as_rupiah_opt};
use crate::{
    domain::money::Sen,
    store::{
        Store, StoreError, Tx,
        cases::{sen, sen_opt},
        now_in,
    },
};

/// A fact with its sightings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FactRow {
    /// Place in the row's sequence.
    pub seq: i32,
    /// `query` or `notification`.
    pub source: String,
    /// The normalised status.
    pub observation: String,
    /// Whether it spoke of this payment: `right`, `silent` or `wrong`.
    pub echo: String,
    /// The seven digits.
    pub response_code: Option<String>,
    /// The two digits.
    pub latest_transaction_status: Option<String>,
    /// Gross.
    #[serde(serialize_with = "as_rupiah_opt")]
    pub amount: Option<Sen>,
    /// As it stands there.
    pub currency: Option<String>,
    /// The provider's fee.
    #[serde(serialize_with = "as_rupiah_opt")]
    pub fee_amount: Option<Sen>,
    /// `paidTime` as it stands there.
    pub paid_time: Option<String>,
    /// Doubts that keep money from leaving.
    pub warnings: Vec<String>,
    /// Why it is INDETERMINATE.
    pub doubt: Option<String>,
    /// The account's breaker was not closed.
    pub bad_weather: bool,
    /// The X-EXTERNAL-ID of the call.
    pub call_id: String,
    /// When the request left.
    pub sent_at: DateTime<Utc>,
    /// When the answer was recorded, the first time.
    pub answered_at: DateTime<Utc>,
    /// When the last equal answer was recorded.
    pub last_at: DateTime<Utc>,
    /// Equal answers in a row, this one included.
    pub sightings: i32,
}

/// What the merchant changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangeRow {
    /// Place in the row's sequence.
    pub seq: i32,
    /// When.
    pub at: DateTime<Utc>,
    /// The order's status before.
    pub status_from: String,
    /// The order's status after.
    pub status_to: String,
    /// References and validity as they stand after it.
    pub detail: serde_json::Value,
}

/// What people decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ResolutionRow {
    /// Place in the row's sequence; `None`: a request that waits for somebody else.
    pub seq: Option<i32>,
    /// When.
    pub at: DateTime<Utc>,
    /// What.
    pub kind: String,
    /// The flag it is about.
    pub flag: Option<String>,
    /// Who asked for it, or decided alone.
    pub made_by: String,
    /// Who confirmed it.
    pub confirmed_by: Option<String>,
    /// What was said.
    pub reason: String,
}

/// A line of a journal entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PostingRow {
    /// The ledger account.
    pub account: String,
    /// Debit.
    #[serde(serialize_with = "as_rupiah")]
    pub debit: Sen,
    /// Credit.
    #[serde(serialize_with = "as_rupiah")]
    pub credit: Sen,
}

/// A decision as it was written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EntryRow {
    /// Its number in the row's chain.
    pub entry_no: i32,
    /// When it was decided.
    pub at: DateTime<Utc>,
    /// What it had seen.
    pub upto_seq: i32,
    /// `decision`, or the refund transition it was decided with.
    pub kind: String,
    /// The state decided.
    pub state: String,
    /// The link of the chain, hex.
    pub hash: String,
    /// Everything the decision stood on.
    pub content: serde_json::Value,
    /// What it moved.
    pub postings: Vec<PostingRow>,
}

/// One call of a refund.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttemptRow {
    /// The refund.
    pub refund_id: i64,
    /// Which call of it.
    pub attempt: i32,
    /// When it left.
    pub sent_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// The class of its reply.
    pub outcome: Option<String>,
    /// The seven digits.
    pub response_code: Option<String>,
}

/// Everything behind one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Facts by sequence.
    pub facts: Vec<FactRow>,
    /// The merchant's changes by sequence.
    pub changes: Vec<ChangeRow>,
    /// Resolutions, and requests that wait.
    pub resolutions: Vec<ResolutionRow>,
    /// Decisions, oldest first.
    pub journal: Vec<EntryRow>,
    /// Calls of refunds, oldest first.
    pub attempts: Vec<AttemptRow>,
    /// The body of the last answer, if it is still kept.
    pub last_body: Option<Vec<u8>>,
    /// The bodies of the newest facts by sequence, where they are still kept.
    pub bodies: Vec<(i32, Vec<u8>)>,
    /// Database time of the look.
    pub at: DateTime<Utc>,
}

const FACTS: &str = "-- store::reads::evidence::facts
select f.seq, f.source, f.observation, f.echo, f.response_code, f.latest_transaction_status, (f.amount * 100)::bigint as amount, f.currency,
       (f.fee_amount * 100)::bigint as fee_amount, f.paid_time_raw, f.warnings, f.doubt, f.bad_weather, f.call_id, f.sent_at, f.answered_at,
       coalesce(s.last_at, f.answered_at) as last_at, coalesce(s.n, 1) as n
  from rekon.facts f left join rekon.sightings s using (transaction_id, seq) where f.transaction_id = $1 order by f.seq";

const CHANGES: &str = "-- store::reads::evidence::changes
select seq, at, status_from, status_to, detail from rekon.order_changes where transaction_id = $1 order by seq";

const JOURNAL: &str = "-- store::reads::evidence::journal
select entry_no, at, upto_seq, kind, state, content, encode(hash, 'hex') as hash from rekon.journal where transaction_id = $1 order by entry_no";

const POSTINGS: &str = "-- store::reads::evidence::postings
select entry_no, account, (debit * 100)::bigint as debit, (credit * 100)::bigint as credit
  from rekon.postings where transaction_id = $1 order by entry_no, line";

const RESOLUTIONS: &str = "-- store::reads::evidence::resolutions
select r.seq, r.at, r.kind, r.flag, coalesce(asked.made_by, r.made_by) as made_by, case when asked.id is not null then r.made_by end as confirmed_by,
       r.reason
  from rekon.resolutions r left join rekon.resolutions asked on asked.id = r.confirms
 where r.transaction_id = $1 and not exists (select 1 from rekon.resolutions c where c.confirms = r.id) order by r.id";

const ATTEMPTS: &str = "-- store::reads::evidence::attempts
select a.refund_id, a.attempt, a.sent_at, a.ended_at, a.outcome, a.response_code
  from rekon.refund_attempts a join rekon.refund_saga r on r.id = a.refund_id where r.transaction_id = $1 order by a.refund_id, a.attempt";

const BODIES: &str = "-- store::reads::evidence::bodies
select f.seq, r.body from rekon.facts f join rekon.raw_answers r on r.hash = f.raw_hash where f.transaction_id = $1 order by f.seq desc limit 50";

const LAST_BODY: &str = "-- store::reads::evidence::last_body
select r.body from rekon.facts f left join rekon.sightings s using (transaction_id, seq) join rekon.raw_answers r on r.hash = f.raw_hash
 where f.transaction_id = $1 and f.source = 'query' order by coalesce(s.last_at, f.answered_at) desc, f.seq desc limit 1";

impl Store {
    /// Reads everything behind a row, as of one moment.
    pub async fn evidence(&self, transaction_id: i64) -> Result<Evidence, StoreError> {
        let mut tx = self.begin_reading().await?;
        let mut evidence = Evidence {
            facts: Vec::new(),
            changes: Vec::new(),
            resolutions: Vec::new(),
            journal: Vec::new(),
            attempts: Vec::new(),
            last_body: sqlx::query_scalar(LAST_BODY).bind(transaction_id).fetch_optional(&mut *tx).await?,
            bodies: sqlx::query_as(BODIES).bind(transaction_id).fetch_all(&mut *tx).await?,
            at: now_in(&mut tx).await?,
        };
        for row in sqlx::query(FACTS).bind(transaction_id).fetch_all(&mut *tx).await? {
            evidence.facts.push(FactRow {
                seq: row.try_get("seq")?,
                source: row.try_get("source")?,
                observation: row.try_get("observation")?,
                echo: row.try_get("echo")?,
                response_code: row.try_get("response_code")?,
                latest_transaction_status: row.try_get("latest_transaction_status")?,
                amount: sen_opt(&row, "amount")?,
                currency: row.try_get("currency")?,
                fee_amount: sen_opt(&row, "fee_amount")?,
                paid_time: row.try_get("paid_time_raw")?,
                warnings: row.try_get("warnings")?,
                doubt: row.try_get("doubt")?,
                bad_weather: row.try_get("bad_weather")?,
                call_id: row.try_get("call_id")?,
                sent_at: row.try_get("sent_at")?,
                answered_at: row.try_get("answered_at")?,
                last_at: row.try_get("last_at")?,
                sightings: row.try_get("n")?,
            });
        }
        for row in sqlx::query(CHANGES).bind(transaction_id).fetch_all(&mut *tx).await? {
            evidence.changes.push(ChangeRow {
                seq: row.try_get("seq")?,
                at: row.try_get("at")?,
                status_from: row.try_get("status_from")?,
                status_to: row.try_get("status_to")?,
                detail: row.try_get("detail")?,
            });
        }
        for row in sqlx::query(RESOLUTIONS).bind(transaction_id).fetch_all(&mut *tx).await? {
            evidence.resolutions.push(ResolutionRow {
                seq: row.try_get("seq")?,
                at: row.try_get("at")?,
                kind: row.try_get("kind")?,
                flag: row.try_get("flag")?,
                made_by: row.try_get("made_by")?,
                confirmed_by: row.try_get("confirmed_by")?,
                reason: row.try_get("reason")?,
            });
        }
        for row in sqlx::query(ATTEMPTS).bind(transaction_id).fetch_all(&mut *tx).await? {
            evidence.attempts.push(AttemptRow {
                refund_id: row.try_get("refund_id")?,
                attempt: row.try_get("attempt")?,
                sent_at: row.try_get("sent_at")?,
                ended_at: row.try_get("ended_at")?,
                outcome: row.try_get("outcome")?,
                response_code: row.try_get("response_code")?,
            });
        }
        evidence.journal = journal(&mut tx, transaction_id).await?;
        Ok(evidence)
    }
}

async fn journal(tx: &mut Tx, transaction_id: i64) -> Result<Vec<EntryRow>, StoreError> {
    let mut entries = Vec::new();
    for row in sqlx::query(JOURNAL).bind(transaction_id).fetch_all(&mut **tx).await? {
        let content: String = row.try_get("content")?;
        entries.push(EntryRow {
            entry_no: row.try_get("entry_no")?,
            at: row.try_get("at")?,
            upto_seq: row.try_get("upto_seq")?,
            kind: row.try_get("kind")?,
            state: row.try_get("state")?,
            hash: row.try_get("hash")?,
            // The journal keeps the exact text under its hash; what is not JSON is shown as it stands.
            content: serde_json::from_str(&content).unwrap_or(serde_json::Value::String(content)),
            postings: Vec::new(),
        });
    }
    for row in sqlx::query(POSTINGS).bind(transaction_id).fetch_all(&mut **tx).await? {
        let entry_no: i32 = row.try_get("entry_no")?;
        let posting =
            PostingRow { account: row.try_get("account")?, debit: sen(&row, "debit")?, credit: sen(&row, "credit")? };
        if let Some(entry) = entries.iter_mut().find(|entry| entry.entry_no == entry_no) {
            entry.postings.push(posting);
        }
    }
    Ok(entries)
}

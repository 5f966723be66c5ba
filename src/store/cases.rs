//! Loads cases under their row locks: everything `decide` wants to know about up to some hundred rows, in a handful of
//! statements. Rows without a history cost one statement.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use sqlx::{Row, postgres::PgRow};

use crate::{
    domain::{
        case::{Case, Outage, Prior},
        fact::{Answer, Echo, Fact, Source, Warning},
        money::Sen,
        observation::Observation,
        order::{Direction, Order, OrderChange, OrderStatus},
        posting::LedgerAccount,
        qris::Qris,
        refund::{Candidate, CandidateWhy, Channel, Proof, Refund, RefundState, Transfer},
        resolution::{About, Resolution, ResolutionKind},
        state::{Flag, Flags, State},
        switch::Level,
    },
    store::{StoreError, Tx, error::inconsistent},
};

/// A case and the parts of its row that only the store needs.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The case.
    pub case: Case,
    /// Leases so far; an older one is void.
    pub lease_epoch: i64,
    /// Last number of the row's sequence.
    pub seq: i32,
    /// Journal entries so far.
    pub journal_no: i32,
    /// Hash of the last journal entry.
    pub journal_hash: Option<Vec<u8>>,
    /// Paid amount as written.
    pub paid_amount: Option<Sen>,
    /// When the row is due as written.
    pub next_check_at: Option<DateTime<Utc>>,
    /// Reserved for refunds as written.
    pub refund_reserved: Sen,
    /// Confirmed refunds as written.
    pub refunded_amount: Sen,
}

const LOCK: &str = "-- store::cases::lock
select t.id, t.account, t.partner_reference_no, t.reference_no, t.external_id, t.direction, (t.amount * 100)::bigint as amount, t.currency,
       t.order_status, t.created_at, t.expires_at, t.qr_content, t.state, t.flags, t.flags_open, (t.paid_amount * 100)::bigint as paid_amount,
       (t.refunded_amount * 100)::bigint as refunded_amount, (t.refunded_outside * 100)::bigint as refunded_outside,
       (t.refund_reserved * 100)::bigint as refund_reserved, t.next_check_at, t.seq, t.closed_seq, t.journal_no, t.journal_hash, t.lease_epoch,
       t.reference_no is not null and exists (select 1 from rekon.transactions o where o.account = t.account
         and o.reference_no = t.reference_no and o.id <> t.id) as duplicate_reference,
       t.order_status = 'cancelled' and exists (select 1 from rekon.qr_cancels c where c.transaction_id = t.id) as qr_cancel_asked
  from rekon.transactions t where t.id = any($1) order by t.id for update of t";

const READ: &str = "-- store::cases::read
select t.id, t.account, t.partner_reference_no, t.reference_no, t.external_id, t.direction, (t.amount * 100)::bigint as amount, t.currency,
       t.order_status, t.created_at, t.expires_at, t.qr_content, t.state, t.flags, t.flags_open, (t.paid_amount * 100)::bigint as paid_amount,
       (t.refunded_amount * 100)::bigint as refunded_amount, (t.refunded_outside * 100)::bigint as refunded_outside,
       (t.refund_reserved * 100)::bigint as refund_reserved, t.next_check_at, t.seq, t.closed_seq, t.journal_no, t.journal_hash, t.lease_epoch,
       t.reference_no is not null and exists (select 1 from rekon.transactions o where o.account = t.account
         and o.reference_no = t.reference_no and o.id <> t.id) as duplicate_reference,
       t.order_status = 'cancelled' and exists (select 1 from rekon.qr_cancels c where c.transaction_id = t.id) as qr_cancel_asked
  from rekon.transactions t where t.id = any($1) order by t.id";

const FACTS: &str = "-- store::cases::facts
select f.transaction_id, f.seq, f.source, f.observation, f.echo, f.response_code, f.latest_transaction_status,
       (f.amount * 100)::bigint as amount, f.currency, (f.fee_amount * 100)::bigint as fee_amount, f.payment_id, f.approval_code,
       f.paid_time, f.paid_time_raw, f.warnings, f.doubt, f.bad_weather, f.sent_at, f.answered_at,
       coalesce(s.n, 1) as n, coalesce(s.last_at, f.answered_at) as last_at, coalesce(s.last_sent_at, f.sent_at) as last_sent_at
  from rekon.facts f left join rekon.sightings s using (transaction_id, seq)
 where f.transaction_id = any($1) order by f.transaction_id, f.seq";

const CHANGES: &str = "-- store::cases::changes
select transaction_id, seq, at, status_from, status_to from rekon.order_changes where transaction_id = any($1) order by transaction_id, seq";

const REFUNDS: &str = "-- store::cases::refunds
select r.id, r.transaction_id, r.cause, r.channel, r.sequence, (r.amount * 100)::bigint as amount, r.state, r.proposed_by, r.why, r.approved_by, r.approved_at, r.denied_by,
       r.content_hash, r.partner_refund_no, r.request_body, r.attempts, r.unanswered, r.last_sent_at, r.last_ended_at, r.refund_no, r.proof,
       r.reason, r.blocked, r.resends, r.put_off_since, r.put_off_until, r.api_closed, r.needs_person, r.candidate_id, r.candidate_why,
       c.partner_reference_no as candidate_reference_no, r.window_ends_at, r.bank_reference, r.transferred_by
  from rekon.refund_saga r left join rekon.transactions c on c.id = r.candidate_id
 where r.transaction_id = any($1) order by r.transaction_id, r.id";

const BALANCES: &str = "-- store::cases::balances
select transaction_id, account, (sum(debit - credit) * 100)::bigint as sen
  from rekon.postings where transaction_id = any($1) group by transaction_id, account having sum(debit - credit) <> 0";

const RESOLUTIONS: &str = "-- store::cases::resolutions
select r.transaction_id, r.seq, r.at, r.kind, r.flag, r.refund_id, (r.amount * 100)::bigint as amount,
       coalesce(asked.made_by, r.made_by) as made_by, case when asked.id is not null then r.made_by end as confirmed_by,
       coalesce(asked.reason, r.reason) as reason
  from rekon.resolutions r left join rekon.resolutions asked on asked.id = r.confirms
 where r.transaction_id = any($1) and r.seq is not null order by r.transaction_id, r.seq";

// What the rows of an account share: its outages, and how far its switches let rekon go.
const ACCOUNTS: &str = "-- store::cases::accounts
select account, from_at, until_at, null as ceiling from rekon.outages where account = any($1) and coalesce(until_at, 'infinity') > $2
union all
select a, null, null, rekon.ceiling(a) from unnest($1::text[]) as a
order by from_at";

/// Locks the rows, in the order of their ids, and loads their cases. Rows that do not exist are left out.
pub async fn lock(tx: &mut Tx, ids: &[i64]) -> Result<Vec<Loaded>, StoreError> {
    load(tx, ids, LOCK).await
}

/// Loads cases without a lock, for people who read.
pub async fn read(tx: &mut Tx, ids: &[i64]) -> Result<Vec<Loaded>, StoreError> {
    load(tx, ids, READ).await
}

async fn load(tx: &mut Tx, ids: &[i64], statement: &'static str) -> Result<Vec<Loaded>, StoreError> {
    let rows = sqlx::query(statement).bind(ids).fetch_all(&mut **tx).await?;
    let mut loaded = rows.iter().map(row_to_loaded).collect::<Result<Vec<_>, _>>()?;
    let with_history: Vec<i64> = loaded.iter().filter(|l| l.seq > 0).map(|l| l.case.order.id).collect();
    let mut history = History::default();
    if !with_history.is_empty() {
        history = History::load(tx, &with_history).await?;
    }
    let shared = shared(tx, &loaded).await?;
    for l in &mut loaded {
        let id = l.case.order.id;
        l.case.facts = history.facts.remove(&id).unwrap_or_default();
        l.case.changes = history.changes.remove(&id).unwrap_or_default();
        l.case.refunds = history.refunds.remove(&id).unwrap_or_default();
        l.case.balances = history.balances.remove(&id).unwrap_or_default();
        l.case.resolutions = history.resolutions.remove(&id).unwrap_or_default();
        if let Some((outages, ceiling)) = shared.get(&l.case.order.account) {
            l.case.outages.clone_from(outages);
            l.case.ceiling = *ceiling;
        }
    }
    Ok(loaded)
}

#[derive(Default)]
struct History {
    facts: HashMap<i64, Vec<Fact>>,
    changes: HashMap<i64, Vec<OrderChange>>,
    refunds: HashMap<i64, Vec<Refund>>,
    balances: HashMap<i64, BTreeMap<LedgerAccount, i64>>,
    resolutions: HashMap<i64, Vec<Resolution>>,
}

impl History {
    async fn load(tx: &mut Tx, ids: &[i64]) -> Result<Self, StoreError> {
        let mut history = Self::default();
        for row in sqlx::query(FACTS).bind(ids).fetch_all(&mut **tx).await? {
            history.facts.entry(row.try_get("transaction_id")?).or_default().push(row_to_fact(&row)?);
        }
        for row in sqlx::query(CHANGES).bind(ids).fetch_all(&mut **tx).await? {
            let change = OrderChange {
                seq: row.try_get("seq")?,
                at: row.try_get("at")?,
                from: order_status(&row, "status_from")?,
                to: order_status(&row, "status_to")?,
            };
            history.changes.entry(row.try_get("transaction_id")?).or_default().push(change);
        }
        for row in sqlx::query(REFUNDS).bind(ids).fetch_all(&mut **tx).await? {
            history.refunds.entry(row.try_get("transaction_id")?).or_default().push(row_to_refund(&row)?);
        }
        for row in sqlx::query(RESOLUTIONS).bind(ids).fetch_all(&mut **tx).await? {
            history.resolutions.entry(row.try_get("transaction_id")?).or_default().push(row_to_resolution(&row)?);
        }
        for row in sqlx::query(BALANCES).bind(ids).fetch_all(&mut **tx).await? {
            let word: String = row.try_get("account")?;
            let account = LedgerAccount::from_word(&word).ok_or_else(|| inconsistent("postings", "account", &word))?;
            history.balances.entry(row.try_get("transaction_id")?).or_default().insert(account, row.try_get("sen")?);
        }
        Ok(history)
    }
}

/// Outages and the ceiling, by account.
async fn shared(tx: &mut Tx, loaded: &[Loaded]) -> Result<HashMap<String, (Vec<Outage>, Level)>, StoreError> {
    let accounts: BTreeSet<String> = loaded.iter().map(|l| l.case.order.account.clone()).collect();
    let Some(oldest) = loaded.iter().map(|l| l.case.order.created_at).min() else { return Ok(HashMap::new()) };
    let accounts: Vec<String> = accounts.into_iter().collect();
    let mut shared: HashMap<String, (Vec<Outage>, Level)> = HashMap::new();
    for row in sqlx::query(ACCOUNTS).bind(&accounts).bind(oldest).fetch_all(&mut **tx).await? {
        let (outages, ceiling) = shared.entry(row.try_get("account")?).or_default();
        match row.try_get::<Option<String>, _>("ceiling")? {
            Some(word) => *ceiling = level(&word)?,
            None => outages.push(Outage { from: row.try_get("from_at")?, until: row.try_get("until_at")? }),
        }
    }
    Ok(shared)
}

/// A rung by its word.
pub(crate) fn level(word: &str) -> Result<Level, StoreError> {
    Level::from_word(word).ok_or_else(|| inconsistent("switches", "level", word))
}

fn row_to_resolution(row: &PgRow) -> Result<Resolution, StoreError> {
    let kind: String = row.try_get("kind")?;
    let flag: Option<String> = row.try_get("flag")?;
    Ok(Resolution {
        seq: row.try_get("seq")?,
        at: row.try_get("at")?,
        kind: ResolutionKind::from_word(&kind).ok_or_else(|| inconsistent("resolutions", "kind", &kind))?,
        about: About {
            flag: flag
                .map(|word| Flag::from_word(&word).ok_or_else(|| inconsistent("resolutions", "flag", &word)))
                .transpose()?,
            refund_id: row.try_get("refund_id")?,
            amount: sen_opt(row, "amount")?,
        },
        made_by: row.try_get("made_by")?,
        confirmed_by: row.try_get("confirmed_by")?,
        reason: row.try_get("reason")?,
    })
}

/// Sen from a `bigint` column.
pub(crate) fn sen(row: &PgRow, column: &str) -> Result<Sen, StoreError> {
    Ok(Sen::new(row.try_get(column)?))
}

/// Sen from a `bigint` column that may be null.
pub(crate) fn sen_opt(row: &PgRow, column: &str) -> Result<Option<Sen>, StoreError> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(Sen::new))
}

fn flags(row: &PgRow, column: &'static str) -> Result<BTreeSet<Flag>, StoreError> {
    let words: Vec<String> = row.try_get(column)?;
    words.iter().map(|w| Flag::from_word(w).ok_or_else(|| inconsistent("transactions", column, w))).collect()
}

fn order_status(row: &PgRow, column: &'static str) -> Result<OrderStatus, StoreError> {
    let word: &str = row.try_get(column)?;
    OrderStatus::from_word(word).ok_or_else(|| inconsistent("transactions", column, word))
}

fn row_to_loaded(row: &PgRow) -> Result<Loaded, StoreError> {
    let direction: &str = row.try_get("direction")?;
    let state: &str = row.try_get("state")?;
    let amount = sen(row, "amount")?;
    let qr: Option<&str> = row.try_get("qr_content")?;
    // A code that does not parse explains nothing; the import refuses it, plain SQL may have let it in.
    let tip = qr.and_then(|q| Qris::parse(q).ok()).and_then(|q| q.tip()).and_then(|t| t.on(amount).ok().flatten());
    let order = Order {
        id: row.try_get("id")?,
        account: row.try_get("account")?,
        partner_reference_no: row.try_get("partner_reference_no")?,
        reference_no: row.try_get("reference_no")?,
        external_id: row.try_get("external_id")?,
        direction: Direction::from_word(direction)
            .ok_or_else(|| inconsistent("transactions", "direction", direction))?,
        amount,
        currency: row.try_get("currency")?,
        tip,
        order_status: order_status(row, "order_status")?,
        created_at: row.try_get("created_at")?,
        expires_at: row.try_get("expires_at")?,
    };
    let open = flags(row, "flags_open")?;
    let resolved = flags(row, "flags")?.difference(&open).copied().collect();
    let prior = Prior {
        state: State::from_word(state).ok_or_else(|| inconsistent("transactions", "state", state))?,
        flags: Flags { open, resolved },
        closed_seq: row.try_get("closed_seq")?,
    };
    Ok(Loaded {
        case: Case {
            order,
            changes: Vec::new(),
            facts: Vec::new(),
            refunds: Vec::new(),
            prior,
            duplicate_reference: row.try_get("duplicate_reference")?,
            qr_cancel_asked: row.try_get("qr_cancel_asked")?,
            outages: Vec::new(),
            resolutions: Vec::new(),
            ceiling: Level::Auto,
            refunded_outside: sen(row, "refunded_outside")?,
            balances: BTreeMap::new(),
        },
        lease_epoch: row.try_get("lease_epoch")?,
        seq: row.try_get("seq")?,
        journal_no: row.try_get("journal_no")?,
        journal_hash: row.try_get("journal_hash")?,
        paid_amount: sen_opt(row, "paid_amount")?,
        next_check_at: row.try_get("next_check_at")?,
        refund_reserved: sen(row, "refund_reserved")?,
        refunded_amount: sen(row, "refunded_amount")?,
    })
}

fn row_to_fact(row: &PgRow) -> Result<Fact, StoreError> {
    let source: String = row.try_get("source")?;
    let observation: String = row.try_get("observation")?;
    let echo: String = row.try_get("echo")?;
    let warnings: Vec<String> = row.try_get("warnings")?;
    let answer = Answer {
        observation: Observation::from_word(&observation)
            .ok_or_else(|| inconsistent("facts", "observation", &observation))?,
        echo: Echo::from_word(&echo).ok_or_else(|| inconsistent("facts", "echo", &echo))?,
        response_code: row.try_get("response_code")?,
        latest_transaction_status: row.try_get("latest_transaction_status")?,
        amount: sen_opt(row, "amount")?,
        currency: row.try_get("currency")?,
        fee_amount: sen_opt(row, "fee_amount")?,
        payment_id: row.try_get("payment_id")?,
        approval_code: row.try_get("approval_code")?,
        paid_time: row.try_get("paid_time")?,
        paid_time_raw: row.try_get("paid_time_raw")?,
        warnings: warnings
            .iter()
            .map(|w| Warning::from_word(w).ok_or_else(|| inconsistent("facts", "warnings", w)))
            .collect::<Result<_, _>>()?,
        doubt: row.try_get("doubt")?,
    };
    Ok(Fact {
        seq: row.try_get("seq")?,
        source: Source::from_word(&source).ok_or_else(|| inconsistent("facts", "source", &source))?,
        answer: Arc::new(answer),
        sent_at: row.try_get("sent_at")?,
        answered_at: row.try_get("answered_at")?,
        last_at: row.try_get("last_at")?,
        last_sent_at: row.try_get("last_sent_at")?,
        sightings: row.try_get("n")?,
        bad_weather: row.try_get("bad_weather")?,
    })
}

fn row_to_candidate(row: &PgRow) -> Result<Option<Candidate>, StoreError> {
    let Some(why) = row.try_get::<Option<String>, _>("candidate_why")? else { return Ok(None) };
    Ok(Some(Candidate {
        transaction_id: row.try_get("candidate_id")?,
        partner_reference_no: row.try_get("candidate_reference_no")?,
        why: CandidateWhy::from_word(&why).ok_or_else(|| inconsistent("refund_saga", "candidate_why", &why))?,
    }))
}

fn row_to_refund(row: &PgRow) -> Result<Refund, StoreError> {
    let cause: String = row.try_get("cause")?;
    let state: String = row.try_get("state")?;
    let proof: Option<String> = row.try_get("proof")?;
    let needs_person: Option<String> = row.try_get("needs_person")?;
    let channel: String = row.try_get("channel")?;
    let transferred_by: Option<String> = row.try_get("transferred_by")?;
    let bank_reference: Option<String> = row.try_get("bank_reference")?;
    Ok(Refund {
        id: row.try_get("id")?,
        cause: Flag::from_word(&cause).ok_or_else(|| inconsistent("refund_saga", "cause", &cause))?,
        channel: Channel::from_word(&channel).ok_or_else(|| inconsistent("refund_saga", "channel", &channel))?,
        sequence: row.try_get("sequence")?,
        amount: sen(row, "amount")?,
        state: RefundState::from_word(&state).ok_or_else(|| inconsistent("refund_saga", "state", &state))?,
        proposed_by: row.try_get("proposed_by")?,
        why: row.try_get("why")?,
        approved_by: row.try_get("approved_by")?,
        approved_at: row.try_get("approved_at")?,
        denied_by: row.try_get("denied_by")?,
        content_hash: row.try_get("content_hash")?,
        partner_refund_no: row.try_get("partner_refund_no")?,
        request_body: row.try_get("request_body")?,
        attempts: row.try_get("attempts")?,
        unanswered: row.try_get("unanswered")?,
        last_sent_at: row.try_get("last_sent_at")?,
        last_ended_at: row.try_get("last_ended_at")?,
        refund_no: row.try_get("refund_no")?,
        proof: proof
            .map(|p| Proof::from_word(&p).ok_or_else(|| inconsistent("refund_saga", "proof", &p)))
            .transpose()?,
        reason: row.try_get("reason")?,
        blocked: row.try_get("blocked")?,
        resends: row.try_get("resends")?,
        window_ends_at: row.try_get("window_ends_at")?,
        transfer: transferred_by.zip(bank_reference).map(|(by, bank_reference)| Transfer { by, bank_reference }),
        put_off_since: row.try_get("put_off_since")?,
        put_off_until: row.try_get("put_off_until")?,
        api_closed: row.try_get("api_closed")?,
        candidate: row_to_candidate(row)?,
        needs_person: needs_person
            .map(|f| Flag::from_word(&f).ok_or_else(|| inconsistent("refund_saga", "needs_person", &f)))
            .transpose()?,
    })
}

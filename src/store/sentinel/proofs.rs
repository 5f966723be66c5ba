//! The rules of money as statements. Each returns what breaks it (`id`, `account`, `what`) and nothing where all is well; `$1`
//! are the rows looked at. A rule that an index or a small table proves is proved over everything in every pass.

use sqlx::postgres::PgRow;

use crate::{
    domain::state::Flag,
    store::{StoreError, Tx},
};

/// A rule and how it is proved.
#[derive(Debug)]
pub struct Invariant {
    /// Its stable id: a metric label, a word in `docs/invariants.md`.
    pub id: &'static str,
    /// Proved in every pass over all rows, and not only over those looked at.
    pub is_over_everything: bool,
    sql: &'static str,
    given: Given,
}

#[derive(Debug, Clone, Copy)]
enum Given {
    /// No parameter.
    Nothing,
    /// `$1` rows.
    Rows,
    /// `$1` rows, `$2` the flags that decide, in the order of causes.
    RowsAndCauses,
}

const fn over_rows(id: &'static str, sql: &'static str) -> Invariant {
    Invariant { id, is_over_everything: false, sql, given: Given::Rows }
}

const fn over_everything(id: &'static str, sql: &'static str) -> Invariant {
    Invariant { id, is_over_everything: true, sql, given: Given::Nothing }
}

/// Every rule that the sentinel watches.
pub const PROOFS: &[Invariant] = &[
    over_everything("returned_at_most_paid", RETURNED_AT_MOST_PAID),
    over_everything("budget_adds_up", BUDGET_ADDS_UP),
    over_everything("seals_are_chained", SEALS_ARE_CHAINED),
    over_rows("paid_is_not_unpaid", PAID_IS_NOT_UNPAID),
    over_rows("paid_as_first_answered", PAID_AS_FIRST_ANSWERED),
    over_rows("postings_balance", POSTINGS_BALANCE),
    over_rows("balances_equal_row", BALANCES_EQUAL_ROW),
    Invariant {
        id: "suspense_equals_flags",
        is_over_everything: false,
        sql: SUSPENSE_EQUALS_FLAGS,
        given: Given::RowsAndCauses,
    },
    over_rows("refunds_add_up", REFUNDS_ADD_UP),
    over_rows("one_refund_per_cause", ONE_REFUND_PER_CAUSE),
    over_rows("one_refund_in_flight", ONE_REFUND_IN_FLIGHT),
    over_rows("approver_is_not_proposer", APPROVER_IS_NOT_PROPOSER),
    over_rows("sent_on_two_answers", SENT_ON_TWO_ANSWERS),
    over_rows("chain_links", CHAIN_LINKS),
    over_rows("chain_head", CHAIN_HEAD),
    over_rows("row_equals_journal", ROW_EQUALS_JOURNAL),
    over_rows("decision_says_why", DECISION_SAYS_WHY),
    over_rows("sequence_is_dense", SEQUENCE_IS_DENSE),
    over_rows("facts_as_written", FACTS_AS_WRITTEN),
    over_rows("nothing_is_forgotten", NOTHING_IS_FORGOTTEN),
];

// Stands on an index that holds violations only.
const RETURNED_AT_MOST_PAID: &str = "-- store::sentinel::proofs::returned_at_most_paid
select id, account, format('reserved %s, refunded %s and outside %s of %s paid', refund_reserved, refunded_amount, refunded_outside, paid_amount) as what
  from rekon.transactions where refund_reserved + refunded_amount + refunded_outside > coalesce(paid_amount, 0) limit 1000";

// Today and the days around it: an older budget changes only where an old refund is refused.
const BUDGET_ADDS_UP: &str = "-- store::sentinel::proofs::budget_adds_up
with spent as (
  select t.account, s.budget_day as day, sum(s.amount) as amount from rekon.refund_saga s join rekon.transactions t on t.id = s.transaction_id
   where s.budget_day >= (now() at time zone 'Asia/Jakarta')::date - 2 group by t.account, s.budget_day)
select 0::bigint as id, b.account, format('the budget of %s says %s, its refunds say %s', b.day, b.reserved, coalesce(r.amount, 0)) as what
  from rekon.refund_budgets b left join spent r using (account, day)
 where b.day >= (now() at time zone 'Asia/Jakarta')::date - 2 and b.reserved <> coalesce(r.amount, 0)";

const SEALS_ARE_CHAINED: &str = "-- store::sentinel::proofs::seals_are_chained
select 0::bigint as id, '*' as account, format('the seal of %s does not stand upon the seal before it', s.day) as what
  from (select no, day, prev_head, lag(head) over w as before, lag(no) over w as no_before, row_number() over w as place
          from (select * from rekon.seals order by no desc limit 40) as newest window w as (order by no)) as s
 where s.place > 1 and (s.prev_head <> s.before or s.no <> s.no_before + 1) or s.no = 1 and s.prev_head <> decode(repeat('00', 32), 'hex')";

// A row that is due is not at rest: a fact that came too late for its lease waits for the next look.
const PAID_IS_NOT_UNPAID: &str = "-- store::sentinel::proofs::paid_is_not_unpaid
select t.id, t.account, format('it rests as %s, and a query said PAID', t.state) as what from rekon.transactions t
 where t.id = any($1) and t.state in ('pending', 'unpaid') and t.next_check_at is null
   and exists (select 1 from rekon.facts f where f.transaction_id = t.id and f.observation = 'PAID' and f.source = 'query' and f.echo = 'right')";

const PAID_AS_FIRST_ANSWERED: &str = "-- store::sentinel::proofs::paid_as_first_answered
select t.id, t.account, format('paid %s, and the first answer that says so says %s', t.paid_amount, coalesce(first.amount::text, 'nothing')) as what
  from rekon.transactions t left join lateral
       (select f.amount from rekon.facts f where f.transaction_id = t.id and f.observation = 'PAID' and f.source = 'query' and f.echo = 'right'
         order by f.seq limit 1) first on true
 where t.id = any($1) and t.paid_amount is not null and first.amount is distinct from t.paid_amount";

const POSTINGS_BALANCE: &str = "-- store::sentinel::proofs::postings_balance
select t.id, t.account, format('entry %s debits %s and credits %s', p.entry_no, sum(p.debit), sum(p.credit)) as what
  from rekon.postings p join rekon.transactions t on t.id = p.transaction_id
 where p.transaction_id = any($1) group by t.id, t.account, p.entry_no having sum(p.debit) <> sum(p.credit)";

// A row that cannot be asked about keeps the money where it was; a payout has none of ours.
const BALANCES_EQUAL_ROW: &str = "-- store::sentinel::proofs::balances_equal_row
select t.id, t.account, format('the ledger has %s standing and %s in flight; the row says %s and %s', b.standing, b.in_flight,
         coalesce(t.paid_amount, 0) - t.refunded_amount - j.outside, t.refund_reserved) as what
  from rekon.transactions t
  join lateral (select coalesce(sum(debit - credit) filter (where account in ('provider_clearing', 'bank')), 0) as standing,
                       coalesce(sum(credit - debit) filter (where account = 'refund_in_flight'), 0) as in_flight
                  from rekon.postings where transaction_id = t.id) b on true
  join lateral (select (content::json ->> 'refunded_outside')::numeric as outside from rekon.journal
                 where transaction_id = t.id order by entry_no desc limit 1) j on true
 where t.id = any($1) and t.direction = 'in' and not t.flags_open && '{unknown_account,missing_reference}'
   and (b.standing <> coalesce(t.paid_amount, 0) - t.refunded_amount - j.outside or b.in_flight <> t.refund_reserved)";

const SUSPENSE_EQUALS_FLAGS: &str = "-- store::sentinel::proofs::suspense_equals_flags
select t.id, t.account, format('%s holds %s under %s{%s}', b.account, b.rupiah, t.state, array_to_string(t.flags_open, ',')) as what
  from rekon.transactions t
  join lateral (select account, sum(credit - debit) as rupiah from rekon.postings where transaction_id = t.id
                   and (account like 'suspense:%' or account = 'merchant_payable') group by account having sum(credit - debit) <> 0) b on true
 where t.id = any($1) and not t.flags_open && '{unknown_account,missing_reference}'
   and not case
         when t.state in ('pending', 'unpaid') then false
         when t.state in ('paid', 'refunded', 'partly_refunded')
           then b.account = 'merchant_payable' or b.account = 'suspense:overpaid' and 'overpaid' = any(t.flags_open)
         else b.account = 'suspense:' || coalesce((select c from unnest($2::text[]) with ordinality as o(c, n) where c = any(t.flags_open)
                                                    order by n limit 1), 'refund_unknown') end";

const REFUNDS_ADD_UP: &str = "-- store::sentinel::proofs::refunds_add_up
select t.id, t.account, format('the row says %s reserved and %s refunded, its refunds say %s and %s', t.refund_reserved, t.refunded_amount, r.reserved, r.confirmed) as what
  from rekon.transactions t join lateral
       (select coalesce(sum(amount) filter (where state in ('reserved', 'sending', 'unknown')), 0) as reserved,
               coalesce(sum(amount) filter (where state = 'confirmed'), 0) as confirmed
          from rekon.refund_saga where transaction_id = t.id) r on true
 where t.id = any($1) and (t.refund_reserved, t.refunded_amount) <> (r.reserved, r.confirmed)";

const ONE_REFUND_PER_CAUSE: &str = "-- store::sentinel::proofs::one_refund_per_cause
select t.id, t.account, format('%s refunds live for %s', count(*), r.cause) as what
  from rekon.refund_saga r join rekon.transactions t on t.id = r.transaction_id
 where r.transaction_id = any($1) and r.state not in ('refused', 'denied', 'expired') group by t.id, t.account, r.cause having count(*) > 1";

const ONE_REFUND_IN_FLIGHT: &str = "-- store::sentinel::proofs::one_refund_in_flight
select t.id, t.account, format('%s refunds are in flight', count(*)) as what
  from rekon.refund_saga r join rekon.transactions t on t.id = r.transaction_id
 where r.transaction_id = any($1) and r.state in ('reserved', 'sending', 'unknown') group by t.id, t.account having count(*) > 1";

const APPROVER_IS_NOT_PROPOSER: &str = "-- store::sentinel::proofs::approver_is_not_proposer
select t.id, t.account, format('%s proposed and approved refund %s', r.approved_by, r.id) as what
  from rekon.refund_saga r join rekon.transactions t on t.id = r.transaction_id
 where r.transaction_id = any($1) and r.approved_by = r.proposed_by and r.approved_by <> 'policy'";

const SENT_ON_TWO_ANSWERS: &str = "-- store::sentinel::proofs::sent_on_two_answers
select t.id, t.account, format('refund %s was sent on %s answers that said PAID', r.id, f.n) as what
  from rekon.refund_saga r join rekon.transactions t on t.id = r.transaction_id
  join lateral (select min(sent_at) as sent_at from rekon.refund_attempts where refund_id = r.id) a on a.sent_at is not null
  join lateral (select count(*) as n from rekon.facts f where f.transaction_id = r.transaction_id and f.observation = 'PAID' and f.source = 'query'
                   and f.echo = 'right' and f.answered_at <= a.sent_at) f on true
 where r.transaction_id = any($1) and f.n < 2";

const CHAIN_LINKS: &str = "-- store::sentinel::proofs::chain_links
select t.id, t.account, format('entry %s is not as it was written, or one before it is missing', min(c.entry_no)) as what
  from (select transaction_id, entry_no, prev_hash, hash, content, lag(hash) over w as before, row_number() over w as place
          from rekon.journal where transaction_id = any($1) window w as (partition by transaction_id order by entry_no)) c
  join rekon.transactions t on t.id = c.transaction_id
 where c.entry_no <> c.place or c.prev_hash <> coalesce(c.before, decode(repeat('00', 32), 'hex'))
    or c.hash <> sha256(c.prev_hash || convert_to(c.content, 'UTF8'))
 group by t.id, t.account";

const CHAIN_HEAD: &str = "-- store::sentinel::proofs::chain_head
select t.id, t.account, format('the row says %s entries, the journal %s', t.journal_no, coalesce(j.entry_no, 0)) as what
  from rekon.transactions t left join lateral
       (select entry_no, hash from rekon.journal where transaction_id = t.id order by entry_no desc limit 1) j on true
 where t.id = any($1) and (t.journal_no <> coalesce(j.entry_no, 0) or t.journal_hash is distinct from j.hash)";

const ROW_EQUALS_JOURNAL: &str = "-- store::sentinel::proofs::row_equals_journal
select t.id, t.account, format('the row is %s{%s} with %s paid; its last entry says %s{%s} with %s', t.state, array_to_string(t.flags_open, ','),
         coalesce(t.paid_amount::text, 'nothing'), j.says ->> 'state', j.flags, coalesce(j.says ->> 'paid_amount', 'nothing')) as what
  from rekon.transactions t join lateral
       (select says, (select coalesce(string_agg(f, ',' order by n), '') from json_array_elements_text(says -> 'flags') with ordinality as o(f, n)) as flags
          from (select content::json as says from rekon.journal where transaction_id = t.id order by entry_no desc limit 1) last) j on true
 where t.id = any($1) and (t.state <> j.says ->> 'state' or t.paid_amount is distinct from (j.says ->> 'paid_amount')::numeric
   or array_to_string(t.flags_open, ',') <> j.flags)";

const DECISION_SAYS_WHY: &str = "-- store::sentinel::proofs::decision_says_why
select t.id, t.account, format('entry %s names no rule, policy or profile', j.entry_no) as what
  from rekon.transactions t join lateral
       (select entry_no, content::json as says from rekon.journal where transaction_id = t.id order by entry_no desc limit 1) j on true
 where t.id = any($1)
   and (coalesce(json_array_length(j.says -> 'because'), 0) = 0 or coalesce(j.says ->> 'policy', '') = '' or coalesce(j.says ->> 'profile', '') = '')";

const SEQUENCE_IS_DENSE: &str = "-- store::sentinel::proofs::sequence_is_dense
select t.id, t.account, format('the row has heard %s, and %s are there up to %s', t.seq, s.n, s.last) as what
  from rekon.transactions t join lateral
       (select count(distinct seq) as n, coalesce(max(seq), 0) as last
          from (select seq from rekon.facts where transaction_id = t.id union all select seq from rekon.order_changes where transaction_id = t.id
                union all select seq from rekon.resolutions where transaction_id = t.id) u) s on true
 where t.id = any($1) and (s.n <> t.seq or s.last <> t.seq)";

const FACTS_AS_WRITTEN: &str = "-- store::sentinel::proofs::facts_as_written
select t.id, t.account, format('#%s does not give its hash', min(u.seq)) as what
  from (select transaction_id, seq from rekon.facts f where transaction_id = any($1) and hash <> sha256(convert_to(rekon.fact_text(f), 'UTF8'))
        union all
        select transaction_id, seq from rekon.order_changes c
         where transaction_id = any($1) and hash <> sha256(convert_to(rekon.order_change_text(c), 'UTF8'))) u
  join rekon.transactions t on t.id = u.transaction_id
 group by t.id, t.account";

// Liveness: nobody asks about it any more, and nobody is told. A transfer by hand waits for a person for as long as it takes.
const NOTHING_IS_FORGOTTEN: &str = "-- store::sentinel::proofs::nothing_is_forgotten
select t.id, t.account, 'it is pending, and nobody will ask about it' as what from rekon.transactions t
 where t.id = any($1) and t.state = 'pending' and t.next_check_at is null
union all
select t.id, t.account, format('refund %s is %s, and nobody will look at it', r.id, r.state) from rekon.refund_saga r join rekon.transactions t on t.id = r.transaction_id
 where r.transaction_id = any($1) and r.state = 'sending' and r.channel = 'api' and r.next_at is null";

/// Runs a proof.
pub(super) async fn run(tx: &mut Tx, proof: &Invariant, ids: &[i64]) -> Result<Vec<PgRow>, StoreError> {
    let query = sqlx::query(proof.sql);
    let query = match proof.given {
        Given::Nothing => query,
        Given::Rows => query.bind(ids),
        Given::RowsAndCauses => {
            let deciding = Flag::ALL.iter().filter(|f| f.is_blocker() || f.is_cause());
            query.bind(ids).bind(deciding.map(|f| f.as_str()).collect::<Vec<_>>())
        }
    };
    Ok(query.fetch_all(&mut **tx).await?)
}

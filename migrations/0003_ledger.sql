-- The journal of decisions, hash-chained per transaction, and the double-entry lines that they post.

create table rekon.journal (
  transaction_id bigint not null,
  entry_no       integer not null constraint journal_counts_from_one check (entry_no > 0),
  at             timestamptz not null,
  upto_seq       integer not null,
  kind           text not null,
  state          text not null,
  content        text not null,
  prev_hash      bytea not null constraint journal_prev_hash_is_sha256 check (length(prev_hash) = 32),
  hash           bytea not null constraint journal_hash_is_sha256 check (length(hash) = 32),
  primary key (transaction_id, entry_no)
);
comment on table rekon.journal is 'Every decision that changed something, append-only. hash covers prev_hash and content.';
comment on column rekon.journal.upto_seq is 'The facts and order changes that the decision had seen.';
comment on column rekon.journal.kind is 'decision, or the refund transition that was decided with it.';
comment on column rekon.journal.content is 'Canonical JSON: state, flags, amounts, reasons, postings, refunds, profile and policy hashes, sightings used.';

create table rekon.postings (
  transaction_id bigint not null,
  entry_no       integer not null,
  line           smallint not null,
  account        text not null constraint postings_account_is_known check
                   (account in ('provider_clearing', 'merchant_payable', 'refund_in_flight', 'bank') or account ~ '^suspense:[a-z_]+$'),
  debit          numeric(18, 2) not null default 0,
  credit         numeric(18, 2) not null default 0,
  primary key (transaction_id, entry_no, line),
  constraint postings_have_one_side check
    (debit >= 0 and credit >= 0 and (debit > 0) <> (credit > 0) and debit <> 'NaN' and credit <> 'NaN')
);
comment on table rekon.postings is 'Balanced lines of an entry: provider_clearing is what the provider owes us, merchant_payable what we owe, suspense the money at risk.';

-- The key to the journal is looked up for the whole statement too; an entry is never deleted.
create function rekon.postings_balance() returns trigger language plpgsql set enable_seqscan = off as $$
begin
  if exists (select 1 from added group by transaction_id, entry_no having sum(debit) <> sum(credit)) then
    raise exception 'an entry''s debits and credits differ' using errcode = 'check_violation', constraint = 'postings_balance';
  end if;
  if exists (select 1 from (select distinct transaction_id, entry_no from added) a
              where (select j.entry_no from rekon.journal j where j.transaction_id = a.transaction_id and j.entry_no = a.entry_no) is null) then
    raise exception 'a posting names a journal entry that does not exist' using errcode = 'foreign_key_violation', constraint = 'postings_belong';
  end if;
  return null;
end $$;

create trigger postings_balance after insert on rekon.postings referencing new table as added
  for each statement execute function rekon.postings_balance();
create trigger journal_belongs after insert on rekon.journal referencing new table as added
  for each statement execute function rekon.belongs_to_a_payment();
create trigger journal_stays before update or delete on rekon.journal for each row execute function rekon.refuse('the journal is append-only');
create trigger journal_stays_all before truncate on rekon.journal execute function rekon.refuse('the journal is append-only');
create trigger postings_stay before update or delete on rekon.postings for each row execute function rekon.refuse('a posting is append-only');
create trigger postings_stay_all before truncate on rekon.postings execute function rekon.refuse('a posting is append-only');

create view rekon.suspense as
  select t.account, p.account as suspense, sum(p.credit - p.debit) as rupiah, count(distinct p.transaction_id) as rows
    from rekon.postings p join rekon.transactions t on t.id = p.transaction_id
   where p.account like 'suspense:%' group by t.account, p.account having sum(p.credit - p.debit) <> 0;
comment on view rekon.suspense is 'Money at risk by account and cause.';

-- What keeps the house needs to know: how often a run was begun, when a body was last heard, which rows still hold money.
set local lock_timeout = '2s';

alter table rekon.runs add column attempts integer not null default 0;
comment on column rekon.runs.attempts is 'How often a worker took it; a worker whose number is older has lost it.';

-- One body is shared by every fact that says the same, so its age is that of the newest.
alter table rekon.raw_answers add column last_at timestamptz not null default now();
alter table rekon.raw_answers alter column last_at set default clock_timestamp();
-- By ranges of pages: bodies lie in the order in which they came, and a B-tree more is paid for at every answer.
create index raw_answers_by_age on rekon.raw_answers using brin (last_at) with (pages_per_range = 32, autosummarize = on);
comment on column rekon.raw_answers.last_at is 'When a new fact last named it, to the day; pruned by this age.';

-- Counts rows that hold money now; one whose excess went back holds none.
create or replace view rekon.suspense as
  select account, suspense, sum(balance) as rupiah, count(*) as rows
    from (select t.account, p.account as suspense, p.transaction_id, sum(p.credit - p.debit) as balance
            from rekon.postings p join rekon.transactions t on t.id = p.transaction_id
           where p.account like 'suspense:%' group by t.account, p.account, p.transaction_id having sum(p.credit - p.debit) <> 0) as held
   group by account, suspense;

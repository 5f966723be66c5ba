-- A brake that is let go of: which rows must be looked at again is written down with it, so that no crash forgets them. And the
-- sentinel remembers the entry behind which it has read all, not only its time: any number of entries may have the same.
set local lock_timeout = '2s';

create table rekon.released (
  account   text not null,
  what      text not null constraint released_what_is_known check (what in ('refunds', 'postings')),
  since     timestamptz,
  at        timestamptz not null default clock_timestamp(),
  behind_id bigint default 0,
  held      bigint[] not null default '{}',
  primary key (account, what),
  constraint released_postings_since_when check ((what = 'postings') = (since is not null))
);
comment on table rekon.released is 'Brakes that people have let go of and whose rows do not all know it yet: written with the switch or the re-arming, deleted when the last row is due.';
comment on column rekon.released.account is 'Its account; * where it was every account''s.';
comment on column rekon.released.what is 'refunds: rows with an open cause of a refund. postings: rows decided while nothing was posted.';
comment on column rekon.released.since is 'postings: since when nothing was posted.';
comment on column rekon.released.behind_id is 'The walk goes on behind this row; null: it came to the end, and only held ones are left.';
comment on column rekon.released.held is 'Rows that somebody held locked when the walk came by: they are tried again.';

alter table rekon.sentinel add column new_id bigint not null default 0;
alter table rekon.sentinel add column new_entry_no integer not null default 0;
comment on column rekon.sentinel.new_from is 'With new_id and new_entry_no the journal entry behind which everything was read: the next pass goes on there.';
comment on column rekon.sentinel.new_id is 'The row of that entry; 0: the pass begins with the first entry of that time.';
comment on column rekon.sentinel.new_entry_no is 'Its number in the row''s chain.';

-- As before, with rekon.released for rekon_app.
-- Grants what each role may; every `rekon migrate` calls it last, so that tables of later releases are granted with them.
-- What is only ever added to is granted without update and delete: no bug of the daemon's and nobody with its password rewrites it.
create or replace function rekon.grant_roles() returns void language plpgsql as $$
declare
  added_to constant text := 'rekon.facts, rekon.journal, rekon.postings, rekon.seals, rekon.sealed, rekon.terms, '
    'rekon.switches, rekon.rearms, rekon.resolutions, rekon.assignments, rekon.pauses';
  changed constant text := 'rekon.transactions, rekon.sightings, rekon.refund_saga, rekon.refund_attempts, rekon.refund_budgets, rekon.account_controls, '
    'rekon.call_budgets, rekon.breakers, rekon.outages, rekon.notification_limits, rekon.provider_tokens, rekon.qr_cancels, '
    'rekon.people, rekon.tokens, rekon.webhook_endpoints';
  pruned constant text := 'rekon.raw_answers, rekon.runs, rekon.run_items, rekon.notifications, rekon.drift, rekon.pulled, rekon.violations, rekon.idempotency_keys, '
    'rekon.webhooks, rekon.released';
begin
  perform pg_advisory_xact_lock(7236016, 4);
  if exists (select 1 from pg_roles where rolname = 'rekon_app') then
    grant usage on schema rekon to rekon_app;
    grant select on all tables in schema rekon to rekon_app;
    grant usage on all sequences in schema rekon to rekon_app;
    execute format('grant insert on %s to rekon_app', added_to);
    execute format('grant insert, update on %s to rekon_app', changed);
    execute format('grant insert, update, delete on %s to rekon_app', pruned);
    grant update on rekon.sentinel, rekon.seal_turn to rekon_app;
    if to_regnamespace('apalis') is not null then
      grant usage on schema apalis to rekon_app;
      grant select, insert, update, delete on all tables in schema apalis to rekon_app;
      grant usage on all sequences in schema apalis to rekon_app;
    end if;
  end if;
  if exists (select 1 from pg_roles where rolname = 'rekon_merchant') then
    grant usage on schema rekon to rekon_merchant;
    grant select on rekon.transactions, rekon.refunds, rekon.suspense to rekon_merchant;
    grant insert (account, partner_reference_no, reference_no, external_id, direction, amount, currency, order_status, created_at,
                  expires_at, qr_content) on rekon.transactions to rekon_merchant;
    grant update (reference_no, external_id, expires_at, qr_content, order_status) on rekon.transactions to rekon_merchant;
  end if;
  if exists (select 1 from pg_roles where rolname = 'rekon_reader') then
    grant usage on schema rekon to rekon_reader;
    grant select on rekon.bi_transactions, rekon.bi_days to rekon_reader;
  end if;
end $$;
comment on function rekon.grant_roles() is 'Grants rekon_app, rekon_merchant and rekon_reader, where they exist, what each may.';
select rekon.grant_roles();

-- The ways out: what the merchant's endpoints are told and how far each message has come; views for his business intelligence, and a
-- role that reads them and nothing else.
set local lock_timeout = '2s';

create table rekon.webhooks (
  id              bigint generated always as identity primary key,
  endpoint        text not null constraint webhooks_endpoint_is_named check (length(endpoint) between 1 and 64),
  event_id        text not null constraint webhooks_event_id_is_short check (length(event_id) between 1 and 64),
  transaction_id  bigint not null,
  entry_no        integer not null,
  type            text not null,
  body            text not null constraint webhooks_body_is_small check (octet_length(body) between 2 and 20480),
  created_at      timestamptz not null default clock_timestamp(),
  state           text not null default 'pending' constraint webhooks_state_is_known check (state in ('pending', 'delivered', 'dead')),
  attempts        integer not null default 0,
  rung            integer not null default 0,
  replays         integer not null default 0,
  next_at         timestamptz default now(),
  last_attempt_at timestamptz,
  last_status     integer,
  last_error      text,
  delivered_at    timestamptz,
  dead_at         timestamptz,
  lease_owner     text,
  lease_until     timestamptz,
  lease_epoch     bigint not null default 0,
  constraint webhooks_tell_of_an_entry foreign key (transaction_id, entry_no) references rekon.journal (transaction_id, entry_no),
  constraint webhooks_tell_once unique (event_id, endpoint),
  constraint webhooks_due_while_pending check ((state = 'pending') = (next_at is not null)),
  constraint webhooks_end_has_its_time check ((state = 'delivered') = (delivered_at is not null) and (state = 'dead') = (dead_at is not null)),
  constraint webhooks_counts_are_counts check (attempts >= 0 and rung >= 0 and replays >= 0)
) with (fillfactor = 70);
create index webhooks_due on rekon.webhooks (endpoint, next_at) where next_at is not null;
create index webhooks_undelivered on rekon.webhooks (endpoint, created_at) where state = 'pending';
create index webhooks_dead on rekon.webhooks (endpoint, dead_at) where state = 'dead';
create index webhooks_delivered on rekon.webhooks (delivered_at) where state = 'delivered';
create index webhooks_by_row on rekon.webhooks (transaction_id, entry_no);
comment on table rekon.webhooks is 'Messages to the merchant''s endpoints, one per endpoint and change of state; written with the change, in its transaction.';
comment on column rekon.webhooks.endpoint is 'A name under [webhooks] in jobs.toml.';
comment on column rekon.webhooks.event_id is 'The webhook-id: made of the journal entry, the same at every attempt and for every endpoint.';
comment on column rekon.webhooks.entry_no is 'The journal entry of the change; the message calls it sequence.';
comment on column rekon.webhooks.body is 'The bytes that are signed and sent, at every attempt the same.';
comment on column rekon.webhooks.attempts is 'Attempts whose end was recorded.';
comment on column rekon.webhooks.rung is 'Failures since it was written or last replayed: its place on the ladder.';
comment on column rekon.webhooks.replays is 'How often somebody had it sent anew.';
comment on column rekon.webhooks.next_at is 'When it is due; null: it has come to its end.';
comment on column rekon.webhooks.last_error is 'What the last attempt came to, where no 2xx came: a word of rekon''s, never the receiver''s text.';
comment on column rekon.webhooks.dead_at is 'Since when it is a dead letter: nobody sends it until somebody replays it.';

create table rekon.webhook_endpoints (
  endpoint     text primary key,
  disabled_at  timestamptz,
  disabled_why text,
  paused_until timestamptz,
  constraint webhook_endpoints_say_why check ((disabled_at is null) = (disabled_why is null))
);
comment on table rekon.webhook_endpoints is 'What receivers have asked for: a pause, or the end. An endpoint that asked for nothing has no row.';
comment on column rekon.webhook_endpoints.disabled_at is 'It answered 410 Gone: nothing is sent until `rekon webhooks enable`.';
comment on column rekon.webhook_endpoints.paused_until is 'It answered 429 or 503 with Retry-After: no replica sends before.';

-- What was said once is said again word for word; an end is undone only by a replay, and a replay is counted.
create function rekon.webhooks_keep_their_word() returns trigger language plpgsql as $$
begin
  if (new.endpoint, new.event_id, new.transaction_id, new.entry_no, new.type, new.body, new.created_at)
     is distinct from (old.endpoint, old.event_id, old.transaction_id, old.entry_no, old.type, old.body, old.created_at) then
    raise exception 'a message is sent as it was written' using errcode = 'restrict_violation', constraint = 'webhooks_keep_their_word';
  end if;
  if new.attempts < old.attempts or new.replays < old.replays or new.lease_epoch < old.lease_epoch then
    raise exception 'attempts, replays and leases are only ever counted up' using errcode = 'restrict_violation', constraint = 'webhooks_count_up';
  end if;
  if old.state <> 'pending' and new.state <> old.state and new.replays = old.replays then
    raise exception 'message % is %: only a replay sends it again', old.id, old.state using errcode = 'restrict_violation', constraint = 'webhooks_end_once';
  end if;
  return new;
end $$;
create trigger webhooks_keep_their_word before update on rekon.webhooks for each row execute function rekon.webhooks_keep_their_word();

create function rekon.webhooks_wait() returns trigger language plpgsql as $$
begin
  if tg_op = 'TRUNCATE' or old.state = 'pending' then
    raise exception 'a message that has not come to its end is not deleted' using errcode = 'restrict_violation', constraint = 'webhooks_wait';
  end if;
  return old;
end $$;
create trigger webhooks_wait before delete on rekon.webhooks for each row execute function rekon.webhooks_wait();
create trigger webhooks_wait_all before truncate on rekon.webhooks execute function rekon.webhooks_wait();

-- For business intelligence. Columns are added at the end and never renamed or dropped; days are WIB.
create view rekon.bi_transactions as
  select account, partner_reference_no, direction, currency, amount, order_status, state, flags,
         paid_amount, fee_amount, refunded_amount, refunded_outside,
         coalesce(paid_amount, 0) - refunded_amount - refunded_outside as kept_amount,
         state in ('held', 'review') as is_exception,
         created_at, (created_at at time zone 'Asia/Jakarta')::date as created_day,
         expires_at, paid_at, (paid_at at time zone 'Asia/Jakarta')::date as paid_day,
         checks, last_checked_at
    from rekon.transactions;
comment on view rekon.bi_transactions is 'Every expected payment, for reports: stable names, rupiah as numeric, days in WIB, nothing about a person.';
comment on column rekon.bi_transactions.account is 'A name under [accounts] in jobs.toml.';
comment on column rekon.bi_transactions.partner_reference_no is 'The merchant''s reference; unique with account.';
comment on column rekon.bi_transactions.direction is 'in: a customer pays. out: a payout.';
comment on column rekon.bi_transactions.currency is 'IDR.';
comment on column rekon.bi_transactions.amount is 'Expected, rupiah.';
comment on column rekon.bi_transactions.order_status is 'What the merchant says of his order: open, fulfilled or cancelled.';
comment on column rekon.bi_transactions.state is 'pending, paid, held, refunding, refunded, partly_refunded, unpaid or review.';
comment on column rekon.bi_transactions.flags is 'What is or was odd about it, sorted; never null.';
comment on column rekon.bi_transactions.paid_amount is 'What came in, gross, rupiah; null until it is proved, never reduced.';
comment on column rekon.bi_transactions.fee_amount is 'The provider''s fee, rupiah, where it says one.';
comment on column rekon.bi_transactions.refunded_amount is 'What rekon gave back and saw confirmed, rupiah.';
comment on column rekon.bi_transactions.refunded_outside is 'What went back by another way, rupiah.';
comment on column rekon.bi_transactions.kept_amount is 'paid_amount less both refunds, rupiah; 0 where nothing was paid.';
comment on column rekon.bi_transactions.is_exception is 'It waits for a person: held or review.';
comment on column rekon.bi_transactions.created_at is 'When it was expected from.';
comment on column rekon.bi_transactions.created_day is 'The same as a business day, WIB.';
comment on column rekon.bi_transactions.expires_at is 'End of its validity, where the merchant named one.';
comment on column rekon.bi_transactions.paid_at is 'When it was paid, by the provider''s word.';
comment on column rekon.bi_transactions.paid_day is 'The same as a business day, WIB.';
comment on column rekon.bi_transactions.checks is 'Queries sent about it.';
comment on column rekon.bi_transactions.last_checked_at is 'When the provider last answered about it.';

create view rekon.bi_days as
  select day, account, direction, sum(expected_rows)::bigint as expected_rows, sum(expected_amount) as expected_amount,
         sum(open_rows)::bigint as open_rows, sum(exception_rows)::bigint as exception_rows,
         sum(paid_rows)::bigint as paid_rows, sum(paid_amount) as paid_amount, sum(fee_amount) as fee_amount,
         sum(returned_amount) as returned_amount
    from (select created_day as day, account, direction, 1 as expected_rows, amount as expected_amount,
                 (state in ('pending', 'held', 'refunding', 'review'))::integer as open_rows, is_exception::integer as exception_rows,
                 0 as paid_rows, 0::numeric as paid_amount, 0::numeric as fee_amount, 0::numeric as returned_amount
            from rekon.bi_transactions
          union all
          select paid_day, account, direction, 0, 0, 0, 0, 1, paid_amount, coalesce(fee_amount, 0), refunded_amount + refunded_outside
            from rekon.bi_transactions where paid_day is not null and paid_amount is not null) as counted
   group by day, account, direction;
comment on view rekon.bi_days is 'Totals by business day (WIB), account and direction. A payment is expected on the day it was created and paid on the day it was paid.';
comment on column rekon.bi_days.day is 'Business day, WIB.';
comment on column rekon.bi_days.account is 'A name under [accounts] in jobs.toml.';
comment on column rekon.bi_days.direction is 'in: customers pay. out: payouts.';
comment on column rekon.bi_days.expected_rows is 'Payments created on the day.';
comment on column rekon.bi_days.expected_amount is 'Their expected amounts, rupiah.';
comment on column rekon.bi_days.open_rows is 'Of those, how many are not at rest now.';
comment on column rekon.bi_days.exception_rows is 'Of those, how many wait for a person now.';
comment on column rekon.bi_days.paid_rows is 'Payments paid on the day, whenever created.';
comment on column rekon.bi_days.paid_amount is 'What came in with them, gross, rupiah.';
comment on column rekon.bi_days.fee_amount is 'The fees on them that the provider named, rupiah.';
comment on column rekon.bi_days.returned_amount is 'What has gone back of them since, by whatever way, rupiah.';

do $$
declare
  wanted text;
begin
  foreach wanted in array array['rekon_reader'] loop
    begin
      if not exists (select 1 from pg_roles where rolname = wanted) then
        execute format('create role %I nologin', wanted);
      end if;
    exception
      when duplicate_object or unique_violation then null;
      when insufficient_privilege then
        raise notice 'role % is left out: an administrator may create it, then run rekon migrate again', wanted;
    end;
  end loop;
end $$;

-- As before, with the messages for rekon_app, and the views for rekon_reader.
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
    'rekon.webhooks';
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

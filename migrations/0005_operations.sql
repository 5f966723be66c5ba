-- How replicas share an account: the call budget, the breaker, the runs. Every time here is database time.

create sequence rekon.instances;
comment on sequence rekon.instances is 'A number per process start; part of every X-EXTERNAL-ID, so that replicas never collide.';

create table rekon.call_budgets (
  account text not null,
  class   text not null constraint call_budgets_class_is_known check (class in ('all', 'due', 'adhoc', 'cashier', 'refund')),
  tat     timestamptz not null,
  primary key (account, class)
) with (fillfactor = 50);
comment on table rekon.call_budgets is 'GCRA: tat is the time of the next free slot. Class all holds the hard limit, the others a reserved share each.';

-- Leases call slots to one process. p_spacing_us: microseconds between slots; p_burst: slots that may go at once;
-- p_share_permille: the class's reserved share. A class gets its reserve within p_far_us of now, and whatever is idle
-- (lent) within p_near_us. Slot i is good from now + first_us + i * spacing on, for a short time only: unused ones expire.
create function rekon.take_slots(p_account text, p_class text, p_want integer, p_spacing_us bigint, p_burst integer,
                                 p_share_permille integer, p_near_us bigint, p_far_us bigint,
                                 out granted integer, out first_us bigint, out retry_us bigint)
language plpgsql as $$
declare
  at_us       bigint;
  all_us      bigint;
  class_us    bigint;
  class_space bigint := p_spacing_us * 1000 / greatest(p_share_permille, 1);
  reserved    bigint;
  lent        bigint;
begin
  insert into rekon.call_budgets (account, class, tat) values (p_account, 'all', '-infinity'), (p_account, p_class, '-infinity')
    on conflict do nothing;
  perform 1 from rekon.call_budgets where account = p_account and class = 'all' for update;
  at_us := floor(extract(epoch from clock_timestamp()) * 1000000);
  select case when tat = '-infinity' then 0 else floor(extract(epoch from tat) * 1000000) end into all_us
    from rekon.call_budgets where account = p_account and class = 'all';
  select case when tat = '-infinity' then 0 else floor(extract(epoch from tat) * 1000000) end into class_us
    from rekon.call_budgets where account = p_account and class = p_class for update;
  all_us := greatest(all_us, at_us - (p_burst - 1) * p_spacing_us);
  class_us := greatest(class_us, at_us - greatest(p_burst::bigint * p_share_permille / 1000 - 1, 0) * class_space);
  reserved := case when class_us > at_us then 0 else (at_us - class_us) / class_space + 1 end;
  reserved := greatest(least(p_want, reserved, (at_us + p_far_us - all_us) / p_spacing_us + 1), 0);
  if all_us > at_us + p_far_us then reserved := 0; end if;
  lent := case when all_us + reserved * p_spacing_us > at_us + p_near_us then 0
               else (at_us + p_near_us - all_us - reserved * p_spacing_us) / p_spacing_us + 1 end;
  granted := reserved + least(p_want - reserved, lent);
  first_us := all_us - at_us;
  retry_us := greatest(all_us + granted * p_spacing_us - at_us - p_near_us, 1000);
  if granted > 0 then
    update rekon.call_budgets set tat = to_timestamp((all_us + granted * p_spacing_us) / 1000000.0) where account = p_account and class = 'all';
    if reserved > 0 then
      update rekon.call_budgets set tat = to_timestamp((class_us + reserved * class_space) / 1000000.0) where account = p_account and class = p_class;
    end if;
  end if;
end $$;

create table rekon.breakers (
  account   text primary key,
  opened_at timestamptz,
  probe_at  timestamptz,
  probes    integer not null default 0,
  reason    text
);
comment on table rekon.breakers is 'One circuit breaker per account, shared by every replica. opened_at null: closed.';

create table rekon.outages (
  id       bigint generated always as identity primary key,
  account  text not null,
  from_at  timestamptz not null,
  until_at timestamptz
);
create index outages_by_account on rekon.outages (account, from_at);
comment on table rekon.outages is 'Times in which an account''s breaker was open: nothing aged.';

-- closed: go on. probe: one call may try. open: nobody asks.
create function rekon.weather(p_account text, p_probe_max_secs integer) returns text language plpgsql as $$
declare
  row rekon.breakers;
begin
  select * into row from rekon.breakers where account = p_account;
  if row.opened_at is null then return 'closed'; end if;
  if row.probe_at > clock_timestamp() then return 'open'; end if;
  update rekon.breakers
     set probes = probes + 1, probe_at = clock_timestamp() + make_interval(secs => least(power(2, least(probes, 12)), p_probe_max_secs))
   where account = p_account and opened_at is not null and probe_at <= clock_timestamp();
  return case when found then 'probe' else 'open' end;
end $$;

create table rekon.runs (
  id           bigint generated always as identity primary key,
  job          text not null,
  slot         text not null,
  params       jsonb not null default '{}',
  state        text not null default 'running' constraint runs_state_is_known check (state in ('queued', 'running', 'done', 'failed', 'incomplete')),
  requested_by text not null default 'schedule',
  started_at   timestamptz not null default clock_timestamp(),
  heartbeat_at timestamptz not null default clock_timestamp(),
  finished_at  timestamptz,
  report       jsonb,
  constraint runs_one_per_slot unique (job, slot)
);
comment on table rekon.runs is 'One activation of a job. Who inserts the slot runs it: no leader.';

create table rekon.run_items (
  run_id         bigint not null references rekon.runs on delete cascade,
  transaction_id bigint not null references rekon.transactions,
  must_ask       boolean not null,
  primary key (run_id, transaction_id)
);
comment on table rekon.run_items is 'The rows that a reconciliation selected; must_ask: to be asked at least once after its start.';

create table rekon.seals (
  day    date primary key,
  at     timestamptz not null default clock_timestamp(),
  chains bigint not null,
  head   bytea not null constraint seals_head_is_sha256 check (length(head) = 32)
);
comment on table rekon.seals is 'One hash a day over the heads of all chains, so that a rewritten chain is found even if it was rewritten whole.';
create trigger seals_stay before update or delete on rekon.seals for each row execute function rekon.refuse('a seal is append-only');

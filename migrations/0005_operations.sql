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
-- retry_us: when asking again can help. first_us is negative for slots that have been free for a while.
--
-- One lock, on the class 'all', orders every caller, whatever its class. Slots of a class's reserve are bounded by the
-- class's own rate, so with p_far_us >= p_near_us + (p_burst + 4) * p_spacing_us no other class can take them away.
create function rekon.take_slots(p_account text, p_class text, p_want integer, p_spacing_us bigint, p_burst integer,
                                 p_share_permille integer, p_near_us bigint, p_far_us bigint,
                                 out granted integer, out first_us bigint, out retry_us bigint)
language plpgsql as $$
declare
  class_space bigint := p_spacing_us * 1000 / greatest(p_share_permille, 1);
  now_us      bigint;
  all_us      bigint;
  class_us    bigint;
  reserved    bigint;
  lent        bigint;
begin
  if p_class = 'all' or p_want < 0 or p_spacing_us < 1 or p_burst < 1 or p_share_permille not between 0 and 1000 then
    raise exception 'take_slots: class %, want %, spacing % us, burst %, share % permille', p_class, p_want, p_spacing_us, p_burst, p_share_permille
      using errcode = 'invalid_parameter_value';
  end if;
  insert into rekon.call_budgets (account, class, tat) values (p_account, 'all', '-infinity'), (p_account, p_class, '-infinity')
    on conflict do nothing;
  perform 1 from rekon.call_budgets where account = p_account and class = 'all' for update;
  -- Read after the lock and not before: who waited for it must see what the holder took, and a clock not older than his.
  select coalesce(max(floor(extract(epoch from tat) * 1000000)) filter (where class = 'all' and isfinite(tat)), 0),
         coalesce(max(floor(extract(epoch from tat) * 1000000)) filter (where class = p_class and isfinite(tat)), 0)
    into all_us, class_us from rekon.call_budgets where account = p_account and class in ('all', p_class);
  now_us := floor(extract(epoch from clock_timestamp()) * 1000000);
  all_us := greatest(all_us, now_us - (p_burst - 1) * p_spacing_us);
  class_us := greatest(class_us, now_us - greatest(p_burst::bigint * p_share_permille / 1000 - 1, 0) * class_space);
  reserved := case when p_share_permille = 0 or class_us > now_us or all_us > now_us + p_far_us then 0
                   else least(p_want, (now_us - class_us) / class_space + 1, (now_us + p_far_us - all_us) / p_spacing_us + 1) end;
  lent := case when all_us + reserved * p_spacing_us > now_us + p_near_us then 0
               else (now_us + p_near_us - all_us) / p_spacing_us + 1 - reserved end;
  granted := reserved + least(p_want - reserved, lent);
  first_us := all_us - now_us;
  all_us := all_us + granted * p_spacing_us;
  class_us := class_us + reserved * class_space;
  retry_us := all_us - now_us - p_near_us;
  if p_share_permille > 0 then
    retry_us := least(retry_us, greatest(class_us - now_us, all_us - now_us - p_far_us));
  end if;
  retry_us := greatest(retry_us, 1000);
  if granted > 0 then
    update rekon.call_budgets
       set tat = 'epoch'::timestamptz + (case class when 'all' then all_us else class_us end) * interval '1 microsecond'
     where account = p_account and (class = 'all' or class = p_class and reserved > 0);
  end if;
end $$;

create table rekon.breakers (
  account   text primary key,
  opened_at timestamptz,
  probe_at  timestamptz,
  probes    integer not null default 0,
  reason    text,
  constraint breakers_open_have_a_probe check (opened_at is null or probe_at is not null)
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

-- closed: go on. probe: one call may try, and who asks next waits twice as long as it did. open: nobody asks.
-- Whoever opens a breaker sets probe_at one second ahead and probes to 0; the pauses are then 1 s, 2 s, 4 s, ... p_probe_max_secs.
create function rekon.weather(p_account text, p_probe_max_secs integer) returns text language plpgsql as $$
declare
  breaker rekon.breakers;
begin
  select * into breaker from rekon.breakers where account = p_account;
  if breaker.opened_at is null then return 'closed'; end if;
  if breaker.probe_at > clock_timestamp() then return 'open'; end if;
  update rekon.breakers
     set probes = probes + 1, probe_at = clock_timestamp() + make_interval(secs => least(power(2, least(probes + 1, 12)), p_probe_max_secs))
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
create trigger seals_stay_all before truncate on rekon.seals execute function rekon.refuse('a seal is append-only');

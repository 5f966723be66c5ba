-- A person pauses an account; and two roles that hold the least their owners need: the daemon's cannot change what was said, the
-- merchant's can say what he expects and read what became of it.
set local lock_timeout = '2s';

create table rekon.pauses (
  id      bigint generated always as identity primary key,
  account text not null,
  paused  boolean not null,
  made_by text not null references rekon.people,
  reason  text not null constraint pauses_say_why check (reason ~ '\S'),
  at      timestamptz not null default clock_timestamp()
);
create index pauses_in_force on rekon.pauses (account, id desc);
comment on table rekon.pauses is 'Accounts that people paused and resumed, append-only: the last row of an account holds. Nobody asks a paused account and nothing of it ages.';

create function rekon.is_paused(p_account text) returns boolean language sql stable as $$
  select coalesce((select paused from rekon.pauses where account = p_account order by id desc limit 1), false)
$$;

-- The outage of a pause is its own: a breaker that closes does not end it.
alter table rekon.outages add column pause_id bigint references rekon.pauses;
comment on column rekon.outages.pause_id is 'The pause that it is; null: the breaker was open.';

create function rekon.pauses_turn() returns trigger language plpgsql as $$
begin
  perform pg_advisory_xact_lock(7236016, 3);
  if not rekon.has_role(new.made_by, 'operator', 'maker', 'checker', 'admin') then
    raise exception '% may not pause an account', new.made_by using errcode = 'restrict_violation', constraint = 'pauses_by_people';
  end if;
  if new.paused = rekon.is_paused(new.account) then
    raise exception 'account % is % already', new.account, case when new.paused then 'paused' else 'at work' end
      using errcode = 'restrict_violation', constraint = 'pauses_change_something';
  end if;
  new.at := clock_timestamp();
  return new;
end $$;
create trigger pauses_turn before insert on rekon.pauses for each row execute function rekon.pauses_turn();

create function rekon.pauses_take_effect() returns trigger language plpgsql as $$
begin
  if new.paused then
    insert into rekon.outages (account, from_at, pause_id) values (new.account, new.at, new.id);
    -- Slots that were leased before are void.
    perform pg_notify('rekon_slow', new.account);
  else
    update rekon.outages set until_at = new.at where account = new.account and pause_id is not null and until_at is null;
    perform pg_notify('rekon_wake', new.account);
  end if;
  return null;
end $$;
create trigger pauses_take_effect after insert on rekon.pauses for each row execute function rekon.pauses_take_effect();
create trigger pauses_stay before update or delete on rekon.pauses for each row execute function rekon.refuse('it is append-only');
create trigger pauses_stay_all before truncate on rekon.pauses execute function rekon.refuse('it is append-only');

-- As before, and a paused account gets no slot, whoever asks and for whatever: every call of every replica takes one.
create or replace function rekon.take_slots(p_account text, p_class text, p_want integer, p_spacing_us bigint, p_burst integer,
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
  if rekon.is_paused(p_account) then
    granted := 0;
    first_us := 0;
    retry_us := 1000000;
    return;
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

-- As before, and open while the account is paused: nobody probes either.
create or replace function rekon.weather(p_account text, p_probe_max_secs integer, p_probe_secs integer default 0) returns text language plpgsql as $$
declare
  breaker rekon.breakers;
begin
  if rekon.is_paused(p_account) then return 'open'; end if;
  select * into breaker from rekon.breakers where account = p_account;
  if breaker.opened_at is null then return 'closed'; end if;
  if breaker.probe_at > clock_timestamp() or breaker.probing_until > clock_timestamp() then return 'open'; end if;
  update rekon.breakers
     set probes = probes + 1, probe_at = clock_timestamp() + make_interval(secs => least(power(2, least(probes + 1, 12)), p_probe_max_secs)),
         probing_until = clock_timestamp() + make_interval(secs => p_probe_secs)
   where account = p_account and opened_at is not null and probe_at <= clock_timestamp()
     and coalesce(probing_until <= clock_timestamp(), true);
  return case when found then 'probe' else 'open' end;
end $$;

-- What triggers write on somebody's behalf, they write as the owner: neither role can write these logs itself.
alter function rekon.transactions_changed() security definer set search_path = pg_catalog, pg_temp;
alter function rekon.people_remembered() security definer set search_path = pg_catalog, pg_temp;

-- To lock a table takes the right to change it, and a snapshot must not be older than the lock, so no function can take it.
create table rekon.seal_turn ();
comment on table rekon.seal_turn is 'Never has a row: sealers lock it and go one after another, so that nobody needs a right to change rekon.seals.';

-- Roles belong to the whole server: another database may have made them already, and a managed server may not let us.
do $$
declare
  wanted text;
begin
  foreach wanted in array array['rekon_app', 'rekon_merchant'] loop
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

-- Grants what each role may; every `rekon migrate` calls it last, so that tables of later releases are granted with them.
-- What is only ever added to is granted without update and delete: no bug of the daemon's and nobody with its password rewrites it.
create function rekon.grant_roles() returns void language plpgsql as $$
declare
  added_to constant text := 'rekon.facts, rekon.journal, rekon.postings, rekon.seals, rekon.sealed, rekon.terms, '
    'rekon.switches, rekon.rearms, rekon.resolutions, rekon.assignments, rekon.pauses';
  changed constant text := 'rekon.transactions, rekon.sightings, rekon.refund_saga, rekon.refund_attempts, rekon.refund_budgets, rekon.account_controls, '
    'rekon.call_budgets, rekon.breakers, rekon.outages, rekon.notification_limits, rekon.provider_tokens, rekon.qr_cancels, '
    'rekon.people, rekon.tokens';
  pruned constant text := 'rekon.raw_answers, rekon.runs, rekon.run_items, rekon.notifications, rekon.drift, rekon.pulled, rekon.violations, rekon.idempotency_keys';
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
end $$;
comment on function rekon.grant_roles() is 'Grants rekon_app and rekon_merchant, where they exist, what each may.';
select rekon.grant_roles();

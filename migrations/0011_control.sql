-- What people decide: the kill switch, the re-arming of a refund breaker, resolutions of single rows, who looks after which.
-- Whatever lets money move takes two people. The first one's row is the request, the second one's row names it in confirms:
-- nothing is ever updated, and the database itself sees that they are two.
set local lock_timeout = '2s';

create function rekon.rung(p_level text) returns integer language sql immutable strict parallel safe as $$
  select array_position(array['observe', 'post', 'propose', 'auto'], p_level)
$$;

create table rekon.switches (
  id        bigint generated always as identity primary key,
  account   text not null,
  level     text not null constraint switches_level_is_known check (level in ('observe', 'post', 'propose', 'auto')),
  made_by   text not null references rekon.people,
  confirms  bigint references rekon.switches,
  effective boolean not null default false,
  reason    text not null constraint switches_say_why check (reason ~ '\S'),
  at        timestamptz not null default clock_timestamp()
);
comment on table rekon.switches is 'The kill switch, append-only: the last effective row of an account holds, and the last one of * for every account.';
comment on column rekon.switches.level is 'observe: answers, states and flags, no postings. post: the ledger too, no refunds. propose: refunds by two people. auto: as configured.';
comment on column rekon.switches.confirms is 'The request of somebody else that this row confirms; raising takes both.';
comment on column rekon.switches.effective is 'Set by the database: lowering is at once, raising when confirmed.';
create index switches_in_force on rekon.switches (account, id desc) where effective;

create function rekon.switches_turn() returns trigger language plpgsql as $$
declare
  held  text;
  asked rekon.switches;
begin
  -- Whoever is about to let a refund leave holds this lock shared (rekon.ceiling_held): a lowered switch is seen or waited for.
  perform pg_advisory_xact_lock(7236016, 2);
  if not rekon.has_role(new.made_by, 'operator', 'maker', 'checker', 'admin') then
    raise exception '% may not turn a switch', new.made_by using errcode = 'restrict_violation', constraint = 'switches_turned_by_people';
  end if;
  new.at := clock_timestamp();
  held := coalesce((select level from rekon.switches where account = new.account and effective order by id desc limit 1), 'auto');
  if new.level = held then
    raise exception 'the switch of % is at % already', new.account, held using errcode = 'restrict_violation', constraint = 'switches_change_something';
  end if;
  new.effective := coalesce(rekon.rung(new.level) < rekon.rung(held), false);
  if new.confirms is not null then
    select * into asked from rekon.switches where id = new.confirms;
    if (asked.account, asked.level, asked.effective) is distinct from (new.account, new.level, false) or asked.made_by = new.made_by
       or asked.at < new.at - interval '1 hour' or not rekon.has_role(new.made_by, 'checker', 'admin')
       or exists (select 1 from rekon.switches where account = new.account and effective and id > asked.id) then
      raise exception 'raising a switch takes a request of the last hour and another person, a checker or admin, who confirms it'
        using errcode = 'restrict_violation', constraint = 'switches_raised_by_two';
    end if;
    new.effective := true;
  end if;
  return new;
end $$;
create trigger switches_turn before insert on rekon.switches for each row execute function rekon.switches_turn();
create trigger switches_stay before update or delete on rekon.switches for each row execute function rekon.refuse('it is append-only');
create trigger switches_stay_all before truncate on rekon.switches execute function rekon.refuse('it is append-only');

-- The refund breaker: it opens by itself and lowers the account to propose. refunds_stopped is harder: nothing new leaves at all.
alter table rekon.account_controls add column breaker_opened_at timestamptz;
alter table rekon.account_controls add column breaker_reason text;
alter table rekon.account_controls add constraint account_controls_breaker_says_why check ((breaker_opened_at is null) = (breaker_reason is null));
comment on column rekon.account_controls.refunds_stopped is 'Why no refund leaves, also none that people approved: an answer or a proof contradicted how refunds work.';
comment on column rekon.account_controls.breaker_opened_at is 'Since when a limit of [refunds.breaker] is passed: refunds leave only by two people until two people re-arm it.';

create table rekon.rearms (
  id       bigint generated always as identity primary key,
  account  text not null references rekon.account_controls,
  made_by  text not null references rekon.people,
  confirms bigint references rekon.rearms,
  reason   text not null constraint rearms_say_why check (reason ~ '\S'),
  at       timestamptz not null default clock_timestamp(),
  constraint rearms_confirmed_once unique (confirms)
);
comment on table rekon.rearms is 'Requests to let refunds of an account leave again, and their confirmations by somebody else. Append-only.';

create function rekon.rearms_need_two() returns trigger language plpgsql as $$
declare
  asked   rekon.rearms;
  control rekon.account_controls;
begin
  select * into control from rekon.account_controls where account = new.account for update;
  new.at := clock_timestamp();
  if control.refunds_stopped is null and control.breaker_opened_at is null then
    raise exception 'refunds of % are not stopped', new.account using errcode = 'restrict_violation', constraint = 'rearms_of_what_is_open';
  end if;
  if not rekon.has_role(new.made_by, 'checker', 'admin') then
    raise exception '% may not re-arm: that takes a checker or admin', new.made_by using errcode = 'restrict_violation', constraint = 'rearms_by_people';
  end if;
  if new.confirms is not null then
    select * into asked from rekon.rearms where id = new.confirms;
    if asked.account is distinct from new.account or asked.confirms is not null or asked.made_by = new.made_by or asked.at < new.at - interval '1 hour'
       or greatest(control.stopped_at, control.breaker_opened_at) > asked.at then
      raise exception 're-arming takes a request of the last hour, made since the breaker opened, and another person who confirms it'
        using errcode = 'restrict_violation', constraint = 'rearms_by_two';
    end if;
  end if;
  return new;
end $$;
create trigger rearms_need_two before insert on rekon.rearms for each row execute function rekon.rearms_need_two();

create function rekon.rearms_close() returns trigger language plpgsql as $$
begin
  update rekon.account_controls set refunds_stopped = null, stopped_at = null, breaker_opened_at = null, breaker_reason = null
   where account = new.account;
  return null;
end $$;
create trigger rearms_close after insert on rekon.rearms for each row when (new.confirms is not null) execute function rekon.rearms_close();
create trigger rearms_stay before update or delete on rekon.rearms for each row execute function rekon.refuse('it is append-only');
create trigger rearms_stay_all before truncate on rekon.rearms execute function rekon.refuse('it is append-only');

create function rekon.account_controls_rearmed() returns trigger language plpgsql as $$
begin
  if not exists (select 1 from rekon.rearms where account = old.account and confirms is not null
                   and at >= coalesce(greatest(old.stopped_at, old.breaker_opened_at), '-infinity')) then
    raise exception 'two people re-arm the refunds of %: rekon refunds rearm', old.account
      using errcode = 'restrict_violation', constraint = 'account_controls_rearmed_by_two';
  end if;
  return new;
end $$;
create trigger account_controls_rearmed before update on rekon.account_controls for each row
  when (old.refunds_stopped is not null and new.refunds_stopped is null or old.breaker_opened_at is not null and new.breaker_opened_at is null)
  execute function rekon.account_controls_rearmed();

-- The highest rung that an account's switch, everybody's switch and its refund breaker allow together.
create function rekon.ceiling(p_account text) returns text language sql stable as $$
  select (array['observe', 'post', 'propose', 'auto'])[least(
    coalesce((select rekon.rung(level) from rekon.switches where account = p_account and effective order by id desc limit 1), 4),
    coalesce((select rekon.rung(level) from rekon.switches where account = '*' and effective order by id desc limit 1), 4),
    case when exists (select 1 from rekon.account_controls where account = p_account and breaker_opened_at is not null) then 3 else 4 end)]
$$;

-- The same for somebody who is about to let money leave: nobody turns a switch until his transaction is over.
create function rekon.ceiling_held(p_account text) returns text language plpgsql as $$
begin
  perform pg_advisory_xact_lock_shared(7236016, 2);
  return rekon.ceiling(p_account);
end $$;

create function rekon.needs_two(p_kind text) returns boolean language sql immutable strict parallel safe as $$
  select p_kind in ('accept_as_paid', 'close_as_is', 'refund_done', 'refund_not_done', 'outside_refund', 'undispute')
$$;

create table rekon.resolutions (
  id             bigint generated always as identity primary key,
  transaction_id bigint not null references rekon.transactions,
  seq            integer,
  at             timestamptz not null default clock_timestamp(),
  kind           text not null constraint resolutions_kind_is_known check
                   (kind in ('accept_as_paid', 'close_as_is', 'return', 'keep_in_suspense', 'refund_done', 'refund_not_done', 'outside_refund',
                             'ask_again', 'dispute', 'undispute')),
  flag           text,
  refund_id      bigint references rekon.refund_saga,
  amount         numeric(18, 2) constraint resolutions_amount_is_positive check (amount > 0 and amount <> 'NaN'),
  content_hash   text not null,
  reason         text not null constraint resolutions_say_why check (reason ~ '\S'),
  made_by        text not null references rekon.people,
  confirms       bigint references rekon.resolutions,
  constraint resolutions_in_sequence unique (transaction_id, seq),
  constraint resolutions_confirmed_once unique (confirms),
  constraint resolutions_name_what_they_are_about check
    ((flag is not null) = (kind in ('accept_as_paid', 'close_as_is', 'return', 'keep_in_suspense', 'outside_refund'))
     and (refund_id is not null) = (kind in ('refund_done', 'refund_not_done')) and (amount is not null) = (kind = 'outside_refund'))
);
comment on table rekon.resolutions is 'What people decided about a row, in the sequence of its facts and order changes; or what one person asked another to confirm. Append-only.';
comment on column rekon.resolutions.seq is 'Given by the database under the row''s lock when it takes effect; null: a request, which waits for somebody else.';
comment on column rekon.resolutions.content_hash is 'What was known of the payment when it was made; a confirmation stands on the same.';
comment on column rekon.resolutions.confirms is 'The request of somebody else that this row confirms.';
create index resolutions_by_row on rekon.resolutions (transaction_id);

create function rekon.resolutions_made() returns trigger language plpgsql as $$
declare
  asked rekon.resolutions;
begin
  new.at := clock_timestamp();
  new.seq := null;
  if rekon.needs_two(new.kind) then
    if not (rekon.has_role(new.made_by, 'checker') or new.confirms is null and rekon.has_role(new.made_by, 'maker')) then
      raise exception '% may not: a maker or checker asks, a checker confirms', new.made_by
        using errcode = 'restrict_violation', constraint = 'resolutions_by_people';
    end if;
    if new.confirms is null then
      return new;
    end if;
    select * into asked from rekon.resolutions where id = new.confirms;
    if (asked.transaction_id, asked.kind, asked.flag, asked.refund_id, asked.amount, asked.content_hash, asked.confirms)
       is distinct from (new.transaction_id, new.kind, new.flag, new.refund_id, new.amount, new.content_hash, null::bigint)
       or asked.made_by = new.made_by or asked.at < new.at - interval '1 day' then
      raise exception 'it takes the very same request, of the last day, by another person' using errcode = 'restrict_violation', constraint = 'resolutions_by_two';
    end if;
  elsif new.confirms is not null then
    raise exception '% takes one person', new.kind using errcode = 'restrict_violation', constraint = 'resolutions_by_one';
  elsif not rekon.has_role(new.made_by, variadic case when new.kind = 'return' then array['maker'] else array['operator', 'maker', 'checker'] end) then
    raise exception '% may not', new.made_by using errcode = 'restrict_violation', constraint = 'resolutions_by_people';
  end if;
  update rekon.transactions set seq = seq + 1, next_check_at = clock_timestamp() where id = new.transaction_id returning seq into new.seq;
  return new;
end $$;
create trigger resolutions_made before insert on rekon.resolutions for each row execute function rekon.resolutions_made();
create trigger resolutions_stay before update or delete on rekon.resolutions for each row execute function rekon.refuse('it is append-only');
create trigger resolutions_stay_all before truncate on rekon.resolutions execute function rekon.refuse('it is append-only');

create table rekon.assignments (
  id             bigint generated always as identity primary key,
  transaction_id bigint not null references rekon.transactions,
  assignee       text references rekon.people,
  made_by        text not null references rekon.people,
  note           text,
  at             timestamptz not null default clock_timestamp()
);
comment on table rekon.assignments is 'Who looks after a row: the last one of a row holds. It decides nothing.';
comment on column rekon.assignments.assignee is 'null: nobody any more.';
create index assignments_by_row on rekon.assignments (transaction_id, id desc);
create function rekon.assignments_made() returns trigger language plpgsql as $$
begin
  if not rekon.has_role(new.made_by, 'operator', 'maker', 'checker')
     or new.assignee is not null and not rekon.has_role(new.assignee, 'operator', 'maker', 'checker') then
    raise exception 'a row is given by and to active operators, makers and checkers' using errcode = 'restrict_violation', constraint = 'assignments_among_workers';
  end if;
  return new;
end $$;
create trigger assignments_made before insert on rekon.assignments for each row execute function rekon.assignments_made();
create trigger assignments_stay before update or delete on rekon.assignments for each row execute function rekon.refuse('it is append-only');
create trigger assignments_stay_all before truncate on rekon.assignments execute function rekon.refuse('it is append-only');

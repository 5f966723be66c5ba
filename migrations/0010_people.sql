-- Who acts, by which token, and the four eyes on money that leaves. A name is the identity: it is never changed, never given
-- to somebody else and never deleted, because proposals, approvals and the journal name people by it.
set local lock_timeout = '2s';

create table rekon.people (
  name       text primary key constraint people_name_is_plain check (name ~ '^[a-z][a-z0-9._-]{1,31}$' and name not in ('policy', 'rekon', 'schedule')),
  kind       text not null default 'person' constraint people_kind_is_known check (kind in ('person', 'service')),
  roles      text[] not null constraint people_roles_are_known check
               (roles <@ array['viewer', 'operator', 'maker', 'checker', 'admin'] and cardinality(roles) > 0),
  active     boolean not null default true,
  changed_by text not null,
  changed_at timestamptz not null default clock_timestamp(),
  created_at timestamptz not null default clock_timestamp(),
  constraint people_services_never_approve check (kind = 'person' or not roles && array['checker', 'admin'])
);
comment on table rekon.people is 'Who may act. Disabled, never deleted.';
comment on column rekon.people.kind is 'person, or service: a program with a token of its own, which never approves and never administers.';
comment on column rekon.people.roles is 'viewer reads, operator works the queue and lowers switches, maker proposes refunds and resolutions, checker approves what others proposed, admin keeps people and tokens.';
comment on column rekon.people.changed_by is 'The admin who made the last change; the first person of all stands here himself.';

create table rekon.people_history (
  id         bigint generated always as identity primary key,
  name       text not null references rekon.people,
  roles      text[] not null,
  active     boolean not null,
  changed_by text not null,
  at         timestamptz not null default clock_timestamp()
);
comment on table rekon.people_history is 'Every state a person was ever in, written by the database itself: who could approve at a moment is known for ever.';

-- Is this person active now, with one of these roles? The row is held, so that nobody is disabled in between.
create function rekon.has_role(p_name text, variadic p_roles text[]) returns boolean language plpgsql as $$
begin
  perform 1 from rekon.people where name = p_name and active and roles && p_roles for share;
  return found;
end $$;

create function rekon.people_changed() returns trigger language plpgsql as $$
begin
  perform pg_advisory_xact_lock(7236016, 1);
  if tg_op = 'UPDATE' and (new.name, new.kind, new.created_at) is distinct from (old.name, old.kind, old.created_at) then
    raise exception 'a name stays with whom it was given to' using errcode = 'restrict_violation', constraint = 'people_frozen';
  end if;
  if tg_op = 'INSERT' and not exists (select 1 from rekon.people) then
    if new.changed_by <> new.name or not 'admin' = any(new.roles) or not new.active then
      raise exception 'the first person is an admin and brings himself in' using errcode = 'restrict_violation', constraint = 'people_begin_with_an_admin';
    end if;
  -- Nobody changes himself, so the last admin stays by himself.
  elsif new.changed_by = new.name or not rekon.has_role(new.changed_by, 'admin') then
    raise exception '% may not change %: that takes another, active admin', new.changed_by, new.name
      using errcode = 'restrict_violation', constraint = 'people_changed_by_an_admin';
  end if;
  new.changed_at := clock_timestamp();
  return new;
end $$;
create trigger people_changed before insert or update on rekon.people for each row execute function rekon.people_changed();

create function rekon.people_remembered() returns trigger language plpgsql as $$
begin
  insert into rekon.people_history (name, roles, active, changed_by) values (new.name, new.roles, new.active, new.changed_by);
  return null;
end $$;
create trigger people_remembered after insert or update on rekon.people for each row execute function rekon.people_remembered();
create trigger people_stay before delete on rekon.people for each row execute function rekon.refuse('a person is disabled, not deleted');
create trigger people_stay_all before truncate on rekon.people execute function rekon.refuse('a person is disabled, not deleted');
create trigger people_history_stay before update or delete on rekon.people_history for each row execute function rekon.refuse('it is append-only');
create trigger people_history_stay_all before truncate on rekon.people_history execute function rekon.refuse('it is append-only');

create table rekon.tokens (
  id           bigint generated always as identity primary key,
  person       text not null references rekon.people,
  hash         bytea not null constraint tokens_hash_is_sha256 check (length(hash) = 32),
  label        text not null constraint tokens_have_a_label check (label ~ '\S' and length(label) <= 64),
  scopes       text[] not null constraint tokens_scopes_are_known check
                 (scopes <@ array['transactions:read', 'transactions:write', 'refunds:propose', 'refunds:approve', 'exceptions:write', 'runs:write',
                                  'days:sign', 'switches:write', 'admin'] and cardinality(scopes) > 0),
  created_by   text not null references rekon.people,
  created_at   timestamptz not null default clock_timestamp(),
  expires_at   timestamptz constraint tokens_expire_after_they_begin check (expires_at > created_at),
  last_used_at timestamptz,
  revoked_at   timestamptz,
  revoked_by   text references rekon.people,
  constraint tokens_are_unique unique (hash),
  constraint tokens_revoked_by_somebody check ((revoked_at is null) = (revoked_by is null))
);
comment on table rekon.tokens is 'What people and programs show instead of a name. The token itself is shown once and stored nowhere.';
comment on column rekon.tokens.hash is 'SHA-256 of the whole token.';
comment on column rekon.tokens.scopes is 'What the token allows; its person''s roles must allow it as well.';
comment on column rekon.tokens.last_used_at is 'To the minute.';
create index tokens_by_person on rekon.tokens (person);

create function rekon.tokens_born() returns trigger language plpgsql as $$
begin
  if not rekon.has_role(new.person, 'viewer', 'operator', 'maker', 'checker', 'admin') then
    raise exception '% is disabled' , new.person using errcode = 'restrict_violation', constraint = 'tokens_for_active_people';
  end if;
  if new.created_by <> new.person and not rekon.has_role(new.created_by, 'admin') then
    raise exception 'a token for somebody else is an admin''s to make' using errcode = 'restrict_violation', constraint = 'tokens_made_by_their_person';
  end if;
  return new;
end $$;
create trigger tokens_born before insert on rekon.tokens for each row execute function rekon.tokens_born();
create trigger tokens_frozen before update on rekon.tokens for each row
  when ((new.id, new.person, new.hash, new.label, new.scopes, new.created_by, new.created_at, new.expires_at)
        is distinct from (old.id, old.person, old.hash, old.label, old.scopes, old.created_by, old.created_at, old.expires_at)
        or old.revoked_at is not null and (new.revoked_at, new.revoked_by) is distinct from (old.revoked_at, old.revoked_by))
  execute function rekon.refuse('a token is used and revoked, nothing else');
create trigger tokens_stay before delete on rekon.tokens for each row execute function rekon.refuse('a token is revoked, not deleted');
create trigger tokens_stay_all before truncate on rekon.tokens execute function rekon.refuse('a token is revoked, not deleted');

-- Four eyes on a refund. That the two are not one person is a check of the table; that both are people with the right to it, at
-- that moment, is this.
alter table rekon.refund_saga add column denied_by text references rekon.people;
alter table rekon.refund_saga add column why text;
alter table rekon.refund_saga add constraint refunds_denied_by_somebody check ((state = 'denied') = (denied_by is not null));
alter table rekon.refund_saga add constraint refunds_people_say_why check (proposed_by = 'policy' or coalesce(why, '') ~ '\S');
comment on column rekon.refund_saga.denied_by is 'Who said no.';
comment on column rekon.refund_saga.why is 'What the proposing person said; null where the policy proposed it.';
comment on column rekon.refund_saga.proposed_by is 'policy, or a name in rekon.people.';
comment on column rekon.refund_saga.approved_by is 'policy, or a name in rekon.people that is not the proposer''s.';

create function rekon.refunds_people() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' and new.proposed_by <> 'policy' and not rekon.has_role(new.proposed_by, 'maker') then
    raise exception 'a refund is proposed by the policy or an active maker, not by %', new.proposed_by
      using errcode = 'restrict_violation', constraint = 'refunds_proposer_is_a_maker';
  end if;
  if new.approved_by <> 'policy' and (tg_op = 'INSERT' or new.approved_by is distinct from old.approved_by)
     and not rekon.has_role(new.approved_by, 'checker') then
    raise exception 'a refund is approved by an active checker, not by %', new.approved_by
      using errcode = 'restrict_violation', constraint = 'refunds_approver_is_a_checker';
  end if;
  if new.denied_by is not null and (tg_op = 'INSERT' or new.denied_by is distinct from old.denied_by)
     and not (rekon.has_role(new.denied_by, 'checker') or new.denied_by = new.proposed_by and rekon.has_role(new.denied_by, 'maker')) then
    raise exception 'a refund is denied by an active checker or by who proposed it, not by %', new.denied_by
      using errcode = 'restrict_violation', constraint = 'refunds_denier_may';
  end if;
  if tg_op = 'UPDATE' and (new.why is distinct from old.why or old.denied_by is not null and new.denied_by is distinct from old.denied_by) then
    raise exception 'what was said stays said' using errcode = 'restrict_violation', constraint = 'refunds_words_stay';
  end if;
  return new;
end $$;
create trigger refunds_people before insert or update of approved_by, denied_by, why on rekon.refund_saga
  for each row execute function rekon.refunds_people();

create or replace view rekon.refunds as
  select t.account, t.partner_reference_no, r.cause, r.amount, r.state, r.partner_refund_no, r.refund_no, r.proof, r.reason,
         r.proposed_by, r.approved_by, r.attempts, r.proposed_at, r.approved_at, r.reserved_at, r.last_sent_at, r.ended_at, r.id as refund_id,
         r.why, r.denied_by
    from rekon.refund_saga r join rekon.transactions t on t.id = r.transaction_id;

-- Proof: what is stored can be shown to be what was written, by whoever asks and long after. Every fact and order change carries
-- the hash of its own text, seals say which entry of which chain they cover and are chained to one another, the documents
-- that decisions name by hash are kept, and the sentinel remembers where it is and what it found.
set local lock_timeout = '2s';

-- The text of a row as it is hashed. Times are microseconds since 1970, because a timestamp's text depends on the session.
create function rekon.micros(at timestamptz) returns bigint language sql immutable strict parallel safe
  return (extract(epoch from at) * 1000000)::bigint;

create function rekon.fact_text(f rekon.facts) returns text language plpgsql immutable parallel safe as $$
begin
  return jsonb_build_array(f.transaction_id, f.seq, f.source, f.call_id, f.observation, f.echo, f.response_code, f.latest_transaction_status,
    f.amount, f.currency, f.fee_amount, f.payment_id, f.approval_code, rekon.micros(f.paid_time), f.paid_time_raw, to_jsonb(f.warnings), f.doubt,
    f.bad_weather, rekon.micros(f.sent_at), rekon.micros(f.answered_at), encode(f.raw_hash, 'hex'), f.profile_hash)::text;
end $$;

create function rekon.order_change_text(c rekon.order_changes) returns text language plpgsql immutable parallel safe as $$
begin
  return jsonb_build_array(c.transaction_id, c.seq, rekon.micros(c.at), c.status_from, c.status_to, c.detail)::text;
end $$;

create function rekon.facts_hashed() returns trigger language plpgsql as $$
begin
  new.hash := sha256(convert_to(rekon.fact_text(new), 'UTF8'));
  return new;
end $$;

create function rekon.order_changes_hashed() returns trigger language plpgsql as $$
begin
  new.hash := sha256(convert_to(rekon.order_change_text(new), 'UTF8'));
  return new;
end $$;

alter table rekon.facts add column hash bytea constraint facts_own_hash_is_sha256 check (length(hash) = 32);
alter table rekon.order_changes add column hash bytea constraint order_changes_hash_is_sha256 check (length(hash) = 32);
alter table rekon.facts disable trigger facts_stay;
alter table rekon.order_changes disable trigger order_changes_stay;
update rekon.facts f set hash = sha256(convert_to(rekon.fact_text(f), 'UTF8'));
update rekon.order_changes c set hash = sha256(convert_to(rekon.order_change_text(c), 'UTF8'));
alter table rekon.facts enable trigger facts_stay;
alter table rekon.order_changes enable trigger order_changes_stay;
alter table rekon.facts alter column hash set not null;
alter table rekon.order_changes alter column hash set not null;
-- rekon brings the hash along: made here row by row it would cost more than the rest of the insert. The sentinel and `verify` hold
-- it against the text.
create trigger facts_hashed before insert on rekon.facts for each row when (new.hash is null) execute function rekon.facts_hashed();
create trigger order_changes_hashed before insert on rekon.order_changes for each row execute function rekon.order_changes_hashed();
-- Also where other triggers are off: a row without its hash would only be refused.
alter table rekon.facts enable always trigger facts_hashed;
alter table rekon.order_changes enable always trigger order_changes_hashed;
comment on column rekon.facts.hash is 'SHA-256 over rekon.fact_text: also a fact that no decision used cannot change unseen.';
comment on column rekon.order_changes.hash is 'SHA-256 over rekon.order_change_text.';

-- As before, and what a changed column was: without it nobody can say later what a decision of that time had before it.
create or replace function rekon.transactions_changed() returns trigger language plpgsql as $$
begin
  if new.id <> old.id or new.account <> old.account or new.partner_reference_no <> old.partner_reference_no or new.direction <> old.direction
     or new.amount <> old.amount or new.currency <> old.currency or new.created_at <> old.created_at then
    raise exception 'account, partner_reference_no, direction, amount, currency and created_at are frozen: insert a new row'
      using errcode = 'restrict_violation', constraint = 'transactions_frozen';
  end if;
  if old.reference_no is not null and new.reference_no is distinct from old.reference_no
     or old.external_id is not null and new.external_id is distinct from old.external_id
     or old.qr_content is not null and new.qr_content is distinct from old.qr_content then
    raise exception 'reference_no, external_id and qr_content may be set once' using errcode = 'restrict_violation', constraint = 'transactions_set_once';
  end if;
  if old.expires_at is not null and (new.expires_at is null or new.expires_at < old.expires_at) then
    raise exception 'expires_at may only move later' using errcode = 'restrict_violation', constraint = 'transactions_expiry_only_later';
  end if;
  if new.order_status <> old.order_status
     and (old.order_status, new.order_status) not in (('open', 'fulfilled'), ('open', 'cancelled'), ('fulfilled', 'cancelled')) then
    raise exception 'order_status may go open -> fulfilled, open -> cancelled, fulfilled -> cancelled; not % -> %', old.order_status, new.order_status
      using errcode = 'restrict_violation', constraint = 'transactions_order_status_path';
  end if;
  if (new.reference_no, new.external_id, new.qr_content, new.expires_at, new.order_status)
     is distinct from (old.reference_no, old.external_id, old.qr_content, old.expires_at, old.order_status) then
    new.seq := old.seq + 1;
    new.next_check_at := clock_timestamp();
    insert into rekon.order_changes (transaction_id, seq, status_from, status_to, detail)
    values (old.id, new.seq, old.order_status, new.order_status,
            jsonb_build_object('reference_no', new.reference_no, 'external_id', new.external_id, 'qr_content', new.qr_content,
                               'expires_at', new.expires_at, 'was',
                               case when new.reference_no is distinct from old.reference_no then '{"reference_no": null}'::jsonb else '{}' end
                               || case when new.external_id is distinct from old.external_id then '{"external_id": null}'::jsonb else '{}' end
                               || case when new.qr_content is distinct from old.qr_content then '{"qr_content": null}'::jsonb else '{}' end
                               || case when new.expires_at is distinct from old.expires_at
                                       then jsonb_build_object('expires_at', rekon.micros(old.expires_at)) else '{}' end));
  end if;
  return new;
end $$;
comment on column rekon.order_changes.detail is 'The references and the validity after the change; under was, those that it changed as they were before (expires_at in microseconds since 1970).';

-- A replay of a day, and the sentinel's look at what is new, go by time over a table that grows in its order.
create index journal_by_time on rekon.journal using brin (at) with (pages_per_range = 32, autosummarize = on);

-- A seal that does not say what it covers cannot be made again later. None of the old kind can, so none is kept.
alter table rekon.seals disable trigger seals_stay;
delete from rekon.seals;
alter table rekon.seals enable trigger seals_stay;
alter table rekon.seals add column no integer not null constraint seals_count_from_one check (no > 0);
alter table rekon.seals add column prev_head bytea not null constraint seals_prev_head_is_sha256 check (length(prev_head) = 32);
alter table rekon.seals add constraint seals_one_after_another unique (no);
comment on table rekon.seals is 'One hash a day over every chain that has moved since the seal before, and over that seal: a chain rewritten or cut off whole is found.';
comment on column rekon.seals.no is 'The order in which they were made, from 1; a day that is caught up may come after a later one.';
comment on column rekon.seals.prev_head is 'head of the seal before; 32 zero bytes under the first.';
comment on column rekon.seals.chains is 'Chains that had moved: its rows in sealed.';

create table rekon.sealed (
  transaction_id bigint not null,
  entry_no       integer not null,
  seal_no        integer not null,
  hash           bytea not null constraint sealed_hash_is_sha256 check (length(hash) = 32),
  primary key (transaction_id, entry_no),
  foreign key (transaction_id, entry_no) references rekon.journal
);
comment on table rekon.sealed is 'The last entry of each chain that a seal covers, where it had moved since the seal before. Append-only.';
comment on column rekon.sealed.hash is 'The entry''s hash as it was sealed: names the chain that was changed since.';
create trigger sealed_stays before update or delete on rekon.sealed for each row execute function rekon.refuse('a seal is append-only');
create trigger sealed_stays_all before truncate on rekon.sealed execute function rekon.refuse('a seal is append-only');

create table rekon.terms (
  hash     text primary key,
  kind     text not null constraint terms_kind_is_known check (kind in ('policy', 'profile')),
  body     text not null,
  first_at timestamptz not null default clock_timestamp()
);
comment on table rekon.terms is 'The policies and profiles that journal entries name, by fingerprint: a day can be decided again under its own terms. Append-only.';
comment on column rekon.terms.hash is 'The first 16 hex digits of SHA-256 over body.';
comment on column rekon.terms.body is 'Canonical JSON; holds no secret.';
create trigger terms_stay before update or delete on rekon.terms for each row execute function rekon.refuse('decisions name it');
create trigger terms_stay_all before truncate on rekon.terms execute function rekon.refuse('decisions name it');

create table rekon.sentinel (
  is_only     boolean primary key default true constraint sentinel_is_one check (is_only),
  passes      bigint not null default 0,
  next_at     timestamptz not null default clock_timestamp(),
  passed_at   timestamptz,
  new_from    timestamptz not null default clock_timestamp(),
  behind_id   bigint not null default 0,
  rotated_at  timestamptz
);
insert into rekon.sentinel default values;
comment on table rekon.sentinel is 'Where the invariant sentinel is: one row, whichever replica makes the next pass.';
comment on column rekon.sentinel.new_from is 'Rows with a journal entry from this time on are looked at in the next pass.';
comment on column rekon.sentinel.behind_id is 'The slow look at every row goes on behind this id.';
comment on column rekon.sentinel.rotated_at is 'When that look last came to the end of the table.';

create table rekon.violations (
  invariant      text not null,
  account        text not null,
  transaction_id bigint not null default 0,
  what           text not null,
  first_at       timestamptz not null default clock_timestamp(),
  last_at        timestamptz not null default clock_timestamp(),
  primary key (invariant, account, transaction_id)
);
comment on table rekon.violations is 'What breaks a rule of money now, as the sentinel last saw it. Empty, or somebody is called and no refund leaves the account.';
comment on column rekon.violations.account is 'Its account; * where it concerns all of them.';
comment on column rekon.violations.transaction_id is 'The payment; 0 where it is about none.';

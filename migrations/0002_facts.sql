-- Facts: what was said, once, immutable. Their raw bodies stand apart, because only those may ever be pruned.

create table rekon.facts (
  transaction_id            bigint not null,
  seq                       integer not null,
  source                    text not null constraint facts_source_is_known check (source in ('query', 'notification')),
  call_id                   text collate "C" not null,
  observation               text not null constraint facts_observation_is_known check (observation in
                              ('PAID', 'OPEN', 'IN_FLIGHT', 'REVERSED', 'CANCELLED', 'EXPIRED', 'FAILED', 'ABSENT', 'INDETERMINATE')),
  echo                      text not null constraint facts_echo_is_known check (echo in ('right', 'silent', 'wrong')),
  response_code             text,
  latest_transaction_status text,
  amount                    numeric(18, 2) constraint facts_amount_is_a_number check (amount <> 'NaN'),
  currency                  text,
  fee_amount                numeric(18, 2) constraint facts_fee_is_a_number check (fee_amount <> 'NaN'),
  payment_id                text,
  approval_code             text,
  paid_time                 timestamptz,
  paid_time_raw             text,
  warnings                  text[] not null default '{}',
  doubt                     text,
  bad_weather               boolean not null default false,
  sent_at                   timestamptz not null,
  answered_at               timestamptz not null,
  raw_hash                  bytea,
  profile_hash              text not null,
  primary key (transaction_id, seq),
  constraint facts_once_per_call unique (transaction_id, call_id),
  constraint facts_paid_names_an_amount check (observation <> 'PAID' or amount is not null)
);
comment on table rekon.facts is 'One answer of one call. Append-only. Equal answers other than PAID and REVERSED are counted in sightings instead.';
comment on column rekon.facts.call_id is 'The X-EXTERNAL-ID of the call; a redelivery under the same one is a no-op.';
comment on column rekon.facts.payment_id is 'What tells two payments of one order apart, as the profile names it.';
comment on column rekon.facts.paid_time is 'paidTime parsed, where it parsed and the profile trusts it; paid_time_raw is the text.';
comment on column rekon.facts.doubt is 'Why it is INDETERMINATE.';
comment on column rekon.facts.bad_weather is 'The account''s breaker was not closed.';
comment on column rekon.facts.sent_at is 'Database time when the request left.';
comment on column rekon.facts.raw_hash is 'SHA-256 of the body in raw_answers.';

create table rekon.sightings (
  transaction_id bigint not null,
  seq            integer not null,
  n              integer not null constraint sightings_are_more_than_one check (n > 1),
  first_at       timestamptz not null,
  last_at        timestamptz not null,
  last_sent_at   timestamptz not null,
  primary key (transaction_id, seq),
  foreign key (transaction_id, seq) references rekon.facts
);
comment on table rekon.sightings is 'How often and until when the same answer was seen again. Mutable; decisions that used it copy it into their journal entry.';

create table rekon.raw_answers (
  hash     bytea primary key,
  body     bytea not null,
  first_at timestamptz not null default clock_timestamp()
);
comment on table rekon.raw_answers is 'Bodies as they came, secrets out. The only evidence that may be pruned or redacted; facts keep the hash.';

-- A key that is looked up for the whole statement: row by row the look-ups are a fifth of what it costs to settle a payment.
-- As strict as a foreign key, because a payment is never deleted and never changes its id. Index look-ups always, however empty
-- the tables were when the plan was made.
create function rekon.belongs_to_a_payment() returns trigger language plpgsql set enable_seqscan = off as $$
begin
  if exists (select 1 from added a where (select t.id from rekon.transactions t where t.id = a.transaction_id) is null) then
    raise exception 'rekon.% names a payment that does not exist', tg_table_name using errcode = 'foreign_key_violation', constraint = tg_name;
  end if;
  return null;
end $$;

create trigger facts_belong after insert on rekon.facts referencing new table as added
  for each statement execute function rekon.belongs_to_a_payment();
create trigger facts_stay before update or delete on rekon.facts for each row execute function rekon.refuse('a fact is append-only');
create trigger sightings_stay before delete on rekon.sightings for each row execute function rekon.refuse('decisions stand on it');
create trigger sightings_stay_all before truncate on rekon.sightings execute function rekon.refuse('decisions stand on it');
create trigger facts_stay_all before truncate on rekon.facts execute function rekon.refuse('a fact is append-only');

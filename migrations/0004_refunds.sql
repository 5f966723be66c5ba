-- The refund saga. What the database can refuse, it refuses: a second refund for a cause, a second one in flight, a
-- changed number, an approver who proposed it, more than the day's budget, a step that the saga does not know, a refund
-- that the row's own books do not show.

create table rekon.refund_saga (
  id                bigint generated always as identity primary key,
  transaction_id    bigint not null references rekon.transactions,
  cause             text not null,
  sequence          integer not null default 1 constraint refunds_count_from_one check (sequence > 0),
  amount            numeric(18, 2) not null constraint refunds_amount_is_positive check (amount > 0 and amount <> 'NaN'),
  state             text not null default 'proposed' constraint refunds_state_is_known check
                      (state in ('proposed', 'approved', 'reserved', 'sending', 'confirmed', 'refused', 'unknown', 'denied', 'expired')),
  proposed_by       text not null,
  approved_by       text,
  content_hash      text not null,
  partner_refund_no text constraint refunds_number_is_plain check (partner_refund_no ~ '^[A-Za-z0-9]{1,32}$'),
  request_body      text,
  attempts          integer not null default 0 constraint refunds_attempts_are_counted check (attempts >= 0),
  unanswered        boolean not null default false,
  last_sent_at      timestamptz,
  last_ended_at     timestamptz,
  refund_no         text,
  response_code     text,
  proof             text constraint refunds_proof_is_known check (proof in ('answer', 'query', 'repeat', 'person')),
  reason            text,
  blocked           boolean not null default false,
  resends           integer not null default 0 constraint refunds_resends_are_counted check (resends >= 0),
  needs_person      text constraint refunds_needs_person_is_known check (needs_person in ('refund_unknown', 'refund_amount_differs')),
  budget_day        date,
  proposed_at       timestamptz not null default clock_timestamp(),
  approved_at       timestamptz,
  reserved_at       timestamptz,
  ended_at          timestamptz,
  next_at           timestamptz default clock_timestamp(),
  lease_owner       text,
  lease_until       timestamptz,
  lease_epoch       bigint not null default 0,
  constraint refunds_approver_is_not_proposer check (approved_by is null or approved_by = 'policy' or approved_by <> proposed_by),
  constraint refunds_policy_approves_its_own check (approved_by is distinct from 'policy' or proposed_by = 'policy'),
  constraint refunds_approved_by_somebody check (state in ('proposed', 'denied', 'expired') or approved_by is not null),
  constraint refunds_proposed_is_not_approved check (state <> 'proposed' or approved_by is null),
  constraint refunds_sent_under_a_number check
    (state not in ('reserved', 'sending', 'unknown', 'confirmed', 'refused') or (partner_refund_no is not null and request_body is not null)),
  constraint refunds_confirmed_with_proof check ((state = 'confirmed') = (proof is not null)),
  constraint refunds_number_is_unique unique (partner_refund_no)
);
comment on table rekon.refund_saga is 'Money going back. proposed -> approved -> reserved -> sending -> confirmed | refused | unknown (+ denied, expired).';
comment on column rekon.refund_saga.sequence is 'A new one only after a definite refusal of the old number.';
comment on column rekon.refund_saga.content_hash is 'What the approval stands on; another content voids it.';
comment on column rekon.refund_saga.partner_refund_no is 'The idempotency handle at the provider; stored with request_body before the first call.';
comment on column rekon.refund_saga.unanswered is 'An attempt of this number never got a readable answer.';
comment on column rekon.refund_saga.blocked is 'It may not go now, and reason says why: a switch, a limit or the budget.';
comment on column rekon.refund_saga.resends is 'Times it truly went out again while its fate was unknown.';
comment on column rekon.refund_saga.proof is 'How the confirmation is known: answer, query, repeat or person.';

create unique index refunds_one_per_cause on rekon.refund_saga (transaction_id, cause) where state not in ('refused', 'denied', 'expired');
create unique index refunds_one_in_flight on rekon.refund_saga (transaction_id) where state in ('reserved', 'sending', 'unknown');
create index refunds_due on rekon.refund_saga (next_at) where next_at is not null;

create function rekon.refunds_born() returns trigger language plpgsql as $$
begin
  if new.state not in ('proposed', 'approved') or new.partner_refund_no is not null or new.request_body is not null or new.attempts <> 0
     or new.unanswered or new.refund_no is not null then
    raise exception 'a refund begins as proposed, or approved by the policy, without a number and unsent'
      using errcode = 'restrict_violation', constraint = 'refunds_born';
  end if;
  if exists (select 1 from rekon.transactions where id = new.transaction_id and direction = 'out') then
    raise exception 'a payout is never refunded' using errcode = 'restrict_violation', constraint = 'refunds_for_money_in';
  end if;
  return new;
end $$;

create trigger refunds_born before insert on rekon.refund_saga for each row execute function rekon.refunds_born();

create function rekon.refunds_step() returns trigger language plpgsql as $$
begin
  if (new.transaction_id, new.cause, new.amount, new.sequence, new.proposed_by)
     is distinct from (old.transaction_id, old.cause, old.amount, old.sequence, old.proposed_by) then
    raise exception 'a refund''s row, cause, amount, sequence and proposer are frozen' using errcode = 'restrict_violation', constraint = 'refunds_frozen';
  end if;
  if new.state <> old.state and (old.state, new.state) not in (
       ('proposed', 'approved'), ('proposed', 'denied'), ('proposed', 'expired'),
       ('approved', 'reserved'), ('approved', 'proposed'), ('approved', 'denied'), ('approved', 'expired'),
       ('reserved', 'sending'), ('reserved', 'proposed'), ('reserved', 'denied'), ('reserved', 'expired'),
       ('sending', 'confirmed'), ('sending', 'refused'), ('sending', 'unknown'), ('sending', 'reserved'),
       ('unknown', 'sending'), ('unknown', 'confirmed'), ('unknown', 'refused')) then
    raise exception 'a refund cannot go from % to %', old.state, new.state using errcode = 'restrict_violation', constraint = 'refunds_path';
  end if;
  if (new.content_hash <> old.content_hash or new.approved_by is distinct from old.approved_by)
     and old.state <> 'proposed' and new.state <> 'proposed' then
    raise exception 'an approval stands on its content: another one goes back to proposed' using errcode = 'restrict_violation', constraint = 'refunds_approval_stands';
  end if;
  if new.attempts < old.attempts or old.unanswered and not new.unanswered then
    raise exception 'attempts are never uncounted, and an unanswered one stays unanswered' using errcode = 'restrict_violation', constraint = 'refunds_memory';
  end if;
  if (old.attempts > 0 or old.state not in ('proposed', 'approved', 'reserved')) and (new.partner_refund_no, new.request_body) is distinct from (old.partner_refund_no, old.request_body) then
    raise exception 'a number that was sent keeps its bytes' using errcode = 'restrict_violation', constraint = 'refunds_number_is_frozen';
  end if;
  if new.unanswered and new.state in ('proposed', 'denied', 'expired') then
    raise exception 'a refund of unknown fate cannot be given up' using errcode = 'restrict_violation', constraint = 'refunds_unknown_stays';
  end if;
  return new;
end $$;

create trigger refunds_step
  before update of transaction_id, cause, amount, sequence, proposed_by, approved_by, content_hash, partner_refund_no, request_body, state, attempts,
    unanswered
  on rekon.refund_saga for each row execute function rekon.refunds_step();
create trigger refunds_stay before delete on rekon.refund_saga for each row execute function rekon.refuse('a refund is never deleted');
create trigger refunds_stay_all before truncate on rekon.refund_saga execute function rekon.refuse('a refund is never deleted');

-- The saga says what a refund is; the row says what it may still give. They are written together or not at all.
create function rekon.refunds_are_booked() returns trigger language plpgsql as $$
declare
  row_id bigint := to_jsonb(new) ->> tg_argv[0];
  booked record;
  owed   record;
begin
  select refund_reserved, refunded_amount into booked from rekon.transactions where id = row_id;
  select coalesce(sum(amount) filter (where state in ('reserved', 'sending', 'unknown')), 0) as reserved,
         coalesce(sum(amount) filter (where state = 'confirmed'), 0) as confirmed
    into owed from rekon.refund_saga where transaction_id = row_id;
  if (booked.refund_reserved, booked.refunded_amount) <> (owed.reserved, owed.confirmed) then
    raise exception 'row % has % reserved and % refunded, its refunds say % and %', row_id, booked.refund_reserved, booked.refunded_amount,
      owed.reserved, owed.confirmed using errcode = 'check_violation', constraint = 'refunds_are_booked';
  end if;
  return null;
end $$;

create constraint trigger refunds_are_booked after insert or update on rekon.refund_saga
  deferrable initially deferred for each row execute function rekon.refunds_are_booked('transaction_id');
create constraint trigger refunds_are_booked after update of refund_reserved, refunded_amount on rekon.transactions
  deferrable initially deferred for each row
  when (new.refund_reserved <> old.refund_reserved or new.refunded_amount <> old.refunded_amount)
  execute function rekon.refunds_are_booked('id');

create table rekon.refund_attempts (
  refund_id     bigint not null references rekon.refund_saga,
  attempt       integer not null,
  call_id       text not null,
  sent_at       timestamptz not null default clock_timestamp(),
  ended_at      timestamptz,
  outcome       text,
  response_code text,
  raw_hash      bytea,
  primary key (refund_id, attempt),
  constraint refund_attempts_count_from_one check (attempt > 0),
  constraint refund_attempts_end_whole check ((ended_at is null) = (outcome is null))
);
comment on table rekon.refund_attempts is 'One call of a refund. Written before it leaves, ended once.';

create trigger refund_attempts_end_once before update on rekon.refund_attempts for each row
  when (old.ended_at is not null or (new.refund_id, new.attempt, new.call_id, new.sent_at) is distinct from (old.refund_id, old.attempt, old.call_id, old.sent_at))
  execute function rekon.refuse('an attempt ends once');
create trigger refund_attempts_stay before delete on rekon.refund_attempts for each row execute function rekon.refuse('it is append-only');
create trigger refund_attempts_stay_all before truncate on rekon.refund_attempts execute function rekon.refuse('it is append-only');

create table rekon.refund_budgets (
  account  text not null,
  day      date not null,
  reserved numeric(18, 2) not null default 0,
  cap      numeric(18, 2) not null,
  primary key (account, day),
  constraint refund_budgets_hold check (reserved >= 0 and reserved <= cap and reserved <> 'NaN' and cap <> 'NaN')
);
comment on table rekon.refund_budgets is 'Rupiah reserved for refunds per account and WIB day. Locked and summed in the reserving transaction.';

create trigger refund_budgets_stay before delete on rekon.refund_budgets for each row execute function rekon.refuse('a day''s budget is spent once');
create trigger refund_budgets_stay_all before truncate on rekon.refund_budgets execute function rekon.refuse('a day''s budget is spent once');

create table rekon.account_controls (
  account          text primary key,
  refunds_stopped  text,
  stopped_at       timestamptz,
  partial_proven   boolean not null default false,
  partial_canary   bigint references rekon.refund_saga
);
comment on table rekon.account_controls is 'Switches of an account. refunds_stopped says why no refund leaves; partial_canary is the one partial refund that may go until its echo is proven.';

create trigger account_controls_stay before delete on rekon.account_controls for each row execute function rekon.refuse('a switch is turned, not removed');
create trigger account_controls_stay_all before truncate on rekon.account_controls execute function rekon.refuse('a switch is turned, not removed');

create view rekon.refunds as
  select t.account, t.partner_reference_no, r.cause, r.amount, r.state, r.partner_refund_no, r.refund_no, r.proof, r.reason,
         r.proposed_by, r.approved_by, r.attempts, r.proposed_at, r.approved_at, r.reserved_at, r.last_sent_at, r.ended_at, r.id as refund_id
    from rekon.refund_saga r join rekon.transactions t on t.id = r.transaction_id;
comment on view rekon.refunds is 'Refunds for readers.';

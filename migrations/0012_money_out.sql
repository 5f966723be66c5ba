-- Money out in all its ways: refunds that the provider puts off, transfers by hand where it has no way back, payments that
-- may belong to another order, and the end of a QR whose order was cancelled.
set local lock_timeout = '2s';

alter table rekon.refund_saga
  add column channel         text not null default 'api' constraint refunds_channel_is_known check (channel in ('api', 'manual')),
  add column window_ends_at  timestamptz,
  add column put_off_since   timestamptz,
  add column put_off_until   timestamptz,
  add column api_closed      boolean not null default false,
  add column candidate_id    bigint references rekon.transactions,
  add column candidate_why   text constraint refunds_candidate_is_explained check (candidate_why in ('same_payment', 'open_order', 'paid_nearby')),
  add column bank_reference  text constraint refunds_bank_reference_is_short check (length(bank_reference) between 1 and 64),
  add column transferred_by  text,
  add constraint refunds_put_off_whole check ((put_off_since is null) = (put_off_until is null)),
  add constraint refunds_candidate_is_whole check ((candidate_id is null) = (candidate_why is null) and candidate_id <> transaction_id),
  -- A rule may say that a transfer is owed. That one is made, two people say: one who agrees, another who did it.
  add constraint refunds_policy_approves_no_transfer check (channel = 'api' or approved_by is distinct from 'policy'),
  add constraint refunds_transfer_by_another check (transferred_by <> approved_by and transferred_by <> 'policy'),
  add constraint refunds_transfer_is_told check
    ((bank_reference is null) = (transferred_by is null) and (bank_reference is not null) = (channel = 'manual' and state = 'confirmed')),
  add constraint refunds_transfer_is_proved_by_a_person check (channel = 'api' or proof is null or proof = 'person'),
  add constraint refunds_transfer_makes_no_call check (channel = 'api' or (attempts = 0 and state <> 'unknown')),
  drop constraint refunds_sent_under_a_number,
  add constraint refunds_sent_under_a_number check
    (state not in ('reserved', 'sending', 'unknown', 'confirmed', 'refused')
     or (partner_refund_no is not null and (request_body is not null) = (channel = 'api'))),
  drop constraint refunds_needs_person_is_known,
  add constraint refunds_needs_person_is_known check (needs_person in ('refund_unknown', 'refund_amount_differs', 'refund_blocked'));
-- The same transfer is no proof for two refunds.
create unique index refunds_one_per_bank_reference on rekon.refund_saga (bank_reference);

comment on column rekon.refund_saga.channel is 'api: by a call to the provider. manual: a bank transfer made by a person; its number is written into the transfer.';
comment on column rekon.refund_saga.window_ends_at is 'After this the provider takes no refund of the payment any more; null where no end is known.';
comment on column rekon.refund_saga.put_off_since is 'Since when the provider has said "not now" to this number.';
comment on column rekon.refund_saga.put_off_until is 'The same number leaves again no earlier.';
comment on column rekon.refund_saga.api_closed is 'The refusal closes the way by API: what is owed goes by bank transfer.';
comment on column rekon.refund_saga.candidate_id is 'Another order of the account that this money may belong to; it leaves only after a person has seen that.';
comment on column rekon.refund_saga.candidate_why is 'same_payment: it carries the same payment. open_order: it waits for this amount. paid_nearby: the same amount was paid for it.';
comment on column rekon.refund_saga.bank_reference is 'The bank''s reference of the transfer, as the person who made it states it.';
comment on column rekon.refund_saga.transferred_by is 'Who states that the transfer was made; never who approved it.';

create or replace function rekon.refunds_step() returns trigger language plpgsql as $$
begin
  if (new.transaction_id, new.cause, new.amount, new.sequence, new.proposed_by)
     is distinct from (old.transaction_id, old.cause, old.amount, old.sequence, old.proposed_by) then
    raise exception 'a refund''s row, cause, amount, sequence and proposer are frozen' using errcode = 'restrict_violation', constraint = 'refunds_frozen';
  end if;
  if new.state <> old.state and (old.state, new.state) not in (
       ('proposed', 'approved'), ('proposed', 'denied'), ('proposed', 'expired'),
       ('approved', 'reserved'), ('approved', 'proposed'), ('approved', 'denied'), ('approved', 'expired'),
       ('reserved', 'sending'), ('reserved', 'proposed'), ('reserved', 'refused'), ('reserved', 'denied'), ('reserved', 'expired'),
       ('sending', 'confirmed'), ('sending', 'refused'), ('sending', 'unknown'), ('sending', 'reserved'),
       ('unknown', 'sending'), ('unknown', 'confirmed'), ('unknown', 'refused')) then
    raise exception 'a refund cannot go from % to %', old.state, new.state using errcode = 'restrict_violation', constraint = 'refunds_path';
  end if;
  -- What was agreed to is one way out: another way is agreed to anew, and a number that may have left keeps its way.
  if new.channel <> old.channel and (new.channel <> 'manual' or old.attempts > 0 or new.state <> 'proposed') then
    raise exception 'an unsent refund may become a transfer, as a proposal; nothing else changes its way'
      using errcode = 'restrict_violation', constraint = 'refunds_channel_stays';
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
  if old.bank_reference is not null and (new.bank_reference, new.transferred_by) is distinct from (old.bank_reference, old.transferred_by) then
    raise exception 'what was said about a transfer stays said' using errcode = 'restrict_violation', constraint = 'refunds_transfer_stays';
  end if;
  return new;
end $$;

drop trigger refunds_step on rekon.refund_saga;
create trigger refunds_step
  before update of transaction_id, cause, amount, sequence, proposed_by, approved_by, content_hash, partner_refund_no, request_body, state, attempts,
    unanswered, channel, bank_reference, transferred_by
  on rekon.refund_saga for each row execute function rekon.refunds_step();

create or replace view rekon.refunds as
  select t.account, t.partner_reference_no, r.cause, r.amount, r.state, r.partner_refund_no, r.refund_no, r.proof, r.reason,
         r.proposed_by, r.approved_by, r.attempts, r.proposed_at, r.approved_at, r.reserved_at, r.last_sent_at, r.ended_at, r.id as refund_id,
         r.why, r.denied_by,
         r.channel, r.blocked, r.put_off_until, r.window_ends_at, r.candidate_why, c.partner_reference_no as candidate_reference_no, r.bank_reference, r.transferred_by
    from rekon.refund_saga r join rekon.transactions t on t.id = r.transaction_id left join rekon.transactions c on c.id = r.candidate_id;

-- Does another order carry this payment? Asked once before money is reserved; equality is all it wants.
-- Only where the provider gives an id to one payment alone: elsewhere equality says nothing, and the index would cost every fact.
alter table rekon.facts add column unique_payment_id text constraint facts_unique_payment_id_is_the_payment_id
  check (unique_payment_id is null or unique_payment_id is not distinct from payment_id);
comment on column rekon.facts.unique_payment_id is 'payment_id of a PAID answer, where the profile says that no two payments share it.';
create index facts_by_payment on rekon.facts using hash (unique_payment_id) where unique_payment_id is not null;

create table rekon.qr_cancels (
  transaction_id bigint primary key references rekon.transactions,
  state          text not null default 'due' constraint qr_cancels_state_is_known
                   check (state in ('due', 'asking', 'done', 'refused', 'unknown', 'void')),
  attempts       integer not null default 0 constraint qr_cancels_attempts_are_counted check (attempts >= 0),
  lost           integer not null default 0 constraint qr_cancels_lost_are_counted check (lost between 0 and attempts),
  reason         text,
  response_code  text,
  raw_hash       bytea,
  made_at        timestamptz not null default clock_timestamp(),
  asked_at       timestamptz,
  ended_at       timestamptz,
  next_at        timestamptz default clock_timestamp(),
  lease_owner    text,
  lease_until    timestamptz,
  lease_epoch    bigint not null default 0,
  constraint qr_cancels_end_whole check ((state in ('done', 'refused', 'unknown', 'void')) = (ended_at is not null)),
  constraint qr_cancels_rest_at_the_end check (state in ('due', 'asking') or next_at is null)
);
comment on table rekon.qr_cancels is 'A cancelled order''s QR, to be ended at the provider: once per order. What the provider answers is evidence; what was paid, a query says.';
comment on column rekon.qr_cancels.state is 'due, asking (a call is under way), done, refused, unknown (no readable answer), void (it was not needed any more).';
comment on column rekon.qr_cancels.lost is 'Calls that got no readable answer; after each a query looks first.';
comment on column rekon.qr_cancels.raw_hash is 'SHA-256 of the last answer in raw_answers.';
create index qr_cancels_due on rekon.qr_cancels (next_at) where next_at is not null;

create function rekon.qr_cancels_born() returns trigger language plpgsql as $$
begin
  if not exists (select 1 from rekon.transactions where id = new.transaction_id and direction = 'in' and order_status = 'cancelled') then
    raise exception 'only a cancelled order''s QR is ended' using errcode = 'restrict_violation', constraint = 'qr_cancels_of_cancelled_orders';
  end if;
  return new;
end $$;
create trigger qr_cancels_born before insert on rekon.qr_cancels for each row execute function rekon.qr_cancels_born();

create function rekon.qr_cancels_step() returns trigger language plpgsql as $$
begin
  if new.transaction_id <> old.transaction_id or new.attempts < old.attempts
     or new.state <> old.state and (old.state, new.state) not in (
       ('due', 'asking'), ('due', 'void'), ('asking', 'due'), ('asking', 'done'), ('asking', 'refused'), ('asking', 'unknown')) then
    raise exception 'a QR''s end cannot go from % to %', old.state, new.state using errcode = 'restrict_violation', constraint = 'qr_cancels_path';
  end if;
  return new;
end $$;
create trigger qr_cancels_step before update of transaction_id, state, attempts on rekon.qr_cancels
  for each row execute function rekon.qr_cancels_step();
create trigger qr_cancels_stay before delete on rekon.qr_cancels for each row execute function rekon.refuse('it is kept with its payment');
create trigger qr_cancels_stay_all before truncate on rekon.qr_cancels execute function rekon.refuse('it is kept with its payment');

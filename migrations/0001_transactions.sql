-- The table the merchant writes, and the log of what he changed about his rows.

-- Walks the payload's top-level fields, because tag 01 need not come second and its bytes may stand inside another value.
-- The table's check asks it only where the payload does not begin as dynamic codes do: checks run at every update.
create function rekon.qr_is_static(qr text) returns boolean language plpgsql immutable strict parallel safe as $$
declare
  place integer := 1;
  size  text;
begin
  loop
    size := substr(qr, place + 2, 2);
    if size !~ '^[0-9]{2}$' then return false; end if;
    if substr(qr, place, 2) = '01' then return substr(qr, place + 4, size::integer) = '11'; end if;
    place := place + 4 + size::integer;
  end loop;
end $$;

create table rekon.transactions (
  id                   bigint generated always as identity primary key,
  -- The merchant's columns. Names and references are compared as bytes: by a language's rules each look into an index is slower.
  account              text collate "C" not null constraint transactions_account_is_named check (length(account) between 1 and 64),
  partner_reference_no text collate "C" not null constraint transactions_reference_is_short check (length(partner_reference_no) between 1 and 64),
  reference_no         text collate "C" constraint transactions_reference_no_is_short check (length(reference_no) between 1 and 64),
  external_id          text constraint transactions_external_id_is_short check (length(external_id) between 1 and 36),
  direction            text not null default 'in' constraint transactions_direction_is_known check (direction in ('in', 'out')),
  amount               numeric(18, 2) not null constraint transactions_amount_is_positive check (amount > 0 and amount <> 'NaN'),
  currency             text not null default 'IDR' constraint transactions_currency_is_rupiah check (currency = 'IDR'),
  order_status         text not null default 'open' constraint transactions_order_status_is_known check (order_status in ('open', 'fulfilled', 'cancelled')),
  created_at           timestamptz not null default now() constraint transactions_creation_is_a_date
                         check (created_at >= '1970-01-01 00:00Z' and created_at < '10000-01-01 00:00Z'),
  expires_at           timestamptz constraint transactions_expiry_is_a_date
                         check (expires_at >= '1970-01-01 00:00Z' and expires_at < '10000-01-01 00:00Z'),
  qr_content           text constraint transactions_qr_is_dynamic 
                         check (starts_with(qr_content, '000201010212') or not rekon.qr_is_static(qr_content)),
  -- rekon's columns, read by anyone.
  state                text not null default 'pending' constraint transactions_state_is_known
                         check (state in ('pending', 'paid', 'held', 'refunding', 'refunded', 'partly_refunded', 'unpaid', 'review')),
  flags                text[] not null default '{}',
  paid_amount          numeric(18, 2) constraint transactions_paid_is_a_number check (paid_amount >= 0 and paid_amount <> 'NaN'),
  fee_amount           numeric(18, 2),
  refunded_amount      numeric(18, 2) not null default 0 constraint transactions_refunded_is_not_negative check (refunded_amount >= 0 and refunded_amount <> 'NaN'),
  refunded_outside     numeric(18, 2) not null default 0 constraint transactions_outside_is_not_negative check (refunded_outside >= 0 and refunded_outside <> 'NaN'),
  paid_at              timestamptz,
  checks               integer not null default 0,
  last_checked_at      timestamptz,
  next_check_at        timestamptz default now(),
  -- rekon's own bookkeeping.
  flags_open           text[] not null default '{}',
  refund_reserved      numeric(18, 2) not null default 0 constraint transactions_reserved_is_not_negative check (refund_reserved >= 0 and refund_reserved <> 'NaN'),
  seq                  integer not null default 0,
  closed_seq           integer,
  journal_no           integer not null default 0,
  journal_hash         bytea,
  lease_owner          text,
  lease_until          timestamptz,
  lease_epoch          bigint not null default 0,
  -- In this order, so that a reference whose account nobody named is found by it too.
  constraint transactions_reference_is_unique unique (partner_reference_no, account),
  constraint transactions_never_return_more_than_paid check (refund_reserved + refunded_amount <= coalesce(paid_amount, 0)),
  constraint transactions_paid_money_is_not_lost check ((state not in ('pending', 'unpaid') or paid_amount is null)
    and (state not in ('paid', 'held', 'refunding', 'refunded', 'partly_refunded') or paid_amount is not null))
) with (fillfactor = 50);
-- Half of each page is left free: a chunk is leased row beside row, and only where every new version finds room on its own
-- page is the lease kept out of the indexes.

comment on table rekon.transactions is 'One expected payment. The merchant writes the first block of columns, rekon all others.';
comment on column rekon.transactions.account is 'A name under [accounts] in jobs.toml.';
comment on column rekon.transactions.partner_reference_no is 'Our reference; unique with account.';
comment on column rekon.transactions.reference_no is 'The provider''s reference; may be set once.';
comment on column rekon.transactions.external_id is 'X-EXTERNAL-ID of the request that made the payment; may be set once.';
comment on column rekon.transactions.direction is 'in: a customer pays. out: a payout, observed and never refunded.';
comment on column rekon.transactions.amount is 'Expected, rupiah with two decimals, without tip.';
comment on column rekon.transactions.order_status is 'open -> fulfilled, open -> cancelled, fulfilled -> cancelled.';
comment on column rekon.transactions.expires_at is 'End of the QR''s validity; null: the profile''s default. May only move later.';
comment on column rekon.transactions.qr_content is 'QRIS payload; explains tips and references. May be set once; static codes are refused.';
comment on column rekon.transactions.state is 'pending, paid, held, refunding, refunded, partly_refunded, unpaid or review.';
comment on column rekon.transactions.flags is 'Open flags and resolved mismatches, sorted.';
comment on column rekon.transactions.paid_amount is 'Null until PAID, then gross without fee; never reduced.';
comment on column rekon.transactions.refunded_amount is 'Returned by us and confirmed.';
comment on column rekon.transactions.refunded_outside is 'Returned by others, as stated by a person or a file.';
comment on column rekon.transactions.checks is 'Queries sent.';
comment on column rekon.transactions.next_check_at is 'When it is asked again; null: nothing is due.';
comment on column rekon.transactions.flags_open is 'The flags that block or explain now.';
comment on column rekon.transactions.refund_reserved is 'Reserved, being sent, or of unknown fate: counts as spent.';
comment on column rekon.transactions.seq is 'Last number of the sequence that facts and order changes share.';
comment on column rekon.transactions.closed_seq is 'seq at which the row was closed as unpaid.';
comment on column rekon.transactions.journal_no is 'Number of journal entries; journal_hash is the last one''s hash.';
comment on column rekon.transactions.lease_epoch is 'Grows with every lease; a worker with an older one may record facts and do nothing else.';

-- The due index is the queue. Lease columns are in no index, so a claim is a cheap in-place update.
create index transactions_due on rekon.transactions (account, next_check_at) where next_check_at is not null;
create index transactions_by_reference_no on rekon.transactions (account, reference_no) where reference_no is not null;
-- Days are read by ranges of pages: rows are made and paid in the order in which they lie, and two B-trees more would
-- add a third to what it costs to settle a row.
create index transactions_by_creation on rekon.transactions using brin (created_at) with (pages_per_range = 32, autosummarize = on);
create index transactions_by_payment on rekon.transactions using brin (paid_at) with (pages_per_range = 32, autosummarize = on)
  where paid_at is not null;
create index transactions_unsettled on rekon.transactions (state, account) where state in ('pending', 'held', 'refunding', 'review');

create table rekon.order_changes (
  transaction_id bigint not null references rekon.transactions,
  seq            integer not null,
  at             timestamptz not null default clock_timestamp(),
  status_from    text not null,
  status_to      text not null,
  detail         jsonb not null,
  primary key (transaction_id, seq)
);
comment on table rekon.order_changes is 'What the merchant changed, in the same sequence as the facts of the row. Append-only.';

create function rekon.refuse() returns trigger language plpgsql as $$
begin
  raise exception '% on rekon.% is refused: %', tg_op, tg_table_name, tg_argv[0] using errcode = 'restrict_violation', constraint = tg_name;
end $$;

create function rekon.transactions_born() returns trigger language plpgsql as $$
begin
  raise exception 'rekon owns state, flags and amounts of rekon.transactions: insert the merchant''s columns only'
    using errcode = 'restrict_violation', constraint = 'transactions_born';
end $$;

-- WHEN keeps the function call away from honest inserts, so that COPY stays fast.
create trigger transactions_born before insert on rekon.transactions for each row
  when (new.state <> 'pending' or new.flags <> '{}' or new.flags_open <> '{}' or new.paid_amount is not null or new.fee_amount is not null
        or new.refunded_amount <> 0 or new.refunded_outside <> 0 or new.refund_reserved <> 0 or new.paid_at is not null or new.checks <> 0
        or new.last_checked_at is not null or new.next_check_at is distinct from now() or new.seq <> 0 or new.closed_seq is not null
        or new.journal_no <> 0 or new.journal_hash is not null or new.lease_owner is not null or new.lease_until is not null or new.lease_epoch <> 0)
  execute function rekon.transactions_born();

create function rekon.transactions_changed() returns trigger language plpgsql as $$
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
                               'expires_at', new.expires_at));
  end if;
  return new;
end $$;

create trigger transactions_changed
  before update of id, account, partner_reference_no, direction, amount, currency, created_at, qr_content, reference_no, external_id, expires_at, order_status
  on rekon.transactions for each row execute function rekon.transactions_changed();

-- A true outside refund must always be recordable, so the guard looks at increases of the reservation only.
create function rekon.transactions_reserve() returns trigger language plpgsql as $$
begin
  raise exception 'refund_reserved % is more than paid % less refunded % and outside %', new.refund_reserved, new.paid_amount,
    new.refunded_amount, new.refunded_outside using errcode = 'check_violation', constraint = 'transactions_reserve_what_is_there';
end $$;

create trigger transactions_reserve before update of refund_reserved on rekon.transactions for each row
  when (new.refund_reserved > old.refund_reserved
        and new.refund_reserved > coalesce(new.paid_amount, 0) - new.refunded_amount - new.refunded_outside)
  execute function rekon.transactions_reserve();

-- One trigger for what only grows, because each one is looked at for every row that is settled.
create function rekon.transactions_only_grow() returns trigger language plpgsql as $$
begin
  if old.paid_amount is not null and (new.paid_amount is null or new.paid_amount < old.paid_amount) then
    raise exception 'paid_amount is never reduced or taken back' using errcode = 'restrict_violation', constraint = 'transactions_paid_stays';
  end if;
  if new.refunded_amount < old.refunded_amount then
    raise exception 'refunded_amount is never reduced: what went back went back'
      using errcode = 'restrict_violation', constraint = 'transactions_refunded_stays';
  end if;
  raise exception 'seq and journal_no only grow: what wrote this had read an older row'
    using errcode = 'restrict_violation', constraint = 'transactions_count_up';
end $$;

create trigger transactions_only_grow before update of paid_amount, refunded_amount, seq, journal_no on rekon.transactions for each row
  when (new.seq < old.seq or new.journal_no < old.journal_no or new.refunded_amount < old.refunded_amount
        or old.paid_amount is not null and (new.paid_amount is null or new.paid_amount < old.paid_amount))
  execute function rekon.transactions_only_grow();

create trigger transactions_stay before delete on rekon.transactions for each row execute function rekon.refuse('a payment is never deleted');
create trigger transactions_stay_all before truncate on rekon.transactions execute function rekon.refuse('a payment is never deleted');
create trigger order_changes_stay before update or delete on rekon.order_changes for each row execute function rekon.refuse('it is append-only');
create trigger order_changes_stay_all before truncate on rekon.order_changes execute function rekon.refuse('it is append-only');

-- Rows that somebody waits for overtake what has been due for longer. A table of its own, so that neither the due index nor the
-- update that settles a row gets any heavier. Unlogged: what a crash takes away is an order of service; the rows stay due.
set local lock_timeout = '2s';

create unlogged table rekon.pulled (
  transaction_id bigint primary key references rekon.transactions,
  account        text not null,
  at             timestamptz not null default clock_timestamp()
);
create index pulled_in_order on rekon.pulled (account, at);
comment on table rekon.pulled is 'Rows that a signed notification or a cashier pulled forward and that are not yet leased for it; asked before all others of the account.';
comment on column rekon.pulled.account is 'The row''s, which never changes; stands here to be found by.';
comment on column rekon.pulled.at is 'When it was pulled first; who waits longest is asked first.';

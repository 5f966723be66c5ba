-- What is read at every scrape of /metrics must not cost more when the table grows. Rows that need somebody's eye are few:
-- these indexes hold them and nothing else.

create index transactions_flagged on rekon.transactions (account) where flags_open <> '{}';
create index refunds_alive on rekon.refund_saga (state) where state in ('proposed', 'approved', 'reserved', 'sending', 'unknown');

-- Facts that say PAID, newest first: what they say must have arrived in the ledger.
create index facts_paid on rekon.facts (answered_at) where observation = 'PAID';

-- A proof as an index: what it holds breaks a rule of money, so it is empty, and to prove that again costs nothing.
create index transactions_returned_more_than_paid on rekon.transactions (id)
  where refund_reserved + refunded_amount + refunded_outside > coalesce(paid_amount, 0);

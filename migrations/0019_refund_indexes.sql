-- The two unique indexes over payments hold some states only, and nobody who looks for all refunds of a payment can use them: every
-- settled group, every step of the saga and every proof read the whole table.
-- lint: refunds are a hundredth of the payments at most, so the indexes are built before a writer waits for long
set local lock_timeout = '2s';

create index refunds_of_payment on rekon.refund_saga (transaction_id);

-- What the refund breaker's limits add up: the reservations of the last day, without the years before them.
create index refunds_lately on rekon.refund_saga (reserved_at) where reserved_at is not null;

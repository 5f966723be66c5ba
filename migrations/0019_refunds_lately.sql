-- What the refund breaker's limits add up, the reservations of the last day, without the years before them.
-- lint: refunds are a hundredth of the payments at most, so the index is built before a writer waits for long
set local lock_timeout = '2s';

create index refunds_lately on rekon.refund_saga (reserved_at) where reserved_at is not null;

-- Programs of the merchant that come in over HTTP: what was answered under an Idempotency-Key is answered again.
set local lock_timeout = '2s';

create table rekon.idempotency_keys (
  person       text not null references rekon.people,
  key          text not null constraint idempotency_keys_are_short check (length(key) between 1 and 255),
  request_hash bytea not null constraint idempotency_keys_hash_is_sha256 check (length(request_hash) = 32),
  claimed_at   timestamptz not null default clock_timestamp(),
  claim        bigint not null default 1,
  status       smallint constraint idempotency_keys_keep_success check (status between 200 and 299),
  location     text,
  body         text,
  primary key (person, key),
  constraint idempotency_keys_are_whole check ((status is null) = (body is null) and (location is null or status is not null))
);
comment on table rekon.idempotency_keys is 'Idempotency-Keys of POST requests, each person''s own, for a day. What failed leaves nothing here, because it did nothing.';
comment on column rekon.idempotency_keys.request_hash is 'SHA-256 of method, path and body: the same key with another request is refused.';
comment on column rekon.idempotency_keys.claimed_at is 'When the request began; one without an answer whose time is long over died, and may begin again.';
comment on column rekon.idempotency_keys.claim is 'Number of the attempt; whoever holds an older one writes no answer.';
comment on column rekon.idempotency_keys.status is 'HTTP status of the answer; null while the request is worked on.';
create index idempotency_keys_by_age on rekon.idempotency_keys (claimed_at);

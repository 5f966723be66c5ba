-- The token that the replicas of an account share.
set local lock_timeout = '2s';

create table rekon.provider_tokens (
  account       text primary key,
  claims        bigint not null default 0,
  claimed_until timestamptz,
  failures      bigint not null default 0,
  epoch         bigint,
  sealed        bytea,
  refresh_at    timestamptz,
  expires_at    timestamptz,
  constraint provider_tokens_are_whole check (num_nulls(epoch, sealed, refresh_at, expires_at) in (0, 4)),
  constraint provider_tokens_were_claimed check (epoch between 1 and claims),
  constraint provider_tokens_are_sealed check (length(sealed) > 28)
);
comment on table rekon.provider_tokens is 'The B2B token of an account, one for all replicas, sealed with a key that only the account''s client secret gives.';
comment on column rekon.provider_tokens.claims is 'Number of the last fetch that a process began.';
comment on column rekon.provider_tokens.claimed_until is 'Until then that process alone may fetch; it holds on to it. Past or null: anybody may.';
comment on column rekon.provider_tokens.failures is 'Fetches that failed: who waits for one sees that it has.';
comment on column rekon.provider_tokens.epoch is 'The fetch that brought the token. It is part of what is sealed: a token of another epoch does not open.';
comment on column rekon.provider_tokens.sealed is 'Nonce (12 bytes), ChaCha20-Poly1305 of the token, tag (16 bytes).';
comment on column rekon.provider_tokens.refresh_at is 'Nine tenths of its life, or a pause after a refresh that failed.';

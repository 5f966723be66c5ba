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

alter table rekon.breakers add column probing_until timestamptz;
comment on column rekon.breakers.probing_until is 'A probe is under way, at the longest until then; no other one begins.';

-- closed: go on. probe: one call may try, for at most p_probe_secs, and who asks next waits twice as long as it did and until
-- that call has ended. open: nobody asks. Whoever opens a breaker sets probe_at one second ahead and probes to 0; the pauses
-- from the beginning of one probe to that of the next are then 1 s, 2 s, 4 s, ... p_probe_max_secs, or as long as the probe.
drop function rekon.weather(text, integer);
create function rekon.weather(p_account text, p_probe_max_secs integer, p_probe_secs integer default 0) returns text language plpgsql as $$
declare
  breaker rekon.breakers;
begin
  select * into breaker from rekon.breakers where account = p_account;
  if breaker.opened_at is null then return 'closed'; end if;
  if breaker.probe_at > clock_timestamp() or breaker.probing_until > clock_timestamp() then return 'open'; end if;
  update rekon.breakers
     set probes = probes + 1, probe_at = clock_timestamp() + make_interval(secs => least(power(2, least(probes + 1, 12)), p_probe_max_secs)),
         probing_until = clock_timestamp() + make_interval(secs => p_probe_secs)
   where account = p_account and opened_at is not null and probe_at <= clock_timestamp()
     and coalesce(probing_until <= clock_timestamp(), true);
  return case when found then 'probe' else 'open' end;
end $$;

-- Notifications that became no fact, how fast unverifiable ones may make us ask, and what providers begin to spell otherwise.
-- A notification about a known row is a fact of that row (0002); nothing here moves a state.

create table rekon.notifications (
  account      text not null,
  payload_hash bytea not null constraint notifications_hash_is_sha256 check (length(payload_hash) = 32),
  reference    text not null,
  outcome      text not null constraint notifications_outcome_is_known check (outcome in ('unmatched', 'limited', 'crowded')),
  is_verified  boolean not null,
  body         jsonb not null,
  n            integer not null default 1 constraint notifications_came_at_least_once check (n > 0),
  first_at     timestamptz not null default clock_timestamp(),
  last_at      timestamptz not null default clock_timestamp(),
  primary key (account, payload_hash)
);
create index notifications_by_age on rekon.notifications (last_at);
comment on table rekon.notifications is 'Notifications that became no fact. Capped per account, pruned by age, personal data masked; may be lost.';
comment on column rekon.notifications.payload_hash is 'SHA-256 of the whole payload: the same again is a redelivery.';
comment on column rekon.notifications.reference is 'TRANSACTIONID, which should be a partner_reference_no.';
comment on column rekon.notifications.outcome is 'unmatched: no row has the reference. limited: unverifiable, and too many of those came. crowded: the row has its fill.';
comment on column rekon.notifications.n is 'How often it came.';

create table rekon.notification_limits (
  account text primary key,
  tat     timestamptz not null default '-infinity'
);
comment on table rekon.notification_limits is 'How fast unverifiable notifications may make us ask an account, shared by every replica. tat is the time of the next free slot.';

create table rekon.drift (
  account  text not null,
  kind     text not null constraint drift_kind_is_short check (length(kind) between 1 and 80),
  n        bigint not null constraint drift_was_seen check (n > 0),
  first_at timestamptz not null,
  last_at  timestamptz not null,
  sample   text,
  primary key (account, kind)
);
comment on table rekon.drift is 'Oddities of a provider''s answers, one row a kind. A provider that begins to spell otherwise is about to change.';
comment on column rekon.drift.kind is 'A word, and behind a colon the field or code it is about.';
comment on column rekon.drift.sample is 'The latest answer that showed it, personal data masked.';

-- A PAID notification is a claim. What must have arrived in the ledger are answers to our own queries.
drop index rekon.facts_paid;
create index facts_paid on rekon.facts (answered_at) where observation = 'PAID' and source = 'query';

-- The sentinel goes at the pace that the server bears: a pass that took long, or never came to its end, is followed by a smaller one.
set local lock_timeout = '2s';

alter table rekon.sentinel add column rows_at_once bigint;
comment on column rekon.sentinel.rows_at_once is 'Rows that the next pass looks at; null: as many as are configured. Halved when a pass begins, and put right by its end.';
comment on column rekon.sentinel.next_at is 'When the next pass is due; while one is made, when it is given up and another may begin.';

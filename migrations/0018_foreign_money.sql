-- In the views for reports, money that came in another currency is no rupiah: it has no amount there, is counted apart, and is added to
-- nothing. What the provider said stands in rekon.facts.
set local lock_timeout = '2s';

create or replace view rekon.bi_transactions as
  select account, partner_reference_no, direction, currency, amount, order_status, state, flags,
         (case when 'currency' = any (flags) then null else paid_amount end)::numeric(18, 2) as paid_amount,
         (case when 'currency' = any (flags) then null else fee_amount end)::numeric(18, 2) as fee_amount,
         refunded_amount, refunded_outside,
         case when 'currency' = any (flags) then 0 else coalesce(paid_amount, 0) - refunded_amount - refunded_outside end as kept_amount,
         state in ('held', 'review') as is_exception,
         created_at, (created_at at time zone 'Asia/Jakarta')::date as created_day,
         expires_at, paid_at, (paid_at at time zone 'Asia/Jakarta')::date as paid_day,
         checks, last_checked_at,
         'currency' = any (flags) as is_foreign
    from rekon.transactions;
comment on column rekon.bi_transactions.paid_amount is 'What came in, gross, rupiah; null until it is proved, never reduced; null where it came in another currency.';
comment on column rekon.bi_transactions.fee_amount is 'The provider''s fee, rupiah, where it says one; null where the payment came in another currency.';
comment on column rekon.bi_transactions.kept_amount is 'paid_amount less both refunds, rupiah; 0 where nothing was paid, or in another currency.';
comment on column rekon.bi_transactions.is_foreign is 'It was paid in another currency: what it came to in rupiah is for the provider to say.';

create or replace view rekon.bi_days as
  select day, account, direction, sum(expected_rows)::bigint as expected_rows, sum(expected_amount) as expected_amount,
         sum(open_rows)::bigint as open_rows, sum(exception_rows)::bigint as exception_rows,
         sum(paid_rows)::bigint as paid_rows, sum(paid_amount) as paid_amount, sum(fee_amount) as fee_amount,
         sum(returned_amount) as returned_amount, sum(foreign_rows)::bigint as foreign_rows
    from (select created_day as day, account, direction, 1 as expected_rows, amount as expected_amount,
                 (state in ('pending', 'held', 'refunding', 'review'))::integer as open_rows, is_exception::integer as exception_rows,
                 0 as paid_rows, 0::numeric as paid_amount, 0::numeric as fee_amount, 0::numeric as returned_amount, 0 as foreign_rows
            from rekon.bi_transactions
          union all
          select paid_day, account, direction, 0, 0, 0, 0, (not is_foreign)::integer, coalesce(paid_amount, 0), coalesce(fee_amount, 0),
                 case when is_foreign then 0 else refunded_amount + refunded_outside end, is_foreign::integer
            from rekon.bi_transactions where paid_day is not null and (paid_amount is not null or is_foreign)) as counted
   group by day, account, direction;
comment on column rekon.bi_days.paid_rows is 'Payments paid on the day, whenever created; those in another currency are foreign_rows.';
comment on column rekon.bi_days.foreign_rows is 'Payments paid on the day in another currency: in no amount of this row.';

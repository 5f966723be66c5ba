//! The token that the replicas of an account share, as sealed bytes; and who fetches the next one. All by the database's
//! clock: what comes in and goes out are spans. What is in the bytes, and what a fetch is, is not known here.

use std::time::Duration;

use sqlx::Row;

use crate::store::{Store, StoreError, limits::interval};

/// What stands in an account's row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenRow {
    /// A token that lives.
    pub token: Option<SealedToken>,
    /// Number of the last claim.
    pub claims: i64,
    /// That claim holds.
    pub is_claimed: bool,
    /// Claimed fetches that failed.
    pub failures: i64,
}

/// A token as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedToken {
    /// The claim that brought it.
    pub epoch: i64,
    /// The sealed bytes.
    pub sealed: Vec<u8>,
    /// How long it need not be fetched anew.
    pub fresh_for: Duration,
    /// How long it lives.
    pub lives_for: Duration,
}

const LOOK: &str = "-- store::provider_tokens::look
select claims, coalesce(claimed_until > clock_timestamp(), false) as is_claimed, failures,
       case when expires_at > clock_timestamp() then epoch end as epoch, sealed,
       (extract(epoch from refresh_at - clock_timestamp()) * 1000000)::bigint as fresh_us,
       (extract(epoch from expires_at - clock_timestamp()) * 1000000)::bigint as lives_us
  from rekon.provider_tokens where account = $1";

// Who has seen an older claim than the last one looks again: there may be a token by now.
const CLAIM: &str = "-- store::provider_tokens::claim
insert into rekon.provider_tokens as t (account, claims, claimed_until) values ($1, 1, clock_timestamp() + $3)
on conflict (account) do update set claims = t.claims + 1, claimed_until = excluded.claimed_until
 where t.claims = $2 and coalesce(t.claimed_until <= clock_timestamp(), true)
returning claims";

const KEEP: &str = "-- store::provider_tokens::keep
update rekon.provider_tokens set claimed_until = clock_timestamp() + $3 where account = $1 and claims = $2";

const PUT: &str = "-- store::provider_tokens::put
update rekon.provider_tokens
   set claimed_until = null, epoch = $2, sealed = $3, refresh_at = clock_timestamp() - $5::interval + $4::interval * 0.9,
       expires_at = clock_timestamp() - $5::interval + $4::interval
 where account = $1 and claims = $2";

const GIVE_UP: &str = "-- store::provider_tokens::give_up
update rekon.provider_tokens
   set claimed_until = null, failures = failures + ($3::interval is not null)::integer,
       refresh_at = greatest(refresh_at, case when epoch is not null then clock_timestamp() + $3::interval end)
 where account = $1 and claims = $2";

const SPOIL: &str = "-- store::provider_tokens::spoil
update rekon.provider_tokens set epoch = null, sealed = null, refresh_at = null, expires_at = null where account = $1 and epoch = $2";

impl Store {
    /// The row of an account; the default where there is none.
    pub async fn look_at_token(&self, account: &str) -> Result<TokenRow, StoreError> {
        let Some(row) = sqlx::query(LOOK).bind(account).fetch_optional(self.pool()).await? else {
            return Ok(TokenRow::default());
        };
        let span = |us: i64| Duration::from_micros(us.max(0).unsigned_abs());
        let epoch: Option<i64> = row.try_get("epoch")?;
        let token = match epoch {
            Some(epoch) => Some(SealedToken {
                epoch,
                sealed: row.try_get("sealed")?,
                fresh_for: span(row.try_get("fresh_us")?),
                lives_for: span(row.try_get("lives_us")?),
            }),
            None => None,
        };
        Ok(TokenRow {
            token,
            claims: row.try_get("claims")?,
            is_claimed: row.try_get("is_claimed")?,
            failures: row.try_get("failures")?,
        })
    }

    /// Takes the right to fetch for `span`, where nobody has it and the last claim was `seen`; the new claim's number.
    pub async fn claim_token(&self, account: &str, seen: i64, span: Duration) -> Result<Option<i64>, StoreError> {
        let claim = sqlx::query_scalar(CLAIM).bind(account).bind(seen).bind(interval(span));
        Ok(claim.fetch_optional(self.pool()).await?)
    }

    /// Holds a claim for another `span`. False: there is a newer one.
    pub async fn keep_token_claim(&self, account: &str, claim: i64, span: Duration) -> Result<bool, StoreError> {
        let kept = sqlx::query(KEEP).bind(account).bind(claim).bind(interval(span)).execute(self.pool()).await?;
        Ok(kept.rows_affected() > 0)
    }

    /// Stores the token of a claim, which ends: it lives for `life` and was asked for `age` ago. False: there is a newer
    /// claim, and nothing was stored.
    pub async fn put_token(
        &self,
        account: &str,
        claim: i64,
        sealed: &[u8],
        life: Duration,
        age: Duration,
    ) -> Result<bool, StoreError> {
        let put = sqlx::query(PUT).bind(account).bind(claim).bind(sealed).bind(interval(life)).bind(interval(age));
        Ok(put.execute(self.pool()).await?.rows_affected() > 0)
    }

    /// Ends a claim without a token. `pause`: the fetch failed, and a token that lives is not fetched anew for so long.
    pub async fn give_up_token(&self, account: &str, claim: i64, pause: Option<Duration>) -> Result<(), StoreError> {
        sqlx::query(GIVE_UP).bind(account).bind(claim).bind(pause.map(interval)).execute(self.pool()).await?;
        Ok(())
    }

    /// Forgets the token of one epoch; one of another epoch stays.
    pub async fn spoil_token(&self, account: &str, epoch: i64) -> Result<(), StoreError> {
        sqlx::query(SPOIL).bind(account).bind(epoch).execute(self.pool()).await?;
        Ok(())
    }
}

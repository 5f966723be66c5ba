//! What people decide, written down: switches, re-arms, resolutions, assignments. Every table here is append-only and judges by
//! trigger who may; these statements only say what was wished.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::Row;

use crate::{
    domain::{
        money::Sen,
        resolution::{About, ResolutionKind},
        switch::Level,
    },
    store::{
        Store, StoreError, Tx, cases,
        released::{self, What},
    },
};

/// A switch as its reader sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SwitchRow {
    /// The row's id.
    pub id: i64,
    /// The account; `*` for every account.
    pub account: String,
    /// Where it was turned to.
    pub level: Level,
    /// By whom.
    pub made_by: String,
    /// In force, or a request that waits for somebody else.
    pub effective: bool,
    /// What he said.
    pub reason: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Why refunds of an account do not leave by themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoppedRow {
    /// The account.
    pub account: String,
    /// `stopped`: nothing leaves. `breaker`: by two people only.
    pub how: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Option<DateTime<Utc>>,
}

/// A resolution to be written.
#[derive(Debug, Clone)]
pub struct NewResolution<'a> {
    /// The row.
    pub transaction_id: i64,
    /// What was decided.
    pub kind: ResolutionKind,
    /// About what.
    pub about: About,
    /// What was known.
    pub content_hash: &'a str,
    /// What was said.
    pub reason: &'a str,
    /// By whom.
    pub made_by: &'a str,
    /// The request that it confirms.
    pub confirms: Option<i64>,
}

/// A request that waits for a second person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Request {
    /// Its id.
    pub id: i64,
    /// Who asked.
    pub made_by: String,
    /// When.
    pub at: DateTime<Utc>,
    /// What he said.
    pub reason: String,
}

/// What waits for a second person on a row, and who looks after it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Care {
    /// The row.
    #[serde(skip)]
    pub transaction_id: i64,
    /// Who looks after it.
    pub assignee: Option<String>,
    /// Requests that wait: kind and who asked.
    pub waiting: Vec<String>,
    /// A dispute is open.
    pub disputed: bool,
}

const REQUESTED: &str = "-- store::control::requested
select id, made_by, at, reason from rekon.switches s
 where account = $1 and level = $2 and not effective and confirms is null and made_by <> $3 and at > clock_timestamp() - interval '1 hour'
   and not exists (select 1 from rekon.switches e where e.account = s.account and e.effective and e.id > s.id)
 order by id desc limit 1";

const TURN: &str = "-- store::control::turn
insert into rekon.switches (account, level, made_by, confirms, reason) values ($1, $2, $3, $4, $5)
returning id, account, level, made_by, effective, reason, at";

const HELD: &str = "-- store::control::held
select level, at from rekon.switches where account = $1 and effective order by id desc limit 1";

const SWITCHES: &str = "-- store::control::switches
select id, account, level, made_by, effective, reason, at from (
  select distinct on (account) id, account, level, made_by, effective, reason, at from rekon.switches where effective order by account, id desc) as held
 where $1 or level <> 'auto'
union all
select id, account, level, made_by, effective, reason, at from rekon.switches s
 where not effective and at > clock_timestamp() - interval '1 hour'
   and not exists (select 1 from rekon.switches e where e.account = s.account and e.effective and e.id > s.id)
 order by account, id";

const STOPPED: &str = "-- store::control::stopped
select account, 'stopped' as how, refunds_stopped as reason, stopped_at as since from rekon.account_controls where refunds_stopped is not null
union all
select account, 'breaker', breaker_reason, breaker_opened_at from rekon.account_controls where breaker_opened_at is not null
order by account, how";

const REARM_ASKED: &str = "-- store::control::rearm_asked
select r.id, r.made_by, r.at, r.reason from rekon.rearms r join rekon.account_controls c on c.account = r.account
 where r.account = $1 and r.confirms is null and r.made_by <> $2 and r.at > clock_timestamp() - interval '1 hour'
   and r.at >= coalesce(greatest(c.stopped_at, c.breaker_opened_at), '-infinity')
   and not exists (select 1 from rekon.rearms d where d.confirms = r.id)
 order by r.id desc limit 1";

const REARM: &str = "-- store::control::rearm
insert into rekon.rearms (account, made_by, confirms, reason) values ($1, $2, $3, $4)";

const RESOLUTION_ASKED: &str = "-- store::control::resolution_asked
select id, made_by, at, reason from rekon.resolutions r
 where transaction_id = $1 and kind = $2 and flag is not distinct from $3 and refund_id is not distinct from $4
   and amount is not distinct from $5::bigint::numeric / 100 and content_hash = $6 and confirms is null and seq is null and made_by <> $7
   and at > clock_timestamp() - interval '1 day' and not exists (select 1 from rekon.resolutions c where c.confirms = r.id)
 order by id desc limit 1";

const RESOLVE: &str = "-- store::control::resolve
insert into rekon.resolutions (transaction_id, kind, flag, refund_id, amount, content_hash, reason, made_by, confirms)
values ($1, $2, $3, $4, $5::bigint::numeric / 100, $6, $7, $8, $9) returning seq, at";

const OUTSIDE: &str = "-- store::control::outside
update rekon.transactions set refunded_outside = refunded_outside + $2::bigint::numeric / 100 where id = $1";

const ASSIGN: &str = "-- store::control::assign
insert into rekon.assignments (transaction_id, assignee, made_by, note) values ($1, $2, $3, $4)";

const CARE: &str = "-- store::control::care
select ids.id,
       (select assignee from rekon.assignments a where a.transaction_id = ids.id order by a.id desc limit 1) as assignee,
       array(select r.kind || ' by ' || r.made_by from rekon.resolutions r
              where r.transaction_id = ids.id and r.seq is null and r.at > clock_timestamp() - interval '1 day'
                and not exists (select 1 from rekon.resolutions c where c.confirms = r.id) order by r.id) as waiting,
       coalesce((select r.kind = 'dispute' from rekon.resolutions r where r.transaction_id = ids.id and r.seq is not null
                    and r.kind in ('dispute', 'undispute') order by r.seq desc limit 1), false) as disputed
  from unnest($1::bigint[]) as ids(id)";

fn request(row: &sqlx::postgres::PgRow) -> Result<Request, StoreError> {
    Ok(Request {
        id: row.try_get("id")?,
        made_by: row.try_get("made_by")?,
        at: row.try_get("at")?,
        reason: row.try_get("reason")?,
    })
}

fn switch(row: &sqlx::postgres::PgRow) -> Result<SwitchRow, StoreError> {
    let level: String = row.try_get("level")?;
    Ok(SwitchRow {
        id: row.try_get("id")?,
        account: row.try_get("account")?,
        level: cases::level(&level)?,
        made_by: row.try_get("made_by")?,
        effective: row.try_get("effective")?,
        reason: row.try_get("reason")?,
        at: row.try_get("at")?,
    })
}

/// Turns an account's switch, or asks for it: raising it confirms what somebody else asked for within the hour, or waits for
/// him. What the lower rung held up is written down with it. Returns what was written and whose request it confirmed.
pub async fn turn(
    tx: &mut Tx,
    account: &str,
    level: Level,
    by: &str,
    reason: &str,
) -> Result<(SwitchRow, Option<Request>), StoreError> {
    let before = sqlx::query(HELD).bind(account).fetch_optional(&mut **tx).await?;
    let asked = sqlx::query(REQUESTED).bind(account).bind(level.as_str()).bind(by).fetch_optional(&mut **tx).await?;
    let asked = asked.as_ref().map(request).transpose()?;
    let row = sqlx::query(TURN)
        .bind(account)
        .bind(level.as_str())
        .bind(by)
        .bind(asked.as_ref().map(|request| request.id))
        .bind(reason)
        .fetch_one(&mut **tx)
        .await?;
    let turned = switch(&row)?;
    if let Some(before) = before.filter(|_| turned.effective) {
        let held: String = before.try_get("level")?;
        if cases::level(&held)? == Level::Observe {
            let since: DateTime<Utc> = before.try_get("at")?;
            released::release(tx, account, What::Postings(since)).await?;
        }
    }
    if turned.effective && asked.is_some() {
        released::release(tx, account, What::Refunds).await?;
    }
    Ok((turned, asked))
}

/// Re-arms an account's refunds, or asks for it; what was held up is written down with it. Returns whose request it confirmed.
pub async fn rearm(tx: &mut Tx, account: &str, by: &str, reason: &str) -> Result<Option<Request>, StoreError> {
    let asked = sqlx::query(REARM_ASKED).bind(account).bind(by).fetch_optional(&mut **tx).await?;
    let asked = asked.as_ref().map(request).transpose()?;
    sqlx::query(REARM)
        .bind(account)
        .bind(by)
        .bind(asked.as_ref().map(|request| request.id))
        .bind(reason)
        .execute(&mut **tx)
        .await?;
    if asked.is_some() {
        released::release(tx, account, What::Refunds).await?;
    }
    Ok(asked)
}

/// Somebody else's request for this very resolution.
pub async fn resolution_asked(tx: &mut Tx, new: &NewResolution<'_>) -> Result<Option<Request>, StoreError> {
    let row = sqlx::query(RESOLUTION_ASKED)
        .bind(new.transaction_id)
        .bind(new.kind.as_str())
        .bind(new.about.flag.map(crate::domain::state::Flag::as_str))
        .bind(new.about.refund_id)
        .bind(new.about.amount.map(Sen::sen))
        .bind(new.content_hash)
        .bind(new.made_by)
        .fetch_optional(&mut **tx)
        .await?;
    row.as_ref().map(request).transpose()
}

/// Writes a resolution under the row's lock: its place in the row's sequence where it takes effect, and its time.
pub async fn resolve(tx: &mut Tx, new: &NewResolution<'_>) -> Result<(Option<i32>, DateTime<Utc>), StoreError> {
    let row = sqlx::query(RESOLVE)
        .bind(new.transaction_id)
        .bind(new.kind.as_str())
        .bind(new.about.flag.map(crate::domain::state::Flag::as_str))
        .bind(new.about.refund_id)
        .bind(new.about.amount.map(Sen::sen))
        .bind(new.content_hash)
        .bind(new.reason)
        .bind(new.made_by)
        .bind(new.confirms)
        .fetch_one(&mut **tx)
        .await?;
    Ok((row.try_get("seq")?, row.try_get("at")?))
}

/// Records what went back outside.
pub async fn record_outside(tx: &mut Tx, transaction_id: i64, amount: Sen) -> Result<(), StoreError> {
    sqlx::query(OUTSIDE).bind(transaction_id).bind(amount.sen()).execute(&mut **tx).await?;
    Ok(())
}

impl Store {
    /// Gives a row to somebody, or to nobody.
    pub async fn assign(
        &self,
        transaction_id: i64,
        assignee: Option<&str>,
        by: &str,
        note: Option<&str>,
    ) -> Result<(), StoreError> {
        sqlx::query(ASSIGN).bind(transaction_id).bind(assignee).bind(by).bind(note).execute(self.pool()).await?;
        Ok(())
    }

    /// Who looks after these rows, and what waits on them.
    pub async fn care(&self, ids: &[i64]) -> Result<Vec<Care>, StoreError> {
        let rows = sqlx::query(CARE).bind(ids).fetch_all(self.pool()).await?;
        rows.iter()
            .map(|row| {
                Ok(Care {
                    transaction_id: row.try_get("id")?,
                    assignee: row.try_get("assignee")?,
                    waiting: row.try_get("waiting")?,
                    disputed: row.try_get("disputed")?,
                })
            })
            .collect()
    }

    /// Switches in force and requests that wait; `all`: also those that stand at `auto`.
    pub async fn switches(&self, all: bool) -> Result<Vec<SwitchRow>, StoreError> {
        sqlx::query(SWITCHES).bind(all).fetch_all(self.pool()).await?.iter().map(switch).collect()
    }

    /// Accounts whose refunds do not leave by themselves.
    pub async fn refunds_stopped(&self) -> Result<Vec<StoppedRow>, StoreError> {
        let rows = sqlx::query(STOPPED).fetch_all(self.pool()).await?;
        rows.iter()
            .map(|row| {
                Ok(StoppedRow {
                    account: row.try_get("account")?,
                    how: row.try_get("how")?,
                    reason: row.try_get("reason")?,
                    since: row.try_get("since")?,
                })
            })
            .collect()
    }
}

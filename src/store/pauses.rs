//! Accounts that people paused. The table is append-only and judges by trigger who may; what a pause does to call slots, probes
//! and ageing the database does by itself (`rekon.is_paused`). Who may ask for one is the engine's.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::Row;

use crate::store::{Store, StoreError};

/// The last word about an account: paused or resumed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PauseRow {
    /// The account.
    pub account: String,
    /// Paused, or at work again.
    pub paused: bool,
    /// Who said so.
    pub made_by: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub at: DateTime<Utc>,
}

const TURN: &str = "-- store::pauses::turn
insert into rekon.pauses (account, paused, made_by, reason) values ($1, $2, $3, $4) returning account, paused, made_by, reason, at";

const IN_FORCE: &str = "-- store::pauses::in_force
select account, paused, made_by, reason, at from (
  select distinct on (account) account, paused, made_by, reason, at from rekon.pauses order by account, id desc) as last
 where paused order by account";

fn pause(row: &sqlx::postgres::PgRow) -> Result<PauseRow, StoreError> {
    Ok(PauseRow {
        account: row.try_get("account")?,
        paused: row.try_get("paused")?,
        made_by: row.try_get("made_by")?,
        reason: row.try_get("reason")?,
        at: row.try_get("at")?,
    })
}

impl Store {
    /// Pauses an account for every replica, or lets it work again.
    ///
    /// # Errors
    /// The database's refusal where it is so already, or where `by` may not.
    pub async fn turn_pause(
        &self,
        account: &str,
        paused: bool,
        by: &str,
        reason: &str,
    ) -> Result<PauseRow, StoreError> {
        pause(&sqlx::query(TURN).bind(account).bind(paused).bind(by).bind(reason).fetch_one(self.pool()).await?)
    }

    /// Accounts that are paused, by name.
    pub async fn pauses(&self) -> Result<Vec<PauseRow>, StoreError> {
        sqlx::query(IN_FORCE).fetch_all(self.pool()).await?.iter().map(pause).collect()
    }
}

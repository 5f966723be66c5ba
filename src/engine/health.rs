//! How each account stands: may it be asked, do its refunds leave, what is late, when is the next call slot free. Plain reads;
//! what a row needs is not here.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    engine::EngineError,
    store::{
        Store,
        control::{StoppedRow, SwitchRow},
        reads::overview::{Backlog, OpenBreaker},
    },
};

/// What is configured of an account and its reader should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccountTerms {
    /// The account.
    pub account: String,
    /// Its provider.
    pub provider: String,
    /// Calls per second, all replicas together.
    pub calls_per_second: u32,
    /// Calls at once after a pause.
    pub burst: u32,
}

/// How an account stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccountHealth {
    /// What is configured.
    #[serde(flatten)]
    pub terms: AccountTerms,
    /// Nothing below needs somebody.
    pub healthy: bool,
    /// Why it is not asked; `None`: it is.
    pub breaker: Option<OpenBreaker>,
    /// Why its refunds do not leave by themselves.
    pub refunds_stopped: Vec<StoppedRow>,
    /// Switches below `auto` that hold for it, and requests to turn one.
    pub switches: Vec<SwitchRow>,
    /// Rows that are held, in review, or flagged open.
    pub exceptions: i64,
    /// Rows that are due and were not asked yet.
    pub due: i64,
    /// The earliest time that is due and passed.
    pub oldest_due_at: Option<DateTime<Utc>>,
    /// When the next call slot is free; in the past, or `None`: now.
    pub next_slot_at: Option<DateTime<Utc>>,
}

/// Every configured account, by name.
pub async fn accounts(store: &Store, terms: &[AccountTerms]) -> Result<Vec<AccountHealth>, EngineError> {
    let backlog: BTreeMap<String, Backlog> =
        store.backlog().await?.into_iter().map(|b| (b.account.clone(), b)).collect();
    let breakers = store.open_breakers().await?;
    let stopped = store.refunds_stopped().await?;
    let switches = store.switches(false).await?;
    let slots: BTreeMap<String, DateTime<Utc>> = store.next_slots().await?.into_iter().collect();
    Ok(terms
        .iter()
        .map(|terms| {
            let name = &terms.account;
            let waits = backlog.get(name);
            let breaker = breakers.iter().find(|(account, ..)| account == name).map(|(account, opened_at, reason)| {
                OpenBreaker { account: account.clone(), opened_at: *opened_at, reason: reason.clone() }
            });
            let refunds_stopped: Vec<StoppedRow> = stopped.iter().filter(|s| s.account == *name).cloned().collect();
            AccountHealth {
                healthy: breaker.is_none() && refunds_stopped.is_empty(),
                breaker,
                refunds_stopped,
                switches: switches.iter().filter(|s| s.account == *name || s.account == "*").cloned().collect(),
                exceptions: waits.map_or(0, |b| b.exceptions),
                due: waits.map_or(0, |b| b.due),
                oldest_due_at: waits.and_then(|b| b.oldest_due_at),
                next_slot_at: slots.get(name).copied(),
                terms: terms.clone(),
            }
        })
        .collect())
}

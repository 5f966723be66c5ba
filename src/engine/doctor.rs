//! What is wrong, or will be, with this installation: findings, each with its cause, what to do, and where to read on. Looks
//! at the configuration, the profiles and the database; asks no provider (`providers check` does) and changes nothing.
//!
//! The signs are gathered first and judged by pure functions, so that every finding can be shown without an illness.

mod accounts;
mod database;
#[cfg(test)]
mod tests;
mod webhooks;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::{
    config::Config,
    engine::EngineError,
    providers::Account,
    store::{
        Store, StoreError,
        doctor::{ServerSigns, TableSigns},
    },
};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something does not work, or money is not safe.
    Error,
    /// Something will stop working, or already costs.
    Warning,
    /// Nobody proved it, or it is a choice that one should know of.
    Note,
}

impl Severity {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its stable id, a heading of `docs/doctor.md`.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What was seen.
    pub what: String,
    /// Why that is so, or why it matters.
    pub cause: &'static str,
    /// What to do.
    pub fix: &'static str,
    /// Where to read on.
    pub link: String,
}

/// The names and prose of a finding, apart from what was seen.
#[derive(Debug, Clone, Copy)]
struct Illness {
    id: &'static str,
    severity: Severity,
    cause: &'static str,
    fix: &'static str,
}

impl Illness {
    fn seen(self, what: String) -> Finding {
        let Self { id, severity, cause, fix } = self;
        Finding { id, severity, what, cause, fix, link: link(id) }
    }
}

/// The heading's anchor, as the usual renderers of Markdown spell it.
fn link(id: &str) -> String {
    format!("docs/doctor.md#{}", id.replace('.', ""))
}

/// Every finding there is, for the page that explains them.
pub fn catalogue() -> Vec<(&'static str, Severity)> {
    let all = [accounts::ALL, database::ALL, webhooks::ALL].concat();
    all.into_iter().map(|illness| (illness.id, illness.severity)).collect()
}

/// What was gathered.
#[derive(Debug, Clone)]
pub struct Signs {
    /// This machine's time.
    pub at: DateTime<Utc>,
    /// The database.
    pub database: DatabaseSigns,
}

/// What the database showed.
#[derive(Debug, Clone)]
pub enum DatabaseSigns {
    /// It cannot be reached; why.
    Unreachable(String),
    /// It was reached.
    Reached {
        /// How far its clock is ahead of this machine's.
        ahead: TimeDelta,
        /// How the server is set.
        server: ServerSigns,
        /// What waits in its tables; or why they are not this program's.
        tables: Result<TableSigns, String>,
    },
}

/// Gathers the signs of a database that can be reached. `machine` tells this machine's time.
///
/// # Errors
/// The database went away meanwhile.
pub async fn gather(store: &Store, machine: impl Fn() -> DateTime<Utc>) -> Result<Signs, EngineError> {
    let before = machine();
    let theirs = store.now().await?;
    let after = machine();
    // The answer was made somewhere in between.
    let middle = before.checked_add_signed((after - before) / 2).unwrap_or(before);
    let tables = match store.check_schema().await {
        Ok(()) => Ok(store.table_signs().await?),
        Err(StoreError::Schema(why)) if why.contains("does not exist") => Err("it has no schema yet".to_owned()),
        Err(StoreError::Schema(why)) => Err(why),
        Err(error) => return Err(error.into()),
    };
    let server = store.server_signs().await?;
    Ok(Signs { at: after, database: DatabaseSigns::Reached { ahead: theirs - middle, server, tables } })
}

/// Judges what was gathered: the worst first.
pub fn judge(config: &Config, accounts: &[Account], signs: &Signs) -> Vec<Finding> {
    let by_name: BTreeMap<&str, &Account> = accounts.iter().map(|account| (account.name.as_str(), account)).collect();
    let mut findings = database::findings(&signs.database, &config.database, &by_name, signs.at);
    if let DatabaseSigns::Reached { tables: Ok(tables), .. } = &signs.database {
        findings.extend(webhooks::findings(&tables.webhooks, config));
    }
    for account in accounts {
        let takes_notifications = config.accounts.get(&account.name).is_some_and(|a| a.notify.is_some());
        findings.extend(accounts::findings(account, takes_notifications, signs.at));
    }
    if !config.server.listen.ip().is_loopback() {
        findings.push(accounts::SERVER_OPEN.seen(format!("the HTTP side listens on {}", config.server.listen)));
    }
    findings.sort_by_key(|finding| finding.severity);
    findings
}

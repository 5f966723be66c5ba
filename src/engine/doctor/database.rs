//! Findings of the database: its server, its clock, and what waits in its tables.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};

use super::{DatabaseSigns, Finding, Illness, Severity};
use crate::{
    config::{Database, DatabaseTarget},
    providers::Account,
    store::doctor::{ServerSigns, TableSigns},
};

/// Clocks this far apart are worth a word.
const CLOCK_WARN: TimeDelta = TimeDelta::seconds(5);
const SECS_PER_DAY: i64 = 86_400;

const UNREACHABLE: Illness = Illness {
    id: "database.unreachable",
    severity: Severity::Error,
    cause: "without its database rekon asks nobody and returns nothing",
    fix: "check that it runs and that [database] url names it",
};
const UNMIGRATED: Illness = Illness {
    id: "database.unmigrated",
    severity: Severity::Error,
    cause: "the schema is not this program's: nothing but `rekon migrate` works on it",
    fix: "run `rekon migrate` with the version that is to run",
};
const FSYNC_OFF: Illness = Illness {
    id: "database.fsync_off",
    severity: Severity::Error,
    cause: "the server answers a commit before it is on the disk: after a power cut a refund that was sent may be unknown here, and go twice",
    fix: "set fsync = on in postgresql.conf and restart the server",
};
const PLAIN: Illness = Illness {
    id: "database.plain_connection",
    severity: Severity::Warning,
    cause: "the connection to the database leaves this machine without TLS: payments and the password's exchange can be read on the way",
    fix: "add sslmode=verify-full to [database] url, and switch ssl on at the server",
};
const POOLER: Illness = Illness {
    id: "database.pooler_without_direct_url",
    severity: Severity::Error,
    cause: "LISTEN and the command bus need a connection of their own; behind a pooler they hear nothing, and what they set up meets others' work",
    fix: "give [database] direct_url an address that leads past the pooler",
};
const UNLIMITED: Illness = Illness {
    id: "database.limits_dropped",
    severity: Severity::Warning,
    cause: "a pooler between drops the options of a connection, so a statement or a wait for a lock may hold a connection for ever",
    fix: "set the limits on the role itself: alter role … set statement_timeout = '30s', and lock_timeout likewise",
};
const PRIVATE: Illness = Illness {
    id: "database.private",
    severity: Severity::Note,
    cause: "a private Postgres lives in one folder of one machine: one replica, and nobody else backs it up",
    fix: "back up its folder, or move to a server of your own before a second replica",
};
const CLOCK: Illness = Illness {
    id: "clock.differs",
    severity: Severity::Warning,
    cause: "signatures carry the database's time, logs and TLS go by this machine's",
    fix: "set both clocks by NTP; `rekon providers check` compares the database's with each provider's",
};
const OPEN_ENDED: Illness = Illness {
    id: "expires_at.missing",
    severity: Severity::Warning,
    cause: "a payment without expires_at is asked about until the profile's default validity and the watch are over",
    fix: "write expires_at with the row, as the QR was made; it may still be set where it is null",
};
const STOPPED: Illness = Illness {
    id: "refunds.stopped",
    severity: Severity::Warning,
    cause: "the account's refund breaker opened, or a person stopped it: no refund of it leaves",
    fix: "read the reason, settle it with the provider, then let refunds leave again",
};
const BREAKER: Illness = Illness {
    id: "breaker.open",
    severity: Severity::Warning,
    cause: "most of the last calls failed, so nobody asks the provider but a probe; nothing ages or closes meanwhile",
    fix: "run `rekon providers check ACCOUNT`: it tells a provider that is down from keys that are wrong",
};
const SILENT: Illness = Illness {
    id: "run.silent",
    severity: Severity::Warning,
    cause: "a run is under way and its worker has not been heard: it ended hard, or none is there to take it",
    fix: "see that `rekon serve` runs with the role jobs: it takes up what nobody has; a run by hand is continued by the same command",
};
const FAILED: Illness = Illness {
    id: "run.failed",
    severity: Severity::Warning,
    cause: "the last run of this job ended badly; it is not begun again before its next time",
    fix: "read the log of that time, mend it, and run `rekon reconcile --date D` by hand for a day",
};

pub(super) const ALL: &[Illness] = &[
    UNREACHABLE,
    UNMIGRATED,
    FSYNC_OFF,
    PLAIN,
    POOLER,
    UNLIMITED,
    PRIVATE,
    CLOCK,
    OPEN_ENDED,
    STOPPED,
    BREAKER,
    SILENT,
    FAILED,
];

pub(super) fn findings(
    signs: &DatabaseSigns,
    database: &Database,
    accounts: &BTreeMap<&str, &Account>,
    at: DateTime<Utc>,
) -> Vec<Finding> {
    let (ahead, server, tables) = match signs {
        DatabaseSigns::Unreachable(why) => return vec![UNREACHABLE.seen(why.clone())],
        DatabaseSigns::Reached { ahead, server, tables } => (ahead, server, tables),
    };
    let mut findings = of_server(*server, database);
    if ahead.abs() > CLOCK_WARN {
        let ms = ahead.num_milliseconds();
        findings.push(CLOCK.seen(format!("the database's clock is {ms} ms ahead of this machine's")));
    }
    match tables {
        Err(why) => findings.push(UNMIGRATED.seen(why.clone())),
        Ok(tables) => findings.extend(of_tables(tables, accounts, at)),
    }
    findings
}

fn of_server(server: ServerSigns, database: &Database) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !server.is_fsync_on {
        findings.push(FSYNC_OFF.seen("the server runs with fsync = off".to_owned()));
    }
    if !server.is_local && !server.is_encrypted {
        findings.push(PLAIN.seen("the connection is not encrypted and the server is another machine".to_owned()));
    }
    if server.shares_sessions && !matches!(database.target, DatabaseTarget::Url { direct_url: Some(_), .. }) {
        findings.push(
            POOLER
                .seen("two connections are answered by one session: [database] url leads through a pooler".to_owned()),
        );
    }
    let (statement, lock) = (server.statement_timeout, server.lock_timeout);
    let is_dropped = |at_server: Duration, wanted: Duration| at_server.is_zero() || at_server > wanted;
    if is_dropped(statement, database.statement_timeout) || is_dropped(lock, database.lock_timeout) {
        let (wanted, ms) = (database.statement_timeout.as_millis(), database.lock_timeout.as_millis());
        findings.push(UNLIMITED.seen(format!(
            "statement_timeout and lock_timeout are {} and {} ms at the server, {wanted} and {ms} ms are wanted; 0 is no limit",
            statement.as_millis(),
            lock.as_millis()
        )));
    }
    if matches!(database.target, DatabaseTarget::Embedded) {
        findings.push(PRIVATE.seen("[database] embedded = true".to_owned()));
    }
    findings
}

fn of_tables(tables: &TableSigns, accounts: &BTreeMap<&str, &Account>, at: DateTime<Utc>) -> Vec<Finding> {
    let open_ended = tables.open_ended.iter().map(|(account, rows)| {
        let validity = accounts.get(account.as_str()).map(|known| known.profile.rules.default_validity_secs);
        let days = validity.map_or_else(String::new, |secs| {
            format!(", each taken to be valid for {} days", secs.checked_div(SECS_PER_DAY).unwrap_or(0))
        });
        OPEN_ENDED.seen(format!("account {account}: {rows} awaited payments without expires_at{days}"))
    });
    let stopped = tables.stopped.iter().map(|stopped| {
        let since = stopped.since.map_or_else(String::new, |since| format!(" since {}", since.to_rfc3339()));
        STOPPED.seen(format!("account {}: stopped{since}: {}", stopped.account, stopped.why))
    });
    let breakers = tables.breakers.iter().map(|(account, since, why)| {
        BREAKER.seen(format!("account {account}: open since {}: {why}", since.to_rfc3339()))
    });
    let silent = tables.silent_runs.iter().map(|run| {
        let minutes = at.signed_duration_since(run.heard_at).num_minutes();
        SILENT.seen(format!("run {} ({} {}): not heard for {minutes} minutes", run.id, run.job, run.slot))
    });
    let failed = tables.failed_runs.iter().map(|run| {
        FAILED.seen(format!("run {} ({} {}) failed at {}", run.id, run.job, run.slot, run.heard_at.to_rfc3339()))
    });
    stopped.chain(breakers).chain(open_ended).chain(silent).chain(failed).collect()
}

//! `rekon doctor`: what is wrong with this installation, why, and what to do. The looking is `engine::doctor`'s.

use chrono::{DateTime, Utc};

use crate::{
    cli::{
        context::{Context, OnSignal, Schema},
        exit::{Exit, Failure},
    },
    engine::{
        doctor::{self, DatabaseSigns, Finding, Severity, Signs},
        runtime,
    },
};

/// Look for what is wrong with configuration, profiles and database, and say what to do
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code 1: at least one finding is an error.\n\nExample: rekon doctor --json")]
pub(crate) struct Doctor {}

impl Doctor {
    pub(crate) fn run(context: &Context) -> Result<Exit, Failure> {
        let config = context.config()?;
        let accounts = runtime::accounts(config)?;
        let place = context.place()?;
        let gathered = context.session(place, Schema::Any, OnSignal::Abandon, async |session, _stop| {
            Ok(doctor::gather(&session.store, machine_time).await?)
        });
        let signs = match gathered {
            Err(failure @ Failure::Connect(_)) => {
                let why = failure.told().replace("\n  because", "; because");
                Signs { at: machine_time(), database: DatabaseSigns::Unreachable(why) }
            }
            gathered => gathered?,
        };
        let findings = doctor::judge(config, &accounts, &signs);
        context.out.document(&findings, || page(&findings))?;
        let is_ill = findings.iter().any(|finding| finding.severity == Severity::Error);
        Ok(if is_ill { Exit::Failed } else { Exit::Clean })
    }
}

/// Compared with the database's; nothing is dated by it.
#[expect(clippy::disallowed_methods, reason = "how far this machine's clock is off can only be told by reading it")]
fn machine_time() -> DateTime<Utc> {
    Utc::now()
}

fn page(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "Nothing found.".to_owned();
    }
    let told = findings.iter().map(|finding| {
        let Finding { id, severity, what, cause, fix, link } = finding;
        format!("{:<8} {id}: {what}\n         {cause}\n         To do: {fix}\n         {link}", severity.as_str())
    });
    told.collect::<Vec<_>>().join("\n\n")
}

//! `rekon migrate`: brings rekon's schema and the job runtime's up to date. Safe to run again and by several at once.

use serde_json::json;

use crate::{
    cli::{
        context::{Context, OnSignal, Schema},
        exit::{Exit, Failure},
    },
    jobs,
};

/// Bring the database schema up to date
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Bring the database schema up to date.\n\nApplies what is missing of rekon's schema and of the job runtime's, and does nothing on a current \
                  database. Every other command refuses a schema that is not this program's.",
    after_help = "Example: rekon migrate --config jobs.toml"
)]
pub(crate) struct Migrate {
    /// Change nothing: exit 0 where the schema is current, 78 where something is missing, and name it
    #[arg(long)]
    check: bool,
}

impl Migrate {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        if self.check {
            return check(context);
        }
        // Its lock and its settings belong to a session, which a pooler would lend to others.
        let place = context.direct_place()?;
        let version = context.session(place, Schema::Any, OnSignal::Abandon, async |session, _stop| {
            session.store.migrate().await?;
            jobs::setup::setup(&session.store).await?;
            Ok(session.store.schema_version().await?)
        })?;
        let text = || format!("The schema is at version {version}; nothing is left to migrate.");
        context.out.document(&json!({ "schema_version": version }), text)?;
        Ok(Exit::Clean)
    }
}

/// What is missing, of our schema and of the job runtime's; what a newer program has added is missing here.
fn check(context: &Context) -> Result<Exit, Failure> {
    let place = context.direct_place()?;
    let (mut missing, newer, version) =
        context.session(place, Schema::Any, OnSignal::Abandon, async |session, _stop| {
            let mut missing = session.store.missing_migrations().await?;
            let version = if missing.is_empty() { Some(session.store.schema_version().await?) } else { None };
            let ours_missing = !missing.is_empty();
            missing.extend(jobs::setup::missing(&session.store).await?);
            let newer = !ours_missing && session.store.check_schema().await.is_err();
            Ok((missing, newer, version))
        })?;
    if newer {
        missing.push("a newer rekon: the database has migrations that this program does not know".to_owned());
    }
    let text = || {
        if missing.is_empty() {
            "The schema is current; nothing is left to migrate.".to_owned()
        } else {
            format!("Missing:\n  {}\nRun `rekon migrate`.", missing.join("\n  "))
        }
    };
    context
        .out
        .document(&json!({ "current": missing.is_empty(), "schema_version": version, "missing": missing }), text)?;
    Ok(if missing.is_empty() { Exit::Clean } else { Exit::Config })
}

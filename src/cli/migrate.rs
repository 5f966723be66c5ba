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
pub(crate) struct Migrate {}

impl Migrate {
    pub(crate) fn run(context: &Context) -> Result<Exit, Failure> {
        let place = context.place()?;
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

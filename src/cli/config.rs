//! `rekon config`: is the configuration right, and where does each value come from? Needs no database and shows no secret.

use serde_json::json;

use crate::cli::{
    context::Context,
    exit::{Exit, Failure},
    wiring,
};

/// Check and show the configuration
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Example: rekon config check --config jobs.toml")]
pub(crate) enum ConfigCommand {
    /// Read the configuration and its secrets, and list everything that is wrong
    #[command(after_help = "Example: rekon config check --config jobs.toml")]
    Check,
    /// Print the configuration as TOML with the source of each value
    #[command(after_help = "Example: rekon config show --effective")]
    Show {
        /// Include the values that nobody set
        #[arg(long)]
        effective: bool,
    },
}

impl ConfigCommand {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self {
            Self::Check => check(context),
            Self::Show { effective } => show(context, effective),
        }
    }
}

/// With `--json` the errors are the document: on stdout, under the same exit code.
fn check(context: &Context) -> Result<Exit, Failure> {
    let config = match context.config() {
        Ok(config) => config,
        Err(Failure::Config(errors)) if context.out.json => {
            context.out.document(&json!({ "ok": false, "errors": errors.errors, "warnings": [] }), String::new)?;
            return Ok(Exit::Config);
        }
        Err(failure) => return Err(failure),
    };
    // Profiles, their overrides and keys: what only the providers can judge.
    wiring::demands(config)?;
    let warnings = config.warnings();
    for warning in &warnings {
        context.out.say(&format!("warning: {warning}"));
    }
    let file = config.path.as_ref().map_or("the built-in defaults".to_owned(), |path| path.display().to_string());
    let text = || format!("{file}: no errors, {} accounts, {} warnings", config.accounts.len(), warnings.len());
    context.out.document(&json!({ "ok": true, "errors": [], "warnings": warnings }), text)?;
    Ok(Exit::Clean)
}

fn show(context: &Context, effective: bool) -> Result<Exit, Failure> {
    let config = context.config()?;
    let is_shown = |setting: &&crate::config::Setting| effective || setting.source != crate::config::Source::Default;
    let settings: Vec<_> = config.settings().iter().filter(is_shown).collect();
    let text = || match config.show(effective) {
        empty if empty.is_empty() => "# Every value is the built-in default; --effective shows them.".to_owned(),
        toml => toml,
    };
    context.out.document(&json!({ "settings": settings }), text)?;
    Ok(Exit::Clean)
}

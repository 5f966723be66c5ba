//! `rekon switch`: how far rekon may go, for an account or for all of them. Down at once, up by two people.

use crate::{
    cli::{
        context::Context,
        exit::{Exit, Failure},
        output::{table, wib},
        wiring,
    },
    domain::switch::Level,
    engine::control,
    store::control::SwitchRow,
};

/// Show and turn the kill switch
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Example: rekon switch show")]
pub(crate) enum Switch {
    /// Show where the switches stand, and what waits for a second person
    #[command(after_help = "Example: rekon switch show --json")]
    Show,
    /// Turn an account's switch, or everybody's with '*'; raising it takes a second person who says the same within an hour
    #[command(after_help = "Example: rekon switch set doku-main post --reason incident-42")]
    Set {
        /// The account, or '*'
        account: String,
        /// observe, post, propose or auto
        #[arg(value_parser = level)]
        level: Level,
        /// Why
        #[arg(long)]
        reason: String,
    },
}

impl Switch {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self {
            Self::Show => {
                let rows = context.with_database(async |session| Ok(session.store.switches(true).await?))?;
                context.out.list(&rows, || page(&rows))?;
                Ok(Exit::Clean)
            }
            Self::Set { account, level, reason } => {
                let (row, said) = context.with_database(async |session| {
                    let rulebook = wiring::rulebook(session.config)?;
                    let by = context.actor(&session.store).await?;
                    Ok(control::turn(&session.store, &rulebook, &by, (&account, level), &reason).await?)
                })?;
                context.out.document(&row, || match (said.effective, &said.confirmed) {
                    (true, Some(who)) => format!("{account} is at {} now, as {who} asked.", level.as_str()),
                    (true, None) => format!("{account} is at {} now.", level.as_str()),
                    (false, _) => format!(
                        "Asked for. It is in force when somebody else, a checker or admin, says the same within an hour:\n  \
                         rekon switch set {account} {} --reason ...",
                        level.as_str()
                    ),
                })?;
                Ok(Exit::Clean)
            }
        }
    }
}

fn level(word: &str) -> Result<Level, String> {
    Level::from_word(word).ok_or_else(|| format!("known levels: {}", Level::ALL.map(Level::as_str).join(", ")))
}

/// Switches as a table.
pub(crate) fn page(rows: &[SwitchRow]) -> String {
    if rows.is_empty() {
        return "Every switch stands at auto: the configuration says what leaves.".to_owned();
    }
    let lines = rows.iter().map(|row| {
        vec![
            row.account.clone(),
            row.level.as_str().to_owned(),
            if row.effective { "in force" } else { "asked for" }.to_owned(),
            wib(row.at),
            row.made_by.clone(),
            row.reason.clone(),
        ]
    });
    table(&["account", "level", "", "since", "by", "reason"], &[], lines)
}

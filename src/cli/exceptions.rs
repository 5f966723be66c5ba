//! `rekon exceptions`: the rows that wait for somebody, with what is at stake and what helps.

use crate::{
    cli::{
        context::Context,
        exit::{Exit, Failure},
        output::{span, table},
    },
    engine::lookup::ExceptionRow,
    store::reads::TransactionFilter,
};

/// List what does not reconcile
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Example: rekon exceptions list")]
pub(crate) enum Exceptions {
    /// List rows that are held, in review or have an open flag, newest first
    #[command(after_help = "Example: rekon exceptions list --account doku-main --json")]
    List(List),
}

/// Which exceptions.
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Only of this account
    #[arg(long)]
    account: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    limit: i64,
    /// Only behind the row with this id: the last one of the page before
    #[arg(long, value_name = "ID")]
    after: Option<i64>,
}

impl Exceptions {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let Self::List(List { account, limit, after }) = self;
        let filter = TransactionFilter { account, limit, after, exceptions_only: true, ..TransactionFilter::default() };
        let (rows, now) = context.with_database(async |session| {
            Ok((session.store.list_transactions(&filter).await?, session.store.now().await?))
        })?;
        let rows: Vec<ExceptionRow> = rows.into_iter().map(|row| ExceptionRow::of(row, now)).collect();
        context.out.list(&rows, || page(&rows))?;
        if let Some(last) = rows.last().filter(|_| i64::try_from(rows.len()) == Ok(limit)) {
            context.out.say(&format!("There may be more: --after {}", last.row.id));
        }
        Ok(Exit::Clean)
    }
}

fn page(rows: &[ExceptionRow]) -> String {
    if rows.is_empty() {
        return "No open exceptions.".to_owned();
    }
    let header = ["id", "account", "partner_reference_no", "state", "open flags", "age", "at risk", "why", "next step"];
    let lines = rows.iter().map(|exception| {
        let row = &exception.row;
        vec![
            row.id.to_string(),
            row.account.clone(),
            row.partner_reference_no.clone(),
            row.state.as_str().to_owned(),
            row.flags_open.join(","),
            span(exception.age_secs),
            exception.value_at_risk.to_string(),
            exception.why.to_owned(),
            exception.next_step.to_owned(),
        ]
    });
    table(&header, &[6], lines)
}

//! `rekon exceptions`: the rows that wait for somebody, with what is at stake and what helps. What people decide is in `people`.

mod people;

use crate::{
    cli::{
        context::Context,
        exit::{Exit, Failure},
        output::{span, table},
    },
    engine::lookup::{self, ExceptionRow},
    store::reads::TransactionFilter,
};

/// List, assign and resolve what does not reconcile
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Example: rekon exceptions list")]
pub(crate) enum Exceptions {
    /// List rows that are held, in review or have an open flag, newest first
    #[command(after_help = "Example: rekon exceptions list --account doku-main --json")]
    List(List),
    /// Give a row to somebody to look after
    #[command(after_help = "Example: rekon exceptions assign INV-1 --to sari")]
    Assign(people::Assign),
    /// Decide about a row that no rule can settle; what moves money takes two people
    #[command(after_help = "Example: rekon exceptions resolve INV-1 --with accept_as_paid --reason goods-were-cheaper")]
    Resolve(people::Resolve),
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
        match self {
            Self::List(list) => list.run(context),
            Self::Assign(assign) => assign.run(context),
            Self::Resolve(resolve) => resolve.run(context),
        }
    }
}

impl List {
    fn run(self, context: &Context) -> Result<Exit, Failure> {
        let Self { account, limit, after } = self;
        let filter = TransactionFilter { account, limit, after, exceptions_only: true, ..TransactionFilter::default() };
        let rows = context.with_database(async |session| Ok(lookup::exceptions(&session.store, &filter).await?))?;
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
    let header =
        ["id", "account", "partner_reference_no", "state", "open flags", "age", "at risk", "with", "why", "next step"];
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
            with(exception),
            exception.why.to_owned(),
            exception.next_step.to_owned(),
        ]
    });
    table(&header, &[6], lines)
}

/// Who looks after it, and what waits for a second person.
fn with(exception: &ExceptionRow) -> String {
    let care = &exception.care;
    let dispute = care.disputed.then(|| "disputed".to_owned());
    let parts: Vec<String> = care.assignee.iter().cloned().chain(dispute).chain(care.waiting.iter().cloned()).collect();
    if parts.is_empty() { "-".to_owned() } else { parts.join("; ") }
}

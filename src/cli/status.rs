//! `rekon status`: one screen. Where do the rows stand, what is late, which money is at risk, what runs?

use crate::{
    cli::{
        context::Context,
        exit::{Exit, Failure},
        output::{span, table, wib, wib_or_dash},
        switch,
    },
    domain::{order::secs_between, state::State},
    store::reads::overview::{DUE_MAX, Overview, StateCount},
};

/// Show where everything stands on one screen
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: rekon status --json")]
pub(crate) struct Status {
    /// Count what is at rest too: reads every payment and refund there ever was
    #[arg(long)]
    all: bool,
}

impl Status {
    pub(crate) fn run(&self, context: &Context) -> Result<Exit, Failure> {
        let overview = context.with_database(async |session| Ok(session.store.overview(self.all).await?))?;
        context.out.document(&overview, || screen(&overview, self.all))?;
        Ok(Exit::Clean)
    }
}

fn screen(overview: &Overview, all: bool) -> String {
    let mut parts = vec![format!("As of {}", wib(overview.at)), accounts(overview, all)];
    if !overview.at_risk.is_empty() {
        let rows = overview
            .at_risk
            .iter()
            .map(|s| vec![s.account.clone(), s.cause.clone(), s.rows.to_string(), s.amount.to_string()]);
        parts.push(format!("Money at risk\n{}", table(&["account", "cause", "rows", "rupiah"], &[2, 3], rows)));
    }
    if !overview.refunds.is_empty() {
        let rows = overview.refunds.iter().map(|r| vec![r.state.clone(), r.refunds.to_string(), r.amount.to_string()]);
        parts.push(format!("Refunds\n{}", table(&["state", "refunds", "rupiah"], &[1, 2], rows)));
    }
    for breaker in &overview.breakers_open {
        parts.push(format!(
            "Account {} is not asked since {}: {}",
            breaker.account,
            wib(breaker.opened_at),
            breaker.reason
        ));
    }
    for pause in &overview.paused {
        let (account, since) = (&pause.account, wib(pause.at));
        parts.push(format!("Account {account} is paused since {since} by {}: {}", pause.made_by, pause.reason));
    }
    for stopped in &overview.refunds_stopped {
        let how = if stopped.how == "stopped" { "No refund leaves" } else { "Refunds leave by two people only from" };
        parts.push(format!("{how} {}, since {}: {}", stopped.account, wib_or_dash(stopped.since), stopped.reason));
    }
    if !overview.switches.is_empty() {
        parts.push(format!("Switches\n{}", switch::page(&overview.switches)));
    }
    if !overview.violations.is_empty() {
        let rows = overview.violations.iter().map(|v| {
            let row = if v.transaction_id > 0 { v.transaction_id.to_string() } else { "-".to_owned() };
            vec![v.invariant.clone(), v.account.clone(), row, v.what.clone()]
        });
        parts.push(format!("Broken rules of money\n{}", table(&["rule", "account", "row", "what"], &[2], rows)));
    }
    parts.push(runs(overview));
    parts.join("\n\n")
}

/// States of rows that are not at rest.
const OPEN: [State; 4] = [State::Pending, State::Held, State::Refunding, State::Review];

fn accounts(overview: &Overview, all: bool) -> String {
    if overview.states.is_empty() {
        let hint = "`rekon import FILE.csv` brings payments, `rekon status --all` counts those that are at rest.";
        return format!("No payment is open: {hint}");
    }
    let shown = if all { State::ALL.to_vec() } else { OPEN.to_vec() };
    let mut header = vec!["account"];
    header.extend(shown.iter().map(|state| state.as_str()));
    header.extend(["exceptions", "overdue", "oldest overdue"]);
    let mut names: Vec<&str> = overview.states.iter().map(|count| count.account.as_str()).collect();
    names.dedup();
    let rows = names.into_iter().map(|account| {
        let count = |state: State| {
            let is_it = |c: &&StateCount| c.account == account && c.state == state.as_str();
            overview.states.iter().find(is_it).map_or(0, |c| c.rows).to_string()
        };
        let waits = overview.backlog.iter().find(|backlog| backlog.account == account);
        let mut row = vec![account.to_owned()];
        row.extend(shown.iter().map(|state| count(*state)));
        row.push(waits.map_or(0, |backlog| backlog.exceptions).to_string());
        let due = waits.map_or(0, |backlog| backlog.due);
        row.push(if due < DUE_MAX { due.to_string() } else { format!("{due} or more") });
        let oldest = waits.and_then(|backlog| backlog.oldest_due_at);
        row.push(oldest.map_or_else(|| "-".to_owned(), |at| span(secs_between(at, overview.at))));
        row
    });
    let numbers: Vec<usize> = (1..header.len()).collect();
    table(&header, &numbers, rows)
}

fn runs(overview: &Overview) -> String {
    if overview.last_runs.is_empty() {
        return "No job has run yet.".to_owned();
    }
    let rows = overview.last_runs.iter().map(|run| {
        vec![
            run.job.clone(),
            run.slot.clone(),
            run.state.clone(),
            wib(run.started_at),
            wib_or_dash(run.finished_at),
            run.requested_by.clone(),
        ]
    });
    format!("Last runs\n{}", table(&["job", "slot", "state", "started", "finished", "asked by"], &[], rows))
}

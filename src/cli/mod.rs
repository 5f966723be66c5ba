//! What a person types: one file per command, exit codes, output as text or JSON. No logic that another door would need too.
//!
//! A new command is a file with a `clap::Args` struct and a `run(self, &Context) -> Result<Exit, Failure>`, one variant of
//! [`Command`], one arm of [`Command::run`] and one heading in `docs/cli.md`; a test compares the last two.

mod bench;
mod completions;
mod config;
mod context;
mod demo;
mod doctor;
mod exceptions;
mod exit;
mod explain;
mod http;
mod import;
mod man;
mod migrate;
mod output;
mod providers;
mod qris;
mod recheck;
mod reconcile;
mod refunds;
mod reload;
mod replay;
mod report;
mod serve;
mod signals;
mod sim;
mod status;
mod switch;
mod tokens;
mod transactions;
mod users;
mod verify;
mod webhooks;
mod wiring;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use context::Context;
pub use exit::Exit;
use exit::Failure;
use output::Output;

use crate::config::Environment;

/// Reconcile QRIS payments: ask the provider what really happened, keep the ledger, return what should not have been taken
#[derive(Debug, Parser)]
#[command(
    name = "rekon",
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 clean, 1 failed, 2 usage, 3 open exceptions above the threshold, 4 incomplete, 5 invariant violated,\n\
                  69 provider or database unavailable, 75 try again, 78 configuration.\n\n\
                  Example: rekon status --config jobs.toml"
)]
struct Cli {
    /// Read this configuration instead of the one that REKON_CONFIG names
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON: one document, or one object a line for lists
    #[arg(long, global = true)]
    json: bool,
    /// Read the personal token from this file instead of the variable REKON_TOKEN
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Reconcile(reconcile::Reconcile),
    Migrate(migrate::Migrate),
    Import(import::Import),
    Status(status::Status),
    Explain(explain::Explain),
    Recheck(recheck::Recheck),
    #[command(subcommand)]
    Transactions(transactions::Transactions),
    #[command(subcommand)]
    Exceptions(exceptions::Exceptions),
    #[command(subcommand)]
    Refunds(refunds::Refunds),
    #[command(subcommand)]
    Qris(qris::QrisCommand),
    #[command(subcommand)]
    Providers(providers::ProvidersCommand),
    #[command(subcommand)]
    Config(config::ConfigCommand),
    #[command(subcommand)]
    Webhooks(webhooks::WebhooksCommand),
    Doctor(doctor::Doctor),
    Verify(verify::Verify),
    Replay(replay::ReplayCommand),
    #[command(subcommand)]
    Switch(switch::Switch),
    #[command(subcommand)]
    Users(users::Users),
    #[command(subcommand)]
    Tokens(tokens::Tokens),
    Sim(sim::SimCommand),
    Demo(demo::Demo),
    Bench(bench::Bench),
    Completions(completions::Completions),
    Man(man::Man),
}

impl Command {
    fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self {
            Self::Serve(command) => command.run(context),
            Self::Reconcile(command) => command.run(context),
            Self::Migrate(command) => command.run(context),
            Self::Import(command) => command.run(context),
            Self::Status(command) => command.run(context),
            Self::Explain(command) => command.run(context),
            Self::Recheck(command) => command.run(context),
            Self::Transactions(command) => command.run(context),
            Self::Exceptions(command) => command.run(context),
            Self::Refunds(command) => command.run(context),
            Self::Qris(command) => command.run(context),
            Self::Providers(command) => command.run(context),
            Self::Config(command) => command.run(context),
            Self::Webhooks(command) => command.run(context),
            Self::Doctor(_) => doctor::Doctor::run(context),
            Self::Verify(command) => command.run(context),
            Self::Replay(command) => command.run(context),
            Self::Switch(command) => command.run(context),
            Self::Users(command) => command.run(context),
            Self::Tokens(command) => command.run(context),
            Self::Sim(command) => command.run(context),
            Self::Demo(command) => command.run(context),
            Self::Bench(command) => command.run(context),
            Self::Completions(command) => command.run(),
            Self::Man(command) => command.run(context),
        }
    }
}

/// The command line as clap knows it, for manuals, completions and the test that holds `docs/cli.md` to it.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Parses the command line, runs the command and returns the process's exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and version go to stdout with 0, a usage error to stderr with 2; a reader who left is no error.
        Err(said) => {
            drop(said.print());
            return if said.use_stderr() { Exit::Usage.into() } else { Exit::Clean.into() };
        }
    };
    let environment = Environment::from_process();
    let plain = environment.variables.get("NO_COLOR").is_some_and(|value| !value.is_empty());
    let out = Output::new(cli.json, plain);
    let context = Context::new(cli.config, environment, out).acting_by(cli.token_file);
    match cli.command.run(&context) {
        Ok(exit) => exit.into(),
        Err(failure) if failure.is_broken_pipe() => Exit::Clean.into(),
        Err(failure) => {
            out.say(&format!("rekon: {}", failure.told()));
            failure.exit().into()
        }
    }
}

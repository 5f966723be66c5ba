//! `rekon completions`: what a shell needs to complete rekon's command line. Written by clap from the same definition that parses.

use std::io::Write as _;

use clap_complete::Shell;

use crate::cli::{
    command,
    exit::{Exit, Failure},
};

/// Print the completions of a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: rekon completions bash")]
pub(crate) struct Completions {
    /// Whose
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command(), "rekon", &mut script);
        std::io::stdout().lock().write_all(&script).map_err(Failure::Output)?;
        Ok(Exit::Clean)
    }
}

//! `rekon man`: manual pages, written by clap from the same definition that parses. `docs/cli.md` says more.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use crate::cli::{
    command,
    context::Context,
    exit::{Exit, Failure},
};

/// Print the manual page, or write one page for every command
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: rekon man --dir man1")]
pub(crate) struct Man {
    /// Write a page for every command into this folder instead
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

impl Man {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let Some(dir) = self.dir else {
            let mut page = Vec::new();
            clap_mangen::Man::new(command()).render(&mut page).map_err(Failure::Output)?;
            std::io::stdout().lock().write_all(&page).map_err(Failure::Output)?;
            return Ok(Exit::Clean);
        };
        write_all(&dir).map_err(|source| Failure::File { path: dir.display().to_string(), source })?;
        context.out.say(&format!("The manual is in {}; read it with: man -l {}/rekon.1", dir.display(), dir.display()));
        Ok(Exit::Clean)
    }
}

fn write_all(dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    clap_mangen::generate_to(command(), dir)
}

//! `rekon verify`: proves the ledger from what is stored, or from an export, and names the first thing that is not as it was
//! written.

use std::{
    fs::File,
    io::{BufReader, BufWriter},
    path::PathBuf,
};

use crate::cli::{
    context::Context,
    exit::{Exit, Failure},
    output::table,
};
use crate::engine::verify::{self, Proof};

/// Prove journal, postings, facts, refunds and seals against their hashes
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code 5: something was changed behind rekon's back.\n\nExample: rekon verify --export 2026-11-19.jsonl"
)]
pub(crate) struct Verify {
    /// Write every chain and seal to this file too, for a proof without the database
    #[arg(long, value_name = "FILE", conflicts_with = "offline")]
    export: Option<PathBuf>,
    /// Prove this export; no database is asked
    #[arg(long, value_name = "FILE")]
    offline: Option<PathBuf>,
}

impl Verify {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let bar = context.out.bar(0, "rows");
        let seen = |proof: &Proof| bar.set_position(proof.rows);
        let proof = match &self.offline {
            Some(path) => {
                let file = File::open(path).map_err(|source| file_failure(path, source))?;
                verify::verify_export(BufReader::new(file), seen)?
            }
            None => self.online(context, seen)?,
        };
        bar.finish_and_clear();
        context.out.document(&proof, || told(&proof))?;
        Ok(if proof.broken == 0 { Exit::Clean } else { Exit::Invariant })
    }

    fn online(&self, context: &Context, mut seen: impl FnMut(&Proof)) -> Result<Proof, Failure> {
        let open = |path: &PathBuf| File::create(path).map_err(|source| file_failure(path, source));
        let mut file = self.export.as_ref().map(open).transpose()?.map(BufWriter::new);
        context.with_database(async |session| match &mut file {
            Some(file) => Ok(verify::verify_to(&session.store, file, &mut seen).await?),
            None => Ok(verify::verify(&session.store, &mut seen).await?),
        })
    }
}

fn file_failure(path: &std::path::Path, source: std::io::Error) -> Failure {
    Failure::File { path: path.display().to_string(), source }
}

fn told(proof: &Proof) -> String {
    let Proof { rows, entries, seals, bodies, facts_without_body, broken, breaks } = proof;
    let summary = format!("{rows} rows, {entries} journal entries, {seals} seals, {bodies} bodies, {broken} breaks");
    if breaks.is_empty() {
        let gone = format!("\n{facts_without_body} facts are proved by their hash alone: their bodies were pruned");
        let gone = if *facts_without_body > 0 { gone } else { String::new() };
        return format!("{summary}: everything is as it was written{gone}");
    }
    let rows = breaks.iter().map(|b| {
        let entry = b.entry_no.map(|n| n.to_string()).or_else(|| b.seal.map(|day| format!("seal {day}")));
        vec![b.account.clone(), b.partner_reference_no.clone(), entry.unwrap_or_else(|| "-".to_owned()), b.what.clone()]
    });
    format!("{summary}\n{}", table(&["account", "partner_reference_no", "entry", "what"], &[2], rows))
}

//! `rekon verify`: proves the ledger from what is stored, and names the first thing that is not as it was written.

use crate::cli::{
    context::Context,
    exit::{Exit, Failure},
    output::table,
};
use crate::engine::verify;

/// Prove journal, postings, facts and refunds against their hashes
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code 5: something was changed behind rekon's back.\n\nExample: rekon verify --json")]
pub(crate) struct Verify {}

impl Verify {
    #[expect(clippy::unused_self, reason = "every command runs alike")]
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let bar = context.out.bar(0, "rows");
        let proof = context.with_database(async |session| {
            let proof = verify::verify(&session.store, |proof| bar.set_position(proof.rows)).await?;
            bar.finish_and_clear();
            Ok(proof)
        })?;
        context.out.document(&proof, || {
            let summary = format!("{} rows, {} journal entries, {} breaks", proof.rows, proof.entries, proof.broken);
            if proof.breaks.is_empty() {
                return format!("{summary}: everything is as it was written");
            }
            let rows = proof.breaks.iter().map(|b| {
                let entry = b.entry_no.map_or_else(|| "-".to_owned(), |n| n.to_string());
                vec![b.account.clone(), b.partner_reference_no.clone(), entry, b.what.clone()]
            });
            format!("{summary}\n{}", table(&["account", "partner_reference_no", "entry", "what"], &[2], rows))
        })?;
        Ok(if proof.broken == 0 { Exit::Clean } else { Exit::Invariant })
    }
}

//! Chains and seals as a file, one JSON document a line, and the proof of such a file with no database at hand. The lines are
//! a header, the seals, the chains by id, and an end that counts them and hashes all lines before it.

use std::io::{BufRead, Read as _, Write};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::engine::{
    EngineError,
    verify::{Proof, Prover, record::ChainRecord, seals::SealRecord},
};

/// What stands in the header.
const VERSION: u32 = 1;
/// The longest line that is read, bytes: a chain of some ten thousand entries.
const LINE_MAX: u64 = 256 * 1024 * 1024;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Export { version: u32, at: DateTime<Utc> },
    Seal(SealRecord),
    Chain(Box<ChainRecord>),
    End { chains: u64, entries: u64, sha256: String },
}

/// A file being written.
pub(super) struct Export<'a> {
    out: &'a mut (dyn Write + Send),
    digest: Sha256,
}

impl<'a> Export<'a> {
    /// Begins the file.
    pub(super) fn begin(out: &'a mut (dyn Write + Send), at: DateTime<Utc>) -> Result<Self, EngineError> {
        let mut export = Self { out, digest: Sha256::new() };
        export.line(&Line::Export { version: VERSION, at })?;
        Ok(export)
    }

    pub(super) fn seal(&mut self, seal: &SealRecord) -> Result<(), EngineError> {
        self.line(&Line::Seal(seal.clone()))
    }

    pub(super) fn chain(&mut self, chain: ChainRecord) -> Result<(), EngineError> {
        self.line(&Line::Chain(Box::new(chain)))
    }

    /// Writes the end.
    pub(super) fn end(mut self, proof: &Proof) -> Result<(), EngineError> {
        let sha256 = hex::encode(self.digest.clone().finalize());
        self.line(&Line::End { chains: proof.rows, entries: proof.entries, sha256 })?;
        self.out.flush().map_err(EngineError::Export)
    }

    fn line(&mut self, line: &Line) -> Result<(), EngineError> {
        let mut text = serde_json::to_vec(line).map_err(|e| EngineError::Export(e.into()))?;
        text.push(b'\n');
        self.digest.update(&text);
        self.out.write_all(&text).map_err(EngineError::Export)
    }
}

/// Proves an export. A line that is none, and a file that was cut off, are breaks like any other.
///
/// # Errors
/// The file cannot be read, or another version of rekon wrote it.
pub fn verify_export(mut file: impl BufRead, mut seen: impl FnMut(&Proof)) -> Result<Proof, EngineError> {
    let (mut prover, mut digest, mut text) = (Prover::default(), Sha256::new(), Vec::new());
    let (mut number, mut ended, mut behind) = (0_u64, false, None);
    loop {
        text.clear();
        if file.by_ref().take(LINE_MAX).read_until(b'\n', &mut text).map_err(EngineError::Export)? == 0 {
            break;
        }
        number = number.saturating_add(1);
        if ended {
            prover.say(format!("line {number} stands behind the end of the export"));
            break;
        }
        match serde_json::from_slice::<Line>(&text) {
            Ok(Line::Export { version, .. }) if version != VERSION => return Err(EngineError::ExportVersion(version)),
            Ok(Line::Export { .. }) if number == 1 => {}
            Ok(Line::Seal(seal)) if behind.is_none() => prover.seals.begin(seal),
            Ok(Line::Chain(chain)) if behind.is_none_or(|id| chain.id > id) => {
                behind = Some(chain.id);
                prover.chain(&chain);
                seen(&prover.proof);
            }
            Ok(Line::End { chains, entries, sha256 }) => {
                ended = true;
                if (chains, entries) != (prover.proof.rows, prover.proof.entries)
                    || sha256 != hex::encode(digest.clone().finalize())
                {
                    prover
                        .say("the export is not what was written: a line was changed, added or taken away".to_owned());
                }
            }
            Ok(_) => prover.say(format!("line {number} stands in the wrong place")),
            Err(error) => prover.say(format!("line {number} cannot be read: {error}")),
        }
        digest.update(&text);
    }
    if !ended {
        prover.say("the export has no end: it was cut off".to_owned());
    }
    Ok(prover.finish())
}

//! The hash chain of a row's journal: each entry's hash covers its own content and the hash before it, so that one
//! changed byte in the past is found and named. One chain per transaction, so that writers do not queue.

use sha2::{Digest, Sha256};

/// The 32 bytes of a link.
pub type Link = [u8; 32];

/// What stands before the first entry of a chain.
pub const GENESIS: Link = [0; 32];

/// The hash of an entry: over the previous link and the entry's canonical text (as stored in `journal.content`).
pub fn link(previous: &Link, content: &str) -> Link {
    let mut digest = Sha256::new();
    digest.update(previous);
    digest.update(content.as_bytes());
    digest.finalize().into()
}

/// The hash of a document such as a profile or a policy in its canonical JSON; short enough to read aloud.
pub fn fingerprint(canonical: &str) -> String {
    hex::encode(Sha256::digest(canonical.as_bytes())).chars().take(16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_changes_every_later_link() {
        let first = link(&GENESIS, "a");
        assert_ne!(link(&first, "b"), link(&link(&GENESIS, "A"), "b"));
        assert_eq!(link(&first, "b"), link(&link(&GENESIS, "a"), "b"));
    }
}

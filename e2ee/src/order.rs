//! The digest of a conversation's log: one value that stands for which entries there were, and in which order.
//!
//! d₀ is 32 zeros; dₙ = SHA-256(label ‖ dₙ₋₁ ‖ seq ‖ SHA-256(entry)). Who sees an entry withheld, swapped or replaced
//! has another digest from there on, for ever; messages carry their sender's digest ([`crate::content::Seen`]).
//! The invariant: equal digests at a seq mean equal logs up to it. This module must not know what an entry says, nor
//! which digests are remembered.

use crate::fields::Fields;
use rsa::sha2::{Digest, Sha256};

const LABEL: &str = "waxwing log digest v1";

/// The digest of the empty log, before seq 1.
pub const START: [u8; 32] = [0; 32];

/// The digest after the entry at `seq`, of which `entry` is every byte as it is in the log.
pub fn next(previous: &[u8; 32], seq: u64, entry: &[u8]) -> [u8; 32] {
    next_hashed(previous, seq, &entry_hash(entry))
}

/// What an entry counts as in the digest. Who joined late keeps these until it learns a digest to begin with.
pub fn entry_hash(entry: &[u8]) -> [u8; 32] {
    Sha256::digest(entry).into()
}

/// As [`next`], for an entry of which only the hash was kept.
pub fn next_hashed(previous: &[u8; 32], seq: u64, entry_hash: &[u8; 32]) -> [u8; 32] {
    Sha256::digest(Fields::labelled(LABEL).fixed(previous).number(seq).fixed(entry_hash).finish()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(entries: &[&[u8]]) -> [u8; 32] {
        entries.iter().zip(1..).fold(START, |digest, (entry, seq)| next(&digest, seq, entry))
    }

    #[test]
    fn the_same_log_has_the_same_digest() {
        assert_eq!(digest(&[b"a", b"b", b"c"]), digest(&[b"a", b"b", b"c"]));
        let kept = entry_hash(b"c");
        assert_eq!(next_hashed(&digest(&[b"a", b"b"]), 3, &kept), digest(&[b"a", b"b", b"c"]));
    }

    #[test]
    fn every_other_log_has_another_digest() {
        let honest = digest(&[b"a", b"b", b"c"]);
        for other in [
            digest(&[b"a", b"b"]),
            digest(&[b"a", b"c"]),
            digest(&[b"b", b"a", b"c"]),
            digest(&[b"a", b"b", b"C"]),
            digest(&[b"ab", b"c"]),
            digest(&[b"a", b"b", b"c", b""]),
        ] {
            assert_ne!(other, honest);
        }
        // The same entries under other numbers.
        assert_ne!(next(&next(&START, 1, b"a"), 3, b"b"), next(&next(&START, 1, b"a"), 2, b"b"));
    }

    #[test]
    fn the_digest_is_what_it_was() {
        let hex: String = digest(&[b"a", b"b"]).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "21852bc23731066229f087e1bb4665cc09f3b3e64686aa46bfe43038f0e7d9c3");
    }
}

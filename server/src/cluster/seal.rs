//! How hints are sealed: AES-256-GCM under a key that follows from the servers' data key and the sender's id.
//!
//! Layout: version ‖ node (16 bytes) ‖ number (8, big endian) ‖ ciphertext and tag; all before the ciphertext is the associated
//! data. Invariant: a key seals each number once. A node's id is random and made anew with every start, so its key is its
//! own, and the number is the nonce. It must not know what is sealed, or whether a number was expected.

use super::NodeId;
use crate::sealing::DataKey;
use aes_gcm::{
    Aes256Gcm, KeyInit, Nonce,
    aead::{Aead, Payload},
};
use std::fmt::Write as _;
use waxwing_protocol::Bytes;

const VERSION: u8 = 1;
const HEADER: usize = 1 + 16 + 8;

/// See the module.
pub(super) struct Keys {
    data_key: DataKey,
}

/// A node's own end.
pub(super) struct Sealer {
    node: NodeId,
    cipher: Aes256Gcm,
}

/// An opened hint.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) node: NodeId,
    pub(super) number: u64,
    pub(super) hint: Bytes,
}

impl Keys {
    pub(super) fn new(data_key: &DataKey) -> Self {
        Self { data_key: data_key.clone() }
    }

    /// Where the nodes of this data key meet.
    pub(super) fn subject(&self) -> String {
        let name = self.data_key.sub_key(b"waxwing cluster subject v1", &[]);
        name.iter().take(12).fold("waxwing.".to_owned(), |mut subject, byte| {
            // Writing to a String cannot fail.
            let _ = write!(subject, "{byte:02x}");
            subject
        })
    }

    fn cipher(&self, node: NodeId) -> Aes256Gcm {
        Aes256Gcm::new((&*self.data_key.sub_key(b"waxwing cluster hint v1", &node.0)).into())
    }

    pub(super) fn sealer(&self, node: NodeId) -> Sealer {
        Sealer { node, cipher: self.cipher(node) }
    }

    /// Whose it is, before anything was checked.
    pub(super) fn claimed(message: &[u8]) -> Option<NodeId> {
        Some(NodeId(message.get(1..17)?.try_into().ok()?))
    }

    /// Opens what a node of this data key has sealed.
    pub(super) fn open(&self, message: &[u8]) -> Option<Opened> {
        let (header, sealed) = message.split_at_checked(HEADER)?;
        let (node, number) = (Self::claimed(message)?, header.last_chunk::<8>()?);
        if header.first() != Some(&VERSION) {
            return None;
        }
        let hint = self.cipher(node).decrypt(&nonce(number), Payload { msg: sealed, aad: header }).ok()?;
        Some(Opened { node, number: u64::from_be_bytes(*number), hint: hint.into() })
    }
}

impl Sealer {
    /// Seals under a number that was not used before. None only for what is longer than AES-GCM takes.
    pub(super) fn seal(&self, number: u64, hint: &[u8]) -> Option<Vec<u8>> {
        let number = number.to_be_bytes();
        let mut message = [&[VERSION], self.node.0.as_slice(), &number].concat();
        let sealed = self.cipher.encrypt(&nonce(&number), Payload { msg: hint, aad: &message }).ok()?;
        message.extend_from_slice(&sealed);
        Some(message)
    }
}

fn nonce(number: &[u8; 8]) -> Nonce<aes_gcm::aead::consts::U12> {
    let mut nonce = [0; 12];
    let (_, end) = nonce.split_at_mut(4);
    end.copy_from_slice(number);
    nonce.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId([5; 16]);

    #[test]
    fn only_nodes_of_the_same_data_key_read_it_and_no_bit_may_differ() {
        let keys = Keys::new(&DataKey::from_bytes([1; 32]));
        let others = Keys::new(&DataKey::from_bytes([2; 32]));
        let message = keys.sealer(NODE).seal(7, b"hint").unwrap();
        assert_eq!(keys.open(&message), Some(Opened { node: NODE, number: 7, hint: b"hint".to_vec().into() }));
        assert_eq!(others.open(&message), None);
        assert_ne!(keys.subject(), others.subject());
        for position in 0..message.len() {
            let mut changed = message.clone();
            changed[position] ^= 1;
            assert_eq!(keys.open(&changed), None, "byte {position}");
            assert_eq!(keys.open(&message[..position]), None, "cut at {position}");
        }
        assert!(!message.windows(4).any(|window| window == b"hint"));
    }
}

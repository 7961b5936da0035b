//! The manifest of a backup: which segments there are, signed by a device of the account.
//!
//! Layout: version (1 byte) ‖ the head's length (8) ‖ the head (CBOR) ‖ the device's Ed25519 signature (64). The head
//! says what is needed to check and open the rest; the body inside it is sealed.
//! The invariant: nothing of a manifest is used, and nothing is decrypted, before the signature is checked against the
//! account's verified device list, and [`VerifiedManifest::follows`] notices every way back. This module must not know
//! who stores manifests, nor which one was seen last.

use super::{BackupError, GenerationKey, MANIFEST, decoded, encoded, open_segment, versioned};
use crate::{
    account::{AuthenticationKey, VerifiedDeviceList},
    fields::{Fields, Reader},
    padding::{class, pad_to, unpad},
    seal,
};
use ed25519_dalek::{Signature, VerifyingKey};
use minicbor::{CborLen, Decode, Encode};
use rsa::{
    rand_core::CryptoRng,
    sha2::{Digest, Sha256},
};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Separates these signatures from everything else that a device signs.
const LABEL: &str = "waxwing backup manifest v1";
const HASH_LABEL: &str = "waxwing backup manifest hash v1";
const BODY_LABEL: &str = "waxwing backup manifest body v1";
/// The first byte of a manifest.
const VERSION: u8 = 1;
/// The first lengths of padded bodies, in bytes; above the last, lengths follow Padmé.
const SIZES: [usize; 3] = [1024, 4 * 1024, 16 * 1024];
/// The length of a signature.
const SIGNATURE: usize = 64;

/// A manifest that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// 1 for the first, one more for each change.
    pub version: u64,
    /// The hash of the manifest before; zeros in the first, and in one that begins anew after the backup was deleted.
    pub previous: [u8; 32],
    /// The wrapped seed of the generation that seals it ([`GenerationKey::create`]).
    pub wrapped: Vec<u8>,
    /// What it says.
    pub body: Body,
}

/// What a manifest says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, CborLen)]
pub struct Body {
    /// The segments with messages.
    #[n(0)]
    pub segments: Vec<SegmentEntry>,
    /// The parts of the account's state: one, unless it is large.
    #[n(1)]
    pub state: Vec<StateEntry>,
    /// Keys of former generations under which segments are still sealed.
    #[n(2)]
    pub former: Vec<GenerationKey>,
    /// When it was written, by the device's clock: milliseconds since 1970.
    #[n(3)]
    pub written_at_ms: u64,
}

/// A segment with messages of one conversation.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, CborLen)]
pub struct SegmentEntry {
    /// Its id: random.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub id: [u8; 16],
    /// The generation that it is sealed under.
    #[n(1)]
    pub generation: u32,
    /// The chat's name.
    #[n(2)]
    pub chat: String,
    /// The conversation.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub conversation: [u8; 16],
    /// Which of the chat's conversations it is.
    #[n(4)]
    pub era: u32,
    /// The first seq that it stands for.
    #[n(5)]
    pub first: u64,
    /// The last seq that it stands for.
    #[n(6)]
    pub last: u64,
    /// How many messages it holds.
    #[n(7)]
    pub count: u32,
    /// When the newest of them was stored: milliseconds since 1970.
    #[n(8)]
    pub newest_ms: u64,
    /// SHA-256 of the sealed bytes.
    #[cbor(n(9), with = "minicbor::bytes")]
    pub sha256: [u8; 32],
}

/// A segment with a part of the account's state.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, CborLen)]
pub struct StateEntry {
    /// Its id: random.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub id: [u8; 16],
    /// The generation that it is sealed under.
    #[n(1)]
    pub generation: u32,
    /// SHA-256 of the sealed bytes.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub sha256: [u8; 32],
}

/// A manifest as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedManifest {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// What the next one names as its previous one.
    pub hash: [u8; 32],
}

/// A manifest that a device of the account has signed; still sealed.
#[derive(Clone)]
pub struct VerifiedManifest {
    username: String,
    head: Head,
    hash: [u8; 32],
}

#[derive(Clone, Encode, Decode, CborLen)]
struct Head {
    #[n(0)]
    version: u64,
    #[cbor(n(1), with = "minicbor::bytes")]
    previous: [u8; 32],
    #[n(2)]
    generation: u32,
    #[cbor(n(3), with = "minicbor::bytes")]
    wrapped: Vec<u8>,
    #[cbor(n(4), with = "minicbor::bytes")]
    device: [u8; 16],
    #[cbor(n(5), with = "minicbor::bytes")]
    body: Vec<u8>,
}

impl Manifest {
    /// Seals the body under `key`, and signs as the device `device` of the account.
    ///
    /// # Errors
    /// [`BackupError::TooLong`]: there are too many segments for [`MANIFEST`].
    pub fn seal(
        &self,
        key: &GenerationKey,
        username: &str,
        device: &[u8; 16],
        signer: &AuthenticationKey,
        rng: &mut impl CryptoRng,
    ) -> Result<SignedManifest, BackupError> {
        let mut head = Head {
            version: self.version,
            previous: self.previous,
            generation: key.number(),
            wrapped: self.wrapped.clone(),
            device: *device,
            body: Vec::new(),
        };
        let plaintext = encoded(&self.body)?;
        let padded = pad_to(&plaintext, class(plaintext.len() + 4, &SIZES)).map_err(|_| BackupError::TooLong)?;
        head.body = seal::seal(&head.body_key(key), &head.context(username), &padded, rng);
        let head = encoded(&head)?;
        let signature = signer.sign(&signed(username, &head));
        let bytes = Fields::default().fixed(&[VERSION]).variable(&head).fixed(&signature).finish();
        if bytes.len() > MANIFEST { Err(BackupError::TooLong) } else { Ok(SignedManifest { bytes, hash: hash(&head) }) }
    }
}

impl VerifiedManifest {
    /// Checks that a device of the account's list signed a manifest. The list has to be one that was in force when the
    /// manifest was written: who removes the device that wrote it writes another.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn verify(bytes: &[u8], username: &str, devices: &VerifiedDeviceList) -> Result<Self, BackupError> {
        if bytes.len() > MANIFEST {
            return Err(BackupError::TooLong);
        }
        if devices.list.username != username {
            return Err(BackupError::OtherAccount);
        }
        let (encoded, signature) = split(versioned(bytes, VERSION)?).ok_or(BackupError::Malformed)?;
        let head: Head = decoded(encoded)?;
        let device = devices.list.device(&head.device).ok_or(BackupError::Signature)?;
        let key = VerifyingKey::from_bytes(&device.authentication_key).map_err(|_| BackupError::Signature)?;
        key.verify_strict(&signed(username, encoded), &Signature::from_bytes(&signature))
            .map_err(|_| BackupError::Signature)?;
        if head.version == 0 || (head.version == 1 && head.previous != [0; 32]) {
            return Err(BackupError::Malformed);
        }
        Ok(Self { username: username.to_owned(), hash: hash(encoded), head })
    }

    /// Its version.
    pub fn version(&self) -> u64 {
        self.head.version
    }

    /// What the next one names as its previous one.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// The number of the generation that seals it.
    pub fn generation(&self) -> u32 {
        self.head.generation
    }

    /// The wrapped seed of that generation, for [`GenerationKey::open`].
    pub fn wrapped(&self) -> &[u8] {
        &self.head.wrapped
    }

    /// The device that signed it.
    pub fn device(&self) -> [u8; 16] {
        self.head.device
    }

    /// Whether it continues no manifest: the first one, or the first after the backup was deleted. One of its account's
    /// devices says so, but perhaps since the server had hidden an older manifest from it: who knows of one tells the
    /// user.
    pub fn begins_anew(&self) -> bool {
        self.head.previous == [0; 32]
    }

    /// Checks that this one is the same as, or comes after, the one that was seen last (0 and zeros if none was).
    /// Versions in between may have been missed, and one that [`Self::begins_anew`] comes after all.
    ///
    /// # Errors
    /// An alarm for the user: [`BackupError::Rollback`], [`BackupError::Fork`].
    pub fn follows(&self, last_version: u64, last_hash: &[u8; 32]) -> Result<(), BackupError> {
        let version = self.head.version;
        if version < last_version {
            return Err(BackupError::Rollback { from: last_version, to: version });
        }
        let same = version == last_version && !bool::from(self.hash.ct_eq(last_hash));
        let next = version - last_version == 1 && !self.begins_anew() && self.head.previous != *last_hash;
        if same || next { Err(BackupError::Fork { version }) } else { Ok(()) }
    }

    /// Opens the body.
    ///
    /// # Errors
    /// [`BackupError::Locked`] if the key is another one, [`BackupError::Malformed`].
    pub fn open(&self, key: &GenerationKey) -> Result<Body, BackupError> {
        if key.number() != self.head.generation {
            return Err(BackupError::Locked);
        }
        let head = &self.head;
        let padded = seal::open(&head.body_key(key), &head.context(&self.username), &head.body);
        let padded = padded.ok_or(BackupError::Locked)?;
        decoded(unpad(&padded).map_err(|_| BackupError::Malformed)?)
    }
}

impl Body {
    /// The key of a generation: the one that sealed this manifest, or a former one.
    pub fn key<'a>(&'a self, current: &'a GenerationKey, generation: u32) -> Option<&'a GenerationKey> {
        std::iter::once(current).chain(&self.former).find(|key| key.number() == generation)
    }
}

impl SegmentEntry {
    /// Checks the hash and opens a segment; `key` is what [`Body::key`] gives for its generation.
    ///
    /// # Errors
    /// As [`open_segment`].
    pub fn open(&self, key: &GenerationKey, username: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, BackupError> {
        open_listed(&self.id, &self.sha256, key, username, sealed)
    }
}

impl StateEntry {
    /// Checks the hash and opens a part of the state; `key` is what [`Body::key`] gives for its generation.
    ///
    /// # Errors
    /// As [`open_segment`].
    pub fn open(&self, key: &GenerationKey, username: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, BackupError> {
        open_listed(&self.id, &self.sha256, key, username, sealed)
    }
}

fn open_listed(
    id: &[u8; 16],
    sha256: &[u8; 32],
    key: &GenerationKey,
    username: &str,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, BackupError> {
    if Sha256::digest(sealed).as_slice() != sha256 {
        return Err(BackupError::Locked);
    }
    open_segment(key, username, id, sealed)
}

impl Head {
    /// Versions never repeat with one generation, and conflicting ones differ in their nonce.
    fn body_key(&self, key: &GenerationKey) -> Zeroizing<[u8; 32]> {
        key.subkey(BODY_LABEL, &self.version.to_be_bytes())
    }

    fn context(&self, username: &str) -> Vec<u8> {
        Fields::labelled(BODY_LABEL)
            .text(username)
            .number(self.version)
            .fixed(&self.previous)
            .number(self.generation.into())
            .variable(&self.wrapped)
            .fixed(&self.device)
            .finish()
    }
}

impl fmt::Debug for SignedManifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedManifest({} bytes)", self.bytes.len())
    }
}

impl fmt::Debug for VerifiedManifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifiedManifest({}, version {})", self.username, self.head.version)
    }
}

/// What the device signs.
fn signed(username: &str, head: &[u8]) -> Vec<u8> {
    Fields::labelled(LABEL).text(username).variable(head).finish()
}

fn hash(head: &[u8]) -> [u8; 32] {
    Sha256::digest(Fields::labelled(HASH_LABEL).variable(head).finish()).into()
}

/// The encoded head and its signature.
fn split(bytes: &[u8]) -> Option<(&[u8], [u8; SIGNATURE])> {
    let mut reader = Reader(bytes);
    let head = reader.variable(MANIFEST)?;
    let signature = reader.array()?;
    reader.finish()?;
    Some((head, signature))
}

#[cfg(test)]
mod tests;

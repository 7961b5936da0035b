//! The sealed file: the server's secrets under its password.
//!
//! Layout: `MAGIC ‖ CBOR(Header) ‖ CBOR(bytes ciphertext) ‖ SHA-256(all before)`. Argon2id of the password gives 64 bytes:
//! a key for AES-256-GCM, whose associated data is everything before the ciphertext, and a check value. The hash tells
//! damage from a wrong password; the check value tells a wrong password from a forgery. It must not know files.

use super::{Identity, InstallError};
use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{Aead, Payload},
};
use argon2::{Algorithm, Argon2, Params, Version};
use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const MAGIC: &[u8] = b"waxwing sealed\n";
const FORMAT: u16 = 1;
const DIGEST_LENGTH: usize = 32;

/// What is sealed. Never printed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop, Encode, Decode)]
#[cbor(map)]
pub struct Secrets {
    /// The identity's private key: PKCS#8, DER.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub private_key_der: Vec<u8>,
    /// The identity's certificate: X.509, DER. Public, and here so that key and certificate cannot part.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub certificate_der: Vec<u8>,
    /// Seals personal columns and vaults in the database.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub data_key: [u8; 32],
    /// Of the MySQL account.
    #[n(3)]
    pub database_password: Option<String>,
    /// What people must know to sign up, under that policy.
    #[n(4)]
    pub sign_up_secret: Option<String>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(<redacted>)")
    }
}

impl Secrets {
    /// A new identity and a new data key, without passwords.
    pub fn generate() -> Result<Self, InstallError> {
        let identity = Identity::generate()?;
        let mut data_key = [0; 32];
        random(&mut data_key).map_err(|error| InstallError::Identity(error.to_string()))?;
        Ok(Self {
            private_key_der: identity.private_key_der.to_vec(),
            certificate_der: identity.certificate_der,
            data_key,
            database_password: None,
            sign_up_secret: None,
        })
    }
}

/// Why a sealed file does not open (or cannot be made).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The file is whole; the password is not the right one.
    #[error("the server's password is wrong")]
    WrongPassword,
    /// Bytes are missing or changed.
    #[error("the file is damaged")]
    Damaged,
    /// Written by a newer version.
    #[error("the file has the format {0}, which is newer than this version of Waxwing knows")]
    Newer(u16),
    /// No randomness or not enough memory.
    #[error("sealing failed: {0}")]
    Failed(String),
}

/// The cost of guessing: Argon2id v1.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
struct Cost {
    #[n(0)]
    memory_kib: u32,
    #[n(1)]
    passes: u32,
    #[n(2)]
    lanes: u32,
}

const COST: Cost = Cost { memory_kib: 64 * 1024, passes: 3, lanes: 1 };

impl Cost {
    /// A file that asks for a gigabyte is an attack on the server's memory.
    fn is_sane(self) -> bool {
        self.memory_kib <= 1024 * 1024 && (1..=16).contains(&self.passes) && (1..=16).contains(&self.lanes)
    }
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Header {
    #[n(0)]
    format: u16,
    #[n(1)]
    cost: Cost,
    #[cbor(n(2), with = "minicbor::bytes")]
    salt: [u8; 16],
    #[cbor(n(3), with = "minicbor::bytes")]
    nonce: [u8; 12],
    #[cbor(n(4), with = "minicbor::bytes")]
    check: [u8; 32],
}

/// Seals the secrets under the server's password, with a new salt and nonce. About 200 ms and 64 MiB.
pub fn seal(secrets: &Secrets, password: &str) -> Result<Vec<u8>, SealError> {
    let (mut salt, mut nonce) = ([0; 16], [0; 12]);
    random(&mut salt)?;
    random(&mut nonce)?;
    seal_with(secrets, password, COST, salt, nonce)
}

fn seal_with(
    secrets: &Secrets,
    password: &str,
    cost: Cost,
    salt: [u8; 16],
    nonce: [u8; 12],
) -> Result<Vec<u8>, SealError> {
    let (cipher, check) = derive(password, cost, &salt)?;
    let encoded = |error: minicbor::encode::Error<std::convert::Infallible>| SealError::Failed(error.to_string());
    let mut plain = Zeroizing::new(Vec::with_capacity(4096));
    minicbor::encode(secrets, &mut *plain).map_err(encoded)?;
    let mut file = MAGIC.to_vec();
    minicbor::encode(Header { format: FORMAT, cost, salt, nonce, check }, &mut file).map_err(encoded)?;
    let payload = Payload { msg: &plain, aad: &file };
    let sealed = cipher.encrypt(&nonce.into(), payload).map_err(|error| SealError::Failed(error.to_string()))?;
    minicbor::encode(minicbor::bytes::ByteVec::from(sealed), &mut file).map_err(encoded)?;
    let digest = Sha256::digest(&file);
    file.extend_from_slice(&digest);
    Ok(file)
}

/// Opens a sealed file.
pub fn open(file: &[u8], password: &str) -> Result<Secrets, SealError> {
    let damaged = |_: minicbor::decode::Error| SealError::Damaged;
    let (body, digest) = file.split_last_chunk::<DIGEST_LENGTH>().ok_or(SealError::Damaged)?;
    let rest = body.strip_prefix(MAGIC).ok_or(SealError::Damaged)?;
    if Sha256::digest(body).as_slice() != digest {
        return Err(SealError::Damaged);
    }
    let mut decoder = minicbor::Decoder::new(rest);
    let format = format(rest).ok_or(SealError::Damaged)?;
    if format > FORMAT {
        return Err(SealError::Newer(format));
    }
    let header: Header = decoder.decode().map_err(damaged)?;
    let associated = body.get(..MAGIC.len() + decoder.position()).ok_or(SealError::Damaged)?;
    let sealed = decoder.bytes().map_err(damaged)?;
    if decoder.position() != rest.len() || !header.cost.is_sane() {
        return Err(SealError::Damaged);
    }
    let (cipher, check) = derive(password, header.cost, &header.salt)?;
    if !bool::from(check.ct_eq(&header.check)) {
        return Err(SealError::WrongPassword);
    }
    let payload = Payload { msg: sealed, aad: associated };
    let plain = cipher.decrypt(&header.nonce.into(), payload).map_err(|_| SealError::Damaged)?;
    minicbor::decode(&Zeroizing::new(plain)).map_err(damaged)
}

/// The format's number alone: a newer header may have other fields.
fn format(header: &[u8]) -> Option<u16> {
    #[derive(Decode)]
    #[cbor(map)]
    struct Format {
        #[n(0)]
        format: u16,
    }
    minicbor::decode::<Format>(header).ok().map(|header| header.format)
}

fn derive(password: &str, cost: Cost, salt: &[u8; 16]) -> Result<(Aes256Gcm, [u8; 32]), SealError> {
    let failed = |error: argon2::Error| SealError::Failed(error.to_string());
    let parameters = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(64)).map_err(failed)?;
    let mut keys = Zeroizing::new([0; 64]);
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters);
    argon2.hash_password_into(password.as_bytes(), salt, &mut *keys).map_err(failed)?;
    let (key, check) = keys.split_at(32);
    let cipher = Aes256Gcm::new_from_slice(key).map_err(|error| SealError::Failed(error.to_string()))?;
    // The check value stands in the file: a hash, so that nothing derived with the key itself is ever published.
    Ok((cipher, Sha256::new().chain_update(b"waxwing sealed check v1").chain_update(check).finalize().into()))
}

fn random(bytes: &mut [u8]) -> Result<(), SealError> {
    getrandom::fill(bytes).map_err(|error| SealError::Failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };

    fn secrets() -> Secrets {
        Secrets {
            private_key_der: vec![1; 100],
            certificate_der: vec![2; 300],
            data_key: [3; 32],
            database_password: Some("hunter2".into()),
            sign_up_secret: None,
        }
    }

    fn sealed() -> Vec<u8> {
        seal_with(&secrets(), "correct horse", CHEAP, [4; 16], [5; 12]).unwrap()
    }

    fn rehashed(mut file: Vec<u8>) -> Vec<u8> {
        file.truncate(file.len() - DIGEST_LENGTH);
        let digest = Sha256::digest(&file);
        file.extend_from_slice(&digest);
        file
    }

    #[test]
    fn what_was_sealed_opens_at_full_cost() {
        let file = seal(&secrets(), "correct horse").unwrap();
        assert!(open(&file, "correct horse").unwrap() == secrets());
        assert_eq!(open(&file, "correct horsf").unwrap_err(), SealError::WrongPassword);
        assert!(!file.windows(7).any(|window| window == b"hunter2"));
        assert_eq!(format!("{:?}", secrets()), "Secrets(<redacted>)");
    }

    #[test]
    fn the_stored_format_stays() {
        let file = sealed();
        let digest = Sha256::digest(&file);
        let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((file.len(), hex.as_str()), GOLDEN);
    }

    const GOLDEN: (usize, &str) = (596, "5668202428344458");

    #[test]
    fn damage_is_never_taken_for_a_wrong_password() {
        let file = sealed();
        for position in 0..file.len() {
            for bit in 0..8 {
                let mut flipped = file.clone();
                flipped[position] ^= 1 << bit;
                assert_eq!(
                    open(&flipped, "correct horse").unwrap_err(),
                    SealError::Damaged,
                    "byte {position} bit {bit}"
                );
            }
            assert_eq!(open(&file[..position], "correct horse").unwrap_err(), SealError::Damaged, "cut at {position}");
        }
        assert_eq!(open(&[file.as_slice(), b"\0"].concat(), "correct horse").unwrap_err(), SealError::Damaged);
    }

    #[test]
    fn a_forger_who_mends_the_hash_gains_nothing() {
        let file = sealed();
        for position in 0..file.len() - DIGEST_LENGTH {
            let mut forged = file.clone();
            forged[position] ^= 1;
            assert!(open(&rehashed(forged), "correct horse").is_err(), "byte {position}");
        }
    }

    #[test]
    fn a_newer_format_is_named() {
        let mut file = MAGIC.to_vec();
        file.extend_from_slice(&[0xa2, 0x00, 0x02, 0x18, 0x63, 0x01]);
        file.extend_from_slice(&[0; DIGEST_LENGTH]);
        assert_eq!(open(&rehashed(file), "x").unwrap_err(), SealError::Newer(2));
    }
}

//! Signals: what members tell each other now and nobody keeps, sealed under a key that the group's epoch gives.
//!
//! The invariant: a signal opens for members of the same epoch only. Its key is shared by them all, so who sent it is only
//! what a member says. This module must not know what a signal says.

use super::Group;
use crate::{
    fields::Fields,
    mls::MlsError,
    seal::{open, seal},
};
use minicbor::{Decoder, Encoder};
use openmls_traits::OpenMlsProvider as _;
use rsa::rand_core::CryptoRng;
use zeroize::Zeroizing;

/// Separates the key of signals from other secrets that may be exported.
const LABEL: &str = "waxwing signal v1";

/// A signal that was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// The username of who sent it, as some member says.
    pub from: String,
    /// What it says.
    pub body: Zeroizing<Vec<u8>>,
}

impl Group<'_> {
    /// Seals a signal of this account for the other members.
    ///
    /// # Errors
    /// [`MlsError::Mls`] after our removal.
    pub fn seal_signal(&self, from: &str, body: &[u8], rng: &mut impl CryptoRng) -> Result<Vec<u8>, MlsError> {
        let mut plaintext = Zeroizing::new(Vec::with_capacity(from.len() + body.len() + 16));
        // Writing to a Vec cannot fail.
        let _ = Encoder::new(&mut *plaintext).array(2).and_then(|e| e.str(from)).and_then(|e| e.bytes(body));
        let key = self.signal_key()?;
        Ok(seal(&key, &self.signal_context(), &plaintext, rng))
    }

    /// Opens what [`Self::seal_signal`] made; none if a member of this epoch has not.
    ///
    /// # Errors
    /// [`MlsError::Mls`] after our removal.
    pub fn open_signal(&self, sealed: &[u8]) -> Result<Option<Signal>, MlsError> {
        let key = self.signal_key()?;
        let Some(plaintext) = open(&key, &self.signal_context(), sealed) else { return Ok(None) };
        let mut d = Decoder::new(&plaintext);
        let read = |d: &mut Decoder<'_>| {
            d.array()?;
            Ok::<_, minicbor::decode::Error>(Signal { from: d.str()?.to_owned(), body: d.bytes()?.to_vec().into() })
        };
        Ok(read(&mut d).ok())
    }

    fn signal_key(&self) -> Result<Zeroizing<[u8; 32]>, MlsError> {
        let crypto = self.mls.provider().crypto();
        let secret = Zeroizing::new(self.group.export_secret(crypto, LABEL, &[], 32).map_err(MlsError::ours)?);
        let key: [u8; 32] = secret.as_slice().try_into().map_err(|_| MlsError::Malformed)?;
        Ok(Zeroizing::new(key))
    }

    fn signal_context(&self) -> Vec<u8> {
        Fields::labelled(LABEL).fixed(&self.id).finish()
    }
}

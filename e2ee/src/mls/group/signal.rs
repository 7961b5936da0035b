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
use std::{collections::BTreeSet, fmt};
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

/// What seals and opens the signals of one epoch, without the group at hand.
pub struct Signals {
    key: Zeroizing<[u8; 32]>,
    context: Vec<u8>,
    members: Vec<String>,
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signals").field("members", &self.members.len()).finish_non_exhaustive()
    }
}

impl Group<'_> {
    /// What this epoch's signals are sealed with.
    ///
    /// # Errors
    /// [`MlsError::Mls`] after our removal.
    pub fn signals(&self) -> Result<Signals, MlsError> {
        let crypto = self.mls.provider().crypto();
        let secret = Zeroizing::new(self.group.export_secret(crypto, LABEL, &[], 32).map_err(MlsError::ours)?);
        let key: [u8; 32] = secret.as_slice().try_into().map_err(|_| MlsError::Malformed)?;
        let members: BTreeSet<String> = self.members()?.into_iter().map(|member| member.username).collect();
        let context = Fields::labelled(LABEL).fixed(&self.id).finish();
        Ok(Signals { key: Zeroizing::new(key), context, members: members.into_iter().collect() })
    }
}

impl Signals {
    /// The accounts that have a device in the group, sorted: the same for all who are in this epoch.
    pub fn members(&self) -> &[String] {
        &self.members
    }

    /// Seals a signal of this account for the other members.
    pub fn seal(&self, from: &str, body: &[u8], rng: &mut impl CryptoRng) -> Vec<u8> {
        let mut plaintext = Zeroizing::new(Vec::with_capacity(from.len() + body.len() + 16));
        // Writing to a Vec cannot fail.
        let _ = Encoder::new(&mut *plaintext).array(2).and_then(|e| e.str(from)).and_then(|e| e.bytes(body));
        seal(&self.key, &self.context, &plaintext, rng)
    }

    /// Opens what [`Self::seal`] made; none if a member of this epoch has not, or names nobody who is in the group.
    pub fn open(&self, sealed: &[u8]) -> Option<Signal> {
        let plaintext = open(&self.key, &self.context, sealed)?;
        let mut d = Decoder::new(&plaintext);
        let read = |d: &mut Decoder<'_>| {
            d.array()?;
            Ok::<_, minicbor::decode::Error>(Signal { from: d.str()?.to_owned(), body: d.bytes()?.to_vec().into() })
        };
        read(&mut d).ok().filter(|signal| self.members.binary_search(&signal.from).is_ok())
    }
}

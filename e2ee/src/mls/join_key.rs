//! The join key: what lets a device of a participating account come in without waiting for somebody to add it.
//!
//! All members know it, welcomes bring it, and whoever removes a device replaces it. The state of the group that a
//! joiner starts from lies on the server, sealed under it. The invariant: who was removed cannot open what is sealed
//! afterwards. It is no permission to join: that is the gate's part. A room, which is open, has a public one. This module
//! must not know leaves or proposals.

use super::{
    MlsError,
    key_package::{body, to_bytes},
};
use crate::{fields::Fields, seal};
use minicbor::{Decode, Decoder, Encode, Encoder, bytes::ByteArray, decode, encode};
use openmls::prelude::{MlsMessageBodyIn, MlsMessageOut, group_info::VerifiableGroupInfo};
use rsa::rand_core::CryptoRng;
use rsa::sha2::{Digest as _, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Separates this sealing from everything else that is sealed.
const LABEL: &str = "waxwing group info v1";
const ROOM: &str = "waxwing room v1";

/// 32 random bytes that the members of a group share; wiped when dropped, never printed.
#[derive(Clone)]
pub struct JoinKey(Zeroizing<[u8; 32]>);

impl JoinKey {
    /// Makes a new key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        rng.fill_bytes(key.as_mut());
        Self(key)
    }

    /// The key of a room: public, so that whoever may come in can.
    pub fn of_room(id: &[u8; 16]) -> Self {
        Self(Zeroizing::new(Sha256::digest(Fields::labelled(ROOM).fixed(id).finish()).into()))
    }

    /// Reads what [`Self::as_bytes`] gave.
    pub fn from_bytes(key: [u8; 32]) -> Self {
        Self(Zeroizing::new(key))
    }

    /// The key, to be kept in the account's sealed state.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Seals the state of a group for those who may join it.
    pub(super) fn seal(
        &self,
        id: &[u8; 16],
        info: &MlsMessageOut,
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<u8>, MlsError> {
        Ok(seal::seal(&self.0, &context(id), &to_bytes(info)?, rng))
    }

    /// Opens what [`Self::seal`] made. Nothing in it is verified yet.
    pub(super) fn open(&self, id: &[u8; 16], sealed: &[u8]) -> Result<VerifiableGroupInfo, MlsError> {
        let opened = seal::open(&self.0, &context(id), sealed).ok_or(MlsError::WrongJoinKey)?;
        match body(&opened)? {
            MlsMessageBodyIn::GroupInfo(info) if info.group_id().as_slice() == id => Ok(info),
            _ => Err(MlsError::Malformed),
        }
    }
}

fn context(id: &[u8; 16]) -> Vec<u8> {
    Fields::labelled(LABEL).fixed(id).finish()
}

impl PartialEq for JoinKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&*other.0).into()
    }
}

impl Eq for JoinKey {}

impl fmt::Debug for JoinKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinKey(secret)")
    }
}

impl<C> Encode<C> for JoinKey {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.bytes(self.as_bytes())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for JoinKey {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let key: ByteArray<32> = d.decode()?;
        Ok(Self::from_bytes(key.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_key_is_compared_but_never_printed() {
        let key = JoinKey::from_bytes([0x5a; 32]);
        assert_eq!(key, JoinKey::from_bytes([0x5a; 32]));
        assert_ne!(key, JoinKey::from_bytes([0x5b; 32]));
        assert_eq!(format!("{key:?}"), "JoinKey(secret)");
    }

    #[test]
    fn what_opens_must_be_the_state_of_a_group() {
        let (key, id) = (JoinKey::from_bytes([1; 32]), [2; 16]);
        let rng = &mut rsa::rand_core::UnwrapErr(getrandom::SysRng);
        let sealed = seal::seal(key.as_bytes(), &context(&id), b"no group", rng);
        assert!(matches!(key.open(&id, &sealed), Err(MlsError::Malformed)));
        assert!(matches!(key.open(&[3; 16], &sealed), Err(MlsError::WrongJoinKey)));
        assert!(matches!(key.open(&id, b""), Err(MlsError::WrongJoinKey)));
    }
}

//! Key packages: what the server hands out so that others can add this device.
//!
//! The invariant: the private half stays in the database until a welcome uses it up. This module must not know groups.

use super::{Device, Mls, MlsError, SUITE, policy::capabilities};
use openmls::prelude::{
    KeyPackage, MlsMessageBodyIn, MlsMessageIn, MlsMessageOut,
    tls_codec::{Deserialize, Serialize},
};

/// Makes a key package, valid for 84 days, and keeps its private half. Each is good for one welcome; the `last_resort`
/// one, which the server gives out when the others are gone, for many.
///
/// # Errors
/// [`MlsError::Database`]; [`MlsError::Mls`] if there is no randomness.
pub fn key_package(mls: &Mls, device: &Device, last_resort: bool) -> Result<Vec<u8>, MlsError> {
    mls.step(|provider| {
        let mut builder = KeyPackage::builder().leaf_node_capabilities(capabilities());
        if last_resort {
            builder = builder.mark_as_last_resort();
        }
        let bundle = builder.build(SUITE, provider, device.signer(), device.credential()).map_err(MlsError::ours)?;
        to_bytes(&bundle.into_key_package().into())
    })
}

pub(super) fn to_bytes(message: &MlsMessageOut) -> Result<Vec<u8>, MlsError> {
    message.tls_serialize_detached().map_err(MlsError::ours)
}

pub(super) fn from_bytes(bytes: &[u8]) -> Result<MlsMessageIn, MlsError> {
    MlsMessageIn::tls_deserialize_exact(bytes).map_err(|_| MlsError::Malformed)
}

pub(super) fn body(bytes: &[u8]) -> Result<MlsMessageBodyIn, MlsError> {
    from_bytes(bytes).map(MlsMessageIn::extract)
}

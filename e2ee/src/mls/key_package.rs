//! Key packages: what the server hands out so that others can add this device.
//!
//! The invariants: the private half stays in the database until a welcome uses it up; how old a key package may be is
//! asked by whoever adds it, and never again. openmls asks the clock of everybody who reads the commit about the lifetime in
//! the leaf, so that one never ends, and the one that counts is an extension of the key package (0xF003), of the
//! same form. This module must not know groups.

use super::{Device, Mls, MlsError, Refused, SUITE, policy::capabilities};
use openmls::prelude::{
    Extension, ExtensionType, Extensions, KeyPackage, KeyPackageIn, Lifetime, MlsMessageBodyIn, MlsMessageIn,
    MlsMessageOut, OpenMlsCrypto, ProtocolVersion, UnknownExtension,
    tls_codec::{Deserialize, Serialize},
};

/// The extension's number, from the private-use range of RFC 9420.
pub(super) const VALIDITY_EXTENSION: ExtensionType = ExtensionType::Unknown(VALIDITY);
const VALIDITY: u16 = 0xF003;

/// Makes a key package, valid for 84 days, and keeps its private half. Each is good for one welcome; the `last_resort`
/// one, which the server gives out when the others are gone, for many.
///
/// # Errors
/// [`MlsError::Database`]; [`MlsError::Mls`] if there is no randomness.
pub fn key_package(mls: &Mls, device: &Device, last_resort: bool) -> Result<Vec<u8>, MlsError> {
    mls.step(|provider| {
        let validity = Lifetime::default().tls_serialize_detached().map_err(MlsError::ours)?;
        let extension = Extension::Unknown(VALIDITY, UnknownExtension(validity));
        let mut builder = KeyPackage::builder()
            .leaf_node_capabilities(capabilities())
            .key_package_lifetime(forever())
            .key_package_extensions(Extensions::single(extension).map_err(MlsError::ours)?);
        if last_resort {
            builder = builder.mark_as_last_resort();
        }
        let bundle = builder.build(SUITE, provider, device.signer(), device.credential()).map_err(MlsError::ours)?;
        to_bytes(&bundle.into_key_package().into())
    })
}

/// The lifetime of every leaf.
fn forever() -> Lifetime {
    Lifetime::init(0, u64::MAX)
}

/// Checks signatures, and that the key package may be used now. For whoever adds it.
pub(super) fn validate(crypto: &impl OpenMlsCrypto, package: KeyPackageIn) -> Result<KeyPackage, Refused> {
    let package = package.validate(crypto, ProtocolVersion::Mls10).map_err(|_| Refused::KeyPackage)?;
    validity(&package)?.validate().map_err(|_| Refused::KeyPackage)?;
    Ok(package)
}

/// What the key package says of its lifetime. RFC 9420 §7.2 demands a limit; openmls has it, but does not apply it.
///
/// # Errors
/// [`Refused::Lifetime`], by every clock alike.
pub(super) fn validity(package: &KeyPackage) -> Result<Lifetime, Refused> {
    let UnknownExtension(bytes) = package.extensions().unknown(VALIDITY).ok_or(Refused::Lifetime)?;
    let validity = Lifetime::tls_deserialize_exact(bytes).map_err(|_| Refused::Lifetime)?;
    if *package.life_time() != forever() || !validity.has_acceptable_range() {
        return Err(Refused::Lifetime);
    }
    Ok(validity)
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

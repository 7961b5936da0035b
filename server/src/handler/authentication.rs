//! Signing an enrolled device in: a signature that is good for this connection of this server alone, and a place that
//! nobody has taken from it.

use super::Failure;
use crate::{
    connection::outbox::End,
    relay::{Context, now_ms},
    session::{Device, Peer, SignedIn},
    store::{DeviceRow, StoreError},
};
use ed25519_dalek::{Signature, VerifyingKey};
use waxwing_protocol::{DeviceId, ErrorCode, authentication_message};

/// The device, if this is its signature for this connection.
pub(super) async fn prove(
    context: &Context,
    peer: &Peer,
    device: DeviceId,
    signature: &[u8],
) -> Result<Option<DeviceRow>, StoreError> {
    let row = context.store.device(device).await?;
    let message = authentication_message(&peer.pin, &peer.exporter, &device);
    Ok(row.filter(|row| is_signed(&row.authentication_key, &message, signature)))
}

/// An unknown device and a bad signature look alike.
pub(crate) async fn authenticate(
    context: &Context,
    peer: &Peer,
    device: DeviceId,
    signature: &[u8],
) -> Result<SignedIn, Failure> {
    match prove(context, peer, device, signature).await? {
        // Told only to whoever has the device's key.
        Some(row) if row.disabled => Err(ErrorCode::AccountDisabled.into()),
        Some(row) => {
            let rules = &context.current().rules.sessions;
            let seat = context.limiter.sessions.sit(rules, device, Some(row.account), peer.origin)?;
            Ok(SignedIn { device: Device { id: device, account: row.account }, seat })
        }
        None => Err(ErrorCode::BadCredentials.into()),
    }
}

/// Whether a device that has just signed in may stay. The caller has made its connection known to the hub before: so
/// nobody who is locked out between the two is overlooked. Notes the day.
pub(crate) async fn admit(context: &Context, device: Device) -> Result<(), End> {
    let failed = |error| {
        tracing::error!(%error, "a device could not be looked up");
        End::Failed
    };
    let row = context.store.device(device.id).await.map_err(failed)?.ok_or(End::Removed)?;
    if row.disabled {
        return Err(End::Disabled);
    }
    let today = u32::try_from(now_ms() / DAY_MS).unwrap_or(u32::MAX);
    if row.seen_day != Some(today) {
        context.store.seen(device.id, today).await.map_err(failed)?;
    }
    Ok(())
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Whether a device's key has signed a message.
pub(crate) fn is_signed(key: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    let (Ok(key), Ok(signature)) = (VerifyingKey::from_bytes(key), Signature::from_slice(signature)) else {
        return false;
    };
    // Strict: no small-order keys or points, so that one signature fits one key and one message.
    key.verify_strict(message, &signature).is_ok()
}

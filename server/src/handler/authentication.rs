//! Signing an enrolled device in: a signature that is good for this connection of this server alone.

use super::Failure;
use crate::{relay::Context, session::Device};
use ed25519_dalek::{Signature, VerifyingKey};
use waxwing_protocol::{DeviceId, ErrorCode, authentication_message};

/// An unknown device and a bad signature look alike.
pub(crate) async fn authenticate(
    context: &Context,
    exporter: &[u8; 32],
    device: DeviceId,
    signature: &[u8],
) -> Result<Device, Failure> {
    let row = context.store.device(device).await?;
    let message = authentication_message(&context.pin, exporter, &device);
    let account = row.and_then(|row| {
        let key = VerifyingKey::from_bytes(&row.authentication_key).ok()?;
        let signature = Signature::from_slice(signature).ok()?;
        // Strict: no small-order keys or points, so that one signature fits one key and one message.
        key.verify_strict(&message, &signature).ok().map(|()| row.account)
    });
    match account {
        Some(account) => Ok(Device { id: device, account }),
        None => Err(ErrorCode::BadCredentials.into()),
    }
}

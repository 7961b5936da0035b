//! Key packages: a device publishes them, others claim them to add it to a conversation.

use super::Failure;
use crate::{relay::now_ms, session::Device, store::Store};
use waxwing_protocol::{Bytes, ErrorCode, Response, Username};

pub(super) async fn publish(
    store: &dyn Store,
    device: Device,
    one_time: Vec<Bytes>,
    last_resort: Option<Bytes>,
) -> Result<Response, Failure> {
    Ok(Response::KeyPackageStock(store.publish_key_packages(device.id, one_time, last_resort, now_ms()).await?))
}

pub(super) async fn stock(store: &dyn Store, device: Device) -> Result<Response, Failure> {
    Ok(Response::KeyPackageStock(store.key_package_stock(device.id, now_ms()).await?))
}

pub(super) async fn claim(store: &dyn Store, device: Device, username: Username) -> Result<Response, Failure> {
    let claimed = store.claim_key_packages(&username, device.id).await?;
    claimed.map(Response::KeyPackages).ok_or_else(|| ErrorCode::UnknownAccount.into())
}

//! A device's inbox: welcomes and notices that are for it alone.

use super::Failure;
use crate::{session::Device, store::Store};
use waxwing_protocol::Response;

pub(super) async fn fetch(store: &dyn Store, device: Device, after: u64) -> Result<Response, Failure> {
    Ok(Response::Inbox(store.fetch_inbox(device.id, after).await?))
}

pub(super) async fn acknowledge(store: &dyn Store, device: Device, seq: u64) -> Result<Response, Failure> {
    store.acknowledge_inbox(device.id, seq).await?;
    Ok(Response::Done)
}

//! The account's backup: segments and manifests, sealed by the clients. The store decides; this names its outcomes for the
//! wire.

use super::Failure;
use crate::{
    relay::now_ms,
    session::Device,
    store::{ManifestOutcome, NewManifest, NewSegment, SegmentOutcome, Store},
};
use waxwing_protocol::{Bytes, ErrorCode, Manifest, Refusal, Response, SegmentId};

/// `quota` is the bytes that an account's segments may take.
pub(super) async fn put_segment(
    store: &dyn Store,
    device: Device,
    id: SegmentId,
    payload: Bytes,
    quota: u64,
) -> Result<Response, Failure> {
    let segment = NewSegment { device: device.id, id, payload, quota, now_ms: now_ms() };
    match store.put_segment(segment).await? {
        SegmentOutcome::Stored => Ok(Response::Done),
        SegmentOutcome::QuotaExceeded => Err(Refusal::numbered(ErrorCode::QuotaExceeded, quota).into()),
        SegmentOutcome::Different => Err(ErrorCode::BadRequest.into()),
        SegmentOutcome::UnknownDevice => Err(ErrorCode::NotAuthenticated.into()),
    }
}

pub(super) async fn segment(store: &dyn Store, device: Device, id: SegmentId) -> Result<Response, Failure> {
    let segment = store.segment(device.id, id).await?;
    segment.map(Response::Segment).ok_or_else(|| ErrorCode::UnknownSegment.into())
}

pub(super) async fn put_manifest(
    store: &dyn Store,
    device: Device,
    version: u64,
    manifest: Bytes,
    segments: Vec<SegmentId>,
) -> Result<Response, Failure> {
    let manifest = NewManifest { device: device.id, version, manifest, segments, now_ms: now_ms() };
    match store.put_manifest(manifest).await? {
        ManifestOutcome::Stored => Ok(Response::Done),
        ManifestOutcome::Conflict(stored) => Err(Refusal::numbered(ErrorCode::ManifestConflict, stored).into()),
        ManifestOutcome::UnknownSegment => Err(ErrorCode::UnknownSegment.into()),
        ManifestOutcome::UnknownDevice => Err(ErrorCode::NotAuthenticated.into()),
    }
}

pub(super) async fn manifest(store: &dyn Store, device: Device, quota: u64) -> Result<Response, Failure> {
    let backup = store.backup(device.id).await?.ok_or(ErrorCode::NotAuthenticated)?;
    let (version, manifest, used) = (backup.version, backup.manifest, backup.used);
    Ok(Response::Manifest(Manifest { version, manifest, used, quota }))
}

pub(super) async fn delete(store: &dyn Store, device: Device) -> Result<Response, Failure> {
    match store.delete_backup(device.id).await? {
        true => Ok(Response::Done),
        false => Err(ErrorCode::NotAuthenticated.into()),
    }
}

//! Attachments: sealed files, in chunks. Who has begun one may add to it; whoever knows its id may fetch it.

use super::Failure;
use crate::{
    attachments::{AttachmentError, length},
    relay::{Context, now_ms},
    session::Device,
    store::{AttachmentOutcome, AttachmentRow, NewAttachment},
};
use waxwing_protocol::{AttachmentId, AttachmentStatus, Bytes, ErrorCode, Refusal, Response};

impl From<AttachmentError> for Failure {
    fn from(error: AttachmentError) -> Self {
        match error {
            AttachmentError::Store(error) => Self::Store(error),
            AttachmentError::Objects(error) => Self::Objects(error),
        }
    }
}

pub(super) async fn begin(context: &Context, device: Device, id: AttachmentId, size: u64) -> Result<Response, Failure> {
    let rules = context.current().rules.attachments;
    if size > rules.largest {
        return Err(Refusal::numbered(ErrorCode::AttachmentTooLarge, rules.largest).into());
    }
    let new = NewAttachment { account: device.account, id, size, quota: rules.quota, now_ms: now_ms() };
    match context.store.begin_attachment(new).await? {
        AttachmentOutcome::Begun => Ok(Response::Done),
        AttachmentOutcome::Full => Err(Refusal::numbered(ErrorCode::AttachmentsFull, rules.quota).into()),
        AttachmentOutcome::Different => Err(ErrorCode::BadRequest.into()),
        AttachmentOutcome::UnknownAccount => Err(ErrorCode::NotAuthenticated.into()),
    }
}

pub(super) async fn put(
    context: &Context,
    device: Device,
    id: AttachmentId,
    index: u32,
    payload: Bytes,
) -> Result<Response, Failure> {
    let row = own(context, device, id).await?;
    if payload.0.len() != length(row.size, index) {
        return Err(ErrorCode::BadRequest.into());
    }
    if row.finished {
        return Ok(Response::Done);
    }
    context.attachments.put(id, index, payload.0).await?;
    if !context.store.knows_attachment(id).await? {
        // It was dropped and swept meanwhile.
        context.attachments.delete(id).await?;
        return Err(ErrorCode::UnknownAttachment.into());
    }
    Ok(Response::Done)
}

pub(super) async fn finish(context: &Context, device: Device, id: AttachmentId) -> Result<Response, Failure> {
    let row = own(context, device, id).await?;
    if row.finished {
        return Ok(Response::Done);
    }
    let present = context.attachments.present(id, row.size).await?;
    if let Some(missing) = present.iter().position(|there| !there) {
        return Err(Refusal::numbered(ErrorCode::AttachmentIncomplete, missing as u64).into());
    }
    match context.store.finish_attachment(id, now_ms()).await? {
        true => Ok(Response::Done),
        false => Err(ErrorCode::UnknownAttachment.into()),
    }
}

pub(super) async fn status(context: &Context, device: Device, id: AttachmentId) -> Result<Response, Failure> {
    let row = own(context, device, id).await?;
    let present = context.attachments.present(id, row.size).await?;
    let bits = |eight: &[bool]| eight.iter().rev().fold(0, |byte, there| (byte << 1) | u8::from(*there));
    let chunks = Bytes(present.chunks(8).map(bits).collect());
    Ok(Response::AttachmentStatus(AttachmentStatus { size: row.size, finished: row.finished, chunks }))
}

pub(super) async fn fetch(context: &Context, id: AttachmentId, index: u32) -> Result<Response, Failure> {
    let row = context.store.attachment(id).await?.filter(|row| row.finished);
    row.ok_or(ErrorCode::UnknownAttachment)?;
    let chunk = context.attachments.get(id, index).await?;
    chunk.map(|chunk| Response::Chunk(Bytes(chunk))).ok_or_else(|| ErrorCode::UnknownAttachment.into())
}

pub(super) async fn delete(context: &Context, device: Device, id: AttachmentId) -> Result<Response, Failure> {
    context.store.drop_attachment(device.account, id).await?;
    context.attachments.sweep(&context.store).await?;
    Ok(Response::Done)
}

/// An attachment of the device's account.
async fn own(context: &Context, device: Device, id: AttachmentId) -> Result<AttachmentRow, Failure> {
    let row = context.store.attachment(id).await?;
    row.filter(|row| row.account == device.account).ok_or_else(|| ErrorCode::UnknownAttachment.into())
}

//! Messages of a server that keeps none: they go to who is connected, or are refused.
//!
//! Invariants: a sender is never told that a message was taken if nobody was there to take it; a connection's appends stay in
//! order although each is preceded by a question. It must not know how messages are held meanwhile.

use super::{Failure, conversation::append};
use crate::{relay::Context, session::Device, store::AppendBody};
use tokio::sync::{Mutex, MutexGuard};
use waxwing_protocol::{Bytes, ConversationId, ErrorCode, Response};

/// How many conversations can be appended to at once.
const LANES: usize = 64;

/// The order of appends, by conversation. Waiting is first come, first served.
pub(crate) struct Turns([Mutex<()>; LANES]);

impl Default for Turns {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl Turns {
    /// Waits for one's turn, where turns are needed: elsewhere the store keeps the order.
    pub(super) async fn take(&self, context: &Context, conversation: ConversationId) -> Option<MutexGuard<'_, ()>> {
        match context.current().rules.relay_only {
            true => self.of(conversation).await,
            false => None,
        }
    }

    async fn of(&self, conversation: ConversationId) -> Option<MutexGuard<'_, ()>> {
        let lane = conversation.0.iter().fold(0_usize, |hash, byte| hash.wrapping_mul(31) + usize::from(*byte));
        match self.0.get(lane % LANES) {
            Some(turn) => Some(turn.lock().await),
            None => None,
        }
    }
}

/// Hands a message to who is connected.
pub(super) async fn send(
    context: &Context,
    device: Device,
    conversation: ConversationId,
    number: u64,
    commits: u64,
    payload: Bytes,
) -> Result<Response, Failure> {
    // An empty one stands for one that was not kept.
    if payload.0.is_empty() {
        return Err(ErrorCode::BadRequest.into());
    }
    let _turn = context.turns.of(conversation).await;
    let audience = context.store.audience(device.id, conversation).await?;
    let audience = audience.ok_or(ErrorCode::UnknownConversation)?;
    // What was taken before gets its answer again.
    let is_new = number > audience.sent;
    if is_new && !audience.devices.is_empty() && !context.hub.any_listens(&audience.devices) {
        return Err(ErrorCode::NobodyThere.into());
    }
    let body = AppendBody::Passing(payload);
    append(context.store.as_ref(), device, conversation, (number, commits), body, u32::MAX).await
}

/// A page with what is still held of it.
pub(super) fn filled(
    context: &Context,
    conversation: ConversationId,
    page: Result<Response, Failure>,
) -> Result<Response, Failure> {
    let Ok(Response::Page(mut page)) = page else { return page };
    context.hub.passing.fill(conversation, &mut page.entries);
    Ok(Response::Page(page))
}

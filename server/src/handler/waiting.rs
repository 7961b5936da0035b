//! The quota of what waits to be fetched, around what appends to conversations. It must not know how it is counted.

use super::Failure;
use crate::{relay::Context, session::Device};
use futures_util::{
    FutureExt as _,
    future::{Either, ready},
};
use waxwing_protocol::{Handshake, Response};

/// By what a conversation grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grown {
    Message,
    /// What conversations cannot go on without, such as taking somebody out.
    Handshake,
}

/// What a handshake leaves.
pub(super) fn handshake(handshake: &Handshake) -> usize {
    let welcome = handshake.welcome.as_ref().map_or(0, |welcome| welcome.payload.0.len());
    handshake.commit.0.len() + welcome + handshake.group_info.as_ref().map_or(0, |info| info.0.len())
}

/// Does it, if the account may leave so many bytes more. Nothing waits here before `work` is polled, so that a connection's
/// appends stay in order. No `async fn`, which would keep room for `work` twice.
pub(super) fn within<'a>(
    context: &'a Context,
    device: Device,
    size: usize,
    grown: Grown,
    work: impl Future<Output = Result<Response, Failure>> + Send + 'a,
) -> impl Future<Output = Result<Response, Failure>> + Send + 'a {
    let quota = context.current().rules.waiting_quota;
    let limit = match grown {
        Grown::Message => quota,
        Grown::Handshake => quota.saturating_add(quota / 4),
    };
    let size = u64::try_from(size).unwrap_or(u64::MAX);
    match context.limiter.waiting.take(device.account, size, limit) {
        Err(refusal) => Either::Left(ready(Err(Failure::Refused(refusal)))),
        Ok(begun) => Either::Right(work.map(move |done| {
            // Whoever goes away before the answer may have been stored.
            if done.is_err() {
                begun.give_back();
            }
            done
        })),
    }
}

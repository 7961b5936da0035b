//! The requests of signed-in devices, one file per family: each handler checks, asks the store and says what came of it.
//!
//! Invariant: nothing internal crosses the wire; [`refusal`] is the only way from a failure to the peer. Handlers must not
//! know connections.

pub(crate) mod account;
mod attachment;
pub(crate) mod authentication;
mod backup;
mod code;
mod conversation;
mod inbox;
mod key_package;
pub(crate) mod passing;
mod waiting;

use crate::{
    connection::Answer,
    metrics::{Kind, METRICS},
    password::PasswordError,
    relay::Context,
    sealing::SealingError,
    session::Device,
    store::{Join, StoreError},
};
use futures_util::{FutureExt as _, future::BoxFuture};
use std::time::Instant;
use waiting::Grown;
use waxwing_protocol::{ErrorCode, Refusal, Request, Response};

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The peer's part; it is told.
    #[error("{0}")]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Sealing(#[from] SealingError),
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error("attachments: {0}")]
    Objects(#[from] object_store::Error),
}

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Self {
        Self::Refused(code.into())
    }
}

/// How long a client waits when all cores are busy with passwords, in milliseconds.
const PASSWORDS_BUSY_MS: u32 = 2000;

/// What the peer is told of a failure. What only the operator may know goes to the log.
pub(crate) fn refusal(failure: Failure) -> Refusal {
    match failure {
        Failure::Refused(refusal) => refusal,
        Failure::Password(PasswordError::Busy) => Refusal::retry_after(ErrorCode::Busy, PASSWORDS_BUSY_MS),
        Failure::Store(StoreError::Closed) => ErrorCode::Draining.into(),
        failure => {
            tracing::error!(error = %failure, "a request failed");
            ErrorCode::Internal.into()
        }
    }
}

/// Handles a request of a signed-in device, except those that concern its connection; gives its number back with the answer.
///
/// A message, the most frequent request by far, has a future of its own: that of the others is five times as large, and would
/// be made anew for each.
pub(crate) fn handle(context: &Context, device: Device, id: u32, request: Request) -> BoxFuture<'_, (u32, Answer)> {
    let kind = Kind::of(&request);
    match request {
        Request::Send { conversation, number, commits, payload } if !context.hub.passing.is_on() => {
            let (store, size, since) = (context.store.as_ref(), payload.0.len(), Instant::now());
            let sent = conversation::send(store, device, conversation, number, commits, payload);
            let sent = waiting::within(context, device, size, Grown::Message, sent);
            Box::pin(sent.map(move |sent| {
                METRICS.answered(kind, since);
                (id, sent.map_err(refusal))
            }))
        }
        request => Box::pin(async move {
            let since = Instant::now();
            let answer = answer(context, device, request).await;
            METRICS.answered(kind, since);
            (id, answer)
        }),
    }
}

async fn answer(context: &Context, device: Device, request: Request) -> Answer {
    let store = context.store.as_ref();
    match request {
        Request::PublishKeyPackages { one_time, last_resort } => {
            key_package::publish(store, device, one_time, last_resort).await
        }
        Request::KeyPackageStock => key_package::stock(store, device).await,
        Request::ClaimKeyPackages(username) => key_package::claim(store, device, username).await,
        Request::Account(username) => account::account(store, username).await,
        Request::CreateConversation(request) => {
            let members = context.current().rules.rooms.members;
            let size = request.handshake.as_ref().map_or(0, waiting::handshake);
            waiting::within(context, device, size, Grown::Handshake, async {
                conversation::create(store, device, *request, members).await
            })
            .await
        }
        // What is kept has its own way, in `handle`.
        Request::Send { conversation, number, commits, payload } => {
            passing::send(context, device, conversation, number, commits, payload).await
        }
        Request::Commit { conversation, number, commits, handshake } => {
            let _turn = context.turns.take(context, conversation).await;
            let members = context.current().rules.rooms.members;
            let size = waiting::handshake(&handshake);
            let sent = conversation::commit(store, device, conversation, number, commits, handshake, members);
            waiting::within(context, device, size, Grown::Handshake, sent).await
        }
        Request::Join { conversation, commits, commit, group_info } => {
            let _turn = context.turns.take(context, conversation).await;
            let size = commit.0.len() + group_info.as_ref().map_or(0, |info| info.0.len());
            let sent = conversation::join(store, device, conversation, commits, Join { commit, group_info });
            waiting::within(context, device, size, Grown::Handshake, sent).await
        }
        Request::Conversations { after } => conversation::all(store, device, after).await,
        Request::AskToJoin(id) => conversation::ask_to_join(store, device, id).await,
        Request::GroupInfo(id) => conversation::group_info(store, device, id).await,
        Request::Fetch { conversation, after } => {
            let page = conversation::fetch(store, device, conversation, after).await;
            passing::filled(context, conversation, page)
        }
        Request::Acknowledge { conversation, seq } => conversation::acknowledge(store, device, conversation, seq).await,
        Request::Heads { after } => conversation::heads(store, device, after).await,
        Request::FetchInbox { after } => inbox::fetch(store, device, after).await,
        Request::AcknowledgeInbox { seq } => inbox::acknowledge(store, device, seq).await,
        Request::Ping | Request::Subscribe => Ok(Response::Done),
        Request::SignUp(_)
        | Request::LoginParameters(_)
        | Request::Login { .. }
        | Request::EnrolDevice(_)
        | Request::Authenticate { .. }
        | Request::ReviseAccount(_)
        | Request::DeleteAccount => Err(ErrorCode::BadRequest.into()),
        Request::PutSegment { id, payload } => {
            backup::put_segment(store, device, id, payload, context.current().rules.backup_quota).await
        }
        Request::FetchSegment(id) => backup::segment(store, device, id).await,
        Request::PutManifest { version, manifest, segments } => {
            backup::put_manifest(store, device, version, manifest, segments).await
        }
        Request::FetchManifest => backup::manifest(store, device, context.current().rules.backup_quota).await,
        Request::DeleteBackup => backup::delete(store, device).await,
        Request::Rooms { after } => {
            conversation::rooms(store, after, context.current().rules.rooms.default.clone()).await
        }
        Request::JoinRoom(name) => {
            conversation::join_room(store, device, name, context.current().rules.rooms.members).await
        }
        Request::Leave { conversation, wish } => conversation::leave(store, device, conversation, wish).await,
        Request::Signal { conversation, payload } => conversation::signal(context, device, conversation, payload).await,
        Request::BeginAttachment { id, size } => attachment::begin(context, device, id, size).await,
        Request::PutChunk { id, index, payload } => attachment::put(context, device, id, index, payload).await,
        Request::FinishAttachment(id) => attachment::finish(context, device, id).await,
        Request::AttachmentStatus(id) => attachment::status(context, device, id).await,
        Request::FetchChunk { id, index } => attachment::fetch(context, id, index).await,
        Request::DeleteAttachment(id) => attachment::delete(context, device, id).await,
        Request::Devices => account::devices(store, device).await,
    }
    .map_err(refusal)
}

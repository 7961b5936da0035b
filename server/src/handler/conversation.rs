//! Conversations: creating, appending, joining, fetching, acknowledging. The store decides; this names its outcomes for the wire.

use super::Failure;
use crate::{
    relay::{Context, now_ms},
    session::Device,
    store::{Append, AppendBody, AppendOutcome, CreateOutcome, Join, JoinRoomOutcome, NewConversation, Store},
};
use waxwing_protocol::{
    Bytes, ConversationId, CreateConversation, ErrorCode, Handshake, Refusal, Response, RoomName, Rooms,
};

pub(super) async fn create(
    store: &dyn Store,
    device: Device,
    request: CreateConversation,
    members: u32,
) -> Result<Response, Failure> {
    let CreateConversation { id, kind, handshake, replaces } = request;
    let now_ms = now_ms();
    let (account, creator) = (device.account, device.id);
    let conversation = NewConversation { account, creator, id, kind, handshake, replaces, members, now_ms };
    match store.create_conversation(conversation).await? {
        CreateOutcome::Created { seq } => Ok(Response::Accepted { seq, time_ms: now_ms }),
        CreateOutcome::Exists(existing) => {
            Err(Refusal { conversation: Some(existing), ..ErrorCode::ConversationExists.into() }.into())
        }
        CreateOutcome::UnknownAccount => Err(ErrorCode::UnknownAccount.into()),
        CreateOutcome::BadRecipients => Err(ErrorCode::BadRequest.into()),
        CreateOutcome::TooManyMembers => Err(full(members)),
    }
}

/// The refusal of more accounts than a conversation may have.
fn full(members: u32) -> Failure {
    Refusal::numbered(ErrorCode::TooManyMembers, members.into()).into()
}

/// The public rooms.
pub(super) async fn rooms(
    store: &dyn Store,
    after: Option<RoomName>,
    default: Option<RoomName>,
) -> Result<Response, Failure> {
    let rooms = store.rooms(after.as_ref()).await?;
    Ok(Response::Rooms(Rooms { rooms, default }))
}

pub(super) async fn join_room(
    store: &dyn Store,
    device: Device,
    name: RoomName,
    members: u32,
) -> Result<Response, Failure> {
    match store.join_room(device.account, &name, members).await? {
        JoinRoomOutcome::Joined(conversation) => Ok(Response::Room(conversation)),
        JoinRoomOutcome::UnknownRoom => Err(ErrorCode::UnknownRoom.into()),
        JoinRoomOutcome::TooManyMembers => Err(full(members)),
    }
}

pub(super) async fn leave(
    store: &dyn Store,
    device: Device,
    conversation: ConversationId,
    wish: Bytes,
) -> Result<Response, Failure> {
    store.leave(device.id, conversation, wish, now_ms()).await?;
    Ok(Response::Done)
}

pub(super) async fn send(
    store: &dyn Store,
    device: Device,
    conversation: ConversationId,
    number: u64,
    commits: u64,
    payload: Bytes,
) -> Result<Response, Failure> {
    append(store, device, conversation, (number, commits), AppendBody::Application(payload), u32::MAX).await
}

pub(super) async fn commit(
    store: &dyn Store,
    device: Device,
    conversation: ConversationId,
    number: u64,
    commits: u64,
    handshake: Box<Handshake>,
    members: u32,
) -> Result<Response, Failure> {
    append(store, device, conversation, (number, commits), AppendBody::Commit(handshake), members).await
}

pub(super) async fn join(
    store: &dyn Store,
    device: Device,
    conversation: ConversationId,
    commits: u64,
    join: Join,
) -> Result<Response, Failure> {
    append(store, device, conversation, (0, commits), AppendBody::Join(join), u32::MAX).await
}

pub(super) async fn append(
    store: &dyn Store,
    device: Device,
    conversation: ConversationId,
    (number, commits): (u64, u64),
    body: AppendBody,
    members: u32,
) -> Result<Response, Failure> {
    // Nothing may wait before the store is asked: its first poll is what keeps a connection's appends in order.
    let append = Append { device: device.id, conversation, number, commits, body, members, now_ms: now_ms() };
    match store.append(append).await? {
        AppendOutcome::Accepted { seq, time_ms } => Ok(Response::Accepted { seq, time_ms }),
        AppendOutcome::Stale { commits } => Err(Refusal::numbered(ErrorCode::Stale, commits).into()),
        AppendOutcome::OutOfOrder { expected } => Err(Refusal::numbered(ErrorCode::OutOfOrder, expected).into()),
        AppendOutcome::UnknownConversation => Err(ErrorCode::UnknownConversation.into()),
        AppendOutcome::BadRecipients => Err(ErrorCode::BadRequest.into()),
        AppendOutcome::TooManyMembers => Err(full(members)),
        AppendOutcome::Busy { retry_after_ms } => Err(Refusal::retry_after(ErrorCode::Busy, retry_after_ms).into()),
    }
}

/// All conversations of the device's account.
pub(super) async fn all(store: &dyn Store, device: Device, after: Option<ConversationId>) -> Result<Response, Failure> {
    Ok(Response::Conversations(store.conversations(device.id, after).await?))
}

pub(super) async fn ask_to_join(
    store: &dyn Store,
    device: Device,
    conversation: ConversationId,
) -> Result<Response, Failure> {
    match store.ask_to_join(device.id, conversation, now_ms()).await? {
        true => Ok(Response::Done),
        false => Err(ErrorCode::UnknownConversation.into()),
    }
}

/// Hands a signal to the others who listen; nothing of it is kept.
pub(super) async fn signal(
    context: &Context,
    device: Device,
    conversation: ConversationId,
    payload: Bytes,
) -> Result<Response, Failure> {
    let others = context.store.others(device.id, conversation).await?;
    let others = others.ok_or(ErrorCode::UnknownConversation)?;
    context.hub.signal(&others, conversation, payload);
    Ok(Response::Done)
}

pub(super) async fn group_info(
    store: &dyn Store,
    device: Device,
    conversation: ConversationId,
) -> Result<Response, Failure> {
    let group_info = store.group_info(device.id, conversation).await?;
    group_info.map(Response::GroupInfo).ok_or_else(|| ErrorCode::UnknownConversation.into())
}

pub(super) async fn fetch(
    store: &dyn Store,
    device: Device,
    conversation: ConversationId,
    after: u64,
) -> Result<Response, Failure> {
    let page = store.fetch(device.id, conversation, after).await?;
    page.map(Response::Page).ok_or_else(|| ErrorCode::UnknownConversation.into())
}

pub(super) async fn acknowledge(
    store: &dyn Store,
    device: Device,
    conversation: ConversationId,
    seq: u64,
) -> Result<Response, Failure> {
    store.acknowledge(device.id, conversation, seq).await?;
    Ok(Response::Done)
}

pub(super) async fn heads(
    store: &dyn Store,
    device: Device,
    after: Option<ConversationId>,
) -> Result<Response, Failure> {
    Ok(Response::Heads(store.heads(device.id, after).await?))
}

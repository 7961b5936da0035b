//! Devices that come into a conversation by themselves.

use crate::peer::*;
use waxwing_protocol::*;

fn join(commits: u64) -> Request {
    let group_info = Some(b"after the join".to_vec().into());
    Request::Join { conversation: CHAT, commits, commit: b"external commit".to_vec().into(), group_info }
}

/// Asks until the second since the last commit is over.
async fn joined(peer: &mut Peer, commits: u64) -> Result<Response, Refusal> {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        match peer.ask(join(commits)).await {
            Err(Refusal { code: ErrorCode::Busy, retry_after_ms: Some(wait), .. }) => {
                assert!(wait <= 1000);
                assert!(std::time::Instant::now() < deadline, "busy for ever");
            }
            answer => return answer,
        }
    }
}

#[tokio::test]
async fn a_new_device_finds_its_accounts_chats_and_joins() {
    let server = Server::start().await;
    let (mut alice, mut bob) = (server.signed_up("alice", 1).await, server.signed_up("bob", 2).await);
    open_chat(&mut alice).await;
    assert_eq!(alice.ask(Request::Subscribe).await, Ok(Response::Done));
    let mut tablet = server.proven("bob", 1).await;
    assert_eq!(tablet.ask(enrol(2, 3)).await, Ok(Response::Done));
    let kind = ConversationKind::Direct(name("alice"));
    let info = ConversationInfo { conversation: CHAT, kind, head: 1, member: false };
    let after = |after| Request::Conversations { after };
    assert_eq!(tablet.ask(after(None)).await, Ok(Response::Conversations(vec![info])));
    assert_eq!(tablet.ask(after(Some(CHAT))).await, Ok(Response::Conversations(vec![])));
    let info = tablet.ask(Request::GroupInfo(CHAT)).await;
    assert_eq!(info, Ok(Response::GroupInfo(GroupInfo { commits: 1, sealed: None })));
    assert_eq!(tablet.ask(Request::AskToJoin(CHAT)).await, Ok(Response::Done));
    assert_eq!(tablet.ask(join(0)).await, Err(Refusal::numbered(ErrorCode::Stale, 1)));
    let accepted = joined(&mut tablet, 1).await;
    assert!(matches!(accepted, Ok(Response::Accepted { seq: 2, .. })), "{accepted:?}");
    assert_eq!(tablet.ask(join(1)).await, accepted, "the same join again");
    let info = tablet.ask(Request::GroupInfo(CHAT)).await;
    let sealed = Some(b"after the join".to_vec().into());
    assert_eq!(info, Ok(Response::GroupInfo(GroupInfo { commits: 2, sealed })));
    assert!(matches!(tablet.ask(message(CHAT, 1, 2)).await, Ok(Response::Accepted { seq: 3, .. })));

    let mut seen = Vec::new();
    while seen.len() < 4 {
        seen.push(match alice.event().await {
            Event::Inbox(InboxItem { notice: InboxNotice::DeviceListChanged { username, .. }, .. }) => {
                format!("list of {username}")
            }
            Event::Inbox(InboxItem {
                notice: InboxNotice::JoinAsked { conversation: CHAT, username, device: asks },
                ..
            }) => {
                assert_eq!(asks, device(3));
                format!("{username} asks")
            }
            Event::Entry { entry: Entry { seq, body: EntryBody::Commit(commit), .. }, .. } => {
                assert_eq!(commit.0, b"external commit");
                format!("commit {seq}")
            }
            Event::Entry { entry: Entry { seq, .. }, .. } => format!("message {seq}"),
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(seen, ["list of bob", "bob asks", "commit 2", "message 3"]);
    match bob.ask(Request::FetchInbox { after: 0 }).await {
        Ok(Response::Inbox(items)) => assert_eq!(items.len(), 3, "{items:?}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn strangers_learn_nothing_of_a_chat() {
    let server = Server::start().await;
    let mut alice = server.signed_up("alice", 1).await;
    server.signed_up("bob", 2).await;
    open_chat(&mut alice).await;
    let mut carol = server.signed_up("carol", 4).await;
    let refused = || Err(ErrorCode::UnknownConversation.into());
    assert_eq!(carol.ask(join(1)).await, refused());
    assert_eq!(carol.ask(Request::GroupInfo(CHAT)).await, refused());
    assert_eq!(carol.ask(Request::AskToJoin(CHAT)).await, refused());
    assert_eq!(carol.ask(Request::Conversations { after: None }).await, Ok(Response::Conversations(vec![])));
}

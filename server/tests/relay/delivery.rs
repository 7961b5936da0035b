//! Messages through the relay: in order, pushed, bounded.

use crate::peer::*;
use std::collections::HashMap;
use waxwing_protocol::*;
use waxwing_server::store::Publish as _;

#[tokio::test]
async fn three_hundred_pipelined_sends_arrive_in_order() {
    let server = Server::start().await;
    let (mut alice, mut bob) = (server.signed_up("alice", 1).await, server.signed_up("bob", 2).await);
    assert_eq!(bob.ask(Request::Subscribe).await, Ok(Response::Done));
    open_chat(&mut alice).await;
    let notice = InboxNotice::Welcome { conversation: CHAT, seq: 1, commits: 1, payload: b"welcome".to_vec().into() };
    match bob.event().await {
        Event::Inbox(item) => assert_eq!(item.notice, notice),
        other => panic!("{other:?}"),
    }

    // All in one write, with other requests in between.
    let mut bytes = Vec::new();
    for number in 1..=300_u32 {
        let mut frames = vec![ClientFrame { id: number, request: message(CHAT, u64::from(number), 1) }];
        if number % 10 == 0 {
            let request = Request::Acknowledge { conversation: CHAT, seq: u64::from(number) };
            frames.push(ClientFrame { id: 1000 + number, request });
        }
        for frame in frames {
            let body = encode(&frame).0;
            bytes.extend_from_slice(&(body.len() as u32).to_be_bytes());
            bytes.extend_from_slice(&body);
        }
    }
    tokio::io::AsyncWriteExt::write_all(&mut alice.stream, &bytes).await.unwrap();
    let mut answers = HashMap::new();
    while answers.len() < 330 {
        let (id, answer) = alice.answer().await;
        assert!(answers.insert(id, answer.unwrap()).is_none());
    }
    for number in 1..=300_u32 {
        match answers[&number] {
            Response::Accepted { seq, .. } => assert_eq!(seq, u64::from(number) + 1),
            ref other => panic!("{other:?}"),
        }
    }
    for number in 1..=300_u64 {
        match bob.event().await {
            Event::Entry { conversation: CHAT, entry: Entry { seq, body: EntryBody::Application(payload), .. } } => {
                assert_eq!((seq, payload.0), (number + 1, number.to_be_bytes().to_vec()));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(alice.events.is_empty(), "a sender hears nothing of its own");
}

/// Under load a task is made to pause in the midst of what it does; the order must not depend on where.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_many_send_without_waiting_stays_in_order() {
    const PAIRS: u8 = 8;
    let server = Server::start().await;
    let mut pairs = tokio::task::JoinSet::new();
    for pair in 0..PAIRS {
        let names = [format!("alice{pair}"), format!("bob{pair}")];
        let mut alice = server.signed_up(&names[0], 1 + 2 * pair).await;
        let _bob = server.signed_up(&names[1], 2 + 2 * pair).await;
        let conversation = ConversationId([pair; 16]);
        let welcome = Welcome { recipients: vec![device(2 + 2 * pair)], payload: b"welcome".to_vec().into() };
        let handshake = Handshake {
            commit: b"commit".to_vec().into(),
            welcome: Some(welcome),
            removed: vec![],
            group_info: None,
            roster: None,
        };
        let kind = ConversationKind::Direct(name(&names[1]));
        let create = CreateConversation { id: conversation, kind, handshake: Some(handshake), replaces: None };
        alice.ask(Request::CreateConversation(Box::new(create))).await.unwrap();
        pairs.spawn(async move {
            let mut next = 1;
            for _ in 0..4 {
                let mut bytes = Vec::new();
                for _ in 0..200 {
                    let payload = vec![7; 1024].into();
                    let request = Request::Send { conversation, number: next, commits: 1, payload };
                    let body = encode(&ClientFrame { id: 1000 + next as u32, request }).0;
                    bytes.extend_from_slice(&(body.len() as u32).to_be_bytes());
                    bytes.extend_from_slice(&body);
                    next += 1;
                }
                tokio::io::AsyncWriteExt::write_all(&mut alice.stream, &bytes).await.unwrap();
                for _ in 0..200 {
                    let (id, answer) = alice.answer().await;
                    assert!(matches!(answer, Ok(Response::Accepted { .. })), "{id}: {answer:?}");
                }
            }
        });
    }
    while let Some(pair) = pairs.join_next().await {
        pair.unwrap();
    }
}

#[tokio::test]
async fn outcomes_of_the_store_have_names_on_the_wire() {
    let server = Server::start().await;
    let (mut alice, mut bob) = (server.signed_up("alice", 1).await, server.signed_up("bob", 2).await);
    open_chat(&mut alice).await;
    assert_eq!(alice.ask(message(CHAT, 1, 0)).await, Err(Refusal::numbered(ErrorCode::Stale, 1)));
    assert_eq!(alice.ask(message(CHAT, 5, 1)).await, Err(Refusal::numbered(ErrorCode::OutOfOrder, 1)));
    let first = alice.ask(message(CHAT, 1, 1)).await;
    assert!(matches!(first, Ok(Response::Accepted { seq: 2, .. })));
    assert_eq!(alice.ask(message(CHAT, 1, 1)).await, first, "the same number again is the same message");
    let nowhere = ConversationId([8; 16]);
    assert_eq!(alice.ask(message(nowhere, 1, 0)).await, Err(ErrorCode::UnknownConversation.into()));
    let fetch = Request::Fetch { conversation: nowhere, after: 0 };
    assert_eq!(alice.ask(fetch).await, Err(ErrorCode::UnknownConversation.into()));
    assert_eq!(alice.ask(Request::Account(name("nobody"))).await, Err(ErrorCode::UnknownAccount.into()));
    let kind = ConversationKind::Direct(name("alice"));
    let create = CreateConversation { id: nowhere, kind, handshake: None, replaces: None };
    match bob.ask(Request::CreateConversation(Box::new(create))).await {
        Err(Refusal { code: ErrorCode::ConversationExists, conversation, .. }) => assert_eq!(conversation, Some(CHAT)),
        other => panic!("{other:?}"),
    }
    // Signed in already: signing in once more is no request of a device.
    assert_eq!(bob.ask(login("bob", 1)).await, Err(ErrorCode::BadRequest.into()));
    assert_eq!(bob.ask(Request::Ping).await, Ok(Response::Done));
}

#[tokio::test]
async fn a_slow_reader_is_told_that_it_is_behind_and_then_goes_on() {
    let server = Server::start().await;
    let mut bob = server.signed_up("bob", 2).await;
    assert_eq!(bob.ask(Request::Subscribe).await, Ok(Response::Done));
    // 40 MiB, far beyond the sockets' buffers and the relay's own.
    let published = 320;
    for seq in 1..=published {
        let body = EntryBody::Application(vec![0; limits::PAYLOAD].into());
        server.hub.entry(&[device(2)], CHAT, &Entry { seq, time_ms: 0, body });
    }
    let (mut entries, mut last) = (0, 0);
    loop {
        match bob.event().await {
            Event::Entry { entry, .. } => {
                assert!(entry.seq > last);
                (entries, last) = (entries + 1, entry.seq);
            }
            Event::Behind => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(entries < published);
    let entry = Entry { seq: published + 1, time_ms: 0, body: EntryBody::Own { number: 1 } };
    server.hub.entry(&[device(2)], CHAT, &entry);
    assert_eq!(bob.event().await, Event::Entry { conversation: CHAT, entry });
    assert_eq!(bob.ask(Request::Ping).await, Ok(Response::Done));
}

#[tokio::test]
async fn the_newest_connection_of_a_device_replaces_the_older() {
    let server = Server::start().await;
    let mut old = server.signed_up("bob", 2).await;
    assert_eq!(old.ask(Request::Subscribe).await, Ok(Response::Done));
    assert_eq!(old.ask(Request::Subscribe).await, Ok(Response::Done));
    let mut new = server.peer().await;
    let authenticate = new.authenticate(2);
    assert_eq!(new.ask(authenticate).await, Ok(Response::Done));
    assert_eq!(new.ask(Request::Subscribe).await, Ok(Response::Done));
    old.closed().await;
    let entry = Entry { seq: 1, time_ms: 0, body: EntryBody::Own { number: 1 } };
    server.hub.entry(&[device(2)], CHAT, &entry);
    assert_eq!(new.event().await, Event::Entry { conversation: CHAT, entry });
}

#[tokio::test]
async fn what_was_begun_when_draining_starts_is_answered() {
    let server = Server::start().await;
    let (mut alice, _bob) = (server.signed_up("alice", 1).await, server.signed_up("bob", 2).await);
    open_chat(&mut alice).await;
    for number in 1..=100 {
        alice.send(message(CHAT, number, 1)).await;
    }
    let (_, first) = alice.answer().await;
    assert!(matches!(first, Ok(Response::Accepted { seq: 2, .. })));
    server.stop.send(()).unwrap();
    // Some prefix was taken; each of it is answered, in order, and the goodbye is heard.
    let (mut seqs, mut goodbye) = (vec![2], false);
    while let Some(frame) = alice.frame().await {
        match frame {
            ServerFrame::Response { response: Response::Accepted { seq, .. }, .. } => seqs.push(seq),
            ServerFrame::Event(Event::Draining) => goodbye = true,
            other => panic!("{other:?}"),
        }
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (2..2 + seqs.len() as u64).collect::<Vec<_>>());
    assert!(goodbye);
    tokio::time::timeout(PATIENCE, server.serving).await.unwrap().unwrap().unwrap();
}

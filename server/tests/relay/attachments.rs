//! Attachments as a client meets them.

use crate::peer::*;
use waxwing_protocol::*;
use waxwing_server::{
    relay::SignUpRule,
    rules::{AttachmentRules, Rules},
};

const CHUNK: usize = limits::ATTACHMENT_CHUNK;

fn id(number: u8) -> AttachmentId {
    AttachmentId([number; 32])
}

fn begin(number: u8, size: usize) -> Request {
    Request::BeginAttachment { id: id(number), size: size as u64 }
}

fn put(number: u8, index: u32, length: usize) -> Request {
    Request::PutChunk { id: id(number), index, payload: vec![index as u8; length].into() }
}

fn fetch(number: u8, index: u32) -> Request {
    Request::FetchChunk { id: id(number), index }
}

#[tokio::test]
async fn an_attachment_is_put_together_and_found_by_whoever_knows_its_id() {
    let attachments = AttachmentRules { quota: 4 << 20, largest: 1 << 20, days: 30 };
    let server = Server::ruled(Rules { sign_up: SignUpRule::Open, attachments, ..Rules::default() }).await;
    let mut alice = server.signed_up("alice", 1).await;
    let mut bob = server.signed_up("bob", 2).await;
    let unknown = || Err(Refusal::from(ErrorCode::UnknownAttachment));
    let bad = || Err(Refusal::from(ErrorCode::BadRequest));
    let (done, size) = (|| Ok(Response::Done), 2 * CHUNK + 5);
    assert_eq!(
        alice.ask(begin(9, (1 << 20) + 1)).await,
        Err(Refusal::numbered(ErrorCode::AttachmentTooLarge, 1 << 20))
    );
    assert_eq!(alice.ask(put(1, 0, CHUNK)).await, unknown());
    assert_eq!(alice.ask(begin(1, size)).await, done());
    assert_eq!(alice.ask(begin(1, size)).await, done());
    assert_eq!(alice.ask(begin(1, size + 1)).await, bad());
    // Others can neither add to it nor see how it stands.
    assert_eq!(bob.ask(begin(1, size)).await, bad());
    assert_eq!(bob.ask(put(1, 0, CHUNK)).await, unknown());
    assert_eq!(bob.ask(Request::AttachmentStatus(id(1))).await, unknown());

    for (index, length) in [(0, CHUNK - 1), (2, CHUNK), (3, 5), (u32::MAX, 1)] {
        assert_eq!(alice.ask(put(1, index, length)).await, bad(), "{length} bytes at {index}");
    }
    assert_eq!(alice.ask(put(1, 2, 5)).await, done());
    assert_eq!(alice.ask(put(1, 0, CHUNK)).await, done());
    let status = |finished, bits| {
        let chunks = vec![bits].into();
        Ok(Response::AttachmentStatus(AttachmentStatus { size: size as u64, finished, chunks }))
    };
    assert_eq!(alice.ask(Request::AttachmentStatus(id(1))).await, status(false, 0b101));
    let finish = || Request::FinishAttachment(id(1));
    assert_eq!(alice.ask(finish()).await, Err(Refusal::numbered(ErrorCode::AttachmentIncomplete, 1)));
    assert_eq!(bob.ask(fetch(1, 0)).await, unknown());
    assert_eq!(alice.ask(put(1, 1, CHUNK)).await, done());
    assert_eq!(bob.ask(finish()).await, unknown());
    for _ in 0..2 {
        assert_eq!(alice.ask(finish()).await, done());
    }
    assert_eq!(alice.ask(Request::AttachmentStatus(id(1))).await, status(true, 0b111));
    assert_eq!(bob.ask(fetch(1, 1)).await, Ok(Response::Chunk(vec![1; CHUNK].into())));
    assert_eq!(bob.ask(fetch(1, 2)).await, Ok(Response::Chunk(vec![2; 5].into())));
    assert_eq!(bob.ask(fetch(1, 3)).await, unknown());
    // What is finished does not change any more.
    let other = Request::PutChunk { id: id(1), index: 2, payload: vec![9; 5].into() };
    assert_eq!(alice.ask(other).await, done());
    assert_eq!(bob.ask(fetch(1, 2)).await, Ok(Response::Chunk(vec![2; 5].into())));

    for number in 2..5 {
        assert_eq!(alice.ask(begin(number, 1 << 20)).await, done());
    }
    assert_eq!(alice.ask(begin(5, 1 << 20)).await, Err(Refusal::numbered(ErrorCode::AttachmentsFull, 4 << 20)));
    assert_eq!(bob.ask(Request::DeleteAttachment(id(1))).await, done());
    assert_eq!(bob.ask(fetch(1, 2)).await, Ok(Response::Chunk(vec![2; 5].into())));
    assert_eq!(alice.ask(Request::DeleteAttachment(id(1))).await, done());
    assert_eq!(bob.ask(fetch(1, 2)).await, unknown());
    assert_eq!(alice.ask(begin(5, 1 << 19)).await, done());
    let mut nobody = server.peer().await;
    assert_eq!(nobody.ask(fetch(1, 0)).await, Err(ErrorCode::NotAuthenticated.into()));
}

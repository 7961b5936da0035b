//! Backups as a client meets them. The quota of these servers is 1 MiB.

use crate::peer::*;
use waxwing_protocol::*;

const QUOTA: u64 = 1 << 20;

fn segment(number: u8, size: usize) -> Request {
    Request::PutSegment { id: SegmentId([number; 16]), payload: vec![number; size].into() }
}

fn manifest(version: u64, named: &[u8]) -> Request {
    let segments = named.iter().map(|number| SegmentId([*number; 16])).collect();
    Request::PutManifest { version, manifest: vec![99; limits::MANIFEST].into(), segments }
}

#[tokio::test]
async fn a_backup_is_stored_found_by_another_device_and_deleted() {
    let server = Server::start().await;
    let mut alice = server.signed_up("alice", 1).await;
    let none = Manifest { version: 0, manifest: None, used: 0, quota: QUOTA };
    assert_eq!(alice.ask(Request::FetchManifest).await, Ok(Response::Manifest(none)));
    assert_eq!(alice.ask(segment(1, limits::SEGMENT)).await, Ok(Response::Done));
    assert_eq!(alice.ask(segment(1, limits::SEGMENT)).await, Ok(Response::Done));
    assert_eq!(alice.ask(segment(1, 5)).await, Err(ErrorCode::BadRequest.into()));
    assert_eq!(alice.ask(segment(2, limits::SEGMENT)).await, Ok(Response::Done));
    assert_eq!(alice.ask(segment(3, 1)).await, Err(Refusal::numbered(ErrorCode::QuotaExceeded, QUOTA)));
    assert_eq!(alice.ask(manifest(2, &[1])).await, Err(Refusal::numbered(ErrorCode::ManifestConflict, 0)));
    assert_eq!(alice.ask(manifest(1, &[1, 3])).await, Err(ErrorCode::UnknownSegment.into()));
    assert_eq!(alice.ask(manifest(1, &[1])).await, Ok(Response::Done));

    let mut tablet = server.proven("alice", 1).await;
    assert_eq!(tablet.ask(enrol(2, 2)).await, Ok(Response::Done));
    let used = limits::SEGMENT as u64;
    let stored = Manifest { version: 1, manifest: Some(vec![99; limits::MANIFEST].into()), used, quota: QUOTA };
    assert_eq!(tablet.ask(Request::FetchManifest).await, Ok(Response::Manifest(stored)));
    let fetch = |number: u8| Request::FetchSegment(SegmentId([number; 16]));
    assert_eq!(tablet.ask(fetch(1)).await, Ok(Response::Segment(vec![1; limits::SEGMENT].into())));
    assert_eq!(tablet.ask(fetch(2)).await, Err(ErrorCode::UnknownSegment.into()));
    let mut bob = server.signed_up("bob", 3).await;
    assert_eq!(bob.ask(fetch(1)).await, Err(ErrorCode::UnknownSegment.into()));

    assert_eq!(tablet.ask(Request::DeleteBackup).await, Ok(Response::Done));
    let gone = Manifest { version: 1, manifest: None, used: 0, quota: QUOTA };
    assert_eq!(alice.ask(Request::FetchManifest).await, Ok(Response::Manifest(gone)));
    assert_eq!(alice.ask(manifest(1, &[])).await, Err(Refusal::numbered(ErrorCode::ManifestConflict, 1)));
    assert_eq!(alice.ask(manifest(2, &[])).await, Ok(Response::Done));
    let mut nobody = server.peer().await;
    assert_eq!(nobody.ask(fetch(1)).await, Err(ErrorCode::NotAuthenticated.into()));
}

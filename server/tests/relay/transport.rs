//! What the relay does to peers that speak something else, too much, or too late.

use crate::peer::*;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use waxwing_protocol::*;
use waxwing_server::relay::{Relay, SignUpRule};

#[tokio::test]
async fn a_client_that_knows_tls_1_2_only_is_refused() {
    let server = Server::start().await;
    let mut tcp = TcpStream::connect(server.address).await.unwrap();
    // A ClientHello of version 1.2 without supported_versions: ECDHE with AES-GCM, P-256, ECDSA.
    let extensions = [
        [0, 10, 0, 4, 0, 2, 0, 23].as_slice(), // supported_groups
        &[0, 11, 0, 2, 1, 0],                  // ec_point_formats
        &[0, 13, 0, 4, 0, 2, 4, 3],            // signature_algorithms
        &[0, 23, 0, 0],                        // extended_master_secret
    ]
    .concat();
    let body = [
        [3, 3].as_slice(),
        &[7; 32],
        &[0, 0, 2, 0xc0, 0x2b, 1, 0],
        &(extensions.len() as u16).to_be_bytes(),
        &extensions,
    ]
    .concat();
    let handshake = [&[1, 0], (body.len() as u16).to_be_bytes().as_slice(), &body].concat();
    let record = [&[22, 3, 1], (handshake.len() as u16).to_be_bytes().as_slice(), &handshake].concat();
    tcp.write_all(&record).await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, tcp.read_to_end(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer, [21, 3, 3, 0, 2, 2, 70], "a fatal protocol_version alert and nothing else");
}

#[tokio::test]
async fn only_our_protocol_is_served_to_who_asks_for_it_and_all_others_get_http() {
    let server = Server::start().await;
    let error = server.tls(&[b"h2"]).await.unwrap_err();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
    let hello = encode(&Hello { lowest: 1, highest: 1 }).0;
    let hello = [&(hello.len() as u32).to_be_bytes(), hello.as_slice()].concat();
    for alpn in [vec![], vec![b"http/1.1".as_slice()], vec![b"h2", b"http/1.1"]] {
        let mut stream = server.tls(&alpn).await.unwrap();
        stream.write_all(&hello).await.unwrap();
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&answer));
    }
    // Offered beside ours, it does not count.
    let mut peer = Peer::new(server.tls(&[b"http/1.1".as_slice(), ALPN]).await.unwrap(), server.pin);
    peer.write(&encode(&Hello { lowest: 1, highest: 1 }).0).await;
    assert!(decode_server_hello(&peer.read().await.unwrap()).is_ok());
}

#[tokio::test]
async fn versions_are_negotiated_or_refused() {
    let server = Server::start().await;
    let mut peer = Peer::new(server.tls(&[ALPN]).await.unwrap(), server.pin);
    peer.write(&encode(&Hello { lowest: 1, highest: 9 }).0).await;
    match decode_server_hello(&peer.read().await.unwrap()).unwrap() {
        ServerHello::Accepted { version, incarnation, sign_up, .. } => {
            assert_eq!((version, incarnation, sign_up), (1, server.store.incarnation(), SignUpPolicy::Open));
        }
        refused => panic!("{refused:?}"),
    }
    for (lowest, highest) in [(2, 9), (0, 0), (9, 2)] {
        let mut peer = Peer::new(server.tls(&[ALPN]).await.unwrap(), server.pin);
        peer.write(&encode(&Hello { lowest, highest }).0).await;
        let refused = ServerHello::Refused(Refusal::numbered(ErrorCode::Version, 1));
        assert_eq!(decode_server_hello(&peer.read().await.unwrap()).unwrap(), refused);
        peer.closed().await;
    }
}

#[tokio::test]
async fn lengths_over_the_limit_end_the_connection() {
    let server = Server::start().await;
    for length in [u32::MAX, limits::FRAME_BEFORE_LOGIN as u32 + 1] {
        let mut peer = server.peer().await;
        peer.stream.write_all(&length.to_be_bytes()).await.unwrap();
        peer.closed().await;
    }
    let mut device = server.signed_up("alice", 1).await;
    device.stream.write_all(&(limits::FRAME as u32 + 1).to_be_bytes()).await.unwrap();
    device.closed().await;
}

#[tokio::test]
async fn unknown_requests_are_refused_and_malformed_ones_end_the_connection() {
    let server = Server::start().await;
    let mut peer = server.signed_up("alice", 1).await;
    // Request 99 with id 5, and one with id 6 that has an argument of its own.
    for (body, id) in [(&[0x82, 5, 0x82, 0x18, 99, 0x80], 5), (&[0x82, 6, 0x82, 0x18, 99, 0x81], 6)] {
        let mut body = body.to_vec();
        if id == 6 {
            body.extend([0x63, b'a', b'b', b'c']);
        }
        peer.write(&body).await;
        assert_eq!(peer.answer().await, (id, Err(ErrorCode::Unsupported.into())));
    }
    assert_eq!(peer.ask(Request::Ping).await, Ok(Response::Done));
    let short = Request::Authenticate { device: device(1), signature: vec![0; 63].into() };
    assert_eq!(peer.ask(short).await, Err(ErrorCode::BadRequest.into()));
    peer.closed().await;

    let mut peer = server.peer().await;
    peer.write(&[0xff; 40]).await;
    peer.closed().await;
    let mut nested = server.peer().await;
    nested.write(&[0x81; 60_000]).await;
    nested.closed().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_at_once() {
    let server = Server::with(SignUpRule::Open, 2).await;
    let (mut first, second) = (server.peer().await, server.peer().await);
    let mut third = TcpStream::connect(server.address).await.unwrap();
    let closed = timeout(PATIENCE, third.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)));
    assert_eq!(first.ask(Request::Ping).await, Ok(Response::Done));
    drop(second);
    // The place is free again as soon as the relay has noticed.
    timeout(PATIENCE, async { while server.tls(&[ALPN]).await.is_err() {} }).await.unwrap();
}

#[tokio::test]
async fn draining_says_goodbye_and_a_restart_gets_the_port_at_once() {
    let server = Server::start().await;
    let mut device = server.signed_up("alice", 1).await;
    let mut stranger = server.peer().await;
    server.stop.send(()).unwrap();
    assert_eq!(device.event().await, Event::Draining);
    device.closed().await;
    stranger.closed().await;
    timeout(PATIENCE, server.serving).await.unwrap().unwrap().unwrap();
    assert!(server.store.ping().await.is_err(), "the store is closed");
    assert!(TcpStream::connect(server.address).await.is_err());
    Relay::bind(server.address).await.unwrap();
}

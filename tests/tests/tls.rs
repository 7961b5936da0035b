//! The connection itself: who is at the other end, and what happens to damaged and misshapen bytes.

use anyhow::{Result, ensure};
use rustls::version::{TLS12, TLS13};
use std::time::Duration;
use waxwing_protocol::{Request, ServerFrame};
use waxwing_tests::{
    DEADLINE, Database, Direction, Fault, Impostor, Met, Proxy, RawClient, Server, Tls, User, link_with_port, texts,
};

#[test]
fn a_server_with_another_key_hears_nothing() -> Result<()> {
    let server = Server::start(Database::Sqlite)?;
    let impostor = Impostor::start(&[&TLS13])?;
    let alice = User::new("alice")?;
    let refused = alice.try_sign_up(&link_with_port(server.link(), impostor.port())?, &[])?.expect_code(3)?;
    ensure!(refused.error()?.contains("key"), "it does not say why: {}", refused.stderr);
    assert_eq!(impostor.met()?, Met { shook_hands: false, told: 0 });
    alice.run(&["ping", &link_with_port(server.link(), impostor.port())?])?.expect_code(3)?;
    assert_eq!(impostor.met()?.told, 0);
    Ok(())
}

#[test]
fn a_server_with_the_right_key_hears_a_hello() -> Result<()> {
    let impostor = Impostor::start(&[&TLS13])?;
    // It answers nothing, so this fails; but it was greeted, so the test above would notice a greeting.
    User::new("alice")?.run(&["ping", &impostor.link()])?.expect_code(3)?;
    let met = impostor.met()?;
    ensure!(met.shook_hands && met.told > 0, "{met:?}");
    Ok(())
}

#[test]
fn tls_1_2_is_refused_by_both_sides() -> Result<()> {
    let impostor = Impostor::start(&[&TLS12])?;
    User::new("alice")?.run(&["ping", &impostor.link()])?.expect_code(3)?;
    assert_eq!(impostor.met()?, Met { shook_hands: false, told: 0 });

    let server = Server::start(Database::Sqlite)?;
    static OLD: [&rustls::SupportedProtocolVersion; 1] = [&TLS12];
    ensure!(
        RawClient::connect(server.port(), Tls { versions: &OLD, ..Tls::default() }).is_err(),
        "TLS 1.2 went through"
    );
    Ok(())
}

#[test]
fn the_handshake_is_post_quantum_and_needs_the_protocols_name() -> Result<()> {
    let server = Server::start(Database::Sqlite)?;
    let client = RawClient::greet(server.port())?;
    assert_eq!(client.key_exchange(), Some(rustls::NamedGroup::X25519MLKEM768));
    for alpn in [vec![], vec![b"h2".to_vec()]] {
        let served = RawClient::connect(server.port(), Tls { alpn: alpn.clone(), ..Tls::default() })
            .is_ok_and(|mut client| !client.is_closed_within(Duration::from_secs(20)));
        ensure!(!served, "served with {alpn:?}");
    }
    Ok(())
}

/// What is damaged on the way is noticed, sent again, and shown once.
#[test]
fn flipped_bytes_and_cut_streams_leave_no_trace() -> Result<()> {
    let server = Server::start(Database::Sqlite)?;
    let proxy = Proxy::start(server.port())?;
    let link = link_with_port(server.link(), proxy.port())?;
    let (alice, bob) = (User::sign_up(&link, "alice")?, User::sign_up(server.link(), "bob")?);
    let mut follow = bob.follow()?;
    let mut chat = alice.chat("bob")?;
    let mut number = 0;
    // Long enough that a few of them carry a connection past every offset below.
    let mut say = |chat: &mut waxwing_tests::Chat| -> Result<String> {
        number += 1;
        let text = format!("message {number} {}", "and so on ".repeat(300).trim_end());
        chat.say(&text)?;
        Ok(text)
    };
    let mut sent = vec![say(&mut chat)?];
    let mut seen = follow.next_texts(1)?;

    // In the hello, in the handshake, in the first frames, in the middle of a message.
    let to_server = [100, 1_600, 2_000, 6_000].map(|at| (Direction::ToServer, at));
    let to_client = [100, 1_300, 1_900].map(|at| (Direction::ToClient, at));
    for (direction, at) in to_server.into_iter().chain(to_client) {
        for fault in [Fault::Flip(direction, at), Fault::CutAfter(direction, at)] {
            proxy.set(fault);
            proxy.cut();
            for _ in 0..4 {
                sent.push(say(&mut chat)?);
            }
            ensure!(proxy.wait_for_fault(DEADLINE), "{fault:?} never struck");
            proxy.set(Fault::None);
            proxy.cut();
            seen.extend(follow.next_texts(4)?);
            ensure!(seen == sent, "after {fault:?} other messages were shown than sent");
        }
    }
    chat.leave(DEADLINE)?;
    follow.stop()?;
    ensure!(bob.receive_now()?.is_empty(), "a message came twice");
    assert_eq!(texts(&alice.history("bob")?), sent);
    Ok(())
}

#[test]
fn a_silent_network_does_not_hold_a_command_for_ever() -> Result<()> {
    let server = Server::start(Database::Sqlite)?;
    let proxy = Proxy::start(server.port())?;
    let alice = User::sign_up(&link_with_port(server.link(), proxy.port())?, "alice")?;
    let bob = User::sign_up(server.link(), "bob")?;
    proxy.set(Fault::Swallow(Direction::ToClient));
    alice.run(&["send", "bob", "into the void"])?.expect_code(3)?;
    proxy.set(Fault::None);
    proxy.cut();
    alice.send("bob", "through")?;
    assert_eq!(texts(&bob.receive()?), ["through"]);
    Ok(())
}

#[test]
fn misshapen_frames_end_their_connection_only() -> Result<()> {
    let server = Server::start(Database::Sqlite)?;
    let mut good = RawClient::greet(server.port())?;
    let frames: [&[u8]; 5] = [
        &[0xff, 0xff, 0xff, 0xff],
        &[0, 1, 0, 1],
        &[0, 0, 0, 0],
        &[0, 0, 0, 3, 0x9f, 0x9f, 0x9f],
        &[0, 0, 0, 5, 0x82, 1, 0x82, 0x0b, 0x80],
    ];
    for frame in frames {
        let mut bad = RawClient::greet(server.port())?;
        bad.write(frame)?;
        ensure!(bad.is_closed_within(Duration::from_secs(20)), "{frame:?} did not end the connection");
    }
    let nested = vec![0x81; 60_000];
    let mut bad = RawClient::greet(server.port())?;
    bad.write_frame(&nested)?;
    ensure!(bad.is_closed_within(Duration::from_secs(20)), "deep nesting did not end the connection");
    ensure!(matches!(good.ask(Request::Ping)?, ServerFrame::Response { .. }), "others were disturbed");
    Ok(())
}

#[test]
fn what_needs_a_signed_in_device_is_refused_without_one() -> Result<()> {
    let server = Server::start(Database::Sqlite)?;
    User::sign_up(server.link(), "alice")?;
    let mut client = RawClient::greet(server.port())?;
    let requests = [
        Request::Account("alice".parse()?),
        Request::ClaimKeyPackages("alice".parse()?),
        Request::Heads { after: None },
        Request::FetchInbox { after: 0 },
        Request::Subscribe,
    ];
    for request in requests {
        let answer = client.ask(request.clone())?;
        let ServerFrame::Refusal { refusal, .. } = answer else {
            anyhow::bail!("{request:?} was answered: {answer:?}")
        };
        assert_eq!(refusal.code, waxwing_protocol::ErrorCode::NotAuthenticated, "{request:?}");
    }
    Ok(())
}

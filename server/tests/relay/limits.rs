//! Who gets in and how much: rules that are enforced at the door and on every request.

use crate::peer::*;
use waxwing_protocol::*;
use waxwing_server::{
    relay::SignUpRule,
    rules::{Limits, Rate, Room, Rules, SessionRules, Usernames},
};

fn open(limits: Limits) -> Rules {
    Rules { sign_up: SignUpRule::Open, limits: Limits { loopback: true, ..limits }, ..Rules::default() }
}

fn once() -> Option<Rate> {
    Some("1 then 1/d".parse().unwrap())
}

fn code(answer: Result<Response, Refusal>) -> ErrorCode {
    answer.unwrap_err().code
}

#[tokio::test]
async fn an_address_signs_up_so_often_and_is_told_how_long_to_wait() {
    let server = Server::ruled(open(Limits { sign_ups: once(), ..Limits::default() })).await;
    let _alice = server.signed_up("alice", 1).await;
    let mut peer = server.peer().await;
    let refused = peer.ask(sign_up("bob", 2)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::RateLimited);
    assert!(refused.retry_after_ms.is_some_and(|wait| wait > 23 * 3600 * 1000), "{refused:?}");
    // The next one would be let in: the limit is another one now, at once and on open connections.
    let rules = Rules { limits: Limits::default(), ..server.reloader.rules() };
    server.reload(rules);
    assert_eq!(peer.ask(sign_up("bob", 2)).await, Ok(Response::Done));
}

#[tokio::test]
async fn whoever_fails_at_a_password_holds_up_neither_devices_nor_the_recovery_code() {
    let rate: Rate = "3 then 1/d".parse().unwrap();
    let server = Server::ruled(open(Limits { account_login_failures: Some(rate), ..Limits::default() })).await;
    drop(server.signed_up("alice", 1).await);
    let mut attacker = server.peer().await;
    for victim in ["alice", "nobody"] {
        for _ in 0..3 {
            assert_eq!(code(attacker.ask(login(victim, 3)).await), ErrorCode::BadCredentials);
        }
        // Known and unknown names look alike, also here.
        let refused = attacker.ask(login(victim, 3)).await.unwrap_err();
        assert_eq!((refused.code, refused.retry_after_ms.is_some()), (ErrorCode::RateLimited, true), "{victim}");
    }
    let mut device = server.peer().await;
    let authenticate = device.authenticate(1);
    assert_eq!(device.ask(authenticate).await, Ok(Response::Done));
    let mut owner = server.peer().await;
    assert_eq!(code(owner.ask(login("alice", 1)).await), ErrorCode::RateLimited);
    let recovery = Authenticator::Recovery(Secret([2; 32]));
    let recovered =
        owner.ask(Request::Login { username: name("alice"), authenticator: recovery, code: None, device: None }).await;
    assert!(matches!(recovered, Ok(Response::Vault(_))), "{recovered:?}");
}

#[tokio::test]
async fn right_passwords_are_not_counted() {
    let server = Server::ruled(open(Limits { login_failures: once(), ..Limits::default() })).await;
    drop(server.signed_up("alice", 1).await);
    for _ in 0..3 {
        server.proven("alice", 1).await;
    }
}

#[tokio::test]
async fn probing_names_and_mass_look_ups_are_throttled() {
    let limits = Limits { probes: once(), look_ups: once(), key_packages_of_one: once(), ..Limits::default() };
    let server = Server::ruled(open(limits)).await;
    let mut stranger = server.peer().await;
    assert!(stranger.ask(Request::LoginParameters(name("nobody"))).await.is_ok());
    assert_eq!(code(stranger.ask(Request::LoginParameters(name("alice"))).await), ErrorCode::RateLimited);
    let mut alice = server.signed_up("alice", 1).await;
    let mut bob = server.signed_up("bob", 2).await;
    for (request, other) in [
        (Request::Account(name("bob")), Request::Account(name("nobody"))),
        (Request::ClaimKeyPackages(name("bob")), Request::ClaimKeyPackages(name("bob"))),
    ] {
        assert!(alice.ask(request).await.is_ok());
        assert_eq!(code(alice.ask(other).await), ErrorCode::RateLimited);
    }
    // By account, and of each other account: nobody else is held up.
    assert!(bob.ask(Request::Account(name("alice"))).await.is_ok());
    assert!(alice.ask(Request::ClaimKeyPackages(name("alice"))).await.is_ok());
    // A new connection is no new account.
    drop(alice);
    let mut again = server.peer().await;
    let authenticate = again.authenticate(1);
    assert_eq!(again.ask(authenticate).await, Ok(Response::Done));
    assert_eq!(code(again.ask(Request::Account(name("bob"))).await), ErrorCode::RateLimited);
}

#[tokio::test]
async fn too_many_messages_wait_and_none_is_lost() {
    let rate: Rate = "3 then 1/d".parse().unwrap();
    let server = Server::ruled(open(Limits { messages: Some(rate), ..Limits::default() })).await;
    let mut alice = server.signed_up("alice", 1).await;
    let _bob = server.signed_up("bob", 2).await;
    open_chat(&mut alice).await;
    for number in [1, 2] {
        assert!(alice.ask(message(CHAT, number, 1)).await.is_ok());
    }
    assert_eq!(code(alice.ask(message(CHAT, 3, 1)).await), ErrorCode::RateLimited);
    let rules = Rules { limits: Limits::default(), ..server.reloader.rules() };
    server.reload(rules);
    assert!(matches!(alice.ask(message(CHAT, 3, 1)).await, Ok(Response::Accepted { seq: 4, .. })));
}

#[tokio::test]
async fn one_session_per_address_means_one_device_and_its_reconnections() {
    let sessions = SessionRules { per_address: 1, ..SessionRules::default() };
    let server = Server::ruled(Rules { sessions, ..open(Limits::default()) }).await;
    let alice = server.signed_up("alice", 1).await;
    let mut peer = server.peer().await;
    let refused = peer.ask(sign_up("bob", 2)).await.unwrap_err();
    assert_eq!((refused.code, refused.number), (ErrorCode::TooManySessions, Some(1)));
    // Nothing was made of it: the name is free.
    let mut again = server.peer().await;
    let authenticate = again.authenticate(1);
    assert_eq!(again.ask(authenticate).await, Ok(Response::Done));
    drop((alice, again));
    let mut signed_up = async || loop {
        match peer.ask(sign_up("bob", 2)).await {
            Err(refused) if refused.code == ErrorCode::TooManySessions => tokio::task::yield_now().await,
            answer => return answer,
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, signed_up()).await.unwrap(), Ok(Response::Done));
}

#[tokio::test]
async fn names_and_room_are_looked_at_before_anything_is_made() {
    let usernames = Usernames { least: 4, most: 8, reserved: vec!["chef".into()] };
    let server = Server::ruled(Rules { usernames, ..open(Limits::default()) }).await;
    let mut peer = server.peer().await;
    for (name, expected) in [
        ("bob", ErrorCode::UsernameLength),
        ("bobbobbob", ErrorCode::UsernameLength),
        ("c.hef", ErrorCode::UsernameReserved),
    ] {
        assert_eq!(code(peer.ask(sign_up(name, 1)).await), expected, "{name}");
    }
    let room = Room { folder: "/".into(), disk_mib: u32::MAX, memory_mib: 0 };
    let rules = server.reloader.rules();
    server.reload(Rules { room, ..rules.clone() });
    assert_eq!(code(peer.ask(sign_up("alice", 1)).await), ErrorCode::NoRoom);
    server.reload(rules);
    assert_eq!(peer.ask(sign_up("alice", 1)).await, Ok(Response::Done));
    // Whoever is in stays in.
    let room = Room { folder: "/".into(), disk_mib: 0, memory_mib: u32::MAX };
    let rules = Rules { room, ..server.reloader.rules() };
    server.reload(rules);
    assert!(peer.ask(Request::KeyPackageStock).await.is_ok());
}

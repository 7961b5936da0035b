//! Signing up, logging in, enrolling and authenticating, as users and attackers try it.

use crate::peer::*;
use std::time::{Duration, Instant};
use waxwing_protocol::*;
use waxwing_server::{
    relay::{DataKey, SignUpRule, invite_hash, new_invite_code},
    sealing::Purpose,
    store::NewInvite,
};
use zeroize::Zeroizing;

#[tokio::test]
async fn a_new_account_logs_in_elsewhere_and_enrols_a_device_there() {
    let server = Server::start().await;
    let mut alice = server.signed_up("alice", 1).await;
    assert!(alice.ask(Request::KeyPackageStock).await.is_ok());

    let mut second = server.peer().await;
    let parameters = second.ask(Request::LoginParameters(name("alice"))).await;
    let kdf = KdfParameters { salt: vec![9; 16].into(), memory_kib: 65536, iterations: 3, parallelism: 4 };
    assert_eq!(parameters, Ok(Response::LoginParameters(LoginParameters { kdf })));
    assert_eq!(second.ask(enrol(2, 2)).await, Err(ErrorCode::NotAuthenticated.into()));
    match second.ask(login("alice", 1)).await {
        Ok(Response::Vault(vault)) => {
            assert_eq!(vault.vault.0, b"the vault, sealed by the client");
            assert_eq!(vault.wrap.0, b"the password wrap");
            assert_eq!(vault.account.username, name("alice"));
            assert_eq!(vault.account.device_list.0, [5; 600]);
        }
        other => panic!("{other:?}"),
    }
    // Proving the account is not being a device of it.
    assert_eq!(second.ask(Request::KeyPackageStock).await, Err(ErrorCode::NotAuthenticated.into()));
    assert_eq!(second.ask(enrol(3, 2)).await, Err(ErrorCode::DeviceListConflict.into()));
    assert_eq!(second.ask(enrol(2, 2)).await, Ok(Response::Done));
    assert!(second.ask(Request::KeyPackageStock).await.is_ok());

    let mut again = server.peer().await;
    let authenticate = again.authenticate(2);
    assert_eq!(again.ask(authenticate).await, Ok(Response::Done));
    assert!(again.ask(Request::Heads { after: None }).await.is_ok());

    let mut recovering = server.peer().await;
    let recovery = Authenticator::Recovery(Secret([2; 32]));
    match recovering
        .ask(Request::Login { username: name("alice"), authenticator: recovery, code: None, device: None })
        .await
    {
        Ok(Response::Vault(vault)) => assert_eq!(vault.wrap.0, b"the recovery wrap"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_store_holds_nothing_that_the_client_sent_in_plain() {
    let server = Server::start().await;
    server.signed_up("alice", 1).await;
    let record = server.store.login_record(&name("alice")).await.unwrap().unwrap();
    assert!(!contains(&record.sealed.vault, b"the vault"));
    assert!(!contains(&record.sealed.password_wrap, b"the password wrap"));
    assert!(!contains(&record.sealed.recovery_wrap, b"the recovery wrap"));
    // Whoever copies the database has no hash to try passwords on; whoever has the data key too must guess.
    let key = DataKey::from_bytes(DATA_KEY);
    let open = |purpose, sealed| String::from_utf8(key.open(purpose, &name("alice"), sealed).unwrap()).unwrap();
    for (purpose, sealed) in
        [(Purpose::PasswordHash, &record.password_hash), (Purpose::RecoveryHash, &record.recovery_hash)]
    {
        assert!(!contains(sealed, b"argon2"));
        let hash = open(purpose, sealed);
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    }
    // Not even an opened hash is a credential: its 32 bytes presented as a secret open nothing.
    let mut thief = server.peer().await;
    let hash = open(Purpose::PasswordHash, &record.password_hash);
    let encoded = hash.rsplit('$').next().unwrap();
    let stolen = base64::Engine::decode(&base64::prelude::BASE64_STANDARD_NO_PAD, encoded).unwrap();
    let authenticator = Authenticator::Password(Secret(stolen.try_into().unwrap()));
    let refused = thief.ask(Request::Login { username: name("alice"), authenticator, code: None, device: None }).await;
    assert_eq!(refused, Err(ErrorCode::BadCredentials.into()));
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[tokio::test]
async fn a_captured_authentication_is_worth_nothing_on_another_connection() {
    let server = Server::start().await;
    server.signed_up("alice", 1).await;
    let mut alice = server.peer().await;
    let captured = alice.authenticate(1);
    assert_eq!(alice.ask(captured.clone()).await, Ok(Response::Done));
    let mut mallory = server.peer().await;
    let replayed = mallory.ask(captured).await;
    let mut stranger = server.peer().await;
    let unknown = stranger.authenticate(77);
    let unknown = stranger.ask(unknown).await;
    assert_eq!(replayed, Err(ErrorCode::BadCredentials.into()));
    assert_eq!(unknown, replayed, "an unknown device and a bad signature look alike");
    assert_eq!(mallory.ask(Request::KeyPackageStock).await, Err(ErrorCode::NotAuthenticated.into()));
}

#[tokio::test]
async fn whoever_is_not_signed_in_gets_nothing_done() {
    let server = Server::start().await;
    server.signed_up("alice", 1).await;
    let conversation = ConversationId([1; 16]);
    let handshake =
        Handshake { commit: vec![1].into(), welcome: None, removed: vec![], group_info: None, roster: None };
    let create = CreateConversation {
        id: conversation,
        kind: ConversationKind::Direct(name("alice")),
        handshake: None,
        replaces: None,
    };
    let mut peer = server.peer().await;
    for request in [
        Request::PublishKeyPackages { one_time: vec![], last_resort: None },
        Request::KeyPackageStock,
        Request::Account(name("alice")),
        Request::ClaimKeyPackages(name("alice")),
        Request::CreateConversation(Box::new(create)),
        message(conversation, 1, 0),
        Request::Commit { conversation, number: 1, commits: 0, handshake: Box::new(handshake) },
        Request::Fetch { conversation, after: 0 },
        Request::Acknowledge { conversation, seq: 1 },
        Request::FetchInbox { after: 0 },
        Request::AcknowledgeInbox { seq: 1 },
        Request::Heads { after: None },
        Request::Subscribe,
    ] {
        let shown = format!("{request:?}");
        assert_eq!(peer.ask(request).await, Err(ErrorCode::NotAuthenticated.into()), "{shown}");
    }
    assert_eq!(peer.ask(Request::Ping).await, Ok(Response::Done));
}

#[tokio::test]
async fn known_and_unknown_names_look_alike() {
    let server = Server::start().await;
    server.signed_up("alice", 1).await;
    let mut peer = server.peer().await;
    let fake = peer.ask(Request::LoginParameters(name("nobody"))).await;
    let Ok(Response::LoginParameters(LoginParameters { kdf })) = &fake else { panic!("{fake:?}") };
    assert_eq!((kdf.salt.0.len(), kdf.memory_kib, kdf.iterations, kdf.parallelism), (16, 65536, 3, 4));
    assert_eq!(peer.ask(Request::LoginParameters(name("nobody"))).await, fake);
    assert_ne!(peer.ask(Request::LoginParameters(name("nobody2"))).await, fake);

    // Both cost one Argon2id; without it an answer takes a hundredth of that. What else the machine does only slows down, so
    // the fastest of each come together sooner or later.
    let mut fastest = [Duration::MAX; 2];
    for _ in 0..9 {
        for (username, fastest) in ["alice", "nobody"].into_iter().zip(&mut fastest) {
            let start = Instant::now();
            assert_eq!(peer.ask(login(username, 3)).await, Err(ErrorCode::BadCredentials.into()));
            *fastest = start.elapsed().min(*fastest);
        }
        if fastest[0] < fastest[1] * 2 && fastest[1] < fastest[0] * 2 {
            return;
        }
    }
    panic!("{fastest:?}");
}

#[tokio::test]
async fn names_are_taken_once_and_absurd_parameters_never() {
    let server = Server::start().await;
    server.signed_up("alice", 1).await;
    let mut peer = server.peer().await;
    assert_eq!(peer.ask(sign_up("alice", 2)).await, Err(ErrorCode::UsernameTaken.into()));
    let Request::SignUp(mut absurd) = sign_up("carol", 3) else { unreachable!() };
    absurd.kdf.memory_kib = u32::MAX;
    assert_eq!(peer.ask(Request::SignUp(absurd)).await, Err(ErrorCode::BadRequest.into()));
    // A refusal leaves the connection usable.
    assert_eq!(peer.ask(sign_up("bob", 2)).await, Ok(Response::Done));
}

#[tokio::test]
async fn an_invite_lets_in_as_many_as_it_says() {
    let server = Server::with(SignUpRule::Invite, 100).await;
    let code = new_invite_code().unwrap();
    let invite = NewInvite {
        code_hash: invite_hash(&code),
        uses: 1,
        expires_ms: None,
        note: String::new(),
        now_ms: 1_700_000_000_000,
    };
    server.store.create_invite(invite).await.unwrap();
    let refused = Err(ErrorCode::BadInvite.into());
    let mut peer = server.peer().await;
    assert_eq!(peer.ask(sign_up("alice", 1)).await, refused);
    assert_eq!(peer.ask(admitted("alice", 1, Admission::Invite("abcd-efgh".into()))).await, refused);
    let typed = Admission::Invite(code.to_uppercase().replace('-', " "));
    assert_eq!(peer.ask(admitted("alice", 1, typed)).await, Ok(Response::Done));
    let mut late = server.peer().await;
    assert_eq!(late.ask(admitted("bob", 2, Admission::Invite(code))).await, refused);
}

#[tokio::test]
async fn closed_and_secret_servers_keep_their_doors() {
    let closed = Server::with(SignUpRule::Closed, 100).await;
    assert_eq!(closed.peer().await.ask(sign_up("alice", 1)).await, Err(ErrorCode::SignUpClosed.into()));
    let secret = Server::with(SignUpRule::Secret(Zeroizing::new("open sesame".into())), 100).await;
    let mut peer = secret.peer().await;
    assert_eq!(peer.ask(sign_up("alice", 1)).await, Err(ErrorCode::BadSignUpSecret.into()));
    let right = Admission::Secret("open sesame".into());
    assert_eq!(peer.ask(admitted("alice", 1, right)).await, Ok(Response::Done));
}

//! Owners who change their accounts: new secrets, new keys, lost devices, and the end.

use crate::peer::*;
use waxwing_protocol::*;

fn request(revision: ReviseAccount) -> Request {
    Request::ReviseAccount(Box::new(revision))
}

fn new_credentials(secret: u8, recovery: Option<u8>) -> NewCredentials {
    NewCredentials {
        kdf: KdfParameters { salt: vec![8; 16].into(), memory_kib: 131_072, iterations: 4, parallelism: 2 },
        password_secret: Secret([secret; 32]),
        recovery_secret: recovery.map(|secret| Secret([secret; 32])),
        vault: b"the new vault".to_vec().into(),
        password_wrap: b"the new password wrap".to_vec().into(),
        recovery_wrap: b"the new recovery wrap".to_vec().into(),
    }
}

fn recovery(secret: u8) -> Request {
    Request::Login {
        username: name("alice"),
        authenticator: Authenticator::Recovery(Secret([secret; 32])),
        code: None,
        device: None,
    }
}

#[tokio::test]
async fn a_new_password_replaces_the_old_one_and_the_recovery_code_stays() {
    let server = Server::start().await;
    let mut alice = server.signed_up("alice", 1).await;
    let changed = ReviseAccount { credentials: Some(new_credentials(5, None)), ..revise(2, &[]) };
    // Being a device of the account is not owning it, and neither is nobody.
    assert_eq!(alice.ask(request(changed.clone())).await, Err(ErrorCode::BadRequest.into()));
    let mut stranger = server.peer().await;
    assert_eq!(stranger.ask(request(changed.clone())).await, Err(ErrorCode::NotAuthenticated.into()));
    let mut owner = server.proven("alice", 1).await;
    let mut absurd = changed.clone();
    absurd.credentials.as_mut().unwrap().kdf.memory_kib = 8;
    assert_eq!(owner.ask(request(absurd)).await, Err(ErrorCode::BadRequest.into()));
    assert_eq!(owner.ask(request(changed.clone())).await, Ok(Response::Done));
    assert_eq!(owner.ask(request(changed)).await, Err(ErrorCode::DeviceListConflict.into()));

    let mut again = server.peer().await;
    assert_eq!(again.ask(login("alice", 1)).await, Err(ErrorCode::BadCredentials.into()));
    match again.ask(Request::LoginParameters(name("alice"))).await {
        Ok(Response::LoginParameters(parameters)) => assert_eq!(parameters.kdf, new_credentials(5, None).kdf),
        other => panic!("{other:?}"),
    }
    match again.ask(login("alice", 5)).await {
        Ok(Response::Vault(vault)) => {
            assert_eq!(vault.vault.0, b"the new vault");
            assert_eq!(vault.wrap.0, b"the new password wrap");
            assert_eq!(vault.account.device_list.0, [7; 600]);
        }
        other => panic!("{other:?}"),
    }
    // The old code opens the new vault; a revision may replace it too, and enrolling goes on where it was proven.
    let mut forgetful = server.peer().await;
    match forgetful.ask(recovery(2)).await {
        Ok(Response::Vault(vault)) => assert_eq!(vault.wrap.0, b"the new recovery wrap"),
        other => panic!("{other:?}"),
    }
    let recovered = ReviseAccount { credentials: Some(new_credentials(6, Some(9))), ..revise(3, &[1]) };
    assert_eq!(forgetful.ask(request(recovered)).await, Ok(Response::Done));
    assert_eq!(forgetful.ask(enrol(3, 2)).await, Err(ErrorCode::DeviceListConflict.into()));
    assert_eq!(forgetful.ask(enrol(4, 2)).await, Ok(Response::Done));
    assert!(forgetful.ask(Request::KeyPackageStock).await.is_ok());
    let mut old_code = server.peer().await;
    assert_eq!(old_code.ask(recovery(2)).await, Err(ErrorCode::BadCredentials.into()));
    assert!(matches!(old_code.ask(recovery(9)).await, Ok(Response::Vault(_))));
    // The hashes and the vault are sealed like those of a sign-up.
    let record = server.store.login_record(&name("alice")).await.unwrap().unwrap();
    for stored in [record.password_hash, record.recovery_hash, record.sealed.vault, record.sealed.recovery_wrap] {
        assert!(
            !String::from_utf8_lossy(&stored).contains("argon2") && !String::from_utf8_lossy(&stored).contains("new")
        );
    }
    alice.closed().await;
}

#[tokio::test]
async fn a_lost_device_is_cut_off_at_once_and_for_good() {
    let server = Server::start().await;
    let mut alice = server.signed_up("alice", 1).await;
    let mut owner = server.proven("alice", 1).await;
    assert_eq!(owner.ask(enrol(2, 2)).await, Ok(Response::Done));
    // The lost one has two connections, of which one listens; the other device has one.
    let mut listening = server.peer().await.signed_in(2).await;
    assert_eq!(listening.ask(Request::Subscribe).await, Ok(Response::Done));
    assert_eq!(alice.ask(Request::Subscribe).await, Ok(Response::Done));
    let mut owner_again = server.proven("alice", 1).await;
    // Nobody puts somebody else's device out; one that is gone already is no obstacle.
    let mut bob = server.signed_up("bob", 5).await;
    assert_eq!(owner_again.ask(request(revise(3, &[2, 5]))).await, Err(ErrorCode::BadRequest.into()));
    assert!(bob.ask(Request::KeyPackageStock).await.is_ok());
    assert_eq!(owner_again.ask(request(revise(3, &[2, 77]))).await, Ok(Response::Done));
    listening.closed().await;
    owner.closed().await;
    let mut back = server.peer().await;
    let authenticate = back.authenticate(2);
    assert_eq!(back.ask(authenticate).await, Err(ErrorCode::BadCredentials.into()));
    let notice = InboxNotice::DeviceListChanged { username: name("alice"), version: 3 };
    match alice.event().await {
        Event::Inbox(item) => assert_eq!(item.notice, notice),
        other => panic!("{other:?}"),
    }
    assert!(alice.ask(Request::KeyPackageStock).await.is_ok());
}

#[tokio::test]
async fn a_new_identity_comes_with_the_statement_of_the_old_one() {
    let server = Server::start().await;
    let mut alice = server.signed_up("alice", 1).await;
    let mut owner = server.proven("alice", 1).await;
    let identity = NewIdentity {
        identity_key: vec![31; 400].into(),
        backup_key: vec![32; 400].into(),
        statement: vec![33; 500].into(),
    };
    let revision = ReviseAccount { identity: Some(identity), ..revise(2, &[]) };
    assert_eq!(owner.ask(request(revision)).await, Ok(Response::Done));
    match alice.ask(Request::Account(name("alice"))).await {
        Ok(Response::Account(record)) => {
            assert_eq!((record.identity_key.0, record.backup_key.0), (vec![31; 400], vec![32; 400]));
            assert_eq!(record.rotations, [vec![33; 500].into()]);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_deleted_account_looks_like_one_that_never_was() {
    let server = Server::start().await;
    let (mut alice, mut bob) = (server.signed_up("alice", 1).await, server.signed_up("bob", 2).await);
    open_chat(&mut alice).await;
    assert!(matches!(bob.ask(message(CHAT, 1, 1)).await, Ok(Response::Accepted { .. })));
    assert_eq!(bob.ask(Request::DeleteAccount).await, Err(ErrorCode::BadRequest.into()));
    let mut owner = server.proven("bob", 1).await;
    assert_eq!(owner.ask(Request::DeleteAccount).await, Ok(Response::Done));
    bob.closed().await;
    // What was proven is gone with it.
    assert_eq!(owner.ask(enrol(2, 9)).await, Err(ErrorCode::NotAuthenticated.into()));
    let mut anybody = server.peer().await;
    let authenticate = anybody.authenticate(2);
    assert_eq!(anybody.ask(authenticate).await, Err(ErrorCode::BadCredentials.into()));
    assert_eq!(anybody.ask(login("bob", 1)).await, anybody.ask(login("nobody", 1)).await);
    let parameters = |answer| match answer {
        Ok(Response::LoginParameters(LoginParameters { kdf })) => (kdf.memory_kib, kdf.iterations, kdf.parallelism),
        other => panic!("{other:?}"),
    };
    let bobs = anybody.ask(Request::LoginParameters(name("bob"))).await;
    assert_eq!(bobs, anybody.ask(Request::LoginParameters(name("bob"))).await);
    let nobodys = anybody.ask(Request::LoginParameters(name("nobody"))).await;
    assert_eq!(parameters(bobs), parameters(nobodys));
    assert_eq!(anybody.ask(sign_up("bob", 9)).await, Err(ErrorCode::UsernameTaken.into()));
    assert_eq!(alice.ask(Request::Account(name("bob"))).await, Err(ErrorCode::UnknownAccount.into()));
    // What he wrote is Alice's.
    match alice.ask(Request::Fetch { conversation: CHAT, after: 1 }).await {
        Ok(Response::Page(page)) => assert_eq!(page.entries.len(), 1),
        other => panic!("{other:?}"),
    }
}

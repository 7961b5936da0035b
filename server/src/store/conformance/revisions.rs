//! Changes of an account by its owner, and what becomes of removed devices.

use super::{
    FreshDatabase, START_MS, Stage, device_id, enrolment, handshake, message, new_account, new_device, revision,
};
use crate::store::{
    AccountRevision, AppendOutcome, CreateOutcome, EnrolOutcome, Enrolment, ReviseOutcome, RevisedCredentials,
    SealedVault,
};
use waxwing_protocol::{ConversationId, InboxItem, InboxNotice, KdfParameters, NewIdentity, limits::ROTATIONS};

fn credentials(recovery: Option<&[u8]>) -> RevisedCredentials {
    RevisedCredentials {
        kdf: KdfParameters { salt: vec![77; 16].into(), memory_kib: 70_000, iterations: 5, parallelism: 2 },
        password_hash: b"new password hash".to_vec(),
        recovery_hash: recovery.map(<[u8]>::to_vec),
        sealed: SealedVault {
            vault: b"new vault".to_vec(),
            password_wrap: b"new password wrap".to_vec(),
            recovery_wrap: b"new recovery wrap".to_vec(),
        },
    }
}

fn identity(number: usize) -> NewIdentity {
    NewIdentity {
        identity_key: format!("identity {number}").into_bytes().into(),
        backup_key: format!("backup {number}").into_bytes().into(),
        statement: vec![u8::try_from(number).unwrap(); 1000].into(),
    }
}

/// Each part is replaced when it is there, and stays when it is not.
pub async fn a_revision_replaces_what_it_names(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let alice = stage.person("alice", 1).await;
    let before = new_account("alice", 1);
    let read = || async { stage.store.login_record(&alice.name).await.unwrap().unwrap() };

    assert_eq!(stage.store.revise_account(revision(&alice, 2)).await.unwrap(), ReviseOutcome::Revised);
    let record = read().await;
    assert_eq!(record.record.device_list.0, b"list 2");
    assert_eq!(
        (&record.kdf, &record.password_hash, &record.sealed),
        (&before.kdf, &before.password_hash, &before.sealed)
    );

    let new = credentials(None);
    let revised = AccountRevision { credentials: Some(new.clone()), ..revision(&alice, 3) };
    assert_eq!(stage.store.revise_account(revised).await.unwrap(), ReviseOutcome::Revised);
    let record = read().await;
    assert_eq!((record.kdf, record.password_hash, record.sealed), (new.kdf, new.password_hash, new.sealed));
    assert_eq!(record.recovery_hash, before.recovery_hash, "the code was not replaced");
    assert_eq!((record.record.identity_key.0, record.record.rotations.len()), (before.identity_key, 0));

    let revised = AccountRevision { credentials: Some(credentials(Some(b"new code"))), ..revision(&alice, 4) };
    assert_eq!(stage.store.revise_account(revised).await.unwrap(), ReviseOutcome::Revised);
    assert_eq!(read().await.recovery_hash, b"new code");
}

/// Of two revisions at once, or a revision and an enrolment, one is first; the other changes nothing.
pub async fn a_revision_takes_the_next_version_only(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let alice = stage.person("alice", 1).await;
    for version in [0, 1, 3, u64::MAX] {
        let outcome = stage
            .store
            .revise_account(AccountRevision { credentials: Some(credentials(None)), ..revision(&alice, version) });
        assert_eq!(outcome.await.unwrap(), ReviseOutcome::Conflict, "version {version}");
    }
    let record = stage.store.login_record(&alice.name).await.unwrap().unwrap();
    assert_eq!((record.record.device_list.0, record.sealed.vault), (b"list 1".to_vec(), b"vault".to_vec()));

    let (revised, enrolled) = tokio::join!(
        stage.store.revise_account(revision(&alice, 2)),
        stage.store.enrol_device(enrolment(alice.account, new_device(2), 2, b"list of two".to_vec())),
    );
    match (revised.unwrap(), enrolled.unwrap()) {
        (ReviseOutcome::Revised, EnrolOutcome::Conflict) | (ReviseOutcome::Conflict, EnrolOutcome::Enrolled) => {}
        other => panic!("{other:?}"),
    }
    let outcomes =
        tokio::join!(stage.store.revise_account(revision(&alice, 3)), stage.store.revise_account(revision(&alice, 3)),);
    match (outcomes.0.unwrap(), outcomes.1.unwrap()) {
        (ReviseOutcome::Revised, ReviseOutcome::Conflict) | (ReviseOutcome::Conflict, ReviseOutcome::Revised) => {}
        other => panic!("{other:?}"),
    }
    let foreign = stage.person("bob", 5).await;
    assert_eq!(stage.remove(&alice, 4, &[foreign.device]).await, ReviseOutcome::UnknownDevice);
    assert_eq!(stage.remove(&alice, 4, &[alice.device, foreign.device]).await, ReviseOutcome::UnknownDevice);
    assert!(stage.store.device(foreign.device).await.unwrap().is_some());
    assert!(stage.store.device(alice.device).await.unwrap().is_some());
    assert_eq!(stage.store.account(&alice.name).await.unwrap().unwrap().device_list.0, b"list 3");
}

/// Keys are replaced and the statements kept, the newest of them.
pub async fn new_identities_are_vouched_for(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let alice = stage.person("alice", 1).await;
    for number in 0..ROTATIONS + 2 {
        let version = u64::try_from(number).unwrap() + 2;
        let revised = AccountRevision { identity: Some(identity(number)), ..revision(&alice, version) };
        assert_eq!(stage.store.revise_account(revised).await.unwrap(), ReviseOutcome::Revised);
    }
    let record = stage.store.account(&alice.name).await.unwrap().unwrap();
    let newest = identity(ROTATIONS + 1);
    assert_eq!((record.identity_key, record.backup_key), (newest.identity_key, newest.backup_key));
    let statements: Vec<_> = (2..ROTATIONS + 2).map(|number| identity(number).statement).collect();
    assert_eq!(record.rotations, statements);
    assert_eq!(stage.store.login_record(&alice.name).await.unwrap().unwrap().record.rotations, statements);
}

/// After a restore the account's devices know of versions that the database has lost: the next list goes on behind theirs,
/// still only in the place of the one that it was made from.
pub async fn a_list_may_skip_versions_that_the_database_has_forgotten(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let alice = stage.person("alice", 1).await;
    let skipping =
        |follows, version| stage.store.revise_account(AccountRevision { follows, ..revision(&alice, version) });
    for (follows, version) in [(0, 5), (2, 5), (1, 1), (1, 0), (5, 5), (1, u64::MAX)] {
        assert_eq!(skipping(follows, version).await.unwrap(), ReviseOutcome::Conflict, "{follows} to {version}");
    }
    assert_eq!(skipping(1, 5).await.unwrap(), ReviseOutcome::Revised);
    assert_eq!(stage.store.account(&alice.name).await.unwrap().unwrap().device_list.0, b"list 5");
    assert_eq!(skipping(1, 7).await.unwrap(), ReviseOutcome::Conflict);
    let new = Enrolment { follows: 5, ..enrolment(alice.account, new_device(2), 9, vec![9]) };
    assert_eq!(stage.store.enrol_device(new).await.unwrap(), EnrolOutcome::Enrolled);
    assert_eq!(stage.remove(&alice, 10, &[device_id(2)]).await, ReviseOutcome::Revised);
}

/// Bob's lost tablet is gone at once, everywhere; who shares a conversation with Bob hears of the new list.
pub async fn a_removed_device_leaves_nothing(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    let tablet = stage.enrol(&bob, 3, 2).await;
    stage.store.publish_key_packages(tablet, vec![vec![1].into()], Some(vec![2].into()), START_MS).await.unwrap();
    stage.commit(alice.device, id, (1, 1), handshake(&[tablet], &[]), 1000).await;
    assert_eq!(stage.send(tablet, id, 1, 2).await, AppendOutcome::Accepted { seq: 3, time_ms: START_MS });
    for device in [alice.device, bob.device] {
        stage.store.acknowledge_inbox(device, u64::MAX).await.unwrap();
    }
    let outcome = stage.remove(&bob, 3, &[tablet, tablet]).await;
    assert_eq!(outcome, ReviseOutcome::Revised);

    assert_eq!(stage.store.device(tablet).await.unwrap(), None);
    assert_eq!(stage.store.fetch(tablet, id, 0).await.unwrap(), None);
    assert_eq!(stage.store.heads(tablet, None).await.unwrap(), []);
    assert_eq!(stage.store.fetch_inbox(tablet, 0).await.unwrap(), []);
    let claimed = stage.store.claim_key_packages(&bob.name, alice.device).await.unwrap().unwrap();
    assert_eq!(claimed.iter().map(|one| one.device).collect::<Vec<_>>(), [bob.device]);
    let notice = InboxNotice::DeviceListChanged { username: bob.name.clone(), version: 3 };
    for device in [alice.device, bob.device] {
        match &stage.store.fetch_inbox(device, 0).await.unwrap()[..] {
            [InboxItem { notice: got, .. }] => assert_eq!(*got, notice),
            other => panic!("{other:?}"),
        }
    }
    // What it said stays for the others, and a new device is not taken for it.
    let phone = stage.enrol(&bob, 4, 4).await;
    let page = stage.store.fetch(alice.device, id, 2).await.unwrap().unwrap();
    assert_eq!(page.entries.len(), 1);
    let joined = stage.join(phone, id, ("join", 2), 5000).await;
    assert_eq!(joined, AppendOutcome::Accepted { seq: 4, time_ms: START_MS + 5000 });
    assert_eq!(stage.send(phone, id, 1, 3).await, AppendOutcome::Accepted { seq: 5, time_ms: START_MS });
}

/// What only the removed device had not read goes; so does everything when nobody is left.
pub async fn entries_wait_for_no_removed_device(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    let tablet = stage.enrol(&bob, 3, 2).await;
    stage.commit(alice.device, id, (1, 1), handshake(&[tablet], &[]), 1000).await;
    stage.send(alice.device, id, 2, 2).await;
    for device in [alice.device, bob.device] {
        stage.store.acknowledge(device, id, 3).await.unwrap();
    }
    let tail = || async { stage.store.fetch(alice.device, id, 0).await.unwrap().unwrap().tail };
    // Everybody starts after the commit that let him in, so that has gone.
    assert_eq!(tail().await, 3);
    assert_eq!(stage.remove(&bob, 3, &[tablet]).await, ReviseOutcome::Revised);
    assert_eq!(tail().await, 4);
    assert_eq!(stage.send(bob.device, id, 1, 2).await, AppendOutcome::Accepted { seq: 4, time_ms: START_MS });
    assert_eq!(stage.seqs(alice.device, id, 3).await, [4]);
    assert_eq!(stage.remove(&bob, 4, &[bob.device]).await, ReviseOutcome::Revised);
    assert_eq!(stage.remove(&alice, 2, &[alice.device]).await, ReviseOutcome::Revised);
    let phone = stage.enrol(&alice, 9, 3).await;
    let joined = stage.join(phone, id, ("join", 2), 9000).await;
    assert_eq!(joined, AppendOutcome::Accepted { seq: 5, time_ms: START_MS + 9000 });
    assert_eq!(stage.send(phone, id, 1, 3).await, AppendOutcome::Accepted { seq: 6, time_ms: START_MS });
    assert_eq!(stage.seqs(phone, id, 5).await, [6]);
}

/// Whatever a removed device still had under way is refused, also if a device of that id comes again.
pub async fn a_removed_device_cannot_act(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    assert_eq!(stage.send(bob.device, id, 1, 1).await, AppendOutcome::Accepted { seq: 2, time_ms: START_MS });
    assert_eq!(stage.remove(&bob, 2, &[bob.device]).await, ReviseOutcome::Revised);
    let refused = AppendOutcome::UnknownConversation;
    for number in [1, 2] {
        assert_eq!(stage.store.append(message(bob.device, id, number, 1)).await.unwrap(), refused);
    }
    assert_eq!(stage.join(bob.device, id, ("join", 1), 5000).await, refused);
    stage.store.acknowledge(bob.device, id, 2).await.unwrap();
    stage.store.acknowledge_inbox(bob.device, 9).await.unwrap();
    assert_eq!(stage.store.group_info(bob.device, id).await.unwrap(), None);
    assert_eq!(stage.store.conversations(bob.device, None).await.unwrap(), []);
    let notes = ConversationId([99; 16]);
    let created = stage.store.create_conversation(super::new_conversation(&bob, &bob.name, notes, None)).await;
    assert!(!matches!(created, Ok(CreateOutcome::Created { .. })), "{created:?}");

    // The same id again is a new device: in no conversation, and with nothing of the old one's.
    stage.enrol(&bob, 2, 3).await;
    assert_eq!(stage.store.fetch(bob.device, id, 0).await.unwrap(), None);
    assert_eq!(stage.store.append(message(bob.device, id, 1, 1)).await.unwrap(), refused);
    let back = stage.commit(alice.device, id, (1, 1), handshake(&[bob.device], &[]), 5000).await;
    assert_eq!(back, AppendOutcome::Accepted { seq: 3, time_ms: START_MS + 5000 });
    assert_eq!(stage.send(bob.device, id, 1, 2).await, AppendOutcome::Accepted { seq: 4, time_ms: START_MS });
    assert_eq!(stage.seqs(bob.device, id, 0).await, [4]);
}

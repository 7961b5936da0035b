//! Inboxes.

use super::{FreshDatabase, START_MS, Stage, enrolment, handshake};
use crate::store::CreateOutcome;
use std::slice;
use waxwing_protocol::{ConversationId, DeviceId, InboxItem, InboxNotice, NewDevice, limits::PAGE_ENTRIES};

/// Alice enrols a tablet: her other devices and those that share a conversation with her hear of it, each once.
pub async fn enrolment_tells_each_sharing_device_once(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, _) = stage.pair().await;
    let stranger = stage.person("stranger", 4).await;
    let notes = stage.create(&alice, &alice.name, ConversationId([9; 16]), None).await;
    assert_eq!(notes, CreateOutcome::Created { seq: 0 });
    let tablet = stage.enrol(&alice, 3, 2).await;
    let notice = InboxNotice::DeviceListChanged { username: alice.name.clone(), version: 2 };
    let first = InboxItem { seq: 1, notice: notice.clone() };
    assert_eq!(stage.store.fetch_inbox(alice.device, 0).await.unwrap(), slice::from_ref(&first));
    // The first item of Bob's is his welcome.
    let second = InboxItem { seq: 2, notice };
    assert_eq!(stage.store.fetch_inbox(bob.device, 1).await.unwrap(), slice::from_ref(&second));
    assert_eq!(stage.store.fetch_inbox(tablet, 0).await.unwrap(), []);
    assert_eq!(stage.store.fetch_inbox(stranger.device, 0).await.unwrap(), []);
    stage.published.at_least(3).await;
    let published = stage.published.inbox_items();
    assert_eq!(published.len(), 3);
    assert!(published.contains(&(alice.device, first)) && published.contains(&(bob.device, second)));
    // Bob's enrolment concerns the devices that are in the conversation, which the tablet is not yet.
    stage.enrol(&bob, 5, 2).await;
    assert_eq!(stage.store.fetch_inbox(alice.device, 1).await.unwrap().len(), 1);
    assert_eq!(stage.store.fetch_inbox(tablet, 0).await.unwrap(), []);
}

/// Acknowledged items go, but their numbers stay used, also after reopening.
pub async fn inbox_seqs_are_never_used_again(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, _) = stage.pair().await;
    stage.store.acknowledge_inbox(bob.device, u64::MAX).await.unwrap();
    assert_eq!(stage.store.fetch_inbox(bob.device, 0).await.unwrap(), []);
    stage.store.close().await;
    let stage = Stage::open(database).await;
    stage.enrol(&alice, 3, 2).await;
    let items = stage.store.fetch_inbox(bob.device, 0).await.unwrap();
    assert_eq!(items.iter().map(|item| item.seq).collect::<Vec<_>>(), [2]);
    stage.store.acknowledge_inbox(bob.device, 1).await.unwrap();
    assert_eq!(stage.store.fetch_inbox(bob.device, 0).await.unwrap(), items);
    assert_eq!(stage.store.fetch_inbox(bob.device, 2).await.unwrap(), []);
    assert_eq!(stage.store.fetch_inbox(bob.device, u64::MAX).await.unwrap(), []);
    stage.store.expire_inbox(START_MS + 1).await.unwrap();
    assert_eq!(stage.store.fetch_inbox(bob.device, 0).await.unwrap(), []);
}

/// One welcome for two devices reaches both, and several large welcomes come in several pages.
pub async fn inbox_pages_are_limited(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let bob = stage.person("bob", 2).await;
    let phone = stage.enrol(&bob, 3, 2).await;
    for number in 10..13 {
        let friend = stage.person(&format!("friend{number}"), number).await;
        let mut welcome = handshake(&[bob.device, phone], &[]);
        welcome.welcome.as_mut().unwrap().payload = vec![number; 300 * 1024].into();
        let id = ConversationId([number; 16]);
        assert_eq!(stage.create(&friend, &bob.name, id, Some(welcome)).await, CreateOutcome::Created { seq: 1 });
    }
    // Bob's first device was told of the second one before.
    for (device, first) in [(bob.device, 2), (phone, 1)] {
        for (index, number) in (10_u8..13).enumerate() {
            let after = first + index as u64 - 1;
            let page = stage.store.fetch_inbox(device, after).await.unwrap();
            let [InboxItem { seq, notice: InboxNotice::Welcome { payload, conversation, .. } }] = &page[..] else {
                panic!("{page:?}");
            };
            assert_eq!((*seq, *conversation), (after + 1, ConversationId([number; 16])));
            assert_eq!(payload.0, vec![number; 300 * 1024]);
            if device == bob.device {
                stage.store.acknowledge_inbox(device, *seq).await.unwrap();
            }
        }
    }
    for number in 20..20 + 9 {
        let friend = stage.person(&format!("friend{number}"), number).await;
        let id = ConversationId([number; 16]);
        let outcome = stage.create(&friend, &bob.name, id, Some(handshake(&[bob.device], &[]))).await;
        assert_eq!(outcome, CreateOutcome::Created { seq: 1 });
        for (device, version) in (100..130).zip(2..) {
            let device = NewDevice {
                id: DeviceId([[number; 8], [device; 8]].concat().try_into().unwrap()),
                authentication_key: vec![0; 32].into(),
            };
            stage.store.enrol_device(enrolment(friend.account, device, version, vec![])).await.unwrap();
        }
    }
    let page = stage.store.fetch_inbox(bob.device, 4).await.unwrap();
    assert_eq!(page.len(), PAGE_ENTRIES as usize);
    let rest = stage.store.fetch_inbox(bob.device, page.last().unwrap().seq).await.unwrap();
    assert_eq!(rest.len(), 9 * 31 - PAGE_ENTRIES as usize);
    assert!(page.iter().chain(&rest).zip(5..).all(|(item, seq)| item.seq == seq));
}

//! Many messages in one transaction: read or made together, or not at all.

use crate::actors::*;
use waxwing_e2ee::mls::{Group, KeptGroup, Mls, MlsError, Received};

fn texts(count: u32) -> Vec<String> {
    (0..count).map(|number| format!("message {number}")).collect()
}

#[test]
fn what_is_sent_and_read_together_is_what_was_sent_and_read() {
    let (mut alice, mut laptop, mut bob) = trio();
    let texts = texts(20);
    let entries = alice.with(|group, device, _| {
        group.begin_batch();
        let entries = texts.iter().map(|text| group.encrypt(device, text.as_bytes())).collect::<Result<Vec<_>, _>>()?;
        group.end_batch()?;
        Ok(entries)
    });
    let entries = entries.unwrap();
    let together = bob.with(|group, _, known| {
        group.begin_batch();
        let read = entries.iter().map(|entry| group.receive(known, entry)).collect::<Result<Vec<_>, _>>()?;
        group.end_batch()?;
        Ok(read)
    });
    let expected: Vec<Received> = texts.iter().map(|text| message(&alice, text)).collect();
    assert_eq!(together.unwrap(), expected);
    let one_by_one: Vec<Received> = entries.iter().map(|entry| laptop.receive(entry).unwrap()).collect();
    assert_eq!(one_by_one, expected);
    // Each is read once, and what follows is of new keys.
    for entry in &entries {
        assert!(matches!(bob.receive(entry), Err(MlsError::NotThisEpoch)));
    }
    assert_works(&mut [&mut alice, &mut bob, &mut laptop]);
    assert_works(&mut [&mut bob, &mut alice, &mut laptop]);
}

#[test]
fn a_batch_that_nobody_ends_is_never_committed() {
    let (mut alice, mut laptop, mut bob) = trio();
    let lost = alice.with(|group, device, _| {
        group.begin_batch();
        group.encrypt(device, b"never sent")
    });
    assert!(lost.is_err());
    let entry = alice.send("hello");
    let unread = bob.with(|group, _, known| {
        group.begin_batch();
        group.receive(known, &entry)
    });
    assert!(unread.is_err());
    assert_eq!(bob.receive(&entry).unwrap(), message(&alice, "hello"));
    laptop.receive(&entry).unwrap();
    assert_works(&mut [&mut alice, &mut bob, &mut laptop]);
}

#[test]
fn a_kept_group_is_used_only_while_it_is_what_the_database_has() {
    let (mut alice, mut laptop, mut bob) = trio();
    let mut kept: Option<KeptGroup> = None;
    // Reads with the group that was kept; `commit` says whether the transaction is committed.
    let read = |phone: &mut Phone, kept: &mut Option<KeptGroup>, entry: &[u8], commit: bool| {
        let tx = phone.db.transaction().unwrap();
        let mls = Mls::new(&tx);
        let mut group = Group::resume(&mls, &CHAT, kept.take()).unwrap().unwrap();
        let received = group.receive(&phone.known, entry);
        *kept = group.keep().unwrap();
        assert!(kept.is_some());
        if commit {
            tx.commit().unwrap();
        }
        received
    };
    for text in ["one", "two", "three"] {
        let entry = alice.send(text);
        assert_eq!(read(&mut bob, &mut kept, &entry, true).unwrap(), message(&alice, text));
        laptop.receive(&entry).unwrap();
    }
    // What was rolled back is not what is kept, whatever was written since.
    let (first, second) = (alice.send("first"), alice.send("second"));
    read(&mut bob, &mut kept, &first, false).unwrap();
    assert_eq!(read(&mut bob, &mut kept, &first, true).unwrap(), message(&alice, "first"));
    let stale = kept.take();
    assert_eq!(bob.receive(&second).unwrap(), message(&alice, "second"));
    kept = stale;
    assert!(matches!(read(&mut bob, &mut kept, &second, true), Err(MlsError::NotThisEpoch)));
    // Commits, too, and the end.
    let commit = alice.update();
    bob.receive(&commit).unwrap();
    let after = alice.send("after");
    assert_eq!(read(&mut bob, &mut kept, &after, true).unwrap(), message(&alice, "after"));
    let gone = alice.remove(&[laptop.member()]);
    for entry in [&first, &second, &commit, &after] {
        laptop.receive(entry).unwrap();
    }
    let mut hers = None;
    {
        let tx = laptop.db.transaction().unwrap();
        let mls = Mls::new(&tx);
        let group = Group::load(&mls, &CHAT).unwrap().unwrap();
        hers = group.keep().unwrap().or(hers);
    }
    laptop.receive(&gone).unwrap();
    let mls = Mls::new(&laptop.db);
    assert!(Group::resume(&mls, &CHAT, hers).unwrap().is_none(), "a group that was left comes back");
}

#[test]
fn one_that_cannot_be_read_undoes_all_that_were_read_with_it() {
    let (mut alice, mut laptop, mut bob) = trio();
    let entries = [alice.send("first"), laptop.send("second"), alice.send("third")];
    let mut damaged = entries[1].clone();
    if let Some(byte) = damaged.last_mut() {
        *byte ^= 1;
    }
    let tx = bob.db.transaction().unwrap();
    tx.execute_batch("CREATE TABLE shown (text)").unwrap();
    let mls = Mls::new(&tx);
    let mut group = Group::load(&mls, &CHAT).unwrap().unwrap();
    group.begin_batch();
    assert_eq!(group.receive(&bob.known, &entries[0]).unwrap(), message(&alice, "first"));
    assert!(matches!(group.receive(&bob.known, &damaged), Err(MlsError::Undone)));
    // Whoever goes on regardless gets nothing more, and commits nothing.
    assert!(matches!(group.receive(&bob.known, &entries[2]), Err(MlsError::Undone)));
    assert!(matches!(group.encrypt(&bob.device, b"reply"), Err(MlsError::Undone)));
    assert!(matches!(group.end_batch(), Err(MlsError::Undone)));
    drop(group);
    assert!(tx.commit().is_err());
    assert!(bob.db.prepare("SELECT * FROM shown").is_err());
    // One by one only that one is passed over.
    assert_eq!(bob.receive(&entries[0]).unwrap(), message(&alice, "first"));
    assert!(bob.receive(&damaged).is_err_and(|error| error.is_fault_of_entry()));
    assert_eq!(bob.receive(&entries[2]).unwrap(), message(&alice, "third"));
}

#[test]
fn the_first_of_a_batch_that_cannot_be_read_is_only_passed_over() {
    let (mut alice, _, mut bob) = trio();
    let entry = alice.send("hello");
    let read = bob.with(|group, _, known| {
        group.begin_batch();
        assert!(group.receive(known, b"nonsense").is_err_and(|error| error.is_fault_of_entry()));
        let mut damaged = entry.clone();
        damaged.iter_mut().rev().take(1).for_each(|byte| *byte ^= 1);
        assert!(group.receive(known, &damaged).is_err_and(|error| error.is_fault_of_entry()));
        let read = group.receive(known, &entry)?;
        group.end_batch()?;
        Ok(read)
    });
    assert_eq!(read.unwrap(), message(&alice, "hello"));
}

#[test]
fn commits_among_the_messages_are_read_as_ever() {
    let (mut alice, mut laptop, mut bob) = trio();
    let before = alice.send("before");
    let commit = alice.update();
    let after = alice.send("after");
    let gone = alice.remove(&[laptop.member()]);
    for phone in [&mut bob, &mut laptop] {
        let last = phone.with(|group, _, known| {
            group.begin_batch();
            let mut last = group.receive(known, &before)?;
            for entry in [&commit, &after, &gone] {
                last = group.receive(known, entry)?;
            }
            group.end_batch()?;
            Ok(last)
        });
        assert_ne!(last.unwrap(), message(&alice, "after"));
    }
    assert!(!laptop.in_chat());
    assert_works(&mut [&mut alice, &mut bob]);
}

#[test]
fn secrets_of_what_was_read_together_are_gone() {
    let (mut alice, _, mut bob) = trio();
    let entries = [alice.send("first"), alice.send("second")];
    bob.with(|group, _, known| {
        group.begin_batch();
        entries.iter().try_for_each(|entry| group.receive(known, entry).map(drop))?;
        group.end_batch()
    })
    .unwrap();
    bob.raw(|group, raw, _| {
        use openmls::prelude::{MlsGroupJoinConfig, MlsMessageIn, SenderRatchetConfiguration, tls_codec::Deserialize};
        use openmls_traits::OpenMlsProvider as _;
        let lenient = MlsGroupJoinConfig::builder()
            .sender_ratchet_configuration(SenderRatchetConfiguration::new(1000, 1000))
            .max_past_epochs(1000)
            .build();
        group.set_configuration(raw.storage(), &lenient).unwrap();
        for entry in entries {
            let entry = MlsMessageIn::tls_deserialize_exact(entry).unwrap().try_into_protocol_message().unwrap();
            assert!(group.process_message(raw, entry).is_err());
        }
    });
}

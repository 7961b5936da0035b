use super::*;
use crate::account::testing::{alice, mallory, rng};

fn device(number: u8) -> ListedDevice {
    ListedDevice {
        id: [number; 16],
        mls_key: [number; 32],
        authentication_key: [number | 0x80; 32],
        since_ms: 1,
        sealed_name: vec![number; usize::from(number)],
    }
}

fn verified(list: &DeviceList) -> Result<VerifiedDeviceList, DeviceListError> {
    DeviceList::verify(&list.sign(&alice().identity, &mut rng()), &alice().identity.public(), "alice")
}

fn first() -> VerifiedDeviceList {
    verified(&DeviceList::first("alice", device(1))).unwrap()
}

fn next(older: &VerifiedDeviceList, devices: Vec<ListedDevice>) -> VerifiedDeviceList {
    verified(&older.list.successor(&older.hash, devices)).unwrap()
}

#[test]
fn a_signed_list_verifies_and_its_hash_does_not_depend_on_the_signature() {
    let list = DeviceList::first("alice", device(1));
    let (one, other) = (verified(&list).unwrap(), verified(&list).unwrap());
    assert_eq!(one.list, list);
    assert_eq!(one.hash, other.hash);
    assert_eq!(one.list.device(&[1; 16]), Some(&device(1)));
    assert_eq!(one.list.device(&[2; 16]), None);
    assert_eq!(other.follows(&one), Ok(Change::Same));
}

#[test]
fn a_forged_list_is_refused() {
    let list = DeviceList::first("alice", device(1));
    let forged = list.sign(&mallory().identity, &mut rng());
    let key = alice().identity.public();
    assert_eq!(DeviceList::verify(&forged, &key, "alice"), Err(DeviceListError::Signature));
    let good = list.sign(&alice().identity, &mut rng());
    assert_eq!(DeviceList::verify(&good, &key, "bob"), Err(DeviceListError::OtherAccount));
    for position in 0..good.len() {
        let mut bad = good.clone();
        bad[position] ^= 1;
        assert!(DeviceList::verify(&bad, &key, "alice").is_err(), "byte {position}");
        assert_eq!(DeviceList::verify(&good[..position], &key, "alice"), Err(DeviceListError::Malformed));
    }
    let longer = [good.as_slice(), &[0]].concat();
    assert_eq!(DeviceList::verify(&longer, &key, "alice"), Err(DeviceListError::Malformed));
}

#[test]
fn a_credential_signature_is_no_list_signature() {
    let list = DeviceList::first("alice", device(1)).encode();
    let signature = alice().identity.sign("waxwing leaf credential v1", &list, &mut rng());
    let forged = Fields::default().fixed(&[VERSION]).variable(&list).fixed(&signature).finish();
    let refused = DeviceList::verify(&forged, &alice().identity.public(), "alice");
    assert_eq!(refused, Err(DeviceListError::Signature));
}

#[test]
fn a_list_that_breaks_the_rules_is_refused_though_signed() {
    let first = first();
    let with = |devices: Vec<ListedDevice>| verified(&first.list.successor(&first.hash, devices));
    let invalid = Err(DeviceListError::Invalid);
    assert_eq!(with(vec![]), invalid);
    assert_eq!(with(vec![device(1), ListedDevice { id: [1; 16], ..device(2) }]), invalid);
    assert_eq!(with(vec![device(1), ListedDevice { mls_key: [1; 32], ..device(2) }]), invalid);
    assert_eq!(with(vec![device(1), ListedDevice { authentication_key: [0x81; 32], ..device(2) }]), invalid);
    assert_eq!(with(vec![ListedDevice { authentication_key: [1; 32], ..device(1) }]), invalid);
    assert!(with((1..=32).map(device).collect()).is_ok());
    assert_eq!(with((1..=33).map(device).collect()), invalid);
    assert_eq!(with(vec![ListedDevice { sealed_name: vec![0; SEALED_NAME + 1], ..device(1) }]), invalid);
    assert_eq!(verified(&DeviceList { version: 0, ..first.list.clone() }), invalid);
    assert_eq!(verified(&DeviceList { previous: [1; 32], ..first.list.clone() }), invalid);
    assert_eq!(verified(&DeviceList { version: 2, ..first.list.clone() }), invalid);
}

#[test]
fn a_count_beyond_the_bytes_takes_no_memory() {
    let list = DeviceList { devices: vec![], ..DeviceList::first("alice", device(1)) };
    let mut encoded = list.encode();
    let at = encoded.len() - 8;
    encoded[at..].copy_from_slice(&u64::MAX.to_be_bytes());
    assert_eq!(DeviceList::decode(&encoded), None);
}

#[test]
fn a_list_gains_loses_and_renames_devices() {
    let first = first();
    let second = verified(&first.with(device(2))).unwrap();
    assert_eq!(second.follows(&first), Ok(Change::Newer));
    assert_eq!(second.list.devices, [device(1), device(2)]);
    let third = verified(&second.renamed(&[2; 16], vec![9; 94]).unwrap()).unwrap();
    assert_eq!(third.list.devices, [device(1), ListedDevice { sealed_name: vec![9; 94], ..device(2) }]);
    assert_eq!(third.renamed(&[3; 16], vec![]), None);
    let fourth = verified(&third.without(&[[1; 16], [7; 16]])).unwrap();
    assert_eq!(fourth.list.devices.iter().map(|device| device.id).collect::<Vec<_>>(), [[2; 16]]);
    assert_eq!(verified(&fourth.without(&[[2; 16]])), Err(DeviceListError::Invalid));
}

#[test]
fn later_versions_follow_and_a_gap_is_allowed() {
    let first = first();
    let second = next(&first, vec![device(1), device(2)]);
    let third = next(&second, vec![device(2)]);
    assert_eq!(second.follows(&first), Ok(Change::Newer));
    assert_eq!(third.follows(&second), Ok(Change::Newer));
    assert_eq!(third.follows(&first), Ok(Change::Newer));
}

#[test]
fn every_way_back_is_an_alarm() {
    let first = first();
    let second = next(&first, vec![device(1), device(2)]);
    let fork = next(&first, vec![device(1), device(3)]);
    assert_eq!(first.follows(&second), Err(RollbackError::Rollback { from: 2, to: 1 }));
    assert_eq!(fork.follows(&second), Err(RollbackError::Fork { version: 2 }));
    let after_fork = next(&fork, vec![device(3)]);
    assert_eq!(after_fork.follows(&second), Err(RollbackError::BrokenChain { version: 3 }));
    let bobs = DeviceList::first("bob", device(1)).sign(&alice().identity, &mut rng());
    let bobs = DeviceList::verify(&bobs, &alice().identity.public(), "bob").unwrap();
    assert_eq!(bobs.follows(&first), Err(RollbackError::OtherAccount));
}

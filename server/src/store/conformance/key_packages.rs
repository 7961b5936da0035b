//! Key packages.

use super::{FreshDatabase, START_MS, Stage, device_id, username};
use crate::store::{KEY_PACKAGE_MS, LAST_RESORT_MS};
use waxwing_protocol::{Bytes, ClaimedKeyPackage, KeyPackageStock, limits::KEY_PACKAGES_PER_DEVICE};

fn packages(range: std::ops::Range<usize>) -> Vec<Bytes> {
    range.map(|number| format!("package {number}").into_bytes().into()).collect()
}

/// Forty ask at once for thirty packages: each package goes to one, and the rest get nothing.
pub async fn one_time_packages_are_handed_out_once(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let bob = stage.person("bob", 2).await;
    stage.store.publish_key_packages(bob.device, packages(0..30), None, START_MS).await.unwrap();
    let mut claims = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let (store, name) = (stage.store.clone(), bob.name.clone());
        claims.spawn(async move { store.claim_key_packages(&name, device_id(1)).await.unwrap().unwrap() });
    }
    let mut claimed = Vec::new();
    for one in claims.join_all().await {
        let [ClaimedKeyPackage { device, key_package }] = <[_; 1]>::try_from(one).unwrap();
        assert_eq!(device, bob.device);
        claimed.extend(key_package.map(|package| package.0));
    }
    let mut all: Vec<_> = packages(0..30).into_iter().map(|package| package.0).collect();
    claimed.sort();
    all.sort();
    assert_eq!(claimed, all);
    let stock = stage.store.key_package_stock(bob.device, START_MS).await.unwrap();
    assert_eq!(stock, KeyPackageStock { one_time: 0, last_resort: false });
}

/// When the one-time packages are used up, the last resort is given to everybody; a new one replaces it.
pub async fn the_last_resort_stays(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let bob = stage.person("bob", 2).await;
    let claim = || async {
        let claimed = stage.store.claim_key_packages(&bob.name, device_id(1)).await.unwrap().unwrap();
        claimed.into_iter().map(|one| one.key_package.map(|package| package.0)).collect::<Vec<_>>()
    };
    assert_eq!(claim().await, [None]);
    let stock =
        stage.store.publish_key_packages(bob.device, packages(0..1), Some(b"old".to_vec().into()), START_MS).await;
    assert_eq!(stock.unwrap(), KeyPackageStock { one_time: 1, last_resort: true });
    assert_eq!(claim().await, [Some(b"package 0".to_vec())]);
    assert_eq!(claim().await, [Some(b"old".to_vec())]);
    assert_eq!(claim().await, [Some(b"old".to_vec())]);
    let stock = stage.store.publish_key_packages(bob.device, Vec::new(), Some(b"new".to_vec().into()), START_MS).await;
    assert_eq!(stock.unwrap(), KeyPackageStock { one_time: 0, last_resort: true });
    assert_eq!(claim().await, [Some(b"new".to_vec())]);
}

/// What is over the limit is left out.
pub async fn the_stock_is_limited(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let bob = stage.person("bob", 2).await;
    let full = KeyPackageStock { one_time: u32::try_from(KEY_PACKAGES_PER_DEVICE).unwrap(), last_resort: false };
    let nearly = packages(0..KEY_PACKAGES_PER_DEVICE - 1);
    stage.store.publish_key_packages(bob.device, nearly, None, START_MS).await.unwrap();
    let stock = stage.store.publish_key_packages(bob.device, packages(1000..1050), None, START_MS).await.unwrap();
    assert_eq!(stock, full);
    assert_eq!(stage.store.publish_key_packages(bob.device, packages(2000..2001), None, START_MS).await.unwrap(), full);
    assert_eq!(stage.store.key_package_stock(bob.device, START_MS).await.unwrap(), full);
}

/// One asks for the other devices of one's own account too, but not for one's own.
pub async fn a_claim_leaves_the_asking_device_out(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let bob = stage.person("bob", 2).await;
    let tablet = stage.enrol(&bob, 3, 2).await;
    stage.store.publish_key_packages(bob.device, packages(0..1), None, START_MS).await.unwrap();
    stage.store.publish_key_packages(tablet, packages(1..2), None, START_MS).await.unwrap();
    let claimed = stage.store.claim_key_packages(&bob.name, bob.device).await.unwrap().unwrap();
    let package = Some(b"package 1".to_vec().into());
    assert_eq!(claimed, [ClaimedKeyPackage { device: tablet, key_package: package }]);
    assert_eq!(stage.store.key_package_stock(bob.device, START_MS).await.unwrap().one_time, 1);
    assert_eq!(stage.store.claim_key_packages(&username("nobody"), bob.device).await.unwrap(), None);
}

/// What gets too old goes before its validity does; a last resort is asked for anew in good time.
pub async fn old_packages_are_not_handed_out(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let bob = stage.person("bob", 2).await;
    let last_resort = Some(b"last".to_vec().into());
    stage.store.publish_key_packages(bob.device, packages(0..2), last_resort, START_MS).await.unwrap();
    let later = START_MS + KEY_PACKAGE_MS;
    stage.store.publish_key_packages(bob.device, packages(2..3), None, later).await.unwrap();
    let stock = |now_ms| stage.store.key_package_stock(bob.device, now_ms);
    let both = KeyPackageStock { one_time: 3, last_resort: true };
    assert_eq!(stock(START_MS + LAST_RESORT_MS).await.unwrap(), both);
    assert_eq!(stock(START_MS + LAST_RESORT_MS + 1).await.unwrap(), KeyPackageStock { last_resort: false, ..both });
    stage.store.expire_key_packages(later).await.unwrap();
    assert_eq!(stock(START_MS).await.unwrap(), both);
    stage.store.expire_key_packages(later + 1).await.unwrap();
    assert_eq!(stock(START_MS).await.unwrap(), KeyPackageStock { one_time: 1, last_resort: false });
    let claim = || async {
        let claimed = stage.store.claim_key_packages(&bob.name, device_id(1)).await.unwrap().unwrap();
        claimed.into_iter().map(|one| one.key_package.map(|package| package.0)).collect::<Vec<_>>()
    };
    assert_eq!(claim().await, [Some(b"package 2".to_vec())]);
    assert_eq!(claim().await, [None]);
    // A new last resort counts from its own time.
    let renewed = stage.store.publish_key_packages(bob.device, Vec::new(), Some(b"new".to_vec().into()), later).await;
    assert_eq!(renewed.unwrap(), KeyPackageStock { one_time: 0, last_resort: true });
}

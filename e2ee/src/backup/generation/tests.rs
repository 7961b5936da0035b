use super::*;
use crate::account::testing::{alice, mallory, rng};

fn create() -> (GenerationKey, Vec<u8>) {
    GenerationKey::create(3, &alice().backup.public(), alice().vault_secret(), &mut rng())
}

fn open(number: u32, wrapped: &[u8]) -> Result<GenerationKey, BackupError> {
    GenerationKey::open(number, wrapped, &alice().backup, alice().vault_secret(), &mut rng())
}

#[test]
fn the_account_finds_its_key_again() {
    let (key, wrapped) = create();
    assert_eq!(wrapped.len(), 385);
    assert_eq!(open(3, &wrapped), Ok(key.clone()));
    assert_eq!(GenerationKey::from_bytes(key.number(), key.as_bytes()), key);
    assert_ne!(create().0, key);
}

#[test]
fn neither_the_backup_key_nor_the_vault_secret_alone_gives_it() {
    let (key, wrapped) = create();
    let other = GenerationKey::open(3, &wrapped, &alice().backup, mallory().vault_secret(), &mut rng());
    assert_ne!(other, Ok(key));
    let other = GenerationKey::open(3, &wrapped, &mallory().backup, alice().vault_secret(), &mut rng());
    assert_eq!(other, Err(BackupError::Locked));
}

#[test]
fn a_changed_cut_or_renumbered_seed_does_not_open() {
    let (_, wrapped) = create();
    assert_eq!(open(4, &wrapped), Err(BackupError::Locked));
    for at in [1, 2, 100, 384] {
        let mut bad = wrapped.clone();
        bad[at] ^= 1;
        assert_eq!(open(3, &bad), Err(BackupError::Locked), "byte {at}");
        assert_eq!(open(3, &wrapped[..at]), Err(BackupError::Locked), "cut at {at}");
    }
    assert_eq!(open(3, &[]), Err(BackupError::Malformed));
    assert_eq!(open(3, &[&[2], &wrapped[1..]].concat()), Err(BackupError::Newer));
}

#[test]
fn the_key_is_never_printed() {
    assert_eq!(format!("{:?}", create().0), "GenerationKey(3, secret)");
}

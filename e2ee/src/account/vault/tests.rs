use super::*;
use crate::account::{
    RecoveryCode,
    testing::{alice, rng},
};

/// Stands for a password's secrets, without the slow derivation.
fn secrets() -> AccountSecrets {
    RecoveryCode::generate(&mut rng()).secrets(&[1; 32], "alice")
}

struct Sealed {
    password: AccountSecrets,
    recovery: AccountSecrets,
    sealed: SealedVault,
}

fn sealed() -> Sealed {
    let (password, recovery) = (secrets(), secrets());
    let sealed = alice().seal("alice", &password, &recovery, &mut rng()).unwrap();
    Sealed { password, recovery, sealed }
}

fn locked(result: Result<AccountKeys, AccountError>) -> bool {
    matches!(result, Err(AccountError::Locked))
}

#[test]
fn password_and_recovery_code_open_the_same_keys() {
    let Sealed { password, recovery, sealed } = sealed();
    for (wrap, kind, secrets) in
        [(&sealed.password_wrap, WrapKind::Password, &password), (&sealed.recovery_wrap, WrapKind::Recovery, &recovery)]
    {
        let opened = AccountKeys::open("alice", &sealed.vault, wrap, kind, secrets).unwrap();
        assert_eq!(opened.identity.public(), alice().identity.public());
        assert_eq!(opened.backup.public(), alice().backup.public());
        assert_eq!(opened.vault_secret(), alice().vault_secret());
    }
    let public = crate::account::BackupPublicKey::from_der(&alice().backup.public().to_der()).unwrap();
    assert_eq!(public, alice().backup.public());
}

#[test]
fn wrong_secrets_names_and_kinds_are_all_the_same_error() {
    let Sealed { password, recovery, sealed } = sealed();
    let SealedVault { vault, password_wrap, recovery_wrap } = &sealed;
    let open = |name, wrap, kind, secrets| AccountKeys::open(name, vault, wrap, kind, secrets);
    assert!(locked(open("alice", password_wrap, WrapKind::Password, &recovery)));
    let guessed = secrets();
    assert!(locked(open("alice", password_wrap, WrapKind::Password, &guessed)));
    assert!(locked(open("alicf", password_wrap, WrapKind::Password, &password)));
    assert!(locked(open("alice", password_wrap, WrapKind::Recovery, &password)));
    assert!(locked(open("alice", recovery_wrap, WrapKind::Password, &recovery)));
    assert!(locked(open("alice", recovery_wrap, WrapKind::Password, &password)));
    // A wrap of another vault of the same account and password: an old one, say.
    let other = alice().seal("alice", &password, &recovery, &mut rng()).unwrap();
    assert!(locked(open("alice", &other.password_wrap, WrapKind::Password, &password)));
}

#[test]
fn a_flipped_byte_anywhere_is_that_same_error() {
    let Sealed { password, sealed, .. } = sealed();
    let SealedVault { vault, password_wrap, .. } = &sealed;
    let open = |vault: &[u8], wrap: &[u8]| AccountKeys::open("alice", vault, wrap, WrapKind::Password, &password);
    for position in 0..vault.len() {
        let mut bad = vault.clone();
        bad[position] ^= 0x80;
        assert!(locked(open(&bad, password_wrap)), "vault byte {position}");
    }
    for position in 0..password_wrap.len() {
        let mut bad = password_wrap.clone();
        bad[position] ^= 1;
        assert!(locked(open(vault, &bad)), "wrap byte {position}");
        assert!(locked(open(vault, &password_wrap[..position])), "wrap cut at {position}");
    }
    assert!(locked(open(&[vault.as_slice(), &[0]].concat(), password_wrap)));
    assert!(locked(open(&[], password_wrap)));
    assert!(locked(open(&vec![1; 1 << 20], password_wrap)));
}

#[test]
fn sealing_anew_gives_new_bytes_and_nothing_in_clear() {
    let one = sealed().sealed;
    assert_ne!(one.vault, sealed().sealed.vault);
    assert!(one.vault.len() < LIMIT);
    assert!(!one.vault.windows(5).any(|window| window == b"alice"));
    assert!(!one.vault.windows(32).any(|window| window == alice().vault_secret()));
}

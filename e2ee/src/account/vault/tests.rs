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
    let sealed = alice().seal("alice", &password, Some(&recovery), &mut rng()).unwrap();
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
    let other = alice().seal("alice", &password, Some(&recovery), &mut rng()).unwrap();
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

/// Damage of every kind, by a fixed sequence: bits, bytes, cuts, additions, pieces of other wraps. Always the one error, at
/// once: nothing here derives or tries a second time.
#[test]
fn a_thousand_corrupt_wraps_are_that_same_error() {
    let Sealed { password, recovery: _, sealed } = sealed();
    let SealedVault { vault, password_wrap, recovery_wrap } = &sealed;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) as usize % below.max(1)
    };
    for round in 0..1000 {
        let mut bad = password_wrap.clone();
        let place = next(bad.len());
        match round % 5 {
            0 => bad[place] ^= 1 << next(8),
            1 => bad.iter_mut().skip(place).for_each(|byte| *byte = !*byte),
            2 => bad.truncate(place),
            3 => bad.splice(place..place, (0..=next(40)).map(|byte| byte as u8)).for_each(drop),
            _ => bad.splice(..=place, recovery_wrap[..=place].iter().copied()).for_each(drop),
        }
        if bad != *password_wrap {
            assert!(locked(AccountKeys::open("alice", vault, &bad, WrapKind::Password, &password)), "round {round}");
        }
    }
    assert!(AccountKeys::open("alice", vault, password_wrap, WrapKind::Password, &password).is_ok());
}

#[test]
fn sealing_anew_gives_new_bytes_and_nothing_in_clear() {
    let one = sealed().sealed;
    assert_ne!(one.vault, sealed().sealed.vault);
    assert!(one.vault.len() < LIMIT);
    assert!(!one.vault.windows(5).any(|window| window == b"alice"));
    assert!(!one.vault.windows(32).any(|window| window == alice().vault_secret()));
}

#[test]
fn a_new_password_keeps_the_recovery_code_without_asking_for_it() {
    let Sealed { password, recovery, sealed } = sealed();
    let keys = AccountKeys::open("alice", &sealed.vault, &sealed.password_wrap, WrapKind::Password, &password).unwrap();
    let changed = secrets();
    let anew = keys.seal("alice", &changed, None, &mut rng()).unwrap();
    let open = |wrap, kind, secrets| AccountKeys::open("alice", &anew.vault, wrap, kind, secrets);
    assert!(open(&anew.password_wrap, WrapKind::Password, &changed).is_ok());
    let recovered = open(&anew.recovery_wrap, WrapKind::Recovery, &recovery).unwrap();
    assert!(locked(open(&anew.password_wrap, WrapKind::Password, &password)));
    // The vault key is another one: old wraps open nothing any more.
    assert!(locked(open(&sealed.password_wrap, WrapKind::Password, &password)));
    assert!(locked(open(&sealed.recovery_wrap, WrapKind::Recovery, &recovery)));
    // A new code takes the old one's place.
    let code = secrets();
    let last = recovered.seal("alice", &changed, Some(&code), &mut rng()).unwrap();
    let open = |secrets| AccountKeys::open("alice", &last.vault, &last.recovery_wrap, WrapKind::Recovery, secrets);
    assert!(open(&code).is_ok());
    assert!(locked(open(&recovery)));
}

#[test]
fn keys_without_a_recovery_code_are_not_sealed() {
    assert_eq!(alice().seal("alice", &secrets(), None, &mut rng()), Err(AccountError::NoRecoveryCode));
}

#[test]
fn rotated_keys_are_new_and_keep_the_recovery_code() {
    let Sealed { password, recovery, sealed } = sealed();
    let keys = AccountKeys::open("alice", &sealed.vault, &sealed.password_wrap, WrapKind::Password, &password).unwrap();
    let rotated = keys.rotate(&mut rng());
    assert_ne!(rotated.identity.public(), keys.identity.public());
    assert_ne!(rotated.backup.public(), keys.backup.public());
    assert_ne!(rotated.vault_secret(), keys.vault_secret());
    assert_ne!(rotated.account_key(), keys.account_key());
    let anew = rotated.seal("alice", &password, None, &mut rng()).unwrap();
    let opened = AccountKeys::open("alice", &anew.vault, &anew.recovery_wrap, WrapKind::Recovery, &recovery).unwrap();
    assert_eq!(opened.identity.public(), rotated.identity.public());
    assert_eq!(opened.account_key(), rotated.account_key());
}

use super::*;
use crate::account::testing::rng;
use std::time::{Duration, Instant};

const SERVER: [u8; 32] = [5; 32];

fn kdf() -> KdfParameters {
    KdfParameters { salt: [3; 16], ..KdfParameters::recommended(&mut rng()) }
}

fn auth(password: &str, kdf: &KdfParameters, server: &[u8; 32], username: &str) -> [u8; 32] {
    *derive_password(password, kdf, server, username).unwrap().auth
}

#[test]
fn weak_passwords_are_refused_with_a_hint_and_good_ones_pass() {
    for weak in ["", "password", "waxwing1", "alice1987", "qwertyuiop", "Tr0ub4dour"] {
        let refused = check_strength(weak, &["alice", ""]).unwrap_err();
        assert!(refused.hint.len() > 10, "{weak}");
        assert!(weak.len() < 9 || !refused.to_string().contains(weak), "{weak}");
    }
    assert!(check_strength("alice.longname@example.org", &["alice", "alice.longname@example.org"]).is_err());
    check_strength("correct horse battery staple", &["alice"]).unwrap();
    check_strength("übergroße Mäuse tanzen", &["alice"]).unwrap();
    check_strength(&"a good one, which is long; ".repeat(100), &[]).unwrap();
}

#[test]
fn composed_and_decomposed_letters_are_the_same_password() {
    let (composed, decomposed) = ("Z\u{fc}rich \u{e9}t\u{e9}", "Zu\u{308}rich e\u{301}te\u{301}");
    assert_ne!(composed, decomposed);
    assert_eq!(normalise(composed), normalise(decomposed));
    assert_eq!(auth(composed, &kdf(), &SERVER, "alice"), auth(decomposed, &kdf(), &SERVER, "alice"));
}

#[test]
fn nothing_of_a_password_is_cut_or_folded() {
    // The longest growth that NFC knows, so the buffer has not moved.
    assert!(normalise(&"\u{1d160}".repeat(100)).len() <= 3 * 4 * 100);
    let base = "x".repeat(80);
    let long = [base.clone(), format!("{base}a"), format!("{base}\0"), format!("{base}\0a"), format!("{base} ")];
    let derived: std::collections::HashSet<_> =
        long.iter().map(|password| auth(password, &kdf(), &SERVER, "alice")).collect();
    assert_eq!(derived.len(), long.len());
    assert_ne!(*normalise("ABC"), *normalise("abc"));
}

#[test]
fn each_input_changes_both_halves() {
    let one = derive_password("password", &kdf(), &SERVER, "alice").unwrap();
    assert_ne!(one.auth, one.wrap);
    let salted = KdfParameters { salt: [4; 16], ..kdf() };
    for (kdf, server, username) in [(salted, SERVER, "alice"), (kdf(), [6; 32], "alice"), (kdf(), SERVER, "alicf")] {
        let other = derive_password("password", &kdf, &server, username).unwrap();
        assert_ne!(other.auth, one.auth);
        assert_ne!(other.wrap, one.wrap);
    }
    assert_eq!(format!("{one:?}"), "AccountSecrets(secret)");
}

#[test]
fn a_server_can_neither_weaken_the_derivation_nor_exhaust_the_client() {
    let weak = [
        KdfParameters { memory_kib: 64 * 1024 - 1, ..kdf() },
        KdfParameters { iterations: 2, ..kdf() },
        KdfParameters { parallelism: 0, ..kdf() },
        KdfParameters { memory_kib: 0, iterations: 0, ..kdf() },
    ];
    let expensive = [
        KdfParameters { memory_kib: u32::MAX, ..kdf() },
        KdfParameters { iterations: u32::MAX, ..kdf() },
        KdfParameters { parallelism: u32::MAX, ..kdf() },
        KdfParameters { memory_kib: 256 * 1024 + 1, ..kdf() },
        KdfParameters { memory_kib: u32::MAX, iterations: 0, ..kdf() },
    ];
    // 4 TiB or 4 billion passes would not come back at once.
    let start = Instant::now();
    for kdf in weak {
        let refused = derive_password("password", &kdf, &SERVER, "alice").unwrap_err();
        assert_eq!(refused, AccountError::Kdf(KdfRefused::TooWeak));
    }
    for kdf in expensive {
        let refused = derive_password("password", &kdf, &SERVER, "alice").unwrap_err();
        assert_eq!(refused, AccountError::Kdf(KdfRefused::TooExpensive));
    }
    assert!(start.elapsed() < Duration::from_secs(1));
    kdf().check().unwrap();
    KdfParameters { memory_kib: 256 * 1024, iterations: 10, parallelism: 8, ..kdf() }.check().unwrap();
}

#[test]
fn each_password_gets_its_own_salt() {
    assert_ne!(KdfParameters::recommended(&mut rng()).salt, KdfParameters::recommended(&mut rng()).salt);
}

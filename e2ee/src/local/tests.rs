use super::*;
use crate::account::testing::rng;
use std::time::{Duration, Instant};

const PASSWORD: &str = "cafe\u{301} \0 horses";

fn written() -> (LocalKey, Vec<u8>) {
    let key = LocalKey::generate(&mut rng());
    let file = wrap(&key, PASSWORD, &mut rng()).unwrap();
    (key, file)
}

/// Gives a changed file a fitting hash again, as an attacker or another version would.
fn rehashed(mut file: Vec<u8>) -> Vec<u8> {
    file.truncate(file.len() - 32);
    let hash = Sha256::digest(&file);
    file.extend_from_slice(&hash);
    file
}

#[test]
fn the_password_opens_the_file_in_both_normal_forms() {
    let (key, file) = written();
    assert_eq!(unwrap(&file, PASSWORD).unwrap().as_bytes(), key.as_bytes());
    assert_eq!(unwrap(&file, "caf\u{e9} \0 horses").unwrap().as_bytes(), key.as_bytes());
    assert!(!file.windows(32).any(|window| window == key.as_bytes()));
    assert_eq!(format!("{:?}", LocalKey::from_bytes(key.as_bytes())), "LocalKey(secret)");
}

#[test]
fn a_wrong_password_is_told_from_a_damaged_file() {
    let (_, file) = written();
    assert_eq!(unwrap(&file, "caf\u{e9} ").unwrap_err(), LocalError::WrongPassword);
    for position in 0..file.len() {
        let mut bad = file.clone();
        bad[position] ^= 1;
        assert_eq!(unwrap(&bad, PASSWORD).unwrap_err(), LocalError::Damaged, "byte {position}");
        assert_eq!(unwrap(&file[..position], PASSWORD).unwrap_err(), LocalError::Damaged, "cut at {position}");
    }
    assert_eq!(unwrap(&[file.as_slice(), &[0]].concat(), PASSWORD).unwrap_err(), LocalError::Damaged);
    assert_eq!(unwrap(&rehashed([file, vec![0]].concat()), PASSWORD).unwrap_err(), LocalError::Damaged);
}

#[test]
fn a_newer_file_is_recognised() {
    let (_, mut file) = written();
    file[8] = 2;
    assert_eq!(unwrap(&rehashed(file.clone()), PASSWORD).unwrap_err(), LocalError::Newer);
    file.splice(9..20, []);
    assert_eq!(unwrap(&rehashed(file.clone()), PASSWORD).unwrap_err(), LocalError::Newer);
    file[8] = 0;
    assert_eq!(unwrap(&rehashed(file), PASSWORD).unwrap_err(), LocalError::Damaged);
}

#[test]
fn absurd_costs_in_a_file_take_neither_time_nor_memory() {
    let (_, file) = written();
    let start = Instant::now();
    for (at, cost) in [(9, u64::MAX), (9, u64::from(u32::MAX)), (9, 8), (17, 1), (17, 1 << 31), (25, 1 << 20)] {
        let mut bad = file.clone();
        bad[at..at + 8].copy_from_slice(&cost.to_be_bytes());
        assert_eq!(unwrap(&rehashed(bad), PASSWORD).unwrap_err(), LocalError::Damaged, "{cost} at {at}");
    }
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn each_file_has_its_own_salt() {
    let (key, file) = written();
    let again = wrap(&key, PASSWORD, &mut rng()).unwrap();
    assert_ne!(file[33..49], again[33..49]);
}

use super::*;
use crate::account::testing::{alice, mallory};

fn number() -> SafetyNumber {
    SafetyNumber::new(("alice", &alice().identity.public()), ("bob", &mallory().identity.public()))
}

#[test]
fn both_sides_get_the_same_number() {
    let others = SafetyNumber::new(("bob", &mallory().identity.public()), ("alice", &alice().identity.public()));
    assert_eq!(number(), others);
    assert_eq!(number().qr(), others.qr());
    assert_eq!(number().matches_qr(&others.qr()), Ok(true));
}

#[test]
fn another_name_or_identity_gives_another_number() {
    let (alices, bobs) = (alice().identity.public(), mallory().identity.public());
    for other in [
        SafetyNumber::new(("alice", &alices), ("bob2", &bobs)),
        SafetyNumber::new(("bob", &alices), ("alice", &bobs)),
        SafetyNumber::new(("alice", &alices), ("bob", &alices)),
        SafetyNumber::new(("alice", &bobs), ("bob", &bobs)),
    ] {
        assert_ne!(other.digits(), number().digits());
        assert_eq!(number().matches_qr(&other.qr()), Ok(false));
    }
}

#[test]
fn it_is_read_in_three_rows_of_four_groups_of_five_digits() {
    let shown = number().to_string();
    let rows: Vec<Vec<&str>> = shown.lines().map(|row| row.split(' ').collect()).collect();
    assert!(rows.len() == 3 && rows.iter().all(|row| row.len() == 4), "{shown}");
    assert!(rows.iter().flatten().all(|group| group.len() == 5 && group.bytes().all(|c| c.is_ascii_digit())));
    assert_eq!(rows.concat().concat(), number().digits());
    assert_eq!(number().digits().len(), 60);
}

#[test]
fn what_cannot_be_compared_is_said_to_be_so() {
    let qr = number().qr();
    assert_eq!(number().matches_qr(&format!(" {qr}\n")), Ok(true));
    assert_eq!(number().matches_qr(&qr.replacen(":1:", ":2:", 1)), Err(QrError::OtherVersion));
    for other in ["", "https://example.org", "waxwing-safety-number:", "waxwing-safety-number:1:", &qr[..qr.len() - 1]]
    {
        assert_eq!(number().matches_qr(other), Err(QrError::NotOurs), "{other}");
    }
}

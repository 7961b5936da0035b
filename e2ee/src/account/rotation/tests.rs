use super::*;
use crate::account::{
    DeviceList,
    testing::{alice, mallory, rng},
};
use std::sync::OnceLock;

/// Alice's second identity.
fn second() -> &'static IdentityKey {
    static KEY: OnceLock<IdentityKey> = OnceLock::new();
    KEY.get_or_init(|| IdentityKey::generate(&mut rng()))
}

/// Alice's third identity.
fn third() -> &'static IdentityKey {
    static KEY: OnceLock<IdentityKey> = OnceLock::new();
    KEY.get_or_init(|| IdentityKey::generate(&mut rng()))
}

fn first() -> &'static IdentityKey {
    &alice().identity
}

fn step(old: &IdentityKey, new: &IdentityKey) -> Vec<u8> {
    sign(old, "alice", &new.public(), &mut rng())
}

#[test]
fn the_old_identity_names_the_new_one() {
    let statement = step(first(), second());
    assert_eq!(verify(&statement, &first().public(), "alice"), Ok(second().public()));
    let claim = parse(&statement).unwrap();
    assert_eq!((claim.username.as_str(), claim.former), ("alice", first().public()));
    assert_eq!(claim.identity, second().public());
    assert!(statement.len() <= STATEMENT_LIMIT);
}

#[test]
fn nobody_else_names_it_and_for_no_other_account() {
    let statement = step(first(), second());
    assert_eq!(verify(&statement, &first().public(), "bob"), Err(RotationError::OtherAccount));
    assert_eq!(verify(&statement, &second().public(), "alice"), Err(RotationError::OtherIdentity));
    // Mallory claims to be Alice's old identity.
    let body = super::statement("alice", &first().public(), &mallory().identity.public());
    let signature = mallory().identity.sign(LABEL, &body, &mut rng());
    let forged = Fields::default().fixed(&[VERSION]).fixed(&body).fixed(&signature).finish();
    assert_eq!(verify(&forged, &first().public(), "alice"), Err(RotationError::Signature));
    // What the identity signed for another purpose is no rotation.
    let signature = first().sign("waxwing device list v2", &body, &mut rng());
    let forged = Fields::default().fixed(&[VERSION]).fixed(&body).fixed(&signature).finish();
    assert_eq!(verify(&forged, &first().public(), "alice"), Err(RotationError::Signature));
    assert!(DeviceList::verify(&statement, &first().public(), "alice").is_err());
}

#[test]
fn a_changed_or_cut_statement_is_refused() {
    let statement = step(first(), second());
    for at in 0..statement.len() {
        let mut bad = statement.clone();
        bad[at] ^= 1;
        assert!(verify(&bad, &first().public(), "alice").is_err(), "byte {at}");
        assert_eq!(verify(&statement[..at], &first().public(), "alice"), Err(RotationError::Malformed));
    }
    let longer = [statement.as_slice(), &[0]].concat();
    assert_eq!(parse(&longer), Err(RotationError::Malformed));
}

#[test]
fn a_chain_leads_from_any_of_its_identities_to_the_newest() {
    let chain = [step(first(), second()), step(second(), third())];
    for pinned in [first(), second(), third()] {
        assert_eq!(follow(&chain, &pinned.public(), "alice"), Ok(third().public()));
    }
    assert_eq!(follow(&[], &first().public(), "alice"), Ok(first().public()));
}

#[test]
fn a_chain_that_does_not_hold_is_refused() {
    let (a, b) = (step(first(), second()), step(second(), third()));
    let pinned = first().public();
    let follow = |chain: &[Vec<u8>]| follow(chain, &pinned, "alice");
    assert_eq!(follow(std::slice::from_ref(&b)), Err(RotationError::OtherIdentity));
    assert_eq!(follow(&[b.clone(), a.clone()]), Ok(second().public()));
    assert_eq!(follow(&[a.clone(), a.clone()]), Err(RotationError::OtherIdentity));
    assert_eq!(follow(&[a.clone(), step(second(), first())]), Err(RotationError::Back));
    assert_eq!(follow(&[step(first(), first())]), Err(RotationError::Back));
    assert_eq!(follow(&[a.clone(), vec![1]]), Err(RotationError::Malformed));
    let bobs = sign(second(), "bob", &third().public(), &mut rng());
    assert_eq!(follow(&[a.clone(), bobs]), Err(RotationError::OtherAccount));
    assert_eq!(follow(&vec![a; CHAIN_LIMIT + 1]), Err(RotationError::TooMany));
    let mallorys = sign(&mallory().identity, "alice", &third().public(), &mut rng());
    assert_eq!(follow(&[mallorys]), Err(RotationError::OtherIdentity));
}

#[test]
fn former_identities_are_as_many_as_vouched_without_a_gap() {
    let chain = [step(first(), second()), step(second(), third())];
    let newest = third().public();
    assert_eq!(former(&chain, &newest, "alice"), [first().public(), second().public()]);
    assert_eq!(former(&chain[1..], &newest, "alice"), [second().public()]);
    assert_eq!(former(&[], &newest, "alice"), []);
    // Another account's, another identity's, and a chain whose beginning somebody else has put there.
    assert_eq!(former(&chain, &newest, "bob"), []);
    assert_eq!(former(&chain, &first().public(), "alice"), []);
    let mallorys = sign(&mallory().identity, "alice", &third().public(), &mut rng());
    assert_eq!(former(&[mallorys, chain[1].clone()], &newest, "alice"), [second().public()]);
    let forged = [&chain[0][..chain[0].len() - 1], &[chain[0][chain[0].len() - 1] ^ 1]].concat();
    assert_eq!(former(&[forged, chain[1].clone()], &newest, "alice"), [second().public()]);
}

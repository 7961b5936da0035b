use super::*;
use crate::account::testing::{alice, mallory, rng};

const DEVICE: [u8; 16] = [7; 16];
const LEAF: [u8; 32] = [9; 32];

fn certificate() -> Vec<u8> {
    certify(&alice().identity, "alice", &DEVICE, &LEAF, &mut rng())
}

#[test]
fn a_credential_names_its_device_on_its_own_leaf() {
    let key = alice().identity.public();
    let expected = Credential { username: "alice".to_owned(), device: DEVICE, identity: key.fingerprint() };
    assert_eq!(parse(&certificate()), Ok(expected.clone()));
    assert_eq!(verify(&certificate(), &LEAF, &key), Ok(expected));
}

#[test]
fn a_credential_on_another_leaf_is_refused() {
    assert_eq!(verify(&certificate(), &[8; 32], &alice().identity.public()), Err(CredentialError::Signature));
    assert_eq!(verify(&certificate(), &LEAF[..31], &alice().identity.public()), Err(CredentialError::Signature));
}

#[test]
fn mallory_cannot_vouch_for_alices_device() {
    let forged = certify(&mallory().identity, "alice", &DEVICE, &LEAF, &mut rng());
    assert_eq!(verify(&forged, &LEAF, &alice().identity.public()), Err(CredentialError::OtherIdentity));
    // Nor by putting Alice's fingerprint into it, which stands after version, length, name and device.
    let mut swapped = forged;
    swapped[30..62].copy_from_slice(&alice().identity.public().fingerprint());
    assert_eq!(parse(&swapped).unwrap().identity, alice().identity.public().fingerprint());
    assert_eq!(verify(&swapped, &LEAF, &alice().identity.public()), Err(CredentialError::Signature));
}

#[test]
fn no_changed_cut_or_longer_credential_verifies() {
    let key = alice().identity.public();
    let good = certificate();
    for position in 0..good.len() {
        let mut bad = good.clone();
        bad[position] ^= 1;
        assert!(verify(&bad, &LEAF, &key).is_err(), "byte {position}");
        assert_eq!(parse(&good[..position]), Err(CredentialError::Malformed));
    }
    assert_eq!(parse(&[good.as_slice(), &[0]].concat()), Err(CredentialError::Malformed));
}

#[test]
fn a_device_list_signature_is_no_credential_signature() {
    let body = signed(&parse(&certificate()).unwrap(), &LEAF);
    let signature = alice().identity.sign("waxwing device list v1", &body, &mut rng());
    let mut forged = certificate();
    let at = forged.len() - SIGNATURE;
    forged[at..].copy_from_slice(&signature);
    assert_eq!(verify(&forged, &LEAF, &alice().identity.public()), Err(CredentialError::Signature));
}

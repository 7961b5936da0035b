use super::*;
use rcgen::{CertificateParams, CustomExtension, KeyPair, PublicKeyData as _, SigningKey as _};
use waxwing_protocol::{KEY_HISTORY_OID, encode_key_history};

struct Key(KeyPair);

impl Key {
    fn new() -> Self {
        Self(KeyPair::generate().unwrap())
    }

    fn spki(&self) -> Vec<u8> {
        self.0.subject_public_key_info()
    }

    fn pin(&self) -> Pin {
        Pin::of_key(&self.spki())
    }

    fn vouches_for(&self, next: &Key) -> KeyStatement {
        let message = key_statement_message(&self.pin(), &next.pin());
        KeyStatement { key: self.spki(), signature: self.0.sign(&message).unwrap() }
    }

    fn certificate(&self, history: &[KeyStatement]) -> CertificateDer<'static> {
        self.certificate_with(
            &encode_key_history(history).into_iter().filter(|_| !history.is_empty()).collect::<Vec<_>>(),
        )
    }

    fn certificate_with(&self, extensions: &[Vec<u8>]) -> CertificateDer<'static> {
        let mut parameters = CertificateParams::new(vec!["waxwing".to_owned()]).unwrap();
        let extension =
            |value: &Vec<u8>| CustomExtension::from_oid_content(&KEY_HISTORY_OID.map(u64::from), value.clone());
        parameters.custom_extensions = extensions.iter().map(extension).collect();
        parameters.self_signed(&self.0).unwrap().der().clone()
    }
}

fn follow(pin: Pin, certificate: &CertificateDer<'_>) -> Result<ServerKey, Untrusted> {
    tls(pin).unwrap().1.follow(certificate)
}

#[test]
fn any_key_of_the_line_leads_to_the_last_and_has_the_first_for_its_origin() {
    let [one, two, three] = [Key::new(), Key::new(), Key::new()];
    let alone = one.certificate(&[]);
    assert_eq!(follow(one.pin(), &alone), Ok(ServerKey { pin: one.pin(), origin: one.pin() }));
    let last = three.certificate(&[one.vouches_for(&two), two.vouches_for(&three)]);
    for known in [&one, &two, &three] {
        assert_eq!(follow(known.pin(), &last), Ok(ServerKey { pin: three.pin(), origin: one.pin() }));
    }
    assert_eq!(follow(Key::new().pin(), &last), Err(Untrusted::Key));
    // Whoever has followed knows nobody but the new key.
    assert_eq!(follow(three.pin(), &alone), Err(Untrusted::Key));
    assert_eq!(follow(three.pin(), &two.certificate(&[one.vouches_for(&two)])), Err(Untrusted::Key));
}

#[test]
fn no_other_statement_leads_anywhere() {
    let [one, two, three, evil] = [Key::new(), Key::new(), Key::new(), Key::new()];
    let (first, second) = (one.vouches_for(&two), two.vouches_for(&three));
    let by_another = KeyStatement { signature: evil.vouches_for(&two).signature, ..first.clone() };
    let mut flipped = first.clone();
    *flipped.signature.last_mut().unwrap() ^= 1;
    for (name, certificate) in [
        ("no statement", two.certificate(&[])),
        ("signed by another key", two.certificate(&[by_another])),
        ("damaged", two.certificate(&[flipped])),
        ("made for another key", evil.certificate(std::slice::from_ref(&first))),
        ("without the first step", three.certificate(std::slice::from_ref(&second))),
        ("without the last step", three.certificate(std::slice::from_ref(&first))),
        ("backwards", three.certificate(&[second.clone(), first.clone()])),
        ("of an attacker, about itself", evil.certificate(&[evil.vouches_for(&evil)])),
        ("empty", two.certificate_with(&[vec![0x30, 0x00]])),
        ("no statement at all", two.certificate_with(&[vec![0xff; 40]])),
        ("twice", two.certificate_with(&[encode_key_history(std::slice::from_ref(&first)).unwrap(), vec![0x30, 0x00]])),
    ] {
        assert_eq!(follow(one.pin(), &certificate), Err(Untrusted::Key), "{name}");
    }
}

#[test]
fn a_pinned_key_with_a_false_history_is_refused_too() {
    let [one, two, evil] = [Key::new(), Key::new(), Key::new()];
    let forged = KeyStatement { signature: evil.vouches_for(&two).signature, ..one.vouches_for(&two) };
    for certificate in [
        two.certificate(&[forged]),
        two.certificate_with(&[b"garbage".to_vec()]),
        two.certificate(&[two.vouches_for(&one), one.vouches_for(&two)]),
    ] {
        assert_eq!(follow(two.pin(), &certificate), Err(Untrusted::History));
    }
}

#[test]
fn a_line_is_bounded() {
    let keys: Vec<Key> = (0..waxwing_protocol::limits::KEY_HISTORY + 2).map(|_| Key::new()).collect();
    let line =
        |keys: &[Key]| -> Vec<KeyStatement> { keys.windows(2).map(|pair| pair[0].vouches_for(&pair[1])).collect() };
    let whole = &keys[1..];
    let last = whole.last().unwrap();
    assert_eq!(
        follow(whole[0].pin(), &last.certificate(&line(whole))),
        Ok(ServerKey { pin: last.pin(), origin: whole[0].pin() })
    );
    // One more than possible is not even encoded; two lists are no way around it.
    assert_eq!(encode_key_history(&line(&keys)), None);
}

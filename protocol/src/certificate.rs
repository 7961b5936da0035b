//! What the server's certificate says: its key, and the former keys that vouch for it.
//!
//! This is encoding only (`SPEC.md` §1). A key history that was read proves nothing until its signatures are verified,
//! which is the client's part.

use crate::{Pin, limits};
use der::{
    Decode, Encode, Sequence,
    asn1::{Any, ObjectIdentifier, OctetString},
};
use sha2::{Digest, Sha256};
use x509_cert::Certificate;

/// The certificate extension that carries the key history, arc by arc.
pub const KEY_HISTORY_OID: [u32; 4] = [2, 25, 1_463_900_247, 1];

/// What a former key signs for its successor: this label, its own pin, the successor's pin (`SPEC.md` §1).
pub const KEY_STATEMENT_LABEL: &[u8] = b"waxwing server key succession v1";

/// Bytes that are no certificate, or whose key history is not of the specified shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not X.509.
    #[error("it is no X.509 certificate")]
    Malformed,
    /// The extension is there, but it is no key history, or there are two, or it is too long.
    #[error("its statements about former keys are malformed")]
    KeyHistory,
}

/// A former key of a server vouches for the one that came next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStatement {
    /// The former key (SubjectPublicKeyInfo, DER).
    pub key: Vec<u8>,
    /// Its signature over [`key_statement_message`]: ECDSA with SHA-256, DER.
    pub signature: Vec<u8>,
}

/// A server's certificate, as far as it means something to clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerCertificate {
    /// The server's key (SubjectPublicKeyInfo, DER).
    pub key: Vec<u8>,
    /// Its former keys, the oldest first; each signs for the next, the last one for `key`.
    pub former: Vec<KeyStatement>,
}

#[derive(Sequence)]
struct EncodedStatement {
    key: Any,
    signature: OctetString,
}

impl ServerCertificate {
    /// Reads a certificate (DER). Nothing is verified.
    pub fn read(certificate_der: &[u8]) -> Result<Self, CertificateError> {
        let malformed = |_| CertificateError::Malformed;
        let certificate = Certificate::from_der(certificate_der).map_err(malformed)?;
        let signed = certificate.tbs_certificate();
        let key = signed.subject_public_key_info().to_der().map_err(malformed)?;
        let oid = ObjectIdentifier::from_arcs(KEY_HISTORY_OID).map_err(|_| CertificateError::KeyHistory)?;
        let mut histories = signed.extensions().into_iter().flatten().filter(|extension| extension.extn_id == oid);
        let former = match (histories.next(), histories.next()) {
            (None, _) => Vec::new(),
            (Some(history), None) => decode(history.extn_value.as_bytes()).ok_or(CertificateError::KeyHistory)?,
            (Some(_), Some(_)) => return Err(CertificateError::KeyHistory),
        };
        Ok(Self { key, former })
    }

    /// The pin of its key.
    pub fn pin(&self) -> Pin {
        Pin::of_key(&self.key)
    }
}

impl Pin {
    /// The pin of a key (SubjectPublicKeyInfo, DER).
    pub fn of_key(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }
}

/// The bytes that a former key signs for its successor.
pub fn key_statement_message(former: &Pin, successor: &Pin) -> Vec<u8> {
    [KEY_STATEMENT_LABEL, &former.0, &successor.0].concat()
}

/// The extension's value for these statements; `None` if one is malformed or there are too many.
pub fn encode_key_history(statements: &[KeyStatement]) -> Option<Vec<u8>> {
    let encoded = |statement: &KeyStatement| {
        let key = Any::from_der(&statement.key).ok()?;
        Some(EncodedStatement { key, signature: OctetString::new(statement.signature.clone()).ok()? })
    };
    let statements: Vec<_> = statements.iter().map(encoded).collect::<Option<_>>()?;
    (statements.len() <= limits::KEY_HISTORY).then(|| statements.to_der().ok()).flatten()
}

fn decode(history: &[u8]) -> Option<Vec<KeyStatement>> {
    let statements: Vec<EncodedStatement> = Decode::from_der(history).ok()?;
    if !(1..=limits::KEY_HISTORY).contains(&statements.len()) {
        return None;
    }
    let plain = |statement: EncodedStatement| {
        Some(KeyStatement { key: statement.key.to_der().ok()?, signature: statement.signature.into_bytes().into() })
    };
    statements.into_iter().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(byte: u8) -> KeyStatement {
        KeyStatement { key: vec![0x30, 0x03, 0x02, 0x01, byte], signature: vec![byte; 70] }
    }

    #[test]
    fn a_history_is_read_as_it_was_written() {
        let statements = [statement(1), statement(2)];
        let encoded = encode_key_history(&statements).unwrap();
        assert_eq!(decode(&encoded).unwrap(), statements);
        // SEQUENCE OF SEQUENCE { key, OCTET STRING }
        assert_eq!(
            encode_key_history(&[statement(1)]).unwrap()[..13],
            [0x30, 0x4f, 0x30, 0x4d, 0x30, 0x03, 0x02, 0x01, 0x01, 0x04, 0x46, 0x01, 0x01]
        );
    }

    #[test]
    fn nothing_else_is_a_history() {
        let encoded = encode_key_history(&[statement(1), statement(2)]).unwrap();
        for end in 0..encoded.len() {
            assert_eq!(decode(&encoded[..end]), None, "cut at {end}");
        }
        assert_eq!(decode(&[encoded.as_slice(), &[0]].concat()), None);
        assert_eq!(decode(&[0x30, 0x00]), None, "an empty one is left out");
        let many = vec![statement(1); limits::KEY_HISTORY + 1];
        assert_eq!(encode_key_history(&many), None);
        assert!(encode_key_history(&many[1..]).is_some());
        assert_eq!(encode_key_history(&[KeyStatement { key: vec![0xff], signature: vec![] }]), None);
        assert_eq!(ServerCertificate::read(&[1, 2, 3]), Err(CertificateError::Malformed));
    }

    #[test]
    fn a_statement_names_both_keys() {
        let message = key_statement_message(&Pin([1; 32]), &Pin([2; 32]));
        assert_eq!(message, [b"waxwing server key succession v1".as_slice(), &[1; 32], &[2; 32]].concat());
        assert_eq!(message.len(), 96);
    }
}

//! Byte strings on the wire: opaque ones, and secrets that no log can show.

use minicbor::{Decode, Encode};
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// An opaque byte string. `Debug` shows its length only: it may be somebody's ciphertext.
#[derive(Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct Bytes(#[cbor(with = "minicbor::bytes")] pub Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0.len())
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// 32 secret bytes (an auth secret). Zeroised on drop, redacted in `Debug`.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop, Encode, Decode)]
#[cbor(transparent)]
pub struct Secret(#[cbor(with = "minicbor::bytes")] pub [u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_shows_how_long_and_never_what() {
        let (bytes, secret) = (Bytes::from(b"ciphertext".to_vec()), Secret([b's'; 32]));
        assert_eq!(bytes.as_ref(), b"ciphertext");
        assert_eq!(format!("{bytes:?} {secret:?}"), "<10 bytes> <secret>");
    }
}

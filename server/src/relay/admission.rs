//! Who may sign up: the rule of this server, and the invite codes that it hands out.
//!
//! The server keeps only a hash of each code, which is enough: a code has 120 random bits.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use waxwing_protocol::{Admission, ErrorCode, SignUpPolicy};
use zeroize::Zeroizing;

/// 32 digits and letters, without those that are mistaken for others (Crockford's base 32).
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Who may sign up, and with what. `Debug` shows no secret.
#[derive(Clone)]
pub enum SignUpRule {
    /// Whoever has an invite code.
    Invite,
    /// Anyone.
    Open,
    /// Whoever knows this secret.
    Secret(Zeroizing<String>),
    /// Nobody.
    Closed,
}

impl std::fmt::Debug for SignUpRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.policy())
    }
}

impl SignUpRule {
    /// What the server tells everybody.
    pub fn policy(&self) -> SignUpPolicy {
        match self {
            Self::Invite => SignUpPolicy::Invite,
            Self::Open => SignUpPolicy::Open,
            Self::Secret(_) => SignUpPolicy::Secret,
            Self::Closed => SignUpPolicy::Closed,
        }
    }

    /// Lets an applicant in; the hash is that of the invite to use up with the sign-up.
    pub(crate) fn admit(&self, admission: &Admission) -> Result<Option<[u8; 32]>, ErrorCode> {
        match (self, admission) {
            (Self::Open, _) => Ok(None),
            (Self::Invite, Admission::Invite(code)) => Ok(Some(invite_hash(code))),
            (Self::Invite, _) => Err(ErrorCode::BadInvite),
            (Self::Secret(secret), Admission::Secret(given)) => {
                // Over hashes, so that not even the length shows in the time.
                let hash = |text: &str| -> [u8; 32] { Sha256::digest(text).into() };
                match bool::from(hash(secret).ct_eq(&hash(given))) {
                    true => Ok(None),
                    false => Err(ErrorCode::BadSignUpSecret),
                }
            }
            (Self::Secret(_), _) => Err(ErrorCode::BadSignUpSecret),
            (Self::Closed, _) => Err(ErrorCode::SignUpClosed),
        }
    }
}

/// SHA-256 of an invite code as the store knows it. Hyphens, spaces, case and look-alike letters do not count.
pub fn invite_hash(code: &str) -> [u8; 32] {
    let plain: String = code
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '-')
        .map(|c| match c.to_ascii_lowercase() {
            'o' => '0',
            'i' | 'l' => '1',
            other => other,
        })
        .collect();
    Sha256::digest(plain).into()
}

/// A new invite code: 120 random bits in six groups of four. Fails only if the system has no random bytes.
pub fn new_invite_code() -> std::io::Result<String> {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
    let mut code = String::with_capacity(29);
    for (index, byte) in bytes.iter().enumerate() {
        if index > 0 && index % 4 == 0 {
            code.push('-');
        }
        // 256 is a multiple of 32, so each character is equally likely.
        code.push(char::from(*ALPHABET.get(usize::from(byte % 32)).unwrap_or(&b'0')));
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_people_type_it() {
        let code = new_invite_code().unwrap();
        assert_eq!(code.len(), 29);
        assert_ne!(code, new_invite_code().unwrap());
        assert_eq!(invite_hash(&code), invite_hash(&code.replace('-', " ").to_uppercase()));
        assert_eq!(invite_hash("0101"), invite_hash("oI-OL"));
        assert_ne!(invite_hash("abcd"), invite_hash("abce"));
    }

    #[test]
    fn each_rule_lets_in_only_its_own() {
        let secret = SignUpRule::Secret(Zeroizing::new("s3cret".into()));
        let (open, invite) = (Admission::Open, Admission::Invite("abcd".into()));
        assert_eq!(SignUpRule::Open.admit(&open), Ok(None));
        assert_eq!(SignUpRule::Open.admit(&invite), Ok(None));
        assert_eq!(SignUpRule::Invite.admit(&invite), Ok(Some(invite_hash("abcd"))));
        assert_eq!(SignUpRule::Invite.admit(&open), Err(ErrorCode::BadInvite));
        assert_eq!(secret.admit(&Admission::Secret("s3cret".into())), Ok(None));
        assert_eq!(secret.admit(&Admission::Secret("s3cres".into())), Err(ErrorCode::BadSignUpSecret));
        assert_eq!(secret.admit(&open), Err(ErrorCode::BadSignUpSecret));
        assert_eq!(SignUpRule::Closed.admit(&invite), Err(ErrorCode::SignUpClosed));
        assert!(!format!("{secret:?}").contains("s3cret"));
    }
}

//! What accounts may be called here, within what the protocol allows.

use waxwing_protocol::{ErrorCode, Refusal, Username};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usernames {
    /// The fewest characters.
    pub least: u8,
    /// The most.
    pub most: u8,
    /// Names that nobody gets. Signs between their letters and digits do not count.
    pub reserved: Vec<String>,
}

/// Names by which somebody could pose as the server or its operator.
const RESERVED: [&str; 14] = [
    "abuse",
    "admin",
    "administrator",
    "everyone",
    "help",
    "moderator",
    "operator",
    "postmaster",
    "root",
    "security",
    "server",
    "support",
    "system",
    "waxwing",
];

impl Default for Usernames {
    fn default() -> Self {
        Self { least: 3, most: 32, reserved: RESERVED.map(str::to_owned).to_vec() }
    }
}

fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

impl Usernames {
    /// Whether an account may be called so.
    pub(crate) fn check(&self, name: &Username) -> Result<(), Refusal> {
        let length = name.as_str().len();
        let (least, most) = (usize::from(self.least), usize::from(self.most));
        if !(least..=most).contains(&length) {
            let broken = if length < least { self.least } else { self.most };
            return Err(Refusal::numbered(ErrorCode::UsernameLength, broken.into()));
        }
        let name = plain(name.as_str());
        match self.reserved.iter().any(|reserved| plain(reserved) == name) {
            true => Err(ErrorCode::UsernameReserved.into()),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_names_and_lengths_are_refused_with_the_reason() {
        let rules = Usernames { least: 4, most: 8, reserved: vec!["Ad-Min".into()] };
        let check = |name: &str| rules.check(&name.parse().unwrap()).map_err(|refusal| (refusal.code, refusal.number));
        assert_eq!(check("alice"), Ok(()));
        assert_eq!(check("administ"), Ok(()));
        assert_eq!(check("bob"), Err((ErrorCode::UsernameLength, Some(4))));
        assert_eq!(check("bob-bob-bob"), Err((ErrorCode::UsernameLength, Some(8))));
        for posing in ["admin", "a.d_m-in", "admin-"] {
            assert_eq!(check(posing), Err((ErrorCode::UsernameReserved, None)), "{posing}");
        }
        Usernames::default().check(&"bob".parse().unwrap()).unwrap();
        Usernames::default().check(&"root".parse().unwrap()).unwrap_err();
    }
}

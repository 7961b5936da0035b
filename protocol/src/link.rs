//! The server's link: where it listens and which key it must show.
//!
//! `waxwing://host[:port][,host[:port]…]/#<pin>[?invite=CODE]`. The pin stands behind `#` so that no program that opens
//! the link as a URL sends it anywhere.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use std::{fmt, str::FromStr};

/// The port that a link without one means.
pub const DEFAULT_PORT: u16 = 7443;

/// SHA-256 of the server certificate's SubjectPublicKeyInfo (DER): the server's identity.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pin(pub [u8; 32]);

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({self})")
    }
}

impl FromStr for Pin {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| LinkError::Pin)?;
        bytes.try_into().map(Self).map_err(|_| LinkError::Pin)
    }
}

/// One address of the server: a host name or an IP address, and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// A host name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl FromStr for Address {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or(LinkError::Address)?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| LinkError::Address)?;
                match rest {
                    "" => (host, None),
                    _ => (host, Some(rest.strip_prefix(':').ok_or(LinkError::Address)?)),
                }
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let named = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
        if host.is_empty() || host.len() > 253 || !host.chars().all(named) {
            return Err(LinkError::Address);
        }
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or(LinkError::Port)?,
        };
        Ok(Self { host: host.to_owned(), port })
    }
}

/// A parsed link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// At least one address, tried in this order.
    pub addresses: Vec<Address>,
    /// The key that the server must show.
    pub pin: Pin,
    /// An invite code, where the link is an invitation.
    pub invite: Option<String>,
}

/// Why a text is no link; the message is for users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Another scheme or no `#`.
    #[error("a server link looks like waxwing://host:port/#key; copy it whole, in quotes")]
    Form,
    /// A host that is none.
    #[error("the host in the server link is not valid")]
    Address,
    /// A port that is none.
    #[error("the port in the server link is not a number from 1 to 65535")]
    Port,
    /// The part behind `#` is not 32 bytes in base64url.
    #[error("the key in the server link (the part after #) is damaged or cut off; copy the link whole, in quotes")]
    Pin,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("waxwing://")?;
        for (index, address) in self.addresses.iter().enumerate() {
            write!(f, "{}{address}", if index == 0 { "" } else { "," })?;
        }
        write!(f, "/#{}", self.pin)?;
        match &self.invite {
            Some(code) => write!(f, "?invite={code}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Link {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let rest = text.trim().strip_prefix("waxwing://").ok_or(LinkError::Form)?;
        let (addresses, fragment) = rest.split_once('#').ok_or(LinkError::Form)?;
        let addresses = addresses.strip_suffix('/').unwrap_or(addresses);
        let (pin, query) = match fragment.split_once('?') {
            Some((pin, query)) => (pin, Some(query)),
            None => (fragment, None),
        };
        let invite = query.into_iter().flat_map(|query| query.split('&'));
        let invite = invite.filter_map(|pair| pair.strip_prefix("invite=")).next().map(|code| code.trim().to_owned());
        // What has been printed must be read again as it was, and must do nothing to a terminal.
        if invite.as_ref().is_some_and(|code| code.contains(char::is_control)) {
            return Err(LinkError::Form);
        }
        Ok(Self {
            addresses: addresses.split(',').map(str::parse).collect::<Result<_, _>>()?,
            pin: pin.parse()?,
            invite: invite.filter(|code| !code.is_empty()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIN: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    #[test]
    fn a_link_survives_printing_and_reading() {
        for text in [
            format!("waxwing://chat.example:7443/#{PIN}"),
            format!("waxwing://[::1]:4000,10.0.0.1:4001/#{PIN}?invite=abcd-efgh"),
        ] {
            assert_eq!(text.parse::<Link>().unwrap().to_string(), text);
        }
        let short: Link = format!("waxwing://chat.example#{PIN}").parse().unwrap();
        assert_eq!(short.addresses[0].port, DEFAULT_PORT);
    }

    #[test]
    fn damaged_links_say_which_part_is_damaged() {
        let error = |text: &str| text.parse::<Link>().unwrap_err();
        assert_eq!(error("https://chat.example"), LinkError::Form);
        assert_eq!(error("waxwing://chat.example:7443/"), LinkError::Form);
        assert_eq!(error(&format!("waxwing://chat.example:99999/#{PIN}")), LinkError::Port);
        assert_eq!(error(&format!("waxwing://chat.example:0/#{PIN}")), LinkError::Port);
        assert_eq!(error(&format!("waxwing:///#{PIN}")), LinkError::Address);
        assert_eq!(error(&format!("waxwing://a b/#{PIN}")), LinkError::Address);
        assert_eq!(error(&format!("waxwing://chat.example/#{}", &PIN[1..])), LinkError::Pin);
        assert_eq!(error(&format!("waxwing://chat.example/#{PIN}?invite=ab\u{1b}[2J")), LinkError::Form);
    }
}

//! Tickets: signed statements of this process that a device has proven itself a moment ago, and the challenges for it.
//!
//! Both are JWTs (RFC 7519, EdDSA) under a key that follows from the data key and the server's pin, so every server that
//! shares both takes them, and nothing has to be remembered. A ticket opens the WebSocket and nothing else: inside, the device
//! authenticates as everywhere. Invariant: a ticket is never taken for a challenge, nor the other way round.

use crate::sealing::DataKey;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ed25519_dalek::{SigningKey, pkcs8::EncodePrivateKey as _};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, get_current_timestamp};
use serde::{Deserialize, Serialize};
use waxwing_protocol::{DeviceId, Pin};

/// How long a challenge may be answered.
pub(super) const CHALLENGE_SECONDS: u64 = 60;
/// How long a ticket opens the door.
pub(super) const TICKET_SECONDS: u64 = 600;

const CHALLENGE: &str = "waxwing challenge";
const TICKET: &str = "waxwing ticket";

#[derive(Serialize, Deserialize)]
struct Claims {
    /// The server's pin.
    iss: String,
    /// What it is good for.
    aud: String,
    /// Of a ticket: the device. Of a challenge: random.
    sub: String,
    /// Seconds since 1970.
    exp: u64,
}

/// See the module.
pub(crate) struct Tickets {
    sign: EncodingKey,
    verify: DecodingKey,
    pin: String,
}

/// No ticket could be made.
#[derive(Debug, thiserror::Error)]
#[error("no ticket could be made")]
pub(crate) struct TicketError;

impl Tickets {
    /// With the key of servers with this pin and data key.
    pub(crate) fn new(pin: &Pin, data_key: &DataKey) -> Result<Self, TicketError> {
        let key = SigningKey::from_bytes(&data_key.sub_key(b"waxwing ticket key v1", &pin.0));
        let document = key.to_pkcs8_der().map_err(|_| TicketError)?;
        Ok(Self {
            sign: EncodingKey::from_ed_der(document.as_bytes()),
            verify: DecodingKey::from_ed_der(key.verifying_key().as_bytes()),
            pin: pin.to_string(),
        })
    }

    /// Something new to sign.
    pub(super) fn challenge(&self) -> Result<String, TicketError> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|_| TicketError)?;
        self.make(CHALLENGE, BASE64_URL_SAFE_NO_PAD.encode(random), get_current_timestamp() + CHALLENGE_SECONDS)
    }

    /// Whether this is a challenge of ours that may still be answered.
    pub(super) fn is_challenge(&self, token: &str) -> bool {
        self.read(CHALLENGE, token).is_some()
    }

    /// A ticket for a device that has proven itself.
    pub(super) fn ticket(&self, device: DeviceId) -> Result<String, TicketError> {
        self.make(TICKET, device.to_string(), get_current_timestamp() + TICKET_SECONDS)
    }

    /// Whose ticket this is, if it is one that still counts.
    pub(super) fn device(&self, token: &str) -> Option<DeviceId> {
        self.read(TICKET, token)?.sub.parse().ok()
    }

    fn make(&self, audience: &str, subject: String, exp: u64) -> Result<String, TicketError> {
        let claims = Claims { iss: self.pin.clone(), aud: audience.to_owned(), sub: subject, exp };
        jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &self.sign).map_err(|_| TicketError)
    }

    fn read(&self, audience: &str, token: &str) -> Option<Claims> {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&[audience]);
        validation.set_issuer(&[&self.pin]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        validation.leeway = 0;
        jsonwebtoken::decode(token, &self.verify, &validation).ok().map(|data| data.claims)
    }
}

/// A signature as it stands in JSON.
pub(super) fn decode_signature(text: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: DeviceId = DeviceId([7; 16]);

    #[test]
    fn a_ticket_names_its_device_and_is_no_challenge() {
        let tickets = Tickets::new(&Pin([1; 32]), &DataKey::from_bytes([1; 32])).unwrap();
        let (ticket, challenge) = (tickets.ticket(DEVICE).unwrap(), tickets.challenge().unwrap());
        assert_eq!(tickets.device(&ticket), Some(DEVICE));
        assert_eq!(tickets.device(&challenge), None);
        assert!(tickets.is_challenge(&challenge) && !tickets.is_challenge(&ticket));
        assert_ne!(challenge, tickets.challenge().unwrap());
    }

    #[test]
    fn others_and_old_ones_open_nothing() {
        let tickets = Tickets::new(&Pin([1; 32]), &DataKey::from_bytes([1; 32])).unwrap();
        let node = Tickets::new(&Pin([1; 32]), &DataKey::from_bytes([1; 32])).unwrap();
        assert_eq!(tickets.device(&node.ticket(DEVICE).unwrap()), Some(DEVICE), "of another node");
        for others in [(Pin([1; 32]), [2; 32]), (Pin([2; 32]), [1; 32])] {
            let others = Tickets::new(&others.0, &DataKey::from_bytes(others.1)).unwrap();
            assert_eq!(tickets.device(&others.ticket(DEVICE).unwrap()), None, "of another server");
        }
        let expired = tickets.make(TICKET, DEVICE.to_string(), get_current_timestamp() - 1).unwrap();
        assert_eq!(tickets.device(&expired), None, "expired");
        let ticket = tickets.ticket(DEVICE).unwrap();
        let mut flipped = ticket.clone().into_bytes();
        let middle = flipped.len() / 2;
        flipped[middle] = if flipped[middle] == b'A' { b'B' } else { b'A' };
        assert_eq!(tickets.device(std::str::from_utf8(&flipped).unwrap()), None, "changed");
        let unsigned = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        let claims = ticket.split('.').nth(1).unwrap();
        assert_eq!(tickets.device(&format!("{unsigned}.{claims}.")), None, "unsigned");
    }
}

//! Who a connection is, as types: each state knows which requests it takes and what it becomes by them.
//!
//! `Greeting` → `Anonymous` → (`AccountProven` →) `Device`. Invariant: a request that a state does not take cannot reach
//! its handler. It must not know frames or sockets.

use crate::{
    connection::Answer,
    handler::{account, authentication, refusal},
    limits::{Origin, Seat},
    relay::{Context, now_ms},
    store::AccountId,
};
use waxwing_protocol::{DeviceId, ErrorCode, Hello, Pin, Refusal, Request, Response, ServerHello, Username, VERSIONS};

/// What is known of a connection's other end before anybody has said anything.
pub(crate) struct Peer {
    /// This TLS connection's own secret, which both ends know.
    pub(crate) exporter: [u8; 32],
    /// The key that was shown to it.
    pub(crate) pin: Pin,
    /// Where it comes from.
    pub(crate) origin: Origin,
    /// The device whose ticket was shown at the HTTP door: no other may authenticate.
    pub(crate) ticket: Option<DeviceId>,
}

/// Before the hello.
pub(crate) struct Greeting;

/// After the hello: may sign up, log in or authenticate.
pub(crate) struct Anonymous;

/// After a login: may change or delete the account and enrol a device.
pub(crate) struct AccountProven {
    pub(crate) account: AccountId,
    pub(crate) username: Username,
}

/// A signed-in device.
#[derive(Clone, Copy)]
pub(crate) struct Device {
    pub(crate) id: DeviceId,
    pub(crate) account: AccountId,
}

/// A device with its place among the sessions.
pub(crate) struct SignedIn {
    pub(crate) device: Device,
    #[expect(dead_code, reason = "the place is taken as long as this is there")]
    pub(crate) seat: Seat,
}

/// What follows a request.
pub(crate) enum Session {
    Anonymous(Anonymous),
    AccountProven(AccountProven),
    Device(SignedIn),
}

impl Greeting {
    /// Agrees on the highest version that both speak.
    pub(crate) fn handle(self, context: &Context, hello: Hello) -> Result<(ServerHello, Anonymous), Refusal> {
        let version = hello.highest.min(*VERSIONS.end());
        if version < hello.lowest.max(*VERSIONS.start()) {
            return Err(Refusal::numbered(ErrorCode::Version, u64::from(*VERSIONS.end())));
        }
        let accepted = ServerHello::Accepted {
            version,
            incarnation: context.store.incarnation(),
            time_ms: now_ms(),
            sign_up: context.current().rules.sign_up.policy(),
        };
        Ok((accepted, Anonymous))
    }
}

impl Anonymous {
    pub(crate) async fn handle(self, context: &Context, peer: &Peer, request: Request) -> (Session, Answer) {
        match request {
            Request::Ping => (Session::Anonymous(self), Ok(Response::Done)),
            Request::LoginParameters(username) => {
                let answer = account::login_parameters(context, peer, username).await.map_err(refusal);
                (Session::Anonymous(self), answer)
            }
            Request::SignUp(request) => self.device(account::sign_up(context, peer, *request).await.map_err(refusal)),
            Request::Authenticate { device, .. } if peer.ticket.is_some_and(|only| only != device) => {
                (Session::Anonymous(self), Err(ErrorCode::BadCredentials.into()))
            }
            Request::Authenticate { device, signature } => {
                let device = authentication::authenticate(context, peer, device, &signature.0).await;
                self.device(device.map_err(refusal))
            }
            Request::Login { username, authenticator, code, device } => {
                let login = account::Login { username, authenticator, code, device };
                match account::login(context, peer, login).await {
                    Ok((proven, vault)) => (Session::AccountProven(proven), Ok(Response::Vault(Box::new(vault)))),
                    Err(failure) => (Session::Anonymous(self), Err(refusal(failure))),
                }
            }
            _ => (Session::Anonymous(self), Err(ErrorCode::NotAuthenticated.into())),
        }
    }

    fn device(self, device: Result<SignedIn, Refusal>) -> (Session, Answer) {
        match device {
            Ok(device) => (Session::Device(device), Ok(Response::Done)),
            Err(refusal) => (Session::Anonymous(self), Err(refusal)),
        }
    }
}

impl AccountProven {
    pub(crate) async fn handle(self, context: &Context, peer: &Peer, request: Request) -> (Session, Answer) {
        match request {
            Request::Ping => (Session::AccountProven(self), Ok(Response::Done)),
            Request::EnrolDevice(request) => match account::enrol_device(context, peer, &self, *request).await {
                Ok(device) => (Session::Device(device), Ok(Response::Done)),
                Err(failure) => (Session::AccountProven(self), Err(refusal(failure))),
            },
            Request::ReviseAccount(request) => {
                let answer = account::revise(context, &self, *request).await.map_err(refusal);
                (Session::AccountProven(self), answer)
            }
            // Afterwards there is nothing that was proven.
            Request::DeleteAccount => {
                (Session::Anonymous(Anonymous), account::delete(context, self).await.map_err(refusal))
            }
            _ => (Session::AccountProven(self), Err(ErrorCode::NotAuthenticated.into())),
        }
    }
}

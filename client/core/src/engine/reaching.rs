//! Reaching the server: connecting and signing in, what a new connection begins with, and what its end means for whoever waits.
//!
//! Invariant: there is one connection at a time, and whoever waited for one that ends is told why. It must not know what travels
//! on it.

use super::{COMPARED, Engine, Online, PING, Reach, State, membership};
use crate::{
    Error, Event, key_packages,
    store::{self, chats, own},
    transport::{CallError, Connection, Guest, Incoming},
};
use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::Duration,
};
use tokio::{sync::mpsc, time::Instant};
use waxwing_e2ee::account::AuthenticationKey;
use waxwing_protocol::{DeviceId, Request, authentication_message};

impl Engine {
    pub(super) fn connect(&mut self) {
        let (link, device) = (self.link.clone(), DeviceId(self.own.device));
        let key = AuthenticationKey::from_bytes(&self.own.authentication_key);
        let guest = Guest { device, key, last: self.door, first: self.first };
        self.tell(&Event::Connection(Reach::Connecting));
        self.reach = State::Connecting(Box::pin(async move {
            let (connection, incoming) = Connection::open(&link, Some(&guest)).await?;
            let message = authentication_message(&connection.key.pin, &connection.exporter, &device);
            let signature = guest.key.sign(&message).to_vec().into();
            match connection.call(Request::Authenticate { device, signature }).await.map_err(CallError::into_error) {
                Err(Error::BadCredentials) => return Err(Error::SignedOut),
                answer => answer?,
            };
            connection.call(Request::Subscribe).await.map_err(CallError::into_error)?;
            Ok((connection, incoming))
        }));
    }

    pub(super) async fn welcome_connection(
        &mut self,
        connection: Connection,
        incoming: mpsc::Receiver<Incoming>,
    ) -> Result<(), Error> {
        if connection.key.pin != self.link.pin {
            self.link.pin = connection.key.pin;
            self.own.server = self.link.to_string();
            own::set_server(&self.db, &self.own.server)?;
            self.tell(&Event::ServerKeyReplaced);
        }
        if connection.door != self.door {
            self.door = connection.door;
            own::set_door(&self.db, self.door)?;
        }
        let incarnation = connection.greeting.incarnation;
        let restock = self.own.incarnation.is_some_and(|known| known != incarnation);
        if restock {
            self.begin_all_anew(&incarnation)?;
        }
        if self.own.incarnation != Some(incarnation) {
            own::set_incarnation(&self.db, &incarnation)?;
            self.own.incarnation = Some(incarnation);
        }
        if let Some((count, last_resort)) = key_packages::missing(&connection).await? {
            let own = &self.own;
            let batch =
                store::step("key-packages", &mut self.db, |tx| key_packages::make(tx, own, count, last_resort))?;
            key_packages::publish(&connection, batch).await?;
        }
        let (answer_to, answers) = mpsc::unbounded_channel();
        let unsettled = chats::unsettled(&self.db)?;
        // While the password is at hand: is this an old copy? Every chat tells it before it sends, these tell it now.
        let behind = match self.password {
            Some(_) => chats::busiest(&self.db, COMPARED)?.into_iter().collect(),
            None => BTreeSet::new(),
        };
        self.dirty.extend(&unsettled);
        self.reach = State::Online(Box::new(Online {
            connection,
            incoming,
            answers,
            answer_to,
            nobody: mpsc::unbounded_channel().0,
            checked: HashSet::new(),
            held: HashMap::new(),
            lanes: BTreeMap::new(),
            behind,
            asked: None,
            inbox_due: true,
            conversations_due: true,
            restock,
            entering: BTreeSet::new(),
            // The others have had their time.
            unsettled: unsettled.into_iter().map(|chat| (chat, membership::Pace::Now)).collect(),
            update_at: Instant::now(),
            inbox_seq: 0,
            heads_due: Some(None),
            caught_up: false,
            receipts_at: Some(Instant::now()),
            gaps: chats::active(&self.db)?.into_iter().collect(),
            telling_at: Some(Instant::now()),
            ping_at: Instant::now() + PING,
        }));
        self.look_after_backup()?;
        self.tell(&Event::Connection(Reach::Online));
        Ok(())
    }

    /// The connection is of no use any more, or never was: see [`Engine::fail`]. Tries again if that may help.
    pub(super) fn disconnect(&mut self, error: &Error) {
        self.kept.clear();
        let hopeless = matches!(
            error,
            Error::SignedOut
                | Error::AccountDisabled
                | Error::OldCopy
                | Error::Damaged(_)
                // The environment names a proxy that cannot be used.
                | Error::BadInput(_)
                | Error::ServerRestored
                | Error::WrongServer { .. }
        );
        let retry_in = (!hopeless).then(|| self.retries.next()).flatten();
        // What has just ended may be ending for everybody.
        self.first = self.first.wrapping_add(1);
        self.trouble = Some(error.clone());
        self.interrupt_backup(error);
        self.presence.forget(Instant::now()).iter().for_each(|event| self.tell(event));
        self.wishes.fail_all(error);
        self.reach = retry_in.map_or(State::Idle, |delay| State::Waiting(Instant::now() + delay));
        for waiting in self.waiting_for_caught_up.drain(..).chain(self.waiting_for_settled.drain(..)) {
            drop(waiting.send(Err(error.clone())));
        }
        for waiting in self.waiting_for_sent.drain().flat_map(|(_, waiting)| waiting) {
            drop(waiting.send(Err(error.clone())));
        }
        let reason = match (error.advice(), retry_in) {
            // Nothing comes back by itself: whoever reads this has to do something.
            (Some(advice), None) => format!("{error}; {advice}"),
            _ => error.to_string(),
        };
        self.tell(&Event::Connection(Reach::Offline { reason, retry_in }));
    }

    /// Why nothing can be sent or fetched now.
    pub(super) fn offline(&self) -> Error {
        self.trouble.clone().unwrap_or_else(|| Error::ConnectionLost("not connected".into()))
    }

    pub(super) fn note_caught_up(&mut self) {
        let State::Online(online) = &mut self.reach else { return };
        if online.caught_up || !online.entering.is_empty() {
            return;
        }
        online.caught_up = true;
        self.presence.due = true;
        self.password = None;
        // This one is of use: should it end, the next try comes soon.
        self.retries = retries();
        for waiting in self.waiting_for_caught_up.drain(..) {
            drop(waiting.send(Ok(())));
        }
        self.tell(&Event::CaughtUp);
    }
}

/// Half a second to half a minute, jittered, without end.
pub(super) fn retries() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(500))
        .with_max_delay(Duration::from_secs(30))
        .with_jitter()
        .without_max_times()
        .build()
}

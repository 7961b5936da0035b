//! The hub: which devices are connected to this process and which of them listen, and handing these what the store has
//! committed.
//!
//! Invariants: one connection per device listens, the newest; publishing never blocks and encodes each event once; all
//! connections of a device can be ended. It must not know sessions, stores or what is in an entry.

mod passing;

use crate::{
    connection::outbox::{End, Outbox},
    relay::now_ms,
    store::Publish,
};
use minicbor::{Encode, Encoder};
pub(crate) use passing::Passing;
use std::{
    collections::{HashMap, hash_map},
    convert::Infallible,
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock},
};
use waxwing_protocol::{Bytes, ConversationId, DeviceId, Entry, EntryBody, Event, InboxItem, ServerFrame};

/// More than an event takes beside its payload.
const HEAD: usize = 64;

/// See the module. Made before the store, which publishes to it.
#[derive(Debug, Default)]
pub struct Hub {
    listeners: RwLock<HashMap<DeviceId, Arc<Outbox>>>,
    /// All signed-in connections, whether they listen or not.
    connected: Mutex<HashMap<DeviceId, Vec<Connected>>>,
    /// Messages that nobody else keeps.
    pub(crate) passing: Passing,
    /// The other servers on the same database, if there are any.
    elsewhere: OnceLock<Box<dyn Elsewhere>>,
}

/// Who tells the hubs of other servers. It must not block.
pub(crate) trait Elsewhere: fmt::Debug + Send + Sync {
    /// Something happened here that concerns devices wherever they are connected.
    fn tell(&self, news: News<'_>);
}

/// What concerns devices that may be connected to other servers.
pub(crate) enum News<'a> {
    /// An event for these, encoded as a [`ServerFrame`].
    Event { devices: &'a [DeviceId], frame: &'a [u8] },
    /// One for everybody.
    ForAll { frame: &'a [u8] },
    /// Their connections end.
    Cut { devices: &'a [DeviceId], reason: End },
}

/// A signed-in connection.
#[derive(Debug)]
struct Connected {
    since_ms: u64,
    outbox: Arc<Outbox>,
}

/// A signed-in connection's place in the hub; it leaves on drop.
#[derive(Debug)]
pub(crate) struct Presence {
    hub: Arc<Hub>,
    device: DeviceId,
    outbox: Arc<Outbox>,
}

/// A device's place in the hub; it leaves on drop.
#[derive(Debug)]
pub(crate) struct Subscription {
    hub: Arc<Hub>,
    device: DeviceId,
    outbox: Arc<Outbox>,
}

impl Hub {
    /// An empty hub.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Counts a connection among the device's from now on.
    pub(crate) fn connect(self: &Arc<Self>, device: DeviceId, outbox: &Arc<Outbox>) -> Presence {
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        // Most have one.
        let connections = connected.entry(device).or_insert_with(|| Vec::with_capacity(1));
        connections.push(Connected { since_ms: now_ms(), outbox: Arc::clone(outbox) });
        Presence { hub: Arc::clone(self), device, outbox: Arc::clone(outbox) }
    }

    /// Whether one of these devices listens.
    pub(crate) fn any_listens(&self, devices: &[DeviceId]) -> bool {
        let listeners = self.listeners.read().unwrap_or_else(PoisonError::into_inner);
        devices.iter().any(|device| listeners.contains_key(device))
    }

    /// Ends all connections of devices that were removed.
    pub fn sign_out(&self, devices: &[DeviceId]) {
        self.cut(devices, End::Removed);
    }

    /// Tells others too, from now on. Once.
    pub(crate) fn tell_elsewhere(&self, elsewhere: Box<dyn Elsewhere>) {
        // A second one would be a mistake of the program's, and changes nothing.
        let _ = self.elsewhere.set(elsewhere);
    }

    /// Ends all connections of these devices at once, whether or not they read; returns how many were here.
    pub(crate) fn cut(&self, devices: &[DeviceId], reason: End) -> usize {
        if let Some(elsewhere) = self.elsewhere.get().filter(|_| !devices.is_empty()) {
            elsewhere.tell(News::Cut { devices, reason });
        }
        self.cut_here(devices, reason)
    }

    /// The same, of connections to this process alone.
    pub(crate) fn cut_here(&self, devices: &[DeviceId], reason: End) -> usize {
        let connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        let concerned = devices.iter().filter_map(|device| connected.get(device)).flatten();
        concerned.map(|one| one.outbox.cut(reason)).count()
    }

    /// Since when a device's connections are there, milliseconds since 1970.
    pub(crate) fn sessions(&self, device: DeviceId) -> Vec<u64> {
        let connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        connected.get(&device).into_iter().flatten().map(|one| one.since_ms).collect()
    }

    /// How many connections of signed-in devices there are.
    pub(crate) fn count(&self) -> usize {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner).values().map(Vec::len).sum()
    }

    /// The devices that are signed in here.
    pub(crate) fn signed_in(&self) -> Vec<DeviceId> {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// Says something to every device that listens; returns how many of those are here.
    pub(crate) fn announce(&self, text: &str, time_ms: u64) -> usize {
        let event = Event::Announcement { text: text.to_owned(), time_ms };
        let frame = waxwing_protocol::encode(&ServerFrame::Event(event)).0;
        if let Some(elsewhere) = self.elsewhere.get() {
            elsewhere.tell(News::ForAll { frame: &frame });
        }
        self.deliver_to_all(&frame)
    }

    /// Hands an encoded event to every device that listens here.
    pub(crate) fn deliver_to_all(&self, frame: &[u8]) -> usize {
        let listeners = self.listeners.read().unwrap_or_else(PoisonError::into_inner);
        listeners.values().map(|outbox| outbox.push_event(frame)).count()
    }

    /// Lets a device hear events on this outbox from now on; its earlier connection is closed.
    pub(crate) fn subscribe(self: &Arc<Self>, device: DeviceId, outbox: &Arc<Outbox>) -> Subscription {
        let earlier = self.listeners.write().unwrap_or_else(PoisonError::into_inner).insert(device, Arc::clone(outbox));
        if let Some(earlier) = earlier.filter(|earlier| !Arc::ptr_eq(earlier, outbox)) {
            earlier.close(End::Replaced);
        }
        Subscription { hub: Arc::clone(self), device, outbox: Arc::clone(outbox) }
    }

    /// Hands a signal to those of these devices that listen.
    pub(crate) fn signal(&self, recipients: &[DeviceId], conversation: ConversationId, payload: Bytes) {
        let event = ServerFrame::Event(Event::Signal { conversation, payload });
        self.publish(recipients, HEAD, |e| event.encode(e, &mut ()));
    }

    /// Hands what `encode` writes, of about `length` bytes, to those of these devices that listen.
    fn publish(
        &self,
        recipients: &[DeviceId],
        length: usize,
        encode: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> Encoded<()>,
    ) {
        let write = |bytes: &mut Vec<u8>| {
            // Writing to a Vec cannot fail.
            let _ = encode(&mut Encoder::new(bytes));
        };
        let listeners = self.listeners.read().unwrap_or_else(PoisonError::into_inner);
        let elsewhere = self.elsewhere.get().filter(|_| !recipients.is_empty());
        let mut listening = recipients.iter().filter_map(|device| listeners.get(device));
        let (first, second) = (listening.next(), listening.next());
        match (first, second, elsewhere) {
            (None, _, None) => return,
            // Most events: written where they are needed, without a copy.
            (Some(only), None, None) => return only.push_event_with(length, write),
            _ => {}
        }
        let mut frame = Vec::with_capacity(length);
        write(&mut frame);
        first.into_iter().chain(second).chain(listening).for_each(|outbox| outbox.push_event(&frame));
        if let Some(elsewhere) = elsewhere {
            elsewhere.tell(News::Event { devices: recipients, frame: &frame });
        }
    }

    /// Hands an encoded event to those of these devices that listen here.
    pub(crate) fn deliver(&self, devices: &[DeviceId], frame: &[u8]) {
        let listeners = self.listeners.read().unwrap_or_else(PoisonError::into_inner);
        devices.iter().filter_map(|device| listeners.get(device)).for_each(|outbox| outbox.push_event(frame));
    }

    /// Tells those of these devices that listen here that there is something for them to fetch.
    pub(crate) fn behind(&self, devices: &[DeviceId]) {
        self.deliver(devices, &waxwing_protocol::encode(&ServerFrame::Event(Event::Behind)).0);
    }
}

type Encoded<T> = Result<T, minicbor::encode::Error<Infallible>>;

/// Begins `ServerFrame::Event` (variant 2, one field) of an event variant with so many fields. Written by hand, so that
/// an entry is encoded from a reference; a test compares it with what the protocol crate writes.
fn event<'e, 'v>(
    e: &'e mut Encoder<&'v mut Vec<u8>>,
    variant: u32,
    fields: u64,
) -> Encoded<&'e mut Encoder<&'v mut Vec<u8>>> {
    e.array(2)?.u32(2)?.array(1)?.array(2)?.u32(variant)?.array(fields)
}

impl Publish for Hub {
    fn entry(&self, recipients: &[DeviceId], conversation: ConversationId, entry: &Entry) {
        // First: whoever is told of it may ask for it at once.
        self.passing.hold(conversation, entry);
        let length = match &entry.body {
            EntryBody::Application(payload) | EntryBody::Commit(payload) => HEAD + payload.0.len(),
            EntryBody::Own { .. } => HEAD,
        };
        self.publish(recipients, length, |e| {
            let e = event(e, 0, 2)?;
            conversation.encode(e, &mut ())?;
            entry.encode(e, &mut ())
        });
    }

    fn inbox(&self, device: DeviceId, item: &InboxItem) {
        self.publish(&[device], HEAD, |e| item.encode(event(e, 1, 1)?, &mut ()));
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut connected = self.hub.connected.lock().unwrap_or_else(PoisonError::into_inner);
        if let hash_map::Entry::Occupied(mut outboxes) = connected.entry(self.device) {
            outboxes.get_mut().retain(|one| !Arc::ptr_eq(&one.outbox, &self.outbox));
            if outboxes.get().is_empty() {
                outboxes.remove();
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut listeners = self.hub.listeners.write().unwrap_or_else(PoisonError::into_inner);
        if listeners.get(&self.device).is_some_and(|current| Arc::ptr_eq(current, &self.outbox)) {
            listeners.remove(&self.device);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_protocol::{Event, InboxNotice, ServerFrame};

    async fn next(outbox: &Outbox) -> Result<Vec<u8>, End> {
        let mut bytes = Vec::new();
        outbox.take(&mut bytes).await.map(|()| bytes.split_off(4))
    }

    #[tokio::test]
    async fn events_are_encoded_as_the_protocol_says() {
        let (hub, outbox, device) = (Hub::new(), Arc::new(Outbox::default()), DeviceId([1; 16]));
        let _subscription = hub.subscribe(device, &outbox);
        let conversation = ConversationId([2; 16]);
        let entry = Entry { seq: 3, time_ms: 4, body: EntryBody::Application(vec![5; 300].into()) };
        hub.entry(&[DeviceId([9; 16]), device], conversation, &entry);
        let expected = waxwing_protocol::encode(&ServerFrame::Event(Event::Entry { conversation, entry }));
        assert_eq!(next(&outbox).await, Ok(expected.0));
        let username = "bob".parse().unwrap();
        let item = InboxItem { seq: 1, notice: InboxNotice::DeviceListChanged { username, version: 2 } };
        hub.inbox(device, &item);
        let expected = waxwing_protocol::encode(&ServerFrame::Event(Event::Inbox(item)));
        assert_eq!(next(&outbox).await, Ok(expected.0));
    }

    #[tokio::test]
    async fn the_newest_connection_replaces_the_older_and_outlives_it() {
        let (hub, device) = (Hub::new(), DeviceId([1; 16]));
        let (old, new) = (Arc::new(Outbox::default()), Arc::new(Outbox::default()));
        let first = hub.subscribe(device, &old);
        let second = hub.subscribe(device, &new);
        assert_eq!(next(&old).await, Err(End::Replaced));
        drop(first);
        assert_eq!(hub.listeners.read().unwrap().len(), 1);
        drop(second);
        assert!(hub.listeners.read().unwrap().is_empty());
    }

    #[tokio::test]
    async fn all_connections_of_a_removed_device_end_and_no_others() {
        let (hub, device) = (Hub::new(), DeviceId([1; 16]));
        let outboxes: [Arc<Outbox>; 3] = Default::default();
        let [first, second, other] = &outboxes;
        let presences =
            [hub.connect(device, first), hub.connect(device, second), hub.connect(DeviceId([2; 16]), other)];
        hub.sign_out(&[device, DeviceId([3; 16])]);
        assert_eq!(next(first).await, Err(End::Removed));
        assert_eq!(next(second).await, Err(End::Removed));
        other.push_event(&[7]);
        assert_eq!(next(other).await, Ok(vec![7]));
        drop(presences);
        assert!(hub.connected.lock().unwrap().is_empty());
    }
}

//! What the server says unasked, after `Subscribe`. Events are hints: a lost one costs a fetch, never a message.

use crate::{Bytes, ConversationId, Entry, InboxItem};
use minicbor::{Decode, Encode};

/// An event.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Event {
    /// A new entry. Counts only if its seq is the device's cursor + 1; else fetch.
    #[n(0)]
    Entry {
        /// Where.
        #[n(0)]
        conversation: ConversationId,
        /// The entry.
        #[n(1)]
        entry: Entry,
    },
    /// A new item in this device's inbox.
    #[n(1)]
    Inbox(#[n(0)] InboxItem),
    /// This connection read too slowly and events were left out: ask for `Heads` and the inbox.
    #[n(2)]
    Behind,
    /// The server is about to end the connection in an orderly way; connect again.
    #[n(3)]
    Draining,
    /// A message from the server's operator to everybody who is connected. It is kept nowhere.
    #[n(10)]
    Announcement {
        /// At most `ANNOUNCEMENT` bytes; foreign text, like any message.
        #[n(0)]
        text: String,
        /// When it was made, milliseconds since 1970.
        #[n(1)]
        time_ms: u64,
    },
    /// Another device of a conversation has handed this over: a hint that nobody keeps.
    #[n(20)]
    Signal {
        /// Where.
        #[n(0)]
        conversation: ConversationId,
        /// The ciphertext.
        #[n(1)]
        payload: Bytes,
    },
}

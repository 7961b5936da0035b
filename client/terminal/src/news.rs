//! What is said of things that happen besides messages: identities, devices, the server. The line-by-line chat and the
//! chat screen say the same. Every text of others is sanitised here.

use crate::{
    output::{ENROLLED_ANEW, SERVER_KEY_REPLACED, announcement},
    sanitise::{Breaks, sanitise},
};
use waxwing_core::Event;

/// Something to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct News {
    /// The chat that it is about; none if it is about all of them.
    pub(crate) about: Option<String>,
    /// Whether it is about trust: it must not be overlooked, whichever chat is open.
    pub(crate) grave: bool,
    /// What, safe to show.
    pub(crate) words: String,
}

impl News {
    /// What there is to say of an event; none if it says itself, or concerns nobody.
    pub(crate) fn of(event: &Event, me: &str) -> Option<Self> {
        let safe = |text: &str| sanitise(text, Breaks::Spaces);
        let (about, grave, words) = match event {
            Event::IdentityChanged { username } => {
                let words = format!(
                    "the identity of {} has changed: nothing is sent to them. Ask them, by another way than this chat, \
                     whether they made a new account; 'waxwing trust' accepts it",
                    safe(username)
                );
                (Some(username), true, words)
            }
            Event::IdentityRenewed { username, verified } => {
                let again = match verified {
                    true => ". You had compared the former one: compare again with 'waxwing verify'",
                    false => "",
                };
                let username_safe = safe(username);
                let words = format!("{username_safe} has a new identity, which the former one vouches for{again}");
                (Some(username), *verified, words)
            }
            Event::DeviceAdded { username, name, .. } if username == me => {
                let name = name.as_ref().map_or_else(String::new, |name| format!(" '{}'", safe(name)));
                let words = format!(
                    "your account has a new device{name}: if that was not you, sign it out and change your password"
                );
                (None, true, words)
            }
            Event::DeviceAdded { username, .. } => {
                (Some(username), false, format!("{} has a new device", safe(username)))
            }
            Event::DeviceRemoved { username, .. } if username == me => {
                (None, false, "a device of your account was signed out".to_owned())
            }
            Event::DeviceRemoved { username, .. } => {
                (Some(username), false, format!("{} signed a device out", safe(username)))
            }
            Event::EnrolledAnew { .. } => (None, false, ENROLLED_ANEW.to_owned()),
            Event::ServerKeyReplaced => (None, false, SERVER_KEY_REPLACED.to_owned()),
            Event::Profile { username, full_name: Some(full_name) } if full_name != username => {
                (Some(username), false, format!("{} is {}", safe(username), safe(full_name)))
            }
            Event::Announcement { text, .. } => (None, false, announcement(text)),
            Event::Restored(progress) if progress.total > 0 => {
                (None, false, format!("{} of {} messages restored", progress.done, progress.total))
            }
            _ => return None,
        };
        Some(Self { about: about.cloned(), grave, words })
    }

    /// Whether it is said in this chat.
    pub(crate) fn concerns(&self, chat: &str) -> bool {
        self.grave || self.about.as_deref().is_none_or(|about| about == chat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_trust_is_said_everywhere_and_the_rest_where_it_belongs() {
        let news = |event| News::of(&event, "alice").unwrap();
        let changed = news(Event::IdentityChanged { username: "bob".into() });
        assert!(changed.grave && changed.concerns("carol"));
        let added = |username: &str| Event::DeviceAdded {
            username: username.into(),
            device: "00".into(),
            name: Some("la\u{1b}[2Jptop".into()),
            since: 0,
        };
        assert!(news(added("alice")).grave && news(added("alice")).words.contains("'la␛[2Jptop'"));
        assert!(news(added("bob")).concerns("bob") && !news(added("bob")).concerns("carol"));
        assert_eq!(News::of(&Event::CaughtUp, "alice"), None);
        assert!(news(Event::Announcement { text: "x".into(), time_ms: 0 }).concerns("carol"));
    }
}

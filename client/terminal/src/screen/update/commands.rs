//! What commands and the keys of a selected message do.

use super::{Effect, line};
use crate::{
    chat::typed::{Deed, Typed},
    command::preferences::timer_words,
    file_commands::{FileTyped, Which},
    output::action,
    screen::{
        model::{Model, Overlay, Purpose},
        safe,
        window::{Key, key},
    },
};
use waxwing_core::{ChatKind, Content, Message};

impl Model {
    /// Does what a command says. One that cannot be done stays to be corrected.
    pub(super) fn obey(&mut self, command: Typed) -> Vec<Effect> {
        let open = self.open.clone();
        let here = |what: fn(String) -> Effect| open.clone().map(what).into_iter().collect::<Vec<_>>();
        let effects = match command {
            Typed::Mistyped(why) => {
                self.complain(safe(&why));
                return Vec::new();
            }
            Typed::Quit => {
                self.composer.take();
                return self.leave();
            }
            Typed::Msg { user, text } => vec![Effect::Open { name: user, text: Some(text) }],
            Typed::Help => self.lay(Overlay::Help(0)),
            Typed::Users => {
                let all = open.as_deref().is_none_or(|open| ChatKind::of(open) == ChatKind::Direct);
                vec![Effect::Users { chat: open.unwrap_or_default(), all }]
            }
            Typed::Hide(hidden) => vec![Effect::Hide(hidden)],
            Typed::Nick(name) => vec![Effect::Nick(name)],
            Typed::File(command) => match open {
                Some(chat) => {
                    if matches!(command, FileTyped::Send(..)) {
                        self.say("reading the file…".to_owned());
                    }
                    vec![Effect::File { chat, command }]
                }
                None => {
                    self.complain("open a chat first".to_owned());
                    return Vec::new();
                }
            },
            Typed::Group(command) => vec![Effect::Group { chat: open.unwrap_or_default(), command }],
            Typed::Verify(user) => {
                let Some(name) = user.or(open) else {
                    self.complain("/verify needs a user here: /verify bob".to_owned());
                    return Vec::new();
                };
                self.lay(Overlay::Verify { name: name.clone(), identity: None });
                vec![Effect::Identity(name)]
            }
            Typed::Search(query) => self.search_everywhere(query),
            Typed::Deed { back, deed } => match self.deed(back, deed) {
                Some(effects) => effects,
                None => {
                    self.complain("there is no such message here".to_owned());
                    return Vec::new();
                }
            },
            Typed::Last(_) => {
                self.say("Up selects a message: R answers it, E changes it, D deletes it, + reacts, P pins".to_owned());
                Vec::new()
            }
            Typed::Pins => {
                self.lay(Overlay::Found { title: PINNED.to_owned(), hits: None, chosen: 0 });
                here(Effect::Pins)
            }
            Typed::Timer(None) => {
                let chat = open.unwrap_or_default();
                let timer = self.entry(&chat).and_then(|entry| entry.timer);
                self.say(timer_words(&chat, timer));
                Vec::new()
            }
            Typed::Timer(Some(span)) => {
                let seconds = span.seconds();
                open.map(|chat| Effect::SetTimer { chat, seconds }).into_iter().collect()
            }
            Typed::Mute(span) => {
                let seconds = span.and_then(|span| span.seconds());
                let muted = span.is_none_or(|span| span.seconds().is_some());
                let until = seconds.map(|seconds| self.now.saturating_add(u64::from(seconds) * 1000));
                open.map(|chat| Effect::Mute { chat, muted, until }).into_iter().collect()
            }
            Typed::Block { user, blocked } => {
                // In an invitation into a group it is who invites.
                let inviter =
                    open.as_deref().and_then(|open| self.entry(open)).and_then(|chat| chat.invited_by.clone());
                user.or(inviter).or(open).map(|user| Effect::Block { user, blocked }).into_iter().collect()
            }
            Typed::Accept(user) => user.or(open).map(Effect::Accept).into_iter().collect(),
            Typed::Decline(name) => name.or(open).map(Effect::Decline).into_iter().collect(),
            Typed::Requests => {
                let request = self.chats.iter().find(|chat| chat.request && !chat.blocked);
                match request.map(|chat| chat.name.clone()) {
                    Some(name) => {
                        self.composer.take();
                        return self.open_chat(&name);
                    }
                    None => {
                        self.say("no requests".to_owned());
                        Vec::new()
                    }
                }
            }
            Typed::Empty | Typed::Say(_) => return Vec::new(),
        };
        self.composer.take();
        effects
    }

    fn lay(&mut self, overlay: Overlay) -> Vec<Effect> {
        self.overlay = Some(overlay);
        Vec::new()
    }

    /// Looks in all chats.
    pub(super) fn search_everywhere(&mut self, query: String) -> Vec<Effect> {
        self.lay(Overlay::Found { title: query.clone(), hits: None, chosen: 0 });
        vec![Effect::Search(query)]
    }

    /// What is to be done with the nth newest message, or with the one that one would mean.
    fn deed(&mut self, back: Option<usize>, deed: Deed) -> Option<Vec<Effect>> {
        let chat = self.open.clone()?;
        let window = self.window()?;
        let own = matches!(deed, Deed::Edit(_) | Deed::Delete);
        // Files are answered and deleted like texts; only texts are changed.
        let changes = matches!(deed, Deed::Edit(_));
        let able = |message: &&Message| match message.content {
            Content::Text(_) => true,
            Content::File(_) => !changes,
            _ => false,
        };
        let mut newest = window.messages.iter().rev();
        let message = key(match back {
            Some(back) => newest.nth(back.checked_sub(1)?)?,
            None => newest.find(|message| able(message) && (message.from == self.me) == own)?,
        });
        Some(vec![match deed {
            Deed::Reply(text) => Effect::Queue { chat, text, reply_to: Some(message) },
            Deed::Edit(text) => Effect::Edit { chat, message, text },
            Deed::Delete => Effect::Delete { chat, message },
            Deed::React { emoji, add } => Effect::React { chat, message, emoji, add },
            Deed::Pin(pinned) => Effect::Pin { chat, message, pinned },
        }])
    }

    /// What a key does with the selected message; none if it does nothing with one. `deleting` is the message that this
    /// key deletes if it is the one that says so.
    pub(super) fn deed_key(&mut self, key_pressed: char, deleting: Option<Key>) -> Option<Vec<Effect>> {
        let chat = self.open.clone()?;
        let message = self.selected_message()?.clone();
        let (selected, mine) = (key(&message), message.from == self.me);
        let text = match &message.content {
            Content::Text(text) => Some(text.clone()),
            _ => None,
        };
        let says_something = matches!(message.content, Content::Text(_) | Content::File(_));
        match (key_pressed.to_ascii_lowercase(), text) {
            ('y', _) => {
                let text = self.selected_text()?;
                self.selected = None;
                self.say("copied".to_owned());
                return Some(vec![Effect::Copy(text)]);
            }
            ('o' | 's', None) if says_something => {
                self.selected = None;
                let which = Which::Id(message.id);
                let command = if key_pressed.eq_ignore_ascii_case(&'o') {
                    FileTyped::Open(which)
                } else {
                    FileTyped::Save(which)
                };
                return Some(vec![Effect::File { chat, command }]);
            }
            ('r', _) if says_something => {
                self.selected = None;
                self.purpose = Purpose::Reply(selected);
            }
            ('e', Some(text)) if mine => {
                self.selected = None;
                self.purpose = Purpose::Edit(selected);
                // As it would have to be typed.
                let escaped = text.starts_with('/') && action(&text).is_none();
                self.composer.set(if escaped { format!("/{text}") } else { text });
            }
            ('e', Some(_)) => self.complain("only its author can change a message".to_owned()),
            ('d', _) if deleting.as_ref() == Some(&selected) => {
                (self.selected, self.toast) = (None, None);
                return Some(vec![Effect::Delete { chat, message: selected }]);
            }
            ('d', _) if mine => {
                self.say("D once more deletes it for everybody".to_owned());
                self.deleting = Some(selected);
            }
            ('d', _) if ChatKind::of(&chat) != ChatKind::Direct => {
                self.say("D once more deletes it for everybody, if you are an admin here".to_owned());
                self.deleting = Some(selected);
            }
            ('d', _) => self.complain("only its author can delete a message here".to_owned()),
            ('+', _) if says_something => self.overlay = Some(Overlay::React { message: selected, typed: line("") }),
            ('p', _) if says_something => {
                self.selected = None;
                return Some(vec![Effect::Pin { chat, message: selected, pinned: !message.pinned }]);
            }
            ('r' | 'e' | '+' | 'p', None) => self.complain("that is no text".to_owned()),
            _ => return None,
        }
        Some(Vec::new())
    }

    /// An emoji goes under the message, or away if it is there.
    pub(super) fn react(&mut self, message: Key, emoji: String) -> Vec<Effect> {
        (self.overlay, self.selected) = (None, None);
        let Some((chat, window)) = self.open.clone().zip(self.window()) else { return Vec::new() };
        let there = window.position(&message).and_then(|at| window.messages.get(at)).is_some_and(|message| {
            message.reactions.iter().any(|reaction| reaction.emoji == emoji && reaction.by.contains(&self.me))
        });
        vec![Effect::React { chat, message, emoji, add: !there }]
    }
}

/// The title of what is pinned.
pub(in crate::screen) const PINNED: &str = "Pinned";

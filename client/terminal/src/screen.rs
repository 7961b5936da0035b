//! The chat screen: all chats in one terminal, for people.
//!
//! `model` is what it knows, `update` how that changes, `view` how it looks: all three without terminal, profile or
//! network. `runtime` brings them together with those. Texts of others reach the terminal through `sanitise` alone.

mod blocks;
mod completion;
mod composer;
mod keys;
mod layout;
mod model;
mod picture;
mod runtime;
mod scroll;
mod settings;
mod terminal;
mod text;
mod theme;
mod update;
mod view;
mod window;

pub(crate) use keys::KeyTable;
pub(crate) use runtime::run;
pub(crate) use settings::{ScreenTable, Settings};

use crate::sanitise::{Breaks, sanitise};
use std::io::{self, IsTerminal as _};
use waxwing_core::Chat;

/// Whether this terminal can show it, and nothing forbids it.
pub(crate) fn is_possible(plain: bool) -> bool {
    !plain && io::stdin().is_terminal() && io::stdout().is_terminal() && !dialoguer::console::is_dumb()
}

/// A foreign text on one line.
fn safe(text: &str) -> String {
    sanitise(text, Breaks::Spaces)
}

/// What a chat is called: what its group is called, else its name.
fn label(chat: &Chat) -> String {
    match &chat.title {
        _ if chat.request && chat.invited_by.is_some() => {
            format!("by {}", safe(chat.invited_by.as_deref().unwrap_or_default()))
        }
        // Where another one is called the same, or looks the same, the id tells them apart.
        Some(title) if chat.name.starts_with('+') && !title.is_empty() => match &chat.looks_like {
            Some(_) => format!("{} ({})", safe(title), safe(&chat.name)),
            None => safe(title),
        },
        _ => safe(&chat.name),
    }
}

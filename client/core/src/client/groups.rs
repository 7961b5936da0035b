//! Groups and rooms for front ends.

use crate::{
    ChatKind, ChatMember, Client, Error, GroupInfo, Room, Wish, address,
    engine::{Command, GroupCommand},
    store::{
        self,
        chats::{self, Phase},
        contacts,
    },
};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::timeout;
use waxwing_e2ee::mls::{Group, Mls};

impl Client {
    /// Makes a private group with these other users; returns the chat's name. Needs the server.
    pub async fn create_group(&self, title: &str, members: &[String]) -> Result<String, Error> {
        let (title, members) = (title.to_owned(), members.to_vec());
        self.ask(|reply| Command::Group(GroupCommand::Create { title, members, reply })).await
    }

    /// Comes into a public room, or makes it if there is none; returns the chat's name once this device is in it.
    pub async fn join_room(&self, name: &str, limit: Duration) -> Result<String, Error> {
        let name = name.to_owned();
        let late = || Error::TimedOut("nobody has let this device into the room yet; it goes on trying".into());
        let joined = self.ask(|reply| Command::Group(GroupCommand::Join { name, reply }));
        timeout(limit, joined).await.map_err(|_| late())?
    }

    /// Changes a group or room; waits until the change is in force for all. Needs the server, and mostly an admin.
    pub async fn change_group(&self, chat: &str, wish: Wish, limit: Duration) -> Result<(), Error> {
        let chat = chat.to_owned();
        let late = || Error::TimedOut("the change was not taken in time; it may still be".into());
        let changed = self.ask(|reply| Command::Group(GroupCommand::Change { chat, wish, reply }));
        timeout(limit, changed).await.map_err(|_| late())?
    }

    /// Leaves a group or room, with all devices of the account. The history stays.
    pub async fn leave_group(&self, chat: &str) -> Result<(), Error> {
        let chat = chat.to_owned();
        self.ask(|reply| Command::Group(GroupCommand::Leave { chat, reply })).await
    }

    /// The public rooms of the server, by name.
    pub async fn rooms(&self) -> Result<Vec<Room>, Error> {
        self.ask(|reply| Command::Group(GroupCommand::Rooms { reply })).await
    }

    /// A group or room as this device knows it.
    pub async fn group(&self, chat: &str) -> Result<GroupInfo, Error> {
        let (chat, own) = (chat.to_owned(), self.whoami().await?.username);
        self.database(move |db| {
            let name = address::resolve(db, &chat)?;
            let row = chats::by_name(db, &name)?.ok_or_else(|| Error::UnknownChat(name.clone()))?;
            let kind = ChatKind::of(&name);
            if kind == ChatKind::Direct {
                return Err(Error::NotAGroup(name));
            }
            let (Phase::Active, Some(id)) = (row.phase, row.conversation) else { return Err(Error::NotInChat(name)) };
            store::in_transaction(db, |tx| {
                let mls = Mls::new(tx);
                let group = Group::load(&mls, &id).map_err(|error| crate::mls_error(&error))?;
                let group = group.ok_or_else(|| Error::Storage("the keys of a chat are missing".into()))?;
                let devices = group.members().map_err(|error| crate::mls_error(&error))?;
                let count = |name: &str| devices.iter().filter(|one| one.username == name).count() as u64;
                let rules = group.rules();
                // Who has come into a room by themselves is in it, although the rules do not name them before the next commit.
                let guests = devices.iter().map(|one| &one.username);
                let usernames: BTreeSet<&String> =
                    rules.participants().iter().map(|one| &one.username).chain(guests).collect();
                let mut members = Vec::new();
                for username in usernames {
                    let contact = contacts::load(tx, username)?;
                    members.push(ChatMember {
                        full_name: contact.and_then(|contact| contact.full_name),
                        admin: rules.is_admin(username),
                        devices: count(username),
                        you: *username == own,
                        username: username.clone(),
                    });
                }
                let about = rules.about().cloned().unwrap_or_default();
                let (title, topic, history) = (about.name, about.topic, about.history);
                let admin = rules.is_admin(&own);
                Ok(GroupInfo { chat: name, kind, title, topic, history, admin, members })
            })
        })
        .await
    }
}

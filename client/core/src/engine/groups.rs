//! Groups and rooms as their members command them: making one, coming into a room, changing, leaving.
//!
//! The invariant: whoever asked hears what became of it, and a group that this account is not in any more keeps its history and
//! no keys. It must not know how commits travel, nor who may do what: the group's rules say so.

use super::{Engine, Reply, State, creation, eras::End, roster, settings};
use crate::{
    ChatKind, Error, Event, Room, Wish,
    account::username,
    address,
    directory::VerifiedAccount,
    random,
    store::{
        self,
        chats::{self, ChatId, ChatRow, Phase},
        groups,
        own::Own,
        successions,
    },
    transport::{CallError, unexpected},
};
use rand_core::Rng as _;
use rusqlite::Connection as Database;
use waxwing_e2ee::mls::{About, GroupRules, JoinKey, Kind, Mls, Participant, Role};
use waxwing_protocol::{
    Bytes, ConversationId, ConversationKind, CreateConversation, DeviceId, ErrorCode, Handshake, Request, Response,
    RoomInfo, Roster, encode, limits,
};

/// The most devices that one commit brings into a group; more would not fit into one handshake of a large group.
pub(super) const TOGETHER: usize = 24;

/// What the client's handle asks about groups.
pub(crate) enum GroupCommand {
    /// Makes a private group.
    Create { title: String, members: Vec<String>, reply: Reply<String> },
    /// Comes into a room, or makes it.
    Join { name: String, reply: Reply<String> },
    /// Changes a group.
    Change { chat: String, wish: Wish, reply: Reply<()> },
    /// Leaves a group or room.
    Leave { chat: String, reply: Reply<()> },
    /// The public rooms, and the server's default one.
    Rooms { reply: Reply<Vec<Room>> },
}

impl Engine {
    pub(super) async fn handle_group(&mut self, command: GroupCommand) {
        match command {
            GroupCommand::Create { title, members, reply } => {
                drop(reply.send(self.create_group(&title, &members).await));
            }
            GroupCommand::Join { name, reply } => match self.join_room(&name).await {
                Ok((chat, None)) => self.wishes.entering.push((chat, reply)),
                Ok((_, Some(name))) => drop(reply.send(Ok(name))),
                Err(error) => drop(reply.send(Err(error))),
            },
            GroupCommand::Change { chat, wish, reply } => match self.group_chat(&chat) {
                Ok(row) => self.wish(&row, wish, reply),
                Err(error) => drop(reply.send(Err(error))),
            },
            GroupCommand::Leave { chat, reply } => drop(reply.send(self.leave_group(&chat).await)),
            GroupCommand::Rooms { reply } => drop(reply.send(self.rooms().await)),
        }
    }

    /// The group that a user means, if this device is connected.
    fn group_chat(&self, chat: &str) -> Result<ChatRow, Error> {
        if !matches!(self.reach, State::Online(_)) {
            return Err(self.offline());
        }
        let name = address::resolve(&self.db, chat)?;
        let row = chats::by_name(&self.db, &name)?.ok_or_else(|| Error::UnknownChat(name.clone()))?;
        match (ChatKind::of(&name), row.phase) {
            (ChatKind::Direct, _) => Err(Error::NotAGroup(name)),
            (_, Phase::Over) => Err(Error::NotInChat(name)),
            _ => Ok(row),
        }
    }

    async fn rooms(&mut self) -> Result<Vec<Room>, Error> {
        let mut all: Vec<RoomInfo> = Vec::new();
        let default = loop {
            let State::Online(online) = &self.reach else { return Err(self.offline()) };
            let after = all.last().map(|room| room.name.clone());
            let answer = online.connection.call(Request::Rooms { after: after.clone() }).await;
            let Response::Rooms(page) = answer.map_err(CallError::into_error)? else { return Err(unexpected()) };
            if page.rooms.iter().any(|room| after.as_ref().is_some_and(|after| room.name <= *after)) {
                return Err(Error::ServerMisbehaves("the list of rooms goes in circles".into()));
            }
            let full = page.rooms.len() >= limits::PAGE_ENTRIES as usize;
            all.extend(page.rooms);
            if !full {
                break page.default;
            }
        };
        if let Some(name) = default.clone().filter(|name| all.iter().all(|room| room.name != *name)) {
            all.push(RoomInfo { name, members: 0 });
        }
        let room = |info: RoomInfo| {
            let name = info.name.to_string();
            let row = chats::by_name(&self.db, &name)?;
            let joined = row.is_some_and(|row| row.phase == Phase::Active);
            Ok(Room { name, members: info.members, joined, is_default: default.as_ref() == Some(&info.name) })
        };
        all.into_iter().map(room).collect()
    }

    /// A new account comes into the server's default room, once.
    pub(super) async fn join_default_room(&mut self) -> Result<(), Error> {
        if !groups::default_room_due(&self.db)? {
            return Ok(());
        }
        let rooms = match self.rooms().await {
            // A server from before rooms.
            Err(Error::Refused(_)) => Vec::new(),
            rooms => rooms?,
        };
        if let Some(room) = rooms.into_iter().find(|room| room.is_default) {
            match self.join_room(&room.name).await {
                Ok(_) => {}
                Err(error @ (Error::Refused(_) | Error::Untrusted { .. } | Error::IdentityChanged(_))) => {
                    tracing::warn!(%error, room = room.name, "the server's default room");
                }
                Err(error) => return Err(error),
            }
        }
        groups::set_default_room_due(&self.db, false)
    }

    /// Takes part in a room; makes it if there is none. Its name if this device is in it already.
    async fn join_room(&mut self, name: &str) -> Result<(ChatId, Option<String>), Error> {
        let room = address::room(name)?;
        for _ in 0..2 {
            let known = chats::by_name(&self.db, &room.to_string())?;
            if let Some(row) = known.filter(|row| row.phase == Phase::Active) {
                return Ok((row.chat, Some(row.name)));
            }
            let State::Online(online) = &self.reach else { return Err(self.offline()) };
            let answer = online.connection.call(Request::JoinRoom(room.clone())).await;
            if answer.is_ok() {
                self.want(&room.to_string())?;
            }
            match answer {
                Ok(Response::Room(conversation)) => {
                    return Ok((self.await_room(&room.to_string(), conversation)?, None));
                }
                Ok(_) => return Err(unexpected()),
                Err(CallError::Refused(refusal)) if refusal.code == ErrorCode::UnknownRoom => {
                    let kind = ConversationKind::Room(room.clone());
                    match self.make_group(kind, room.as_str(), &[]).await {
                        // Somebody was faster: it is there now.
                        Err(Error::Refused(_)) => {}
                        made => {
                            let name = made?;
                            let row = chats::by_name(&self.db, &name)?.ok_or_else(unexpected)?;
                            return Ok((row.chat, Some(name)));
                        }
                    }
                }
                Err(error) => return Err(error.into_error()),
            }
        }
        Err(Error::Refused(format!("the room {room} cannot be joined now")))
    }

    /// This account takes part in a room, says the server: somebody lets this device in, or it does so itself.
    fn await_room(&mut self, name: &str, conversation: ConversationId) -> Result<ChatId, Error> {
        let row = store::in_transaction(&mut self.db, |tx| {
            if chats::by_conversation(tx, &conversation.0)?.is_some_and(|other| other.name != name) {
                return Err(Error::ServerMisbehaves("it named another chat as this room".into()));
            }
            let row = chats::ensure(tx, name)?;
            if row.conversation.is_some_and(|known| known != conversation.0) {
                creation::delete_group(tx, &row.conversation.unwrap_or_default())?;
                chats::begin_era(tx, row.chat)?;
            }
            chats::set_waiting(tx, row.chat, &conversation.0)?;
            chats::set_join_key(tx, row.chat, JoinKey::of_room(&conversation.0).as_bytes())?;
            Ok(row)
        })?;
        self.note_outside(row.chat);
        Ok(row.chat)
    }

    async fn create_group(&mut self, title: &str, members: &[String]) -> Result<String, Error> {
        if members.len() > TOGETHER {
            let most = format!("a group begins with at most {TOGETHER} others; invite more when it is there");
            return Err(Error::BadInput(most));
        }
        self.make_group(ConversationKind::Group, title, members).await
    }

    /// Makes a group with these members, and waits for the server's answer.
    async fn make_group(&mut self, kind: ConversationKind, title: &str, members: &[String]) -> Result<String, Error> {
        check_title(title)?;
        if !matches!(self.reach, State::Online(_)) {
            return Err(self.offline());
        }
        let me = self.own.username.clone();
        let mut accounts = vec![self.meet(&me).await?];
        for name in members {
            let name = username(name)?.to_string();
            if accounts.iter().all(|one| one.username != name) {
                accounts.push(self.meet(&name).await?);
            }
        }
        let mut packages = Vec::new();
        for account in &accounts {
            packages.extend(self.claim(account).await?);
        }
        let mut id = [0; 16];
        random().fill_bytes(&mut id);
        let (kind_here, name, key) = match &kind {
            ConversationKind::Room(room) => (Kind::Room, room.to_string(), JoinKey::of_room(&id)),
            _ => (Kind::Group, address::group(&id), JoinKey::generate(&mut random())),
        };
        let participants = accounts.iter().map(|one| founder(one, &me)).collect();
        let rules = GroupRules::group(kind_here, About::named(title), participants, key)
            .map_err(|error| Error::BadInput(error.to_string()))?;
        let own = &self.own;
        let chat = store::step("create", &mut self.db, |tx| {
            let row = chats::ensure(tx, &name)?;
            if let Some(former) = row.conversation {
                creation::delete_group(tx, &former)?;
                chats::begin_era(tx, row.chat)?;
            }
            let handshake = handshake_with(tx, own, &id, &rules, &packages, &accounts, &me)?;
            let creation = CreateConversation { id: ConversationId(id), kind, handshake, replaces: None };
            chats::set_creating(tx, row.chat, &id, &encode(&creation).0)?;
            roster::set_about(tx, row.chat, &rules)?;
            Ok::<_, Error>(row.chat)
        })?;
        let row = chats::load(&self.db, chat)?;
        self.create(&row).await?;
        Ok(name)
    }

    pub(super) async fn leave_group(&mut self, chat: &str) -> Result<(), Error> {
        let row = self.group_chat(chat)?;
        let Some(conversation) = row.conversation else { return Err(Error::NotInChat(row.name)) };
        let own = &self.own;
        let wish = match row.phase {
            Phase::Active => self.kept.with(&mut self.db, &conversation, |tx, group| {
                let mls = Mls::new(tx);
                let device = crate::own_device(&mls, own)?;
                let wish = group.leave(&device).and_then(|wish| wish.to_bytes());
                wish.map_err(|error| Error::BadInput(error.to_string()))
            })?,
            _ => Vec::new(),
        };
        let State::Online(online) = &self.reach else { return Err(self.offline()) };
        let request = Request::Leave { conversation: ConversationId(conversation), wish: Bytes(wish) };
        match online.connection.call(request).await {
            Ok(Response::Done) => self.end_group(&row, "you left"),
            Ok(_) => Err(unexpected()),
            // What takes the place of a lost conversation is not there yet.
            Err(CallError::Refused(refusal))
                if refusal.code == ErrorCode::UnknownConversation
                    && successions::find(&self.db, row.chat)?.is_some() =>
            {
                self.end_group(&row, "you left")
            }
            Err(error) => Err(error.into_error()),
        }
    }

    /// This account is in the group no more.
    pub(super) fn end_group(&mut self, row: &ChatRow, text: &str) -> Result<(), Error> {
        let row = chats::load(&self.db, row.chat)?;
        if row.phase == Phase::Over {
            return Ok(());
        }
        let told = store::in_transaction(&mut self.db, |tx| roster::end(tx, &row, text))?;
        // What was declined is not heard of again.
        let waits = settings::is_request(&self.db, &row.name)?;
        self.tell(&if waits { Event::ChatChanged { chat: row.name.clone() } } else { told });
        self.note_over(&row)
    }

    /// What waits in a chat that is over will not be sent.
    pub(super) fn note_over(&mut self, row: &ChatRow) -> Result<(), Error> {
        self.note_outside(row.chat);
        self.kept.clear();
        if let State::Online(online) = &mut self.reach {
            online.lanes.remove(&row.chat);
            online.entering.remove(&row.chat);
        }
        let over = Error::NotInChat(row.name.clone());
        self.wishes.fail(row.chat, &over);
        self.give_up(row.chat, &over)
    }

    /// A group's conversation cannot go on, and nobody can begin another one in its place.
    pub(super) fn end_era_of_group(&mut self, row: &ChatRow, end: End) -> Result<(), Error> {
        let text = match end {
            End::Restored => {
                "the server was restored from an older copy: this group ends here, and has to be made anew"
            }
            End::Replaced | End::Trusted => "you are not in this group any more: the server does not list you",
        };
        self.end_group(row, text)
    }

    pub(super) fn rules_of(&mut self, row: &ChatRow) -> Result<GroupRules, Error> {
        let id = row.conversation.ok_or_else(|| Error::NotInChat(row.name.clone()))?;
        self.kept.with(&mut self.db, &id, |_, group| Ok(group.rules().clone()))
    }
}

/// Makes a group of these accounts, and what the server has to know of it.
pub(super) fn handshake_with(
    tx: &Database,
    own: &Own,
    id: &[u8; 16],
    rules: &GroupRules,
    packages: &[(DeviceId, Vec<u8>)],
    accounts: &[VerifiedAccount],
    me: &str,
) -> Result<Option<Handshake>, Error> {
    let refs: Vec<&VerifiedAccount> = accounts.iter().collect();
    let mut handshake = creation::make_group(tx, own, id, rules, packages, &refs)?;
    if let Some(handshake) = &mut handshake {
        let entered = accounts.iter().filter(|one| one.username != me);
        let entered = entered.map(|one| username(&one.username)).collect::<Result<_, _>>()?;
        handshake.roster = Some(Roster { entered, left: Vec::new() });
    }
    Ok(handshake)
}

/// A member of a group from its beginning.
fn founder(account: &VerifiedAccount, own: &str) -> Participant {
    let role = if account.username == own { Role::Admin } else { Role::Member };
    Participant { role, since: Some(0), ..creation::participant(account) }
}

pub(super) fn check_title(title: &str) -> Result<(), Error> {
    let limit = waxwing_e2ee::mls::NAME;
    match title {
        _ if title.len() > limit => Err(Error::TooLong { length: title.len(), limit }),
        _ if title.trim().is_empty() => Err(Error::BadInput("a group needs a name".into())),
        _ if title.chars().any(char::is_control) => Err(Error::BadInput("a group's name is one line".into())),
        _ => Ok(()),
    }
}

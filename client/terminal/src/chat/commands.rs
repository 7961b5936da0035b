//! The commands of the live chat that are about messages and settings: `/reply`, `/edit`, `/timer` and so on.

use super::{
    Room,
    known::Purpose,
    typed::{Deed, Typed},
};
use crate::{
    Failure, cli,
    command::{
        preferences::{HIDDEN, SHOWN, nick, request_line, timer_words},
        search,
        users::user_lines,
    },
    output::{self, notice},
    rpc::{
        Nothing,
        chats::{ChatName, Chats},
        deeds::{Delete, DeleteParams, Edit, EditParams, Pin, PinParams, Pinned, React, ReactParams, Which},
        messages::{Queue, QueueParams},
        objects,
        preferences::{
            Accept, Block, BlockParams, Decline, Mute, MuteParams, SetTimer, SetTimerParams, Switch, SwitchParams,
            SwitchSetting,
        },
        presence::{Users, UsersParams},
        search::{Search, SearchParams},
    },
};
use jiff::tz::TimeZone;

/// How many results of a search are shown, the best at the bottom.
const FOUND: usize = 10;

impl Room<'_> {
    /// Does what one of these commands says; what cannot be is said, and the chat goes on.
    pub(super) async fn command(&mut self, typed: Typed) -> Result<(), Failure> {
        let chat = self.conversation.chat().to_owned();
        let done = match typed {
            Typed::Deed { back, deed } => self.deed(&chat, back, deed).await,
            Typed::Last(count) => {
                let lines = self.conversation.numbered(count);
                return self.print(lines);
            }
            Typed::Pins => self.pins(chat).await,
            Typed::Timer(span) => self.timer(chat, span).await,
            Typed::Mute(span) => self.mute(chat, span).await,
            Typed::Block { user, blocked } => self.block(user.unwrap_or(chat), blocked).await,
            Typed::Requests => self.requests().await,
            Typed::Accept(user) => {
                let accepted = self.backend.call::<Accept>(ChatName { chat: user.unwrap_or(chat) }).await;
                accepted.map(|_| vec!["accepted".to_owned()])
            }
            Typed::Decline(name) => {
                let declined = self.backend.call::<Decline>(ChatName { chat: name.unwrap_or(chat) }).await;
                declined.map(|_| vec!["declined".to_owned()])
            }
            Typed::Search(query) => self.search(query).await,
            Typed::Users => {
                let all = !chat.starts_with(['#', '+']);
                let list = self.backend.call::<Users>(UsersParams { chat: (!all).then_some(chat) }).await;
                list.map(|list| user_lines(&list, all))
            }
            Typed::Hide(hidden) => {
                let switched = SwitchParams { switch: Switch::Presence, on: !hidden };
                let done = self.backend.call::<SwitchSetting>(switched).await;
                done.map(|_| vec![if hidden { HIDDEN } else { SHOWN }.to_owned()])
            }
            Typed::Nick(name) => nick(self.backend, name).await.map(|words| vec![words]),
            _ => return Ok(()),
        };
        match done {
            Ok(lines) => self.print(lines.iter().map(|line| notice(line))),
            Err(failure @ (Failure::Core(_) | Failure::Usage { .. })) => self.complain(&failure),
            Err(failure) => Err(failure),
        }
    }

    async fn deed(&mut self, chat: &str, back: Option<usize>, deed: Deed) -> Result<Vec<String>, Failure> {
        let purpose = if matches!(deed, Deed::Edit(_) | Deed::Delete) { Purpose::Own } else { Purpose::Any };
        let Some(message) = self.conversation.pick(back, purpose).map(Which::from) else {
            return Ok(vec!["there is no such message; /last shows the newest with their numbers".to_owned()]);
        };
        match deed {
            Deed::Reply(text) => {
                let params = QueueParams { chat: chat.to_owned(), text, reply_to: Some(message) };
                let queued = self.backend.call::<Queue>(params).await?;
                self.queued(queued.message.try_into()?)?;
            }
            // What became of it comes back as an event.
            Deed::Edit(text) => drop(self.backend.call::<Edit>(EditParams { message, text, wait: false }).await?),
            Deed::Delete => drop(self.backend.call::<Delete>(DeleteParams { message, wait: false }).await?),
            Deed::React { emoji, add } => {
                drop(self.backend.call::<React>(ReactParams { message, emoji, add, wait: false }).await?);
            }
            Deed::Pin(pinned) => drop(self.backend.call::<Pin>(PinParams { message, pinned, wait: false }).await?),
        }
        Ok(Vec::new())
    }

    async fn pins(&mut self, chat: String) -> Result<Vec<String>, Failure> {
        let pinned = objects::messages(self.backend.call::<Pinned>(ChatName { chat }).await?.messages)?;
        if pinned.is_empty() {
            return Ok(vec!["nothing is pinned".to_owned()]);
        }
        let zone = TimeZone::system();
        Ok(pinned.iter().map(|message| output::message_line(message, &zone, 0)).collect())
    }

    async fn timer(&mut self, chat: String, span: Option<cli::Span>) -> Result<Vec<String>, Failure> {
        let Some(span) = span else {
            let chats = self.backend.call::<Chats>(Nothing {}).await?.chats;
            let timer = chats.into_iter().find(|found| found.chat == chat).and_then(|found| found.timer);
            return Ok(vec![timer_words(&chat, timer)]);
        };
        let set = self.backend.call::<SetTimer>(SetTimerParams { chat, seconds: span.seconds(), wait: false }).await?;
        self.queued(set.message.try_into()?)?;
        Ok(Vec::new())
    }

    async fn mute(&mut self, chat: String, span: Option<cli::Span>) -> Result<Vec<String>, Failure> {
        let muted = span.is_none_or(|span| span.seconds().is_some());
        let until_ms = span.and_then(cli::Span::seconds).map(cli::from_now);
        self.backend.call::<Mute>(MuteParams { chat, muted, until_ms }).await?;
        Ok(vec![if muted { "muted" } else { "not muted any more" }.to_owned()])
    }

    async fn block(&mut self, user: String, blocked: bool) -> Result<Vec<String>, Failure> {
        self.backend.call::<Block>(BlockParams { user, blocked }).await?;
        let done = if blocked { "blocked: nothing of theirs arrives any more" } else { "not blocked any more" };
        Ok(vec![done.to_owned()])
    }

    async fn search(&mut self, query: String) -> Result<Vec<String>, Failure> {
        let found = self.backend.call::<Search>(SearchParams { query, limit: FOUND }).await?;
        let mut lines = search::lines(&found)?;
        if lines.is_empty() {
            lines.push("nothing was found".to_owned());
        }
        lines.reverse();
        Ok(lines)
    }

    async fn requests(&mut self) -> Result<Vec<String>, Failure> {
        let chats = self.backend.call::<Chats>(Nothing {}).await?.chats;
        let waiting = chats.iter().filter(|chat| chat.request && !chat.blocked);
        let lines: Vec<String> = waiting.map(request_line).collect();
        Ok(if lines.is_empty() { vec!["no requests".to_owned()] } else { lines })
    }
}

//! What the server has beyond our cursors: asking for it, and comparing it with what was heard and sent.
//!
//! The invariant: a page is taken only if it continues the log as we know it. It must not know what entries say.

use super::{Engine, Online, State, eras::End, log};
use crate::{
    Error,
    store::{
        chats::{self, ChatId},
        commits,
    },
    transport::{Answer, CallError, answered, unexpected},
};
use tokio::sync::oneshot;
use waxwing_protocol::{ConversationId, ErrorCode, Refusal, Request, Response};

/// How long a conversation that the server does not know is left alone.
const GONE_MS: u32 = 10_000;

/// A page that was asked for while the one in front of it is read. It is of use only until something is heard: a later page
/// has that, and this one may not.
pub(super) struct Asked {
    /// Behind which entry of which log it begins.
    after: (ConversationId, u64),
    answer: oneshot::Receiver<Answer>,
}

impl Online {
    /// The page behind an entry.
    async fn page(&mut self, conversation: ConversationId, after: u64) -> Answer {
        match self.asked.take() {
            Some(asked) if asked.after == (conversation, after) => answered(asked.answer).await,
            _ => self.connection.call(Request::Fetch { conversation, after }).await,
        }
    }

    /// The page behind an entry will be wanted next.
    async fn ask_for_page(&mut self, conversation: ConversationId, after: u64) {
        let answer = self.connection.caller().begin(Request::Fetch { conversation, after }).await;
        self.asked = Some(Asked { after: (conversation, after), answer });
    }
}

impl Engine {
    /// Asks which chats have more than we have, page by page.
    pub(super) async fn fetch_heads(&mut self, after: Option<ConversationId>) -> Result<(), Error> {
        let State::Online(online) = &mut self.reach else { return Ok(()) };
        let answer = online.connection.call(Request::Heads { after }).await.map_err(CallError::into_error)?;
        let Response::Heads(heads) = answer else { return Err(unexpected()) };
        for head in &heads {
            let row = chats::by_conversation(&self.db, &head.conversation.0)?;
            if row.is_none()
                && head.sent > 0
                && chats::by_former_conversation(&self.db, &head.conversation.0)?.is_none()
            {
                tracing::warn!(sent = head.sent, "this device has written in a chat that it does not know");
                return Err(Error::OldCopy);
            }
            if let Some(row) = row {
                if head.head < row.cursor {
                    // If its log says so, too, the chat is left; a head alone is a rumour.
                    online.behind.insert(row.chat);
                    continue;
                }
                if head.sent > row.number {
                    tracing::warn!(sent = head.sent, row.number, "this device has written more than it knows");
                    return Err(Error::OldCopy);
                }
                if head.head > row.cursor && row.phase == chats::Phase::Active {
                    online.behind.insert(row.chat);
                } else {
                    online.acknowledge(head.conversation, row.cursor).await;
                }
            }
        }
        // Also ends if a misbehaving server goes in circles.
        let last = heads.last().map(|head| head.conversation);
        online.heads_due = last.filter(|last| after.is_none_or(|after| *last > after)).map(Some);
        Ok(())
    }

    /// Fetches the next page of a chat's log.
    pub(super) async fn fetch(&mut self, chat: ChatId) -> Result<(), Error> {
        let State::Online(online) = &mut self.reach else { return Ok(()) };
        let row = chats::load(&self.db, chat)?;
        let (Some(conversation), chats::Phase::Active) = (row.conversation, row.phase) else {
            online.behind.remove(&chat);
            return Ok(());
        };
        let page = match online.page(ConversationId(conversation), row.cursor).await {
            Ok(Response::Page(page)) => page,
            Ok(_) => return Err(unexpected()),
            Err(CallError::Refused(refusal)) if refusal.code == ErrorCode::UnknownConversation => {
                // This device was put out, or the conversation is gone: the list says which.
                online.behind.remove(&chat);
                online.conversations_due = true;
                online.lane(chat).wait(&Refusal::retry_after(refusal.code, GONE_MS));
                return Ok(());
            }
            Err(error) => return Err(error.into_error()),
        };
        let (head, sent) = (page.head, page.sent);
        let own_commit = commits::find(&self.db, chat)?.map(|commit| commit.number);
        let behind = match log::check_page(&page, &row, own_commit) {
            // This chat's log is not the one that we know; the others may be.
            Err(Error::ServerRestored) => return self.begin_era(chat, End::Restored),
            checked => checked?,
        };
        if page.sent > row.number {
            tracing::warn!(page.sent, row.number, "this device has written more than it knows");
            return Err(Error::OldCopy);
        }
        let lane = online.lane(chat);
        if lane.ahead.last_key_value().is_some_and(|(last, _)| *last > head) {
            // What was heard of before this page was asked for is in it, or does not exist.
            return Err(Error::ServerMisbehaves("it told of entries that it does not have".into()));
        }
        let beyond = matches!(behind, log::Behind::Beyond);
        if let Some(last) = page.entries.last().map(|entry| entry.seq).filter(|last| *last < head && !beyond) {
            online.ask_for_page(ConversationId(conversation), last).await;
        }
        let lane = online.lane(chat);
        let commits = page.commits.min(head);
        lane.fetched(page.entries);
        match behind {
            log::Behind::Kept => {}
            log::Behind::Expired(upto) => self.skip(chat, upto)?,
            log::Behind::Beyond => {
                // Once it is in again, what was written meanwhile is marked.
                chats::set_waiting(&self.db, chat, &conversation)?;
                self.note_outside(chat);
                return Ok(());
            }
        }
        self.advance(chat).await?;
        let row = chats::load(&self.db, chat)?;
        if row.phase != chats::Phase::Active {
            return Ok(());
        }
        if row.cursor == head && row.gap && row.commits < commits {
            // There were commits among the entries that expired.
            chats::set_waiting(&self.db, chat, &conversation)?;
            self.note_outside(chat);
            return Ok(());
        }
        if row.cursor == head && row.commits != commits {
            // The server counts; only with its count does it take what we send.
            chats::set_progress(&self.db, chat, row.cursor, commits, row.others)?;
        }
        let State::Online(online) = &mut self.reach else { return Ok(()) };
        if row.cursor >= head {
            online.behind.remove(&chat);
            let lane = online.lane(chat);
            lane.synced = true;
            lane.submission.compared(sent);
        }
        Ok(())
    }
}

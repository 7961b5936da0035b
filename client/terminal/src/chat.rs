//! The live chat: reads typed lines and events, and shows what the [`Conversation`] makes of them.
//!
//! What was typed is queued on disk before it shows; leaving the chat or the process loses nothing.

mod conversation;
mod line;
mod typed;

pub(crate) use line::Reading;

use crate::{
    Failure,
    command::may_pass,
    output::{self, notice},
    prompt::Interrupts,
    sanitise::{Breaks, sanitise},
};
use conversation::{Conversation, Style};
use jiff::tz::TimeZone;
use line::{Keyed, LineScreen};
use std::time::{Duration, Instant};
use typed::{HELP, Typed};
use waxwing_core::{Client, Connection, Error, Event, Events, Message, MessageId};

/// Messages of before that a chat begins with.
const SHOWN_AT_START: usize = 30;

/// How long piped input waits at its end until the server has everything.
const PIPE_PATIENCE: Duration = Duration::from_secs(30);

/// Chats with one user until the user leaves. `events` must be subscribed before the client went online, or now.
pub(crate) async fn run(client: &Client, events: Events, chat: &str, reading: Reading) -> Result<(), Failure> {
    let style = Style { ascii: output::is_plain(), promptless: reading != Reading::Editor, zone: TimeZone::system() };
    let mut conversation = Conversation::new(&client.whoami().username, chat, style);
    if client.status().await?.online {
        // Connected before: nothing to announce.
        conversation.event(Event::Connection(Connection::Online), Instant::now());
    }
    let before = match client.history(chat, Some(SHOWN_AT_START)).await {
        Err(Error::UnknownChat(_)) => Vec::new(),
        messages => messages?,
    };
    let lines = conversation.history(before);
    let screen = LineScreen::open(reading, conversation.prompt())?;
    let mut room = Room { client, events, conversation, screen, reading, unsent: Vec::new() };
    room.print([notice(&format!("Chat with {}. /help lists the commands.", sanitise(chat, Breaks::Spaces)))])?;
    room.print(lines)?;
    let chatted = room.chat().await;
    let closed = room.screen.close();
    chatted.and(closed)
}

struct Room<'a> {
    client: &'a Client,
    events: Events,
    conversation: Conversation,
    screen: LineScreen,
    reading: Reading,
    /// Typed through a pipe and not yet known to be at the server.
    unsent: Vec<MessageId>,
}

impl Room<'_> {
    async fn chat(&mut self) -> Result<(), Failure> {
        let mut interrupts = Interrupts::new();
        let mut leaving = false;
        loop {
            self.refresh().await?;
            let deadline = self.conversation.deadline();
            let overdue = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                keyed = self.screen.next() => match keyed? {
                    Keyed::Line(line) => {
                        leaving = false;
                        if self.obey(Typed::parse(&line)).await? {
                            return self.leave(false).await;
                        }
                    }
                    Keyed::Interrupt if leaving => return self.leave(false).await,
                    Keyed::Interrupt => {
                        leaving = true;
                        self.print([notice("Ctrl+C once more leaves the chat.")])?;
                    }
                    Keyed::End => return self.leave(true).await,
                },
                event = self.events.recv() => match event {
                    Some(event) => self.show(event)?,
                    None => return Err(Error::Closed.into()),
                },
                () = overdue => {
                    let lines = self.conversation.overdue(Instant::now());
                    self.print(lines)?;
                }
                () = interrupts.wait() => return Err(Failure::Interrupted),
            }
        }
    }

    /// Shows an event and all that wait behind it.
    fn show(&mut self, event: Event) -> Result<(), Failure> {
        let mut next = Some(event);
        while let Some(event) = next {
            let lines = self.conversation.event(event, Instant::now());
            self.print(lines)?;
            next = self.events.try_recv().ok();
        }
        Ok(())
    }

    async fn refresh(&mut self) -> Result<(), Failure> {
        if self.conversation.take_unread() {
            match self.client.mark_read(self.conversation.chat()).await {
                // A chat in which nobody wrote yet.
                Err(Error::UnknownChat(_)) => {}
                marked => marked?,
            }
        }
        self.screen.set_prompt(self.conversation.prompt())
    }

    /// Does what was typed; says whether that was to leave.
    async fn obey(&mut self, typed: Typed) -> Result<bool, Failure> {
        match typed {
            Typed::Empty => {}
            Typed::Say(text) => {
                let chat = self.conversation.chat().to_owned();
                self.say(&chat, &text).await?;
            }
            Typed::Msg { user, text } => match self.client.start_chat(&user).await {
                Ok(user) => self.say(&user, &text).await?,
                // Offline: the name is checked when the message goes out.
                Err(error) if may_pass(&error) => self.say(&user, &text).await?,
                Err(error) => self.complain(&error)?,
            },
            Typed::Help => self.print(HELP.lines().map(notice))?,
            Typed::Users => {
                let chats = self.client.chats().await?;
                let lines = output::chat_lines(&chats, &TimeZone::system());
                self.print([notice("The people you have chats with (the server keeps no directory):")])?;
                self.print(lines)?;
            }
            Typed::Mistyped(why) => self.print([notice(&sanitise(&why, Breaks::Spaces))])?,
            Typed::Quit => return Ok(true),
        }
        Ok(false)
    }

    async fn say(&mut self, to: &str, text: &str) -> Result<(), Failure> {
        match self.client.send(to, text).await {
            Ok(message) => self.queued(message),
            Err(error) => self.complain(&error),
        }
    }

    fn queued(&mut self, message: Message) -> Result<(), Failure> {
        if self.reading == Reading::Piped {
            self.unsent.push(message.id);
        }
        let lines = self.conversation.typed(message, Instant::now());
        self.print(lines)
    }

    /// Says an error; the line that caused it is in the editor's history.
    fn complain(&mut self, error: &Error) -> Result<(), Failure> {
        self.print([format!("! {}", Failure::from(error.clone()).in_words())])
    }

    /// Leaves the chat. At the end of piped input the server shall have what was piped; a person is not kept waiting.
    async fn leave(&mut self, ended: bool) -> Result<(), Failure> {
        let deadline = Instant::now() + PIPE_PATIENCE;
        let mut unsent = Ok(());
        if ended && self.reading == Reading::Piped {
            unsent = self.settle(deadline).await;
        }
        while let Ok(event) = self.events.try_recv() {
            let lines = self.conversation.event(event, Instant::now());
            self.print(lines)?;
        }
        let lines = self.conversation.show_typed();
        self.print(lines)?;
        if unsent.is_ok()
            && let Some(waiting) = output::waiting(self.client).await?
        {
            self.print([notice(&waiting)])?;
        }
        unsent
    }

    /// Waits until the server has what was piped; what it does not get in time stays queued, and the error says so.
    async fn settle(&mut self, deadline: Instant) -> Result<(), Failure> {
        let (mut waiting, mut late, mut refused) = (0, None, None);
        for id in std::mem::take(&mut self.unsent) {
            let patience = deadline.saturating_duration_since(Instant::now());
            match self.client.sent(id, patience).await {
                Ok(_) => {}
                Err(error) if may_pass(&error) => {
                    waiting += 1;
                    late = Some(error);
                }
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        let Some(late) = late else { return refused.map_or(Ok(()), |error| Err(error.into())) };
        let wait = if waiting == 1 {
            "1 message waits and goes".to_owned()
        } else {
            format!("{waiting} messages wait and go")
        };
        let wait = format!(
            "{wait} out with the next connection; do not send {} again",
            if waiting == 1 { "it" } else { "them" }
        );
        match refused {
            None => Err(Error::TimedOut(format!("{late}. {wait}")).into()),
            Some(refused) => {
                self.print([format!("! {wait}")])?;
                Err(refused.into())
            }
        }
    }

    fn print(&mut self, lines: impl IntoIterator<Item = String>) -> Result<(), Failure> {
        lines.into_iter().try_for_each(|line| self.screen.print(&line))
    }
}

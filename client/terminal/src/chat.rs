//! The live chat: reads typed lines and events, and shows what the [`Conversation`] makes of them.
//!
//! What was typed is queued on disk before it shows; leaving the chat or the process loses nothing.

mod commands;
mod conversation;
mod known;
mod line;
pub(crate) mod typed;

pub(crate) use line::Reading;

use crate::{
    Failure,
    command::may_recover,
    file_commands, group_commands,
    output::{self, notice},
    prompt::Interrupts,
    rpc::{
        Backend, Happening, Happenings, Nothing,
        chats::{ChatName, History, HistoryParams, MarkRead, OpenChat},
        messages::{Queue, QueueParams, Sent, SentParams},
        objects,
        presence::{SetPresence, SetPresenceParams},
        profile::{Status, Whoami},
        trust::{ShowIdentity, UserParams},
    },
    sanitise::{Breaks, sanitise},
};
use conversation::{Conversation, Style};
use jiff::tz::TimeZone;
use line::TypedLines;
use std::time::{Duration, Instant};
use tokio::time::interval;
use typed::{HELP, Typed};
use waxwing_core::{Connection, Error, Event, Message, MessageId, Presence};

/// Messages of before that a chat begins with.
const SHOWN_AT_START: usize = 30;

/// How long piped input waits at its end until the server has everything.
const PIPE_PATIENCE: Duration = Duration::from_secs(30);

/// So often the profile is told that the user is there.
const BEAT: Duration = Duration::from_secs(60);

/// Chats with one user until the user leaves; [`Error::Locked`] if the profile is to be locked. `happenings` must be
/// from before the client went online, or from now.
pub(crate) async fn run(
    backend: &Backend,
    mut happenings: Happenings,
    chat: &str,
    reading: Reading,
    away_after: Option<Duration>,
) -> Result<(), Failure> {
    let mut chat = chat.to_owned();
    // One for all chats: it may have read further than the line that leads to the next.
    let mut typed = TypedLines::open();
    loop {
        match run_in(backend, happenings, &chat, (reading, away_after), &mut typed).await? {
            Some(next) => chat = next,
            None => return Ok(()),
        }
        happenings = backend.happenings().await?;
    }
}

/// Chats in one chat; returns the one to go to, if the user does not leave.
async fn run_in(
    backend: &Backend,
    happenings: Happenings,
    chat: &str,
    (reading, away_after): (Reading, Option<Duration>),
    typed: &mut TypedLines,
) -> Result<Option<String>, Failure> {
    let style = Style { ascii: output::is_plain(), zone: TimeZone::system() };
    let me = backend.call::<Whoami>(Nothing {}).await?.username;
    let mut conversation = Conversation::new(&me, chat, style);
    if backend.call::<Status>(Nothing {}).await?.online {
        // Connected before: nothing to announce.
        conversation.event(Event::Connection(Connection::Online), Instant::now());
    }
    let newest = HistoryParams { chat: chat.to_owned(), limit: Some(SHOWN_AT_START) };
    let before = match backend.call::<History>(newest).await {
        Err(Failure::Core(Error::UnknownChat(_))) => Vec::new(),
        list => objects::messages(list?.messages)?,
    };
    let lines = conversation.history(before);
    let mut room = Room {
        backend,
        happenings,
        conversation,
        typed,
        reading,
        unsent: Vec::new(),
        go_to: None,
        away_after,
        touched: Instant::now(),
        told: None,
    };
    room.print([notice(&format!("Chat with {}. /help lists the commands.", sanitise(chat, Breaks::Spaces)))])?;
    room.print(lines)?;
    room.chat().await?;
    Ok(room.go_to)
}

struct Room<'a> {
    backend: &'a Backend,
    happenings: Happenings,
    conversation: Conversation,
    typed: &'a mut TypedLines,
    reading: Reading,
    /// Typed through a pipe and not yet known to be at the server.
    unsent: Vec<MessageId>,
    /// The chat to go on in.
    go_to: Option<String>,
    /// After how long without a line the user is away.
    away_after: Option<Duration>,
    /// When the last line was typed.
    touched: Instant,
    /// What was told of the user.
    told: Option<Presence>,
}

impl Room<'_> {
    async fn chat(&mut self) -> Result<(), Failure> {
        let mut interrupts = Interrupts::new();
        let mut beat = interval(BEAT);
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
                line = self.typed.next() => match line? {
                    Some(line) => {
                        self.backend.touch();
                        if self.obey(Typed::parse(&line)).await? {
                            return self.leave(false).await;
                        }
                    }
                    None => return self.leave(true).await,
                },
                happening = self.happenings.next() => self.show(happening).await?,
                () = self.backend.must_lock() => return Err(Error::Locked.into()),
                _ = beat.tick(), if self.reading != Reading::Piped => {
                    let idle = self.away_after.is_some_and(|limit| self.touched.elapsed() >= limit);
                    self.be_there(if idle { Presence::Away } else { Presence::Here }).await?;
                }
                () = overdue => {
                    let lines = self.conversation.overdue(Instant::now());
                    self.print(lines)?;
                }
                () = interrupts.wait() => return Err(Failure::Interrupted),
            }
        }
    }

    /// Shows what happened and all that waits behind it.
    async fn show(&mut self, happening: Happening) -> Result<(), Failure> {
        let mut next = Some(happening);
        while let Some(happening) = next {
            let lines = match happening {
                Happening::Event(event) => self.conversation.event(event, Instant::now()),
                Happening::Missed => self.look_again().await?,
                Happening::Locked => return Err(Error::Locked.into()),
                Happening::Ended => return Err(Failure::HolderEnded),
            };
            self.print(lines)?;
            next = self.happenings.next_now();
        }
        Ok(())
    }

    /// What came while events were left out.
    async fn look_again(&mut self) -> Result<Vec<String>, Failure> {
        let newest = HistoryParams { chat: self.conversation.chat().to_owned(), limit: Some(SHOWN_AT_START) };
        let messages = objects::messages(self.backend.call::<History>(newest).await?.messages)?;
        let now = Instant::now();
        let events = messages.into_iter().map(Event::Message);
        Ok(events.flat_map(|event| self.conversation.event(event, now)).collect())
    }

    /// Tells that the user is there, or away. Whoever writes through a pipe is nobody who is there.
    async fn be_there(&mut self, presence: Presence) -> Result<(), Failure> {
        if self.reading == Reading::Piped {
            return Ok(());
        }
        self.told = Some(presence);
        self.backend.call::<SetPresence>(SetPresenceParams { presence: presence.into() }).await.map(drop)
    }

    async fn refresh(&mut self) -> Result<(), Failure> {
        if self.conversation.take_unread() {
            self.backend.call::<MarkRead>(ChatName { chat: self.conversation.chat().to_owned() }).await?;
        }
        Ok(())
    }

    /// Does what was typed; says whether that was to leave.
    async fn obey(&mut self, typed: Typed) -> Result<bool, Failure> {
        self.touched = Instant::now();
        if self.told != Some(Presence::Here) {
            self.be_there(Presence::Here).await?;
        }
        match typed {
            Typed::Empty => {}
            Typed::Say(text) => {
                let chat = self.conversation.chat().to_owned();
                self.say(&chat, &text).await?;
            }
            Typed::Msg { user, text } => match self.backend.call::<OpenChat>(ChatName { chat: user.clone() }).await {
                Ok(found) => self.say(&found.chat, &text).await?,
                // Offline: the name is checked when the message goes out.
                Err(failure) if may_recover(&failure) => self.say(&user, &text).await?,
                Err(failure) => self.complain(&failure)?,
            },
            Typed::Help => {
                let (last, lines) = (HELP.lines().last(), HELP.lines().count() - 1);
                self.print(HELP.lines().take(lines).map(notice))?;
                let group = file_commands::COMMANDS.iter().chain(group_commands::COMMANDS);
                let group =
                    group.map(|(name, takes, does)| format!("{:<18} {does}", format!("/{name} {takes}").trim_end()));
                self.print(group.map(|line| notice(&line)).chain(last.map(notice)))?;
            }
            Typed::File(command) => {
                let chat = self.conversation.chat().to_owned();
                match command.run(self.backend, &chat).await {
                    Ok(done) => {
                        self.print(done.lines.iter().map(|line| notice(line)))?;
                        if let Some(message) = done.written {
                            self.queued(message)?;
                        }
                    }
                    Err(failure @ (Failure::Core(_) | Failure::Usage { .. })) => self.complain(&failure)?,
                    Err(failure) => return Err(failure),
                }
            }
            Typed::Group(command) => {
                let chat = self.conversation.chat().to_owned();
                match command.run(self.backend, &chat).await {
                    Ok(done) => {
                        self.print(done.lines.iter().map(|line| notice(line)))?;
                        if let Some(chat) = done.go_to {
                            self.go_to = Some(chat);
                            return Ok(true);
                        }
                        if done.left {
                            return Ok(true);
                        }
                    }
                    Err(failure @ Failure::Core(_)) => self.complain(&failure)?,
                    Err(failure) => return Err(failure),
                }
            }
            Typed::Deed { .. }
            | Typed::Last(_)
            | Typed::Users
            | Typed::Hide(_)
            | Typed::Nick(_)
            | Typed::Pins
            | Typed::Timer(_)
            | Typed::Mute(_)
            | Typed::Block { .. }
            | Typed::Requests
            | Typed::Accept(_)
            | Typed::Decline(_)
            | Typed::Search(_) => self.command(typed).await?,
            Typed::Verify(user) => self.verify(user).await?,
            Typed::Mistyped(why) => self.print([notice(&sanitise(&why, Breaks::Spaces))])?,
            Typed::Quit => return Ok(true),
        }
        Ok(false)
    }

    /// Shows the number to compare; that it was compared is said outside the chat.
    async fn verify(&mut self, user: Option<String>) -> Result<(), Failure> {
        let user = user.unwrap_or_else(|| self.conversation.chat().to_owned());
        match self.backend.call::<ShowIdentity>(UserParams { user }).await {
            Ok(identity) => {
                let name = sanitise(&identity.username, Breaks::Spaces);
                let line = format!("The safety number with {name}: {}", identity.safety_number);
                let next = match identity.verification.as_str() {
                    "verified" => "You have compared it.".to_owned(),
                    _ => format!("If theirs is the same, 'waxwing verify {name} --confirm' marks it as compared."),
                };
                self.print([notice(&line), notice(&next)])
            }
            Err(failure @ (Failure::Core(_) | Failure::Holder { .. })) => self.complain(&failure),
            Err(failure) => Err(failure),
        }
    }

    async fn say(&mut self, to: &str, text: &str) -> Result<(), Failure> {
        let params = QueueParams { chat: to.to_owned(), text: text.to_owned(), reply_to: None };
        match self.backend.call::<Queue>(params).await {
            Ok(queued) => self.queued(queued.message.try_into()?),
            Err(failure @ Failure::Core(_)) => self.complain(&failure),
            Err(failure) => Err(failure),
        }
    }

    fn queued(&mut self, message: Message) -> Result<(), Failure> {
        if self.reading == Reading::Piped {
            self.unsent.push(message.id);
        }
        let lines = self.conversation.typed(message, Instant::now());
        self.print(lines)
    }

    /// Says an error.
    fn complain(&mut self, failure: &Failure) -> Result<(), Failure> {
        self.print([format!("! {}", failure.in_words())])
    }

    /// Leaves the chat. At the end of piped input the server shall have what was piped; a person is not kept waiting.
    async fn leave(&mut self, ended: bool) -> Result<(), Failure> {
        let deadline = Instant::now() + PIPE_PATIENCE;
        let mut unsent = Ok(());
        if ended && self.reading == Reading::Piped {
            unsent = self.settle(deadline).await;
        }
        while let Some(happening) = self.happenings.next_now() {
            if let Happening::Event(event) = happening {
                let lines = self.conversation.event(event, Instant::now());
                self.print(lines)?;
            }
        }
        let lines = self.conversation.show_typed();
        self.print(lines)?;
        if self.go_to.is_none() {
            self.be_there(Presence::Gone).await?;
        }
        if unsent.is_ok()
            && let Some(waiting) = output::waiting(&self.backend.call::<Status>(Nothing {}).await?)
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
            let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
            match self.backend.call::<Sent>(SentParams { id: id.to_string(), patience_ms }).await {
                Ok(_) => {}
                // It was sent, and its time has run out.
                Err(Failure::Core(Error::BadMessageId)) => {}
                Err(failure) if may_recover(&failure) => {
                    waiting += 1;
                    late = Some(failure);
                }
                Err(failure) => refused = refused.or(Some(failure)),
            }
        }
        let Some(late) = late else { return refused.map_or(Ok(()), Err) };
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
                Err(refused)
            }
        }
    }

    fn print(&mut self, lines: impl IntoIterator<Item = String>) -> Result<(), Failure> {
        Ok(lines.into_iter().try_for_each(|line| output::print(&line))?)
    }
}

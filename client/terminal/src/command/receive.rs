//! `receive` and `ack`: what is new, in the order of arrival, each message at least once and normally exactly once.
//!
//! The receive cursor moves only past messages that are written and flushed (`--ack auto`) or that somebody
//! acknowledged (`--ack manual`): a killed `receive` prints the rest, or the last page again, next time.

use crate::{
    Failure,
    cli::{Acknowledge, Options, ReceiveArgs},
    command::{PATIENCE, close, may_pass, open},
    output::{self, AnnouncementObject, MessageObject, print, print_json},
    prompt::Interrupts,
    sanitise::{Breaks, sanitise},
};
use jiff::tz::TimeZone;
use std::{collections::HashSet, io::Write as _, time::Duration};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines, Stdin},
    time::Instant,
};
use waxwing_core::{Client, Connection, Error, Event, Events, Message, MessageId};

/// Messages that are printed between two movements of the cursor.
const PAGE: usize = 32;

pub(crate) async fn run(options: &Options, arguments: &ReceiveArgs) -> Result<(), Failure> {
    let client = open(options).await?;
    let printer = Printer { json: options.json, zone: TimeZone::system() };
    let received =
        Receiving { client: &client, printer, manual: arguments.ack == Acknowledge::Manual, waiting: HashSet::new() }
            .run(arguments)
            .await;
    close(client).await;
    received
}

pub(crate) async fn acknowledge(options: &Options, id: MessageId) -> Result<(), Failure> {
    let client = open(options).await?;
    let acknowledged = match client.acknowledge(id).await {
        Ok(()) => mark_read(&client).await,
        refused => refused,
    };
    close(client).await;
    acknowledged?;
    if options.json {
        print_json(&serde_json::json!({ "acknowledged": id }))?;
    }
    Ok(())
}

/// What was dealt with is read: marks the chats of which nothing stands behind the receive cursor.
async fn mark_read(client: &Client) -> Result<(), Error> {
    let behind = client.unreceived(i64::MAX as usize).await?;
    let behind: HashSet<&str> = behind.iter().map(|message| message.chat.as_str()).collect();
    for chat in client.chats().await?.iter().filter(|chat| chat.unread > 0 && !behind.contains(chat.name.as_str())) {
        client.mark_read(&chat.name).await?;
    }
    Ok(())
}

struct Printer {
    json: bool,
    zone: TimeZone,
}

impl Printer {
    /// Writes and flushes a message.
    fn print(&self, message: &Message) -> std::io::Result<()> {
        match self.json {
            true => print_json(&MessageObject::received(message)),
            false => print(&output::message_line(message, &self.zone, 0)),
        }
    }
}

struct Receiving<'a> {
    client: &'a Client,
    printer: Printer,
    manual: bool,
    /// Printed and not yet acknowledged, with `--ack manual`.
    waiting: HashSet<MessageId>,
}

/// What ended a wait.
enum Woken {
    News,
    Acknowledge(String),
    Enough,
    Interrupted,
}

impl Receiving<'_> {
    async fn run(mut self, arguments: &ReceiveArgs) -> Result<(), Failure> {
        let mut interrupts = Interrupts::new();
        let mut events = self.client.events();
        self.client.go_online();
        let caught_up = tokio::select! {
            caught_up = self.client.caught_up(PATIENCE) => caught_up,
            () = interrupts.wait() => return Err(Failure::Interrupted),
        };
        // What is here already is printed even if the server cannot be reached.
        let printed = self.print_new().await?;
        match caught_up {
            Err(error) if arguments.follow && may_pass(&error) => self.say(&error.to_string()),
            caught_up => caught_up?,
        }
        if arguments.follow {
            return self.follow(&mut events, &mut interrupts, arguments.timeout).await;
        }
        let Some(timeout) = arguments.timeout.filter(|_| printed == 0) else { return Ok(()) };
        let deadline = Instant::now() + timeout;
        let mut no_input = None;
        loop {
            match self.wait(&mut events, &mut interrupts, Some(deadline), &mut no_input).await? {
                Woken::News if self.print_new().await? == 0 => {}
                Woken::Interrupted => return Err(Failure::Interrupted),
                _ => return Ok(()),
            }
        }
    }

    async fn follow(
        &mut self,
        events: &mut Events,
        interrupts: &mut Interrupts,
        timeout: Option<Duration>,
    ) -> Result<(), Failure> {
        let mut input = self.manual.then(|| BufReader::new(tokio::io::stdin()).lines());
        let deadline = || timeout.map(|timeout| Instant::now() + timeout);
        let mut end = deadline();
        loop {
            match self.wait(events, interrupts, end, &mut input).await? {
                Woken::Enough | Woken::Interrupted => return Ok(()),
                Woken::Acknowledge(line) => self.acknowledge(line.trim()).await?,
                Woken::News => {
                    if self.print_new().await? > 0 {
                        end = deadline();
                    }
                }
            }
        }
    }

    /// Waits for a message, an acknowledgement, the deadline or a signal.
    async fn wait(
        &self,
        events: &mut Events,
        interrupts: &mut Interrupts,
        deadline: Option<Instant>,
        input: &mut Option<Lines<BufReader<Stdin>>>,
    ) -> Result<Woken, Failure> {
        let ended = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let acknowledged = async {
            match input {
                Some(lines) => match lines.next_line().await {
                    Ok(Some(line)) => line,
                    // Nobody acknowledges any more: printing goes on.
                    Ok(None) | Err(_) => std::future::pending().await,
                },
                None => std::future::pending().await,
            }
        };
        tokio::pin!(ended, acknowledged);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(Event::Message(_)) => return Ok(Woken::News),
                    Some(Event::Connection(Connection::Offline { retry_in: None, reason })) => {
                        // It will not come back: the client knows the error of the right class.
                        self.client.caught_up(Duration::from_secs(1)).await?;
                        return Err(Error::ConnectionLost(reason).into());
                    }
                    Some(Event::Connection(Connection::Offline { reason, .. })) => self.say(&reason),
                    Some(Event::IdentityChanged { username }) => {
                        self.say(&format!("the identity of {username} has changed: everything for them is held"));
                    }
                    Some(Event::DeviceAdded { username, name, .. }) => {
                        let name = name.map_or_else(String::new, |name| format!(" '{name}'"));
                        self.say(&format!("{username} has a new device{name}"));
                    }
                    Some(Event::DeviceRemoved { username, .. }) => self.say(&format!("{username} signed a device out")),
                    Some(Event::Announcement { text, time_ms }) => self.announce(&text, time_ms)?,
                    Some(_) => {}
                    None => return Err(Error::Closed.into()),
                },
                line = &mut acknowledged => return Ok(Woken::Acknowledge(line)),
                () = &mut ended => return Ok(Woken::Enough),
                () = interrupts.wait() => return Ok(Woken::Interrupted),
            }
        }
    }

    /// Prints what is new, and moves the cursor behind it. Says how many messages that were.
    async fn print_new(&mut self) -> Result<usize, Failure> {
        let mut count = 0;
        loop {
            let page = self.client.unreceived(self.waiting.len() + PAGE).await?;
            let mut last = None;
            let mut written = Ok(());
            for message in page.iter().filter(|message| !self.waiting.contains(&message.id)) {
                written = self.printer.print(message);
                if written.is_err() {
                    break;
                }
                count += 1;
                last = Some(message.id);
            }
            match (self.manual, last) {
                (_, None) => {}
                (true, Some(_)) => self.waiting.extend(page.iter().map(|message| message.id)),
                (false, Some(id)) => self.client.acknowledge(id).await?,
            }
            written?;
            if last.is_none() {
                if count > 0 && !self.manual {
                    mark_read(self.client).await?;
                }
                return Ok(count);
            }
        }
    }

    /// Acknowledges what a line of standard input names; a wrong line is said and passed over.
    async fn acknowledge(&mut self, line: &str) -> Result<(), Failure> {
        if line.is_empty() {
            return Ok(());
        }
        let acknowledged = match line.parse::<MessageId>() {
            Ok(id) => self.client.acknowledge(id).await,
            Err(error) => Err(error),
        };
        match acknowledged {
            Ok(()) => {
                let behind = self.client.unreceived(self.waiting.len()).await?;
                let behind: HashSet<MessageId> = behind.iter().map(|message| message.id).collect();
                self.waiting.retain(|id| behind.contains(id));
                Ok(mark_read(self.client).await?)
            }
            Err(Error::BadMessageId) => {
                self.say("a line of standard input is not the id of a received message");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The operator's word: a line among the messages for scripts, a notice for people.
    fn announce(&self, text: &str, time_ms: u64) -> Result<(), Failure> {
        match self.printer.json {
            true => Ok(print_json(&AnnouncementObject::new(text, time_ms))?),
            false => {
                self.say(&output::announcement(text));
                Ok(())
            }
        }
    }

    /// Says something on standard error, where people look; scripts that read JSON are not disturbed.
    fn say(&self, what: &str) {
        if !self.printer.json {
            let _ = writeln!(std::io::stderr(), "waxwing: {}", sanitise(what, Breaks::Spaces));
        }
    }
}

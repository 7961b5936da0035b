//! `receive` and `ack`: what is new, in the order of arrival, each message at least once and normally exactly once.
//!
//! The receive cursor moves only past messages that are written and flushed (`--ack auto`) or that somebody
//! acknowledged (`--ack manual`): a killed `receive` prints the rest, or the last page again, next time.

use crate::{
    Failure,
    cli::{Acknowledge, Options, ReceiveArgs},
    command::{PATIENCE, ask, may_recover},
    output::{self, AnnouncementObject, ENROLLED_ANEW, SERVER_KEY_REPLACED, print, print_json},
    prompt::Interrupts,
    rpc::{
        Backend, Happening, Happenings, Purpose,
        messages::{self, AcknowledgeParams, Unreceived, UnreceivedParams},
        objects::MessageObject,
        profile::CatchUp,
    },
    sanitise::{Breaks, sanitise},
};
use jiff::tz::TimeZone;
use std::{collections::HashSet, io::Write as _, time::Duration};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines, Stdin},
    time::Instant,
};
use waxwing_core::{Connection, Error, Event, Message, MessageId};

/// Messages that are printed between two movements of the cursor.
const PAGE: usize = 32;

pub(crate) async fn run(options: &Options, arguments: &ReceiveArgs) -> Result<(), Failure> {
    // Whoever waits for long lets other commands use the profile meanwhile.
    let long = arguments.follow || arguments.timeout.is_some();
    let purpose = if long { Purpose::Hold } else { Purpose::Once };
    let printer = Printer { json: options.json, zone: TimeZone::system() };
    let manual = arguments.ack == Acknowledge::Manual;
    let mut interrupts = Interrupts::new();
    let mut input = (manual && arguments.follow).then(|| BufReader::new(tokio::io::stdin()).lines());
    loop {
        let backend = tokio::select! {
            opened = Backend::open(options, purpose) => opened?,
            () = interrupts.wait() => return Err(Failure::Interrupted),
        };
        let receiving = Receiving { backend: &backend, printer: &printer, manual, waiting: HashSet::new() };
        let received = receiving.run(arguments, &mut interrupts, &mut input).await;
        match backend.finish(received).await {
            Err(Failure::HolderEnded) if arguments.follow => {}
            received => return received,
        }
        printer.say("the process that held the profile has ended: going on without it");
    }
}

pub(crate) async fn acknowledge(options: &Options, id: MessageId) -> Result<(), Failure> {
    let params = AcknowledgeParams { id: id.to_string(), mark_read: true };
    let acknowledged = ask::<messages::Acknowledge>(options, params).await?;
    if options.json {
        print_json(&acknowledged)?;
    }
    Ok(())
}

struct Printer {
    json: bool,
    zone: TimeZone,
}

impl Printer {
    /// Writes and flushes a message.
    fn print(&self, message: &MessageObject) -> Result<(), Failure> {
        match self.json {
            true => print_json(message)?,
            false => {
                let line = output::message_line(&Message::try_from(message.clone())?, &self.zone, 0);
                // Who wrote it does not tell where.
                let place = message.chat.starts_with(['#', '+']).then(|| sanitise(&message.chat, Breaks::Spaces));
                print(&place.map_or(line.clone(), |place| format!("{place}  {line}")))?;
            }
        }
        Ok(())
    }

    /// The operator's word: a line among the messages for scripts, a notice for people.
    fn announce(&self, text: &str, time_ms: u64) -> Result<(), Failure> {
        match self.json {
            true => Ok(print_json(&AnnouncementObject::new(text, time_ms))?),
            false => {
                self.say(&output::announcement(text));
                Ok(())
            }
        }
    }

    /// Says something on standard error, where people look; scripts that read JSON are not disturbed.
    fn say(&self, what: &str) {
        if !self.json {
            let _ = writeln!(std::io::stderr(), "waxwing: {}", sanitise(what, Breaks::Spaces));
        }
    }
}

struct Receiving<'a> {
    backend: &'a Backend,
    printer: &'a Printer,
    manual: bool,
    /// Printed and not yet acknowledged, with `--ack manual`.
    waiting: HashSet<String>,
}

/// What ended a wait.
enum Woken {
    News,
    Acknowledge(String),
    Enough,
    Interrupted,
}

impl Receiving<'_> {
    async fn run(
        mut self,
        arguments: &ReceiveArgs,
        interrupts: &mut Interrupts,
        input: &mut Option<Lines<BufReader<Stdin>>>,
    ) -> Result<(), Failure> {
        let mut happenings = self.backend.happenings().await?;
        self.backend.go_online();
        let caught_up = tokio::select! {
            caught_up = self.backend.call::<CatchUp>(PATIENCE.into()) => caught_up,
            () = self.backend.must_lock() => return Err(Error::Locked.into()),
            () = interrupts.wait() => return Err(Failure::Interrupted),
        };
        // What is here already is printed even if the server cannot be reached.
        let printed = self.print_new().await?;
        match caught_up {
            Err(failure) if arguments.follow && may_recover(&failure) => self.printer.say(&failure.to_string()),
            caught_up => drop(caught_up?),
        }
        if arguments.follow {
            return self.follow(&mut happenings, interrupts, arguments.timeout, input).await;
        }
        let Some(timeout) = arguments.timeout.filter(|_| printed == 0) else { return Ok(()) };
        let deadline = Instant::now() + timeout;
        loop {
            match self.wait(&mut happenings, interrupts, Some(deadline), input).await? {
                Woken::News if self.print_new().await? == 0 => {}
                Woken::Interrupted => return Err(Failure::Interrupted),
                _ => return Ok(()),
            }
        }
    }

    async fn follow(
        &mut self,
        happenings: &mut Happenings,
        interrupts: &mut Interrupts,
        timeout: Option<Duration>,
        input: &mut Option<Lines<BufReader<Stdin>>>,
    ) -> Result<(), Failure> {
        let deadline = || timeout.map(|timeout| Instant::now() + timeout);
        let mut end = deadline();
        loop {
            match self.wait(happenings, interrupts, end, input).await? {
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
        happenings: &mut Happenings,
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
            let happening = tokio::select! {
                happening = happenings.next() => happening,
                line = &mut acknowledged => return Ok(Woken::Acknowledge(line)),
                () = &mut ended => return Ok(Woken::Enough),
                () = self.backend.must_lock() => return Err(Error::Locked.into()),
                () = interrupts.wait() => return Ok(Woken::Interrupted),
            };
            match happening {
                Happening::Event(Event::Message(_)) | Happening::Missed => return Ok(Woken::News),
                Happening::Event(Event::Connection(Connection::Offline { retry_in: None, reason })) => {
                    // It will not come back: the client knows the error of the right class.
                    self.backend.call::<CatchUp>(Duration::from_secs(1).into()).await?;
                    return Err(Error::ConnectionLost(reason).into());
                }
                Happening::Event(Event::Connection(Connection::Offline { reason, .. })) => self.printer.say(&reason),
                Happening::Event(Event::Request { username, invited_by: Some(by) }) => {
                    self.printer.say(&format!("{by} invites you into {username}: 'waxwing accept {username}'"));
                }
                Happening::Event(Event::Request { username, .. }) => {
                    self.printer.say(&format!("{username} wants to write to you: 'waxwing accept {username}'"));
                }
                Happening::Event(Event::IdentityChanged { username }) => {
                    self.printer.say(&format!("the identity of {username} has changed: everything for them is held"));
                }
                Happening::Event(Event::DeviceAdded { username, name, .. }) => {
                    let name = name.map_or_else(String::new, |name| format!(" '{name}'"));
                    self.printer.say(&format!("{username} has a new device{name}"));
                }
                Happening::Event(Event::DeviceRemoved { username, .. }) => {
                    self.printer.say(&format!("{username} signed a device out"));
                }
                Happening::Event(Event::IdentityRenewed { username, verified }) => {
                    let again = if verified { "; compare the safety number again" } else { "" };
                    self.printer
                        .say(&format!("{username} has a new identity, which the former one vouches for{again}"));
                }
                Happening::Event(Event::Announcement { text, time_ms }) => self.printer.announce(&text, time_ms)?,
                Happening::Event(Event::EnrolledAnew { .. }) => self.printer.say(ENROLLED_ANEW),
                Happening::Event(Event::ServerKeyReplaced) => self.printer.say(SERVER_KEY_REPLACED),
                Happening::Event(_) => {}
                Happening::Locked => return Err(Error::Locked.into()),
                Happening::Ended => return Err(Failure::HolderEnded),
            }
        }
    }

    /// Prints what is new, and moves the cursor behind it. Says how many messages that were.
    async fn print_new(&mut self) -> Result<usize, Failure> {
        let mut count = 0;
        let mut newest = None;
        loop {
            let page = self.unreceived(self.waiting.len() + PAGE).await?;
            let mut last = None;
            let mut written = Ok(());
            for message in page.iter().filter(|message| !self.waiting.contains(&message.id)) {
                written = self.printer.print(message);
                if written.is_err() {
                    break;
                }
                count += 1;
                last = Some(message.id.clone());
            }
            match (self.manual, &last) {
                (_, None) => {}
                (true, Some(_)) => self.waiting.extend(page.into_iter().map(|message| message.id)),
                (false, Some(id)) => self.ack(id.clone(), false).await?,
            }
            written?;
            match last {
                Some(last) => newest = Some(last),
                None => {
                    if let Some(newest) = newest.filter(|_| !self.manual) {
                        self.ack(newest, true).await?;
                    }
                    return Ok(count);
                }
            }
        }
    }

    async fn unreceived(&self, limit: usize) -> Result<Vec<MessageObject>, Failure> {
        Ok(self.backend.call::<Unreceived>(UnreceivedParams { limit }).await?.messages)
    }

    async fn ack(&self, id: String, mark_read: bool) -> Result<(), Failure> {
        self.backend.call::<messages::Acknowledge>(AcknowledgeParams { id, mark_read }).await.map(drop)
    }

    /// Acknowledges what a line of standard input names; a wrong line is said and passed over.
    async fn acknowledge(&mut self, line: &str) -> Result<(), Failure> {
        if line.is_empty() {
            return Ok(());
        }
        self.backend.touch();
        match self.ack(line.to_owned(), true).await {
            Ok(()) => {
                let behind = self.unreceived(self.waiting.len()).await?;
                let behind: HashSet<String> = behind.into_iter().map(|message| message.id).collect();
                self.waiting.retain(|id| behind.contains(id));
                Ok(())
            }
            Err(Failure::Core(Error::BadMessageId)) => {
                self.printer.say("a line of standard input is not the id of a received message");
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }
}

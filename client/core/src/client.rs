//! The handle that front ends hold: each command is one message to the engine's thread.

mod files;
pub(crate) mod groups;
pub(crate) mod messages;
pub(crate) mod owner;
mod presence;
pub(crate) mod trust;

use crate::{
    BackupDrill, BackupStatus, Chat, ChatKind, Error, Event, Events, Message, MessageId, ProfilePath, RestoreProgress,
    Status, Whoami,
    account::{blocking, now_ms},
    address, backup,
    engine::{BackupCommand, Command, Ending, Engine, settings},
    export::{self, ExportCursor, ExportPage, ExportRequest, ImportFile, Imported},
    lookalike,
    store::{self, chats, contacts, messages as history, outbox, own},
};
use rusqlite::Connection as Database;
use std::{
    fs::File,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use waxwing_e2ee::{account::IdentityPublicKey, local::LocalKey};
use zeroize::Zeroizing;

/// How long dropping waits for the engine.
const ENDING: Duration = Duration::from_secs(3);

/// How a profile is opened.
#[derive(Clone)]
pub enum Unlock {
    /// With the key that was kept when the user chose to stay logged in.
    Remembered,
    /// With the password.
    Password(Zeroizing<String>),
}

/// An open profile. Closing it properly ([`Client::close`]) sends what is due; dropping it loses nothing either.
pub struct Client {
    /// None only while it is dropped.
    engine: Option<mpsc::UnboundedSender<Command>>,
    /// None only while it is dropped.
    ending: Mutex<Option<Ending>>,
    profile: ProfilePath,
    /// To lock the profile under another password.
    key: Arc<LocalKey>,
}

impl Drop for Client {
    /// Waits until the engine is gone: a process must not end while its database is being closed.
    fn drop(&mut self) {
        self.engine = None;
        let ending = self.ending.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ending) = ending {
            ending.wait(ENDING);
        }
    }
}

impl Client {
    /// Opens a profile, without the network, and holds it for this process.
    pub async fn open(profile: &ProfilePath, unlock: Unlock) -> Result<Self, Error> {
        let profile = profile.clone();
        blocking(move || {
            if !profile.exists() {
                return Err(Error::NoProfile(profile.name().to_owned()));
            }
            let lock = profile.lock()?;
            let (key, password) = match unlock {
                Unlock::Remembered => (profile.remembered()?, None),
                Unlock::Password(password) => (profile.unlock(&password)?, Some(password)),
            };
            let db = store::open(&profile.database(), &key)?;
            let own = own::load(&db)?.ok_or_else(|| Error::NoProfile(profile.name().to_owned()))?;
            let (engine, ending) = Engine::start(db, own, lock, password)?;
            let (ending, key) = (Mutex::new(Some(ending)), Arc::new(key));
            Ok(Self { engine: Some(engine), ending, profile, key })
        })
        .await?
    }

    /// Reads every page of a profile that nobody holds.
    ///
    /// # Errors
    /// [`Error::Damaged`] if one of them is not as it was written; as [`Client::open`].
    pub async fn examine(profile: &ProfilePath, unlock: Unlock) -> Result<(), Error> {
        let profile = profile.clone();
        blocking(move || {
            let _lock = profile.lock()?;
            let key = match unlock {
                Unlock::Remembered => profile.remembered()?,
                Unlock::Password(password) => profile.unlock(&password)?,
            };
            store::examine(&store::open(&profile.database(), &key)?)
        })
        .await?
    }

    /// Who this profile is. Its device and its identity may become others.
    pub async fn whoami(&self) -> Result<Whoami, Error> {
        self.database(|db| whoami(&own::load(db)?.ok_or(Error::Closed)?)).await
    }

    /// The account's password, which is at hand: should this profile turn out to be an old copy of itself with the next
    /// connection, it becomes a new device by itself. It is forgotten as soon as that is certain.
    pub fn offer_password(&self, password: Zeroizing<String>) {
        let _ = self.command(Command::Password(password));
    }

    /// Makes this profile, which is an old copy or signed out, another device of its account. Its history stays; its local
    /// password becomes this one. To be called once a connection has failed with [`Error::OldCopy`] or [`Error::SignedOut`].
    pub async fn log_in_again(&self, password: &Zeroizing<String>) -> Result<Whoami, Error> {
        self.ask(|reply| Command::LogInAgain(password.clone(), reply)).await?;
        let (profile, key, password) = (self.profile.clone(), self.key.clone(), password.clone());
        blocking(move || profile.replace_key(&key, &password)).await??;
        self.whoami().await
    }

    /// A new subscription to everything that happens from now on.
    pub fn events(&self) -> Events {
        let (listener, events) = mpsc::unbounded_channel::<Event>();
        // A closed engine ends the subscription at once.
        let _ = self.command(Command::Listen(listener));
        events
    }

    /// Connects, and from now on reconnects by itself.
    pub fn go_online(&self) {
        let _ = self.command(Command::GoOnline);
    }

    /// Waits, after [`Client::go_online`], until everything that the server has is here; or says why it will not be.
    pub async fn caught_up(&self, limit: Duration) -> Result<(), Error> {
        let late = || Error::TimedOut("the server's messages did not arrive in time".into());
        timeout(limit, self.ask(Command::CaughtUp)).await.map_err(|_| late())?
    }

    /// Stores a text for sending; it leaves as soon as it can.
    pub async fn send(&self, to: &str, text: &str) -> Result<Message, Error> {
        let (to, text) = (to.to_owned(), text.to_owned());
        self.engine(move |engine| engine.post(&to, text, None)).await
    }

    /// Waits until the server has the message on disk; or says why it does not have it now. In that case the message
    /// stays queued unless its state is failed; see [`Client::withdraw`].
    pub async fn sent(&self, id: MessageId, limit: Duration) -> Result<Message, Error> {
        let late = || Error::TimedOut("the server did not confirm the message in time".into());
        timeout(limit, self.ask(|reply| Command::Sent { id, reply })).await.map_err(|_| late())?
    }

    /// Takes a queued message back, if it is certain that it never left; says whether it did.
    pub async fn withdraw(&self, id: MessageId) -> Result<bool, Error> {
        self.database(move |db| {
            store::in_transaction(db, |tx| {
                let Some((position, message)) = history::mine_by_id(tx, id)? else { return Err(Error::BadMessageId) };
                let withdrawn = outbox::withdraw(tx, position)?;
                if withdrawn {
                    history::delete(tx, position)?;
                    chats::forget_unused(tx, &message.chat)?;
                }
                Ok(withdrawn)
            })
        })
        .await
    }

    /// The name of the chat that a user means: a username, `#room`, `+id`, or what a private group is called.
    pub async fn chat_name(&self, given: &str) -> Result<String, Error> {
        let given = given.to_owned();
        self.database(move |db| address::resolve(db, &given)).await
    }

    /// Checks that a user exists, or that this device has that group or room; returns the chat's name.
    pub async fn start_chat(&self, name: &str) -> Result<String, Error> {
        let name = self.chat_name(name).await?;
        if ChatKind::of(&name) != ChatKind::Direct {
            let known = name.clone();
            return match self.database(move |db| chats::by_name(db, &known)).await? {
                Some(_) => Ok(name),
                None => Err(Error::UnknownChat(name)),
            };
        }
        self.ask(|reply| Command::Find { username: name.clone(), reply }).await?;
        Ok(name)
    }

    /// All chats, the one with the newest message first.
    pub async fn chats(&self) -> Result<Vec<Chat>, Error> {
        self.database(|db| {
            let mut all = chats::all(db)?.into_iter().map(|row| chat(db, row)).collect::<Result<Vec<_>, _>>()?;
            // Invitations that were declined, or came from who is blocked.
            all.retain(|chat| !(chat.request && (chat.over || (chat.blocked && chat.invited_by.is_some()))));
            let own = own::load(db)?.ok_or(Error::Closed)?;
            lookalike::note(&mut all, &own.username);
            all.sort_by_key(|chat| std::cmp::Reverse(chat.last.as_ref().map(|message| message.received_at)));
            Ok(all)
        })
        .await
    }

    /// The newest messages of a chat (all of them without a limit), oldest first.
    pub async fn history(&self, name: &str, limit: Option<usize>) -> Result<Vec<Message>, Error> {
        let name = name.to_owned();
        let limit = limit.unwrap_or(i64::MAX as usize);
        self.database(move |db| {
            let name = address::resolve(db, &name)?;
            match chats::by_name(db, &name)? {
                // Nothing of what a stranger wrote is shown before it is accepted.
                Some(row) if settings::is_request(db, &row.name)? => Ok(Vec::new()),
                Some(row) => history::newest(db, row.chat, limit),
                None => Err(Error::UnknownChat(name)),
            }
        })
        .await
    }

    /// Everything in the chat was seen.
    pub async fn mark_read(&self, name: &str) -> Result<(), Error> {
        let name = self.chat_name(name).await?;
        self.ask(|reply| Command::MarkRead { name, reply }).await
    }

    /// Others' messages after the receive cursor, in the order of arrival.
    pub async fn unreceived(&self, limit: usize) -> Result<Vec<Message>, Error> {
        self.database(move |db| history::unreceived(db, limit)).await
    }

    /// Moves the receive cursor behind this message; never back.
    pub async fn acknowledge(&self, id: MessageId) -> Result<(), Error> {
        self.database(move |db| match history::acknowledge(db, id)? {
            true => Ok(()),
            false => Err(Error::BadMessageId),
        })
        .await
    }

    /// How this profile stands.
    pub async fn status(&self) -> Result<Status, Error> {
        let (reply, online) = oneshot::channel();
        self.command(Command::Online(reply))?;
        let online = online.await.map_err(|_| Error::Closed)?;
        let chats = self.chats().await?;
        let held = self.database(|db| contacts::changed(db)).await?;
        let doubts = self.database(|db| store::order::doubts(db)).await?;
        Ok(Status {
            online,
            queued: chats.iter().map(|chat| chat.queued).sum(),
            unread: chats.iter().filter(|chat| !chat.request).map(|chat| chat.unread).sum(),
            chats: chats.len() as u64,
            held,
            doubts,
        })
    }

    /// The next piece of an export; without a cursor the first.
    pub async fn export(&self, request: ExportRequest, cursor: Option<ExportCursor>) -> Result<ExportPage, Error> {
        self.database(move |db| {
            let own = own::load(db)?.ok_or(Error::Closed)?;
            let chat = request.chat.as_deref().map(|chat| address::resolve(db, chat)).transpose()?;
            export::page(db, &own.username, &ExportRequest { chat, ..request }, cursor)
        })
        .await
    }

    /// Takes the messages of an exported document (JSON) into the history, marked as imported. The file is read whole
    /// before anything is stored; what is here already is left as it is.
    pub async fn import(&self, file: PathBuf) -> Result<Imported, Error> {
        let engine = self.engine.clone().ok_or(Error::Closed)?;
        blocking(move || {
            let open = || File::open(&file).map_err(|error| Error::BadInput(format!("{}: {error}", file.display())));
            let found = ImportFile::read(open()?, |_| Ok(()))?;
            let mut done = Imported { skipped: found.skipped, ..Default::default() };
            let mut position: Option<i64> = None;
            ImportFile::read(open()?, |batch| {
                let (reply, answer) = oneshot::channel();
                let length = i64::try_from(batch.len()).unwrap_or(i64::MAX);
                let known = position;
                let work = Box::new(move |db: &mut Database| {
                    let stored = store::in_transaction(db, |tx| {
                        let total = i64::try_from(found.texts).unwrap_or(i64::MAX);
                        let first = match known {
                            Some(position) => position,
                            None => history::lowest_position(tx)?.saturating_sub(total + 1),
                        };
                        export::import(tx, batch, first).map(|imported| (imported, first))
                    });
                    drop(reply.send(stored));
                });
                engine.send(Command::Database(work)).map_err(|_| Error::Closed)?;
                let (imported, first) = answer.blocking_recv().map_err(|_| Error::Closed)??;
                position = Some(first + length);
                done.added += imported.added;
                done.known += imported.known;
                Ok(())
            })?;
            Ok(done)
        })
        .await?
    }

    /// How the backup stands, from what this device knows.
    pub async fn backup_status(&self) -> Result<BackupStatus, Error> {
        self.database(|db| backup::status(db)).await
    }

    /// Stores everything that the backup lacks; waits until it is whole.
    pub async fn backup_now(&self) -> Result<BackupStatus, Error> {
        self.ask(|reply| Command::Backup(BackupCommand::Now(reply))).await
    }

    /// Restores the backup into a database that nobody keeps and compares it with this device.
    pub async fn backup_drill(&self) -> Result<BackupDrill, Error> {
        self.ask(|reply| Command::Backup(BackupCommand::Drill(reply))).await
    }

    /// Begins a backup (again), or deletes it at the server and makes none any more, on no device of the account.
    pub async fn backup_switch(&self, on: bool) -> Result<BackupStatus, Error> {
        self.ask(|reply| Command::Backup(BackupCommand::Switch(on, reply))).await
    }

    /// Waits, after [`Client::go_online`], until everything that the backup has for this device is here.
    pub async fn restored(&self) -> Result<RestoreProgress, Error> {
        self.ask(|reply| Command::Backup(BackupCommand::Restored(reply))).await
    }

    /// Sends receipts and acknowledgements that are due (for two seconds at most) and closes the profile: its database is
    /// closed and its keys are wiped when this returns. Whatever is asked afterwards is [`Error::Closed`].
    pub async fn close(&self) -> Result<(), Error> {
        self.ask(Command::Close).await
    }

    fn command(&self, command: Command) -> Result<(), Error> {
        self.engine.as_ref().and_then(|engine| engine.send(command).ok()).ok_or(Error::Closed)
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Command) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.command(command(reply))?;
        answer.await.map_err(|_| Error::Closed)?
    }

    async fn database<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Database) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let work = Box::new(move |db: &mut Database| drop(reply.send(work(db))));
        self.command(Command::Database(work))?;
        answer.await.map_err(|_| Error::Closed)?
    }
}

fn chat(db: &Database, row: chats::ChatRow) -> Result<Chat, Error> {
    let (unread, queued, mentions) = history::counts(db, row.chat)?;
    let request = settings::is_request(db, &row.name)?;
    let invited_by = if request { settings::invited_by(db, &row.name)? } else { None };
    let other = invited_by.as_deref().unwrap_or(&row.name);
    let contact = contacts::load(db, &row.name)?;
    Ok(Chat {
        last: if request { None } else { history::newest(db, row.chat, 1)?.pop() },
        unread,
        mentions,
        muted_until: settings::muted_until(db, &row.name, now_ms())?,
        timer: row.timer,
        draft: row.draft,
        request,
        blocked: settings::is_blocked(db, other)?,
        queued,
        full_name: contact.as_ref().and_then(|contact| contact.full_name.clone()),
        identity_changed: contact.is_some_and(|contact| contact.changed.is_some()),
        kind: ChatKind::of(&row.name),
        // What a stranger calls a group is a text of theirs.
        title: row.title.filter(|_| !request),
        topic: row.topic.filter(|topic| !topic.is_empty() && !request),
        invited_by,
        over: row.phase == chats::Phase::Over,
        looks_like: None,
        name: row.name,
    })
}

fn whoami(own: &own::Own) -> Result<Whoami, Error> {
    let identity = IdentityPublicKey::from_der(&own.identity_key);
    let identity = identity.map_err(|error| Error::Storage(format!("the stored identity key: {error}")))?;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Whoami {
        username: own.username.clone(),
        full_name: own.full_name.clone(),
        device: hex(&own.device),
        server: own.server.clone(),
        identity: hex(&identity.fingerprint()),
    })
}

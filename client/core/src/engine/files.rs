//! Files of messages: sending them beside everything else, and fetching them.
//!
//! The invariants: a message with a file leaves when the server has the file, and not before; an upload that a kill or a lost
//! connection interrupts goes on with the next connection. How bytes travel is the module `files`' part.

use super::{Engine, Reply, State, messages::resolve};
use crate::{
    ChatKind, Content, Error, ErrorKind, Event, File, Message, MessageId, MessageRef, MessageState, Transfer,
    account::now_ms,
    address,
    files::{self, Prepared},
    store::{self, changes::Target, files as rows, messages, outbox},
    transport::CallError,
};
use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::mpsc, task::AbortHandle, time::Instant};
use waxwing_e2ee::content::{self, Body};
use waxwing_protocol::{AttachmentId, Request};

/// How long an upload waits after a failure that may pass.
const PAUSE: Duration = Duration::from_secs(5);
/// How long at most nobody looks whether the server need not keep a file any more.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);
/// How often it is told how far a file has come.
const TOLD_EVERY: Duration = Duration::from_millis(100);

/// What those who carry files say to the engine.
pub(super) enum Note {
    /// A file has come further.
    Progress(Transfer),
    /// A message's file is sent, or is not.
    Uploaded { message: i64, outcome: Result<(), Error> },
    /// The server does not have a deleted message's file any more, or could not be asked.
    Dropped { attachment: [u8; 32], outcome: Result<(), Error> },
    /// A message's file was saved; whoever asked for it hears so once that is noted.
    Saved { target: Target, path: PathBuf, reply: Reply<PathBuf> },
}

/// See the module.
pub(super) struct Files {
    /// The message whose file is being sent, and what sends it.
    uploading: Option<(i64, AbortHandle)>,
    /// The server is being told that it need not keep a file.
    dropping: bool,
    /// Nothing is tried before.
    paused: Option<Instant>,
    /// When the server need not keep a file any more, and before when it is not told so again.
    drop_at: Option<Instant>,
    drop_paused: Option<Instant>,
    pub(super) notes: mpsc::UnboundedReceiver<Note>,
    note_to: mpsc::UnboundedSender<Note>,
}

impl Files {
    pub(super) fn new() -> Self {
        let (note_to, notes) = mpsc::unbounded_channel();
        Self { uploading: None, dropping: false, paused: None, drop_at: None, drop_paused: None, notes, note_to }
    }

    /// Whether the server has not yet said that it dropped what it was told to.
    pub(super) fn is_dropping(&self) -> bool {
        self.dropping
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.paused.into_iter().chain(self.drop_at).chain(self.drop_paused).min()
    }
}

/// Says how far a file has come, but not too often.
struct Meter {
    about: Transfer,
    told: Mutex<Option<Instant>>,
    note_to: mpsc::UnboundedSender<Note>,
}

impl Meter {
    fn new(message: &Message, sending: bool, note_to: &mpsc::UnboundedSender<Note>) -> Self {
        let (chat, id, from) = (message.chat.clone(), message.id, message.from.clone());
        let about = Transfer { chat, id, from, sending, done: 0, total: 0 };
        Self { about, told: Mutex::new(None), note_to: note_to.clone() }
    }

    fn show(&self, done: u64, total: u64) {
        let now = Instant::now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if done < total && told.is_some_and(|told| now < told + TOLD_EVERY) {
            return;
        }
        *told = Some(now);
        // An engine that is gone need not be told.
        let _ = self.note_to.send(Note::Progress(Transfer { done, total, ..self.about.clone() }));
    }
}

impl Engine {
    /// Stores a message with a file for sending.
    pub(crate) fn post_file(&mut self, to: &str, prepared: &Prepared) -> Result<Message, Error> {
        let to = address::resolve(&self.db, to)?;
        if super::settings::is_blocked(&self.db, &to)? {
            return Err(Error::BadInput(format!("'{to}' is blocked: what they would answer could not arrive")));
        }
        self.accept_by_writing(&to)?;
        let (id, now) = (MessageId(super::messages::new_id()), now_ms());
        let author = self.own.username.clone();
        let Prepared { path, file, digests } = prepared;
        store::in_transaction(&mut self.db, |tx| {
            let row = address::writable(tx, &to)?;
            let new = messages::NewMessage {
                chat: row.chat,
                id,
                author: &author,
                mine: true,
                seq: None,
                sent_at: now,
                received_at: now,
                content: &Content::File(Box::new(File::from(file))),
                state: &MessageState::Queued,
                reply_to: None,
                lifetime: row.timer,
            };
            let position = messages::insert(tx, &new)?;
            rows::insert(tx, &Target { chat: row.chat, author: author.clone(), id }, file)?;
            rows::begin_upload(tx, position, path, digests)?;
            messages::load(tx, position)
        })
    }

    /// Begins to send the next file that waits, if none is being sent; sees to it that the server drops what is deleted.
    pub(super) async fn keep_files(&mut self) -> Result<(), Error> {
        if let Some((message, sending)) = &self.files.uploading
            && !rows::is_uploading(&self.db, *message)?
        {
            // It was taken back.
            sending.abort();
            self.files.uploading = None;
        }
        self.drop_files()?;
        let now = Instant::now();
        self.files.paused = self.files.paused.filter(|until| *until > now);
        if self.files.uploading.is_some() || self.files.paused.is_some() {
            return Ok(());
        }
        for (message, chat) in rows::uploads(&self.db)? {
            let State::Online(online) = &self.reach else { return Ok(()) };
            if online.held.contains_key(&chat) {
                self.refuse_waiting(&chat)?;
                continue;
            }
            // Nothing of a file is sent for a user who is not there, or not who they were.
            let known = match ChatKind::of(&chat) {
                ChatKind::Direct => self.check_identity(&chat).await,
                // A group itself fixes the identities of its members.
                _ => Ok(()),
            };
            match known {
                Ok(()) => return self.start_upload(message),
                Err(error @ Error::UnknownUser(_)) => self.fail_upload(message, &error)?,
                Err(error) if error.kind() == ErrorKind::Untrusted => self.hold(&chat, error)?,
                Err(Error::RateLimited { seconds }) => {
                    self.files.paused = Some(now + Duration::from_secs(seconds.max(1)));
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn start_upload(&mut self, message: i64) -> Result<(), Error> {
        let State::Online(online) = &self.reach else { return Ok(()) };
        let Some(upload) = rows::upload(&self.db, message)? else { return Ok(()) };
        let meter = Meter::new(&messages::load(&self.db, message)?, true, &self.files.note_to);
        let (caller, note_to) = (online.connection.caller(), self.files.note_to.clone());
        let sending = tokio::spawn(async move {
            let outcome = files::upload(&caller, upload, |done, total| meter.show(done, total)).await;
            let _ = note_to.send(Note::Uploaded { message, outcome });
        });
        self.files.uploading = Some((message, sending.abort_handle()));
        Ok(())
    }

    /// Tells the server of the next file that it need not keep, once that is due. What it has not answered is told again.
    fn drop_files(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        self.files.drop_at = None;
        self.files.drop_paused = self.files.drop_paused.filter(|until| *until > now);
        let State::Online(online) = &self.reach else { return Ok(()) };
        let Some((attachment, due_at)) = rows::next_dropped(&self.db)? else { return Ok(()) };
        let wait = due_at.saturating_sub(now_ms());
        if wait > 0 {
            // Clocks are set: look again from time to time.
            self.files.drop_at = Some(now + Duration::from_millis(wait).min(LOOK_AGAIN));
            return Ok(());
        }
        if self.files.dropping || self.files.drop_paused.is_some() {
            return Ok(());
        }
        self.files.dropping = true;
        let (caller, note_to) = (online.connection.caller(), self.files.note_to.clone());
        tokio::spawn(async move {
            let request = Request::DeleteAttachment(AttachmentId(attachment));
            let outcome = caller.call(request).await.map(drop).map_err(CallError::into_error);
            let _ = note_to.send(Note::Dropped { attachment, outcome });
        });
        Ok(())
    }

    /// Takes in what those who carry files say.
    pub(super) fn note_file(&mut self, note: Note) -> Result<(), Error> {
        match note {
            Note::Progress(transfer) => self.tell(&Event::Transfer(transfer)),
            Note::Saved { target, path, reply } => {
                rows::set_saved(&self.db, &target, &path.to_string_lossy())?;
                if let Some(position) = messages::position_of(&self.db, &target)? {
                    let message = messages::load(&self.db, position)?;
                    self.tell(&Event::Changed(message));
                }
                drop(reply.send(Ok(path)));
            }
            Note::Dropped { attachment, outcome } => {
                self.files.dropping = false;
                match outcome {
                    Err(error) if passes(&error) => self.files.drop_paused = Some(Instant::now() + PAUSE),
                    // It is gone, or this account's other device has seen to it.
                    _ => rows::forget_dropped(&self.db, &attachment)?,
                }
            }
            Note::Uploaded { message, outcome } => {
                self.files.uploading.take_if(|(uploading, _)| *uploading == message);
                match outcome {
                    Ok(()) => self.uploaded(message)?,
                    Err(error) if passes(&error) => self.files.paused = Some(Instant::now() + PAUSE),
                    Err(error) => self.fail_upload(message, &error)?,
                }
            }
        }
        Ok(())
    }

    /// The server has the file: the message may leave.
    fn uploaded(&mut self, message: i64) -> Result<(), Error> {
        let chat = store::step("file-done", &mut self.db, |tx| {
            let Some(upload) = rows::upload(tx, message)? else { return Ok(None) };
            rows::end_upload(tx, message)?;
            let shown = messages::load(tx, message)?;
            let content = content::Content {
                id: shown.id.0,
                sent_at_ms: shown.sent_at,
                body: Body::File(Box::new(upload.file)),
                seen: None,
                lifetime: shown.lifetime,
            };
            let encoded = content::encode(&content).map_err(|error| Error::BadInput(error.to_string()))?;
            outbox::push(tx, upload.chat, &encoded, Some(message))?;
            Ok::<_, Error>(Some(upload.chat))
        })?;
        self.dirty.extend(chat);
        Ok(())
    }

    /// The file will not be sent, nor its message.
    fn fail_upload(&mut self, message: i64, error: &Error) -> Result<(), Error> {
        let failed = store::in_transaction(&mut self.db, |tx| {
            if !rows::end_upload(tx, message)? {
                return Ok(None);
            }
            super::sending::fail(tx, message, error).map(Some)
        })?;
        if let Some(failed) = failed {
            self.note_failed(failed, error);
        }
        Ok(())
    }

    /// Fetches a message's file into a folder.
    pub(crate) fn download(&mut self, which: &MessageRef, folder: PathBuf, reply: Reply<PathBuf>) {
        match self.begin_download(which) {
            Err(error) => drop(reply.send(Err(error))),
            Ok((target, file, caller, meter)) => {
                let note_to = self.files.note_to.clone();
                tokio::spawn(async move {
                    match files::download(&caller, file, folder, |done, total| meter.show(done, total)).await {
                        Ok(path) => drop(note_to.send(Note::Saved { target, path, reply })),
                        Err(error) => drop(reply.send(Err(error))),
                    }
                });
            }
        }
    }

    fn begin_download(
        &self,
        which: &MessageRef,
    ) -> Result<(Target, content::File, crate::transport::Caller, Meter), Error> {
        let (target, position) = resolve(&self.db, which)?;
        let file = rows::load(&self.db, &target)?.ok_or(Error::NoFile)?;
        let State::Online(online) = &self.reach else { return Err(self.offline()) };
        let meter = Meter::new(&messages::load(&self.db, position)?, false, &self.files.note_to);
        Ok((target, file, online.connection.caller(), meter))
    }
}

/// Whether an upload may succeed the next time.
fn passes(error: &Error) -> bool {
    matches!(error, Error::ConnectionLost(_) | Error::RateLimited { .. } | Error::TimedOut(_) | Error::Closed)
}

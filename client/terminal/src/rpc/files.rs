//! Files: `send_file`, `queue_file`, `files`, `download`.

use super::{
    Context, Method,
    chats::{MessageList, find},
    deeds::Which,
    messages::{OneMessage, SentObject, taken_back},
    objects::MessageObject,
};
use crate::{Failure, command::may_pass};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{future::Future, path::PathBuf, pin::pin, time::Duration};
use tokio::time::{Instant, sleep_until};
use waxwing_core::{Error, Event, Events, MessageId, MessageRef, Picture};

/// How long nothing may move.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How long catching up may take.
const CATCHING_UP: Duration = Duration::from_secs(30);

/// `send_file`
pub(crate) struct SendFile;

/// A file for somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SendFileParams {
    /// To whom.
    pub(crate) chat: String,
    /// An absolute path.
    pub(crate) path: PathBuf,
    /// What to say about it; empty: nothing.
    #[serde(default)]
    pub(crate) caption: String,
    /// If the server cannot be reached, keep the message for later.
    #[serde(default)]
    pub(crate) offline_ok: bool,
}

impl Method for SendFile {
    const NAME: &'static str = "send_file";
    const SUMMARY: &'static str =
        "Sends a file; done only when the server has all of it on disk. Progress is told in bytes";
    type Params = SendFileParams;
    type Result = SentObject;

    async fn run(context: &Context, params: SendFileParams) -> Result<SentObject, Failure> {
        let client = &context.client;
        client.go_online();
        let mut events = client.events();
        let SendFileParams { chat, path, caption, offline_ok } = params;
        let chat = if offline_ok { chat } else { find(client, &chat).await? };
        let message = client.send_file(&chat, &path, &caption).await?;
        let sent = client.sent(message.id, LIMIT);
        let message = match watched(context, &mut events, message.id, "sending", sent).await {
            Ok(message) => message,
            Err(error) if offline_ok && may_pass(&error) => message,
            Err(error) => taken_back(client, message.id, error).await?,
        };
        context.tell_written(&message);
        Ok(SentObject::from(&message))
    }
}

/// Waits for what moves a message's file, and tells how far it has come; gives up when nothing moves any more.
async fn watched<T>(
    context: &Context,
    events: &mut Events,
    id: MessageId,
    step: &str,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let mut work = pin!(work);
    let mut until = Instant::now() + PATIENCE;
    loop {
        tokio::select! {
            done = &mut work => return done,
            Some(event) = events.recv() => if let Event::Transfer(transfer) = event && transfer.id == id {
                context.progress(step, transfer.done, Some(transfer.total));
                until = Instant::now() + PATIENCE;
            },
            () = sleep_until(until) => {
                return Err(Error::TimedOut("nothing has moved for a minute; what is there already is kept".into()));
            }
        }
    }
}

/// `queue_file`
pub(crate) struct QueueFile;

/// A file that need not be sent at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueueFileParams {
    /// To whom.
    pub(crate) chat: String,
    /// An absolute path.
    pub(crate) path: PathBuf,
    /// What to say about it; empty: nothing.
    #[serde(default)]
    pub(crate) caption: String,
}

impl Method for QueueFile {
    const NAME: &'static str = "queue_file";
    const SUMMARY: &'static str =
        "Stores a file for sending and returns once it was read; events tell how far it has come";
    type Params = QueueFileParams;
    type Result = OneMessage;

    async fn run(context: &Context, params: QueueFileParams) -> Result<OneMessage, Failure> {
        let message = context.client.send_file(&params.chat, &params.path, &params.caption).await?;
        context.tell_written(&message);
        Ok(OneMessage { message: MessageObject::with_state(&message) })
    }
}

/// `files`
pub(crate) struct Files;

/// A chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FilesParams {
    /// Its name.
    pub(crate) chat: String,
}

impl Method for Files {
    const NAME: &'static str = "files";
    const SUMMARY: &'static str = "The messages of a chat that have files, oldest first";
    type Params = FilesParams;
    type Result = MessageList;

    async fn run(context: &Context, params: FilesParams) -> Result<MessageList, Failure> {
        let messages = context.client.files(&params.chat).await?;
        Ok(MessageList { messages: messages.iter().map(MessageObject::with_state).collect() })
    }
}

/// `download`
pub(crate) struct Download;

/// Which file, and where to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DownloadParams {
    /// The message's id.
    pub(crate) id: String,
    /// The chat's name, where several messages have the id.
    #[serde(default)]
    pub(crate) chat: Option<String>,
    /// The author's username, where several messages have the id.
    #[serde(default)]
    pub(crate) from: Option<String>,
    /// An absolute path of a folder.
    pub(crate) folder: PathBuf,
    /// If it was saved before and is still there as its sender sealed it, that will do.
    #[serde(default)]
    pub(crate) saved: bool,
}

/// Where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct DownloadedObject {
    /// The file.
    pub(crate) path: PathBuf,
}

impl Method for Download {
    const NAME: &'static str = "download";
    const SUMMARY: &'static str =
        "Saves the file of a message in a folder, under a name that is free. Progress is told in bytes";
    type Params = DownloadParams;
    type Result = DownloadedObject;

    async fn run(context: &Context, params: DownloadParams) -> Result<DownloadedObject, Failure> {
        let client = &context.client;
        let DownloadParams { id, chat, from, folder, saved } = params;
        let which = MessageRef { id: id.parse()?, chat, author: from };
        client.go_online();
        let mut events = client.events();
        // What is here needs no server.
        if saved && let Some(path) = client.saved_file(&which).await? {
            return Ok(DownloadedObject { path });
        }
        client.caught_up(CATCHING_UP).await?;
        let downloading = client.download(&which, &folder);
        let path = watched(context, &mut events, which.id, "fetching", downloading).await?;
        Ok(DownloadedObject { path })
    }
}

/// `thumbnail`
pub(crate) struct Thumbnail;

/// A picture, small.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ThumbnailObject {
    /// A JPEG in base64, as its sender made it: open it within bounds. None if there is none.
    pub(crate) jpeg: Option<String>,
}

impl ThumbnailObject {
    /// Its pixels, if it can be opened.
    pub(crate) fn picture(&self) -> Option<Picture> {
        Picture::decode(&STANDARD.decode(self.jpeg.as_ref()?).ok()?)
    }
}

impl Method for Thumbnail {
    const NAME: &'static str = "thumbnail";
    const SUMMARY: &'static str = "The small picture that came with a message's file";
    type Params = Which;
    type Result = ThumbnailObject;

    async fn run(context: &Context, params: Which) -> Result<ThumbnailObject, Failure> {
        let jpeg = context.client.thumbnail(&(&params).try_into()?).await?;
        Ok(ThumbnailObject { jpeg: jpeg.map(|jpeg| STANDARD.encode(jpeg)) })
    }
}

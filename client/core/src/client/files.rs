//! What front ends do with files.

use super::Client;
use crate::{
    Error, Message, MessageRef,
    account::blocking,
    address,
    engine::{Command, Engine},
    files,
    store::{chats, files as rows, messages},
};
use std::path::{Path, PathBuf};
use tokio::sync::oneshot;

impl Client {
    /// Stores a file for sending, with what the user says about it (empty: nothing). It is read once now and again while it is sent,
    /// beside everything else; then the message leaves. [`crate::Event::Transfer`] tells how far it has come.
    ///
    /// # Errors
    /// [`Error::File`] and [`Error::FileTooLarge`], and those of [`Client::send`].
    pub async fn send_file(&self, to: &str, path: &Path, caption: &str) -> Result<Message, Error> {
        let (to, path, caption) = (to.to_owned(), path.to_owned(), caption.to_owned());
        let prepared = blocking(move || files::prepare(&path, caption)).await??;
        self.engine(move |engine| engine.post_file(&to, &prepared)).await
    }

    /// Fetches the file of a message into a folder, under its own name or a numbered one if that is taken; returns where it is. What an
    /// interrupted call has left there is taken up again.
    ///
    /// # Errors
    /// [`Error::NoFile`], [`Error::FileGone`], [`Error::FileDamaged`], [`Error::File`]; [`Error::ConnectionLost`].
    pub async fn download(&self, which: &MessageRef, folder: &Path) -> Result<PathBuf, Error> {
        let (which, folder) = (which.clone(), folder.to_owned());
        let (reply, answer) = oneshot::channel();
        let work = move |engine: &mut Engine| engine.download(&which, folder, reply);
        self.command(Command::Engine(Box::new(work)))?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// The messages of a chat that have files, oldest first.
    pub async fn files(&self, chat: &str) -> Result<Vec<Message>, Error> {
        let chat = chat.to_owned();
        self.database(move |db| {
            let chat = address::resolve(db, &chat)?;
            let row = chats::by_name(db, &chat)?.ok_or(Error::UnknownChat(chat))?;
            rows::of_chat(db, row.chat)?.into_iter().map(|position| messages::load(db, position)).collect()
        })
        .await
    }
}

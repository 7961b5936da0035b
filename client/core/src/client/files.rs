//! What front ends do with files.

use super::Client;
use crate::{
    Content, Error, Message, MessageRef,
    account::blocking,
    address,
    engine::{Command, Engine, messages::resolve},
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

    /// Where the file of a message was saved last, if it is still there as its sender sealed it. Needs no server.
    ///
    /// # Errors
    /// [`Error::NoFile`]; [`Error::File`] if it cannot be read.
    pub async fn saved_file(&self, which: &MessageRef) -> Result<Option<PathBuf>, Error> {
        let wanted = which.clone();
        let (file, saved) = self
            .database(move |db| {
                let (target, position) = resolve(db, &wanted)?;
                let saved = match messages::load(db, position)?.content {
                    Content::File(file) => file.saved.map(PathBuf::from),
                    _ => None,
                };
                Ok((rows::load(db, &target)?.ok_or(Error::NoFile)?, saved))
            })
            .await?;
        let Some(saved) = saved else { return Ok(None) };
        let there = saved.clone();
        Ok(blocking(move || files::is_saved(&file, &there)).await?.then_some(saved))
    }

    /// The small picture of a message's file, as its sender made it: open it with [`crate::Picture::decode`].
    pub async fn thumbnail(&self, which: &MessageRef) -> Result<Option<Vec<u8>>, Error> {
        let which = which.clone();
        self.database(move |db| rows::thumbnail(db, &resolve(db, &which)?.0)).await
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

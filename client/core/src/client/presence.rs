//! Who is there, for front ends.

use super::Client;
use crate::{Error, Presence, Present};

impl Client {
    /// How the user of this front end is. To be said again every minute: it is believed for three. What is never said is told
    /// to nobody, so a program that runs by itself does not make its user look present.
    pub async fn set_presence(&self, presence: Presence) -> Result<(), Error> {
        self.engine(move |engine| engine.set_presence(presence)).await
    }

    /// How the user is to the others: gone while they hide, or no front end says otherwise.
    pub async fn own_presence(&self) -> Result<Presence, Error> {
        self.engine(|engine| engine.own_presence()).await
    }

    /// Asks who is there, in a chat or in those that are used most. If it says so, answers are on their way: those who are
    /// there answer within a second or, in large groups, three.
    pub async fn ask_presence(&self, chat: Option<&str>) -> Result<bool, Error> {
        let chat = match chat {
            Some(chat) => Some(self.chat_name(chat).await?),
            None => None,
        };
        self.engine(move |engine| engine.ask_presence(chat.as_deref())).await
    }

    /// Who is there now, by chat; as they say, or as members say of each other.
    pub async fn present(&self) -> Result<Vec<Present>, Error> {
        self.engine(|engine| Ok(engine.present())).await
    }
}

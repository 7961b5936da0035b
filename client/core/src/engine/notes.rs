//! The chat with oneself: for notes, and the channel between the devices of an account.
//!
//! It is made by itself once the account has a second device. It must not know what is said there.

use super::{Engine, State, directory::signed_list};
use crate::{
    Error,
    store::{
        self,
        chats::{self, Phase},
    },
};

impl Engine {
    /// Sees to it that the devices of this account have a chat of their own.
    pub(super) fn ensure_notes(&mut self) -> Result<(), Error> {
        let own = &self.own;
        let made = store::in_transaction(&mut self.db, |tx| {
            let several = signed_list(tx, own, &own.username)?.is_some_and(|(_, list)| list.list.devices.len() > 1);
            let row = if several { chats::ensure(tx, &own.username)? } else { return Ok(None) };
            Ok::<_, Error>((row.phase == Phase::New).then_some(row.chat))
        })?;
        if matches!(self.reach, State::Online(_)) {
            self.dirty.extend(made);
        }
        Ok(())
    }
}

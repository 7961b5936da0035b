//! The same store without its threads, for simulations: each call is one transaction, and a caller may let the process die
//! before its commit.
//!
//! Invariant: rules, tables and memory between transactions are those of [`super::SqliteStore`]; only the queue is missing.

use super::{
    OpenError,
    batch::{Announcement, Batch, Logs},
    inbox, log, schema,
};
use crate::store::{
    Append, AppendOutcome, CreateOutcome, EnrolOutcome, Enrolment, NewAccount, NewConversation, SignUpOutcome,
    StoreError, conformance::Published,
};
use rusqlite::Connection;
use waxwing_protocol::{ConversationId, DeviceId, InboxItem, Page};

/// See the module.
pub struct DirectStore {
    connection: Connection,
    logs: Logs,
}

/// What a change came to, and what was published after its commit.
pub type Done<T> = (T, Vec<Published>);

impl std::fmt::Debug for DirectStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DirectStore").finish_non_exhaustive()
    }
}

impl DirectStore {
    /// A new database in memory.
    ///
    /// # Errors
    /// The system has no random bytes, or no memory.
    pub fn in_memory() -> Result<Self, OpenError> {
        let (_, connection, _) = schema::in_memory()?;
        Ok(Self { connection, logs: Logs::default() })
    }

    /// The process is another one: what it remembered is gone, what it has committed is there.
    pub fn restart(&mut self) {
        self.logs = Logs::default();
    }

    /// As if there had never been a conversation. Accounts and their devices stay.
    ///
    /// # Errors
    /// The database fails, here as below.
    pub fn forget_conversations(&mut self) -> Result<(), StoreError> {
        self.restart();
        let tables: Vec<String> = self
            .connection
            .prepare(
                "SELECT name FROM sqlite_schema t WHERE type = 'table' AND (name IN ('conversation', 'entry') OR EXISTS (
                     SELECT 1 FROM pragma_table_info(t.name) c WHERE c.name = 'conversation'))",
            )?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        self.connection.execute_batch("PRAGMA foreign_keys = OFF")?;
        for table in tables {
            self.connection.execute(&format!("DELETE FROM \"{table}\""), [])?;
        }
        Ok(self.connection.execute_batch("PRAGMA foreign_keys = ON")?)
    }

    /// See [`crate::store::Store::create_account`].
    ///
    /// # Errors
    /// As above.
    pub fn create_account(&mut self, account: &NewAccount) -> Result<SignUpOutcome, StoreError> {
        Ok(self.change(|batch| batch.create_account(account))?.0)
    }

    /// See [`crate::store::Store::enrol_device`].
    ///
    /// # Errors
    /// As above.
    pub fn enrol_device(&mut self, enrolment: &Enrolment) -> Result<EnrolOutcome, StoreError> {
        Ok(self.change(|batch| batch.enrol_device(enrolment))?.0)
    }

    /// See [`crate::store::Store::create_conversation`].
    ///
    /// # Errors
    /// As above.
    pub fn create_conversation(&mut self, new: &NewConversation) -> Result<Done<CreateOutcome>, StoreError> {
        self.change(|batch| batch.create_conversation(new))
    }

    /// See [`crate::store::Store::append`].
    ///
    /// # Errors
    /// As above.
    pub fn append(&mut self, append: &Append) -> Result<Done<AppendOutcome>, StoreError> {
        self.change(|batch| batch.append(append))
    }

    /// What an append would have come to, had the process not died before its commit.
    ///
    /// # Errors
    /// As above.
    pub fn append_and_die(&mut self, append: &Append) -> Result<AppendOutcome, StoreError> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let mut batch = Batch::new(&self.connection, &mut self.logs);
        let outcome = batch.append(append).and_then(|outcome| batch.finish().map(|_| outcome));
        self.connection.execute_batch("ROLLBACK")?;
        self.restart();
        outcome
    }

    /// See [`crate::store::Store::acknowledge`].
    ///
    /// # Errors
    /// As above.
    pub fn acknowledge(&mut self, device: DeviceId, conversation: ConversationId, seq: u64) -> Result<(), StoreError> {
        self.change(|batch| batch.acknowledge(device, conversation, seq)).map(drop)
    }

    /// See [`crate::store::Store::fetch`].
    ///
    /// # Errors
    /// As above.
    pub fn fetch(
        &self,
        device: DeviceId,
        conversation: ConversationId,
        after: u64,
    ) -> Result<Option<Page>, StoreError> {
        log::fetch(&self.connection, device, conversation, after)
    }

    /// See [`crate::store::Store::fetch_inbox`].
    ///
    /// # Errors
    /// As above.
    pub fn fetch_inbox(&self, device: DeviceId, after: u64) -> Result<Vec<InboxItem>, StoreError> {
        inbox::fetch(&self.connection, device, after)
    }

    /// See [`crate::store::Store::acknowledge_inbox`].
    ///
    /// # Errors
    /// As above.
    pub fn acknowledge_inbox(&mut self, device: DeviceId, seq: u64) -> Result<(), StoreError> {
        self.change(|batch| batch.acknowledge_inbox(device, seq)).map(drop)
    }

    /// See [`crate::store::Store::expire`].
    ///
    /// # Errors
    /// As above.
    pub fn expire(&mut self, before_ms: u64) -> Result<u64, StoreError> {
        self.change(|batch| batch.tidy())?;
        let stale = log::expired(&self.connection, before_ms)?;
        Ok(self.change(|batch| batch.delete_entries(&stale))?.0)
    }

    fn change<T>(&mut self, work: impl FnOnce(&mut Batch<'_>) -> Result<T, StoreError>) -> Result<Done<T>, StoreError> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let mut batch = Batch::new(&self.connection, &mut self.logs);
        let done = work(&mut batch).and_then(|value| Ok((value, batch.finish()?)));
        let done = done.and_then(|done| Ok(self.connection.execute_batch("COMMIT").map(|()| done)?));
        match done {
            Ok((value, announcements)) => {
                self.logs.shrink();
                Ok((value, announcements.into_iter().map(published).collect()))
            }
            Err(error) => {
                self.connection.execute_batch("ROLLBACK")?;
                self.restart();
                Err(error)
            }
        }
    }
}

fn published(announcement: Announcement) -> Published {
    match announcement {
        Announcement::Entry { recipients, conversation, entry } => Published::Entry(recipients, conversation, entry),
        Announcement::Inbox { device, item } => Published::Inbox(device, item),
    }
}

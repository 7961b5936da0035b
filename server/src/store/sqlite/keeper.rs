//! The thread beside the writing one, for what need not hold anybody up: it moves pages from the log to the database, reminds
//! the writer of entries that are still to be deleted, a second after all devices have had them, and finds those that a writer
//! before has left.
//!
//! It changes no rows itself, and ends with the writer. It must not know why entries may go.

use super::{
    log, schema,
    writer::{Queue, Task},
};
use crate::store::StoreError;
use rusqlite::Connection;
use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// So long entries wait at most that all devices have.
const TIDY_AFTER: Duration = Duration::from_secs(1);
/// So many logs are tidied in one transaction that the writer does not remember.
const FORGOTTEN_AT_ONCE: usize = 64;

/// The log is moved to the database each time that it has grown by so many pages: 16 MiB.
const CHECKPOINT_EVERY: u32 = 2000;
/// The writer does that itself once the log has so many: it can grow faster than it is moved.
const CHECKPOINT_AT: u32 = 4 * CHECKPOINT_EVERY;

/// What the writer says.
enum Nudge {
    /// The log has grown.
    Log,
    /// There are entries to be deleted.
    Untidy,
    /// Which ones were to be deleted is forgotten.
    Forgotten,
}

/// The handle of the thread; it ends when this is dropped.
pub(super) struct Keeper {
    nudges: Option<Sender<Nudge>>,
    thread: Option<JoinHandle<()>>,
    /// Whether it was told that there is something.
    told: bool,
    /// The log's pages when the thread was told of them last.
    told_pages: u32,
    /// Whether the thread has moved what was in the log when it was told.
    moved: Arc<AtomicBool>,
}

impl Keeper {
    /// Starts it for the database at `path`, whose writer has this queue. It begins with what was left there.
    pub(super) fn start(path: PathBuf, queue: Queue) -> io::Result<Self> {
        let (nudges, heard) = mpsc::channel();
        let moved = Arc::<AtomicBool>::default();
        let has_moved = Arc::clone(&moved);
        let thread = thread::Builder::new().name("store-keeper".to_owned()).spawn(move || {
            if let Ok(()) = find_forgotten(&path, &queue) {
                run(&path, &queue, &heard, &has_moved);
            }
        })?;
        Ok(Self { nudges: Some(nudges), thread: Some(thread), told: false, told_pages: 0, moved })
    }

    /// Says how many pages the log has now. Returns whether the writer is to move what is left of them: while it writes nobody
    /// else can move all of them, and only then the log begins anew.
    pub(super) fn log_has(&mut self, pages: u32) -> bool {
        if pages < self.told_pages {
            self.told_pages = 0;
        }
        let finish = self.moved.swap(false, Ordering::Relaxed) || pages >= CHECKPOINT_AT;
        if !finish && pages >= self.told_pages + CHECKPOINT_EVERY {
            self.told_pages = pages;
            self.tell(Nudge::Log);
        }
        finish
    }

    /// Says whether there are entries to be deleted.
    pub(super) fn untidy(&mut self, is_untidy: bool) {
        if is_untidy && !self.told {
            self.tell(Nudge::Untidy);
        }
        self.told = is_untidy;
    }

    /// Which entries were to be deleted is forgotten: the database tells.
    pub(super) fn forgotten(&mut self) {
        self.told = false;
        self.tell(Nudge::Forgotten);
    }

    fn tell(&self, nudge: Nudge) {
        // Without the thread they stay until there are many.
        let _ = self.nudges.as_ref().map(|nudges| nudges.send(nudge));
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.nudges = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread beside the writing one failed");
        }
    }
}

/// Until the writer ends.
fn run(path: &Path, queue: &Queue, heard: &Receiver<Nudge>, moved: &AtomicBool) {
    let (mut due, mut forgotten, mut mover) = (None::<Instant>, false, None);
    loop {
        let nudge = match due {
            None => heard.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => heard.recv_timeout(due.saturating_duration_since(Instant::now())),
        };
        match nudge {
            Ok(Nudge::Log) => {
                if let Err(error) = checkpoint(path, &mut mover) {
                    tracing::warn!(%error, "the log could not be moved to the database; the writer will try");
                }
                moved.store(true, Ordering::Relaxed);
            }
            Ok(nudge) => {
                due.get_or_insert_with(|| Instant::now() + TIDY_AFTER);
                forgotten |= matches!(nudge, Nudge::Forgotten);
            }
            Err(RecvTimeoutError::Timeout) => {
                due = None;
                let found = if std::mem::take(&mut forgotten) { find_forgotten(path, queue) } else { Ok(()) };
                if found.and_then(|()| queue.submit(Task::unheard(|batch| batch.tidy()))).is_err() {
                    return;
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Moves what is in the log, beside the writer.
fn checkpoint(path: &Path, mover: &mut Option<Connection>) -> Result<(), rusqlite::Error> {
    let connection = match mover {
        Some(connection) => connection,
        none => none.insert(schema::open_mover(path)?),
    };
    schema::checkpoint(connection)
}

/// Has those entries deleted that all devices have, whatever the writer remembers. Fails when the writer has ended.
fn find_forgotten(path: &Path, queue: &Queue) -> Result<(), StoreError> {
    let logs = match schema::open_reader(path).and_then(|connection| log::untidy(&connection)) {
        Ok(logs) => logs,
        Err(error) => {
            tracing::warn!(%error, "could not see which entries all devices have");
            Vec::new()
        }
    };
    for part in logs.chunks(FORGOTTEN_AT_ONCE).map(<[i64]>::to_vec) {
        queue.submit(Task::unheard(move |batch| batch.tidy_forgotten(&part)))?;
    }
    Ok(())
}

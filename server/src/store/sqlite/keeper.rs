//! The thread beside the writing one, for what need not hold anybody up: it reminds the writer of entries that are still to be
//! deleted, a second after all devices have had them, and finds those that a writer before has left.
//!
//! It changes nothing itself, and ends with the writer. It must not know why entries may go.

use super::{
    log, schema,
    writer::{Queue, Task},
};
use crate::store::StoreError;
use std::{
    io,
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// So long entries wait at most that all devices have.
const TIDY_AFTER: Duration = Duration::from_secs(1);
/// So many logs are tidied in one transaction that the writer does not remember.
const FORGOTTEN_AT_ONCE: usize = 64;

/// What the writer says.
enum Nudge {
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
}

impl Keeper {
    /// Starts it for the database at `path`, whose writer has this queue. It begins with what was left there.
    pub(super) fn start(path: PathBuf, queue: Queue) -> io::Result<Self> {
        let (nudges, heard) = mpsc::channel();
        let thread = thread::Builder::new().name("store-keeper".to_owned()).spawn(move || {
            if let Ok(()) = find_forgotten(&path, &queue) {
                run(&path, &queue, &heard);
            }
        })?;
        Ok(Self { nudges: Some(nudges), thread: Some(thread), told: false })
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
fn run(path: &Path, queue: &Queue, heard: &Receiver<Nudge>) {
    let (mut due, mut forgotten) = (None::<Instant>, false);
    loop {
        let nudge = match due {
            None => heard.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => heard.recv_timeout(due.saturating_duration_since(Instant::now())),
        };
        match nudge {
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

//! The tasks that append. It owns the queues (one per task, a conversation always on the same one) and the promise that
//! every job is answered after its commit, alone in its failure. It must not know what makes an append good or bad.

use super::Database;
use super::batch::Batch;
use super::error::{SharedFailure, is_refusal, retried};
use super::inbox::{announce, post};
use crate::store::{Append, AppendOutcome, StoreError};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;

/// How many jobs one transaction takes.
const BATCH: usize = 256;
/// How many jobs may wait at one task before submitting waits too.
const QUEUE: usize = 1024;

struct Job {
    append: Append,
    answer: oneshot::Sender<Result<AppendOutcome, StoreError>>,
}

/// The handle of the tasks. They end, after their last jobs, when it is closed or dropped.
pub(super) struct Writers {
    queues: RwLock<Vec<mpsc::Sender<Job>>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Writers {
    pub(super) fn start(database: &Arc<Database>, count: u32) -> Self {
        let (queues, tasks) = (0..count)
            .map(|_| {
                let (queue, jobs) = mpsc::channel(QUEUE);
                (queue, tokio::spawn(run(database.clone(), jobs)))
            })
            .unzip();
        Self { queues: RwLock::new(queues), tasks: Mutex::new(tasks) }
    }

    pub(super) async fn append(&self, append: Append) -> Result<AppendOutcome, StoreError> {
        let shard = append.conversation.0.iter().fold(0_usize, |hash, byte| hash.wrapping_mul(31) + usize::from(*byte));
        let queue = {
            let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
            let place = shard.checked_rem(queues.len()).ok_or(StoreError::Closed)?;
            queues.get(place).cloned().ok_or(StoreError::Closed)?
        };
        let (answer, outcome) = oneshot::channel();
        queue.send(Job { append, answer }).await.map_err(|_| StoreError::Closed)?;
        drop(queue);
        outcome.await.map_err(|_| StoreError::Closed)?
    }

    /// Returns when everything submitted before is answered.
    pub(super) async fn close(&self) {
        self.queues.write().unwrap_or_else(PoisonError::into_inner).clear();
        for task in self.tasks.lock().await.drain(..) {
            if let Err(error) = task.await {
                tracing::error!(%error, "a writing task failed");
            }
        }
    }
}

async fn run(database: Arc<Database>, mut queue: mpsc::Receiver<Job>) {
    let mut jobs = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut jobs, BATCH).await > 0 {
        let (appends, answers): (Vec<_>, Vec<_>) = jobs.drain(..).map(|job| (job.append, job.answer)).unzip();
        for (outcome, answer) in database.append_all(&appends).await.into_iter().zip(answers) {
            // Whoever asked may be gone: the entry is stored all the same.
            let _ = answer.send(outcome);
        }
    }
}

impl Database {
    /// One outcome per append, in one transaction if nothing is wrong with any of them.
    async fn append_all(&self, appends: &[Append]) -> Vec<Result<AppendOutcome, StoreError>> {
        match retried(|| self.try_append(appends)).await {
            Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
            Err(error) if appends.len() > 1 && is_refusal(&error) => {
                tracing::warn!(%error, "the database refused a batch; each of its appends is tried alone");
                let mut outcomes = Vec::with_capacity(appends.len());
                for append in appends {
                    let alone = retried(|| self.try_append(std::slice::from_ref(append))).await;
                    outcomes.push(alone.and_then(|all| all.into_iter().next().ok_or(StoreError::Closed)));
                }
                outcomes
            }
            Err(error) => {
                tracing::error!(%error, "appending failed");
                let failure = SharedFailure(Arc::new(error));
                appends.iter().map(|_| Err(failure.clone().into())).collect()
            }
        }
    }

    async fn try_append(&self, appends: &[Append]) -> Result<Vec<AppendOutcome>, StoreError> {
        let mut transaction = self.writing.begin().await?;
        let mut batch = Batch::load(&mut transaction, appends).await?;
        let outcomes: Vec<_> = appends.iter().map(|append| batch.judge(append)).collect();
        batch.write(&mut transaction, self.statement_bytes).await?;
        if batch.notices.is_empty() {
            transaction.commit().await?;
            batch.publish_entries(&*self.publish);
        } else {
            let _order = self.inbox_order.lock().await;
            let posted = post(&mut transaction, &batch.notices, self.statement_bytes).await?;
            transaction.commit().await?;
            batch.publish_entries(&*self.publish);
            announce(&*self.publish, &batch.notices, &posted);
        }
        Ok(outcomes)
    }
}

//! The conformance suite on SQLite, and what only SQLite's file and writer can do wrong.

use super::{MigrationReport, OpenError, SqliteStore, migrate};
use crate::store::{
    AppendOutcome, Publish, SharedOperatorStore, Store, StoreError,
    conformance::{FreshDatabase, Recorder, START_MS, Stage, message, new_account},
};
use async_trait::async_trait;
use rusqlite::Connection;
use std::{
    fs,
    future::poll_fn,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    pin::Pin,
    process::Command,
    sync::{Arc, mpsc},
    task::Poll,
};
use tokio::task::{Unconstrained, unconstrained};
use waxwing_protocol::{ConversationId, DeviceId};

/// The schema's version.
const NEWEST: usize = 8;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        migrate(&folder.path()).unwrap();
        folder
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("waxwing.db")
    }
}

#[async_trait]
impl FreshDatabase for Folder {
    async fn open(&self, publish: Arc<dyn Publish>) -> SharedOperatorStore {
        Arc::new(SqliteStore::open(&self.path(), publish).unwrap())
    }
}

crate::store_conformance!(Folder::new());

fn open(path: &Path) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(path, Arc::new(Recorder::default()))
}

/// Holds the writer back until the sender is dropped, so that what is submitted meanwhile becomes one batch.
async fn hold(store: &Arc<SqliteStore>) -> (mpsc::Sender<()>, tokio::task::JoinHandle<()>) {
    let (release, held) = mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let (started, begun) = tokio::sync::watch::channel(false);
    let store = store.clone();
    let task = tokio::spawn(async move {
        let wait = move |_: &mut super::Batch<'_>| {
            started.send_replace(true);
            let _ = held.lock().unwrap().recv();
            Ok(())
        };
        store.write(wait).await.unwrap();
    });
    let mut begun = begun;
    begun.wait_for(|started| *started).await.unwrap();
    (release, task)
}

/// A call that has put its job into the queue, and waits for the writer.
async fn submitted<F: Future>(call: F) -> Pin<Box<Unconstrained<F>>> {
    let mut call = Box::pin(unconstrained(call));
    assert!(poll_fn(|context| Poll::Ready(call.as_mut().poll(context).is_pending())).await, "the writer is held back");
    call
}

async fn stage() -> (Folder, Arc<SqliteStore>, Stage) {
    let folder = Folder::new();
    let published = Arc::new(Recorder::default());
    let store = Arc::new(SqliteStore::open(&folder.path(), published.clone()).unwrap());
    let stage = Stage { store: store.clone(), published };
    (folder, store, stage)
}

/// Submits `bad` between two good messages into one batch; returns the two answers and that of `bad`.
async fn batch_with(
    store: &Arc<SqliteStore>,
    stage: &Stage,
    bad: fn(&mut super::Batch<'_>) -> Result<(), StoreError>,
) -> [Result<AppendOutcome, StoreError>; 3] {
    let (alice, _, id) = stage.pair().await;
    let (release, holding) = hold(store).await;
    let append = |number| store.append(message(alice.device, id, number, 1));
    let first = submitted(append(1)).await;
    let spoiler = submitted(async { store.write(bad).await.map(|()| AppendOutcome::UnknownConversation) }).await;
    let second = submitted(append(2)).await;
    drop(release);
    holding.await.unwrap();
    [first.await, spoiler.await, second.await]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_job_fails_alone() {
    let (_folder, store, stage) = stage().await;
    let [first, bad, second] = batch_with(&store, &stage, |batch| {
        // Something is written before it fails.
        batch.connection.execute("DELETE FROM entry", [])?;
        batch.connection.execute("INSERT INTO server (id, incarnation) VALUES (2, x'')", [])?;
        Ok(())
    })
    .await;
    assert_eq!(first.unwrap(), AppendOutcome::Accepted { seq: 2, time_ms: START_MS });
    assert!(matches!(bad, Err(StoreError::Database(_))));
    assert_eq!(second.unwrap(), AppendOutcome::Accepted { seq: 3, time_ms: START_MS });
    let published = stage.published.at_least(3).await;
    assert_eq!(published.len(), 3, "the welcome and each message once: {published:?}");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_commit_fails_all_and_publishes_nothing() {
    let (_folder, store, stage) = stage().await;
    let answers = batch_with(&store, &stage, |batch| {
        batch.connection.execute_batch(
            "PRAGMA defer_foreign_keys = ON; INSERT INTO key_package (device, last_resort, payload) VALUES (99, 0, x'')",
        )?;
        Ok(())
    })
    .await;
    assert!(answers.iter().all(|answer| matches!(answer, Err(StoreError::Database(_)))), "{answers:?}");
    assert_eq!(stage.published.at_least(1).await.len(), 1, "the welcome only");
    // The writer has forgotten what did not happen, and goes on.
    let (alice, id) = (crate::store::conformance::device_id(1), waxwing_protocol::ConversationId([7; 16]));
    assert_eq!(stage.seqs(alice, id, 0).await, [1]);
    assert_eq!(stage.send(alice, id, 1, 1).await, AppendOutcome::Accepted { seq: 2, time_ms: START_MS });
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_writer_survives_a_full_disk() {
    let (_folder, store, stage) = stage().await;
    let (alice, _, id) = stage.pair().await;
    let limit = |pages: u32| {
        store.write(move |batch| {
            let sql = format!("PRAGMA max_page_count = {pages}");
            Ok(batch.connection.query_row(&sql, [], |_| Ok(()))?)
        })
    };
    limit(1).await.unwrap(); // SQLite takes that as: no more than there are.
    let mut large = message(alice.device, id, 1, 1);
    large.body = crate::store::AppendBody::Application(vec![0; 100_000].into());
    assert!(matches!(store.append(large.clone()).await, Err(StoreError::Database(_))));
    assert_eq!(stage.seqs(alice.device, id, 0).await, [1]);
    limit(1 << 30).await.unwrap();
    assert_eq!(store.append(large).await.unwrap(), AppendOutcome::Accepted { seq: 2, time_ms: START_MS });
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_finishes_what_was_accepted() {
    let (folder, store, stage) = stage().await;
    let (alice, _, id) = stage.pair().await;
    let (release, holding) = hold(&store).await;
    let mut sends = Vec::new();
    for number in 1..=50 {
        sends.push(submitted(store.append(message(alice.device, id, number, 1))).await);
    }
    let closing = submitted(store.close()).await;
    drop(release);
    holding.await.unwrap();
    closing.await;
    for send in sends {
        assert!(matches!(send.await, Ok(AppendOutcome::Accepted { .. })));
    }
    let store = open(&folder.path()).unwrap();
    assert_eq!(store.fetch(alice.device, id, 0).await.unwrap().unwrap().head, 51);
}

#[test]
fn migrating_again_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("waxwing.db");
    assert_eq!(migrate(&path).unwrap(), MigrationReport { from: 0, to: NEWEST });
    let incarnation = open(&path).unwrap().incarnation;
    assert_eq!(retry_while_in_use(|| migrate(&path)).unwrap(), MigrationReport { from: NEWEST, to: NEWEST });
    assert_eq!(open(&path).unwrap().incarnation, incarnation);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_the_first_version_is_upgraded_with_all_that_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("waxwing.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(include_str!("../../../../migrations/sqlite/0001_initial.sql")).unwrap();
    old.execute_batch(
        "PRAGMA user_version = 1;
         INSERT INTO server VALUES (1, randomblob(16));
         INSERT INTO account SELECT value, 'person' || value, NULL, NULL, NULL, zeroblob(16), 65536, 3, 4, x'01', x'02',
             x'03', x'04', x'05', x'06', x'07', x'08', 1, 0 FROM (SELECT 1 AS value UNION SELECT 2);
         INSERT INTO device VALUES (5, unhex('01010101010101010101010101010101'), 1, zeroblob(32), 3, 0),
             (9, unhex('02020202020202020202020202020202'), 2, zeroblob(32), 1, 0);
         INSERT INTO key_package VALUES (1, 5, 1, x'aa');
         INSERT INTO conversation VALUES (4, unhex('07070707070707070707070707070707'), 1, 2, 5, 1, 0, 2, 1, 0);
         INSERT INTO roster VALUES (4, 1), (4, 2);
         INSERT INTO member VALUES (4, 5, 0, 1, 1, NULL), (4, 9, 1, 1, 0, NULL);
         INSERT INTO entry (place, time_ms, is_commit, sender, number, payload)
             VALUES (4 << 32 | 1, 0, 1, 5, 0, x'bb'), (4 << 32 | 2, 0, 0, 5, 1, x'cc');
         INSERT INTO sent VALUES (4, 5, 1, 1, 2, 0);
         INSERT INTO welcome VALUES (1, unhex('07070707070707070707070707070707'), 1, 1, x'dd');
         INSERT INTO inbox VALUES (9, 1, 0, 1, NULL, NULL), (5, 3, 0, NULL, 'person2', 1);",
    )
    .unwrap();
    drop(old);
    assert_eq!(migrate(&path).unwrap(), MigrationReport { from: 1, to: NEWEST });
    let store = open(&path).unwrap();
    let (id, one, two) = (ConversationId([7; 16]), DeviceId([1; 16]), DeviceId([2; 16]));
    assert_eq!(store.fetch_inbox(two, 0).await.unwrap().len(), 1);
    assert_eq!(store.fetch_inbox(one, 0).await.unwrap().len(), 1);
    assert_eq!(store.fetch(two, id, 0).await.unwrap().unwrap().entries.len(), 1);
    assert_eq!(store.conversations(one, None).await.unwrap().len(), 1);
    assert_eq!(store.key_package_stock(one, START_MS).await.unwrap().one_time, 0);
    let again = store.append(message(one, id, 1, 1)).await.unwrap();
    assert_eq!(again, AppendOutcome::Accepted { seq: 2, time_ms: 0 }, "the entry tells");
    let message = message(one, id, 2, 1);
    assert_eq!(store.append(message).await.unwrap(), AppendOutcome::Accepted { seq: 3, time_ms: START_MS });
    // Rows of devices are never taken for others: the next one is beyond the highest that ever was.
    let removed = crate::store::AccountRevision {
        account: crate::store::AccountId(2),
        version: 2,
        follows: 1,
        device_list: Vec::new(),
        removed: vec![two],
        credentials: None,
        identity: None,
        now_ms: START_MS,
    };
    assert_eq!(store.revise_account(removed).await.unwrap(), crate::store::ReviseOutcome::Revised);
    let new = crate::store::conformance::new_device(3);
    store
        .enrol_device(crate::store::conformance::enrolment(crate::store::AccountId(2), new, 3, Vec::new()))
        .await
        .unwrap();
    store.close().await;
    let row = |sql: &str| Connection::open(&path).unwrap().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(row("SELECT max(id) FROM device"), 10);
}

/// The writing thread of a store that was dropped ends a moment later.
fn retry_while_in_use<T>(mut attempt: impl FnMut() -> Result<T, OpenError>) -> Result<T, OpenError> {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        match attempt() {
            Err(OpenError::InUse) if std::time::Instant::now() < deadline => std::thread::yield_now(),
            other => return other,
        }
    }
}

#[test]
fn a_migration_that_was_killed_is_completed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("waxwing.db");
    // Killed before the first transaction.
    fs::write(&path, b"").unwrap();
    assert!(matches!(open(&path), Err(OpenError::Unmigrated { found: 0, needed: NEWEST })));
    assert_eq!(migrate(&path).unwrap(), MigrationReport { from: 0, to: NEWEST });
    // Killed before the incarnation.
    Connection::open(&path).unwrap().execute("DELETE FROM server", []).unwrap();
    assert!(matches!(open(&path), Err(OpenError::Unmigrated { .. })));
    assert_eq!(migrate(&path).unwrap(), MigrationReport { from: NEWEST, to: NEWEST });
    open(&path).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_migrating() {
    // A child that is killed at some point of its migration, time and again; whatever it left can be completed.
    if let Some(path) = std::env::var_os("WAXWING_TEST_MIGRATE") {
        migrate(Path::new(&path)).unwrap();
        return;
    }
    for round in 0..20_u32 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("waxwing.db");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::sqlite::tests::killed_while_migrating"])
            .env("WAXWING_TEST_MIGRATE", &path)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // The later the round, the further it gets: the number of looks at the folder is the clock.
        for _ in 0..round * 3000 {
            let _ = fs::metadata(&path);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        migrate(&path).unwrap();
        let store = open(&path).unwrap();
        assert!(matches!(
            store.create_account(new_account("alice", 1)).await.unwrap(),
            crate::store::SignUpOutcome::Created(_)
        ));
        store.close().await;
    }
}

#[test]
fn what_is_not_ours_is_refused_and_left_alone() {
    let folder = Folder::new();
    let path = folder.path();
    let set = |sql: &str| Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    set("PRAGMA user_version = 99");
    assert!(matches!(open(&path), Err(OpenError::Newer { found: 99, known: NEWEST })));
    assert!(matches!(migrate(&path), Err(OpenError::Newer { found: 99, known: NEWEST })));
    set("PRAGMA user_version = 0");
    assert!(matches!(migrate(&path), Err(OpenError::Foreign)));
    set("PRAGMA user_version = 1; PRAGMA application_id = 7");
    assert!(matches!(open(&path), Err(OpenError::Foreign)));
    assert!(matches!(migrate(&path), Err(OpenError::Foreign)));

    let garbage = folder.0.path().join("garbage.db");
    let bytes = b"this is no database, but it is long enough to be one".repeat(200);
    fs::write(&garbage, &bytes).unwrap();
    assert!(matches!(open(&garbage), Err(OpenError::Damaged(_))));
    assert!(matches!(migrate(&garbage), Err(OpenError::Damaged(_))));
    assert_eq!(fs::read(&garbage).unwrap(), bytes);

    assert!(matches!(open(&folder.0.path().join("nothing.db")), Err(OpenError::Io(_))));
    assert!(matches!(migrate(&folder.0.path().join("no folder/waxwing.db")), Err(OpenError::Io(_))));
}

#[test]
fn a_damaged_database_is_refused() {
    let folder = Folder::new();
    let whole = fs::read(folder.path()).unwrap();
    fs::write(folder.path(), &whole[..whole.len() / 2]).unwrap();
    assert!(matches!(open(&folder.path()), Err(OpenError::Damaged(_))));
}

#[test]
fn one_program_at_a_time_has_it_open() {
    let folder = Folder::new();
    let store = open(&folder.path()).unwrap();
    assert!(matches!(open(&folder.path()), Err(OpenError::InUse)));
    assert!(matches!(migrate(&folder.path()), Err(OpenError::InUse)));
    drop(store);
    retry_while_in_use(|| open(&folder.path())).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_private_whatever_the_umask() {
    const FOLDER: &str = "WAXWING_TEST_PRIVATE_FOLDER";
    if let Some(folder) = std::env::var_os(FOLDER) {
        let path = Path::new(&folder).join("waxwing.db");
        migrate(&path).unwrap();
        let store = open(&path).unwrap();
        store.create_account(new_account("alice", 1)).await.unwrap();
        let mut names = Vec::new();
        for file in fs::read_dir(&folder).unwrap() {
            let file = file.unwrap();
            names.push(file.file_name().into_string().unwrap());
            let mode = file.metadata().unwrap().permissions().mode() & 0o7777;
            assert_eq!(mode, 0o600, "{:?}", file.file_name());
        }
        names.sort();
        assert_eq!(names, ["waxwing.db", "waxwing.db-lock", "waxwing.db-shm", "waxwing.db-wal"]);
        return;
    }
    for umask in ["000", "022", "777"] {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new("sh")
            .args(["-c", &format!("umask {umask}; exec \"$0\" --exact \"$1\" --nocapture")])
            .arg(std::env::current_exe().unwrap())
            .arg("store::sqlite::tests::files_are_private_whatever_the_umask")
            .env(FOLDER, folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "umask {umask}: {output:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_writer_says_nothing_on_stderr() {
    const FOLDER: &str = "WAXWING_TEST_SILENT_FOLDER";
    if let Some(folder) = std::env::var_os(FOLDER) {
        let path = Path::new(&folder).join("waxwing.db");
        fs::write(&path, b"garbage".repeat(1000)).unwrap();
        assert!(open(&path).is_err() && migrate(&path).is_err());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::sqlite::tests::the_writer_says_nothing_on_stderr", "--nocapture"])
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[tokio::test]
async fn every_column_is_listed_and_every_table_disclosed() {
    let (folder, _store, stage) = stage().await;
    let connection = rusqlite::Connection::open(folder.path()).unwrap();
    let mut select = connection
        .prepare(
            "SELECT t.name, c.name FROM sqlite_schema t JOIN pragma_table_xinfo(t.name) c
             WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'",
        )
        .unwrap();
    let schema = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let schema = schema.collect::<Result<_, _>>().unwrap();
    crate::store::conformance::operator::every_column_is_listed(&stage, schema, false).await;
}

#[test]
fn the_page_in_security_md_is_the_list_of_columns() {
    let page = crate::store::columns::page();
    let security = include_str!("../../../../SECURITY.md");
    assert!(security.contains(&page), "SECURITY.md must hold this table as it is:\n{page}");
}

#[tokio::test]
async fn a_copy_is_of_one_moment_and_becomes_another_life() {
    let (folder, store, stage) = stage().await;
    let (alice, bob, id) = stage.pair().await;
    store.publish_key_packages(bob.device, vec![vec![1].into()], Some(vec![2].into()), START_MS).await.unwrap();
    let copy = folder.0.path().join("copy");
    crate::store::OperatorStore::copy_to(&*store, &copy).await.unwrap();
    stage.send(alice.device, id, 1, 1).await;
    super::verify(&copy).unwrap();
    super::renew(&copy).unwrap();
    let restored = open(&copy).unwrap();
    assert_ne!(restored.incarnation(), store.incarnation());
    assert_eq!(
        restored.key_package_stock(bob.device, START_MS).await.unwrap(),
        waxwing_protocol::KeyPackageStock { one_time: 0, last_resort: false }
    );
    assert_eq!(restored.fetch(bob.device, id, 0).await.unwrap().unwrap().head, 1);
}

#[tokio::test]
async fn what_a_killed_server_has_left_is_not_seen_and_goes() {
    let (folder, store, stage) = stage().await;
    let (alice, bob, id) = stage.pair().await;
    stage.send(alice.device, id, 1, 1).await;
    let copy = folder.0.path().join("copy.db");
    crate::store::OperatorStore::copy_to(&*store, &copy).await.unwrap();
    // As if it had died between an acknowledgement and the deletion of what all have.
    Connection::open(&copy).unwrap().execute("UPDATE member SET cursor = 2", []).unwrap();
    let entries = || Connection::open(&copy).unwrap().query_row("SELECT count(*) FROM entry", [], |row| row.get(0));
    assert_eq!(entries(), Ok(2_i64));
    let restarted = open(&copy).unwrap();
    let page = restarted.fetch(bob.device, id, 0).await.unwrap().unwrap();
    assert_eq!((page.entries.len(), page.head, page.tail), (0, 2, 3));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while entries() != Ok(0) {
        assert!(std::time::Instant::now() < deadline, "they are still there");
        tokio::task::yield_now().await;
    }
    restarted.close().await;
}

#[test]
fn a_migration_killed_between_its_steps_is_completed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("waxwing.db");
    migrate(&path).unwrap();
    // As an older program, or a killed migration, left it: without the last steps.
    let connection = rusqlite::Connection::open(&path).unwrap();
    let undo = "DROP TABLE attachment; DROP TABLE room; DROP INDEX inbox_asked; ALTER TABLE inbox DROP COLUMN wish;
         CREATE UNIQUE INDEX inbox_asked ON inbox (asker, conversation, device) WHERE asker IS NOT NULL;
         ALTER TABLE device DROP COLUMN seen_day; ALTER TABLE account DROP COLUMN disabled_ms;
         DROP TABLE former_device; DROP TABLE former_member; ALTER TABLE welcome DROP COLUMN sender; ALTER TABLE group_info DROP COLUMN sender;
         ALTER TABLE server DROP COLUMN alive_day; ALTER TABLE server DROP COLUMN silence_day;
         PRAGMA user_version = 2";
    connection.execute_batch(undo).unwrap();
    drop(connection);
    let (found, missing) = super::pending(&path).unwrap();
    assert_eq!((found, missing.len(), missing[0], missing[5]), (2, NEWEST - 2, "0003_operation", "0008_answers"));
    assert!(matches!(open(&path), Err(OpenError::Unmigrated { found: 2, .. })));
    assert_eq!(migrate(&path).unwrap(), MigrationReport { from: 2, to: NEWEST });
    assert_eq!(super::pending(&path).unwrap(), (NEWEST, Vec::new()));
    open(&path).unwrap();
}

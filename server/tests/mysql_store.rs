//! The store on MySQL or MariaDB: all that every store must do, and what only this one can get wrong.
//!
//! The tests use the server of `WAXWING_TEST_MYSQL` (`mysql://user:password@host:port/anything`; the user may do
//! everything on databases named `waxwing_test_%`), else a MariaDB that they start themselves.

use async_trait::async_trait;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{AssertSqlSafe, ConnectOptions};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use waxwing_protocol::ConversationId;
use waxwing_server::store::conformance::{
    FreshDatabase, Recorder, START_MS, Stage, device_id, handshake, message, new_account,
};
use waxwing_server::store::mysql::{
    MysqlOptions, MysqlStore, MysqlTls, OpenError, load_dump, migrate, pending, verify_dump,
};
use waxwing_server::store::{
    AppendBody, AppendOutcome, ClusterStore as _, CodeIssued, CodeTaken, NewCode, Publish, SharedOperatorStore,
    StoreError,
};

/// A database with a name of its own, dropped in the end.
struct Schema {
    options: MysqlOptions,
}

impl Schema {
    /// One that does not exist yet.
    fn absent() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mut options: MysqlOptions = server_url().parse().expect("WAXWING_TEST_MYSQL");
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        options.database = format!("waxwing_test_{}_{count}", std::process::id());
        Self { options }
    }

    async fn new() -> Self {
        let schema = Self::absent();
        assert!(migrate(&schema.options).await.unwrap().created_database);
        schema
    }

    /// What the store reports when it is opened with other options.
    async fn refusal(options: &MysqlOptions) -> OpenError {
        MysqlStore::open(options, Arc::new(Recorder::default())).await.expect_err("must not open")
    }

    /// A connection beside the store's, without a database.
    async fn connection(&self) -> MySqlConnection {
        let options = MySqlConnectOptions::new().host(&self.options.host).port(self.options.port);
        options.username(&self.options.user).password(&self.options.password).connect().await.unwrap()
    }

    async fn execute(&self, statement: &str) {
        let statement = statement.replace("{}", &self.options.database);
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut self.connection().await).await.unwrap();
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        let drop = self.execute("DROP DATABASE IF EXISTS `{}`");
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(drop));
    }
}

#[async_trait]
impl FreshDatabase for Schema {
    async fn open(&self, publish: Arc<dyn Publish>) -> SharedOperatorStore {
        Arc::new(MysqlStore::open(&self.options, publish).await.unwrap())
    }
}

/// The server of all tests of this process.
fn server_url() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| {
        if let Ok(url) = std::env::var("WAXWING_TEST_MYSQL") {
            return url;
        }
        let process = std::process::id().to_string();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/mariadb.sh");
        let folder = std::env::temp_dir().join(format!("waxwing-mariadb-{process}"));
        let output = Command::new(script).arg("start").arg(folder).arg(process).output().expect(script);
        assert!(
            output.status.success(),
            "these tests need MariaDB, or a server's URL in WAXWING_TEST_MYSQL: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    })
}

waxwing_server::store_conformance!(Schema::new().await);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_may_be_repeated_interrupted_and_raced() {
    let schema = Schema::absent();
    let (one, two) = tokio::join!(migrate(&schema.options), migrate(&schema.options));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert!(one.created_database || two.created_database);
    assert_eq!(one.applied.len() + two.applied.len(), 32, "each step once");
    assert!(migrate(&schema.options).await.unwrap().applied.is_empty());
    let before = Stage::open(&schema).await;
    before.pair().await;
    before.store.close().await;

    // Killed before it recorded what it had done.
    schema.execute("DELETE FROM `{}`.schema_version WHERE version > 4").await;
    assert!(matches!(Schema::refusal(&schema.options).await, OpenError::Unmigrated { found: 4, .. }));
    let again = migrate(&schema.options).await.unwrap();
    assert_eq!((again.created_database, again.applied.len()), (false, 28));
    let after = Stage::open(&schema).await;
    assert_eq!(after.store.incarnation(), before.store.incarnation());
    assert_eq!(after.seqs(device_id(1), ConversationId([7; 16]), 0).await, [1], "nothing was dropped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_is_told_what_is_wrong() {
    let mut schema = Schema::absent();
    assert!(matches!(Schema::refusal(&schema.options).await, OpenError::UnknownDatabase { .. }));
    schema.execute("CREATE DATABASE `{}`").await;
    assert!(matches!(Schema::refusal(&schema.options).await, OpenError::Unmigrated { found: 0, .. }));
    migrate(&schema.options).await.unwrap();

    schema.execute("INSERT INTO `{}`.schema_version VALUES (99, 'of the future', 0)").await;
    assert!(matches!(Schema::refusal(&schema.options).await, OpenError::Newer { found: 99, known: 32 }));
    assert!(matches!(migrate(&schema.options).await, Err(OpenError::Newer { .. })));
    schema.execute("DELETE FROM `{}`.schema_version WHERE version = 99").await;

    let wrong = MysqlOptions { password: "wrong secret".to_owned().into(), ..schema.options.clone() };
    let refusal = Schema::refusal(&wrong).await;
    assert!(matches!(refusal, OpenError::AccessDenied { .. }));
    assert!(!format!("{refusal} {refusal:?} {wrong:?}").contains("wrong secret"));

    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nowhere = MysqlOptions { port: closed, ..schema.options.clone() };
    assert!(matches!(Schema::refusal(&nowhere).await, OpenError::Unreachable { .. }));

    schema.options.tls = MysqlTls::Off;
    Stage::open(&schema).await.store.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_share_one_database() {
    let schema = Schema::new().await;
    let (one, two) = (Stage::open(&schema).await, Stage::open(&schema).await);
    let (alice, bob, id) = one.pair().await;
    let notes = ConversationId([9; 16]);
    one.create(&alice, &alice.name, notes, None).await;
    let send = async |stage: &Stage, device, id, commits| {
        for number in 1..=100 {
            assert!(matches!(stage.send(device, id, number, commits).await, AppendOutcome::Accepted { .. }));
        }
    };
    tokio::join!(
        send(&one, alice.device, id, 1),
        send(&two, bob.device, id, 1),
        send(&two, alice.device, notes, 0),
        async {
            for seq in 1..=100 {
                two.store.acknowledge(alice.device, id, seq).await.unwrap();
            }
        },
    );
    assert_eq!(one.seqs(bob.device, id, 0).await, (2..=201).collect::<Vec<_>>());
    assert_eq!(two.seqs(alice.device, notes, 0).await, (1..=100).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_conversations_at_once_never_deadlock_for_good() {
    let schema = Schema::new().await;
    let nodes = [Stage::open(&schema).await, Stage::open(&schema).await];
    let people = {
        let mut people = Vec::new();
        for number in 1..=8_u8 {
            people.push(nodes[0].person(&format!("person{number}"), number).await);
        }
        people
    };
    // Everybody begins with everybody, from both sides and on both nodes, and enrols a second device meanwhile.
    let mut tasks = tokio::task::JoinSet::new();
    for (place, creator) in people.iter().enumerate() {
        for (other_place, other) in people.iter().enumerate().filter(|(other, _)| *other != place) {
            let node = nodes[(place + other_place) % 2].store.clone();
            let id = ConversationId([u8::try_from(place * 16 + other_place).unwrap(); 16]);
            let handshake = Some(handshake(&[other.device], &[]));
            let new = waxwing_server::store::conformance::new_conversation(creator, &other.name, id, handshake);
            tasks.spawn(async move { node.create_conversation(new).await.map(drop) });
        }
        let (node, account) = (nodes[place % 2].store.clone(), creator.account);
        let device = waxwing_server::store::conformance::new_device(100 + creator.device.0[0]);
        let enrolment = waxwing_server::store::conformance::enrolment(account, device, 2, vec![2]);
        tasks.spawn(async move { node.enrol_device(enrolment).await.map(drop) });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap().unwrap();
    }
    for person in &people {
        let items = nodes[1].store.fetch_inbox(person.device, 0).await.unwrap();
        let seqs: Vec<u64> = items.iter().map(|item| item.seq).collect();
        assert_eq!(seqs, (1..=u64::try_from(seqs.len()).unwrap()).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_message_does_not_fail_its_batch() {
    let schema = Schema::new().await;
    let stage = Stage::open(&schema).await;
    let (alice, bob, id) = stage.pair().await;
    schema.execute("ALTER TABLE `{}`.entry ADD CONSTRAINT poison CHECK (size <> 666)").await;
    let mut bad = message(bob.device, id, 1, 1);
    bad.body = AppendBody::Application(vec![0; 666].into());
    let good = async {
        for number in 1..=30 {
            let outcome = stage.send(alice.device, id, number, 1).await;
            assert!(matches!(outcome, AppendOutcome::Accepted { .. }), "{number}: {outcome:?}");
        }
    };
    let hammering = async {
        for _ in 0..30 {
            let pair = tokio::join!(stage.store.append(bad.clone()), stage.store.append(bad.clone()));
            assert!(matches!(pair, (Err(StoreError::Database(_)), Err(StoreError::Database(_)))), "{pair:?}");
        }
    };
    tokio::join!(good, hammering);
    assert!(
        matches!(stage.send(bob.device, id, 1, 1).await, AppendOutcome::Accepted { .. }),
        "its number is still free"
    );
    assert_eq!(stage.seqs(alice.device, id, 0).await, (1..=32).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_survives_the_loss_of_its_connections() {
    let schema = Schema::new().await;
    let stage = Stage::open(&schema).await;
    let (alice, _, id) = stage.pair().await;
    stage.send(alice.device, id, 1, 1).await;
    let mut connection = schema.connection().await;
    let ids: Vec<i64> =
        sqlx::query_scalar("SELECT CAST(id AS SIGNED) FROM information_schema.processlist WHERE db = ?")
            .bind(&schema.options.database)
            .fetch_all(&mut connection)
            .await
            .unwrap();
    assert!(!ids.is_empty());
    for id in ids {
        sqlx::raw_sql(AssertSqlSafe(format!("KILL {id}"))).execute(&mut connection).await.unwrap();
    }
    // What was under way may fail; whoever tries again succeeds, without sending twice.
    let again = async {
        while stage.store.append(message(alice.device, id, 2, 1)).await.is_err() {}
        while stage.store.create_account(new_account("carol", 3)).await.is_err() {}
    };
    tokio::time::timeout(Duration::from_secs(20), again).await.unwrap();
    assert_eq!(stage.seqs(alice.device, id, 0).await, [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_column_is_listed_and_every_table_disclosed() {
    let schema = Schema::new().await;
    let stage = Stage::open(&schema).await;
    let columns: Vec<(String, String)> = sqlx::query_as(
        "SELECT CAST(table_name AS CHAR), CAST(column_name AS CHAR) FROM information_schema.columns WHERE table_schema = ?",
    )
    .bind(&schema.options.database)
    .fetch_all(&mut schema.connection().await)
    .await
    .unwrap();
    waxwing_server::store::conformance::operator::every_column_is_listed(&stage, columns.into_iter().collect(), true)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_becomes_another_life_in_an_empty_schema_only() {
    let schema = Schema::new().await;
    let stage = Stage::open(&schema).await;
    let (alice, bob, id) = stage.pair().await;
    let packages = stage.store.publish_key_packages(bob.device, vec![vec![1].into()], Some(vec![2].into()), START_MS);
    packages.await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("dump");
    stage.store.copy_to(&dump).await.unwrap();
    stage.send(alice.device, id, 1, 1).await;
    let read = || std::fs::File::open(&dump).unwrap();
    assert!(verify_dump(read()).unwrap() > 20);

    assert!(matches!(load_dump(&schema.options, read()).await, Err(OpenError::Occupied { .. })));
    let other = Schema::absent();
    // Killed half-way, and begun anew.
    let half = std::fs::read(&dump).unwrap();
    assert!(load_dump(&other.options, &half[..half.len() / 2]).await.is_err());
    assert!(
        matches!(Schema::refusal(&other.options).await, OpenError::Unmigrated { .. }),
        "half a database is not used"
    );
    load_dump(&other.options, read()).await.unwrap();
    assert!(migrate(&other.options).await.unwrap().applied.is_empty());
    let restored = Stage::open(&other).await;
    assert_ne!(restored.store.incarnation(), stage.store.incarnation());
    assert_eq!(restored.store.fetch(bob.device, id, 0).await.unwrap().unwrap().head, 1);
    let stock = restored.store.key_package_stock(bob.device, START_MS).await.unwrap();
    assert_eq!((stock.one_time, stock.last_resort), (0, false));
    assert_eq!(restored.store.account(&alice.name).await.unwrap(), stage.store.account(&alice.name).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_pending_is_told_and_not_done() {
    let schema = Schema::absent();
    assert_eq!(pending(&schema.options).await.unwrap().1.len(), 32);
    assert!(matches!(Schema::refusal(&schema.options).await, OpenError::UnknownDatabase { .. }));
    migrate(&schema.options).await.unwrap();
    assert_eq!(pending(&schema.options).await.unwrap(), (32, Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_message_touches_is_keyed_by_its_conversation() {
    let schema = Schema::new().await;
    let keys: Vec<(String, String)> = sqlx::query_as(
        "SELECT CAST(table_name AS CHAR), CAST(column_name AS CHAR) FROM information_schema.statistics \
         WHERE table_schema = ? AND index_name = 'PRIMARY' AND seq_in_index = 1",
    )
    .bind(&schema.options.database)
    .fetch_all(&mut schema.connection().await)
    .await
    .unwrap();
    for (table, key) in [
        ("conversation", "id"),
        ("membership", "conversation"),
        ("entry", "conversation"),
        ("receipt", "conversation"),
        ("participant", "conversation"),
        ("group_info", "conversation"),
    ] {
        assert!(keys.contains(&(table.to_owned(), key.to_owned())), "{table}: {keys:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_needs_no_tables_but_those_of_its_conversation() {
    let schema = Schema::new().await;
    let stage = Stage::open(&schema).await;
    let (alice, bob, id) = stage.pair().await;
    let tables: Vec<String> =
        sqlx::query_scalar("SELECT CAST(table_name AS CHAR) FROM information_schema.tables WHERE table_schema = ?")
            .bind(&schema.options.database)
            .fetch_all(&mut schema.connection().await)
            .await
            .unwrap();
    // As if all others lay on other machines.
    for table in
        tables.iter().filter(|table| !["conversation", "membership", "entry", "receipt"].contains(&table.as_str()))
    {
        schema.execute(&format!("RENAME TABLE `{{}}`.`{table}` TO `{{}}`.`elsewhere_{table}`")).await;
    }
    assert!(stage.store.account(&alice.name).await.is_err(), "accounts are elsewhere");
    for number in 1..=3 {
        let sent = stage.send(alice.device, id, number, 1).await;
        assert!(matches!(sent, AppendOutcome::Accepted { .. }), "{sent:?}");
    }
    assert_eq!(stage.seqs(bob.device, id, 0).await, [2, 3, 4]);
    for device in [alice.device, bob.device] {
        stage.store.acknowledge(device, id, 4).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn codes_are_tried_and_used_as_often_as_they_may_be_at_whichever_node() {
    let schema = Schema::new().await;
    let open = async || Arc::new(MysqlStore::open(&schema.options, Arc::new(Recorder::default())).await.unwrap());
    let nodes = [open().await, open().await];
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let new = |request, hash| NewCode {
        request: [request; 32],
        hash: [hash; 32],
        good_for: minutes(5),
        again_after: minutes(1),
        tries: 3,
    };
    assert_eq!(nodes[0].issue_code(new(1, 1), 2).await.unwrap(), CodeIssued::New);
    let again = nodes[1].issue_code(new(1, 2), 2).await.unwrap();
    assert!(matches!(again, CodeIssued::Sent(wait) if wait > minutes(0) && wait <= minutes(1)), "{again:?}");
    let at_once = async |hash: u8| {
        let mut tasks = tokio::task::JoinSet::new();
        for node in nodes.iter().cycle().take(40) {
            let node = node.clone();
            tasks.spawn(async move { node.take_code([1; 32], [hash; 32]).await.unwrap() });
        }
        tasks.join_all().await
    };
    // The one that was not issued, forty times at two nodes: two count with tries left, and the last one.
    let mut left: Vec<_> =
        at_once(2).await.into_iter().filter(|taken| *taken != CodeTaken::Wrong { left: 0 }).collect();
    left.sort_by_key(|taken| format!("{taken:?}"));
    assert_eq!(left, [CodeTaken::Wrong { left: 1 }, CodeTaken::Wrong { left: 2 }]);
    assert_eq!(nodes[1].take_code([1; 32], [1; 32]).await.unwrap(), CodeTaken::Wrong { left: 0 }, "too late");
    // Another one after a while, in place of it; right, once.
    schema.execute("UPDATE `{}`.code SET again_ms = 0").await;
    assert_eq!(nodes[1].issue_code(new(1, 3), 2).await.unwrap(), CodeIssued::New);
    let right = at_once(3).await.into_iter().filter(|taken| *taken == CodeTaken::Right).count();
    assert_eq!(right, 1);
    assert_eq!(nodes[0].take_code([1; 32], [3; 32]).await.unwrap(), CodeTaken::Wrong { left: 0 });
    // What waits is bounded, but for what is too old, which is worth nothing.
    for request in [4, 5] {
        assert_eq!(nodes[0].issue_code(new(request, 1), 2).await.unwrap(), CodeIssued::New);
    }
    assert_eq!(nodes[1].issue_code(new(6, 1), 2).await.unwrap(), CodeIssued::Full);
    nodes[1].forget_code([5; 32]).await.unwrap();
    schema.execute("UPDATE `{}`.code SET until_ms = 0").await;
    assert_eq!(nodes[1].take_code([4; 32], [1; 32]).await.unwrap(), CodeTaken::Wrong { left: 0 });
    nodes[0].forget_old_codes().await.unwrap();
    let count: i64 =
        sqlx::query_scalar(AssertSqlSafe(format!("SELECT COUNT(*) FROM `{}`.code", schema.options.database)))
            .fetch_one(&mut schema.connection().await)
            .await
            .unwrap();
    assert_eq!(count, 0);
    assert_eq!(nodes[1].issue_code(new(6, 1), 2).await.unwrap(), CodeIssued::New);
}

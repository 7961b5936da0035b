//! Files in an S3 store: a bucket that this test plays, which speaks as much of S3 as is needed.

use anyhow::{Context, Result, ensure};
use axum::{
    body::{Bytes, to_bytes},
    extract::{Request, State},
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Instant,
};
use tokio::runtime::Runtime;
use waxwing_tests::{DEADLINE, Database, Server, User, on_both_databases, run_with_deadline};

on_both_databases!(files_lie_in_a_bucket);

/// As many keys as a page of a list has.
const PAGE: usize = 3;
const KEY_ID: &str = "AKIAWAXWINGTEST";
const SECRET: &str = "a secret that stays with the server";

#[derive(Default)]
struct Bucket {
    objects: Mutex<BTreeMap<String, Bytes>>,
    /// How often each object was written.
    written: Mutex<BTreeMap<String, u32>>,
    /// How many more objects it takes before it fails; then that many times 503.
    takes: AtomicU32,
    fails: AtomicU32,
    strangers: AtomicU32,
}

/// The bucket `letters` on a port of 127.0.0.1.
struct S3 {
    bucket: Arc<Bucket>,
    port: u16,
    _runtime: Runtime,
}

impl S3 {
    fn start() -> Result<Self> {
        let runtime = Runtime::new()?;
        let bucket = Arc::new(Bucket { takes: AtomicU32::new(u32::MAX), ..Bucket::default() });
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let port = listener.local_addr()?.port();
        let app = axum::Router::new().fallback(answer).with_state(Arc::clone(&bucket));
        runtime.spawn(async move { axum::serve(listener, app).await });
        Ok(Self { bucket, port, _runtime: runtime })
    }

    /// The chunks that are there.
    fn chunks(&self) -> Vec<String> {
        let objects = self.bucket.objects.lock().unwrap();
        objects.keys().filter(|key| key.rsplit('/').next().is_some_and(|name| name.len() == 8)).cloned().collect()
    }

    fn put(&self, key: &str) {
        self.bucket.objects.lock().unwrap().insert(key.to_owned(), Bytes::from_static(b"x"));
    }
}

async fn answer(State(bucket): State<Arc<Bucket>>, request: Request) -> Response {
    let signed = format!("AWS4-HMAC-SHA256 Credential={KEY_ID}/");
    let authorization = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if !authorization.is_some_and(|value| value.starts_with(&signed)) {
        bucket.strangers.fetch_add(1, Ordering::Relaxed);
        return (StatusCode::FORBIDDEN, "<Error><Code>AccessDenied</Code></Error>").into_response();
    }
    let (head, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap_or_default();
    let path = head.uri.path().trim_start_matches('/').to_owned();
    let Some(key) = path.strip_prefix("letters").map(|key| key.trim_start_matches('/').to_owned()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let query: BTreeMap<String, String> = head.uri.query().unwrap_or_default().split('&').map(pair).collect();
    let mut objects = bucket.objects.lock().unwrap();
    match head.method {
        Method::PUT => {
            if bucket.takes.load(Ordering::Relaxed) == 0 && bucket.fails.load(Ordering::Relaxed) > 0 {
                bucket.fails.fetch_sub(1, Ordering::Relaxed);
                return StatusCode::SERVICE_UNAVAILABLE.into_response();
            }
            let _ = bucket.takes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            *bucket.written.lock().unwrap().entry(key.clone()).or_default() += 1;
            objects.insert(key, body);
            ([(header::ETAG, "\"1\"")], "").into_response()
        }
        Method::GET if query.contains_key("list-type") => list(&objects, &query).into_response(),
        Method::GET | Method::HEAD => match objects.get(&key) {
            Some(content) => {
                let headers = [(header::ETAG, "\"1\""), (header::LAST_MODIFIED, "Sat, 21 Nov 2026 12:00:00 GMT")];
                (headers, content.clone()).into_response()
            }
            None => (StatusCode::NOT_FOUND, "<Error><Code>NoSuchKey</Code></Error>").into_response(),
        },
        Method::POST if query.contains_key("delete") => {
            let text = String::from_utf8_lossy(&body).into_owned();
            let named = text.split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>"));
            let deleted: String = named
                .map(|(key, _)| {
                    objects.remove(key);
                    format!("<Deleted><Key>{key}</Key></Deleted>")
                })
                .collect();
            format!("<DeleteResult>{deleted}</DeleteResult>").into_response()
        }
        Method::DELETE => {
            objects.remove(&key);
            StatusCode::NO_CONTENT.into_response()
        }
        _ => StatusCode::NOT_IMPLEMENTED.into_response(),
    }
}

/// A name and its value in a query.
fn pair(text: &str) -> (String, String) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    (name.to_owned(), value.replace("%2F", "/").replace("%3D", "="))
}

/// A page of `ListObjectsV2`.
fn list(objects: &BTreeMap<String, Bytes>, query: &BTreeMap<String, String>) -> String {
    let text = |name: &str| query.get(name).cloned().unwrap_or_default();
    let (prefix, delimiter, after) = (text("prefix"), text("delimiter"), text("continuation-token"));
    let mut entries = BTreeMap::new();
    for (key, content) in objects.iter().filter(|(key, _)| key.starts_with(&prefix)) {
        let rest = key.strip_prefix(&prefix).unwrap_or_default();
        let folder = rest.split_once('/').filter(|_| !delimiter.is_empty()).map(|(folder, _)| folder);
        match folder {
            Some(folder) => {
                let folder = format!("{prefix}{folder}/");
                let entry = format!("<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>");
                entries.insert(folder, entry);
            }
            None => {
                let entry = format!(
                    "<Contents><Key>{key}</Key><LastModified>2026-11-21T12:00:00.000Z</LastModified>\
                     <ETag>\"1\"</ETag><Size>{}</Size></Contents>",
                    content.len()
                );
                entries.insert(key.clone(), entry);
            }
        }
    }
    let mut rest = entries.into_iter().filter(|(key, _)| *key > after);
    let page: Vec<_> = rest.by_ref().take(PAGE).collect();
    let more = rest.next().is_some();
    let token = page.last().filter(|_| more).map(|(key, _)| key.as_str());
    let token = token.map(|key| format!("<NextContinuationToken>{key}</NextContinuationToken>")).unwrap_or_default();
    let shown: String = page.iter().map(|(_, entry)| entry.as_str()).collect();
    format!(
        "<?xml version=\"1.0\"?><ListBucketResult><Name>letters</Name><Prefix>{prefix}</Prefix>\
         <KeyCount>{}</KeyCount><MaxKeys>{PAGE}</MaxKeys><IsTruncated>{more}</IsTruncated>{shown}{token}\
         </ListBucketResult>",
        page.len()
    )
}

fn until(what: &str, mut so: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + DEADLINE;
    while !so()? {
        ensure!(Instant::now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
    Ok(())
}

/// The doctor's or the check's finding about the files.
fn finding(server: &Server, command: &str, code: i32) -> Result<(String, String)> {
    let report = run_with_deadline(server.command(command)?.arg("--json"), DEADLINE)?.expect_code(code)?.json()?;
    let checks = report["checks"].as_array().context("checks")?;
    let found = checks.iter().find(|check| check["name"] == "attachments").context("nothing about attachments")?;
    let text = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
    Ok((text("result"), text("detail")))
}

fn files_lie_in_a_bucket(database: Database) -> Result<()> {
    let s3 = S3::start()?;
    let mut server = Server::set_up(database, "open")?;
    server.set("WAXWING_ATTACHMENTS_STORE", "s3://letters/of/a club".replace(' ', "-"));
    server.set("WAXWING_ATTACHMENTS_S3_ENDPOINT", format!("http://127.0.0.1:{}", s3.port));
    // Without its keys it says what it needs.
    let refused = run_with_deadline(server.command("run")?.arg("--json"), DEADLINE)?.expect_code(1)?;
    ensure!(refused.stderr.contains("AWS_ACCESS_KEY_ID_FILE"), "{}", refused.stderr);
    let secret = server.beside("s3-secret");
    fs::write(&secret, SECRET)?;
    server.set("AWS_ACCESS_KEY_ID", "AKIASOMEBODYELSE");
    server.set("AWS_SECRET_ACCESS_KEY_FILE", secret.display());
    let (result, detail) = finding(&server, "check", 1)?;
    ensure!(result == "failed", "{detail}");
    server.set("AWS_ACCESS_KEY_ID", KEY_ID);
    assert_eq!(finding(&server, "check", 0)?.0, "ok");
    server.restart()?;
    let strangers = s3.bucket.strangers.load(Ordering::Relaxed);

    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    let source = alice.place().join("photo.jpg");
    let bytes: Vec<u8> =
        (0..2_000_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).take(2_000_000).collect();
    fs::write(&source, &bytes)?;
    // In the middle the store fails for a while; what it has is not sent again.
    s3.bucket.takes.store(4, Ordering::Relaxed);
    s3.bucket.fails.store(3, Ordering::Relaxed);
    let path = source.to_str().context("a path")?;
    let sent = alice.run(&["send", "bob", "--file", path])?.expect_code(0)?.json()?;
    assert_eq!(sent["state"], "sent", "{sent}");
    let chunks = s3.chunks();
    ensure!(chunks.len() == 8, "{chunks:?}");
    ensure!(chunks.iter().all(|key| key.starts_with("of/a-club/")), "{chunks:?}");
    let written = s3.bucket.written.lock().unwrap().clone();
    ensure!(chunks.iter().all(|key| written.get(key) == Some(&1)), "{written:?}");
    ensure!(!server.folder().join("attachments").exists(), "there is a folder, too");
    let stored = s3.bucket.objects.lock().unwrap().values().flat_map(|one| one.to_vec()).collect::<Vec<u8>>();
    ensure!(!stored.windows(64).any(|window| window == &bytes[4096..4160]), "the store can read it");

    let received = bob.receive()?;
    let id = received[0]["id"].as_str().context("id")?;
    let folder = bob.place().join("in");
    let to = folder.to_str().context("a path")?;
    let saved = bob.run(&["download", id, "--to", to])?.expect_code(0)?.json()?;
    ensure!(fs::read(PathBuf::from(saved["path"].as_str().context("path")?))? == bytes, "it is another file");

    // What no row knows is found and goes; nothing else does.
    let orphan = format!("of/a-club/{}/00000000", "ab".repeat(32));
    s3.put(&orphan);
    s3.put("of/somebody-else/00000000");
    let (result, detail) = finding(&server, "doctor", 0)?;
    ensure!(result == "warn" && detail.contains("2 files, 1 of them unknown, 0 missing"), "{detail}");
    let collected = server.operate(&["gc"])?.expect_code(0)?.json()?;
    assert_eq!(collected["attachments"], 1, "{collected}");
    assert_eq!(finding(&server, "doctor", 0)?.0, "ok");
    ensure!(s3.bucket.objects.lock().unwrap().contains_key("of/somebody-else/00000000"));
    // What a server took that uses the same place by mistake is left alone.
    let owner = "of/a-club/waxwing-incarnation";
    let own =
        s3.bucket.objects.lock().unwrap().insert(owner.to_owned(), Bytes::from_static(b"another")).context("ours")?;
    s3.put(&orphan);
    server.operate(&["gc"])?.expect_code(0)?;
    ensure!(s3.bucket.objects.lock().unwrap().contains_key(&orphan));
    ensure!(finding(&server, "doctor", 0)?.1.contains("another server"));
    s3.bucket.objects.lock().unwrap().insert(owner.to_owned(), own);

    // With the message's account it goes.
    alice.run(&["account", "delete", "--yes"])?.expect_code(0)?;
    server.operate(&["gc"])?.expect_code(0)?;
    until("the chunks are gone", || Ok(s3.chunks() == ["of/somebody-else/00000000"]))?;
    bob.run(&["download", id, "--to", to])?.expect_code(3)?;
    assert_eq!(s3.bucket.strangers.load(Ordering::Relaxed), strangers, "requests without a signature");
    ensure!(!server.log().contains(SECRET), "the key is in the log");
    Ok(())
}

//! The main job, played by itself: each step is timed and checked, and the first that does not hold ends it.

use super::throwaway::Throwaway;
use anyhow::{Context as _, ensure};
use rusqlite::{Connection, OpenFlags};
use std::{
    future::Future,
    time::{Duration, Instant},
};
use tokio::time::timeout;
use waxwing_core::{
    Admission, Client, Content, Event, Events, Link, Message, MessageState, ProfilePath, SignUp, Unlock, Zeroizing,
    sign_up,
};

/// Nothing here takes that long unless it is broken.
const LIMIT: Duration = Duration::from_secs(60);
const PASSWORD: &str = "orbit velvet 41 thimble harvest";

/// What is written; each text is looked for in what the server stores.
const TO_BOB: &str = "Bob, the lighthouse key is under the third stone.";
const TO_ALICE: &str = "Found it. The lamp still works!";
const WHILE_AWAY: [&str; 3] = [
    "You have gone quiet, so I write to you offline.",
    "The ferry now leaves at nine.",
    "See you on the quay, bring the blue lantern.",
];

pub(super) async fn play() -> anyhow::Result<()> {
    let begin = Instant::now();
    println!("Waxwing: the main job on a throw-away server of this machine\n");
    let mut server = step("set a server up (embedded database)", Throwaway::set_up()).await?;
    step("start it", server.start()).await?;

    let alice = Person::new(&server, "alice", "Alice Lindqvist")?;
    let bob = Person::new(&server, "bob", "Bob Marsh")?;
    step("alice signs up (two RSA-3072 key pairs, Argon2id)", alice.sign_up(&server.link)).await?;
    step("bob signs up", bob.sign_up(&server.link)).await?;

    let alice = step("alice comes online", alice.come_online()).await?;
    let mut online = step("bob comes online", bob.come_online()).await?;
    let mut alice_events = alice.events();
    let mut bob_events = online.events();
    step("alice opens the chat and writes; bob reads it live", async {
        alice.send("bob", TO_BOB).await?;
        arrives(&mut bob_events, TO_BOB).await
    })
    .await?;
    step("bob answers; alice reads it, and both see it delivered", async {
        let answer = online.send("alice", TO_ALICE).await?;
        arrives(&mut alice_events, TO_ALICE).await?;
        until(
            &mut bob_events,
            |event| matches!(event, Event::State { id, state: MessageState::Delivered, .. } if *id == answer.id),
        )
        .await
    })
    .await?;

    step("bob goes offline", async { Ok(online.close().await?) }).await?;
    step("alice writes three messages; the server has them on disk", async {
        for text in WHILE_AWAY {
            let message = alice.send("bob", text).await?;
            alice.sent(message.id, LIMIT).await?;
        }
        Ok(())
    })
    .await?;
    let stored = stored(&server)?;
    ensure!(stored.len() >= WHILE_AWAY.len(), "the server does not hold the messages for bob");

    step("the server is killed (SIGKILL) and started again", async {
        server.kill().await?;
        server.start().await
    })
    .await?;
    step("alice reconnects by herself", until(&mut alice_events, |event| matches!(event, Event::CaughtUp))).await?;
    online = step("bob returns and has all three, in order", async {
        let online = bob.come_online().await?;
        let texts = texts(&online.history("alice", None).await?);
        ensure!(texts.ends_with(&WHILE_AWAY.map(str::to_owned)), "bob sees {texts:?}");
        Ok(online)
    })
    .await?;

    let transcript = alice.history("bob", None).await?;
    step("both see the same chat", async {
        let other = online.history("alice", None).await?;
        let line = |message: &Message| (message.seq, message.from.clone(), message.content.clone());
        let same = transcript.iter().map(line).eq(other.iter().map(line));
        ensure!(same && transcript.len() == 2 + WHILE_AWAY.len(), "the histories differ: {transcript:?} and {other:?}");
        Ok(())
    })
    .await?;
    online.close().await?;
    alice.close().await?;
    let secrets: Vec<&str> = [TO_BOB, TO_ALICE, PASSWORD].into_iter().chain(WHILE_AWAY).collect();
    step("no text and no password is in any file of the server or of the clients", async {
        let mut found = Throwaway::files_with(server.folder().path(), &secrets)?;
        found.extend(Throwaway::files_with(&server.clients(), &secrets)?);
        ensure!(found.is_empty(), "readable in {found:?}");
        Ok(())
    })
    .await?;

    show(&transcript, &stored);
    println!("\nAll of it held, in {:.1} s. Now you: 'cargo try' in a terminal.", begin.elapsed().as_secs_f32());
    Ok(())
}

/// One account with one device.
struct Person {
    profile: ProfilePath,
    username: &'static str,
    full_name: &'static str,
}

impl Person {
    fn new(server: &Throwaway, username: &'static str, full_name: &'static str) -> anyhow::Result<Self> {
        Ok(Self { profile: ProfilePath::resolve(Some(server.clients()), Some(username))?, username, full_name })
    }

    async fn sign_up(&self, link: &Link) -> anyhow::Result<()> {
        let request = SignUp {
            link: link.clone(),
            username: self.username.to_owned(),
            full_name: Some(self.full_name.to_owned()),
            email: None,
            password: Zeroizing::new(PASSWORD.to_owned()),
            code: None,
            admission: Admission::Open,
            device_name: None,
            remember: false,
            accept_strangers: true,
        };
        sign_up(&self.profile, request, &|_| {}).await?;
        Ok(())
    }

    async fn come_online(&self) -> anyhow::Result<Client> {
        let unlock = Unlock::Password(Zeroizing::new(PASSWORD.to_owned()));
        let client = Client::open(&self.profile, unlock).await?;
        client.go_online();
        client.caught_up(LIMIT).await?;
        Ok(client)
    }
}

/// Does a step, and says how long it took.
async fn step<T>(what: &str, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let begin = Instant::now();
    let done = timeout(LIMIT, work).await.map_err(anyhow::Error::from).and_then(|done| done);
    let (mark, took) = (if done.is_ok() { "ok  " } else { "FAIL" }, begin.elapsed().as_secs_f64() * 1000.0);
    println!("  {mark} {took:>8.1} ms  {what}");
    done.with_context(|| what.to_owned())
}

async fn until(events: &mut Events, wanted: impl Fn(&Event) -> bool) -> anyhow::Result<()> {
    while !wanted(&events.recv().await.context("the client ended")?) {}
    Ok(())
}

async fn arrives(events: &mut Events, text: &str) -> anyhow::Result<()> {
    until(
        events,
        |event| matches!(event, Event::Message(Message { content: Content::Text(found), .. }) if found == text),
    )
    .await
}

fn texts(messages: &[Message]) -> Vec<String> {
    let text = |message: &Message| match &message.content {
        Content::Text(text) => Some(text.clone()),
        _ => None,
    };
    messages.iter().filter_map(text).collect()
}

/// What the server's database holds of the conversation: seq and bytes.
fn stored(server: &Throwaway) -> anyhow::Result<Vec<(u64, Vec<u8>)>> {
    let db = Connection::open_with_flags(server.folder().database(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut query = db.prepare("SELECT seq, payload FROM entry ORDER BY place")?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn show(transcript: &[Message], stored: &[(u64, Vec<u8>)]) {
    println!("\n  What alice and bob see, and what the server had stored while bob was away:\n");
    for message in transcript {
        let Content::Text(text) = &message.content else { continue };
        println!("  {:>5}: {text}", message.from);
        let bytes = stored.iter().find(|(seq, _)| Some(*seq) == message.seq).map(|(_, bytes)| bytes);
        match bytes {
            Some(bytes) => {
                let start: String = bytes.iter().skip(40).take(24).map(|byte| format!("{byte:02x}")).collect();
                println!("         server: \u{2026}{start}\u{2026} ({} bytes)", bytes.len());
            }
            None => println!("         server: nothing any more (both had it)"),
        }
    }
}

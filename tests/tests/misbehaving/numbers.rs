//! Numbers that a server makes up: seqs, heads, counts. Each is refused or passed over in bounded time, and once the
//! server is honest again the profile goes on.

use crate::server::Server;
use anyhow::{Context, Result, ensure};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};
use waxwing_protocol::{Bytes, ConversationHead, ConversationId, Entry, EntryBody, InboxItem, InboxNotice, Page};
use waxwing_server::store::AppendOutcome;
use waxwing_tests::{Outcome, User, run_with_deadline, texts};

/// A command waits half a minute for a server that says nothing; one that is lied to must not take longer.
const BOUNDED: Duration = Duration::from_secs(45);
/// More than an honest exchange needs, less than a loop asks.
const QUESTIONS: usize = 300;
/// What never ends may be read for as long as the command waits.
const ENDLESS: usize = usize::MAX;

fn alice_and_bob(server: &Server) -> Result<(User, User)> {
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    alice.send("bob", "hello")?;
    assert_eq!(texts(&bob.receive()?), ["hello"]);
    Ok((alice, bob))
}

/// The server's fault and said so, or no harm at all; no crash and no endless work.
fn assert_survives(outcome: &Outcome) -> Result<()> {
    ensure!([0, 3].contains(&outcome.code), "exit code {}: {}", outcome.code, outcome.stderr);
    ensure!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
    ensure!(outcome.code == 0 || !outcome.error()?.is_empty(), "it does not say why");
    Ok(())
}

fn receive(server: &Server, user: &User, questions: usize) -> Result<Outcome> {
    let before = server.questions();
    let outcome = run_with_deadline(user.command(&["receive"])?.arg("--json"), BOUNDED)?;
    assert_survives(&outcome)?;
    let asked = server.questions() - before;
    ensure!(asked < questions, "it asked {asked} times");
    Ok(outcome)
}

/// What Bob is shown now that the server is honest: all that he had not seen, and what comes after.
fn assert_recovers(alice: &User, bob: &User, unseen: &str, seen: &Outcome) -> Result<()> {
    alice.send("bob", "later")?;
    let shown = [texts(&seen.json_lines()?), texts(&bob.receive()?)].concat();
    let count = |text: &str| shown.iter().filter(|shown| *shown == text).count();
    ensure!(count(unseen) == 1 && count("later") == 1, "{shown:?}");
    bob.send("alice", "answer")?;
    ensure!(texts(&alice.receive()?).contains(&"answer".to_owned()), "no answer");
    Ok(())
}

/// Bob fetches one message while pages are changed like this.
fn lied_to_in_pages(change: impl Fn(&mut Page) + Send + 'static) -> Result<()> {
    let server = Server::start()?;
    let (alice, bob) = alice_and_bob(&server)?;
    alice.send("bob", "unseen")?;
    server.lies.page.tell(move |_, honest| {
        honest.map(|mut page| {
            change(&mut page);
            page
        })
    });
    let seen = receive(&server, &bob, QUESTIONS)?;
    server.lies.page.end();
    assert_recovers(&alice, &bob, "unseen", &seen)
}

#[test]
fn a_page_whose_head_is_beyond_all_numbers() -> Result<()> {
    lied_to_in_pages(|page| page.head = u64::MAX)
}

#[test]
fn an_empty_page_whose_head_is_beyond_all_numbers() -> Result<()> {
    lied_to_in_pages(|page| (page.head, page.entries) = (u64::MAX, Vec::new()))
}

#[test]
fn a_page_whose_tail_is_beyond_all_numbers() -> Result<()> {
    lied_to_in_pages(|page| page.tail = u64::MAX)
}

#[test]
fn a_page_whose_tail_is_beyond_its_entries() -> Result<()> {
    lied_to_in_pages(|page| page.tail = page.head + 1_000_000)
}

#[test]
fn a_page_of_zeros() -> Result<()> {
    lied_to_in_pages(|page| (page.head, page.tail, page.commits) = (0, 0, 0))
}

#[test]
fn a_count_of_commits_beyond_all_numbers() -> Result<()> {
    lied_to_in_pages(|page| page.commits = u64::MAX)
}

#[test]
fn entries_beyond_all_numbers() -> Result<()> {
    lied_to_in_pages(|page| page.entries.iter_mut().for_each(|entry| entry.seq = u64::MAX))
}

#[test]
fn entries_at_zero() -> Result<()> {
    lied_to_in_pages(|page| page.entries.iter_mut().for_each(|entry| entry.seq = 0))
}

#[test]
fn old_entries_again_and_again_below_a_high_head() -> Result<()> {
    lied_to_in_pages(|page| {
        let body = EntryBody::Application(Bytes::default());
        (page.entries, page.head) = (vec![Entry { seq: 1, time_ms: 0, body }], 1000);
    })
}

#[test]
fn a_time_beyond_all_numbers() -> Result<()> {
    lied_to_in_pages(|page| page.entries.iter_mut().for_each(|entry| entry.time_ms = u64::MAX))
}

/// Bob fetches one message while heads are changed like this.
fn lied_to_in_heads(
    questions: usize,
    change: impl FnMut(&Option<ConversationId>, Vec<ConversationHead>) -> Vec<ConversationHead> + Send + 'static,
) -> Result<()> {
    let server = Server::start()?;
    let (alice, bob) = alice_and_bob(&server)?;
    alice.send("bob", "unseen")?;
    server.lies.heads.tell(change);
    let seen = receive(&server, &bob, questions)?;
    server.lies.heads.end();
    assert_recovers(&alice, &bob, "unseen", &seen)
}

#[test]
fn a_head_beyond_all_numbers() -> Result<()> {
    lied_to_in_heads(QUESTIONS, |_, heads| {
        heads.into_iter().map(|head| ConversationHead { head: u64::MAX, ..head }).collect()
    })
}

#[test]
fn a_head_of_zero() -> Result<()> {
    lied_to_in_heads(QUESTIONS, |_, heads| heads.into_iter().map(|head| ConversationHead { head: 0, ..head }).collect())
}

#[test]
fn heads_in_a_circle() -> Result<()> {
    lied_to_in_heads(QUESTIONS, |_, mut heads| {
        heads.extend([[1; 16], [2; 16]].map(|id| ConversationHead {
            conversation: ConversationId(id),
            head: 1,
            sent: 0,
        }));
        heads
    })
}

#[test]
fn endless_heads() -> Result<()> {
    let mut number = 0_u128;
    lied_to_in_heads(ENDLESS, move |_, _| {
        number += 1;
        vec![ConversationHead { conversation: ConversationId(number.to_be_bytes()), head: 1, sent: 0 }]
    })
}

/// Bob fetches one message while his inbox is changed like this.
fn lied_to_in_inbox(
    questions: usize,
    mut change: impl FnMut(u64, Vec<InboxItem>) -> Vec<InboxItem> + Send + 'static,
) -> Result<()> {
    let server = Server::start()?;
    let (alice, bob) = alice_and_bob(&server)?;
    alice.send("bob", "unseen")?;
    server.lies.inbox.tell(move |(_, after), items| change(*after, items));
    let seen = receive(&server, &bob, questions)?;
    server.lies.inbox.end();
    assert_recovers(&alice, &bob, "unseen", &seen)?;
    // A chat that begins now still gets through to him.
    let carol = User::sign_up(server.link(), "carol")?;
    carol.send("bob", "from carol")?;
    assert_eq!(texts(&bob.receive()?), ["from carol"]);
    Ok(())
}

fn changed_list(seq: u64) -> InboxItem {
    let notice = InboxNotice::DeviceListChanged { username: "alice".parse().expect("a username"), version: u64::MAX };
    InboxItem { seq, notice }
}

#[test]
fn an_inbox_item_beyond_all_numbers() -> Result<()> {
    lied_to_in_inbox(QUESTIONS, |_, _| vec![changed_list(u64::MAX)])
}

#[test]
fn an_inbox_item_far_ahead_of_all_that_come_later() -> Result<()> {
    lied_to_in_inbox(QUESTIONS, |after, items| if after < 1 << 40 { vec![changed_list(1 << 40)] } else { items })
}

#[test]
fn an_inbox_item_at_zero() -> Result<()> {
    lied_to_in_inbox(QUESTIONS, |_, _| vec![changed_list(0)])
}

#[test]
fn an_endless_inbox() -> Result<()> {
    lied_to_in_inbox(ENDLESS, |after, _| vec![changed_list(after + 1)])
}

/// Alice sends one message and is told this of it.
fn lied_to_in_answers(answer: impl Fn(AppendOutcome) -> AppendOutcome + Send + 'static) -> Result<()> {
    let server = Server::start()?;
    let (alice, bob) = alice_and_bob(&server)?;
    server.lies.append.tell(move |_, honest| answer(honest));
    let started = Instant::now();
    let outcome = run_with_deadline(alice.command(&["send", "bob", "unseen"])?.arg("--json"), BOUNDED)?;
    assert_survives(&outcome).with_context(|| format!("after {:?}", started.elapsed()))?;
    server.lies.append.end();
    let nothing = Outcome { code: 0, stdout: String::new(), stderr: String::new() };
    assert_recovers(&alice, &bob, "unseen", &nothing)
}

fn placed(place: impl Fn(u64) -> u64) -> impl Fn(AppendOutcome) -> AppendOutcome {
    move |honest| match honest {
        AppendOutcome::Accepted { seq, time_ms } => AppendOutcome::Accepted { seq: place(seq), time_ms },
        other => other,
    }
}

#[test]
fn a_message_accepted_at_a_place_that_exists() -> Result<()> {
    lied_to_in_answers(placed(|_| 1))
}

#[test]
fn a_message_accepted_at_zero() -> Result<()> {
    lied_to_in_answers(placed(|_| 0))
}

#[test]
fn a_message_accepted_beyond_all_numbers() -> Result<()> {
    lied_to_in_answers(placed(|_| u64::MAX))
}

#[test]
fn a_message_accepted_a_little_too_far() -> Result<()> {
    lied_to_in_answers(placed(|seq| seq + 1))
}

#[test]
fn a_count_of_commits_that_nobody_made() -> Result<()> {
    lied_to_in_answers(|_| AppendOutcome::Stale { commits: u64::MAX })
}

#[test]
fn a_busy_server_that_asks_to_wait_for_weeks() -> Result<()> {
    lied_to_in_answers(|_| AppendOutcome::Busy { retry_after_ms: u32::MAX })
}

#[test]
fn a_message_accepted_at_the_place_of_anothers_hides_nothing_unseen() -> Result<()> {
    let server = Server::start()?;
    let (alice, bob) = alice_and_bob(&server)?;
    assert!(alice.receive_now()?.is_empty());
    // Bob's message is kept from Alice, and its place is given to what she sends.
    let hidden = Arc::new(AtomicU64::new(u64::MAX));
    let place = Arc::clone(&hidden);
    server.lies.pushed.tell(move |_, entries| {
        let first = entries.iter().map(|entry| entry.seq).min().unwrap_or(u64::MAX);
        place.fetch_min(first, SeqCst);
        Vec::new()
    });
    bob.send("alice", "hidden")?;
    server.lies.heads.tell(|_, _| Vec::new());
    let (hidden, mut first) = (hidden.load(SeqCst), true);
    server.lies.append.tell(move |_, honest| match std::mem::take(&mut first) {
        true => placed(|_| hidden)(honest),
        false => honest,
    });
    let sent = run_with_deadline(alice.command(&["send", "bob", "mine"])?.arg("--json"), BOUNDED)?;
    assert_survives(&sent)?;
    server.lies.pushed.end();
    server.lies.heads.end();
    server.lies.append.end();
    bob.send("alice", "later")?;
    let received = alice.receive()?;
    ensure!(texts(&received).contains(&"later".to_owned()), "{received:?}");
    let marked = received.iter().any(|message| message["kind"] == "unreadable" || message["text"] == "hidden");
    ensure!(marked || sent.code == 3, "nobody sees that one is missing: {received:?}");
    Ok(())
}

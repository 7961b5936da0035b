//! A room of real clients: how long coming in takes, a message until all have it, what a newcomer is told, and changes that
//! many make at once.

use super::Room;
use crate::{
    people::{LIMIT, Person, failed},
    progress,
    report::{Measured, Quantiles, Report, latencies},
};
use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::timeout,
};
use waxwing_core::{Client, Content, Error, Event, GroupChange, Message, Wish};

const ROOM: &str = "bench";
/// As many as one commit of a client brings in.
const CROWD: usize = 24;
/// How many change the room at once.
const AT_ONCE: usize = 20;
/// What a newcomer is told: so many of the last entries, of which some are commits, so that fewer are messages.
const HISTORY: u32 = 100;
const TOLD: usize = 90;
/// Nothing here takes that long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(900);

/// A message, or a new topic, has come to a member.
struct Arrival {
    what: String,
    at: Instant,
}

/// Runs it.
pub(super) async fn run(room: &Room) -> Result<Report> {
    let members = usize::from(room.members);
    let place = room.place.prepare().await?;
    let profiles = tempfile::Builder::new().prefix("waxwing-bench-").tempdir_in(room.place.folder())?;
    let people = Person::several(&place.link, profiles.path(), members + 1).await?;
    let clients = online(&people).await?;
    let (first, others) = clients.split_first().context("a room has a member")?;
    let (newcomer, others) = others.split_last().context("a room has two members")?;
    let memory_before = crate::process::Process(std::process::id()).memory()?.resident_kib;

    first.join_room(ROOM, LIMIT).await.map_err(failed)?;
    let bar = progress::bar("coming into the room", others.len() as u64);
    let mut joins = latencies()?;
    let begun = Instant::now();
    for crowd in others.chunks(CROWD) {
        let mut coming = JoinSet::new();
        for client in crowd {
            let client = Arc::clone(client);
            coming.spawn(async move { come_in(&client).await });
        }
        while let Some(took) = coming.join_next().await {
            joins.saturating_record(nanoseconds(took??));
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let filling = begun.elapsed();

    // Those who are in the room.
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    for client in clients.iter().take(members) {
        listen(client, arrived.clone());
    }
    let chat = format!("#{ROOM}");
    // Whatever is left of coming in: a message tells when everybody has settled.
    let settling = Instant::now();
    everybody(first, &chat, "all here", members - 1, &mut arrivals, None).await?;
    let settled = settling.elapsed();
    // Nothing but commits was in the log before that message.
    let second = first.send(&chat, "counted").await.map_err(failed)?;
    let commits = first.sent(second.id, PATIENCE).await.map_err(failed)?.seq.unwrap_or_default().saturating_sub(2);
    let (mut last, mut all) = (latencies()?, latencies()?);
    let span = Duration::from_secs(room.seconds.into());
    let begun = Instant::now();
    let (cpu, own) = (place.process().map(|process| process.cpu()).transpose()?, own_cpu()?);
    let mut sent = 0_u32;
    while begun.elapsed() < span || sent < HISTORY {
        sent += 1;
        let text = format!("{sent} {}", "x".repeat((room.payload as usize).saturating_sub(8)));
        let took = everybody(first, &chat, &text, members - 1, &mut arrivals, Some(&mut all)).await?;
        last.saturating_record(nanoseconds(took));
    }
    let elapsed = begun.elapsed();
    let used = place.process().map(|process| process.cpu()).transpose()?.zip(cpu).map(|(after, before)| after - before);
    let own = own_cpu()? - own;

    let alone = Instant::now();
    first.change_group(&chat, Wish::History(HISTORY), PATIENCE).await.map_err(failed)?;
    let change = alone.elapsed();
    let mut events = newcomer.events();
    let since = Instant::now();
    let joined = come_in(newcomer).await?;
    let message = newcomer.send(&chat, "hello").await.map_err(failed)?;
    newcomer.sent(message.id, PATIENCE).await.map_err(failed)?;
    let wrote = since.elapsed();
    while newcomer.history(&chat, None).await.map_err(failed)?.iter().filter(|one| one.told_by.is_some()).count() < TOLD
    {
        timeout(PATIENCE, events.recv())
            .await
            .context("the newcomer is not told")?
            .context("the newcomer's client ended")?;
    }
    let told = since.elapsed();

    let stale = place.refusals("Stale").await?;
    let busy = place.refusals("Busy").await?;
    let (together, converged) = at_once(&clients[..members], &chat, &mut arrivals).await?;
    let refused = (place.refusals("Stale").await? - stale, place.refusals("Busy").await? - busy);
    let memory = crate::process::Process(std::process::id()).memory()?.resident_kib;

    let mut closing = JoinSet::new();
    for client in &clients {
        let client = Arc::clone(client);
        closing.spawn(async move { client.close().await });
    }
    while let Some(closed) = closing.join_next().await {
        closed?.map_err(failed)?;
    }
    let measured = Measured {
        throughput: f64::from(sent) * (members - 1) as f64 / elapsed.as_secs_f64(),
        quantiles: Quantiles::of(&last),
        received: Quantiles::of(&all),
        cpu_per_1000: used.map(|used| used * 1000.0 / (f64::from(sent) * (members - 1) as f64)),
        memory: place.process().map(|process| process.memory()).transpose()?,
        ..Measured::default()
    };
    let joins = Quantiles::of(&joins).context("nobody came in")?;
    Ok(Report::new("room", "deliveries, one message at a time; latencies until all had it", measured)
        .set("raw", false)
        .set("members", members)
        .set("payload", room.payload)
        .set("seconds", room.seconds)
        .set("database", room.place.database())
        .figure("filled_seconds", filling.as_secs_f64())
        .figure("commits_that_filled", commits as f64)
        .figure("join_in_a_crowd_p50_ms", joins.p50)
        .figure("join_in_a_crowd_max_ms", joins.max)
        .figure("settled_seconds", settled.as_secs_f64())
        .figure("clients_cpu_per_1000", own * 1000.0 / (f64::from(sent) * (members - 1) as f64))
        .figure("change_ms", milliseconds(change))
        .figure("join_alone_ms", milliseconds(joined))
        .figure("newcomer_wrote_ms", milliseconds(wrote))
        .figure("newcomer_told_ms", milliseconds(told))
        .figure("changes_at_once_seconds", together.as_secs_f64())
        .figure("converged_seconds", converged.as_secs_f64())
        .figure("commits_stale", refused.0 as f64)
        .figure("commits_busy", refused.1 as f64)
        .figure("kib_per_client", memory.saturating_sub(memory_before) as f64 / clients.len() as f64))
}

/// Comes into the room, however long its members take; how long they took.
async fn come_in(client: &Client) -> Result<Duration> {
    let since = Instant::now();
    loop {
        match client.join_room(ROOM, PATIENCE).await {
            // Its user is told that it takes long; it goes on all the same.
            Err(Error::TimedOut(_)) if since.elapsed() < PATIENCE => {}
            joined => return joined.map(|_| since.elapsed()).map_err(failed),
        }
    }
}

/// Opens all profiles, a few at a time.
async fn online(people: &[Person]) -> Result<Vec<Arc<Client>>> {
    let bar = progress::bar("opening profiles", people.len() as u64);
    let turns = Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)));
    let mut opening = JoinSet::new();
    for (index, person) in people.iter().enumerate() {
        let (person, turns) = (person.clone(), Arc::clone(&turns));
        opening.spawn(async move {
            let _turn = turns.acquire().await?;
            anyhow::Ok((index, Arc::new(person.online().await?)))
        });
    }
    let mut all = Vec::new();
    while let Some(one) = opening.join_next().await {
        all.push(one??);
        bar.inc(1);
    }
    bar.finish_and_clear();
    all.sort_by_key(|(index, _)| *index);
    Ok(all.into_iter().map(|(_, client)| client).collect())
}

/// Tells of each text and topic that comes to a member.
fn listen(client: &Client, arrived: mpsc::UnboundedSender<Arrival>) {
    let mut events = client.events();
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            let what = match event {
                Event::Message(Message { content: Content::Text(text), .. }) => text,
                Event::Group { change: GroupChange::Topic { topic }, .. } => format!("topic {topic}"),
                _ => continue,
            };
            if arrived.send(Arrival { what, at: Instant::now() }).is_err() {
                return;
            }
        }
    });
}

/// Sends a text and waits until so many have it; how long that took.
async fn everybody(
    from: &Client,
    chat: &str,
    text: &str,
    others: usize,
    arrivals: &mut mpsc::UnboundedReceiver<Arrival>,
    mut each: Option<&mut Histogram<u64>>,
) -> Result<Duration> {
    let since = Instant::now();
    from.send(chat, text).await.map_err(failed)?;
    let mut took = Duration::ZERO;
    let mut missing = others;
    while missing > 0 {
        let arrival = timeout(PATIENCE, arrivals.recv()).await.context("a message does not arrive")?;
        let arrival = arrival.context("the clients ended")?;
        if arrival.what == text {
            took = arrival.at - since;
            missing -= 1;
            if let Some(each) = &mut each {
                each.saturating_record(nanoseconds(took));
            }
        }
    }
    Ok(took)
}

/// Twenty admins change the topic at once; how long until the last of them heard that theirs is in force, and until everybody
/// had all of it and could hear each other.
async fn at_once(
    members: &[Arc<Client>],
    chat: &str,
    arrivals: &mut mpsc::UnboundedReceiver<Arrival>,
) -> Result<(Duration, Duration)> {
    let (first, _) = members.split_first().context("a room has a member")?;
    let admins: Vec<Arc<Client>> = members.iter().take(AT_ONCE).cloned().collect();
    let mut promoting = JoinSet::new();
    for admin in admins.iter().skip(1) {
        let username = admin.whoami().await.map_err(failed)?.username;
        let (first, chat) = (Arc::clone(first), chat.to_owned());
        let wish = Wish::Role { username, admin: true };
        promoting.spawn(async move { first.change_group(&chat, wish, PATIENCE).await });
    }
    while let Some(done) = promoting.join_next().await {
        done?.map_err(failed)?;
    }
    // Each knows that it is one.
    everybody(first, chat, "admins", members.len() - 1, arrivals, None).await?;
    let since = Instant::now();
    let mut changing = JoinSet::new();
    for (number, admin) in admins.iter().enumerate() {
        let (admin, chat) = (Arc::clone(admin), chat.to_owned());
        let wish = Wish::Topic(format!("{number}"));
        changing.spawn(async move { admin.change_group(&chat, wish, PATIENCE).await });
    }
    while let Some(done) = changing.join_next().await {
        done?.map_err(failed)?;
    }
    let together = since.elapsed();
    everybody(first, chat, "changed", members.len() - 1, arrivals, None).await?;
    let converged = since.elapsed();
    let topic = first.group(chat).await.map_err(failed)?.topic;
    for member in members {
        let group = member.group(chat).await.map_err(failed)?;
        ensure!(group.topic == topic, "members see other topics: {topic} and {}", group.topic);
    }
    Ok((together, converged))
}

fn own_cpu() -> Result<f64> {
    crate::process::Process(std::process::id()).cpu()
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

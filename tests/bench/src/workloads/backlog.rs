//! Messages for somebody who is away, and how quickly they are there when that device comes back.

use crate::{
    failure::Failure,
    pairs::{ToServer, open_chat},
    people::{LIMIT, Person, failed},
    place::Where,
    progress,
    report::{Measured, Report},
};
use anyhow::{Context as _, Result, ensure};
use std::time::Instant;
use waxwing_protocol::{ClientFrame, Request, Response, ServerFrame, decode_server_frame, limits};

/// Messages under way while the backlog is made.
const WINDOW: u64 = 200;

/// See the module.
#[derive(Debug, clap::Args)]
pub(crate) struct Backlog {
    /// Fetch opaque payloads: this measures the server. Without it a real client decrypts and stores.
    #[arg(long)]
    raw: bool,
    /// How many messages wait.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    messages: u32,
    /// Bytes of a message.
    #[arg(long, value_name = "BYTES", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(8..=131_072))]
    payload: u32,
    /// How often opaque payloads are fetched; the quickest counts.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    #[command(flatten)]
    place: Where,
}

impl Backlog {
    pub(crate) async fn run(self) -> Result<Report> {
        match self.raw {
            true => self.run_raw().await,
            false => self.run_real().await,
        }
    }

    /// A real client, whose profile is closed meanwhile.
    async fn run_real(self) -> Result<Report> {
        let place = self.place.prepare().await?;
        let profiles = tempfile::Builder::new().prefix("waxwing-bench-").tempdir_in(self.place.folder())?;
        let people = Person::several(&place.link, profiles.path(), 2).await?;
        let [from, to] = people.as_slice() else { anyhow::bail!("two accounts") };
        let (sender, receiver) = (from.online().await?, to.online().await?);
        let first = sender.send(&to.name, "hello").await.map_err(failed)?;
        sender.sent(first.id, LIMIT).await.map_err(failed)?;
        let mut events = receiver.events();
        while receiver.history(&from.name, None).await.map_or(true, |history| history.is_empty()) {
            events.recv().await.context("the client ended")?;
        }
        receiver.close().await.map_err(failed)?;
        let bar = progress::bar("writing to who is away", u64::from(self.messages));
        let since = Instant::now();
        let text = "x".repeat((self.payload as usize).min(limits::TEXT));
        let mut last = first.id;
        for _ in 0..self.messages {
            last = sender.send(&to.name, &text).await.map_err(failed)?.id;
            bar.inc(1);
        }
        sender.sent(last, LIMIT * 10).await.map_err(failed)?;
        bar.finish_and_clear();
        let writing = since.elapsed();
        let receiver = to.open().await?;
        let since = Instant::now();
        receiver.go_online();
        receiver.caught_up(LIMIT * 10).await.map_err(failed)?;
        let seconds = since.elapsed().as_secs_f64();
        let found = receiver.history(&from.name, None).await.map_err(failed)?.len();
        ensure!(found == self.messages as usize + 1, "{found} messages came of {}", self.messages);
        receiver.close().await.map_err(failed)?;
        sender.close().await.map_err(failed)?;
        let total = f64::from(self.messages);
        let measured = Measured {
            throughput: total / seconds,
            memory: place.process().map(|process| process.memory()).transpose()?,
            ..Measured::default()
        };
        Ok(Report::new("backlog", "messages fetched, decrypted and stored", measured)
            .set("raw", self.raw)
            .set("messages", self.messages)
            .set("payload", self.payload)
            .set("database", self.place.database())
            .figure("drained_seconds", seconds)
            .figure("written_per_second", total / writing.as_secs_f64()))
    }

    async fn run_raw(self) -> Result<Report> {
        let total = u64::from(self.messages);
        let place = self.place.prepare().await?;
        let to_server = ToServer::new(place.endpoint.clone(), place.link.invite.as_deref())?;
        let (mut receiver, to) = to_server.account("r").await?;
        let (mut sender, _) = to_server.account("s").await?;
        let conversation = open_chat(&mut sender, &to).await?;
        receiver.insist("a ping", Request::Ping).await?;
        drop(receiver);

        let bar = progress::bar("writing to who is away", total);
        let (mut sent, mut stored) = (0, 0);
        let since = Instant::now();
        while stored < total {
            while sent < total && sent - stored < WINDOW {
                sent += 1;
                let payload = vec![7; self.payload as usize].into();
                let request = Request::Send { conversation, number: sent, commits: 1, payload };
                sender.connection.push(&ClientFrame { id: 1_000_000 + sent as u32, request });
            }
            sender.connection.flush().await?;
            match decode_server_frame(sender.connection.wait().await?)? {
                ServerFrame::Response { response: Response::Accepted { .. }, .. } => stored += 1,
                ServerFrame::Refusal { refusal, .. } => return Err(Failure::refused("a message", &refusal)),
                _ => {}
            }
            bar.set_position(stored);
        }
        let writing = since.elapsed();
        bar.finish_and_clear();

        let cpu = || place.process().map(|process| process.cpu()).transpose();
        let mut best = f64::INFINITY;
        let before = cpu()?;
        for _ in 0..self.rounds {
            let since = Instant::now();
            let mut receiver = place.endpoint.greet().await?;
            receiver.authenticate(&to.device).await?;
            receiver.insist("the events", Request::Subscribe).await?;
            let (mut cursor, mut head) = (1, u64::MAX);
            while cursor < head {
                match receiver.insist("a page", Request::Fetch { conversation, after: cursor }).await? {
                    Response::Page(page) => {
                        ensure!(page.entries.first().is_some_and(|entry| entry.seq == cursor + 1), "a page has gaps");
                        cursor += page.entries.len() as u64;
                        head = page.head;
                    }
                    other => anyhow::bail!("no page but {other:?}"),
                }
            }
            ensure!(cursor == total + 1, "{} messages came of {total}", cursor - 1);
            best = best.min(since.elapsed().as_secs_f64());
        }
        let used = cpu()?.zip(before).map(|(after, before)| after - before);
        let measured = Measured {
            throughput: total as f64 / best,
            cpu_per_1000: used.map(|used| used * 1000.0 / (total as f64 * f64::from(self.rounds))),
            memory: place.process().map(|process| process.memory()).transpose()?,
            ..Measured::default()
        };
        Ok(Report::new("backlog", "messages fetched", measured)
            .set("raw", self.raw)
            .set("messages", self.messages)
            .set("payload", self.payload)
            .set("database", self.place.database())
            .figure("drained_seconds", best)
            .figure("written_per_second", total as f64 / writing.as_secs_f64()))
    }
}

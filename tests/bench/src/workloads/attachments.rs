//! Files: how quickly the server takes and gives their chunks.

use crate::{
    pairs::ToServer,
    place::Where,
    process::Process,
    progress,
    report::{Measured, Report},
    wire::Peer,
};
use anyhow::Result;
use std::time::Instant;
use tokio::task::JoinSet;
use waxwing_protocol::{AttachmentId, ClientFrame, Request, Response, ServerFrame, decode_server_frame, limits};

/// Chunks of one connection that are under way, as a client has them.
const WINDOW: u32 = 4;

/// See the module.
#[derive(Debug, clap::Args)]
pub(crate) struct Attachments {
    /// How many send a file each, and fetch it again, at a time.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    clients: u16,
    /// The size of a file in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    mib: u16,
    /// Opaque chunks: this workload knows no others.
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    place: Where,
}

impl Attachments {
    pub(crate) async fn run(self) -> Result<Report> {
        let place = self.place.prepare().await?;
        let to_server = ToServer::new(place.endpoint.clone(), place.link.invite.as_deref())?;
        let chunks = u32::from(self.mib) * (1024 * 1024 / limits::ATTACHMENT_CHUNK as u32);
        let total = f64::from(self.mib) * f64::from(self.clients);
        let mut peers = Vec::new();
        for index in 0..self.clients {
            let mut id = [0; 32];
            getrandom::fill(&mut id)?;
            peers.push((to_server.account(&format!("file-{index}")).await?.0, AttachmentId(id)));
        }
        let cpu = || place.process().map(Process::cpu).transpose();
        let bar = progress::bar("sending and fetching chunks", 2 * u64::from(chunks) * u64::from(self.clients));
        let (mut seconds, mut cpus) = (Vec::new(), Vec::new());
        for sending in [true, false] {
            let (since, before) = (Instant::now(), cpu()?);
            let mut running = JoinSet::new();
            for (peer, id) in peers.drain(..) {
                let bar = bar.clone();
                running.spawn(async move { transfer(peer, id, chunks, sending, &bar).await.map(|peer| (peer, id)) });
            }
            while let Some(peer) = running.join_next().await {
                peers.push(peer??);
            }
            seconds.push(since.elapsed().as_secs_f64());
            cpus.push(cpu()?.zip(before).map(|(after, before)| after - before));
        }
        bar.finish_and_clear();
        let (sent, fetched) = (total / seconds[0], total / seconds[1]);
        let measured = Measured {
            throughput: (sent + fetched) / 2.0,
            cpu_per_1000: cpus[0].zip(cpus[1]).map(|(one, other)| (one + other) * 1000.0 / (2.0 * total)),
            memory: place.process().map(Process::memory).transpose()?,
            ..Measured::default()
        };
        Ok(Report::new("attachments", "MiB, the mean of both ways", measured)
            .set("clients", self.clients)
            .set("mib", self.mib)
            .set("database", self.place.database())
            .figure("sent_mib_per_second", sent)
            .figure("fetched_mib_per_second", fetched))
    }
}

/// Sends or fetches all chunks of an attachment, a few at a time.
async fn transfer(
    mut peer: Peer,
    id: AttachmentId,
    chunks: u32,
    sending: bool,
    bar: &indicatif::ProgressBar,
) -> Result<Peer> {
    if sending {
        let size = u64::from(chunks) * limits::ATTACHMENT_CHUNK as u64;
        peer.insist("an attachment", Request::BeginAttachment { id, size }).await?;
    }
    let (mut asked, mut done) = (0, 0);
    while done < chunks {
        while asked < chunks && asked - done < WINDOW {
            let request = match sending {
                true => Request::PutChunk { id, index: asked, payload: vec![7; limits::ATTACHMENT_CHUNK].into() },
                false => Request::FetchChunk { id, index: asked },
            };
            asked += 1;
            peer.connection.push(&ClientFrame { id: 1_000_000 + asked, request });
            peer.connection.flush().await?;
        }
        match decode_server_frame(peer.connection.wait().await?)? {
            ServerFrame::Response { response: Response::Done | Response::Chunk(_), .. } => {
                done += 1;
                bar.inc(1);
            }
            ServerFrame::Refusal { refusal, .. } => return Err(crate::failure::Failure::refused("a chunk", &refusal)),
            other => anyhow::bail!("no chunk but {other:?}"),
        }
    }
    if sending {
        peer.insist("the end of an attachment", Request::FinishAttachment(id)).await?;
    }
    Ok(peer)
}

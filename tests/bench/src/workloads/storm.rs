//! Everybody logs in, or signs up, at once; and what the messages of others notice of it.
//!
//! The floor is Argon2id alone on all cores: a login costs one, a sign-up two.

use crate::{
    pairs::{self, Load, ToServer, sign_up},
    place::{Place, Where},
    process::Process,
    progress,
    report::{Measured, Quantiles, Report},
    wire::{Account, Device, Endpoint},
};
use anyhow::{Result, anyhow};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use hdrhistogram::Histogram;
use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tokio::{sync::watch, task::JoinSet};
use waxwing_protocol::{Admission, Authenticator, Request, Secret};

/// Messages meanwhile: few, so that their latency is not that of a load of their own.
const PAIRS: usize = 4;
/// How long the floor is measured.
const FLOOR: Duration = Duration::from_secs(3);

/// What everybody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Deed {
    /// Log in by password.
    Login,
    /// Make an account.
    Signup,
}

/// See the module.
#[derive(Debug, clap::Args)]
pub(crate) struct Storm {
    /// What everybody does.
    #[arg(value_enum, default_value = "login")]
    deed: Deed,
    /// How many at a time.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1000))]
    clients: u16,
    /// How long each part is measured.
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=3600))]
    seconds: u16,
    /// Opaque accounts: this workload knows no others.
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    place: Where,
}

impl Storm {
    pub(crate) async fn run(self) -> Result<Report> {
        let floor = tokio::task::spawn_blocking(argon2_alone).await??;
        let place = self.place.prepare().await?;
        let to_server = ToServer::new(place.endpoint.clone(), place.link.invite.as_deref())?;
        let mut accounts = Vec::new();
        let bar = progress::bar("signing up", self.clients.into());
        for index in 0..self.clients {
            accounts.push(to_server.account(&format!("storm-{index}")).await?.1);
            bar.inc(1);
        }
        bar.finish_and_clear();
        let accounts = Arc::new(accounts);
        let duration = Duration::from_secs(self.seconds.into());
        let while_alone = async {
            progress::run_for("the storm", Instant::now(), duration).await;
            Ok(())
        };
        let (alone, ()) = self.rage(&place, &accounts, while_alone).await?;
        let quiet = self.messages(&place).await?;
        let (with_messages, stormy) = self.rage(&place, &accounts, self.messages(&place)).await?;
        let hashes = if self.deed == Deed::Login { 1.0 } else { 2.0 };
        let unit = if self.deed == Deed::Login { "logins" } else { "sign-ups" };
        let p99 = |measured: &Measured| measured.quantiles.as_ref().map_or(f64::NAN, |quantiles| quantiles.p99);
        let argon2 = Measured { throughput: floor / hashes, ..Measured::default() };
        let rate = with_messages.throughput;
        Ok(Report::new("storm", unit, alone)
            .set("clients", self.clients)
            .set("seconds", self.seconds)
            .set("database", self.place.database())
            .figure("per_second_beside_messages", rate)
            .figure("messages_p99_ms_without_storm", p99(&quiet))
            .figure("messages_p99_ms_in_the_storm", p99(&stormy))
            .figure("messages_per_second_without_storm", quiet.throughput)
            .figure("messages_per_second_in_the_storm", stormy.throughput)
            .floors(&[("argon2", argon2)]))
    }

    async fn messages(&self, place: &Place) -> Result<Measured> {
        let load = Load {
            pairs: PAIRS,
            window: 1,
            payload: 1024,
            warm_up: Duration::from_secs(1),
            duration: Duration::from_secs(self.seconds.into()),
        };
        let opener = ToServer::new(place.endpoint.clone(), place.link.invite.as_deref())?;
        pairs::run("messages", opener, &load, None).await
    }

    /// Everybody at once, for as long as something else lasts.
    async fn rage<T>(
        &self,
        place: &Place,
        accounts: &Arc<Vec<Account>>,
        meanwhile: impl Future<Output = Result<T>>,
    ) -> Result<(Measured, T)> {
        let (stop, stopped) = watch::channel(false);
        let begin = Instant::now();
        let mut clients = JoinSet::new();
        for index in 0..accounts.len() {
            let (endpoint, accounts, mut stopped) = (place.endpoint.clone(), Arc::clone(accounts), stopped.clone());
            let (deed, admission) = (self.deed, admission(place));
            clients.spawn(async move {
                let mut took = Vec::new();
                while let Some(account) = accounts.get(index) {
                    let since = Instant::now();
                    tokio::select! {
                        done = once(&endpoint, account, deed, &admission) => done?,
                        _ = stopped.changed() => break,
                    }
                    took.push(since.elapsed());
                }
                anyhow::Ok(took)
            });
        }
        let cpu = place.process().map(Process::cpu).transpose()?;
        let found = meanwhile.await?;
        let used = place.process().map(Process::cpu).transpose()?.zip(cpu).map(|(after, before)| after - before);
        let memory = place.process().map(Process::memory).transpose()?;
        let seconds = begin.elapsed().as_secs_f64();
        stop.send_replace(true);
        let mut latencies = Histogram::<u64>::new_with_bounds(1000, 60_000_000_000, 3)?;
        while let Some(took) = clients.join_next().await {
            for one in took?? {
                latencies.saturating_record(u64::try_from(one.as_nanos())?);
            }
        }
        let count = latencies.len() as f64;
        let measured = Measured {
            throughput: count / seconds,
            quantiles: Quantiles::of(&latencies),
            cpu_per_1000: used.filter(|_| count > 0.0).map(|used| used * 1000.0 / count),
            memory,
            ..Measured::default()
        };
        Ok((measured, found))
    }
}

fn admission(place: &Place) -> Admission {
    place.link.invite.clone().map_or(Admission::Open, Admission::Invite)
}

async fn once(endpoint: &Endpoint, account: &Account, deed: Deed, admission: &Admission) -> Result<()> {
    let mut peer = endpoint.greet().await?;
    match deed {
        Deed::Login => {
            let (username, authenticator) = (account.username.clone(), Authenticator::Password(Secret([1; 32])));
            peer.insist("a login", Request::Login { username, authenticator, code: None, device: None }).await?;
        }
        Deed::Signup => {
            let mut random = [0; 8];
            getrandom::fill(&mut random)?;
            let name = format!("bench-{:016x}", u64::from_be_bytes(random));
            let new = Account { username: name.parse()?, device: Device::random()? };
            peer.insist("a sign-up", sign_up(&new, admission.clone())).await?;
        }
    }
    Ok(())
}

/// The server's password hashes that all cores compute in a second, when they have nothing else to do.
fn argon2_alone() -> Result<f64> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let begin = Instant::now();
    let workers: Vec<_> = (0..cores)
        .map(|_| {
            thread::spawn(move || {
                let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT);
                let mut memory = vec![Block::new(); Params::DEFAULT.block_count()];
                let (mut output, mut count) = ([0; 32], 0_u32);
                while begin.elapsed() < FLOOR {
                    hasher.hash_password_into_with_memory(&[1; 32], &[9; 16], &mut output, &mut memory)?;
                    count += 1;
                }
                Ok::<_, argon2::Error>(f64::from(count) / begin.elapsed().as_secs_f64())
            })
        })
        .collect();
    let mut total = 0.0;
    for worker in workers {
        let computed = worker.join().map_err(|_| anyhow!("a thread failed"))?;
        total += computed.map_err(|error| anyhow!("Argon2id: {error}"))?;
    }
    Ok(total)
}

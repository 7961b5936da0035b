//! A new device of an account: logging in, and having the whole backup.

use crate::{
    people::{LIMIT, Person, failed},
    place::Where,
    progress,
    report::{Measured, Report},
};
use anyhow::{Result, ensure};
use std::time::Instant;

/// See the module.
#[derive(Debug, clap::Args)]
pub(crate) struct Restore {
    /// How many messages the backup has.
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    messages: u32,
    #[command(flatten)]
    place: Where,
}

impl Restore {
    pub(crate) async fn run(self) -> Result<Report> {
        let place = self.place.prepare().await?;
        let profiles = tempfile::Builder::new().prefix("waxwing-bench-").tempdir_in(self.place.folder())?;
        let people = Person::several(&place.link, profiles.path(), 2).await?;
        let [from, to] = people.as_slice() else { anyhow::bail!("two accounts") };
        let sender = from.online().await?;
        let bar = progress::bar("writing", u64::from(self.messages));
        let mut last = None;
        for number in 0..self.messages {
            let text = format!("{number} the lighthouse keeper counts the ships that pass in the night");
            last = Some(sender.send(&to.name, &text).await.map_err(failed)?.id);
            bar.inc(1);
        }
        if let Some(last) = last {
            sender.sent(last, LIMIT * 10).await.map_err(failed)?;
        }
        bar.finish_and_clear();
        let since = Instant::now();
        sender.backup_now().await.map_err(failed)?;
        let backing_up = since.elapsed().as_secs_f64();
        sender.close().await.map_err(failed)?;

        let since = Instant::now();
        let device = from.another_device(&place.link, &profiles.path().join("another")).await?;
        let logging_in = since.elapsed().as_secs_f64();
        let client = device.open().await?;
        let since = Instant::now();
        client.go_online();
        client.restored().await.map_err(failed)?;
        let restoring = since.elapsed().as_secs_f64();
        let found = client.history(&to.name, None).await.map_err(failed)?.len();
        ensure!(found == self.messages as usize, "{found} messages came back of {}", self.messages);
        client.close().await.map_err(failed)?;
        let measured = Measured { throughput: f64::from(self.messages) / restoring, ..Measured::default() };
        Ok(Report::new("restore", "messages restored", measured)
            .set("messages", self.messages)
            .set("database", self.place.database())
            .figure("rest_of_the_backup_seconds", backing_up)
            .figure("login_seconds", logging_in)
            .figure("restore_seconds", restoring))
    }
}

//! Real clients: accounts of the client library with profiles on disk, who encrypt, decrypt and store like anybody.

use crate::failure::{Failure, Kind};
use anyhow::Result;
use std::{path::Path, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, task::JoinSet};
use waxwing_core::{
    Admission, Client, Error, ErrorKind, Link, LogIn, ProfilePath, SignUp, Unlock, Zeroizing, log_in, sign_up,
};

/// Nothing here takes that long unless it is broken.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);
const PASSWORD: &str = "orbit velvet 41 thimble harvest";

/// An account of the client library.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) profile: ProfilePath,
}

/// What a client says as this program's failure.
pub(crate) fn failed(error: Error) -> anyhow::Error {
    let kind = match error.kind() {
        ErrorKind::User => Kind::User,
        ErrorKind::Network => Kind::Network,
        ErrorKind::Untrusted => Kind::Identity,
        ErrorKind::RateLimited => Kind::Limited,
        _ => Kind::Unexpected,
    };
    Failure::error(kind, format!("a client failed: {error}"), "look into the server's log, and report it if it stays")
}

impl Person {
    /// Signs up, with a profile in this folder.
    pub(crate) async fn sign_up(link: &Link, folder: &Path, name: String) -> Result<Self> {
        let profile = ProfilePath::resolve(Some(folder.to_owned()), Some(&name)).map_err(failed)?;
        let request = SignUp {
            link: link.clone(),
            username: name.clone(),
            full_name: None,
            email: None,
            password: password(),
            code: None,
            admission: link.invite.clone().map_or(Admission::Open, Admission::Invite),
            device_name: None,
            remember: false,
            accept_strangers: true,
        };
        sign_up(&profile, request, &|_| {}).await.map_err(failed)?;
        Ok(Self { name, profile })
    }

    /// So many new accounts, made a few at a time. Their names are told apart from those of other runs.
    pub(crate) async fn several(link: &Link, folder: &Path, count: usize) -> Result<Vec<Self>> {
        let mut random = [0; 5];
        getrandom::fill(&mut random)?;
        let run: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let bar = crate::progress::bar("signing up", count as u64);
        let turns = Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)));
        let mut making = JoinSet::new();
        for index in 0..count {
            let (link, folder, turns) = (link.clone(), folder.to_owned(), Arc::clone(&turns));
            let name = format!("bench-{run}-{index}");
            making.spawn(async move {
                let _turn = turns.acquire().await?;
                anyhow::Ok((index, Self::sign_up(&link, &folder, name).await?))
            });
        }
        let mut all = Vec::new();
        while let Some(one) = making.join_next().await {
            all.push(one??);
            bar.inc(1);
        }
        bar.finish_and_clear();
        all.sort_by_key(|(index, _)| *index);
        Ok(all.into_iter().map(|(_, person)| person).collect())
    }

    /// Opens the profile.
    pub(crate) async fn open(&self) -> Result<Client> {
        Client::open(&self.profile, Unlock::Password(password())).await.map_err(failed)
    }

    /// Opens the profile and waits until all that the server has is here.
    pub(crate) async fn online(&self) -> Result<Client> {
        let client = self.open().await?;
        client.go_online();
        client.caught_up(LIMIT).await.map_err(failed)?;
        Ok(client)
    }

    /// Another device of this account, with a profile of its own.
    pub(crate) async fn another_device(&self, link: &Link, folder: &Path) -> Result<Self> {
        let profile = ProfilePath::resolve(Some(folder.to_owned()), Some(&self.name)).map_err(failed)?;
        let request = LogIn {
            link: link.clone(),
            username: self.name.clone(),
            password: password(),
            code: None,
            device_name: None,
            remember: false,
        };
        log_in(&profile, request, &|_| {}).await.map_err(failed)?;
        Ok(Self { name: self.name.clone(), profile })
    }
}

fn password() -> Zeroizing<String> {
    Zeroizing::new(PASSWORD.to_owned())
}

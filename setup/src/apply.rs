//! Carries a plan out, step by step.
//!
//! Invariants: each step is safe to repeat and does nothing where its work is done; a key that exists stays; the link is
//! written last, so that a folder with a link is a finished one. It must not know terminals.

use crate::plan::Plan;
use std::{path::Path, sync::Arc};
use waxwing_server::{
    cli::{Failure, create_invite},
    install::{
        Config, Database, Finished, Folder, InstallError, Installation, Lock, Secrets, SignUp, YesNo,
        database::{self, Migrated, NobodyListens},
        open, pem, seal,
    },
};

/// Accounts that the first invite lets in, and days until it ends.
const FIRST_INVITE: (u32, u32) = (1, 7);

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The database server answers. Nothing is written before that is known.
    Reach,
    /// The folder, and this process's lock on it.
    Folder,
    /// The identity, the data key and the passwords, sealed.
    Secrets,
    /// `config.toml`.
    Config,
    /// The schema and its tables.
    Tables,
    /// `identity.crt`.
    Certificate,
    /// The first invite, where people need one.
    Invite,
    /// `link.txt`.
    Link,
}

impl Step {
    /// All steps in their order.
    pub const ALL: [Self; 8] = [
        Self::Reach,
        Self::Folder,
        Self::Secrets,
        Self::Config,
        Self::Tables,
        Self::Certificate,
        Self::Invite,
        Self::Link,
    ];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reach => "connection",
            Self::Folder => "folder",
            Self::Secrets => "keys",
            Self::Config => "configuration",
            Self::Tables => "tables",
            Self::Certificate => "certificate",
            Self::Invite => "invite",
            Self::Link => "link",
        }
    }
}

/// A plan on its way.
pub struct Applying {
    plan: Plan,
    lock: Option<Lock>,
    secrets: Option<Secrets>,
}

impl Applying {
    /// Starts with nothing done.
    pub fn new(plan: Plan) -> Self {
        Self { plan, lock: None, secrets: None }
    }

    /// Does one step, after those before it, and returns what was done, for people; none if it does not concern this plan.
    pub async fn step(&mut self, step: Step) -> Result<Option<String>, Failure> {
        match step {
            Step::Reach => self.reach().await,
            Step::Folder => self.take_folder().map(Some),
            Step::Secrets => self.seal_secrets().map(Some),
            Step::Config => self.write_config().map(Some),
            Step::Tables => self.migrate().await.map(Some),
            Step::Certificate => {
                let certificate = pem(&self.secrets()?.certificate_der);
                let folder = &self.plan.folder;
                self.write_if_missing(&folder.certificate(), certificate.as_bytes()).map(Some)
            }
            Step::Invite => self.invite().await,
            Step::Link => {
                let (link, path) = (self.installation()?.link(), self.plan.folder.link());
                self.write_if_missing(&path, format!("{link}\n").as_bytes()).map(Some)
            }
        }
    }

    /// What the finished folder tells.
    pub fn finished(&self) -> Result<Finished, Failure> {
        let finished = self.plan.folder.finished()?;
        finished.ok_or_else(|| Failure::unexpected("the set-up ended, but files are missing"))
    }

    async fn reach(&mut self) -> Result<Option<String>, Failure> {
        let Plan { folder, config, server_password, .. } = &self.plan;
        // On the second run the password is sealed already; and a wrong one should be told before anything else.
        if let Some(bytes) = folder.read(&folder.sealed())? {
            let failed = |reason| InstallError::Sealed { file: folder.sealed(), reason };
            self.secrets = Some(open(&bytes, server_password).map_err(failed)?);
        }
        if config.database == Database::Sqlite {
            return Ok(None);
        }
        database::probe(folder, config, self.database_password()).await?;
        Ok(Some(database::place(folder, config)))
    }

    fn take_folder(&mut self) -> Result<String, Failure> {
        let folder = &self.plan.folder;
        folder.create()?;
        let lock = folder.lock()?;
        folder.verify()?;
        self.lock = Some(lock);
        Ok(format!("{}, for this user only", folder.path().display()))
    }

    fn seal_secrets(&mut self) -> Result<String, Failure> {
        let Plan { folder, server_password, database_password, sign_up_secret, .. } = &self.plan;
        let path = folder.sealed();
        let failed = |reason| InstallError::Sealed { file: path.clone(), reason };
        let found = match folder.read(&path)? {
            Some(bytes) => Some(open(&bytes, server_password).map_err(failed)?),
            None => {
                let witnesses = [folder.config(), folder.certificate(), folder.link(), folder.database()];
                match witnesses.into_iter().find(|witness| witness.exists()) {
                    Some(witness) => return Err(InstallError::KeysMissing { sealed: path, witness }.into()),
                    None => None,
                }
            }
        };
        let mut secrets = match &found {
            Some(secrets) => secrets.clone(),
            None => self.plan.secrets.clone().map_or_else(Secrets::generate, Ok)?,
        };
        let plain = |secret: &Option<zeroize::Zeroizing<String>>| secret.as_ref().map(|secret| secret.to_string());
        if database_password.is_some() {
            secrets.database_password = plain(database_password);
        }
        if sign_up_secret.is_some() {
            secrets.sign_up_secret = plain(sign_up_secret);
        }
        let done = match &found {
            Some(found) if *found == secrets => "kept",
            None if self.plan.secrets.is_some() => "those of the other node, sealed under the servers' password",
            Some(_) => "kept, with the passwords given now",
            None => "made, and sealed under the server's password",
        };
        if found.as_ref() != Some(&secrets) {
            folder.write(&path, &seal(&secrets, server_password).map_err(failed)?)?;
        }
        self.secrets = Some(secrets);
        Ok(format!("{done} ({})", name(&path)))
    }

    fn write_config(&self) -> Result<String, Failure> {
        let folder = &self.plan.folder;
        self.write_if_missing(&folder.config(), self.plan.config.render().as_bytes())
    }

    async fn migrate(&self) -> Result<String, Failure> {
        let Plan { folder, config, .. } = &self.plan;
        let done = database::migrate(folder, config, self.database_password()).await?;
        let done = match done {
            Migrated::Created => "created",
            Migrated::Upgraded => "brought up to date",
            Migrated::Current => "kept",
        };
        Ok(done.to_owned())
    }

    async fn invite(&self) -> Result<Option<String>, Failure> {
        let Plan { folder, config, .. } = &self.plan;
        let path = folder.invite();
        if config.sign_up != SignUp::Invite || config.in_memory == YesNo::Yes {
            return Ok(None);
        }
        if path.exists() {
            return Ok(Some(format!("kept ({})", name(&path))));
        }
        let store = database::open(folder, config, self.database_password(), Arc::new(NobodyListens)).await?;
        let (uses, days) = FIRST_INVITE;
        let invite = create_invite(&*store, self.installation()?.link(), uses, days, "first invite").await;
        store.close().await;
        self.write_if_missing(&path, format!("{}\n", invite?).as_bytes())?;
        Ok(Some(format!("made, for one person within {days} days ({})", name(&path))))
    }

    fn write_if_missing(&self, path: &Path, content: &[u8]) -> Result<String, Failure> {
        if path.exists() {
            return Ok(format!("kept ({})", name(path)));
        }
        self.plan.folder.write(path, content)?;
        Ok(format!("written ({})", name(path)))
    }

    fn secrets(&self) -> Result<&Secrets, Failure> {
        self.secrets.as_ref().ok_or_else(|| Failure::unexpected("a step was left out"))
    }

    fn database_password(&self) -> Option<&str> {
        let sealed = self.secrets.as_ref().and_then(|secrets| secrets.database_password.as_deref());
        self.plan.database_password.as_ref().map(|password| password.as_str()).or(sealed)
    }

    fn installation(&self) -> Result<Installation, Failure> {
        let secrets = self.secrets()?.clone();
        let pin = waxwing_server::install::pin(&secrets.certificate_der)?;
        Ok(Installation { folder: self.plan.folder.clone(), config: self.plan.config.clone(), secrets, pin })
    }
}

fn name(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

/// The configuration that an unfinished set-up left in a folder. The next run keeps it.
pub fn unfinished(folder: &Folder) -> Result<Option<Config>, Failure> {
    Ok(folder.config_file()?)
}

//! Reading configuration and certificate anew: `waxwing-server reload`, SIGHUP, and what both do in the running server.
//!
//! Invariant: all of it counts, or on an error nothing of it. It must not know what the settings mean, only which of them
//! a running server cannot change.

use super::{Common, Failure, environment, operate::operate_live, print, run::rules};
use crate::{
    admin::{Answer, Hidden, Problem, Reload, Request},
    install::{Config, Folder, Installation, Secrets, SignUp, Web, password as password_source},
    relay::{Reloader, ServerIdentity, SignUpRule},
};
use serde_json::json;
use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{Mutex, PoisonError},
};
use waxwing_protocol::Pin;
use zeroize::Zeroizing;

/// What is made once: sockets, the database, the link, the log.
const AFTER_RESTART: [&str; 9] = [
    "listen",
    "public",
    "health.",
    "http.listen",
    "database.",
    "in_memory",
    "cluster.",
    "attachments.store",
    "attachments.s3_",
];

pub(super) fn reload(common: &Common) -> Result<ExitCode, Failure> {
    let Answer::Reloaded { changed, after_restart, secrets } = operate_live(common, &Request::Reload)? else {
        return Err(Failure::unexpected("the server answered something else than was asked"));
    };
    if common.json {
        print::print_json(&json!({"changed": changed, "after_restart": after_restart, "secrets": secrets}))?;
        return Ok(ExitCode::SUCCESS);
    }
    let list = |names: &[String]| if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    print::line(&format!("changed: {}", list(&changed)))?;
    if !after_restart.is_empty() {
        print::line(&format!("after a restart: {}", list(&after_restart)))?;
    }
    if !secrets {
        print::line(
            "the certificate and other secrets were not read anew: the server has no file with its password to read",
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What a running server reads anew, and from where.
pub(super) struct Source {
    folder: Folder,
    flags: Vec<(String, String)>,
    password_file: Option<PathBuf>,
    reloader: Reloader,
    now: Mutex<Now>,
}

struct Now {
    config: Config,
    secrets: Secrets,
}

impl Source {
    pub(super) fn new(
        installation: Installation,
        flags: &[(&str, &str)],
        password_file: Option<PathBuf>,
        reloader: Reloader,
    ) -> Self {
        let Installation { folder, config, secrets, .. } = installation;
        let flags = flags.iter().map(|(setting, value)| ((*setting).to_owned(), (*value).to_owned())).collect();
        Self { folder, flags, password_file, reloader, now: Mutex::new(Now { config, secrets }) }
    }

    /// Reads it, and lets it count.
    fn read(&self) -> Result<(Config, Answer), Failure> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let flags: Vec<_> = self.flags.iter().map(|(setting, value)| (setting.as_str(), value.as_str())).collect();
        let config = Installation::read_config(&self.folder, environment, &flags)?;
        let secrets = match password_source::source(self.password_file.as_deref(), environment) {
            Some(file) => {
                let password = password_source::read(&file)?;
                Some(Installation::open(self.folder.clone(), config.clone(), &password)?.secrets)
            }
            None => None,
        };
        let read_secrets = secrets.is_some();
        let rules = rules(&self.folder, &config, secrets.as_ref().unwrap_or(&now.secrets))?;
        let identity = identity(secrets.as_ref().unwrap_or(&now.secrets));
        self.reloader.reload(&identity, rules).map_err(Failure::unexpected)?;
        let late = |name: &&str| AFTER_RESTART.iter().any(|late| name.starts_with(late));
        let (after_restart, changed): (Vec<_>, Vec<_>) =
            config.differences(&now.config).into_iter().partition(|name| late(name));
        let named = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        let level = config.log_level.to_string();
        if changed.contains(&"log.level") {
            crate::log::set_filter(&level);
        }
        // What waits for a restart is told again the next time.
        let kept = Config {
            listen: now.config.listen,
            public: now.config.public.clone(),
            health: now.config.health,
            health_beyond_loopback: now.config.health_beyond_loopback,
            web: Web { listen: now.config.web.listen, ..config.web },
            database: now.config.database,
            mysql: now.config.mysql.clone(),
            in_memory: now.config.in_memory,
            cluster: now.config.cluster.clone(),
            attachment_place: now.config.attachment_place.clone(),
            ..config
        };
        now.config = kept.clone();
        if let Some(secrets) = secrets {
            now.secrets = secrets;
        }
        Ok((
            kept,
            Answer::Reloaded { changed: named(changed), after_restart: named(after_restart), secrets: read_secrets },
        ))
    }
}

impl Source {
    /// Takes another identity, which is sealed already.
    fn take_identity(&self, certificate_der: Vec<u8>, private_key_der: &[u8]) -> Result<(), Failure> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let mut secrets = now.secrets.clone();
        secrets.certificate_der = certificate_der;
        secrets.private_key_der = private_key_der.to_vec();
        self.reloader.reload(&identity(&secrets), self.reloader.rules()).map_err(Failure::unexpected)?;
        now.secrets = secrets;
        Ok(())
    }
}

/// The certificate and key among the secrets.
pub(super) fn identity(secrets: &Secrets) -> ServerIdentity {
    ServerIdentity {
        certificate_der: secrets.certificate_der.clone(),
        private_key_der: Zeroizing::new(secrets.private_key_der.clone()),
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let Failure { code, message, next, status } = failure;
        Self { code: code.into_owned(), message, next, status: status as u8 }
    }
}

/// [`Source`], on the threads where reading and deriving keys may take their time.
pub(super) struct Reloading(pub(super) std::sync::Arc<Source>);

#[async_trait::async_trait]
impl Reload for Reloading {
    async fn reload(&self) -> Result<(Config, Answer), Problem> {
        let source = std::sync::Arc::clone(&self.0);
        let read = tokio::task::spawn_blocking(move || source.read()).await.map_err(Problem::unexpected)?;
        let (config, answer) = read?;
        if let Answer::Reloaded { changed, after_restart, secrets } = &answer {
            tracing::info!(?changed, ?after_restart, secrets, "read the configuration anew");
        }
        Ok((config, answer))
    }

    fn sign_up_secret(&self, secret: Hidden) -> Result<(), Problem> {
        let mut now = self.0.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.secrets.sign_up_secret = Some(secret.0.to_string());
        if now.config.sign_up == SignUp::Secret {
            let rules = crate::rules::Rules { sign_up: SignUpRule::Secret(secret.0), ..self.0.reloader.rules() };
            self.0.reloader.reload(&identity(&now.secrets), rules).map_err(Problem::unexpected)?;
        }
        tracing::info!("the secret for sign-ups was replaced");
        Ok(())
    }

    fn identity(&self, certificate_der: Vec<u8>, private_key_der: Zeroizing<Vec<u8>>) -> Result<(), Problem> {
        self.0.take_identity(certificate_der, &private_key_der)?;
        tracing::info!("the server has a new key; connections under the old one end");
        Ok(())
    }

    fn pin(&self) -> Pin {
        self.0.reloader.pin()
    }
}

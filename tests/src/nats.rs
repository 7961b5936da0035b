//! A private nats-server on a free port: killed and started again at will; open to all on this machine, or with TLS under
//! an authority of its own, a user and a password.

use crate::{DEADLINE, free_port};
use anyhow::{Context, Result, ensure};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::{
    fs,
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Instant,
};
use tempfile::TempDir;

/// A running nats-server; killed when dropped.
pub struct Nats {
    child: Option<Child>,
    place: TempDir,
    port: u16,
    scheme: &'static str,
}

impl Nats {
    /// Starts one on 127.0.0.1 that takes whoever comes.
    ///
    /// # Errors
    /// nats-server is not installed, or does not start.
    pub fn start() -> Result<Self> {
        Self::prepare("nats")?.started("")
    }

    /// Starts one that speaks TLS and wants a user and a password.
    ///
    /// # Errors
    /// As [`Nats::start`].
    pub fn start_guarded() -> Result<Self> {
        let nats = Self::prepare("tls")?;
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(["127.0.0.1".to_owned()])?.signed_by(&key, &authority)?;
        fs::write(nats.ca_file(), authority.pem())?;
        fs::write(nats.place.path().join("nats.crt"), certificate.pem())?;
        fs::write(nats.place.path().join("nats.key"), key.serialize_pem())?;
        fs::write(nats.credentials_file(), "waxwing:nats-password 7\n")?;
        let place = nats.place.path().display().to_string();
        nats.started(&format!(
            "authorization {{ user: waxwing, password: \"nats-password 7\" }}\n\
             tls {{ cert_file: \"{place}/nats.crt\", key_file: \"{place}/nats.key\" }}\n"
        ))
    }

    fn prepare(scheme: &'static str) -> Result<Self> {
        let place = tempfile::Builder::new().prefix("waxwing-nats.").tempdir()?;
        Ok(Self { child: None, place, port: free_port()?, scheme })
    }

    fn started(mut self, settings: &str) -> Result<Self> {
        let listen = format!("listen: \"127.0.0.1:{}\"\n{settings}", self.port);
        fs::write(self.place.path().join("nats.conf"), listen)?;
        self.restart()?;
        Ok(self)
    }

    /// Where it listens, as the configuration of servers has it.
    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
    }

    /// The authority of one that speaks TLS.
    pub fn ca_file(&self) -> PathBuf {
        self.place.path().join("ca.crt")
    }

    /// What one that wants a user takes.
    pub fn credentials_file(&self) -> PathBuf {
        self.place.path().join("credentials")
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills it, if it runs, and starts it (again) on its port.
    ///
    /// # Errors
    /// It does not start.
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
        let program = std::env::split_paths(&path).map(|folder| folder.join("nats-server")).find(|file| file.exists());
        let program = program.context("nats-server is not installed (Debian: apt-get install nats-server)")?;
        let mut command = Command::new(program);
        command.arg("--config").arg(self.place.path().join("nats.conf"));
        let log = fs::File::create(self.place.path().join("log"))?;
        self.child = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?);
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_))));
            ensure!(!ended && begun.elapsed() < DEADLINE, "nats-server does not start: {}", self.log());
            std::thread::yield_now();
        }
        Ok(())
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.place.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
    }
}

//! A real nginx with the configuration that the documentation gives, in front of a server.

use crate::{DEADLINE, free_port};
use anyhow::{Context, Result, ensure};
use std::{
    fs,
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::Instant,
};
use tempfile::TempDir;

const EXAMPLE: &str = include_str!("../../setup/packaging/nginx.conf");

/// A running nginx; killed when dropped.
pub struct Nginx {
    child: Option<Child>,
    place: TempDir,
    port: u16,
}

impl Nginx {
    /// Starts one that ends TLS and hands plain HTTP on to this port.
    ///
    /// # Errors
    /// nginx is not installed, or does not start.
    pub fn start(target: u16) -> Result<Self> {
        let place = tempfile::Builder::new().prefix("waxwing-nginx.").tempdir()?;
        let key = rcgen::KeyPair::generate()?;
        let certificate = rcgen::CertificateParams::new(vec!["chat.example.org".to_owned()])?.self_signed(&key)?;
        fs::write(place.path().join("fullchain.pem"), certificate.pem())?;
        fs::write(place.path().join("privkey.pem"), key.serialize_pem())?;
        let port = free_port()?;
        let folder = place.path().to_str().context("a folder that is no text")?;
        let mut site = EXAMPLE.to_owned();
        for (written, here) in [
            ("listen 443 ssl;", format!("listen 127.0.0.1:{port} ssl;")),
            ("listen [::]:443 ssl;", String::new()),
            ("/etc/letsencrypt/live/chat.example.org", folder.to_owned()),
            ("127.0.0.1:7488", format!("127.0.0.1:{target}")),
        ] {
            ensure!(site.contains(written), "the example does not say {written:?} any more");
            site = site.replace(written, &here);
        }
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {folder}/{name};"))
            .concat();
        let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        let config = format!(
            "daemon off; master_process off; pid {folder}/pid; error_log stderr; {user}\n\
             events {{}}\nhttp {{ access_log off; {temporary}\n{site}\n}}\n"
        );
        fs::write(place.path().join("nginx.conf"), config)?;
        let mut nginx = Self { child: None, place, port };
        nginx.restart()?;
        Ok(nginx)
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills it, if it runs, and starts it (again).
    ///
    /// # Errors
    /// It does not start.
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
        let program = std::env::split_paths(&path).map(|folder| folder.join("nginx")).find(|file| file.exists());
        let program = program.context("nginx is not installed (Debian: apt-get install nginx-light)")?;
        let mut command = Command::new(program);
        command.arg("-p").arg(self.place.path()).arg("-c").arg(self.place.path().join("nginx.conf"));
        let log = fs::File::create(self.place.path().join("log"))?;
        self.child = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?);
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_))));
            ensure!(!ended && begun.elapsed() < DEADLINE, "nginx does not listen: {}", self.log());
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
        fs::read_to_string(Path::new(self.place.path()).join("log")).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.kill();
    }
}

//! A real mail server (aiosmtpd, a Debian package) that takes mails for anybody and hands them to the test.
//!
//! Invariant: as mail servers on the internet do, it takes nothing before STARTTLS and a login.

use crate::{DEADLINE, Running, server::free_port};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// Debian's Python, which has Debian's packages.
const PYTHON: &str = "/usr/bin/python3";

const PROGRAM: &str = r#"
import json, ssl, sys, threading
from email import message_from_bytes, policy
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

class Handler:
    async def handle_DATA(self, server, session, envelope):
        mail = message_from_bytes(envelope.content, policy=policy.default)
        print(json.dumps({"from": envelope.mail_from, "to": envelope.rcpt_tos, "subject": mail["Subject"],
                          "text": mail.get_content()}), flush=True)
        return "250 OK"

def login(server, session, envelope, mechanism, data):
    return AuthResult(success=(data.login, data.password) == (b"waxwing@example.org", b"mail-password 5"))

context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(sys.argv[2], sys.argv[3])
controller = Controller(Handler(), hostname="127.0.0.1", port=int(sys.argv[1]), tls_context=context,
                        require_starttls=True, authenticator=login, auth_required=True, auth_require_tls=True)
controller.start()
print("ready", flush=True)
threading.Event().wait()
"#;

/// See the module. Dropping it stops it.
pub struct MailServer {
    running: Running,
    port: u16,
    place: TempDir,
}

impl MailServer {
    /// Starts one.
    ///
    /// # Errors
    /// The package python3-aiosmtpd is missing.
    pub fn start() -> Result<Self> {
        let place = tempfile::Builder::new().prefix("waxwing-mail.").tempdir()?;
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let (certificate, key) = (place.path().join("mail.crt"), place.path().join("mail.key"));
        fs::write(&certificate, made.cert.pem())?;
        fs::write(&key, made.signing_key.serialize_pem())?;
        fs::write(place.path().join("password"), "mail-password 5\n")?;
        let port = free_port()?;
        let mut command = Command::new(PYTHON);
        command.args(["-c", PROGRAM]).arg(port.to_string()).arg(&certificate).arg(&key).stdin(Stdio::null());
        let mut running = Running::start(&mut command)?;
        let first = running.next_line(DEADLINE);
        ensure!(first.as_deref() == Some("ready"), "no mail server: is python3-aiosmtpd installed? ({first:?})");
        Ok(Self { running, port, place })
    }

    /// The settings of `[smtp]` by which it is reached: name and value as TOML has it.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let path = |name: &str| format!("\"{}\"", self.place.path().join(name).display());
        vec![
            ("host", "\"localhost\"".to_owned()),
            ("port", self.port.to_string()),
            ("email", "\"waxwing@example.org\"".to_owned()),
            ("password_file", path("password")),
            ("ca_file", path("mail.crt")),
        ]
    }

    /// A file in its temporary place.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// The next mail: `from`, `to`, `subject`, `text`.
    ///
    /// # Errors
    /// None comes.
    pub fn next_mail(&mut self) -> Result<Value> {
        Ok(serde_json::from_str(&self.running.next_line(DEADLINE).context("no mail")?)?)
    }

    /// The code in the next mail, which must be to this address.
    ///
    /// # Errors
    /// None comes, or to somebody else, or without a code.
    pub fn next_code(&mut self, to: &str) -> Result<String> {
        let mail = self.next_mail()?;
        ensure!(mail["to"] == serde_json::json!([to]), "a mail to somebody else: {mail}");
        let text = mail["text"].as_str().context("text")?;
        let is_code = |word: &&str| (6..=8).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_digit());
        Ok(text.split_whitespace().find(is_code).context("no code in the mail")?.to_owned())
    }
}

//! Sending e-mail: one-time codes, by the operator's own mail server.
//!
//! Invariants: passwords and codes go only over an encrypted connection, or to this machine; no address is logged. It must not
//! know what a code is good for.

use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, Tls, TlsParameters},
    },
};
use std::{path::PathBuf, time::Duration};
use zeroize::Zeroizing;

/// How long a mail server may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// What is sent if the operator has no other words.
const TEMPLATE: &str = include_str!("mail/code.txt");
/// A longer template is none.
const TEMPLATE_BYTES: usize = 64 * 1024;

/// How to reach the mail server; its password is not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpSettings {
    /// Name or address; empty: there is none.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Who sends.
    pub email: String,
    /// Who logs in there; empty: the same.
    pub user: String,
    /// How the connection is encrypted.
    pub tls: SmtpTls,
    /// A certificate (PEM) to trust beside the public ones; empty: none.
    pub ca_file: PathBuf,
}

/// How the connection to a mail server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpTls {
    /// By STARTTLS, or no mail is sent.
    StartTls,
    /// From the first byte.
    Tls,
    /// Not at all: for a mail server on this machine.
    Off,
}

/// Why no mail can be sent.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// No e-mail address.
    #[error("{0:?} is not an e-mail address")]
    Address(String),
    /// The template is no mail.
    #[error("the template of the mail: {0}")]
    Template(&'static str),
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The mail cannot be put together.
    #[error("the mail cannot be made: {0}")]
    Message(#[from] lettre::error::Error),
    /// The mail server cannot be reached or refuses.
    #[error("the mail server: {0}")]
    Smtp(#[from] lettre::transport::smtp::Error),
}

impl MailError {
    /// Why, for the log: without what the mail server says, which may name the recipient.
    pub(crate) fn for_log(&self) -> String {
        match self {
            Self::Smtp(error) => match error.status() {
                Some(status) => format!("the mail server refuses with {status}"),
                None => self.to_string(),
            },
            Self::Address(_) => "the address is none that mail can be sent to".to_owned(),
            _ => self.to_string(),
        }
    }
}

/// Sends.
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    subject: String,
    body: String,
    server: String,
}

impl std::fmt::Debug for Mailer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mailer")
    }
}

/// Whether a text is an e-mail address; gives its domain in lower case.
pub(crate) fn domain(email: &str) -> Option<String> {
    Some(email.trim().parse::<Address>().ok()?.domain().to_ascii_lowercase())
}

/// Subject and body of a template: `Subject: …`, an empty line, the text.
fn parse(template: &str) -> Result<(String, String), MailError> {
    let text = template.replace("\r\n", "\n");
    let (first, body) = text.split_once("\n\n").ok_or(MailError::Template("it has no empty line"))?;
    let subject = first.strip_prefix("Subject:").ok_or(MailError::Template("its first line is no \"Subject: …\""))?;
    match (subject.contains('\n'), body.contains("{code}")) {
        (true, _) => Err(MailError::Template("the second line is not empty")),
        (_, false) => Err(MailError::Template("it does not say {code}")),
        _ => Ok((subject.trim().to_owned(), body.to_owned())),
    }
}

impl Mailer {
    /// One that reaches a mail server only when it sends. `server` is what people call this server.
    ///
    /// # Errors
    /// The settings, the template or the certificate do not serve.
    pub fn new(
        settings: &SmtpSettings,
        password: Option<&Zeroizing<String>>,
        template: Option<&PathBuf>,
        server: String,
    ) -> Result<Self, MailError> {
        let read =
            |path: &PathBuf| std::fs::read(path).map_err(|source| MailError::File { path: path.clone(), source });
        let template = match template {
            Some(path) => {
                let bytes = read(path)?;
                let text = String::from_utf8(bytes).map_err(|_| MailError::Template("it is not UTF-8 text"))?;
                if text.len() > TEMPLATE_BYTES {
                    return Err(MailError::Template("it is too long"));
                }
                text
            }
            None => TEMPLATE.to_owned(),
        };
        let (subject, body) = parse(&template)?;
        let address: Address = settings.email.parse().map_err(|_| MailError::Address(settings.email.clone()))?;
        let tls = || {
            let mut parameters = TlsParameters::builder(settings.host.clone());
            if !settings.ca_file.as_os_str().is_empty() {
                parameters = parameters.add_root_certificate(Certificate::from_pem(&read(&settings.ca_file)?)?);
            }
            Ok::<_, MailError>(parameters.build()?)
        };
        let tls = match settings.tls {
            SmtpTls::StartTls => Tls::Required(tls()?),
            SmtpTls::Tls => Tls::Wrapper(tls()?),
            SmtpTls::Off => Tls::None,
        };
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&settings.host)
            .port(settings.port)
            .tls(tls)
            .timeout(Some(PATIENCE));
        if let Some(password) = password {
            let user = if settings.user.is_empty() { &settings.email } else { &settings.user };
            transport = transport.credentials(Credentials::new(user.clone(), password.to_string()));
        }
        let from = Mailbox::new(Some("Waxwing".to_owned()), address);
        Ok(Self { transport: transport.build(), from, subject, body, server })
    }

    async fn send(&self, to: &str, subject: String, body: String) -> Result<(), MailError> {
        let to: Address = to.trim().parse().map_err(|_| MailError::Address(to.to_owned()))?;
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(subject)
            .header(ContentType::TEXT_PLAIN)
            .body(body)?;
        let sent = tokio::time::timeout(2 * PATIENCE, self.transport.send(message)).await;
        sent.map_err(|_| MailError::Message(lettre::error::Error::Io(std::io::ErrorKind::TimedOut.into())))??;
        Ok(())
    }

    /// Sends a code.
    pub(crate) async fn send_code(&self, to: &str, username: &str, code: &str, minutes: u32) -> Result<(), MailError> {
        let fill = |text: &str| {
            // The code last, so that nothing that was put in before is taken for a place.
            let text = text.replace("{minutes}", &minutes.to_string()).replace("{username}", username);
            text.replace("{server}", &self.server).replace("{code}", code)
        };
        self.send(to, fill(&self.subject), fill(&self.body)).await
    }

    /// Sends a mail that says that it arrived.
    ///
    /// # Errors
    /// The mail server, or the address.
    pub async fn send_test(&self, to: &str) -> Result<(), MailError> {
        let body = format!(
            "This is a test of the Waxwing server {}.\n\nIts settings for e-mail are right: codes will arrive like this.\n",
            self.server
        );
        self.send(to, "Waxwing: e-mail works".to_owned(), body).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_has_a_subject_and_the_code() {
        let (subject, body) = parse(TEMPLATE).unwrap();
        assert!(!subject.contains("{code}") && body.contains("{code}") && body.contains("{minutes}"));
        parse("Subject: a\r\n\r\n{code}\r\n").unwrap();
        for wrong in ["", "Subject: a\n{code}", "Hello\n\n{code}", "Subject: a\n\nno code", "Subject: a\nb\n\n{code}"] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn addresses_have_a_domain() {
        assert_eq!(domain(" Al@Example.ORG ").as_deref(), Some("example.org"));
        for wrong in ["", "al", "a@b@c", "al@", "al@example.org\r\nBcc: x@y.org"] {
            assert_eq!(domain(wrong), None, "{wrong:?}");
        }
    }
}

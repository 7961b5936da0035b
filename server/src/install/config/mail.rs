//! The part of the configuration that says what one-time codes are needed for, and how e-mail is sent: the sections `codes`
//! and `smtp`.
//!
//! It holds no password: it says in which file one is. It must not know who sends.

use super::{number, toml_text, words};
use crate::{
    mail::{SmtpSettings, SmtpTls},
    rules::{CodePolicy, CodeRules},
};
use std::{fmt, net::IpAddr, path::PathBuf, str::FromStr};

words! {
    /// For what a code is needed.
    CodesFor {
        /// Nothing.
        Off = "off",
        /// A new account.
        SignUp = "sign-up",
        /// Also a new device.
        NewDevice = "new-device"
    }
}

words! {
    /// How the connection to the mail server is encrypted.
    MailTls {
        /// By STARTTLS.
        StartTls = "starttls",
        /// From the first byte.
        Tls = "tls",
        /// Not at all.
        Off = "off"
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// For what a code is needed.
    pub codes_for: CodesFor,
    /// 6 to 8.
    pub digits: u8,
    /// How long a code is good for.
    pub minutes: u32,
    /// How often it may be tried.
    pub tries: u32,
    /// Until another one can be asked for.
    pub resend_seconds: u32,
    /// The domains that new accounts may give addresses of; none: all.
    pub domains: Vec<String>,
    /// The operator's words; empty: ours.
    pub template: PathBuf,
    /// Name or address of the mail server; empty: there is none.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who sends.
    pub email: String,
    /// Who logs in there; empty: the same.
    pub user: String,
    /// The file with that one's password; empty: nobody logs in.
    pub password_file: PathBuf,
    /// How the connection is encrypted.
    pub tls: MailTls,
    /// A further certificate to trust; empty: none.
    pub ca_file: PathBuf,
}

impl Default for Mail {
    fn default() -> Self {
        let CodeRules { digits, minutes, tries, resend_seconds, .. } = CodeRules::default();
        Self {
            codes_for: CodesFor::Off,
            digits,
            minutes,
            tries,
            resend_seconds,
            domains: Vec::new(),
            template: PathBuf::new(),
            host: String::new(),
            port: 587,
            email: String::new(),
            user: String::new(),
            password_file: PathBuf::new(),
            tls: MailTls::StartTls,
            ca_file: PathBuf::new(),
        }
    }
}

impl Mail {
    /// Sets one value; `Ok(false)` if there is no such setting here.
    pub(super) fn set(&mut self, setting: &str, value: &str) -> Result<bool, String> {
        match setting {
            "codes.for" => self.codes_for = value.parse()?,
            "codes.digits" => self.digits = number(value, 6, 8)?,
            "codes.minutes" => self.minutes = number(value, 1, 60)?,
            "codes.tries" => self.tries = number(value, 1, 10)?,
            "codes.resend_seconds" => self.resend_seconds = number(value, 1, 3600)?,
            "codes.domains" => self.domains = domains(value)?,
            "codes.template" => self.template = line(value)?.into(),
            "smtp.host" => self.host = line(value)?,
            "smtp.port" => self.port = number(value, 1, u16::MAX)?,
            "smtp.email" => self.email = line(value)?,
            "smtp.user" => self.user = line(value)?,
            "smtp.password_file" => self.password_file = line(value)?.into(),
            "smtp.tls" => self.tls = value.parse()?,
            "smtp.ca_file" => self.ca_file = line(value)?.into(),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Checks what concerns several values.
    pub(super) fn validate(&self) -> Result<(), String> {
        let local = self.host == "localhost" || self.host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        if self.tls == MailTls::Off && !self.host.is_empty() && !local {
            return Err(format!(
                "smtp.tls is off, but {} is another machine: everybody in between could read the codes",
                self.host
            ));
        }
        if self.codes_for != CodesFor::Off && (self.host.is_empty() || self.email.is_empty()) {
            return Err(format!(
                "codes.for is {}, so smtp.host and smtp.email must say how codes are sent",
                self.codes_for
            ));
        }
        Ok(())
    }

    /// How to reach the mail server; none if there is none.
    pub fn smtp(&self) -> Option<SmtpSettings> {
        (!self.host.is_empty()).then(|| SmtpSettings {
            host: self.host.clone(),
            port: self.port,
            email: self.email.clone(),
            user: self.user.clone(),
            tls: match self.tls {
                MailTls::StartTls => SmtpTls::StartTls,
                MailTls::Tls => SmtpTls::Tls,
                MailTls::Off => SmtpTls::Off,
            },
            ca_file: self.ca_file.clone(),
        })
    }

    /// How codes are.
    pub fn codes(&self) -> CodeRules {
        CodeRules {
            policy: match self.codes_for {
                CodesFor::Off => CodePolicy::Off,
                CodesFor::SignUp => CodePolicy::SignUp,
                CodesFor::NewDevice => CodePolicy::NewDevice,
            },
            digits: self.digits,
            minutes: self.minutes,
            tries: self.tries,
            resend_seconds: self.resend_seconds,
        }
    }

    /// Its sections of the configuration file.
    pub(super) fn render(&self) -> String {
        let path = |path: &PathBuf| toml_text(&path.display().to_string());
        let domains: Vec<String> = self.domains.iter().map(|domain| toml_text(domain)).collect();
        format!(
            include_str!("mail.toml.in"),
            codes_for = self.codes_for,
            digits = self.digits,
            minutes = self.minutes,
            tries = self.tries,
            resend_seconds = self.resend_seconds,
            domains = domains.join(", "),
            template = path(&self.template),
            host = toml_text(&self.host),
            port = self.port,
            email = toml_text(&self.email),
            user = toml_text(&self.user),
            password_file = path(&self.password_file),
            tls = self.tls,
            ca_file = path(&self.ca_file),
        )
    }
}

fn line(text: &str) -> Result<String, String> {
    match text.len() <= 4096 && !text.chars().any(char::is_control) {
        true => Ok(text.trim().to_owned()),
        false => Err("the value must be one line".into()),
    }
}

/// Domains separated by commas.
fn domains(text: &str) -> Result<Vec<String>, String> {
    let domains = text.split(',').map(str::trim).filter(|domain| !domain.is_empty());
    domains
        .map(|domain| match crate::mail::domain(&format!("somebody@{domain}")) {
            Some(domain) => Ok(domain),
            None => Err(format!("{domain:?} is not a domain such as example.org")),
        })
        .collect()
}

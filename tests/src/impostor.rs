//! Somebody else at the server's address: a TLS server with a key of its own, which notes what it gets to hear.

use anyhow::{Context, Result};
use rustls::{
    ServerConfig, ServerConnection, Stream, SupportedProtocolVersion,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    version::TLS13,
};
use std::{
    io::Read,
    net::TcpListener,
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
    thread,
};
use waxwing_protocol::{KEY_HISTORY_OID, KeyStatement, Pin, encode_key_history, key_statement_message};

/// What came of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Met {
    /// Whether the handshake was completed.
    pub shook_hands: bool,
    /// How many bytes of a frame the client sent.
    pub told: usize,
}

/// A TLS server that answers nothing; it runs until the process ends.
pub struct Impostor {
    port: u16,
    pin: Pin,
    met: Receiver<Met>,
}

impl Impostor {
    /// Starts one that speaks these versions of TLS.
    ///
    /// # Errors
    /// It cannot listen.
    pub fn start(versions: &[&'static SupportedProtocolVersion]) -> Result<Self> {
        Self::with(versions, rcgen::KeyPair::generate()?, Vec::new())
    }

    /// Starts one whose certificate claims that the statement's key vouches for it; it makes the signature itself.
    ///
    /// # Errors
    /// It cannot listen.
    pub fn claiming(mut statement: KeyStatement) -> Result<Self> {
        let key = rcgen::KeyPair::generate()?;
        let own = Pin::of_key(&rcgen::PublicKeyData::subject_public_key_info(&key));
        statement.signature =
            rcgen::SigningKey::sign(&key, &key_statement_message(&Pin::of_key(&statement.key), &own))?;
        let history = encode_key_history(&[statement]).context("not a key")?;
        let extension = rcgen::CustomExtension::from_oid_content(&KEY_HISTORY_OID.map(u64::from), history);
        Self::with(&[&TLS13], key, vec![extension])
    }

    fn with(
        versions: &[&'static SupportedProtocolVersion],
        key: rcgen::KeyPair,
        extensions: Vec<rcgen::CustomExtension>,
    ) -> Result<Self> {
        let mut parameters = rcgen::CertificateParams::new(vec!["waxwing".to_owned()])?;
        parameters.custom_extensions = extensions;
        let certificate = parameters.self_signed(&key)?;
        let pin = Pin::of_key(&rcgen::PublicKeyData::subject_public_key_info(&key));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )?;
        config.alpn_protocols = vec![waxwing_protocol::ALPN.to_vec()];
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let (sender, met) = channel();
        thread::spawn(move || {
            for mut tcp in listener.incoming().map_while(Result::ok) {
                let Ok(mut tls) = ServerConnection::new(config.clone()) else { return };
                let told = Stream::new(&mut tls, &mut tcp).read(&mut [0; 4096]).unwrap_or(0);
                let met = Met { shook_hands: !tls.is_handshaking(), told };
                if sender.send(met).is_err() {
                    return;
                }
            }
        });
        Ok(Self { port, pin, met })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A link that names its key, so that nothing but its version of TLS is wrong with it.
    pub fn link(&self) -> String {
        format!("waxwing://127.0.0.1:{}/#{}", self.port, self.pin)
    }

    /// What came of the next connection.
    ///
    /// # Errors
    /// There is none before the deadline.
    pub fn met(&self) -> Result<Met> {
        self.met.recv_timeout(crate::DEADLINE).context("nobody came")
    }
}

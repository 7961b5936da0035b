//! Reaching a server by its link, as a client does: TLS 1.3, the pinned key, the hello. Nothing else is asked.

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
    version::TLS13,
};
use sha2::{Digest, Sha256};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use waxwing_protocol::{ALPN, Address, Hello, Pin, ServerHello, VERSIONS, decode_server_hello, encode, limits};

const PATIENCE: Duration = Duration::from_secs(10);

/// What the server at an address says first, if it is the one of this pin.
pub(super) async fn greeting(address: &Address, pin: Pin) -> io::Result<ServerHello> {
    timeout(PATIENCE, greet(address, pin)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn greet(address: &Address, pin: Pin) -> io::Result<ServerHello> {
    let tcp = TcpStream::connect((address.host.as_str(), address.port)).await?;
    let name = ServerName::try_from("waxwing").map_err(io::Error::other)?;
    let mut stream = TlsConnector::from(Arc::new(configuration(pin)?)).connect(name, tcp).await?;
    let hello = encode(&Hello { lowest: *VERSIONS.start(), highest: *VERSIONS.end() }).0;
    let length = u32::try_from(hello.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], &hello].concat()).await?;
    stream.flush().await?;
    let length = stream.read_u32().await? as usize;
    if length > limits::FRAME_BEFORE_LOGIN {
        return Err(io::Error::other("its answer is too long"));
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).await?;
    decode_server_hello(&answer).map_err(|_| io::Error::other("its answer is none of Waxwing's"))
}

fn configuration(pin: Pin) -> io::Result<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut configuration = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinVerifier { pin, provider }))
        .with_no_client_auth();
    configuration.alpn_protocols = vec![ALPN.to_vec()];
    Ok(configuration)
}

/// Accepts one key.
#[derive(Debug)]
struct PinVerifier {
    pin: Pin,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let key = ParsedCertificate::try_from(end_entity)?.subject_public_key_info();
        match Sha256::digest(&key)[..] == self.pin.0 {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

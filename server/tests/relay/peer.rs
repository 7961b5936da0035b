//! A relay on a free port over embedded storage, and a raw peer that speaks the wire language over real TLS.

use ed25519_dalek::{Signer as _, SigningKey};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{collections::VecDeque, net::SocketAddr, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use waxwing_protocol::*;
use waxwing_server::{
    attachments::Attachments,
    relay::{DataKey, Hub, Relay, RelayConfig, RelayError, Reloader, ServerIdentity, SignUpRule},
    rules::Rules,
    store::{
        SharedStore,
        sqlite::{SqliteStore, migrate},
    },
};
use zeroize::Zeroizing;

pub(crate) const DATA_KEY: [u8; 32] = [42; 32];
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) pin: Pin,
    pub(crate) hub: Arc<Hub>,
    pub(crate) store: SharedStore,
    pub(crate) reloader: Reloader,
    pub(crate) identity: ServerIdentity,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) serving: JoinHandle<Result<(), RelayError>>,
    _folder: TempDir,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(SignUpRule::Open, 100).await
    }

    pub(crate) async fn with(sign_up: SignUpRule, max_connections: usize) -> Self {
        Self::ruled(Rules { sign_up, backup_quota: 1 << 20, max_connections, ..Rules::default() }).await
    }

    pub(crate) async fn ruled(rules: Rules) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("waxwing.db");
        migrate(&path).unwrap();
        let hub = Hub::new();
        let store: SharedStore = Arc::new(SqliteStore::open(&path, hub.clone()).unwrap());
        let made = rcgen::generate_simple_self_signed(["waxwing".to_owned()]).unwrap();
        let identity = ServerIdentity {
            certificate_der: made.cert.der().to_vec(),
            private_key_der: Zeroizing::new(made.signing_key.serialize_der()),
        };
        let pin = identity.pin().unwrap();
        let data_key = DataKey::from_bytes(DATA_KEY);
        let config = RelayConfig { identity: identity.clone(), data_key, rules, attachments: Attachments::in_memory() };
        let relay = Relay::new(config, hub.clone(), store.clone()).unwrap();
        let listener = Relay::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let reloader = relay.reloader();
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(relay.serve(listener, async move { stopped.await.unwrap_or_default() }));
        Self { address, pin, hub, store, reloader, identity, stop, serving, _folder: folder }
    }

    /// Lets these rules count from now on.
    pub(crate) fn reload(&self, rules: Rules) {
        self.reloader.reload(&self.identity, rules).unwrap();
    }

    pub(crate) async fn tls(&self, alpn: &[&[u8]]) -> std::io::Result<TlsStream<TcpStream>> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = AnyServer(provider.signature_verification_algorithms);
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let tcp = TcpStream::connect(self.address).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("waxwing").unwrap(), tcp).await
    }

    /// A peer after the hello.
    pub(crate) async fn peer(&self) -> Peer {
        let mut peer = Peer::new(self.tls(&[ALPN]).await.unwrap(), self.pin);
        peer.write(&encode(&Hello { lowest: 1, highest: 1 }).0).await;
        let hello = decode_server_hello(&peer.read().await.unwrap()).unwrap();
        assert!(matches!(hello, ServerHello::Accepted { version: 1, .. }), "{hello:?}");
        peer
    }

    /// A peer that has proven to own this account by its password's secret.
    pub(crate) async fn proven(&self, name: &str, secret: u8) -> Peer {
        let mut peer = self.peer().await;
        let vault = peer.ask(login(name, secret)).await;
        assert!(matches!(vault, Ok(Response::Vault(_))), "{vault:?}");
        peer
    }

    /// A peer signed up under this name, with a device of this number.
    pub(crate) async fn signed_up(&self, name: &str, device: u8) -> Peer {
        let mut peer = self.peer().await;
        assert_eq!(peer.ask(sign_up(name, device)).await, Ok(Response::Done));
        peer
    }
}

/// Takes any certificate (pinning is the client's part), but insists on its signature.
#[derive(Debug)]
struct AnyServer(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

pub(crate) struct Peer {
    pub(crate) stream: TlsStream<TcpStream>,
    pin: Pin,
    next: u32,
    /// Events that came before an answer.
    pub(crate) events: VecDeque<Event>,
}

impl Peer {
    pub(crate) fn new(stream: TlsStream<TcpStream>, pin: Pin) -> Self {
        Self { stream, pin, next: 0, events: VecDeque::new() }
    }

    pub(crate) async fn write(&mut self, body: &[u8]) {
        let frame = [&(body.len() as u32).to_be_bytes(), body].concat();
        self.stream.write_all(&frame).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next frame's body; none at the end of the connection.
    pub(crate) async fn read(&mut self) -> Option<Vec<u8>> {
        let reading = async {
            let length = self.stream.read_u32().await.ok()?;
            let mut body = vec![0; length as usize];
            self.stream.read_exact(&mut body).await.ok().map(|_| body)
        };
        timeout(PATIENCE, reading).await.expect("the relay says nothing")
    }

    pub(crate) async fn frame(&mut self) -> Option<ServerFrame> {
        self.read().await.map(|body| decode_server_frame(&body).unwrap())
    }

    pub(crate) async fn event(&mut self) -> Event {
        match self.events.pop_front() {
            Some(event) => event,
            None => match self.frame().await {
                Some(ServerFrame::Event(event)) => event,
                other => panic!("no event but {other:?}"),
            },
        }
    }

    pub(crate) async fn closed(&mut self) {
        while let Some(frame) = self.frame().await {
            assert!(matches!(frame, ServerFrame::Event(_)), "{frame:?}");
        }
    }

    pub(crate) async fn send(&mut self, request: Request) -> u32 {
        self.next += 1;
        self.write(&encode(&ClientFrame { id: self.next, request }).0).await;
        self.next
    }

    pub(crate) async fn answer(&mut self) -> (u32, Result<Response, Refusal>) {
        loop {
            match self.frame().await {
                Some(ServerFrame::Response { id, response }) => return (id, Ok(response)),
                Some(ServerFrame::Refusal { id, refusal }) => return (id, Err(refusal)),
                Some(ServerFrame::Event(event)) => self.events.push_back(event),
                None => panic!("closed instead of an answer"),
            }
        }
    }

    pub(crate) async fn ask(&mut self, request: Request) -> Result<Response, Refusal> {
        let asked = self.send(request).await;
        let (id, answer) = self.answer().await;
        assert_eq!(id, asked);
        answer
    }

    /// The device of this number, signed in.
    pub(crate) async fn signed_in(mut self, number: u8) -> Self {
        let authenticate = self.authenticate(number);
        assert_eq!(self.ask(authenticate).await, Ok(Response::Done));
        self
    }

    /// What a device of this number would send to sign in here.
    pub(crate) fn authenticate(&self, number: u8) -> Request {
        let exporter = self.stream.get_ref().1.export_keying_material([0; 32], EXPORTER_LABEL, None).unwrap();
        let device = device(number);
        let signature = key(number).sign(&authentication_message(&self.pin, &exporter, &device));
        Request::Authenticate { device, signature: signature.to_bytes().to_vec().into() }
    }
}

pub(crate) fn device(number: u8) -> DeviceId {
    DeviceId([number; 16])
}

pub(crate) fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

pub(crate) fn new_device(number: u8) -> NewDevice {
    NewDevice { id: device(number), authentication_key: key(number).verifying_key().to_bytes().to_vec().into() }
}

pub(crate) fn name(text: &str) -> Username {
    text.parse().unwrap()
}

pub(crate) fn sign_up(username: &str, device: u8) -> Request {
    admitted(username, device, Admission::Open)
}

pub(crate) fn admitted(username: &str, device: u8, admission: Admission) -> Request {
    Request::SignUp(Box::new(SignUp {
        username: name(username),
        admission,
        full_name: Some("A Full Name".into()),
        email: Some("user@example.org".into()),
        kdf: KdfParameters { salt: vec![9; 16].into(), memory_kib: 65536, iterations: 3, parallelism: 4 },
        password_secret: Secret([1; 32]),
        recovery_secret: Secret([2; 32]),
        vault: b"the vault, sealed by the client".to_vec().into(),
        password_wrap: b"the password wrap".to_vec().into(),
        recovery_wrap: b"the recovery wrap".to_vec().into(),
        identity_key: vec![3; 400].into(),
        backup_key: vec![4; 400].into(),
        device_list: vec![5; 600].into(),
        device: new_device(device),
        code: None,
    }))
}

pub(crate) fn login(username: &str, secret: u8) -> Request {
    Request::Login {
        username: name(username),
        authenticator: Authenticator::Password(Secret([secret; 32])),
        code: None,
        device: None,
    }
}

pub(crate) fn message(conversation: ConversationId, number: u64, commits: u64) -> Request {
    Request::Send { conversation, number, commits, payload: number.to_be_bytes().to_vec().into() }
}

pub(crate) const CHAT: ConversationId = ConversationId([7; 16]);

/// Opens the chat of the peer's account with bob's device 2: one commit, one welcome.
pub(crate) async fn open_chat(alice: &mut Peer) {
    let welcome = Welcome { recipients: vec![device(2)], payload: b"welcome".to_vec().into() };
    let handshake = Handshake {
        commit: b"commit".to_vec().into(),
        welcome: Some(welcome),
        removed: vec![],
        group_info: None,
        roster: None,
    };
    let kind = ConversationKind::Direct(name("bob"));
    let create = CreateConversation { id: CHAT, kind, handshake: Some(handshake), replaces: None };
    match alice.ask(Request::CreateConversation(Box::new(create))).await {
        Ok(Response::Accepted { seq: 1, .. }) => {}
        other => panic!("{other:?}"),
    }
}

pub(crate) fn enrol(version: u64, number: u8) -> Request {
    let device_list = vec![6; 700].into();
    Request::EnrolDevice(Box::new(EnrolDevice {
        device: new_device(number),
        version,
        device_list,
        replaces: None,
        follows: None,
    }))
}

/// A revision that changes nothing but the list, and removes these devices from it.
pub(crate) fn revise(version: u64, removed: &[u8]) -> ReviseAccount {
    let removed = removed.iter().copied().map(device).collect();
    ReviseAccount {
        version,
        device_list: vec![7; 600].into(),
        removed,
        credentials: None,
        identity: None,
        follows: None,
    }
}

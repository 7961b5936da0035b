//! One value of every kind of message, with the name that `golden/wire.txt` and `SPEC.md` give it.
//!
//! The `*_name` functions match without a wildcard: a new variant does not compile until it has a name here, and
//! [`assert_complete`] then asks for a sample of it.

#![allow(dead_code, reason = "each test uses a part")]

use waxwing_protocol::*;

pub(crate) fn bytes(length: usize, byte: u8) -> Bytes {
    Bytes(vec![byte; length])
}

pub(crate) fn device(byte: u8) -> DeviceId {
    DeviceId([byte; 16])
}

pub(crate) fn conversation(byte: u8) -> ConversationId {
    ConversationId([byte; 16])
}

pub(crate) fn name(text: &str) -> Username {
    text.parse().unwrap()
}

pub(crate) fn room(text: &str) -> RoomName {
    text.parse().unwrap()
}

pub(crate) fn handshake() -> Handshake {
    Handshake {
        commit: bytes(3, 0xc0),
        welcome: Some(Welcome { recipients: vec![device(2), device(3)], payload: bytes(4, 0xee) }),
        removed: vec![device(4)],
        group_info: Some(bytes(3, 0xcf)),
        roster: None,
    }
}

pub(crate) fn sign_up() -> SignUp {
    SignUp {
        username: name("alice"),
        admission: Admission::Invite("abcd-efgh".to_owned()),
        full_name: Some("Alice Example".to_owned()),
        email: None,
        kdf: kdf(),
        password_secret: Secret([0xa1; 32]),
        recovery_secret: Secret([0xa2; 32]),
        vault: bytes(5, 0xb0),
        password_wrap: bytes(3, 0xb1),
        recovery_wrap: bytes(3, 0xb2),
        identity_key: bytes(2, 0xd0),
        backup_key: bytes(2, 0xd1),
        device_list: bytes(2, 0xd2),
        device: NewDevice { id: device(1), authentication_key: bytes(32, 0xd3) },
        code: None,
    }
}

pub(crate) fn kdf() -> KdfParameters {
    KdfParameters { salt: bytes(16, 0x55), memory_kib: 65536, iterations: 3, parallelism: 4 }
}

fn record() -> AccountRecord {
    AccountRecord {
        username: name("bob"),
        identity_key: bytes(2, 0xd0),
        device_list: bytes(3, 0xd2),
        backup_key: bytes(2, 0xd1),
        rotations: vec![bytes(3, 0xd5)],
    }
}

pub(crate) fn revision() -> ReviseAccount {
    ReviseAccount {
        version: 3,
        device_list: bytes(4, 0xd2),
        removed: vec![device(4)],
        credentials: Some(NewCredentials {
            kdf: kdf(),
            password_secret: Secret([0xa1; 32]),
            recovery_secret: None,
            vault: bytes(5, 0xb0),
            password_wrap: bytes(3, 0xb1),
            recovery_wrap: bytes(3, 0xb2),
        }),
        identity: Some(NewIdentity {
            identity_key: bytes(2, 0xd0),
            backup_key: bytes(2, 0xd1),
            statement: bytes(3, 0xd5),
        }),
        follows: None,
    }
}

pub(crate) fn attachment(byte: u8) -> AttachmentId {
    AttachmentId([byte; 32])
}

pub(crate) fn segment(byte: u8) -> SegmentId {
    SegmentId([byte; 16])
}

/// A device in the place of another, over a list that is older than the account's devices know.
fn replacing() -> EnrolDevice {
    EnrolDevice {
        device: NewDevice { id: device(2), authentication_key: bytes(32, 0xd4) },
        version: 9,
        device_list: bytes(4, 0xd2),
        replaces: Some(device(1)),
        follows: Some(6),
    }
}

pub(crate) fn requests() -> Vec<Request> {
    vec![
        Request::Ping,
        Request::SignUp(Box::new(sign_up())),
        Request::LoginParameters(name("alice")),
        Request::Login {
            username: name("alice"),
            authenticator: Authenticator::Password(Secret([0xa1; 32])),
            code: None,
            device: None,
        },
        Request::EnrolDevice(Box::new(EnrolDevice {
            device: NewDevice { id: device(2), authentication_key: bytes(32, 0xd4) },
            version: 2,
            device_list: bytes(4, 0xd2),
            replaces: None,
            follows: None,
        })),
        Request::Authenticate { device: device(1), signature: bytes(64, 0x51) },
        Request::PublishKeyPackages { one_time: vec![bytes(2, 1), bytes(2, 2)], last_resort: Some(bytes(2, 3)) },
        Request::KeyPackageStock,
        Request::Account(name("bob")),
        Request::ClaimKeyPackages(name("bob")),
        Request::CreateConversation(Box::new(CreateConversation {
            id: conversation(0xcc),
            kind: ConversationKind::Direct(name("bob")),
            handshake: Some(handshake()),
            replaces: None,
        })),
        Request::Send { conversation: conversation(0xcc), number: 1, commits: 1, payload: bytes(4, 0xaa) },
        Request::Commit {
            conversation: conversation(0xcc),
            number: 2,
            commits: 1,
            handshake: Box::new(Handshake {
                commit: bytes(3, 0xc1),
                welcome: None,
                removed: vec![],
                group_info: None,
                roster: None,
            }),
        },
        Request::Fetch { conversation: conversation(0xcc), after: 300 },
        Request::Acknowledge { conversation: conversation(0xcc), seq: 70_000 },
        Request::FetchInbox { after: 0 },
        Request::AcknowledgeInbox { seq: 5 },
        Request::Heads { after: None },
        Request::Subscribe,
        Request::ReviseAccount(Box::new(revision())),
        Request::DeleteAccount,
        Request::Conversations { after: Some(conversation(0xcc)) },
        Request::GroupInfo(conversation(0xcc)),
        Request::Join {
            conversation: conversation(0xcc),
            commits: 1,
            commit: bytes(3, 0xc2),
            group_info: Some(bytes(3, 0xcf)),
        },
        Request::AskToJoin(conversation(0xcc)),
        Request::PutSegment { id: segment(0x5e), payload: bytes(4, 0x5f) },
        Request::FetchSegment(segment(0x5e)),
        Request::PutManifest { version: 2, manifest: bytes(4, 0x3a), segments: vec![segment(0x5e)] },
        Request::FetchManifest,
        Request::Signal { conversation: conversation(0xcc), payload: bytes(3, 0xe1) },
        Request::DeleteBackup,
        Request::Rooms { after: Some(room("birds")) },
        Request::JoinRoom(room("birds")),
        Request::Leave { conversation: conversation(0xcc), wish: bytes(3, 0x1e) },
        Request::BeginAttachment { id: attachment(0xa7), size: 4096 },
        Request::PutChunk { id: attachment(0xa7), index: 3, payload: bytes(4, 0xc4) },
        Request::FinishAttachment(attachment(0xa7)),
        Request::AttachmentStatus(attachment(0xa7)),
        Request::FetchChunk { id: attachment(0xa7), index: 3 },
        Request::DeleteAttachment(attachment(0xa7)),
        Request::Devices,
    ]
}

pub(crate) fn responses() -> Vec<Response> {
    vec![
        Response::Done,
        Response::LoginParameters(LoginParameters { kdf: kdf() }),
        Response::Vault(Box::new(Vault { vault: bytes(5, 0xb0), wrap: bytes(3, 0xb1), account: record() })),
        Response::KeyPackageStock(KeyPackageStock { one_time: 100, last_resort: true }),
        Response::Account(record()),
        Response::KeyPackages(vec![
            ClaimedKeyPackage { device: device(2), key_package: Some(bytes(2, 1)) },
            ClaimedKeyPackage { device: device(3), key_package: None },
        ]),
        Response::Accepted { seq: 7, time_ms: 1_700_000_000_000 },
        Response::Page(Page { entries: entries(), head: 3, tail: 1, commits: 1, sent: 1 }),
        Response::Inbox(inbox()),
        Response::Heads(vec![ConversationHead { conversation: conversation(0xcc), head: 3, sent: 1 }]),
        Response::Conversations(vec![ConversationInfo {
            conversation: conversation(0xcc),
            kind: ConversationKind::Direct(name("bob")),
            head: 3,
            member: true,
        }]),
        Response::GroupInfo(GroupInfo { commits: 1, sealed: Some(bytes(3, 0xcf)) }),
        Response::Segment(bytes(4, 0x5f)),
        Response::AttachmentStatus(AttachmentStatus { size: 4096, finished: true, chunks: bytes(1, 0x01) }),
        Response::Chunk(bytes(4, 0xc4)),
        Response::Devices(vec![
            DeviceSeen { device: device(2), day: Some(20_000) },
            DeviceSeen { device: device(3), day: None },
        ]),
        Response::Manifest(Manifest { version: 2, manifest: Some(bytes(4, 0x3a)), used: 4096, quota: 1 << 30 }),
        Response::Rooms(Rooms {
            rooms: vec![RoomInfo { name: room("birds"), members: 3 }],
            default: Some(room("general")),
        }),
        Response::Room(conversation(0xcc)),
    ]
}

pub(crate) fn entries() -> Vec<Entry> {
    let entry = |seq, body| Entry { seq, time_ms: 1_700_000_000_000, body };
    vec![
        entry(1, EntryBody::Commit(bytes(3, 0xc0))),
        entry(2, EntryBody::Application(bytes(4, 0xaa))),
        entry(3, EntryBody::Own { number: 1 }),
    ]
}

pub(crate) fn inbox() -> Vec<InboxItem> {
    vec![
        InboxItem {
            seq: 1,
            notice: InboxNotice::Welcome {
                conversation: conversation(0xcc),
                seq: 1,
                commits: 1,
                payload: bytes(4, 0xee),
            },
        },
        InboxItem { seq: 2, notice: InboxNotice::DeviceListChanged { username: name("bob"), version: 2 } },
        InboxItem {
            seq: 3,
            notice: InboxNotice::JoinAsked {
                conversation: conversation(0xcc),
                username: name("bob"),
                device: device(2),
            },
        },
    ]
}

pub(crate) fn events() -> Vec<Event> {
    let entry = entries().remove(1);
    vec![
        Event::Entry { conversation: conversation(0xcc), entry },
        Event::Inbox(inbox().remove(0)),
        Event::Behind,
        Event::Draining,
        Event::Announcement { text: "Back at noon".into(), time_ms: 1_700_000_000_000 },
        Event::Signal { conversation: conversation(0xcc), payload: bytes(3, 0xe1) },
    ]
}

pub(crate) fn refusals() -> Vec<Refusal> {
    let mut all: Vec<Refusal> = error_codes().into_iter().map(Refusal::from).collect();
    for refusal in &mut all {
        match refusal.code {
            ErrorCode::Stale
            | ErrorCode::OutOfOrder
            | ErrorCode::Version
            | ErrorCode::QuotaExceeded
            | ErrorCode::ManifestConflict
            | ErrorCode::TooManyMembers => {
                refusal.number = Some(4);
            }
            ErrorCode::WaitingFull => (refusal.number, refusal.retry_after_ms) = (Some(4), Some(1000)),
            ErrorCode::Busy | ErrorCode::RateLimited => refusal.retry_after_ms = Some(1000),
            ErrorCode::ConversationExists => refusal.conversation = Some(conversation(0xcc)),
            _ => {}
        }
    }
    all
}

pub(crate) fn error_codes() -> Vec<ErrorCode> {
    (1..=u16::MAX).map(ErrorCode::from_number).filter(|code| *code != ErrorCode::Unknown).collect()
}

pub(crate) fn hellos() -> Vec<(&'static str, Bytes)> {
    let accepted = |sign_up| ServerHello::Accepted {
        version: 1,
        incarnation: Incarnation([0x1c; 16]),
        time_ms: 1_700_000_000_000,
        sign_up,
    };
    vec![
        ("Hello", encode(&Hello { lowest: 1, highest: 1 })),
        ("ServerHello.Accepted.Invite", encode(&accepted(SignUpPolicy::Invite))),
        ("ServerHello.Accepted.Open", encode(&accepted(SignUpPolicy::Open))),
        ("ServerHello.Accepted.Secret", encode(&accepted(SignUpPolicy::Secret))),
        ("ServerHello.Accepted.Closed", encode(&accepted(SignUpPolicy::Closed))),
        ("ServerHello.Refused", encode(&ServerHello::Refused(Refusal::numbered(ErrorCode::Version, 1)))),
    ]
}

/// Every message as it stands in a frame body.
pub(crate) fn messages() -> Vec<(String, Bytes)> {
    let mut all: Vec<(String, Bytes)> = hellos().into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect();
    for request in requests() {
        all.push((format!("Request.{}", request_name(&request)), encode(&ClientFrame { id: 7, request })));
    }
    let request = Request::EnrolDevice(Box::new(replacing()));
    all.push(("Request.EnrolDevice.Replaces".to_owned(), encode(&ClientFrame { id: 7, request })));
    for response in responses() {
        let name = format!("Response.{}", response_name(&response));
        all.push((name, encode(&ServerFrame::Response { id: 7, response })));
    }
    for refusal in refusals() {
        all.push((format!("Refusal.{:?}", refusal.code), encode(&ServerFrame::Refusal { id: 7, refusal })));
    }
    for event in events() {
        all.push((format!("Event.{}", event_name(&event)), encode(&ServerFrame::Event(event))));
    }
    all
}

pub(crate) fn request_name(request: &Request) -> &'static str {
    match request {
        Request::Ping => "Ping",
        Request::SignUp(_) => "SignUp",
        Request::LoginParameters(_) => "LoginParameters",
        Request::Login { .. } => "Login",
        Request::EnrolDevice(_) => "EnrolDevice",
        Request::Authenticate { .. } => "Authenticate",
        Request::PublishKeyPackages { .. } => "PublishKeyPackages",
        Request::KeyPackageStock => "KeyPackageStock",
        Request::Account(_) => "Account",
        Request::ClaimKeyPackages(_) => "ClaimKeyPackages",
        Request::CreateConversation(_) => "CreateConversation",
        Request::Send { .. } => "Send",
        Request::Commit { .. } => "Commit",
        Request::Fetch { .. } => "Fetch",
        Request::Acknowledge { .. } => "Acknowledge",
        Request::FetchInbox { .. } => "FetchInbox",
        Request::AcknowledgeInbox { .. } => "AcknowledgeInbox",
        Request::Heads { .. } => "Heads",
        Request::Subscribe => "Subscribe",
        Request::ReviseAccount(_) => "ReviseAccount",
        Request::DeleteAccount => "DeleteAccount",
        Request::Conversations { .. } => "Conversations",
        Request::GroupInfo(_) => "GroupInfo",
        Request::Join { .. } => "Join",
        Request::AskToJoin(_) => "AskToJoin",
        Request::Signal { .. } => "Signal",
        Request::PutSegment { .. } => "PutSegment",
        Request::FetchSegment(_) => "FetchSegment",
        Request::PutManifest { .. } => "PutManifest",
        Request::FetchManifest => "FetchManifest",
        Request::DeleteBackup => "DeleteBackup",
        Request::Rooms { .. } => "Rooms",
        Request::JoinRoom(_) => "JoinRoom",
        Request::Leave { .. } => "Leave",
        Request::BeginAttachment { .. } => "BeginAttachment",
        Request::PutChunk { .. } => "PutChunk",
        Request::FinishAttachment(_) => "FinishAttachment",
        Request::AttachmentStatus(_) => "AttachmentStatus",
        Request::FetchChunk { .. } => "FetchChunk",
        Request::DeleteAttachment(_) => "DeleteAttachment",
        Request::Devices => "Devices",
    }
}

pub(crate) fn response_name(response: &Response) -> &'static str {
    match response {
        Response::Done => "Done",
        Response::LoginParameters(_) => "LoginParameters",
        Response::Vault(_) => "Vault",
        Response::KeyPackageStock(_) => "KeyPackageStock",
        Response::Account(_) => "Account",
        Response::KeyPackages(_) => "KeyPackages",
        Response::Accepted { .. } => "Accepted",
        Response::Page(_) => "Page",
        Response::Inbox(_) => "Inbox",
        Response::Heads(_) => "Heads",
        Response::Conversations(_) => "Conversations",
        Response::GroupInfo(_) => "GroupInfo",
        Response::Segment(_) => "Segment",
        Response::Manifest(_) => "Manifest",
        Response::Rooms(_) => "Rooms",
        Response::Room(_) => "Room",
        Response::AttachmentStatus(_) => "AttachmentStatus",
        Response::Chunk(_) => "Chunk",
        Response::Devices(_) => "Devices",
    }
}

pub(crate) fn event_name(event: &Event) -> &'static str {
    match event {
        Event::Entry { .. } => "Entry",
        Event::Inbox(_) => "Inbox",
        Event::Behind => "Behind",
        Event::Draining => "Draining",
        Event::Announcement { .. } => "Announcement",
        Event::Signal { .. } => "Signal",
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

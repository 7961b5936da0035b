//! What holds for every value and for every sequence of bytes, not for chosen samples only.

mod samples;

use proptest::{collection::vec, option, prelude::*};
use samples::messages;
use waxwing_protocol::*;

fn bytes(length: std::ops::Range<usize>) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), length).prop_map(Bytes)
}

fn username() -> impl Strategy<Value = Username> {
    let letter = prop::sample::select(b"abcdefghijklmnopqrstuvwxyz0123456789".to_vec());
    let other = prop::sample::select(b"az09_.-".to_vec());
    (letter, vec(other, 2..32)).prop_map(|(first, rest)| {
        let text: String = std::iter::once(first).chain(rest).map(char::from).collect();
        text.parse().unwrap()
    })
}

fn text() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..40).prop_map(String::from_iter)
}

fn device() -> impl Strategy<Value = DeviceId> {
    any::<[u8; 16]>().prop_map(DeviceId)
}

fn conversation() -> impl Strategy<Value = ConversationId> {
    any::<[u8; 16]>().prop_map(ConversationId)
}

fn kdf() -> impl Strategy<Value = KdfParameters> {
    (bytes(16..17), any::<[u32; 3]>()).prop_map(|(salt, [memory_kib, iterations, parallelism])| KdfParameters {
        salt,
        memory_kib,
        iterations,
        parallelism,
    })
}

fn new_device() -> impl Strategy<Value = NewDevice> {
    (device(), bytes(32..33)).prop_map(|(id, authentication_key)| NewDevice { id, authentication_key })
}

fn handshake() -> impl Strategy<Value = Handshake> {
    let welcome =
        (vec(device(), 0..4), bytes(0..300)).prop_map(|(recipients, payload)| Welcome { recipients, payload });
    let roster = (vec(username(), 0..4), vec(username(), 0..4)).prop_map(|(entered, left)| Roster { entered, left });
    let parts =
        (bytes(0..300), option::of(welcome), vec(device(), 0..4), option::of(bytes(0..300)), option::of(roster));
    parts.prop_map(|(commit, welcome, removed, group_info, roster)| Handshake {
        commit,
        welcome,
        removed,
        group_info,
        roster,
    })
}

fn sign_up() -> impl Strategy<Value = SignUp> {
    let admission =
        prop_oneof![Just(Admission::Open), text().prop_map(Admission::Invite), text().prop_map(Admission::Secret)];
    let names = (username(), admission, option::of(text()), option::of(text()), option::of(text()));
    let secrets = (kdf(), any::<[[u8; 32]; 2]>());
    let sealed = (bytes(0..300), bytes(0..99), bytes(0..99));
    let public = (bytes(0..99), bytes(0..99), bytes(0..99), new_device());
    (names, secrets, sealed, public).prop_map(|(names, (kdf, [password, recovery]), sealed, public)| SignUp {
        username: names.0,
        admission: names.1,
        full_name: names.2,
        email: names.3,
        kdf,
        password_secret: Secret(password),
        recovery_secret: Secret(recovery),
        vault: sealed.0,
        password_wrap: sealed.1,
        recovery_wrap: sealed.2,
        identity_key: public.0,
        backup_key: public.1,
        device_list: public.2,
        device: public.3,
        code: names.4,
    })
}

fn revision() -> impl Strategy<Value = ReviseAccount> {
    let sealed = (bytes(0..300), bytes(0..99), bytes(0..99));
    let credentials = (kdf(), any::<[u8; 32]>(), option::of(any::<[u8; 32]>()), sealed).prop_map(
        |(kdf, password, recovery, (vault, password_wrap, recovery_wrap))| NewCredentials {
            kdf,
            password_secret: Secret(password),
            recovery_secret: recovery.map(Secret),
            vault,
            password_wrap,
            recovery_wrap,
        },
    );
    let identity = (bytes(0..99), bytes(0..99), bytes(0..99))
        .prop_map(|(identity_key, backup_key, statement)| NewIdentity { identity_key, backup_key, statement });
    let rest = (option::of(credentials), option::of(identity), option::of(any::<u64>()));
    (any::<u64>(), bytes(0..300), vec(device(), 0..4), rest).prop_map(
        |(version, device_list, removed, (credentials, identity, follows))| ReviseAccount {
            version,
            device_list,
            removed,
            credentials,
            identity,
            follows,
        },
    )
}

fn room() -> impl Strategy<Value = RoomName> {
    "[a-z0-9][a-z0-9_.-]{0,31}".prop_map(|name| name.parse().unwrap())
}

fn attachment() -> impl Strategy<Value = AttachmentId> {
    any::<[u8; 32]>().prop_map(AttachmentId)
}

fn segment() -> impl Strategy<Value = SegmentId> {
    any::<[u8; 16]>().prop_map(SegmentId)
}

fn request() -> impl Strategy<Value = Request> {
    let proof = (device(), bytes(64..65)).prop_map(|(device, signature)| DeviceProof { device, signature });
    let shown = (option::of(text()), option::of(proof));
    let login =
        (username(), any::<[u8; 32]>(), any::<bool>(), shown).prop_map(|(username, secret, recovery, shown)| {
            let authenticator = if recovery { Authenticator::Recovery } else { Authenticator::Password };
            Request::Login { username, authenticator: authenticator(Secret(secret)), code: shown.0, device: shown.1 }
        });
    let enrol = (new_device(), any::<u64>(), bytes(0..300), option::of(device()), option::of(any::<u64>())).prop_map(
        |(device, version, device_list, replaces, follows)| EnrolDevice {
            device,
            version,
            device_list,
            replaces,
            follows,
        },
    );
    let create = (conversation(), username(), option::of(handshake()), option::of(conversation())).prop_map(
        |(id, other, handshake, replaces)| CreateConversation {
            id,
            kind: ConversationKind::Direct(other),
            handshake,
            replaces,
        },
    );
    let publish = (vec(bytes(0..99), 0..6), option::of(bytes(0..99)));
    prop_oneof![
        sign_up().prop_map(|request| Request::SignUp(Box::new(request))),
        username().prop_map(Request::LoginParameters),
        login,
        enrol.prop_map(|request| Request::EnrolDevice(Box::new(request))),
        (device(), bytes(64..65)).prop_map(|(device, signature)| Request::Authenticate { device, signature }),
        publish.prop_map(|(one_time, last_resort)| Request::PublishKeyPackages { one_time, last_resort }),
        create.prop_map(|request| Request::CreateConversation(Box::new(request))),
        (conversation(), any::<[u64; 2]>(), bytes(0..600)).prop_map(|(conversation, [number, commits], payload)| {
            Request::Send { conversation, number, commits, payload }
        }),
        (conversation(), any::<[u64; 2]>(), handshake()).prop_map(|(conversation, [number, commits], handshake)| {
            Request::Commit { conversation, number, commits, handshake: Box::new(handshake) }
        }),
        (conversation(), any::<u64>()).prop_map(|(conversation, after)| Request::Fetch { conversation, after }),
        option::of(conversation()).prop_map(|after| Request::Heads { after }),
        revision().prop_map(|revision| Request::ReviseAccount(Box::new(revision))),
        (conversation(), any::<u64>(), bytes(0..300), option::of(bytes(0..300))).prop_map(
            |(conversation, commits, commit, group_info)| Request::Join { conversation, commits, commit, group_info }
        ),
        option::of(room()).prop_map(|after| Request::Rooms { after }),
        room().prop_map(Request::JoinRoom),
        (conversation(), bytes(0..256)).prop_map(|(conversation, wish)| Request::Leave { conversation, wish }),
        (segment(), bytes(0..600)).prop_map(|(id, payload)| Request::PutSegment { id, payload }),
        (attachment(), 1..=limits::ATTACHMENT).prop_map(|(id, size)| Request::BeginAttachment { id, size }),
        (attachment(), any::<u32>(), bytes(1..600)).prop_map(|(id, index, payload)| Request::PutChunk {
            id,
            index,
            payload
        }),
        (attachment(), any::<u32>()).prop_map(|(id, index)| Request::FetchChunk { id, index }),
        (any::<u64>(), bytes(0..600), vec(segment(), 0..6))
            .prop_map(|(version, manifest, segments)| { Request::PutManifest { version, manifest, segments } }),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    let body = prop_oneof![
        bytes(0..300).prop_map(EntryBody::Application),
        bytes(0..300).prop_map(EntryBody::Commit),
        any::<u64>().prop_map(|number| EntryBody::Own { number }),
    ];
    (any::<[u64; 2]>(), body).prop_map(|([seq, time_ms], body)| Entry { seq, time_ms, body })
}

fn inbox_item() -> impl Strategy<Value = InboxItem> {
    let welcome =
        (conversation(), any::<[u64; 2]>(), bytes(0..300)).prop_map(|(conversation, [seq, commits], payload)| {
            InboxNotice::Welcome { conversation, seq, commits, payload }
        });
    let changed =
        (username(), any::<u64>()).prop_map(|(username, version)| InboxNotice::DeviceListChanged { username, version });
    let asked = (conversation(), username(), device())
        .prop_map(|(conversation, username, device)| InboxNotice::JoinAsked { conversation, username, device });
    (any::<u64>(), prop_oneof![welcome, changed, asked]).prop_map(|(seq, notice)| InboxItem { seq, notice })
}

fn refusal() -> impl Strategy<Value = Refusal> {
    let code = prop::sample::select(samples::error_codes());
    let rest = (option::of(any::<u64>()), option::of(any::<u32>()), option::of(conversation()));
    (code, rest).prop_map(|(code, (number, retry_after_ms, conversation))| Refusal {
        code,
        number,
        retry_after_ms,
        conversation,
    })
}

fn conversation_info() -> impl Strategy<Value = ConversationInfo> {
    (conversation(), username(), any::<u64>(), any::<bool>()).prop_map(|(conversation, other, head, member)| {
        ConversationInfo { conversation, kind: ConversationKind::Direct(other), head, member }
    })
}

fn server_frame() -> impl Strategy<Value = ServerFrame> {
    let claimed = (device(), option::of(bytes(0..300)))
        .prop_map(|(device, key_package)| ClaimedKeyPackage { device, key_package });
    let page = (vec(entry(), 0..6), any::<[u64; 4]>()).prop_map(|(entries, [head, tail, commits, sent])| Page {
        entries,
        head,
        tail,
        commits,
        sent,
    });
    let head = (conversation(), any::<[u64; 2]>()).prop_map(|(conversation, [head, sent])| ConversationHead {
        conversation,
        head,
        sent,
    });
    let response = prop_oneof![
        kdf().prop_map(|kdf| Response::LoginParameters(LoginParameters { kdf })),
        vec(claimed, 0..5).prop_map(Response::KeyPackages),
        any::<[u64; 2]>().prop_map(|[seq, time_ms]| Response::Accepted { seq, time_ms }),
        page.prop_map(Response::Page),
        vec(inbox_item(), 0..5).prop_map(Response::Inbox),
        vec(head, 0..5).prop_map(Response::Heads),
        vec(conversation_info(), 0..5).prop_map(Response::Conversations),
        (any::<u64>(), option::of(bytes(0..300)))
            .prop_map(|(commits, sealed)| Response::GroupInfo(GroupInfo { commits, sealed })),
        (any::<[u64; 3]>(), option::of(bytes(0..300))).prop_map(|([version, used, quota], manifest)| {
            Response::Manifest(Manifest { version, manifest, used, quota })
        }),
    ];
    let event = prop_oneof![
        (conversation(), entry()).prop_map(|(conversation, entry)| Event::Entry { conversation, entry }),
        inbox_item().prop_map(Event::Inbox),
    ];
    prop_oneof![
        (any::<u32>(), response).prop_map(|(id, response)| ServerFrame::Response { id, response }),
        (any::<u32>(), refusal()).prop_map(|(id, refusal)| ServerFrame::Refusal { id, refusal }),
        event.prop_map(ServerFrame::Event),
    ]
}

/// Whatever the decoders make of these bytes, they make it without a panic, and what they accept they write again alike.
fn survives(bytes: &[u8]) {
    if let Ok(frame) = decode_client_frame(bytes) {
        assert_eq!(decode_client_frame(encode(&frame).as_ref()).unwrap(), frame);
    }
    if let Ok(frame) = decode_server_frame(bytes) {
        assert_eq!(decode_server_frame(encode(&frame).as_ref()).unwrap(), frame);
    }
    let _ = decode_hello(bytes);
    let _ = decode_server_hello(bytes);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_request_arrives_as_it_left(id: u32, request in request()) {
        let frame = ClientFrame { id, request };
        prop_assert_eq!(decode_client_frame(encode(&frame).as_ref()).unwrap(), frame);
    }

    #[test]
    fn a_server_frame_arrives_as_it_left(frame in server_frame()) {
        prop_assert_eq!(decode_server_frame(encode(&frame).as_ref()).unwrap(), frame);
    }

    #[test]
    fn random_bytes_are_harmless(bytes in vec(any::<u8>(), 0..400)) {
        survives(&bytes);
    }

    #[test]
    fn damaged_messages_are_harmless(
        which in any::<prop::sample::Index>(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        end in any::<prop::sample::Index>(),
    ) {
        let (_, mut bytes) = messages().swap_remove(which.index(messages().len()));
        for (at, byte) in damage {
            let at = at.index(bytes.0.len());
            bytes.0[at] = byte;
        }
        survives(&bytes.0);
        survives(&bytes.0[..end.index(bytes.0.len())]);
    }

    #[test]
    fn every_text_is_a_username_or_is_refused(text in text()) {
        if let Ok(name) = text.parse::<Username>() {
            prop_assert_eq!(name.as_str(), text.to_ascii_lowercase());
            prop_assert!((3..=32).contains(&name.as_str().len()));
        }
    }
}

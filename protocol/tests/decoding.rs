//! What the decoders refuse, and what they let pass for the sake of newer peers (SPEC.md §3 and §8).

mod samples;

use samples::{bytes, conversation, device, handshake, name, sign_up};
use waxwing_protocol::*;

fn decode(request: Request) -> Result<ClientFrame, DecodeError> {
    decode_client_frame(encode(&ClientFrame { id: 7, request }).as_ref())
}

#[track_caller]
fn refused(request: Request) {
    assert!(matches!(decode(request), Err(DecodeError::Malformed)), "went through the decoder");
}

#[track_caller]
fn accepted(request: Request) {
    assert!(decode(request).is_ok(), "a request at its limit was refused");
}

fn send(length: usize) -> Request {
    Request::Send { conversation: conversation(1), number: 1, commits: 0, payload: bytes(length, 0) }
}

fn publish(count: usize, length: usize, last_resort: usize) -> Request {
    Request::PublishKeyPackages { one_time: vec![bytes(length, 0); count], last_resort: Some(bytes(last_resort, 0)) }
}

fn commit(commit: usize, welcome: usize) -> Request {
    let welcome = Some(Welcome { recipients: vec![device(1)], payload: bytes(welcome, 0) });
    let handshake =
        Box::new(Handshake { commit: bytes(commit, 0), welcome, removed: vec![], group_info: None, roster: None });
    Request::Commit { conversation: conversation(1), number: 1, commits: 0, handshake }
}

fn changed(change: impl FnOnce(&mut SignUp)) -> Request {
    let mut request = sign_up();
    change(&mut request);
    Request::SignUp(Box::new(request))
}

#[test]
fn payloads_and_handshakes_end_at_their_limits() {
    accepted(send(limits::PAYLOAD));
    refused(send(limits::PAYLOAD + 1));
    accepted(commit(limits::HANDSHAKE - 10, 10));
    refused(commit(limits::HANDSHAKE - 10, 11));
    refused(commit(limits::HANDSHAKE + 1, 0));
    let create = |length| {
        let handshake = Some(Handshake {
            commit: bytes(length, 0),
            welcome: None,
            removed: vec![],
            group_info: None,
            roster: None,
        });
        let kind = ConversationKind::Direct(name("bob"));
        Request::CreateConversation(Box::new(CreateConversation {
            id: conversation(1),
            kind,
            handshake,
            replaces: None,
        }))
    };
    accepted(create(limits::HANDSHAKE));
    refused(create(limits::HANDSHAKE + 1));
}

#[test]
fn key_packages_are_limited_in_number_and_size() {
    accepted(publish(limits::KEY_PACKAGES_PER_REQUEST, 1, limits::KEY_PACKAGE));
    refused(publish(limits::KEY_PACKAGES_PER_REQUEST + 1, 1, 1));
    refused(publish(1, limits::KEY_PACKAGE + 1, 1));
    refused(publish(1, 1, limits::KEY_PACKAGE + 1));
}

#[test]
fn every_field_of_a_sign_up_has_a_limit() {
    let long = || "x".repeat(limits::SHORT_TEXT + 1);
    accepted(changed(|request| request.full_name = Some("x".repeat(limits::SHORT_TEXT))));
    refused(changed(|request| request.full_name = Some(long())));
    refused(changed(|request| request.email = Some(long())));
    refused(changed(|request| request.admission = Admission::Invite(long())));
    refused(changed(|request| request.admission = Admission::Secret(long())));
    refused(changed(|request| request.kdf.salt = bytes(15, 0)));
    refused(changed(|request| request.kdf.salt = bytes(17, 0)));
    refused(changed(|request| request.vault = bytes(limits::VAULT + 1, 0)));
    refused(changed(|request| request.password_wrap = bytes(limits::VAULT + 1, 0)));
    refused(changed(|request| request.recovery_wrap = bytes(limits::VAULT + 1, 0)));
    refused(changed(|request| request.identity_key = bytes(limits::PUBLIC_KEY + 1, 0)));
    refused(changed(|request| request.backup_key = bytes(limits::PUBLIC_KEY + 1, 0)));
    refused(changed(|request| request.device_list = bytes(limits::DEVICE_LIST + 1, 0)));
    refused(changed(|request| request.device.authentication_key = bytes(31, 0)));
}

#[test]
fn keys_and_signatures_have_their_exact_length() {
    let enrol = |key, list| {
        let device = NewDevice { id: device(1), authentication_key: bytes(key, 0) };
        Request::EnrolDevice(Box::new(EnrolDevice {
            device,
            version: 2,
            device_list: bytes(list, 0),
            replaces: None,
            follows: None,
        }))
    };
    accepted(enrol(32, limits::DEVICE_LIST));
    refused(enrol(33, 1));
    refused(enrol(32, limits::DEVICE_LIST + 1));
    for length in [0, 63, 65] {
        refused(Request::Authenticate { device: device(1), signature: bytes(length, 0) });
    }
}

#[test]
fn a_username_has_one_spelling_on_the_wire() {
    // Account = 8: [7, [8, ["…"]]].
    let asked = |username: &str| {
        let mut bytes = vec![0x82, 7, 0x82, 8, 0x81, 0x60 + username.len() as u8];
        bytes.extend_from_slice(username.as_bytes());
        decode_client_frame(&bytes)
    };
    assert!(asked("bob").is_ok());
    for bad in ["Bob", "bo", "_bob", "b b", "bob\u{e9}", "bob'--", "", ".bob", "bob\n"] {
        assert!(matches!(asked(bad), Err(DecodeError::Malformed)), "{bad:?} went through");
    }
}

#[test]
fn an_unknown_request_keeps_its_id() {
    // [9, [99, [1, "x"]]]
    let bytes = [0x82, 9, 0x82, 0x18, 99, 0x82, 1, 0x61, b'x'];
    assert!(matches!(decode_client_frame(&bytes), Err(DecodeError::UnknownRequest { id: 9 })));
}

#[test]
fn an_unknown_response_keeps_its_id() {
    // [0, [9, [99, [1, "x"]]]]: no response that we know.
    let response = [0x82, 0, 0x82, 9, 0x82, 0x18, 99, 0x82, 1, 0x61, b'x'];
    assert!(matches!(decode_server_frame(&response), Err(DecodeError::UnknownResponse { id: 9 })));
    // [0, [9, [8, [[[1, [99, []]]]]]]]: an inbox with a notice that we do not know.
    let inbox = [0x82, 0, 0x82, 9, 0x82, 8, 0x81, 0x81, 0x82, 1, 0x82, 0x18, 99, 0x80];
    assert!(matches!(decode_server_frame(&inbox), Err(DecodeError::UnknownResponse { id: 9 })));
    // The same of an unknown server frame, [99, [9, []]]: whose it is, is unknown.
    assert!(matches!(decode_server_frame(&[0x82, 0x18, 99, 0x82, 9, 0x80]), Err(DecodeError::UnknownServerFrame)));
    // Cut off, it is malformed.
    assert!(matches!(decode_server_frame(&response[..5]), Err(DecodeError::Malformed)));
}

#[test]
fn unknown_fields_are_skipped() {
    // Ping as [7, [0, ["new", {1: 2}]], "newer"]
    let bytes = [0x83, 7, 0x82, 0, 0x82, 0x63, b'n', b'e', b'w', 0xa1, 1, 2, 0x65, b'n', b'e', b'w', b'e', b'r'];
    assert_eq!(decode_client_frame(&bytes).unwrap(), ClientFrame { id: 7, request: Request::Ping });
    // Hello as [1, 1, "new"]
    assert_eq!(decode_hello(&[0x83, 1, 1, 0x63, b'n', b'e', b'w']).unwrap(), Hello { lowest: 1, highest: 1 });
}

#[test]
fn unknown_events_and_error_codes_do_not_end_a_session() {
    // An event with number 99, and a refusal [7, [99]].
    let event = [0x82, 2, 0x81, 0x82, 0x18, 99, 0x80];
    assert!(matches!(decode_server_frame(&event), Err(DecodeError::UnknownServerFrame)));
    let refusal = [0x82, 1, 0x82, 7, 0x81, 0x18, 99];
    let ServerFrame::Refusal { id: 7, refusal } = decode_server_frame(&refusal).unwrap() else {
        panic!("a refusal was read as something else");
    };
    assert_eq!(refusal.code, ErrorCode::Unknown);
}

#[test]
fn a_frame_is_whole_and_nothing_more() {
    let whole = encode(&ClientFrame {
        id: 7,
        request: Request::CreateConversation(Box::new(CreateConversation {
            id: conversation(1),
            kind: ConversationKind::Direct(name("bob")),
            handshake: Some(handshake()),
            replaces: None,
        })),
    });
    for end in 0..whole.0.len() {
        assert!(matches!(decode_client_frame(&whole.0[..end]), Err(DecodeError::Malformed)), "cut at {end}");
    }
    let longer = [whole.as_ref(), &[0]].concat();
    assert!(matches!(decode_client_frame(&longer), Err(DecodeError::Malformed)));
}

#[test]
fn deep_nesting_and_huge_lengths_are_refused() {
    let nested = [[0x82, 7, 0x83, 0, 0x80].as_slice(), &vec![0x81; limits::FRAME]].concat();
    assert!(matches!(decode_client_frame(&nested), Err(DecodeError::Malformed)));
    // A byte string and an array that claim 2^63 items.
    for head in [0x5b, 0x9b] {
        let request = [0x82, 7, 0x82, 6, 0x81, head, 0x80, 0, 0, 0, 0, 0, 0, 0];
        assert!(matches!(decode_client_frame(&request), Err(DecodeError::Malformed)));
    }
}

#[test]
fn secrets_and_ciphertexts_do_not_show_in_debug_output() {
    let text = format!("{:?}", sign_up());
    for secret in ["161", "162", "176", "abcd-efgh"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

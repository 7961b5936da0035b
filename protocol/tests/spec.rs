//! `SPEC.md` against the code: its tables name every message, field, error and limit, with their numbers and types, and
//! nothing else. Fields and types are read out of this crate's sources, values out of the compiled crate.

mod samples;

use samples::{error_codes, events, requests, responses};
use std::collections::{BTreeMap, BTreeSet};
use waxwing_protocol::*;

const SPEC: &str = include_str!("../SPEC.md");

const SOURCES: [&str; 4] = [
    include_str!("../src/request.rs"),
    include_str!("../src/response.rs"),
    include_str!("../src/event.rs"),
    include_str!("../src/frame.rs"),
];

/// A field: its number, its name (`-` where it stands alone), its type in the words of `SPEC.md`.
type Field = (u32, String, String);

#[derive(Default)]
struct Shapes {
    /// Fields by record.
    records: BTreeMap<String, Vec<Field>>,
    /// By choice: the number, name and fields of each alternative.
    choices: BTreeMap<String, Vec<(u32, String, Vec<Field>)>>,
}

/// The wire types as the sources declare them, relying on what rustfmt makes of them.
fn shapes() -> Shapes {
    let mut shapes = Shapes::default();
    let (mut record, mut choice, mut number) = (None, None, None);
    for line in SOURCES.iter().flat_map(|source| source.lines()) {
        let depth = line.len() - line.trim_start().len();
        let line = line.trim();
        if depth == 0 {
            let name = |prefix| line.strip_prefix(prefix)?.strip_suffix(" {").map(str::to_owned);
            (record, choice, number) = match (name("pub struct "), name("pub enum "), line) {
                (None, None, "}") => (None, None, None),
                (None, None, _) => continue,
                (record, choice, _) => (record, choice, None),
            };
        } else if let Some(text) = line.strip_prefix("#[n(").and_then(|rest| rest.strip_suffix(")]")) {
            number = Some(text.parse().unwrap());
        } else if let (Some(record), Some(field), 4) = (&record, number, depth) {
            let (name, kind) = line.strip_prefix("pub ").and_then(|rest| rest.split_once(": ")).expect(line);
            shapes.records.entry(record.clone()).or_default().push((field, name.to_owned(), words(kind)));
            number = None;
        } else if let (Some(choice), Some(number)) = (&choice, number) {
            let alternatives = shapes.choices.entry(choice.clone()).or_default();
            if depth == 4 && line.starts_with(char::is_uppercase) {
                let name = line.split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned();
                let inner =
                    line.split_once("(#[n(0)] ").map(|(_, rest)| rest.trim_end_matches(',').strip_suffix(')').unwrap());
                let fields = inner.map(|kind| (0, "-".to_owned(), words(kind)));
                alternatives.push((number, name, fields.into_iter().collect()));
            } else if let (8, false, Some((name, kind))) = (depth, line.starts_with("//"), line.split_once(": ")) {
                let (_, _, fields) = alternatives.last_mut().unwrap();
                fields.push((number, name.to_owned(), words(kind)));
            }
        }
    }
    shapes
}

/// A Rust type in the words of `SPEC.md`.
fn words(kind: &str) -> String {
    let kind = kind.trim_end_matches(',');
    let inside = |prefix: &str| kind.strip_prefix(prefix).and_then(|rest| rest.strip_suffix('>')).map(words);
    match kind {
        "u16" | "u32" | "u64" => kind.to_owned(),
        "bool" => "bool".to_owned(),
        "String" => "text".to_owned(),
        "Bytes" => "bytes".to_owned(),
        "Secret" => "bytes[32]".to_owned(),
        "DeviceId" | "ConversationId" | "Incarnation" | "SegmentId" => "bytes[16]".to_owned(),
        "AttachmentId" => "bytes[32]".to_owned(),
        "ErrorCode" => "u16".to_owned(),
        "Username" => "username".to_owned(),
        "RoomName" => "room name".to_owned(),
        _ => {
            let boxed = inside("Box<");
            let optional = inside("Option<").map(|inner| format!("{inner}?"));
            let list = inside("Vec<").map(|inner| format!("[{inner}]"));
            boxed.or(optional).or(list).unwrap_or_else(|| kind.to_owned())
        }
    }
}

fn show(fields: &[Field]) -> String {
    let shown = fields.iter().map(|(number, name, kind)| match name.as_str() {
        "-" => format!("{number}: {kind}"),
        name => format!("{number} `{name}`: {kind}"),
    });
    let all: Vec<String> = shown.collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

/// The first `columns` cells of every row of the table behind a heading.
fn table(heading: &str, columns: usize) -> Vec<String> {
    let (_, rest) = SPEC.split_once(&format!("# {heading}\n")).unwrap_or_else(|| panic!("no heading {heading}"));
    let rows = rest.lines().skip_while(|line| !line.starts_with("|--")).skip(1);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.map(|row| row.split(" | ").take(columns).collect::<Vec<_>>().join(" | ")).collect()
}

#[track_caller]
fn same(heading: &str, columns: usize, expected: &[String]) {
    let written = table(heading, columns);
    if written != expected {
        let expected: Vec<String> = expected.iter().map(|row| format!("{row} | …")).collect();
        panic!("SPEC.md, \"{heading}\": these rows are expected:\n{}", expected.join("\n"));
    }
}

fn alternatives(choice: &str) -> Vec<String> {
    let rows = shapes().choices.remove(choice).unwrap_or_default();
    rows.iter().map(|(number, name, fields)| format!("| {number} | `{name}` | {}", show(fields))).collect()
}

#[test]
fn requests_responses_and_events_are_as_the_code_has_them() {
    same("Requests", 3, &alternatives("Request"));
    same("Responses", 3, &alternatives("Response"));
    same("Events", 3, &alternatives("Event"));
    same("Server frames", 3, &alternatives("ServerFrame"));
    same("Server hello", 3, &alternatives("ServerHello"));
}

#[test]
fn choices_are_as_the_code_has_them() {
    let mut choices = shapes().choices;
    for told_apart in ["Request", "Response", "Event", "ServerFrame", "ServerHello", "DecodeError"] {
        choices.remove(told_apart);
    }
    let row = |choice: &str, (number, name, fields): &(u32, String, Vec<Field>)| {
        format!("| `{choice}` | {number} | `{name}` | {}", show(fields))
    };
    let rows: Vec<String> =
        choices.iter().flat_map(|(choice, all)| all.iter().map(move |one| row(choice, one))).collect();
    same("Choices", 4, &rows);
}

#[test]
fn records_are_as_the_code_has_them() {
    let mut records = shapes().records;
    let refusal =
        [(0, "code", "u16"), (1, "number", "u64?"), (2, "retry_after_ms", "u32?"), (3, "conversation", "bytes[16]?")];
    let refusal = refusal.map(|(number, name, kind)| (number, name.to_owned(), kind.to_owned()));
    records.insert("Refusal".to_owned(), refusal.to_vec());
    let row = |record: &str, (number, name, kind): &Field| format!("| `{record}` | {number} | `{name}` | {kind}");
    let rows: Vec<String> =
        records.iter().flat_map(|(record, all)| all.iter().map(move |one| row(record, one))).collect();
    same("Records", 4, &rows);
}

#[test]
fn the_numbers_in_the_sources_are_the_numbers_on_the_wire() {
    let number = |bytes: &[u8], depth: usize| {
        let mut decoder = minicbor::Decoder::new(bytes);
        for _ in 0..depth {
            decoder.array().unwrap();
            decoder.u32().unwrap();
        }
        decoder.array().unwrap();
        decoder.u32().unwrap()
    };
    let shapes = shapes();
    let find = |choice: &str, name: &str| shapes.choices[choice].iter().find(|one| one.1 == name).unwrap().0;
    for request in requests() {
        let name = samples::request_name(&request);
        assert_eq!(number(encode(&ClientFrame { id: 7, request }).as_ref(), 1), find("Request", name), "{name}");
    }
    for response in responses() {
        let name = samples::response_name(&response);
        assert_eq!(number(encode(&response).as_ref(), 0), find("Response", name), "{name}");
    }
    for event in events() {
        let name = samples::event_name(&event);
        assert_eq!(number(encode(&event).as_ref(), 0), find("Event", name), "{name}");
    }
    for (choice, samples) in [("Request", requests().len()), ("Response", responses().len()), ("Event", events().len())]
    {
        assert_eq!(shapes.choices[choice].len(), samples, "each {choice} has one sample");
    }
}

#[test]
fn errors_are_as_the_code_has_them() {
    let rows: Vec<String> =
        error_codes().into_iter().map(|code| format!("| {} | `{code:?}` | {code}", code.number())).collect();
    same("Errors", 3, &rows);
}

#[test]
fn limits_are_as_the_code_has_them() {
    macro_rules! values {
        ($($name:ident)+) => { [$((stringify!($name), limits::$name as u64)),+] };
    }
    let values = values!(FRAME FRAME_BEFORE_LOGIN PAYLOAD HANDSHAKE TEXT KEY_PACKAGE KEY_PACKAGES_PER_REQUEST
        KEY_PACKAGES_PER_DEVICE VAULT DEVICE_LIST PUBLIC_KEY DEVICES_PER_ACCOUNT KEY_HISTORY PAGE_ENTRIES PAGE_BYTES SHORT_TEXT
        REQUESTS_IN_FLIGHT IDLE_SECONDS LOGIN_SECONDS SEGMENT MANIFEST SEGMENTS_PER_ACCOUNT ROSTER LEAVE ATTACHMENT_CHUNK
        ATTACHMENT ROTATIONS ANNOUNCEMENT SIGNAL STATEMENT);
    let declared = include_str!("../src/limits.rs").lines().filter_map(|line| line.strip_prefix("pub const "));
    let declared: BTreeSet<&str> = declared.filter_map(|rest| rest.split(':').next()).collect();
    assert_eq!(declared, values.iter().map(|(name, _)| *name).collect(), "a limit is missing in this test");
    same("Limits", 2, &values.map(|(name, value)| format!("| `{name}` | {value}")));
}

#[test]
fn the_text_names_the_constants_of_the_code() {
    for constant in [ALPN, AUTHENTICATION_LABEL, EXPORTER_LABEL, KEY_STATEMENT_LABEL, TICKET_LABEL] {
        let text = format!("`{}`", std::str::from_utf8(constant).unwrap());
        assert!(SPEC.contains(&text), "SPEC.md does not mention {text}");
    }
    let oid = KEY_HISTORY_OID.map(|arc| arc.to_string()).join(".");
    assert!(SPEC.contains(&format!("`{oid}`")), "SPEC.md does not mention {oid}");
    assert!(SPEC.contains(&format!("port {DEFAULT_PORT}")));
    assert!(SPEC.contains(&format!("versions {} to {}", VERSIONS.start(), VERSIONS.end())));
}

#[test]
fn a_device_signs_label_pin_exporter_and_id() {
    let message = authentication_message(&Pin([1; 32]), &[2; 32], &DeviceId([3; 16]));
    assert_eq!(message, [b"waxwing device authentication v1".as_slice(), &[1; 32], &[2; 32], &[3; 16]].concat());
    assert_eq!(message.len(), 112);
}

#[test]
fn a_device_signs_another_label_for_a_ticket() {
    let message = ticket_message(&Pin([1; 32]), "abc", &DeviceId([3; 16]));
    assert_eq!(message[..64], [b"waxwing ticket authentication v1".as_slice(), &[1; 32]].concat());
    // SHA-256 of "abc".
    assert_eq!(message[64..68], [0xba, 0x78, 0x16, 0xbf]);
    assert_eq!((message.len(), &message[96..]), (112, [3; 16].as_slice()));
    assert!([TUNNEL_PROTOCOL, TICKET_PROTOCOL].iter().all(|text| SPEC.contains(text)));
}

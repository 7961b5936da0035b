//! The bytes of every message, fixed for ever: `golden/wire.txt` changes only by additions.

mod samples;

use samples::{hex, messages, unhex};
use std::collections::BTreeMap;
use waxwing_protocol::*;

const GOLDEN: &str = include_str!("../golden/wire.txt");

fn golden() -> BTreeMap<&'static str, &'static str> {
    let lines = GOLDEN.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').expect("a name, a space and hexadecimal digits")).collect()
}

#[test]
fn every_message_has_the_bytes_that_it_always_had() {
    let golden = golden();
    let wrong: Vec<String> = messages()
        .iter()
        .map(|(name, bytes)| (name, hex(bytes.as_ref())))
        .filter(|(name, bytes)| golden.get(name.as_str()) != Some(&bytes.as_str()))
        .map(|(name, bytes)| format!("{name} {bytes}"))
        .collect();
    assert!(wrong.is_empty(), "golden/wire.txt has other lines than these:\n{}", wrong.join("\n"));
}

#[test]
fn every_golden_line_belongs_to_a_message() {
    let messages: BTreeMap<String, Bytes> = messages().into_iter().collect();
    assert_eq!(messages.len(), samples::messages().len(), "two samples have one name");
    for name in golden().keys() {
        assert!(messages.contains_key(*name), "golden/wire.txt has {name}, which no message is");
    }
}

#[test]
fn every_golden_line_is_understood() {
    for (name, bytes) in golden() {
        let bytes = unhex(bytes);
        let understood = match name.split('.').next() {
            Some("Hello") => decode_hello(&bytes).map(drop),
            Some("ServerHello") => decode_server_hello(&bytes).map(drop),
            Some("Request") => decode_client_frame(&bytes).map(drop),
            _ => decode_server_frame(&bytes).map(drop),
        };
        assert!(understood.is_ok(), "{name} is not understood any more");
    }
}

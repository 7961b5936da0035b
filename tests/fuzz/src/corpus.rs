//! The seeds: the golden bytes that other tests keep for ever, and files of `corpus/TARGET`, findings above all.

use std::{collections::BTreeMap, fs, path::PathBuf};

/// A line of a golden file: a name, and bytes in hexadecimal.
fn golden(text: &'static str) -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    text.lines().filter_map(|line| {
        let (name, hex) = line.split_once(' ')?;
        let pairs = hex.as_bytes().chunks(2);
        let bytes: Option<Vec<u8>> =
            pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
        Some((name, bytes?))
    })
}

/// What users of the first versions have stored, by name.
pub fn account() -> BTreeMap<&'static str, Vec<u8>> {
    golden(include_str!("../../../e2ee/tests/golden/account-v2.txt")).collect()
}

fn wire(prefixes: &[&str]) -> Vec<Vec<u8>> {
    let all = golden(include_str!("../../../protocol/golden/wire.txt"));
    all.filter(|(name, _)| prefixes.iter().any(|prefix| name.starts_with(prefix))).map(|(_, bytes)| bytes).collect()
}

/// What a target begins with.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let account = account();
    let named = |names: &[&str]| names.iter().filter_map(|name| account.get(name).cloned()).collect::<Vec<_>>();
    let mut seeds = match target {
        "client_frame" => wire(&["Request"]),
        "server_frame" => wire(&["Response", "Refusal", "Event"]),
        "hello" => wire(&["Hello", "ServerHello"]),
        "vault" => vec![[account["password_wrap"].as_slice(), &account["vault"]].concat()],
        "account" => {
            named(&["device_list", "next_device_list", "credential", "rotation", "identity_key", "sealed_name"])
        }
        "segment" => named(&["segment"]),
        "state" => named(&["state"]),
        "sealed_segment" => named(&["sealed_segment", "sealed_state"]),
        "manifest" => named(&["manifest"]),
        "local_key" => named(&["local_key_file"]),
        "content" => crate::targets::contents(),
        _ => Vec::new(),
    };
    seeds.extend(files(target));
    seeds
}

/// The committed files of a target.
pub fn files(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.into_iter().filter_map(|path| fs::read(path).ok()).collect()
}

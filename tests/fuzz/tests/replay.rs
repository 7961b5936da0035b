//! The corpora, and a few thousand mutations of them with fixed seeds: what was found once is never found again.

use fastrand::Rng;
use std::time::{Duration, Instant};
use waxwing_fuzz::{TARGETS, corpus, mutate};

/// Mutations of each target.
const RUNS: u64 = 3000;

#[test]
fn no_bytes_hurt_whoever_reads_them() {
    for (name, target) in TARGETS {
        let seeds = corpus::seeds(name);
        assert!(!seeds.is_empty(), "{name} has no seeds");
        let end = Instant::now() + Duration::from_secs(20);
        if let Err(finding) = mutate::drive(*target, &seeds, &mut Rng::with_seed(7), RUNS, end) {
            panic!("{name}: {}: {:02x?}", finding.what, finding.input);
        }
    }
}

#[test]
fn the_driver_finds_what_is_planted() {
    let planted = |bytes: &[u8]| assert!(!bytes.windows(2).any(|pair| pair == [0xff, 0xff]), "planted");
    let end = Instant::now() + Duration::from_secs(60);
    let found = mutate::drive(planted, &[vec![0; 64]], &mut Rng::with_seed(1), u64::MAX, end);
    assert!(found.is_err_and(|finding| finding.what == "it panics"));
}

#[test]
fn seeds_are_what_their_targets_read() {
    let read = |name: &str| corpus::seeds(name);
    assert!(read("client_frame").iter().all(|seed| waxwing_protocol::decode_client_frame(seed).is_ok()));
    assert!(read("server_frame").iter().all(|seed| waxwing_protocol::decode_server_frame(seed).is_ok()));
    assert!(read("link").iter().any(|seed| String::from_utf8_lossy(seed).parse::<waxwing_protocol::Link>().is_ok()));
    assert!(read("import").iter().any(|seed| waxwing_core::check_import(seed).is_ok()));
    let parsed = |seed: &Vec<u8>| waxwing_server::install::Config::parse(&String::from_utf8_lossy(seed)).is_ok();
    assert!(read("configuration").iter().any(parsed));
}

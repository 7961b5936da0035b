use super::*;
use crate::account::testing::rng;
use proptest::prelude::*;

const ID: [u8; 16] = [7; 16];

fn key() -> GenerationKey {
    GenerationKey::from_bytes(1, &[5; 32])
}

fn seal(plaintext: &[u8]) -> Result<Vec<u8>, BackupError> {
    seal_segment(&key(), "alice", &ID, plaintext, &mut rng())
}

fn message(seq: u64, text: &str) -> Message {
    Message {
        id: [1; 16],
        seq,
        author: Some("bob".to_owned()),
        sent_at_ms: 1_800_000_000_000,
        received_at_ms: 1_800_000_000_001,
        delivered: true,
        told_by: None,
        said: Said::Content(text.as_bytes().to_vec()),
        done: None,
    }
}

fn done(seq: u64) -> Done {
    Done { kind: 1, by: "bob".to_owned(), era: 0, seq, at_ms: 1_800_000_000_002, value: "👍".to_owned() }
}

fn segment() -> Segment {
    let notice = Message {
        author: None,
        done: Some(vec![done(5), done(6)]),
        told_by: Some("carol".to_owned()),
        said: Said::Local { kind: 3, text: "2 messages are missing here".to_owned() },
        ..message(2, "")
    };
    Segment::new("bob", [9; 16], 1, vec![message(1, "hi"), notice])
}

#[test]
fn a_segment_opens_for_its_account_generation_and_id_only() {
    let plaintext = segment().encode().unwrap();
    let sealed = seal(&plaintext).unwrap();
    assert_eq!(open_segment(&key(), "alice", &ID, &sealed).unwrap(), plaintext);
    assert_eq!(Segment::decode(&plaintext), Ok(segment()));
    let locked = Err(BackupError::Locked);
    assert_eq!(open_segment(&key(), "bob", &ID, &sealed), locked);
    assert_eq!(open_segment(&key(), "alice", &[8; 16], &sealed), locked);
    assert_eq!(open_segment(&GenerationKey::from_bytes(2, &[5; 32]), "alice", &ID, &sealed), locked);
    assert_eq!(open_segment(&GenerationKey::from_bytes(1, &[6; 32]), "alice", &ID, &sealed), locked);
}

#[test]
fn a_changed_or_cut_segment_does_not_open() {
    let sealed = seal(b"plaintext").unwrap();
    for at in 0..sealed.len() {
        let mut bad = sealed.clone();
        bad[at] ^= 1;
        assert!(open_segment(&key(), "alice", &ID, &bad).is_err(), "byte {at}");
        assert!(open_segment(&key(), "alice", &ID, &sealed[..at]).is_err(), "cut at {at}");
    }
    assert_eq!(open_segment(&key(), "alice", &ID, &[]), Err(BackupError::Malformed));
    assert_eq!(open_segment(&key(), "alice", &ID, &[&[2], &sealed[1..]].concat()), Err(BackupError::Newer));
    assert_eq!(open_segment(&key(), "alice", &ID, &vec![1; SEGMENT + 1]), Err(BackupError::TooLong));
}

#[test]
fn segments_have_few_lengths_and_a_limit() {
    for (length, sealed) in [
        (0, 4 * 1024),
        (4 * 1024 - 33, 4 * 1024),
        (4 * 1024 - 32, 16 * 1024),
        (64 * 1024 - 33, 64 * 1024),
        (64 * 1024, 256 * 1024),
        (256 * 1024, 256 * 1024 + 8 * 1024),
        (PLAINTEXT, SEGMENT),
    ] {
        let bytes = seal(&vec![7; length]).unwrap();
        assert_eq!(bytes.len(), sealed, "{length}");
        assert_eq!(open_segment(&key(), "alice", &ID, &bytes).unwrap().len(), length);
    }
    assert_eq!(seal(&vec![7; PLAINTEXT + 1]), Err(BackupError::TooLong));
}

#[test]
fn a_long_history_is_split_into_segments_that_fit() {
    let messages: Vec<_> =
        (1..=200).map(|seq| message(seq, &"x".repeat(if seq % 9 == 0 { 32_000 } else { 900 }))).collect();
    let parts = Segment::new("bob", [9; 16], 2, messages.clone()).split();
    assert!(parts.len() > 1 && parts.len() < 5, "{}", parts.len());
    for part in &parts {
        assert!(part.encode().unwrap().len() <= PLAINTEXT);
        assert_eq!((part.chat.as_str(), part.conversation, part.era), ("bob", [9; 16], 2));
    }
    assert_eq!(parts.into_iter().flat_map(|part| part.messages).collect::<Vec<_>>(), messages);
    assert!(Segment::new("bob", [9; 16], 2, vec![]).split().is_empty());
    let giant = Segment::new("bob", [9; 16], 2, vec![message(1, &"x".repeat(SEGMENT))]);
    assert_eq!(giant.encode(), Err(BackupError::TooLong));
}

#[test]
fn a_later_version_is_recognised_and_its_appended_fields_are_skipped() {
    let plaintext = segment().encode().unwrap();
    assert_eq!(plaintext[..2], [0x85, 1]);
    let mut newer = plaintext.to_vec();
    newer[1] = 2;
    assert_eq!(Segment::decode(&newer), Err(BackupError::Newer));
    let mut longer = plaintext.to_vec();
    longer[0] = 0x86;
    longer.extend([0x63, b'n', b'e', b'w']);
    assert_eq!(Segment::decode(&longer), Ok(segment()));
    longer.push(0);
    assert_eq!(Segment::decode(&longer), Err(BackupError::Malformed));
    for end in 0..plaintext.len() {
        assert_eq!(Segment::decode(&plaintext[..end]), Err(BackupError::Malformed), "cut at {end}");
    }
    // A count beyond the bytes.
    let mut bomb = plaintext[..2].to_vec();
    bomb.extend([0x61, b'b', 0x50]);
    bomb.extend([9; 16]);
    bomb.extend([1, 0x9b, 0, 0, 0, 255, 255, 255, 255, 255]);
    assert_eq!(Segment::decode(&bomb), Err(BackupError::Malformed));
}

#[test]
fn what_was_said_is_never_printed() {
    let shown = format!("{:?}", segment());
    assert!(!shown.contains("missing") && shown.contains("seq: 2"), "{shown}");
}

proptest! {
    #[test]
    fn whatever_bytes_say_they_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Segment::decode(&bytes);
        let _ = open_segment(&key(), "alice", &ID, &bytes);
        let head = [&[0x85, 1, 0x61, b'b', 0x50][..], &[9; 16], &[1], &bytes].concat();
        let _ = Segment::decode(&head);
    }

    #[test]
    fn every_segment_survives_encoding(seqs in prop::collection::vec((any::<u64>(), ".{0,40}", any::<bool>()), 0..20)) {
        let messages = seqs.iter().map(|(seq, text, delivered)| Message { delivered: *delivered, ..message(*seq, text) });
        let segment = Segment::new("bob", [9; 16], 1, messages.collect());
        let bytes = segment.encode().unwrap();
        prop_assert_eq!(bytes.len(), minicbor::len(&segment));
        prop_assert_eq!(Segment::decode(&bytes), Ok(segment));
    }
}

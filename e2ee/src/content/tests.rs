use super::*;
use crate::{account::AccountKey, backup::GenerationKey};
use proptest::prelude::*;

const ID: [u8; 16] = [7; 16];

type Written = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

fn content(body: Body) -> Content {
    Content { id: ID, sent_at_ms: 1_800_000_000_000, body, seen: None, lifetime: None }
}

/// Pads what a foreign client has written after the id and the time.
fn foreign(fields: u64, version: u64, rest: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> Written) -> Zeroizing<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut e = Encoder::new(&mut bytes);
    e.array(fields).unwrap().u64(version).unwrap().bytes(&ID).unwrap().u64(1_800_000_000_000).unwrap();
    rest(&mut e).unwrap();
    pad(&bytes).unwrap()
}

#[test]
fn contents_survive_encoding() {
    for body in [
        Body::Text(String::new()),
        Body::Text("grüß dich 🐦".to_owned()),
        Body::Text("x".repeat(TEXT)),
        Body::Profile { full_name: None },
        Body::Profile { full_name: Some("Alice Liddell".to_owned()) },
        Body::Receipt { delivered: u64::MAX },
        sync(Sync::Read { conversation: [1; 16], era: u32::MAX, seq: u64::MAX }),
        sync(Sync::Verified { username: "b".repeat(64), fingerprint: [2; 32], verified: true }),
        sync(Sync::Trusted { username: "bob".to_owned(), fingerprint: [2; 32] }),
        sync(Sync::Keys(keys(None))),
        sync(Sync::Keys(keys(Some(GenerationKey::from_bytes(u32::MAX, &[4; 32]))))),
        Body::Ask { from: 7, to: u64::MAX },
        Body::Told(Told { from: 1, to: 1, messages: vec![] }),
        Body::Reply { to: target("bob"), text: "x".repeat(TEXT) },
        Body::File(Box::new(file())),
        Body::File(Box::new(File { media: Some(media()), ..file() })),
        Body::File(Box::new(File { media: Some(Media::default()), ..file() })),
        Body::Timer(None),
        Body::Timer(Some(u32::MAX)),
        Body::Read { read: 7 },
        Body::Typing(true),
        Body::Presence(Presence::default()),
        Body::Presence(Presence { own: There::Away, ask: true, others: vec![There::Here; PLACES] }),
        Body::Change(Change::Edit { id: [9; 16], text: "x".repeat(TEXT) }),
        Body::Change(Change::Delete(target(&"b".repeat(64)))),
        Body::Change(Change::React { to: target("bob"), reactions: vec!["🐦".repeat(16); REACTIONS] }),
        Body::Change(Change::React { to: target("bob"), reactions: vec![] }),
        Body::Change(Change::Pin { to: target("bob"), pinned: true }),
        sync(Sync::Setting { name: "muted/bob".to_owned(), value: "x".repeat(256), at_ms: 7 }),
        Body::Told(Told { from: 1, to: 9, messages: vec![told(1, "hi"), told(9, &"x".repeat(TEXT))] }),
        Body::Told(Told { from: 1, to: 9, messages: vec![told_file(3)] }),
        Body::Told(Told { from: 1, to: 9, messages: vec![edited(told(1, "hi")), edited(told_file(3))] }),
    ] {
        let seen = Some(Seen { seq: u64::MAX, digest: [8; 32] });
        for (seen, lifetime) in [(None, None), (seen, None), (None, Some(u32::MAX)), (seen, Some(1))] {
            let content = Content { seen, lifetime, ..content(body.clone()) };
            let bytes = encode(&content).unwrap();
            assert_eq!(decode(&bytes), Ok(content.clone()));
            assert_eq!(from_bytes(&to_bytes(&content).unwrap()), Ok(content));
        }
    }
}

fn file() -> File {
    File {
        name: "a".repeat(FILE_NAME),
        media_type: "image/png".to_owned(),
        size: 4081,
        sealed: 16384,
        attachment: [1; 32],
        key: crate::attachment::FileKey::from_bytes([2; 32]),
        digest: [3; 32],
        caption: "x".repeat(TEXT),
        media: None,
    }
}

fn media() -> Media {
    Media { dimensions: Some((4032, 3024)), duration_ms: Some(u64::MAX), thumbnail: Some(vec![0xff; THUMBNAIL]) }
}

fn told_file(seq: u64) -> ToldMessage {
    let file = File { caption: "the lagoon".to_owned(), media: Some(media()), ..file() };
    ToldMessage { file: Some(Box::new(file)), ..told(seq, "the lagoon") }
}

#[test]
fn an_older_client_reads_a_file_without_what_it_does_not_know() {
    // As the client wrote and reads it that knew no pictures: eight fields, what follows is skipped.
    let written = |file: &File| {
        let mut bytes = Vec::new();
        file.write(&mut Encoder::new(&mut bytes)).unwrap();
        bytes
    };
    let (old, new) = (written(&file()), written(&File { media: Some(media()), ..file() }));
    assert_eq!((old[0], new[0]), (0x88, 0x89));
    assert_eq!(old[1..], new[1..old.len()]);
    assert_eq!(File::read(&mut Decoder::new(&old)).unwrap(), file());
}

#[test]
fn a_file_that_cannot_be_is_refused() {
    let refused = |change: &dyn Fn(&mut File)| {
        let mut file = file();
        change(&mut file);
        let mut bytes = Vec::new();
        file.write(
            Encoder::new(&mut bytes)
                .array(5)
                .unwrap()
                .u64(VERSION)
                .unwrap()
                .bytes(&ID)
                .unwrap()
                .u64(7)
                .unwrap()
                .u64(FILE_KIND)
                .unwrap(),
        )
        .unwrap();
        from_bytes(&bytes).unwrap_err()
    };
    assert_eq!(refused(&|file| file.name.push('a')), ContentError::TooLong);
    assert_eq!(refused(&|file| file.media_type = "x".repeat(MEDIA_TYPE + 1)), ContentError::TooLong);
    assert_eq!(refused(&|file| file.size = 16384), ContentError::Malformed);
    assert_eq!(refused(&|file| file.sealed = u64::MAX), ContentError::Malformed);
    assert_eq!(refused(&|file| file.sealed = 0), ContentError::Malformed);
    let refused_media = |media: Media| refused(&|file| file.media = Some(media.clone()));
    assert_eq!(refused_media(Media { dimensions: Some((0, 7)), ..media() }), ContentError::Malformed);
    assert_eq!(refused_media(Media { thumbnail: Some(vec![0; THUMBNAIL + 1]), ..media() }), ContentError::TooLong);
    assert!(!format!("{:?}", file()).contains("02020202"));
}

fn target(author: &str) -> Target {
    Target { author: author.to_owned(), id: [9; 16] }
}

fn sync(sync: Sync) -> Body {
    Body::Sync(Box::new(sync))
}

fn keys(generation: Option<GenerationKey>) -> Keys {
    Keys { account: AccountKey::from_bytes(&[3; 32]), generation }
}

fn told(seq: u64, text: &str) -> ToldMessage {
    let author = "bob".to_owned();
    ToldMessage {
        seq,
        id: [9; 16],
        author,
        sent_at_ms: 1_800_000_000_000,
        text: text.to_owned(),
        file: None,
        edited: None,
    }
}

fn edited(message: ToldMessage) -> ToldMessage {
    ToldMessage { edited: Some(Edited { at_ms: 1_800_000_005_000, seq: u64::MAX }), ..message }
}

#[test]
fn the_encoding_is_what_it_was() {
    let bytes = encode(&content(Body::Text("hi".to_owned()))).unwrap();
    let golden =
        [&[0, 0, 0, 32, 0x85, 1, 0x50][..], &ID, &[0x1b, 0, 0, 1, 0xa3, 0x18, 0x5c, 0x50, 0, 1, 0x62], b"hi"].concat();
    assert_eq!(bytes[..golden.len()], golden);
    assert_eq!(bytes.len(), 256);
}

#[test]
fn short_messages_look_alike() {
    let lengths = ["no", "yes, and here is at some length why I think so"]
        .map(|text| encode(&content(Body::Text(text.to_owned()))).unwrap().len());
    assert_eq!(lengths, [256, 256]);
}

#[test]
fn what_only_a_newer_client_understands_is_recognised() {
    let newer_kind = foreign(5, 1, |e| e.u64(50)?.map(1)?.str("a")?.u8(1)?.ok());
    let newer_version = foreign(4, 2, |e| e.str("whatever")?.ok());
    for bytes in [newer_kind, newer_version] {
        assert_eq!(decode(&bytes), Ok(content(Body::Unknown)));
    }
    for kind in [100, 1000] {
        let silent = foreign(5, 1, |e| e.u64(kind)?.map(1)?.str("a")?.u8(1)?.ok());
        assert_eq!(decode(&silent), Ok(content(Body::Silent)));
    }
    let newer_sync = foreign(5, 1, |e| e.u64(SYNC_KIND)?.array(2)?.u8(99)?.map(1)?.u8(0)?.u8(1)?.ok());
    assert_eq!(decode(&newer_sync), Ok(content(sync(Sync::Unknown))));
    assert_eq!(encode(&content(sync(Sync::Unknown))), Err(ContentError::Unknown));
    assert_eq!(encode(&content(Body::Silent)), Err(ContentError::Unknown));
    assert_eq!(encode(&content(Body::Unknown)), Err(ContentError::Unknown));
}

#[test]
fn appended_fields_are_skipped() {
    let bytes = foreign(8, 1, |e| e.u64(TEXT_KIND)?.str("hello")?.null()?.null()?.array(1)?.u8(1)?.ok());
    assert_eq!(decode(&bytes), Ok(content(Body::Text("hello".to_owned()))));
    let bytes = foreign(5, 1, |e| e.u64(ASK_KIND)?.array(3)?.u8(1)?.u8(2)?.str("more")?.ok());
    assert_eq!(decode(&bytes), Ok(content(Body::Ask { from: 1, to: 2 })));
    let bytes = foreign(5, 1, |e| {
        e.u64(SYNC_KIND)?.array(5)?.u8(3)?.str("bob")?.bytes(&[2; 32])?.str("more")?.str("and more")?.ok()
    });
    let trusted = Sync::Trusted { username: "bob".to_owned(), fingerprint: [2; 32] };
    assert_eq!(decode(&bytes), Ok(content(sync(trusted))));
}

#[test]
fn what_the_writer_saw_comes_with_every_content_of_this_version() {
    let seen = Some(Seen { seq: 5, digest: [8; 32] });
    let text = Content { seen, ..content(Body::Text("hi".to_owned())) };
    let plain = encode(&content(Body::Text("hi".to_owned()))).unwrap();
    let bytes = encode(&text).unwrap();
    // The field is appended: what stands before it is as it was, but for the lengths.
    assert_eq!(bytes[5..36], plain[5..36]);
    assert_eq!(bytes[36..40], [0x82, 5, 0x58, 32]);
    assert_eq!(bytes[40..72], [8; 32]);
    // Also with a kind that only a later client knows.
    let newer = foreign(6, 1, |e| e.u64(50)?.str("new")?.array(3)?.u8(5)?.bytes(&[8; 32])?.null()?.ok());
    assert_eq!(decode(&newer), Ok(Content { seen, ..content(Body::Unknown) }));
}

#[test]
fn too_long_is_refused_when_writing_and_when_reading() {
    let text = "x".repeat(TEXT + 1);
    assert_eq!(encode(&content(Body::Text(text.clone()))), Err(ContentError::TooLong));
    let bytes = foreign(5, 1, |e| e.u64(TEXT_KIND)?.str(&text)?.ok());
    assert_eq!(decode(&bytes), Err(ContentError::TooLong));
    assert_eq!(decode(&vec![0; CONTENT + 1]), Err(ContentError::TooLong));
}

#[test]
fn malformed_contents_are_refused() {
    let good = encode(&content(Body::Text("hello".to_owned()))).unwrap();
    let malformed = [
        pad(b"").unwrap(),
        pad(&[0x85]).unwrap(),
        pad(&[0x9b, 255, 255, 255, 255, 255, 255, 255, 255, 1]).unwrap(),
        pad(&[0x80]).unwrap(),
        foreign(4, 1, |e| e.u64(TEXT_KIND)?.ok()),
        foreign(5, 1, |e| e.u64(TEXT_KIND)?.u8(3)?.ok()),
        foreign(5, 1, |e| e.u64(TEXT_KIND)?.str("a")?.u8(3)?.ok()),
        // A text that is no UTF-8, and an endless array.
        foreign(5, 1, |e| {
            e.u64(TEXT_KIND)?.writer_mut().extend([0x61, 0xff]);
            Ok(())
        }),
        pad(&[0x9f, 1]).unwrap(),
        // What was seen, with a digest that is too short.
        foreign(6, 1, |e| e.u64(TEXT_KIND)?.str("a")?.array(2)?.u8(1)?.bytes(&[1; 31])?.ok()),
        foreign(6, 1, |e| e.u64(TEXT_KIND)?.str("a")?.array(1)?.u8(1)?.ok()),
        // A lifetime that is none, a message of nobody, too many reactions, an empty one.
        foreign(7, 1, |e| e.u64(TEXT_KIND)?.str("a")?.null()?.str("long")?.ok()),
        foreign(5, 1, |e| e.u64(change::DELETE_KIND)?.array(2)?.str("")?.bytes(&ID)?.ok()),
        foreign(5, 1, |e| e.u64(REPLY_KIND)?.array(3)?.str("")?.bytes(&ID)?.str("hi")?.ok()),
        foreign(5, 1, |e| e.u64(change::REACT_KIND)?.array(3)?.str("b")?.bytes(&ID)?.array(u64::MAX)?.ok()),
        foreign(5, 1, |e| e.u64(change::REACT_KIND)?.array(3)?.str("b")?.bytes(&ID)?.array(1)?.str("")?.ok()),
        // A range that ends before it begins, a name that is none, messages out of order or out of the range.
        foreign(5, 1, |e| e.u64(ASK_KIND)?.array(2)?.u8(2)?.u8(1)?.ok()),
        foreign(5, 1, |e| e.u64(SYNC_KIND)?.array(0)?.ok()),
        foreign(5, 1, |e| e.u64(SYNC_KIND)?.array(2)?.u8(1)?.u8(1)?.ok()),
        foreign(5, 1, |e| e.u64(SYNC_KIND)?.array(3)?.u8(3)?.str("")?.bytes(&[2; 32])?.ok()),
        foreign(5, 1, |e| e.u64(SYNC_KIND)?.array(3)?.u8(3)?.str(&"b".repeat(65))?.bytes(&[2; 32])?.ok()),
        foreign(5, 1, |e| e.u64(TOLD_KIND)?.array(3)?.u8(1)?.u8(9)?.array(u64::MAX)?.ok()),
        foreign(5, 1, |e| Told { from: 1, to: 9, messages: vec![told(2, "a"), told(2, "b")] }.write(e.u64(TOLD_KIND)?)),
        foreign(5, 1, |e| Told { from: 1, to: 9, messages: vec![told(3, "a"), told(2, "b")] }.write(e.u64(TOLD_KIND)?)),
        foreign(5, 1, |e| Told { from: 1, to: 9, messages: vec![told(10, "a")] }.write(e.u64(TOLD_KIND)?)),
        foreign(5, 1, |e| Told { from: 2, to: 1, messages: vec![] }.write(e.u64(TOLD_KIND)?)),
    ];
    for bytes in malformed {
        assert_eq!(decode(&bytes), Err(ContentError::Malformed), "{:02x?}", &bytes[..40]);
    }
    // A cut or a flipped byte never panics.
    for end in 0..good.len() {
        let _ = decode(&good[..end]);
    }
    for at in 0..64 {
        let mut bytes = good.clone();
        bytes[at] ^= 0xff;
        let _ = decode(&bytes);
    }
}

#[test]
fn a_long_answer_is_cut_into_messages_that_fit() {
    let mut messages: Vec<_> =
        (10..200).map(|seq| told(seq, &"x".repeat(if seq % 7 == 0 { TEXT } else { 900 }))).collect();
    let expected = messages.clone();
    // What does not belong into the answer.
    messages.extend([told(9, "before"), told(300, "after"), told(11, "again"), told(250, &"x".repeat(TEXT + 1))]);
    messages.push(ToldMessage { author: String::new(), ..told(251, "by nobody") });
    let answers = Told::cut(10, 251, messages);
    assert!(answers.len() > 10);
    let mut next = 10;
    for answer in &answers {
        assert_eq!(answer.from, next);
        next = answer.to + 1;
        let content = content(Body::Told(answer.clone()));
        let content = Content { seen: Some(Seen { seq: u64::MAX, digest: [8; 32] }), ..content };
        assert_eq!(decode(&encode(&content).unwrap()), Ok(content));
    }
    assert_eq!(next, 252);
    assert_eq!(answers.into_iter().flat_map(|answer| answer.messages).collect::<Vec<_>>(), expected);
    assert_eq!(Told::cut(1, 5, vec![]), [Told { from: 1, to: 5, messages: vec![] }]);
}

#[test]
fn an_answer_that_does_not_fit_is_refused() {
    let messages: Vec<_> = (1..=3).map(|seq| told(seq, &"x".repeat(TEXT))).collect();
    assert_eq!(encode(&content(Body::Told(Told { from: 1, to: 3, messages }))), Err(ContentError::TooLong));
    let long = Told { from: 1, to: 3, messages: vec![told(1, &"x".repeat(TEXT + 1))] };
    assert_eq!(encode(&content(Body::Told(long))), Err(ContentError::TooLong));
}

#[test]
fn keys_are_never_printed() {
    let shown = format!("{:?}", content(sync(Sync::Keys(keys(Some(GenerationKey::from_bytes(1, &[77; 32])))))));
    assert!(!shown.contains("77") && !shown.contains("3, 3"), "{shown}");
}

#[test]
fn the_encodings_of_what_devices_tell_each_other_are_what_they_were() {
    let encoded = |body| to_bytes(&content(body)).unwrap()[28..].to_vec();
    assert_eq!(encoded(Body::Ask { from: 1, to: 2 }), [0x18, 65, 0x82, 1, 2]);
    let read = Sync::Read { conversation: [1; 16], era: 2, seq: 3 };
    assert_eq!(encoded(sync(read)), [&[0x18, 64, 0x84, 1, 0x50][..], &[1; 16], &[2, 3]].concat());
    let verified = Sync::Verified { username: "b".to_owned(), fingerprint: [2; 32], verified: false };
    assert_eq!(encoded(sync(verified)), [&[0x18, 64, 0x84, 2, 0x61, b'b', 0x58, 32][..], &[2; 32], &[0xf4]].concat());
    let trusted = Sync::Trusted { username: "b".to_owned(), fingerprint: [2; 32] };
    assert_eq!(encoded(sync(trusted)), [&[0x18, 64, 0x83, 3, 0x61, b'b', 0x58, 32][..], &[2; 32]].concat());
    let new = Sync::Keys(keys(Some(GenerationKey::from_bytes(1, &[4; 32]))));
    let golden = [&[0x18, 64, 0x83, 4, 0x58, 32][..], &[3; 32], &[0x82, 1, 0x58, 32], &[4; 32]].concat();
    assert_eq!(encoded(sync(new)), golden);
    let told = Told { from: 1, to: 2, messages: vec![ToldMessage { sent_at_ms: 5, ..told(1, "a") }] };
    let golden =
        [&[0x18, 66, 0x83, 1, 2, 0x81, 0x85, 1, 0x50][..], &[9; 16], &[0x63], b"bob", &[5, 0x61, b'a']].concat();
    assert_eq!(encoded(Body::Told(told)), golden);
}

#[test]
fn who_is_there_is_told_of_so_many_members_at_most() {
    let told = |places| Body::Presence(Presence { others: vec![There::Here; places], ..Presence::default() });
    assert_eq!(encode(&content(told(PLACES + 1))), Err(ContentError::Malformed));
    // With all of them it still fits where signals are padded to.
    assert_eq!(encode(&content(told(PLACES))).unwrap().len(), 256);
}

#[test]
fn the_encodings_of_what_is_done_to_messages_are_what_they_were() {
    let encoded = |body| to_bytes(&content(body)).unwrap()[28..].to_vec();
    let target = [&[0x61, b'b', 0x50][..], &[9; 16]].concat();
    let to = || Target { author: "b".to_owned(), id: [9; 16] };
    let reply = encoded(Body::Reply { to: to(), text: "a".to_owned() });
    assert_eq!(reply, [&[4, 0x83][..], &target, &[0x61, b'a']].concat());
    assert_eq!(encoded(Body::Timer(Some(60))), [5, 0x18, 60]);
    assert_eq!(encoded(Body::Timer(None)), [5, 0xf6]);
    let edit = encoded(Body::Change(Change::Edit { id: [9; 16], text: "a".to_owned() }));
    assert_eq!(edit, [&[0x18, 67, 0x82, 0x50][..], &[9; 16], &[0x61, b'a']].concat());
    assert_eq!(encoded(Body::Change(Change::Delete(to()))), [&[0x18, 68, 0x82][..], &target].concat());
    let react = encoded(Body::Change(Change::React { to: to(), reactions: vec!["+".to_owned()] }));
    assert_eq!(react, [&[0x18, 69, 0x83][..], &target, &[0x81, 0x61, b'+']].concat());
    let pin = encoded(Body::Change(Change::Pin { to: to(), pinned: true }));
    assert_eq!(pin, [&[0x18, 70, 0x83][..], &target, &[0xf5]].concat());
    assert_eq!(encoded(Body::Read { read: 5 }), [0x18, 71, 5]);
    assert_eq!(encoded(Body::Typing(true)), [0x18, 72, 0xf5]);
    let others = vec![There::Here, There::Unsaid, There::Away, There::Gone, There::Here];
    let presence = |ask, others| encoded(Body::Presence(Presence { own: There::Here, ask, others }));
    assert_eq!(presence(true, vec![]), [0x18, 73, 0x83, 3, 0xf5, 0xf6]);
    assert_eq!(presence(false, others), [0x18, 73, 0x83, 3, 0xf4, 0x42, 0b0110_0011, 3]);
    let setting = Sync::Setting { name: "a".to_owned(), value: "b".to_owned(), at_ms: 3 };
    assert_eq!(encoded(sync(setting)), [0x18, 64, 0x84, 10, 0x61, b'a', 0x61, b'b', 3]);
    let lasting = Content { lifetime: Some(9), ..content(Body::Text("a".to_owned())) };
    assert_eq!(to_bytes(&lasting).unwrap()[28..], [1, 0x61, b'a', 0xf6, 9]);
}

proptest! {
    #[test]
    fn whatever_a_peer_writes_decodes_within_bounds_or_is_refused(
        fields in 0_u64..8,
        kind in prop_oneof![0_u64..7, 60_u64..76, any::<u64>()],
        rest in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = decode(&rest);
        let _ = from_bytes(&rest);
        let bytes = foreign(fields, 1, |e| {
            e.u64(kind)?.writer_mut().extend(rest);
            Ok(())
        });
        if let Ok(content) = decode(&bytes) {
            // What is understood is what would be written again.
            if let Ok(again) = encode(&content) {
                prop_assert_eq!(decode(&again), Ok(content));
            }
        }
    }
}

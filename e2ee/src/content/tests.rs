use super::*;

const ID: [u8; 16] = [7; 16];

type Written = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

fn content(body: Body) -> Content {
    Content { id: ID, sent_at_ms: 1_800_000_000_000, body }
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
    ] {
        let content = content(body);
        assert_eq!(decode(&encode(&content).unwrap()), Ok(content));
    }
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
    let newer_kind = foreign(5, 1, |e| e.u64(99)?.map(1)?.str("a")?.u8(1)?.ok());
    let newer_version = foreign(4, 2, |e| e.str("whatever")?.ok());
    for bytes in [newer_kind, newer_version] {
        assert_eq!(decode(&bytes), Ok(content(Body::Unknown)));
    }
    assert_eq!(encode(&content(Body::Unknown)), Err(ContentError::Unknown));
}

#[test]
fn appended_fields_are_skipped() {
    let bytes = foreign(6, 1, |e| e.u64(TEXT_KIND)?.str("hello")?.array(1)?.u8(1)?.ok());
    assert_eq!(decode(&bytes), Ok(content(Body::Text("hello".to_owned()))));
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

use super::*;
use crate::account::testing::rng;
use aes_gcm::{
    KeyInit,
    aead::{Aead, Payload},
};
use proptest::prelude::*;

/// Three chunks, the last one short.
fn sealed_file(key: &FileKey) -> (Shape, Vec<u8>, Vec<Vec<u8>>) {
    let content: Vec<u8> = (0..2 * CHUNK + 1000).map(|n| (n * 7 / 3) as u8).collect();
    let shape = Shape::of(content.len() as u64).unwrap();
    let cipher = FileCipher::new(key, shape);
    let chunks = (0..shape.chunks()).map(|index| {
        let (start, length) = shape.content(index);
        let mut chunk = content[start as usize..][..length].to_vec();
        cipher.seal(index, &mut chunk).unwrap();
        chunk
    });
    (shape, content.clone(), chunks.collect())
}

fn opened(key: &FileKey, shape: Shape, chunks: &[Vec<u8>]) -> Result<Vec<u8>, WrongChunk> {
    let cipher = FileCipher::new(key, shape);
    if chunks.len() != shape.chunks() as usize {
        return Err(WrongChunk);
    }
    let mut content = Vec::new();
    for (index, chunk) in (0..).zip(chunks) {
        let mut chunk = chunk.clone();
        cipher.open(index, &mut chunk)?;
        content.extend(chunk);
    }
    Ok(content)
}

#[test]
fn a_file_comes_back_and_its_key_is_not_shown() {
    let key = FileKey::generate(&mut rng());
    let (shape, content, chunks) = sealed_file(&key);
    assert!(chunks.len() >= 3);
    assert_eq!(chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>(), shape.sealed());
    assert_eq!(opened(&key, shape, &chunks), Ok(content));
    assert_eq!(opened(&FileKey::from_bytes([9; 32]), shape, &chunks), Err(WrongChunk));
    assert_eq!(format!("{key:?}"), "FileKey(<secret>)");
}

/// The construction, spelt out: AES-256-GCM under the nonce 0 (7 bytes) ‖ place (4) ‖ whether it is the last (1).
#[test]
fn chunks_are_what_the_construction_says() {
    let key = FileKey::from_bytes([0x42; 32]);
    let (shape, content, chunks) = sealed_file(&key);
    let plain = Aes256Gcm::new((&[0x42; 32]).into());
    for (index, chunk) in (0_u32..).zip(&chunks) {
        let mut nonce = [0; 12];
        nonce[7..11].copy_from_slice(&index.to_be_bytes());
        nonce[11] = u8::from(index + 1 == shape.chunks());
        let (start, length) = shape.content(index);
        let mut padded = content[start as usize..][..length].to_vec();
        padded.resize(chunk.len() - TAG, 0);
        let payload = Payload { msg: &padded, aad: b"waxwing attachment 1" };
        assert_eq!(&plain.encrypt(&nonce.into(), payload).unwrap(), chunk);
    }
}

#[test]
fn chunks_that_are_swapped_left_out_or_cut_are_refused() {
    let key = FileKey::generate(&mut rng());
    let (shape, _, chunks) = sealed_file(&key);
    let changed = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut chunks = chunks.clone();
        change(&mut chunks);
        opened(&key, shape, &chunks)
    };
    assert_eq!(changed(&|chunks| chunks.swap(0, 1)), Err(WrongChunk));
    assert_eq!(changed(&|chunks| drop(chunks.pop())), Err(WrongChunk));
    assert_eq!(changed(&|chunks| chunks[1] = chunks[0].clone()), Err(WrongChunk));
    assert_eq!(changed(&|chunks| chunks[2].truncate(100)), Err(WrongChunk));
    assert_eq!(changed(&|chunks| chunks[2].push(0)), Err(WrongChunk));
    // Who claims that the file ends earlier does not get the chunk before for the last one.
    let shorter = Shape::claimed(CHUNK as u64, 2 * CHUNK as u64).unwrap();
    assert_eq!(opened(&key, shorter, &chunks[..2]), Err(WrongChunk));
    // Nor can the size be claimed smaller: what would be padding is not zero.
    let smaller = Shape::claimed(shape.size() - 1, shape.sealed()).unwrap();
    assert_eq!(opened(&key, smaller, &chunks), Err(WrongChunk));
}

#[test]
fn sealed_lengths_are_few_and_hold_their_files() {
    for (size, sealed) in
        [(0, 4096), (1, 4096), (4080, 4096), (4081, 16384), (262_128, 262_144), (262_129, 270_336), (1 << 30, 0)]
    {
        let shape = Shape::of(size).unwrap();
        assert!(sealed == 0 || shape.sealed() == sealed, "{size}: {}", shape.sealed());
    }
    assert!(Shape::of(1 << 30).unwrap().sealed() <= (1 << 30) + (1 << 30) / 20);
    assert_eq!(Shape::of(LARGEST), None);
    assert_eq!(Shape::of(u64::MAX), None);
    for (size, sealed) in [(0, 0), (5, 16), (5, 20), (0, 16), (0, LARGEST + 4096), (4081, 4096), (10, CHUNK as u64 + 3)]
    {
        assert_eq!(Shape::claimed(size, sealed), None, "{size} in {sealed}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_size_has_a_shape_that_holds_it(size in 0..LARGEST / 2) {
        let shape = Shape::of(size).unwrap();
        let held: u64 = (0..shape.chunks()).map(|index| shape.content(index).1 as u64).sum();
        prop_assert_eq!(held, size);
        let sealed: u64 = (0..shape.chunks()).map(|index| shape.sealed_chunk(index) as u64).sum();
        prop_assert_eq!(sealed, shape.sealed());
        prop_assert!(shape.sealed() as f64 <= (size as f64 + 4096.0) * 4.02);
        prop_assert!(size < 1 << 18 || shape.sealed() as f64 <= size as f64 * 1.13);
    }

    #[test]
    fn no_single_change_goes_unnoticed(place in 0_usize..2 * CHUNK + 1000, bit in 0_u8..8) {
        let key = FileKey::from_bytes([3; 32]);
        let (shape, _, mut chunks) = sealed_file(&key);
        chunks[place / CHUNK][place % CHUNK] ^= 1 << bit;
        prop_assert_eq!(opened(&key, shape, &chunks), Err(WrongChunk));
    }
}

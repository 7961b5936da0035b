use super::*;
use image::{Rgb, Rgba, RgbaImage};
use proptest::prelude::*;
use std::{fs, path::Path};

/// What a file with these bytes is told to be.
fn told(bytes: &[u8], media_type: &str) -> Option<Media> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    fs::write(&path, bytes).unwrap();
    of_path(&path, media_type)
}

fn of_path(path: &Path, media_type: &str) -> Option<Media> {
    of(&File::open(path).unwrap(), media_type, fs::metadata(path).unwrap().len())
}

fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A picture that compresses badly.
fn noise(width: u32, height: u32) -> RgbImage {
    let mut state = 7_u32;
    RgbImage::from_fn(width, height, |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [red, green, blue, _] = state.to_be_bytes();
        Rgb([red, green, blue])
    })
}

#[test]
fn pictures_get_a_small_thumbnail_whatever_they_are() {
    let image = DynamicImage::from(noise(400, 225));
    for (format, media_type) in [
        (ImageFormat::Png, "image/png"),
        (ImageFormat::Jpeg, "image/jpeg"),
        (ImageFormat::Gif, "image/gif"),
        (ImageFormat::WebP, "image/webp"),
    ] {
        let media = told(&encoded(&image, format), media_type).unwrap();
        assert_eq!((media.dimensions, media.duration_ms), (Some((400, 225)), None), "{format:?}");
        let thumbnail = media.thumbnail.unwrap();
        assert!(thumbnail.len() <= SMALL, "{format:?}: {}", thumbnail.len());
        let picture = Picture::decode(&thumbnail).unwrap();
        assert!(picture.width() <= 320 && picture.width() * 9 / 16 >= picture.height() - 1, "{picture:?}");
    }
    // A small one is not made larger.
    let dot = DynamicImage::from(RgbaImage::from_pixel(3, 2, Rgba([0, 0, 0, 0])));
    let media = told(&encoded(&dot, ImageFormat::Png), "image/png").unwrap();
    let picture = Picture::decode(&media.thumbnail.unwrap()).unwrap();
    assert_eq!((picture.width(), picture.height()), (3, 2));
    assert!(picture.pixels().iter().all(|colour| *colour > 250), "what is transparent is not white: {picture:?}");
}

/// A JPEG with metadata as cameras write them: on its side, taken somewhere, by somebody.
fn photograph() -> Vec<u8> {
    let jpeg = encoded(&DynamicImage::from(noise(60, 40)), ImageFormat::Jpeg);
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x02".to_vec();
    exif.extend([0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0]); // orientation: 6
    exif.extend([0x01, 0x0f, 0, 2, 0, 0, 0, 26, 0, 0, 0, 38]); // the maker, at offset 38
    exif.extend([0, 0, 0, 0]);
    exif.extend(b"canary GPS 48.8583 N 2.2944\0");
    let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &[0xff, 0xfe, 0, 8], b"canary", &jpeg[2..]].concat()
}

#[test]
fn a_thumbnail_says_nothing_of_place_and_camera_and_stands_upright() {
    let photograph = photograph();
    assert!(photograph.windows(6).any(|window| window == b"canary"));
    let media = told(&photograph, "image/jpeg").unwrap();
    assert_eq!(media.dimensions, Some((40, 60)));
    let thumbnail = media.thumbnail.unwrap();
    for trace in [&b"canary"[..], b"Exif", b"GPS"] {
        assert!(!thumbnail.windows(trace.len()).any(|window| window == trace));
    }
    let picture = Picture::decode(&thumbnail).unwrap();
    assert_eq!((picture.width(), picture.height()), (40, 60));
}

#[test]
fn what_is_no_picture_is_a_file_like_any_other() {
    assert_eq!(told(b"", "image/png"), None);
    assert_eq!(told(b"no picture", "image/jpeg"), None);
    assert_eq!(told(&photograph(), "application/octet-stream"), None);
    assert_eq!(told(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"), None);
    assert_eq!(told(&[0; 4096], "audio/mpeg"), None);
    // A header that claims more pixels than there is memory: four thousand million by as many.
    let mut bomb = encoded(&DynamicImage::from(noise(2, 2)), ImageFormat::Png);
    bomb[16..24].copy_from_slice(&[0xff; 8]);
    assert_eq!(told(&bomb, "image/png"), None);
}

#[test]
fn a_recording_lasts_as_long_as_it_says() {
    // Three seconds of silence, 8,000 samples of one byte in a second.
    let samples = 24_000_u32;
    let mut wav = b"RIFF".to_vec();
    wav.extend((36 + samples).to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    wav.extend(8000_u32.to_le_bytes());
    wav.extend(8000_u32.to_le_bytes());
    wav.extend(b"\x01\0\x08\0data");
    wav.extend(samples.to_le_bytes());
    wav.extend(vec![0x80; samples as usize]);
    let media = told(&wav, "audio/wav").unwrap();
    assert_eq!((media.duration_ms, media.dimensions, media.thumbnail), (Some(3000), None, None));
}

#[test]
fn a_thumbnail_that_is_none_is_not_opened() {
    let small = encoded(&DynamicImage::from(noise(8, 8)), ImageFormat::Jpeg);
    assert!(Picture::decode(&small).is_some());
    for (what, bytes) in [
        ("nothing", Vec::new()),
        ("another format", encoded(&DynamicImage::from(noise(8, 8)), ImageFormat::Png)),
        ("too long", [&small[..], &[0; THUMBNAIL]].concat()),
        ("too large", encoded(&DynamicImage::from(RgbImage::new(513, 1)), ImageFormat::Jpeg)),
        ("cut short in its header", small[..40].to_vec()),
    ] {
        assert_eq!(Picture::decode(&bytes), None, "{what}");
    }
    assert_eq!(Picture::new(2, 2, vec![0; 11]), None);
    assert_eq!(Picture::new(0, 2, Vec::new()), None);
}

#[test]
fn a_picture_is_scaled_to_what_is_asked_for() {
    let picture = Picture::decode(&encoded(&DynamicImage::from(noise(64, 32)), ImageFormat::Jpeg)).unwrap();
    for (width, height) in [(8, 4), (64, 32), (200, 3), (1, 1), (0, 0)] {
        let scaled = picture.scaled(width, height);
        assert_eq!((scaled.width(), scaled.height()), (width.max(1), height.max(1)));
        assert_eq!(scaled.pixels().len(), (scaled.width() * scaled.height() * 3) as usize);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a contact sends as a thumbnail, nothing happens but that there is a picture or none.
    #[test]
    fn damaged_thumbnails_open_or_do_not(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40)) {
        let mut jpeg = encoded(&DynamicImage::from(noise(48, 48)), ImageFormat::Jpeg);
        for (at, byte) in changes {
            let at = at.index(jpeg.len());
            jpeg[at] = byte;
        }
        if let Some(picture) = Picture::decode(&jpeg) {
            prop_assert!(picture.width() <= Picture::SIDE && picture.height() <= Picture::SIDE);
        }
    }

    #[test]
    fn anything_may_be_sent(bytes in prop::collection::vec(any::<u8>(), 0..2000), kind in 0_usize..4) {
        let start: &[u8] = [&b"\xff\xd8\xff"[..], b"\x89PNG\r\n\x1a\n", b"OggS", b"GIF89a"][kind];
        let media_type = ["image/jpeg", "image/png", "audio/ogg", "image/gif"][kind];
        told(&[start, &bytes].concat(), media_type);
    }
}

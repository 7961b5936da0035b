//! Padding: what is encrypted has one of few lengths, so that ciphertexts tell little about what they hold.
//!
//! The invariant: one content has one padded form, and nothing else is accepted as it. Layout: the content's length (4
//! bytes, big-endian), the content, zeros. This module must not know what the content is.

use zeroize::Zeroizing;

/// The first sizes, in bytes; above the last, sizes follow Padmé (at most 12 % more, PURBs 2019 §4).
const SIZES: [usize; 4] = [256, 1024, 4096, 16 * 1024];
/// The length's own length.
const HEADER: usize = 4;

/// Not something that [`pad`] makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("wrong padding")]
pub struct InvalidPadding;

/// The length, in bytes, of a padded content of `length` bytes.
pub fn padded_length(length: usize) -> usize {
    class(length.saturating_add(HEADER), &SIZES)
}

/// The first of the sizes that is long enough; above the last, the size that Padmé gives.
pub(crate) fn class(length: usize, sizes: &[usize]) -> usize {
    sizes.iter().copied().find(|size| length <= *size).unwrap_or_else(|| padme(length))
}

/// Pads a content.
///
/// # Errors
/// [`InvalidPadding`] if it is longer than 4 GiB.
pub fn pad(content: &[u8]) -> Result<Zeroizing<Vec<u8>>, InvalidPadding> {
    pad_to(content, padded_length(content.len()))
}

/// Pads a content to `size` bytes.
///
/// # Errors
/// [`InvalidPadding`] if it does not fit.
pub(crate) fn pad_to(content: &[u8], size: usize) -> Result<Zeroizing<Vec<u8>>, InvalidPadding> {
    let length = u32::try_from(content.len()).map_err(|_| InvalidPadding)?;
    if content.len().saturating_add(HEADER) > size {
        return Err(InvalidPadding);
    }
    // Room for all of it at once: growing would leave copies behind.
    let mut padded = Zeroizing::new(Vec::with_capacity(size));
    padded.extend_from_slice(&length.to_be_bytes());
    padded.extend_from_slice(content);
    padded.resize(size, 0);
    Ok(padded)
}

/// The content of a padded one.
///
/// # Errors
/// [`InvalidPadding`] if the length is out of range or the padding is not zero. Other sizes than ours are accepted.
pub fn unpad(padded: &[u8]) -> Result<&[u8], InvalidPadding> {
    let (length, rest) = padded.split_first_chunk::<HEADER>().ok_or(InvalidPadding)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| InvalidPadding)?;
    let (content, zeros) = rest.split_at_checked(length).ok_or(InvalidPadding)?;
    if zeros.iter().any(|byte| *byte != 0) {
        return Err(InvalidPadding);
    }
    Ok(content)
}

/// Rounds up so that the length has no more significant bits than its exponent has bits.
fn padme(length: usize) -> usize {
    let exponent = length.ilog2();
    let mask = (1 << (exponent - exponent.ilog2() - 1)) - 1;
    length.saturating_add(mask) & !mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_of_like_length_become_equally_long() {
        for (length, padded) in [
            (0, 256),
            (252, 256),
            (253, 1024),
            (1020, 1024),
            (1021, 4096),
            (4093, 16 * 1024),
            (16 * 1024 - 4, 16 * 1024),
            (16 * 1024 - 3, 16 * 1024 + 1024),
            (32 * 1024 - 4, 32 * 1024),
            (32 * 1024 - 3, 32 * 1024 + 2048),
        ] {
            assert_eq!(padded_length(length), padded, "{length}");
            assert_eq!(pad(&vec![7; length]).unwrap().len(), padded, "{length}");
        }
        // Padmé costs at most 12 %.
        assert!((16 * 1024..1 << 20).step_by(977).all(|n| padded_length(n) as f64 <= (n + HEADER) as f64 * 1.12));
    }

    #[test]
    fn padding_comes_off_again() {
        for length in [0, 1, 251, 252, 253, 5000, 40_000] {
            let content = vec![7; length];
            assert_eq!(unpad(&pad(&content).unwrap()).unwrap(), content);
        }
    }

    #[test]
    fn anything_else_than_zeros_after_the_content_is_refused() {
        let mut padded = pad(b"hello").unwrap();
        padded[255] = 1;
        assert_eq!(unpad(&padded), Err(InvalidPadding));
    }

    #[test]
    fn a_length_beyond_the_end_is_refused() {
        for bytes in [&[][..], &[0, 0, 0], &[0, 0, 0, 1], &[255, 255, 255, 255, 0, 0]] {
            assert_eq!(unpad(bytes), Err(InvalidPadding));
        }
        assert_eq!(unpad(&[0, 0, 0, 0]), Ok(&[][..]));
    }
}

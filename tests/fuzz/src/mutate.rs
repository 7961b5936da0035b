//! Random mutation: bytes that were changed, cut, joined and repeated, from seeds. What no toolchain but nightly can do
//! better (following coverage) is `cargo-fuzz`'s part.

use crate::Target;
use fastrand::Rng;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

/// Longer inputs are not made: what grows with its input shows that much earlier.
const LONGEST: usize = 8 * 1024;
/// One input must not take longer than this, even in a build without optimisation on a busy machine.
const SLOW: Duration = Duration::from_secs(20);
/// Numbers at which decoders go wrong.
const NUMBERS: [u64; 10] =
    [0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 0x7fff_ffff_ffff_ffff, u64::MAX];

/// What was found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The input.
    pub input: Vec<u8>,
    /// What it did.
    pub what: String,
}

/// Runs a target with mutations of its seeds until so many runs were made or the time is over. Returns how many runs
/// there were.
///
/// # Errors
/// The first input that makes the target panic, or take too long.
pub fn drive(target: Target, seeds: &[Vec<u8>], rng: &mut Rng, runs: u64, end: Instant) -> Result<u64, Box<Finding>> {
    for seed in seeds {
        once(target, seed)?;
    }
    let mut done = seeds.len() as u64;
    while done < runs && Instant::now() < end {
        once(target, &mutated(seeds, rng))?;
        done += 1;
    }
    Ok(done)
}

/// Runs a target once.
///
/// # Errors
/// It panicked or took too long.
pub fn once(target: Target, input: &[u8]) -> Result<(), Box<Finding>> {
    let begun = Instant::now();
    let finding = |what: &str| Box::new(Finding { input: input.to_owned(), what: what.to_owned() });
    catch_unwind(AssertUnwindSafe(|| target(input))).map_err(|_| finding("it panics"))?;
    if begun.elapsed() > SLOW { Err(finding("it takes too long")) } else { Ok(()) }
}

fn mutated(seeds: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = match seeds.is_empty() || rng.u8(..16) == 0 {
        true => (0..rng.usize(..200)).map(|_| rng.u8(..)).collect(),
        false => seeds[rng.usize(..seeds.len())].clone(),
    };
    for _ in 0..=rng.usize(..6) {
        mutate(&mut bytes, seeds, rng);
    }
    bytes.truncate(LONGEST);
    bytes
}

fn range(length: usize, rng: &mut Rng) -> std::ops::Range<usize> {
    let from = rng.usize(..=length);
    from..rng.usize(from..=length.min(from + 64))
}

fn mutate(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], rng: &mut Rng) {
    let at = rng.usize(..=bytes.len());
    match rng.u8(..9) {
        0 | 1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << rng.u8(..8);
            }
        }
        2 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = rng.u8(..);
            }
        }
        3 => {
            let number = NUMBERS[rng.usize(..NUMBERS.len())].to_be_bytes();
            let width = [1, 2, 4, 8][rng.usize(..4)];
            for (byte, new) in bytes.iter_mut().skip(at).zip(&number[8 - width..]) {
                *byte = *new;
            }
        }
        4 => drop(bytes.drain(range(bytes.len(), rng))),
        5 => {
            let new: Vec<u8> = (0..rng.usize(1..16)).map(|_| rng.u8(..)).collect();
            bytes.splice(at..at, new);
        }
        6 => {
            let again = bytes[range(bytes.len(), rng)].to_vec();
            let times = if rng.u8(..8) == 0 { 64 } else { 1 };
            bytes.splice(at..at, again.repeat(times));
        }
        7 => {
            if let Some(other) = seeds.get(rng.usize(..seeds.len().max(1))) {
                let part = other[range(other.len(), rng)].to_vec();
                bytes.splice(at..at, part);
            }
        }
        _ => bytes.truncate(at),
    }
    bytes.truncate(2 * LONGEST);
}

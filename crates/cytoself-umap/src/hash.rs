//! Content hashes that do not depend on the number of threads.

use rayon::prelude::*;

use crate::rng::mix64;

/// Values hashed by one task.
const CHUNK: usize = 1 << 16;

/// Hash of a two-dimensional array under a name.
pub(crate) fn content_hash<T: Sync>(
    name: &str,
    shape: (usize, usize),
    values: &[T],
    bits: impl Fn(&T) -> u32 + Sync,
) -> u64 {
    let parts: Vec<u64> = values
        .par_chunks(CHUNK)
        .map(|chunk| {
            chunk.iter().fold(0, |h, v| {
                (h ^ u64::from(bits(v)))
                    .wrapping_mul(0x0000_0100_0000_01b3)
                    .rotate_left(23)
            })
        })
        .collect();
    let head = [shape.0 as u64, shape.1 as u64];
    let start = name.bytes().fold(0, |h, b| mix64(h ^ u64::from(b)));
    head.into_iter()
        .chain(parts)
        .fold(start, |h, part| mix64(h ^ part))
}

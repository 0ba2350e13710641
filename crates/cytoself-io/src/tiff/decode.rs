//! From the chunks of a page to the samples of a plane.

use super::bytes::{Bytes, number};
use super::page::{Page, Predictor, Sample};
use crate::npy::half_to_f32;

/// Pixel types of a plane.
pub(crate) trait Pixel: Copy + Default + Send + Sync {
    /// From the bytes of one sample in the page's byte order.
    fn of(sample: Sample, big_endian: bool, bytes: &[u8]) -> Self;
    /// Copies samples that lie together in a plain chunk; false if that needs conversion.
    fn copy(_sample: Sample, _big_endian: bool, _bytes: &[u8], _out: &mut [Self]) -> bool {
        false
    }
}

impl Pixel for u8 {
    fn of(_: Sample, _: bool, bytes: &[u8]) -> Self {
        bytes.first().copied().unwrap_or_default()
    }

    fn copy(_: Sample, _: bool, bytes: &[u8], out: &mut [Self]) -> bool {
        out.copy_from_slice(&bytes[..out.len()]);
        true
    }
}

impl Pixel for u16 {
    fn of(_: Sample, big_endian: bool, bytes: &[u8]) -> Self {
        number(bytes, big_endian) as Self
    }

    fn copy(_: Sample, big_endian: bool, bytes: &[u8], out: &mut [Self]) -> bool {
        let chunks = bytes.as_chunks::<2>().0;
        if big_endian {
            out.iter_mut()
                .zip(chunks)
                .for_each(|(o, b)| *o = Self::from_be_bytes(*b));
        } else {
            out.iter_mut()
                .zip(chunks)
                .for_each(|(o, b)| *o = Self::from_le_bytes(*b));
        }
        true
    }
}

impl Pixel for f32 {
    fn of(sample: Sample, big_endian: bool, bytes: &[u8]) -> Self {
        let bits = number(bytes, big_endian);
        match sample {
            Sample::U8 | Sample::U16 | Sample::U32 => bits as Self,
            Sample::I8 => (bits as i8).into(),
            Sample::I16 => (bits as i16).into(),
            Sample::I32 => (bits as i32) as Self,
            Sample::F16 => half_to_f32(bits as u16),
            Sample::F32 => Self::from_bits(bits as u32),
            Sample::F64 => f64::from_bits(bits) as Self,
        }
    }
}

/// Decodes sample `channel` of `page` into `out`, `[height, width]`; the fault says which chunk failed and why.
pub(super) fn plane<T: Pixel>(
    bytes: &Bytes<'_>,
    page: &Page,
    channel: usize,
    out: &mut [T],
) -> Result<(), String> {
    if let Some(offset) = page.contiguous()
        && let Some(stored) = bytes.slice(offset, (out.len() * page.sample.size()) as u64)
        && T::copy(page.sample, page.big_endian, stored, out)
    {
        return Ok(());
    }
    let per_plane = page.across() * page.down();
    let first = if page.interleaved {
        0
    } else {
        channel * per_plane
    };
    let mut unpacked = Vec::new();
    for index in 0..per_plane {
        let (offset, length) = page.chunks[first + index];
        let place = |found: String| {
            format!(
                "strip or tile {index}: expected {} bytes, found {found}",
                page.chunk_bytes(index)
            )
        };
        let stored = bytes
            .slice(offset, length)
            .ok_or_else(|| place("the end of the file".into()))?;
        let most = page
            .compression
            .largest_ratio()
            .saturating_mul(length.saturating_add(4096));
        if page.chunk_bytes(index) as u64 > most {
            return Err(place(format!(
                "{length} stored bytes, which cannot hold as many"
            )));
        }
        unpacked.resize(page.chunk_bytes(index), 0);
        page.compression
            .unpack(stored, &mut unpacked)
            .map_err(place)?;
        undo_predictor(page, index, &mut unpacked);
        scatter(
            page,
            index,
            if page.interleaved { channel } else { 0 },
            &unpacked,
            out,
        );
    }
    Ok(())
}

/// Copies the samples of one chunk to their place.
fn scatter<T: Pixel>(page: &Page, index: usize, channel: usize, chunk: &[u8], out: &mut [T]) {
    let [chunk_width, chunk_height] = page.chunk;
    let (top, left) = (
        index / page.across() * chunk_height,
        index % page.across() * chunk_width,
    );
    let (size, step) = (
        page.sample.size(),
        page.chunk_samples() * page.sample.size(),
    );
    let width = chunk_width.min(page.width - left);
    for line in 0..page.chunk_lines(index).min(page.height - top) {
        let from = &chunk[line * chunk_width * step..][..chunk_width * step];
        let to = &mut out[(top + line) * page.width + left..][..width];
        // The byte order of a predicted chunk was made little-endian.
        let big_endian = page.big_endian && page.predictor == Predictor::None;
        if step == size && T::copy(page.sample, big_endian, from, to) {
            continue;
        }
        for (pixel, samples) in to.iter_mut().zip(from.chunks_exact(step)) {
            *pixel = T::of(page.sample, big_endian, &samples[channel * size..][..size]);
        }
    }
}

/// Adds neighbours up again; afterwards the samples are little-endian.
fn undo_predictor(page: &Page, index: usize, chunk: &mut [u8]) {
    let (size, samples) = (page.sample.size(), page.chunk_samples());
    let line = page.chunk[0] * samples * size;
    match page.predictor {
        Predictor::None => {}
        Predictor::Horizontal => {
            for line in chunk.chunks_exact_mut(line).take(page.chunk_lines(index)) {
                horizontal(line, size, samples, page.big_endian);
            }
        }
        Predictor::Float => {
            let mut sorted = vec![0; line];
            for line in chunk.chunks_exact_mut(line).take(page.chunk_lines(index)) {
                floating(line, &mut sorted, size, samples);
            }
        }
    }
}

fn horizontal(line: &mut [u8], size: usize, samples: usize, big_endian: bool) {
    let mut before = vec![0_u64; samples];
    for (i, bytes) in line.chunks_exact_mut(size).enumerate() {
        let sum = before[i % samples].wrapping_add(number(bytes, big_endian));
        before[i % samples] = sum;
        bytes.copy_from_slice(&sum.to_le_bytes()[..size]);
    }
}

/// Technical Note 3: bytes of equal weight lie together, most significant first, and neighbouring bytes were subtracted.
fn floating(line: &mut [u8], sorted: &mut [u8], size: usize, samples: usize) {
    for i in samples..line.len() {
        line[i] = line[i].wrapping_add(line[i - samples]);
    }
    let count = line.len() / size;
    for (i, value) in sorted.chunks_exact_mut(size).enumerate() {
        for (k, byte) in value.iter_mut().enumerate() {
            *byte = line[(size - 1 - k) * count + i];
        }
    }
    line.copy_from_slice(sorted);
}

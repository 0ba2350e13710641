//! The compressions of TIFF.

use std::io::Read;
use std::path::Path;

use crate::IoError;

/// How a chunk is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Lzw,
    Deflate,
    PackBits,
    Zstd,
}

impl Compression {
    /// The compression of a tag value, or why it is not read.
    pub(super) fn from_tag(path: &Path, page: usize, value: u64) -> Result<Self, IoError> {
        let name = match value {
            1 => return Ok(Self::None),
            5 => return Ok(Self::Lzw),
            8 | 32946 => return Ok(Self::Deflate),
            32773 => return Ok(Self::PackBits),
            // 34926 is the number that libtiff used before 50000 was registered.
            50000 | 34926 => return Ok(Self::Zstd),
            2..=4 => "CCITT fax",
            6 | 7 | 34892 => "JPEG",
            33003..=33005 | 34712 => "JPEG 2000",
            34925 => "LZMA",
            34887 => "LERC",
            22610 | 34934 => "JPEG XR",
            50001 | 34927 => "WebP",
            50002 | 52546 => "JPEG XL",
            _ => "unknown",
        };
        let what = format!("page {page}: compression {value} ({name})");
        let hint = "convert it first: bfconvert -compression LZW in.tif out.ome.tif (Bio-Formats command line tools)";
        Err(IoError::unsupported(path, what, hint))
    }

    /// The most bytes that one stored byte can become.
    pub(super) fn largest_ratio(self) -> u64 {
        match self {
            Self::None => 1,
            Self::PackBits => 64,
            // One code of 9 to 12 bits stands for at most 4,094 bytes.
            Self::Lzw => 4096,
            Self::Deflate => 1032,
            // An empty block of 3 bytes stands for at most 128 kB.
            Self::Zstd => 44_000,
        }
    }

    /// Unpacks `stored` into `out`, which it must fill.
    pub(super) fn unpack(self, stored: &[u8], out: &mut [u8]) -> Result<(), String> {
        match self {
            Self::None => {
                let found = stored.len();
                let stored = stored
                    .get(..out.len())
                    .ok_or_else(|| format!("{found} bytes"))?;
                out.copy_from_slice(stored);
                Ok(())
            }
            Self::PackBits => unpack_bits(stored, out),
            Self::Lzw => {
                let mut decoder =
                    weezl::decode::Decoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8);
                let mut filled = 0;
                let mut rest = stored;
                while filled < out.len() {
                    let step = decoder.decode_bytes(rest, &mut out[filled..]);
                    rest = &rest[step.consumed_in..];
                    filled += step.consumed_out;
                    match step.status {
                        Ok(weezl::LzwStatus::Ok) if step.consumed_in + step.consumed_out > 0 => {}
                        Ok(_) => break,
                        Err(e) => return Err(e.to_string()),
                    }
                }
                full(filled, out.len())
            }
            Self::Deflate => fill(flate2::read::ZlibDecoder::new(stored), out),
            Self::Zstd => fill(
                zstd::stream::read::Decoder::with_buffer(stored).map_err(|e| e.to_string())?,
                out,
            ),
        }
    }
}

fn full(filled: usize, needed: usize) -> Result<(), String> {
    if filled == needed {
        Ok(())
    } else {
        Err(format!("{filled} bytes after unpacking"))
    }
}

fn fill(mut reader: impl Read, out: &mut [u8]) -> Result<(), String> {
    let mut filled = 0;
    while filled < out.len() {
        match reader.read(&mut out[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) => return Err(format!("{e} after {filled} bytes")),
        }
    }
    full(filled, out.len())
}

/// Apple's run-length code: a count, then that many bytes or one repeated byte.
fn unpack_bits(stored: &[u8], out: &mut [u8]) -> Result<(), String> {
    let (mut from, mut to) = (0, 0);
    while to < out.len() {
        let short = || format!("{to} bytes after unpacking");
        let count = *stored.get(from).ok_or_else(short)? as i8;
        from += 1;
        if count >= 0 {
            let length = (count as usize + 1).min(out.len() - to);
            let run = stored.get(from..from + length).ok_or_else(short)?;
            out[to..to + length].copy_from_slice(run);
            from += count as usize + 1;
            to += length;
        } else if count != -128 {
            let length = (1 - isize::from(count)) as usize;
            let length = length.min(out.len() - to);
            out[to..to + length].fill(*stored.get(from).ok_or_else(short)?);
            from += 1;
            to += length;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_packbits_technote() {
        // Apple Technical Note TN1023.
        let packed = [
            0xfe, 0xaa, 0x02, 0x80, 0x00, 0x2a, 0xfd, 0xaa, 0x03, 0x80, 0x00, 0x2a, 0x22, 0xf7,
            0xaa,
        ];
        let mut out = [0; 24];
        Compression::PackBits.unpack(&packed, &mut out).unwrap();
        assert_eq!(out[..8], [0xaa, 0xaa, 0xaa, 0x80, 0x00, 0x2a, 0xaa, 0xaa]);
        assert_eq!(out[14..], [0xaa; 10]);
        assert!(
            Compression::PackBits
                .unpack(&packed[..14], &mut out)
                .is_err()
        );
    }
}

//! Image file directories: the tags of each page.

use std::collections::HashSet;
use std::path::Path;

use super::bytes::{Bytes, number};
use crate::IoError;

/// Tag numbers used here.
pub(super) mod tag {
    pub const NEW_SUBFILE_TYPE: u16 = 254;
    pub const WIDTH: u16 = 256;
    pub const HEIGHT: u16 = 257;
    pub const BITS: u16 = 258;
    pub const COMPRESSION: u16 = 259;
    pub const PHOTOMETRIC: u16 = 262;
    pub const FILL_ORDER: u16 = 266;
    pub const DESCRIPTION: u16 = 270;
    pub const STRIP_OFFSETS: u16 = 273;
    pub const SAMPLES: u16 = 277;
    pub const ROWS_PER_STRIP: u16 = 278;
    pub const STRIP_COUNTS: u16 = 279;
    pub const X_RESOLUTION: u16 = 282;
    pub const PLANAR: u16 = 284;
    pub const PREDICTOR: u16 = 317;
    pub const TILE_WIDTH: u16 = 322;
    pub const TILE_HEIGHT: u16 = 323;
    pub const TILE_OFFSETS: u16 = 324;
    pub const TILE_COUNTS: u16 = 325;
    pub const SAMPLE_FORMAT: u16 = 339;
    pub const MICROMANAGER: u16 = 51123;
}

/// A page's tags.
#[derive(Debug, Clone)]
pub(super) struct Ifd<'a> {
    entries: Vec<Entry<'a>>,
    big_endian: bool,
}

#[derive(Debug, Clone)]
struct Entry<'a> {
    tag: u16,
    width: u64,
    value: &'a [u8],
}

impl<'a> Ifd<'a> {
    fn find(&self, tag: u16) -> Option<&Entry<'a>> {
        self.entries.iter().find(|e| e.tag == tag)
    }

    /// All numbers of an integer tag.
    pub(super) fn integers(&self, tag: u16) -> Option<Vec<u64>> {
        let entry = self.find(tag)?;
        Some(
            entry
                .value
                .chunks_exact(entry.width as usize)
                .map(|b| number(b, self.big_endian))
                .collect(),
        )
    }

    /// The first number of an integer tag.
    pub(super) fn integer(&self, tag: u16) -> Option<u64> {
        let entry = self.find(tag)?;
        entry
            .value
            .get(..entry.width as usize)
            .map(|b| number(b, self.big_endian))
    }

    /// A text tag, up to its first zero byte; bytes that are not UTF-8 are read as Latin-1, as older ImageJ writes them.
    pub(super) fn text(&self, tag: u16) -> Option<String> {
        let value = self.find(tag)?.value;
        let value = &value[..value.iter().position(|&b| b == 0).unwrap_or(value.len())];
        Some(match std::str::from_utf8(value) {
            Ok(text) => text.to_string(),
            Err(_) => value.iter().map(|&b| char::from(b)).collect(),
        })
    }

    /// A rational tag.
    pub(super) fn rational(&self, tag: u16) -> Option<f64> {
        let entry = self.find(tag)?;
        let of = |range| {
            entry
                .value
                .get(range)
                .map(|b| number(b, self.big_endian) as f64)
        };
        Some(of(0..4)? / of(4..8)?).filter(|v| v.is_finite() && *v > 0.0)
    }
}

/// Byte width of a field type; `None` for a type that does not exist.
fn width(kind: u64) -> Option<u64> {
    Some(match kind {
        1 | 2 | 6 | 7 => 1,
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16 | 17 | 18 => 8,
        _ => return None,
    })
}

/// The directories of a file, in order.
pub(super) fn read<'a>(path: &Path, all: &'a [u8]) -> Result<(Vec<Ifd<'a>>, Bytes<'a>), IoError> {
    let magic = || {
        IoError::malformed(
            path,
            "first bytes",
            "a TIFF file (II* or MM*)",
            format!("{:?}", &all[..all.len().min(4)]),
            "",
        )
    };
    let big_endian = match all.get(..2) {
        Some(b"II") => false,
        Some(b"MM") => true,
        _ => return Err(magic()),
    };
    let bytes = Bytes { all, big_endian };
    let big = match bytes.unsigned(2, 2) {
        Some(42) => false,
        Some(43) => true,
        _ => return Err(magic()),
    };
    let first = if big {
        bytes.unsigned(8, 8)
    } else {
        bytes.unsigned(4, 4)
    };
    let mut next = first.ok_or_else(|| truncated(path, 0))?;
    let mut seen = HashSet::new();
    let mut ifds = Vec::new();
    while next != 0 {
        if !seen.insert(next) {
            return Err(IoError::malformed(
                path,
                format!("page {}", ifds.len()),
                "a directory not seen before",
                "a loop",
                "",
            ));
        }
        let (ifd, following) =
            read_one(&bytes, next, big).ok_or_else(|| truncated(path, ifds.len()))?;
        ifds.push(ifd);
        next = following;
    }
    if ifds.is_empty() {
        return Err(IoError::malformed(
            path,
            "first directory",
            "at least one page",
            "none",
            "",
        ));
    }
    Ok((ifds, bytes))
}

fn truncated(path: &Path, page: usize) -> IoError {
    let hint = "the file is truncated: copy or download it again";
    IoError::malformed(
        path,
        format!("page {page}"),
        "a complete directory",
        "the end of the file",
        hint,
    )
}

/// One directory and the offset of the next.
fn read_one<'a>(bytes: &Bytes<'a>, at: u64, big: bool) -> Option<(Ifd<'a>, u64)> {
    let (count_width, entry_width, word) = if big { (8, 20, 8) } else { (2, 12, 4) };
    let count = bytes.unsigned(at, count_width)?;
    let table = bytes.slice(
        at.checked_add(count_width)?,
        count.checked_mul(entry_width)?,
    )?;
    let mut entries = Vec::new();
    for raw in table.chunks_exact(entry_width as usize) {
        let of = |start: usize, length: u64| {
            raw.get(start..start + length as usize)
                .map(|b| number(b, bytes.big_endian))
        };
        let (tag, kind, values) = (of(0, 2)? as u16, of(2, 2)?, of(4, word)?);
        let Some(width) = width(kind) else { continue };
        let length = values.checked_mul(width)?;
        let value = if length <= word {
            raw.get(4 + word as usize..)?.get(..length as usize)?
        } else {
            // A private tag may point anywhere; one that we need is missed later by its name.
            match bytes.slice(of(4 + word as usize, word)?, length) {
                Some(value) => value,
                None => continue,
            }
        };
        entries.push(Entry { tag, width, value });
    }
    let end = at + count_width + count * entry_width;
    // A file cut right after its last directory still has all of that page.
    let next = bytes.unsigned(end, word).unwrap_or(0);
    Some((
        Ifd {
            entries,
            big_endian: bytes.big_endian,
        },
        next,
    ))
}

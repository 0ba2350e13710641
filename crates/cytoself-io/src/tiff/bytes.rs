//! Checked reading of numbers in the byte order of a file.

/// Bytes with a byte order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes<'a> {
    pub all: &'a [u8],
    pub big_endian: bool,
}

impl<'a> Bytes<'a> {
    /// `length` bytes from `offset` on, if the file has them.
    pub(super) fn slice(&self, offset: u64, length: u64) -> Option<&'a [u8]> {
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(usize::try_from(length).ok()?)?;
        self.all.get(start..end)
    }

    /// An unsigned number of 1, 2, 4 or 8 bytes.
    pub(super) fn unsigned(&self, offset: u64, width: u64) -> Option<u64> {
        self.slice(offset, width)
            .map(|b| number(b, self.big_endian))
    }
}

/// An unsigned number of up to 8 bytes.
pub(super) fn number(bytes: &[u8], big_endian: bool) -> u64 {
    let join = |n: u64, b: &u8| n << 8 | u64::from(*b);
    if big_endian {
        bytes.iter().fold(0, join)
    } else {
        bytes.iter().rev().fold(0, join)
    }
}

//! The header of an `.npy` file: a Python dictionary literal with three known keys.

use std::path::Path;

use super::Dtype;
use crate::IoError;

const MAGIC: &[u8] = b"\x93NUMPY";
/// A header longer than this is not one that NumPy wrote.
const LONGEST: usize = 1 << 20;

/// What precedes the data.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Header {
    pub dtype: Dtype,
    /// Column-major order.
    pub fortran: bool,
    pub shape: Vec<usize>,
    /// Byte at which the data begin.
    pub offset: usize,
}

impl Header {
    /// Number of elements; `None` on overflow.
    pub(crate) fn elements(&self) -> Option<usize> {
        self.shape
            .iter()
            .try_fold(1_usize, |n, &s| n.checked_mul(s))
    }

    /// Parses the header, and checks that the data it declares are within `bytes`.
    pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, IoError> {
        let fault = |expected: &str, found: &str| {
            IoError::malformed(path, "npy header", expected, found, "")
        };
        let Some(rest) = bytes.strip_prefix(MAGIC) else {
            return Err(fault("the NumPy magic", "other bytes"));
        };
        let (length, start) = match rest {
            [1, _, a, b, ..] => (usize::from(u16::from_le_bytes([*a, *b])), 10),
            [2 | 3, _, a, b, c, d, ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, 12),
            [major, ..] => return Err(fault("format version 1, 2 or 3", &major.to_string())),
            [] => return Err(fault("a format version", "the end of the file")),
        };
        let text = bytes
            .get(start..start + length.min(LONGEST))
            .filter(|t| t.len() == length)
            .and_then(|t| std::str::from_utf8(t).ok())
            .ok_or_else(|| fault("a complete text header", "a truncated or garbled one"))?;
        let header = parse_dictionary(path, text, start + length)?;
        header.check_size(path, bytes.len())?;
        Ok(header)
    }

    fn check_size(&self, path: &Path, file: usize) -> Result<(), IoError> {
        let Some(size) = self.dtype.size() else {
            return Ok(());
        };
        let sizes = self.shape.iter().map(|&s| s as u64);
        let needed = sizes.fold(size as u64, u64::saturating_mul);
        let available = (file - self.offset) as u64;
        if needed > available {
            return Err(IoError::TooLarge {
                path: path.to_path_buf(),
                what: format!("shape {:?} of {}", self.shape, self.dtype),
                needed,
                available,
                hint: "the file is truncated: copy or download it again".into(),
            });
        }
        Ok(())
    }
}

fn parse_dictionary(path: &Path, text: &str, offset: usize) -> Result<Header, IoError> {
    let fault = |key: &str, expected: &str| {
        let found: String = text.trim_end().chars().take(120).collect();
        IoError::malformed(path, format!("npy header, {key}"), expected, found, "")
    };
    let descr = value_of(text, "descr").ok_or_else(|| fault("descr", "an element type"))?;
    let descr = descr
        .strip_prefix(['\'', '"'])
        .and_then(|d| d.split(['\'', '"']).next())
        .ok_or_else(|| fault("descr", "a single element type, not a record"))?;
    let dtype = Dtype::named(descr).ok_or_else(|| {
        IoError::unsupported(
            path,
            format!("element type {descr}"),
            "save as float32 or uint16",
        )
    })?;
    let fortran = match value_of(text, "fortran_order") {
        Some(v) if v.starts_with("False") => false,
        Some(v) if v.starts_with("True") => true,
        _ => return Err(fault("fortran_order", "True or False")),
    };
    let shape = value_of(text, "shape")
        .and_then(|v| v.strip_prefix('('))
        .and_then(|v| v.split(')').next())
        .and_then(parse_shape)
        .ok_or_else(|| fault("shape", "a tuple of sizes"))?;
    Ok(Header {
        dtype,
        fortran,
        shape,
        offset,
    })
}

/// The text after `'key':`.
fn value_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let at = text
        .find(&format!("'{key}'"))
        .or_else(|| text.find(&format!("\"{key}\"")))?;
    text.get(at + key.len() + 2..)?
        .trim_start()
        .strip_prefix(':')
        .map(str::trim_start)
}

fn parse_shape(text: &str) -> Option<Vec<usize>> {
    // NumPy allows 64 axes; files of Python 2 write a size as 3L.
    let sizes = text
        .split(',')
        .map(|s| s.trim().trim_end_matches('L'))
        .filter(|s| !s.is_empty());
    let shape: Option<Vec<usize>> = sizes.take(65).map(|s| s.parse().ok()).collect();
    shape.filter(|s| s.len() <= 64)
}

/// The bytes of a version 1.0 header for rows whose number may still grow: always 128 bytes or a multiple of 64.
pub(super) fn encode(descr: &str, shape: &[usize], at_least: usize) -> Vec<u8> {
    let mut sizes: String = shape.iter().map(|s| format!("{s}, ")).collect();
    if shape.len() > 1 {
        sizes.truncate(sizes.len() - 2);
    } else {
        sizes.truncate(sizes.trim_end().len());
    }
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({sizes}), }}");
    let total = (MAGIC.len() + 4 + text.len() + 1)
        .next_multiple_of(64)
        .max(at_least);
    text.extend(std::iter::repeat_n(
        ' ',
        total - MAGIC.len() - 4 - text.len() - 1,
    ));
    text.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_huge_declared_shape_is_refused() {
        let bytes = encode("<f8", &[usize::MAX / 2, usize::MAX / 2], 0);
        let error = Header::parse(Path::new("x.npy"), &bytes)
            .unwrap_err()
            .to_string();
        assert!(error.contains("available"), "{error}");
    }

    #[test]
    fn spellings() {
        for (text, shape) in [("(3,)", vec![3]), ("(3L, 4L)", vec![3, 4]), ("()", vec![])] {
            let text = format!("{{\"descr\": \"|u1\", 'fortran_order': True, 'shape': {text}}}");
            let header = parse_dictionary(Path::new("x"), &text, 0).unwrap();
            assert_eq!(header.shape, shape);
            assert!(header.fortran);
        }
    }
}

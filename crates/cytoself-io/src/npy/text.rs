//! Arrays of text: fixed-width, or pickled objects as cytoself ships its labels.

use std::path::Path;

use ndarray::Array2;

use super::element::{Dtype, number};
use super::header::Header;
use crate::IoError;
use crate::map::FileMap;
use crate::pickle;

/// Reads an array of text with one or two axes as `[rows, columns]`; one axis becomes one column.
///
/// Pickled objects are read without running anything: texts, numbers (written as text) and missing values (`None`, NaN: empty)
/// in NumPy's own array container are understood, everything else is refused.
///
/// # Errors
/// - the file cannot be opened or is not an `.npy` file;
/// - the array has more than two axes, or fewer elements than its header says;
/// - a pickled element is of another type.
pub fn read_text(path: &Path) -> Result<Array2<String>, IoError> {
    let map = FileMap::open(path)?;
    let header = Header::parse(path, map.bytes())?;
    let data = map.bytes().get(header.offset..).unwrap_or_default();
    let (rows, columns) = match header.shape[..] {
        [rows] => (rows, 1),
        [rows, columns] => (rows, columns),
        _ => {
            let found = format!("shape {:?}", header.shape);
            return Err(IoError::malformed(
                path,
                "npy header",
                "one or two axes of text",
                found,
                "",
            ));
        }
    };
    let elements = rows.saturating_mul(columns);
    let texts = match header.dtype {
        Dtype::Object => pickle::read_texts(path, data, elements)?,
        dtype => fixed_width(path, dtype, data, elements)?,
    };
    let found = texts.len();
    let shape_fault = |_| {
        IoError::malformed(
            path,
            "pickled array",
            format!("{elements} elements"),
            found,
            "",
        )
    };
    if header.fortran && columns > 1 {
        let array = Array2::from_shape_vec((columns, rows), texts).map_err(shape_fault)?;
        return Ok(array.reversed_axes().as_standard_layout().into_owned());
    }
    Array2::from_shape_vec((rows, columns), texts).map_err(shape_fault)
}

fn fixed_width(
    path: &Path,
    dtype: Dtype,
    data: &[u8],
    elements: usize,
) -> Result<Vec<String>, IoError> {
    let Some(size) = dtype.size().filter(|&s| s > 0) else {
        // Text of width zero: every element is empty, and the file holds nothing for them.
        let most = data.len().max(1 << 20);
        if elements > most {
            return Err(IoError::malformed(
                path,
                "npy header",
                format!("at most {most} empty texts"),
                elements,
                "",
            ));
        }
        return Ok(vec![String::new(); elements]);
    };
    let fault = |i: usize| {
        IoError::malformed(
            path,
            format!("element {i}"),
            "text",
            "bytes that are not characters",
            "",
        )
    };
    data.chunks_exact(size)
        .take(elements)
        .enumerate()
        .map(|(i, bytes)| match dtype {
            Dtype::Unicode { big_endian, .. } => utf32(bytes, big_endian).ok_or_else(|| fault(i)),
            Dtype::Bytes { .. } => {
                let end = bytes.iter().rposition(|&b| b != 0).map_or(0, |e| e + 1);
                String::from_utf8(bytes[..end].to_vec()).map_err(|_| fault(i))
            }
            Dtype::Number { kind, big_endian } => number(kind, big_endian, bytes)
                .map(|n| n.to_string())
                .ok_or_else(|| fault(i)),
            Dtype::Object => Err(fault(i)),
        })
        .collect()
}

/// Decodes UTF-32 padded with zeros.
pub(crate) fn utf32(bytes: &[u8], big_endian: bool) -> Option<String> {
    let codes = bytes.as_chunks::<4>().0.iter().map(|b| {
        if big_endian {
            u32::from_be_bytes(*b)
        } else {
            u32::from_le_bytes(*b)
        }
    });
    let text: Option<String> = codes.map(char::from_u32).collect();
    text.map(|t| t.trim_end_matches('\0').to_string())
}

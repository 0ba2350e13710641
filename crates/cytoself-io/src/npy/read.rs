//! Reading a whole array with conversion of its element type.

use std::path::Path;

use ndarray::{ArrayD, IxDyn, ShapeBuilder};
use rayon::prelude::*;

use super::element::{Conversion, Dtype, Element, number};
use super::header::Header;
use crate::IoError;
use crate::map::FileMap;

/// Reads an array and converts its elements to `T`.
///
/// Floating point types take every number (rounded); integer types take whole numbers within their range.
///
/// # Errors
/// - the file cannot be opened, is not an `.npy` file, or is shorter than its header says;
/// - an element has no equivalent in `T`: the error names it.
pub fn read<T: Element>(path: &Path) -> Result<ArrayD<T>, IoError> {
    let map = FileMap::open(path)?;
    let header = Header::parse(path, map.bytes())?;
    let data = map.bytes().get(header.offset..).unwrap_or_default();
    decode(path, &header, data)
}

/// Decodes the data of `header`, whose size has been checked against `data`.
pub(super) fn decode<T: Element>(
    path: &Path,
    header: &Header,
    data: &[u8],
) -> Result<ArrayD<T>, IoError> {
    let Dtype::Number { kind, big_endian } = header.dtype else {
        return Err(IoError::malformed(
            path,
            "npy header",
            "numbers",
            header.dtype,
            "",
        ));
    };
    let too_large = || {
        IoError::argument(
            "number of elements",
            "below 2^64",
            format!("{:?}", header.shape),
        )
    };
    let elements = header.elements().ok_or_else(too_large)?;
    let size = kind.size();
    let data = data.get(..elements * size).ok_or_else(too_large)?;
    let fault = |index: usize, value: String| {
        let place = format!(
            "element {:?}",
            position(index, &header.shape, header.fortran)
        );
        IoError::malformed(
            path,
            place,
            format!("a value of type {}", T::DESCR),
            value,
            "",
        )
    };
    let same = kind == T::KIND && !big_endian;
    let mut values = vec![T::default(); elements];
    const BLOCK: usize = 1 << 16;
    let blocks = values
        .par_chunks_mut(BLOCK)
        .zip(data.par_chunks(BLOCK * size))
        .enumerate();
    blocks.try_for_each(|(block, (out, bytes))| {
        for (i, (value, b)) in out.iter_mut().zip(bytes.chunks_exact(size)).enumerate() {
            let converted = if same {
                T::from_le(b)
            } else {
                number(kind, big_endian, b).and_then(|n| T::from_number(Conversion(n)))
            };
            *value = converted.ok_or_else(|| {
                let found = number(kind, big_endian, b)
                    .map_or_else(|| "too few bytes".into(), |n| n.to_string());
                fault(block * BLOCK + i, found)
            })?;
        }
        Ok(())
    })?;
    let shape = IxDyn(&header.shape);
    let array = if header.fortran {
        ArrayD::from_shape_vec(shape.f(), values).map(|a| a.as_standard_layout().into_owned())
    } else {
        ArrayD::from_shape_vec(shape, values)
    };
    array.map_err(|e| IoError::malformed(path, "npy header", "a shape that fits the data", e, ""))
}

/// Indices of the element at `index` in file order.
fn position(mut index: usize, shape: &[usize], fortran: bool) -> Vec<usize> {
    let mut position = vec![0; shape.len()];
    let mut axes: Vec<usize> = (0..shape.len()).collect();
    if !fortran {
        axes.reverse();
    }
    for axis in axes {
        position[axis] = index % shape[axis].max(1);
        index /= shape[axis].max(1);
    }
    position
}

/// Reads an array as f32; see [`read`].
///
/// # Errors
/// As [`read`].
pub fn read_f32(path: &Path) -> Result<ArrayD<f32>, IoError> {
    read(path)
}

/// Reads an array as f64; see [`read`].
///
/// # Errors
/// As [`read`].
pub fn read_f64(path: &Path) -> Result<ArrayD<f64>, IoError> {
    read(path)
}

/// Reads an array as u16; see [`read`].
///
/// # Errors
/// As [`read`].
pub fn read_u16(path: &Path) -> Result<ArrayD<u16>, IoError> {
    read(path)
}

/// Reads an array as i64; see [`read`].
///
/// # Errors
/// As [`read`].
pub fn read_i64(path: &Path) -> Result<ArrayD<i64>, IoError> {
    read(path)
}

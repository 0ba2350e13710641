//! Memory-mapped arrays: random access to rows without reading the file.

use std::path::Path;

use ndarray::ArrayViewD;

use super::element::{Conversion, Dtype, Element, NumberKind, number};
use super::header::Header;
use crate::IoError;
use crate::map::FileMap;

/// An array file of numbers, mapped into memory; rows are decoded when asked for.
///
/// The file must not be truncated while it is mapped.
#[derive(Debug)]
pub struct MappedArray {
    map: FileMap,
    header: Header,
    kind: NumberKind,
    big_endian: bool,
}

impl MappedArray {
    /// Maps the array file at `path`.
    ///
    /// # Errors
    /// - the file cannot be opened, or is not an `.npy` file;
    /// - its elements are text or objects;
    /// - it is shorter than its header says.
    pub fn open(path: &Path) -> Result<Self, IoError> {
        let map = FileMap::open(path)?;
        let header = Header::parse(path, map.bytes())?;
        let Dtype::Number { kind, big_endian } = header.dtype else {
            return Err(IoError::malformed(
                path,
                "npy header",
                "numbers",
                header.dtype,
                "",
            ));
        };
        Ok(Self {
            map,
            header,
            kind,
            big_endian,
        })
    }

    /// Sizes of the axes.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.header.shape
    }

    /// Type of the elements.
    #[must_use]
    pub fn dtype(&self) -> Dtype {
        self.header.dtype
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.map.path()
    }

    /// The numbers where they lie in the file, without a copy; `None` unless they are row-major f32 in the byte order of
    /// this machine.
    #[must_use]
    pub fn as_f32(&self) -> Option<ArrayViewD<'_, f32>> {
        let native = self.big_endian == cfg!(target_endian = "big");
        if self.kind != NumberKind::F32 || !native || self.header.fortran {
            return None;
        }
        let bytes = self
            .data()
            .get(..self.header.elements()? * size_of::<f32>())?;
        let numbers = bytemuck::try_cast_slice(bytes).ok()?;
        ArrayViewD::from_shape(self.header.shape.as_slice(), numbers).ok()
    }

    /// Distance between neighbours along each axis, in elements.
    pub(crate) fn strides(&self) -> Vec<usize> {
        let mut strides = vec![1; self.header.shape.len()];
        let mut product = 1;
        let mut set = |axis: usize| {
            strides[axis] = product;
            product *= self.header.shape[axis];
        };
        if self.header.fortran {
            (0..self.header.shape.len()).for_each(&mut set);
        } else {
            (0..self.header.shape.len()).rev().for_each(&mut set);
        }
        strides
    }

    fn data(&self) -> &[u8] {
        self.map
            .bytes()
            .get(self.header.offset..)
            .unwrap_or_default()
    }

    /// Converts `out.len()` elements that lie `step` elements apart, from element `start` on, times `scale`.
    ///
    /// # Errors
    /// - an element is outside the file.
    pub(crate) fn read_strided(
        &self,
        start: usize,
        step: usize,
        scale: f32,
        out: &mut [f32],
    ) -> Result<(), IoError> {
        let size = self.kind.size();
        let outside = || IoError::argument("element", "within the array", start);
        let bytes = self.data().get(start * size..).ok_or_else(outside)?;
        if out.is_empty() {
            return Ok(());
        }
        if bytes.len() < ((out.len() - 1) * step + 1) * size {
            return Err(outside());
        }
        match (self.kind, self.big_endian) {
            (NumberKind::F32, false) if step == 1 => {
                for (o, b) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
                    *o = f32::from_le_bytes(*b);
                }
            }
            (NumberKind::U16, false) if step == 1 => {
                for (o, b) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                    *o = u16::from_le_bytes(*b).into();
                }
            }
            (NumberKind::F32, false) => {
                for (o, b) in out
                    .iter_mut()
                    .zip(bytes.as_chunks::<4>().0.iter().step_by(step))
                {
                    *o = f32::from_le_bytes(*b);
                }
            }
            (kind, big) => {
                for (o, b) in out.iter_mut().zip(bytes.chunks_exact(size).step_by(step)) {
                    let value = number(kind, big, b).and_then(|n| f32::from_number(Conversion(n)));
                    *o = value.unwrap_or(f32::NAN);
                }
            }
        }
        if scale != 1.0 {
            out.iter_mut().for_each(|v| *v *= scale);
        }
        Ok(())
    }

    /// Rows `rows` of the first axis as f32, row-major: `[rows, ...]`.
    ///
    /// # Errors
    /// - the rows are not in the array, or `out` has another length;
    /// - the array is stored column-major.
    pub fn read_rows(&self, rows: std::ops::Range<usize>, out: &mut [f32]) -> Result<(), IoError> {
        let all = self.header.shape.first().copied().unwrap_or(1);
        let row: usize = self.header.shape.iter().skip(1).product();
        if self.header.fortran && self.header.shape.len() > 1 {
            return Err(IoError::unsupported(
                self.path(),
                "reading rows of a column-major array",
                "save it with numpy.ascontiguousarray",
            ));
        }
        if rows.start > rows.end || rows.end > all {
            return Err(IoError::argument(
                "rows",
                format!("within 0..{all}"),
                format!("{rows:?}"),
            ));
        }
        if out.len() != rows.len() * row {
            return Err(IoError::argument(
                "length of out",
                rows.len() * row,
                out.len(),
            ));
        }
        self.read_strided(rows.start * row, 1, 1.0, out)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;
    use crate::npy::write;

    #[test]
    fn numbers_where_they_lie() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let rows = Array2::from_shape_fn((3, 4), |(y, x)| (y * 10 + x) as f32);
        write(&path("f32.npy"), &rows).unwrap();
        let mapped = MappedArray::open(&path("f32.npy")).unwrap();
        assert_eq!(mapped.as_f32().unwrap(), rows.clone().into_dyn());
        let mut middle = [0.0; 4];
        mapped.read_rows(1..2, &mut middle).unwrap();
        assert_eq!(middle, [10.0, 11.0, 12.0, 13.0]);
        assert!(mapped.read_rows(2..4, &mut [0.0; 8]).is_err());

        // Other types, and the other byte order, need a conversion.
        write(&path("u16.npy"), &array![[1_u16, 2]]).unwrap();
        assert!(
            MappedArray::open(&path("u16.npy"))
                .unwrap()
                .as_f32()
                .is_none()
        );
        let little = std::fs::read(path("f32.npy")).unwrap();
        let at = little.windows(3).position(|w| w == b"<f4").unwrap();
        let mut big = little.clone();
        big[at] = b'>';
        std::fs::write(path("big.npy"), &big).unwrap();
        let mapped = MappedArray::open(&path("big.npy")).unwrap();
        assert!(mapped.as_f32().is_none());
        mapped.read_rows(0..1, &mut middle).unwrap();
        assert_eq!(middle[1].to_bits(), 1.0_f32.to_bits().swap_bytes());

        // A file that ends too early is refused when it is opened.
        std::fs::write(path("cut.npy"), &little[..little.len() - 1]).unwrap();
        assert!(MappedArray::open(&path("cut.npy")).is_err());
    }
}

//! NumPy's `.npy` arrays: read with conversion, write, write in blocks, memory-map.
//!
//! # References
//! - NumPy Enhancement Proposal 1, format versions 1.0 to 3.0
//!
//! # Example
//! ```
//! use cytoself_io::npy;
//! use ndarray::array;
//! let dir = tempfile::tempdir()?;
//! let path = dir.path().join("a.npy");
//! npy::write(&path, &array![[1.0_f32, 2.0], [3.0, 4.0]])?;
//! let back = npy::read_i64(&path)?;
//! assert_eq!(back.shape(), [2, 2]);
//! assert_eq!(back[[1, 0]], 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod element;
mod header;
mod mapped;
mod read;
mod text;
mod write;

pub use element::{Dtype, Element, NumberKind};
pub use mapped::MappedArray;
pub use read::{read, read_f32, read_f64, read_i64, read_u16};
pub use text::read_text;
pub use write::{NpyWriter, write};

pub(crate) use element::{half_to_f32, number_text};
pub(crate) use text::utf32;

#[cfg(test)]
mod tests {
    use ndarray::{Array2, ArrayD, array};

    use super::*;

    #[test]
    fn every_type_converts_or_says_why_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npy");
        write(&path, &array![1_u16, 65535]).unwrap();
        assert_eq!(
            read_f32(&path).unwrap().into_raw_vec_and_offset().0,
            [1.0, 65535.0]
        );
        assert_eq!(
            read_i64(&path).unwrap().into_raw_vec_and_offset().0,
            [1, 65535]
        );
        write(&path, &array![[1.5_f64], [-1.0]]).unwrap();
        let error = read_u16(&path).unwrap_err().to_string();
        assert!(
            error.contains("element [0, 0]") && error.contains("1.5"),
            "{error}"
        );
        write(&path, &array![[1.0_f64], [-1.0]]).unwrap();
        assert!(
            read_u16(&path)
                .unwrap_err()
                .to_string()
                .contains("element [1, 0]")
        );
    }

    #[test]
    fn an_empty_array_and_a_scalar_survive() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npy");
        write(&path, &Array2::<f32>::zeros((0, 7))).unwrap();
        assert_eq!(read_f32(&path).unwrap().shape(), [0, 7]);
        write(&path, &ArrayD::from_elem(vec![], 2.5_f32)).unwrap();
        assert_eq!(read_f64(&path).unwrap().shape(), [] as [usize; 0]);
    }

    #[test]
    fn blocks_give_the_same_file_as_one_write() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one.npy"), dir.path().join("two.npy"));
        let a = Array2::from_shape_fn((10, 3), |(i, j)| (i * 3 + j) as f32);
        write(&one, &a).unwrap();
        let mut writer = NpyWriter::<f32>::create(&two, &[3]).unwrap();
        writer
            .append(a.slice(ndarray::s![..4, ..]).to_slice().unwrap())
            .unwrap();
        writer
            .append(a.slice(ndarray::s![4.., ..]).to_slice().unwrap())
            .unwrap();
        assert_eq!(writer.finish().unwrap(), 10);
        assert_eq!(read_f32(&one).unwrap(), read_f32(&two).unwrap());
    }
}

//! Models on disk.
//!
//! A model file is a text header, one `name value` per line, that ends with a line `end`, followed by the arrays that the
//! header lists (`array name type rows columns`), row-major and little-endian, and by a 64-bit hash of all before it.

mod reader;
mod writer;

use std::io::{Read, Write};

use crate::source::PointSource;
use crate::{UmapError, UmapModel};

/// First line of every model file.
const MAGIC: &str = "cytoself-umap model";
/// Version of the layout described above.
const VERSION: u32 = 1;

impl UmapModel {
    /// Writes the model and, when given, the points of its fit, without which it cannot place new ones.
    ///
    /// # Errors
    /// - [`UmapError::OtherPoints`]: `points` are not those of the fit;
    /// - [`UmapError::NeedsPoints`]: `points` are distances or neighbour lists, which are not stored;
    /// - [`UmapError::Io`]: the writer fails.
    ///
    /// # Example
    /// ```
    /// use cytoself_umap::{ParamGuard, PointSource, UmapModel, UmapParams, silent};
    /// use ndarray::Array2;
    ///
    /// let x = Array2::from_shape_fn((50, 3), |(i, j)| ((i + 1) * (j + 2) % 17) as f32);
    /// let points = PointSource::dense(x.view())?;
    /// let model = UmapParams::default().check()?.fit(&points, &mut silent())?;
    /// let mut file = Vec::new();
    /// model.save(&mut file, Some(&points))?;
    /// let (loaded, stored) = UmapModel::load(&mut file.as_slice())?;
    /// assert_eq!(loaded, model);
    /// assert_eq!(stored.unwrap().len(), 50);
    /// # Ok::<(), cytoself_umap::UmapError>(())
    /// ```
    pub fn save(
        &self,
        out: &mut impl Write,
        points: Option<&PointSource<'_>>,
    ) -> Result<(), UmapError> {
        if let Some(points) = points {
            let found = points.content_hash();
            if found != self.content_hash {
                return Err(UmapError::OtherPoints {
                    expected: self.content_hash,
                    found,
                });
            }
        }
        writer::write(self, out, points)
    }

    /// Reads a model, and the points of its fit where the file has them.
    ///
    /// # Errors
    /// - [`UmapError::ModelFile`]: not a model file, another version, a truncated or changed file;
    /// - [`UmapError::Io`]: the reader fails.
    pub fn load(input: &mut impl Read) -> Result<(Self, Option<PointSource<'static>>), UmapError> {
        reader::read(input)
    }
}

/// Running hash of everything written or read.
#[derive(Default)]
struct Checksum(u64);

impl Checksum {
    fn update(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 = (self.0 ^ u64::from_le_bytes(word))
                .wrapping_mul(0x0000_0100_0000_01b3)
                .rotate_left(23);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ParamGuard, UmapParams, silent};
    use ndarray::Array2;

    fn model() -> (Array2<f32>, Vec<u8>) {
        let x = Array2::from_shape_fn((40, 3), |(i, j)| ((i * (j + 3)) % 11) as f32);
        let points = PointSource::dense(x.view()).unwrap();
        let model = UmapParams::default()
            .epochs(Some(20))
            .check()
            .unwrap()
            .fit(&points, &mut silent())
            .unwrap();
        let mut file = Vec::new();
        model.save(&mut file, Some(&points)).unwrap();
        (x.clone(), file)
    }

    #[test]
    fn a_changed_or_truncated_file_is_refused() {
        let (_, file) = model();
        for cut in [0, 5, 100, file.len() / 2, file.len() - 1] {
            assert!(UmapModel::load(&mut &file[..cut]).is_err(), "{cut}");
        }
        let mut changed = file.clone();
        let at = changed.len() - 40;
        changed[at] ^= 1;
        let error = UmapModel::load(&mut changed.as_slice())
            .unwrap_err()
            .to_string();
        assert!(error.contains("checksum"), "{error}");
    }

    #[test]
    fn another_version_is_named() {
        let (_, file) = model();
        let text = String::from_utf8_lossy(&file[..200]).replacen("version 1", "version 9", 1);
        let mut other = text.as_bytes()[..200.min(text.len())].to_vec();
        other.extend(&file[200..]);
        let error = UmapModel::load(&mut other.as_slice())
            .unwrap_err()
            .to_string();
        assert!(error.contains("version 9"), "{error}");
    }
}

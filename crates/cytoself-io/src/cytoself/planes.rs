//! Crops of one channel inside a mapped array of three or four axes.

use std::path::Path;
use std::sync::Arc;

use crate::IoError;
use crate::npy::MappedArray;

/// One channel of an array `[n, h, w]` or `[n, h, w, c]`.
#[derive(Debug, Clone)]
pub(super) struct Planes {
    array: Arc<MappedArray>,
    channel: usize,
    strides: [usize; 4],
    shape: [usize; 3],
}

impl Planes {
    /// The channels of the array at `path`, in order.
    pub(super) fn open(path: &Path) -> Result<Vec<Self>, IoError> {
        let array = Arc::new(MappedArray::open(path)?);
        let strides = array.strides();
        let (shape, strides, channels) = match (array.shape(), &strides[..]) {
            (&[n, h, w], &[sn, sh, sw]) => ([n, h, w], [sn, sh, sw, 0], 1),
            (&[n, h, w, c], &[sn, sh, sw, sc]) => ([n, h, w], [sn, sh, sw, sc], c),
            (other, _) => {
                let found = format!("shape {other:?}");
                return Err(IoError::malformed(
                    path,
                    "npy header",
                    "axes (n, h, w) or (n, h, w, c)",
                    found,
                    "",
                ));
            }
        };
        if shape[1] == 0 || shape[2] == 0 || channels == 0 {
            let found = format!("shape {:?}", array.shape());
            return Err(IoError::malformed(
                path,
                "npy header",
                "crops of at least one pixel",
                found,
                "",
            ));
        }
        Ok((0..channels)
            .map(|channel| Self {
                array: Arc::clone(&array),
                channel,
                strides,
                shape,
            })
            .collect())
    }

    /// n, h, w.
    pub(super) fn shape(&self) -> [usize; 3] {
        self.shape
    }

    pub(super) fn path(&self) -> &Path {
        self.array.path()
    }

    /// Reads crop `row` times `scale`; the caller has checked `row` and the length of `out`.
    pub(super) fn read(&self, row: usize, scale: f32, out: &mut [f32]) -> Result<(), IoError> {
        let [_, h, w] = self.shape;
        let [sn, sh, sw, sc] = self.strides;
        let start = row * sn + self.channel * sc;
        if sh == w * sw {
            return self.array.read_strided(start, sw, scale, out);
        }
        for (y, line) in out.chunks_exact_mut(w).take(h).enumerate() {
            self.array.read_strided(start + y * sh, sw, scale, line)?;
        }
        Ok(())
    }
}

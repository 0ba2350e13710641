//! How the vectors to quantise lie in memory.

use crate::error::VqError;

/// A borrowed batch of vectors, each cut from a row or from a position of an image.
///
/// A batch has `images` images (or rows), each with `positions` positions and `split` chunks per position; one chunk of `dim`
/// components is one vector. Results are ordered `(image, chunk, position)`, which is cytoself's `vqind` of shape `[n, split, h, w]`.
///
/// # Example
/// ```
/// use cytoself_vq::Vectors;
///
/// let data = [0.0; 2 * 6 * 4];
/// let images = Vectors::planes(&data, 2, 3, 2, 4)?; // two images of 2 x 2 pixels, 6 channels = 3 chunks of 2
/// assert_eq!(images.len(), 24);
/// let rows = Vectors::rows(&data, 8, 3, 2)?; // the same memory as 8 rows of 6 values
/// assert_eq!(rows.len(), 24);
/// # Ok::<(), cytoself_vq::VqError>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Vectors<'a> {
    data: &'a [f32],
    shape: VectorShape,
}

/// The extents and strides of a batch of vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VectorShape {
    pub(crate) images: usize,
    pub(crate) split: usize,
    pub(crate) positions: usize,
    pub(crate) dim: usize,
    pub(crate) position_stride: usize,
    pub(crate) component_stride: usize,
}

impl<'a> Vectors<'a> {
    /// Rows of `split` chunks: `data: [rows, split * dim]`.
    ///
    /// # Errors
    /// As [`Vectors::planes`].
    pub fn rows(data: &'a [f32], rows: usize, split: usize, dim: usize) -> Result<Self, VqError> {
        Self::planes(data, rows, split, dim, 1)
    }

    /// Images with channels first: `data: [images, split * dim, positions]`, `positions = h * w`.
    ///
    /// # Errors
    /// - [`VqError::Parameter`]: `split` or `dim` is 0;
    /// - [`VqError::Length`]: the number of values does not fit.
    pub fn planes(
        data: &'a [f32],
        images: usize,
        split: usize,
        dim: usize,
        positions: usize,
    ) -> Result<Self, VqError> {
        let shape = VectorShape {
            images,
            split,
            positions,
            dim,
            position_stride: 1,
            component_stride: positions,
        };
        Self::checked(data, shape, || {
            format!("[{images}, {split} * {dim}, {positions}]")
        })
    }

    /// Images with channels last: `data: [images, positions, split * dim]`, as TensorFlow keeps them.
    ///
    /// # Errors
    /// As [`Vectors::planes`].
    pub fn channels_last(
        data: &'a [f32],
        images: usize,
        split: usize,
        dim: usize,
        positions: usize,
    ) -> Result<Self, VqError> {
        let position_stride = split.saturating_mul(dim);
        let shape = VectorShape {
            images,
            split,
            positions,
            dim,
            position_stride,
            component_stride: 1,
        };
        Self::checked(data, shape, || {
            format!("[{images}, {positions}, {split} * {dim}]")
        })
    }

    fn checked(
        data: &'a [f32],
        shape: VectorShape,
        text: impl Fn() -> String,
    ) -> Result<Self, VqError> {
        for (name, value) in [("split", shape.split), ("dim", shape.dim)] {
            if value == 0 {
                return Err(VqError::Parameter {
                    name,
                    value: "0".into(),
                    expected: "at least 1",
                });
            }
        }
        let expected = [shape.split, shape.positions, shape.dim]
            .into_iter()
            .try_fold(shape.images, usize::checked_mul)
            .unwrap_or(usize::MAX);
        if expected != data.len() {
            return Err(VqError::Length {
                what: "vectors",
                shape: text(),
                expected,
                found: data.len(),
            });
        }
        Ok(Self { data, shape })
    }

    /// Number of vectors: `images * split * positions`.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.len()
    }

    /// Whether there is no vector.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of images or rows.
    #[must_use]
    pub fn images(&self) -> usize {
        self.shape.images
    }

    /// Vectors per image: `split * positions`.
    #[must_use]
    pub fn per_image(&self) -> usize {
        self.shape.split * self.shape.positions
    }

    /// Components per vector.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.shape.dim
    }

    /// Copies vector `index` of the result order into `out`, `[dim]`.
    ///
    /// # Panics
    /// When `index >= len()` or `out` is shorter than `dim`.
    pub fn copy_to(&self, index: usize, out: &mut [f32]) {
        let start = self.shape.offset(index);
        for (i, o) in out[..self.shape.dim].iter_mut().enumerate() {
            *o = self.data[start + i * self.shape.component_stride];
        }
    }

    pub(crate) fn data(&self) -> &'a [f32] {
        self.data
    }

    pub(crate) fn shape(&self) -> &VectorShape {
        &self.shape
    }

    /// The error that names the first value of vector `index` that is not finite; `None` when all are.
    pub(crate) fn non_finite(&self, index: usize) -> Option<VqError> {
        let start = self.shape.offset(index);
        let (row, chunk, position) = self.shape.place(index);
        (0..self.shape.dim).find_map(|component| {
            let value = self.data[start + component * self.shape.component_stride];
            (!value.is_finite()).then_some(VqError::NonFiniteVector {
                row,
                chunk,
                position,
                component,
                value,
            })
        })
    }
}

impl VectorShape {
    pub(crate) fn len(&self) -> usize {
        self.images * self.split * self.positions
    }

    /// `(image, chunk, position)` of vector `index`.
    pub(crate) fn place(&self, index: usize) -> (usize, usize, usize) {
        let (outer, position) = (index / self.positions, index % self.positions);
        (outer / self.split, outer % self.split, position)
    }

    /// Where component 0 of vector `index` lies; component `i` is `i * component_stride` further.
    pub(crate) fn offset(&self, index: usize) -> usize {
        let (image, chunk, position) = self.place(index);
        image * self.split * self.dim * self.positions
            + chunk * self.dim * self.component_stride
            + position * self.position_stride
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layout_names_the_same_vectors() {
        let (images, split, dim, positions) = (2, 3, 2, 4);
        let value = |n: usize, s: usize, i: usize, p: usize| {
            (((n * split + s) * dim + i) * positions + p) as f32
        };
        let mut last = vec![0.0; images * split * dim * positions];
        for n in 0..images {
            for p in 0..positions {
                for s in 0..split {
                    for i in 0..dim {
                        last[((n * positions + p) * split + s) * dim + i] = value(n, s, i, p);
                    }
                }
            }
        }
        let first: Vec<f32> = (0..last.len()).map(|v| v as f32).collect();
        let a = Vectors::planes(&first, images, split, dim, positions).unwrap();
        let b = Vectors::channels_last(&last, images, split, dim, positions).unwrap();
        let (mut x, mut y) = ([0.0; 2], [0.0; 2]);
        for index in 0..a.len() {
            a.copy_to(index, &mut x);
            b.copy_to(index, &mut y);
            assert_eq!(x, y);
        }
    }

    #[test]
    fn refuses_a_length_that_does_not_fit() {
        let error = Vectors::rows(&[0.0; 7], 2, 2, 2).unwrap_err();
        assert!(matches!(
            error,
            VqError::Length {
                expected: 8,
                found: 7,
                ..
            }
        ));
        assert!(Vectors::rows(&[], 0, 1, 2).unwrap().is_empty());
        assert!(Vectors::rows(&[], usize::MAX, 1, usize::MAX).is_err());
    }
}

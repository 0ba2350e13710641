//! From a z-stack to one image: projection and downsampling.

use ndarray::{Array2, ArrayView2, ArrayView3, Axis};

/// Which comes first; the maximum of means is not the mean of maxima.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProjectionOrder {
    /// Maximum over z, then the mean of blocks; the order in the paper's text.
    #[default]
    ProjectFirst,
    /// Mean of blocks in every slice, then the maximum over z; the order in OpenCell's code.
    DownsampleFirst,
}

/// Maximum over z.
///
/// **Shapes** `stack: [z, h, w]` -> `[h, w]`. A stack without slices gives zeros.
///
/// # Example
/// ```
/// use cytoself_segment::project_max;
/// use ndarray::array;
///
/// let stack = array![[[1.0, 5.0]], [[3.0, 2.0]]];
/// assert_eq!(project_max(stack.view()), array![[3.0, 5.0]]);
/// ```
#[must_use]
pub fn project_max(stack: ArrayView3<'_, f32>) -> Array2<f32> {
    let mut slices = stack.outer_iter();
    let Some(first) = slices.next() else {
        return Array2::zeros((stack.len_of(Axis(1)), stack.len_of(Axis(2))));
    };
    let mut out = first.to_owned();
    slices.for_each(|slice| raise(&mut out, slice));
    out
}

/// A type of pixels that has a highest value.
pub trait Intensity: Copy {
    /// The higher of the two; NaN if one is, so that it stays visible to the checks that follow.
    #[must_use]
    fn higher(self, other: Self) -> Self;
}

impl Intensity for u8 {
    #[inline]
    fn higher(self, other: Self) -> Self {
        self.max(other)
    }
}

impl Intensity for u16 {
    #[inline]
    fn higher(self, other: Self) -> Self {
        self.max(other)
    }
}

impl Intensity for f32 {
    #[inline]
    fn higher(self, other: Self) -> Self {
        if other > self || other.is_nan() {
            other
        } else {
            self
        }
    }
}

/// Raises every pixel of a projection to that of a further slice: the maximum over z of a stack that is read slice by slice.
///
/// **Shapes** `highest: [h, w]`, `slice: [h, w]`; the overlap of the two is used.
///
/// # Example
/// ```
/// use cytoself_segment::raise;
/// use ndarray::array;
///
/// let mut highest = array![[3_u16, 9]];
/// raise(&mut highest, array![[5, 7]].view());
/// assert_eq!(highest, array![[5, 9]]);
/// ```
pub fn raise<T: Intensity>(highest: &mut Array2<T>, slice: ArrayView2<'_, T>) {
    for (mut highest, slice) in highest.outer_iter_mut().zip(slice.outer_iter()) {
        match (highest.as_slice_mut(), slice.as_slice()) {
            (Some(highest), Some(slice)) => raise_row(highest, slice),
            _ => highest
                .iter_mut()
                .zip(slice)
                .for_each(|(h, &v)| *h = h.higher(v)),
        }
    }
}

fn raise_row<T: Intensity>(highest: &mut [T], slice: &[T]) {
    for (h, &v) in highest.iter_mut().zip(slice) {
        *h = h.higher(v);
    }
}

/// Mean over blocks of `factor` x `factor` pixels; rows and columns that do not fill a block are left out.
///
/// **Shapes** `image: [h, w]` -> `[h / factor, w / factor]`. A factor of 0 counts as 1.
///
/// # Example
/// ```
/// use cytoself_segment::downsample_mean;
/// use ndarray::array;
///
/// let image = array![[1.0, 3.0, 9.0], [5.0, 7.0, 9.0]];
/// assert_eq!(downsample_mean(image.view(), 2), array![[4.0]]);
/// ```
#[must_use]
pub fn downsample_mean(image: ArrayView2<'_, f32>, factor: usize) -> Array2<f32> {
    let factor = factor.max(1);
    let (h, w) = (image.nrows() / factor, image.ncols() / factor);
    let image = image.as_standard_layout();
    let mut out = Array2::<f32>::zeros((h, w));
    let Some(pixels) = image.as_slice().filter(|_| h * w > 0) else {
        return out;
    };
    let rows = pixels.chunks(image.ncols() * factor);
    for (mut sums, rows) in out.outer_iter_mut().zip(rows) {
        let Some(sums) = sums.as_slice_mut() else {
            continue;
        };
        for row in rows.chunks(image.ncols()) {
            match factor {
                // The length is known, so that many blocks are added at once.
                2 => add_blocks(sums, row.as_chunks::<2>().0.iter()),
                _ => add_blocks(sums, row.chunks_exact(factor)),
            }
        }
    }
    out / (factor * factor) as f32
}

/// Adds the sum of every block to the sum of its pixel.
fn add_blocks<B: AsRef<[f32]>>(sums: &mut [f32], blocks: impl Iterator<Item = B>) {
    for (sum, block) in sums.iter_mut().zip(blocks) {
        *sum += block.as_ref().iter().sum::<f32>();
    }
}

/// Projects and downsamples a stack in the given order.
///
/// **Shapes** `stack: [z, h, w]` -> `[h / factor, w / factor]`.
#[must_use]
pub fn project(stack: ArrayView3<'_, f32>, factor: usize, order: ProjectionOrder) -> Array2<f32> {
    if order == ProjectionOrder::ProjectFirst || factor <= 1 {
        return downsample_mean(project_max(stack).view(), factor);
    }
    let slices = stack
        .outer_iter()
        .map(|slice| downsample_mean(slice, factor));
    let shape = (
        stack.len_of(Axis(1)) / factor,
        stack.len_of(Axis(2)) / factor,
    );
    let highest = slices.reduce(|mut highest, slice| {
        raise(&mut highest, slice.view());
        highest
    });
    highest.unwrap_or_else(|| Array2::zeros(shape))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array3, array};

    #[test]
    fn the_order_matters() {
        let stack = array![[[8.0, 0.0], [0.0, 0.0]], [[0.0, 8.0], [0.0, 0.0]]];
        assert_eq!(
            project(stack.view(), 2, ProjectionOrder::ProjectFirst),
            array![[4.0]]
        );
        assert_eq!(
            project(stack.view(), 2, ProjectionOrder::DownsampleFirst),
            array![[2.0]]
        );
    }

    #[test]
    fn blocks_of_any_size_and_layout() {
        let image = Array2::from_shape_fn((11, 13), |(y, x)| (y * y * 3 + x * 7 % 5) as f32);
        for factor in [0, 1, 2, 3, 5, 12] {
            let f = factor.max(1);
            let slow = Array2::from_shape_fn((11 / f, 13 / f), |(y, x)| {
                image
                    .slice(ndarray::s![y * f..(y + 1) * f, x * f..(x + 1) * f])
                    .sum()
                    / (f * f) as f32
            });
            assert_eq!(downsample_mean(image.view(), factor), slow, "{factor}");
            let turned = image.t().as_standard_layout().into_owned();
            assert_eq!(downsample_mean(turned.t(), factor), slow, "{factor}");
        }
    }

    #[test]
    fn nothing_in_nothing_out_and_nan_stays() {
        assert_eq!(
            project(
                Array3::zeros((0, 4, 6)).view(),
                2,
                ProjectionOrder::DownsampleFirst
            )
            .dim(),
            (2, 3)
        );
        let stack = array![[[f32::NAN]], [[1.0]]];
        assert!(project_max(stack.view())[[0, 0]].is_nan());
        let stack = array![[[1.0]], [[f32::NAN]], [[2.0]]];
        assert!(project_max(stack.view())[[0, 0]].is_nan());
    }
}

//! From a z-stack to one image: projection and downsampling.

use ndarray::{Array2, ArrayView2, ArrayView3, Axis, Zip};

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
    highest(stack.outer_iter().map(|slice| slice.to_owned()))
        .unwrap_or_else(|| Array2::zeros((stack.len_of(Axis(1)), stack.len_of(Axis(2)))))
}

/// The highest value of every pixel.
fn highest(mut images: impl Iterator<Item = Array2<f32>>) -> Option<Array2<f32>> {
    let first = images.next()?;
    Some(images.fold(first, |mut out, image| {
        // Not f32::max: a NaN in any slice must stay visible to the checks that follow.
        Zip::from(&mut out).and(&image).for_each(|m, &v| {
            if v > *m || v.is_nan() {
                *m = v;
            }
        });
        out
    }))
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
    let mut sums = Array2::<f32>::zeros((h, w));
    for (y, row) in image.outer_iter().take(h * factor).enumerate() {
        for (sum, block) in sums
            .row_mut(y / factor)
            .iter_mut()
            .zip(row.exact_chunks(factor))
        {
            *sum += block.sum();
        }
    }
    sums / (factor * factor) as f32
}

/// Projects and downsamples a stack in the given order.
///
/// **Shapes** `stack: [z, h, w]` -> `[h / factor, w / factor]`.
#[must_use]
pub fn project(stack: ArrayView3<'_, f32>, factor: usize, order: ProjectionOrder) -> Array2<f32> {
    if order == ProjectionOrder::ProjectFirst || factor <= 1 {
        return downsample_mean(project_max(stack).view(), factor);
    }
    let shape = (
        stack.len_of(Axis(1)) / factor,
        stack.len_of(Axis(2)) / factor,
    );
    let slices = stack
        .outer_iter()
        .map(|slice| downsample_mean(slice, factor));
    highest(slices).unwrap_or_else(|| Array2::zeros(shape))
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

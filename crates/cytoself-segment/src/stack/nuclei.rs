//! From nuclei in the projection to nuclei in the stack.

use std::ops::Range;

use ndarray::{Array1, Array2, Array3, ArrayView2, ArrayView3, Axis, s};

use crate::error::{SegmentError, check_shape};

/// Nuclei in a stack: the voxels above or below a labelled pixel that are brighter than half way between the
/// background of the stack and the nucleus' brightest part.
///
/// The background is the median over the unlabelled pixels of the projection, the brightest part the 90th percentile
/// of the nucleus in the projection.
///
/// **Shapes** `stack: [z, h, w]` (DNA stain), `labels: [h, w]` of its projection -> `[z, h, w]`.
///
/// # Errors
/// - [`SegmentError::ShapeMismatch`]: the planes differ in shape.
///
/// # Example
/// ```
/// use cytoself_segment::nuclei_in_3d;
/// use ndarray::array;
///
/// let stack = array![[[1.0, 1.0]], [[1.0, 9.0]], [[1.0, 3.0]]];
/// let nuclei = nuclei_in_3d(stack.view(), array![[0, 4]].view())?;
/// assert_eq!(nuclei, array![[[0, 0]], [[0, 4]], [[0, 0]]]);
/// # Ok::<(), cytoself_segment::SegmentError>(())
/// ```
pub fn nuclei_in_3d(
    stack: ArrayView3<'_, f32>,
    labels: ArrayView2<'_, u32>,
) -> Result<Array3<u32>, SegmentError> {
    let (_, h, w) = stack.dim();
    check_shape("labels", &[h, w], labels.shape())?;
    let halves = half_levels(&crate::project::project_max(stack), labels);
    Ok(Array3::from_shape_fn(stack.dim(), |(z, y, x)| {
        let label = labels[[y, x]];
        if label > 0 && f64::from(stack[[z, y, x]]) > halves[label as usize] {
            label
        } else {
            0
        }
    }))
}

/// Half way between background and brightest part, by label.
fn half_levels(projection: &Array2<f32>, labels: ArrayView2<'_, u32>) -> Vec<f64> {
    let largest = labels.iter().copied().max().unwrap_or(0) as usize;
    let mut values: Vec<Vec<f64>> = vec![Vec::new(); largest + 1];
    for (&label, &value) in labels.iter().zip(projection) {
        values[label as usize].push(f64::from(value));
    }
    let percentile = |v: &Vec<f64>, p| {
        crate::threshold::percentile(Array1::from(v.clone()).insert_axis(Axis(0)).view(), p)
    };
    let background = if values[0].is_empty() {
        0.0
    } else {
        percentile(&values[0], 50.0)
    };
    values
        .iter()
        .map(|v| (background + percentile(v, 90.0)) / 2.0)
        .collect()
}

/// The `depth` slices around the middle of the cell layer, or `None` if the stack has fewer.
///
/// The middle is the centre of mass of the mean intensity of the slices above its mean over z, rounded half to even;
/// the window is moved inside the stack where it would leave it.
///
/// **Shapes** `stack: [z, h, w]` (DNA stain).
///
/// # References
/// - Cho NH et al. 2022 (OpenCell), cell-layer alignment, doi:10.1126/science.abi6983
///
/// # Example
/// ```
/// use cytoself_segment::slices_around;
/// use ndarray::Array3;
///
/// let mut stack = Array3::zeros((9, 2, 2));
/// stack.slice_mut(ndarray::s![5..8, .., ..]).fill(1.0);
/// assert_eq!(slices_around(stack.view(), 3), Some(5..8));
/// assert_eq!(slices_around(stack.view(), 10), None);
/// ```
#[must_use]
pub fn slices_around(stack: ArrayView3<'_, f32>, depth: usize) -> Option<Range<usize>> {
    let slices = stack.len_of(Axis(0));
    if slices < depth || stack.is_empty() {
        return None;
    }
    let sum = |z: usize| {
        stack
            .slice(s![z, .., ..])
            .iter()
            .map(|&v| f64::from(v))
            .sum::<f64>()
    };
    let profile: Vec<f64> = (0..slices).map(sum).collect();
    let mean = profile.iter().sum::<f64>() / slices as f64;
    let above: Vec<f64> = profile.iter().map(|v| (v - mean).max(0.0)).collect();
    let total: f64 = above.iter().sum();
    let moment: f64 = above.iter().enumerate().map(|(z, v)| z as f64 * v).sum();
    let centre = if total > 0.0 {
        moment / total
    } else {
        (slices - 1) as f64 / 2.0
    };
    let start = (centre.round_ties_even() as usize)
        .saturating_sub(depth / 2)
        .min(slices - depth);
    Some(start..start + depth)
}

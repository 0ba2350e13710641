//! The signed distance with voxels of unequal sides.

use ndarray::{Array3, ArrayView3, Axis, Zip};
use rayon::prelude::*;

use crate::distance::Envelope;
use crate::error::SegmentError;

/// Signed Euclidean distance of every voxel to the boundary of the labelled regions, positive inside.
///
/// As [`crate::signed_distance`], with voxels that are `z_step` pixels high. Where there is no label, or no
/// background, the distance is the diagonal of the stack.
///
/// **Shapes** `labels: [z, h, w]` -> `[z, h, w]`. **Units** pixels (of the plane); `z_step` likewise.
///
/// # Errors
/// - [`SegmentError::BadParameter`]: `z_step` is not a finite number above 0.
///
/// # Example
/// ```
/// use cytoself_segment::signed_distance_3d;
/// use ndarray::array;
///
/// let labels = array![[[0, 0]], [[1, 1]], [[0, 0]]];
/// let distance = signed_distance_3d(labels.view(), 2.5)?;
/// assert_eq!(distance, array![[[-2.5, -2.5]], [[2.5, 2.5]], [[-2.5, -2.5]]]);
/// # Ok::<(), cytoself_segment::SegmentError>(())
/// ```
pub fn signed_distance_3d(
    labels: ArrayView3<'_, u32>,
    z_step: f64,
) -> Result<Array3<f32>, SegmentError> {
    if !(z_step.is_finite() && z_step > 0.0) {
        let expected = "a finite height of a voxel above 0, in pixels";
        return Err(SegmentError::BadParameter {
            name: "z_step",
            value: z_step,
            expected,
        });
    }
    let (inner, outer) = rayon::join(
        || distance(labels, z_step, true),
        || distance(labels, z_step, false),
    );
    Ok(Zip::from(&inner)
        .and(&outer)
        .map_collect(|&a, &b| (a - b) as f32))
}

/// Distance of every voxel inside (or outside) the labels to the nearest other voxel.
fn distance(labels: ArrayView3<'_, u32>, z_step: f64, inside: bool) -> Array3<f64> {
    let (z, h, w) = labels.dim();
    let diagonal = (z as f64 * z_step).hypot((h as f64).hypot(w as f64));
    let far = 4.0 * diagonal * diagonal;
    let mut squared = labels.mapv(|l| if (l > 0) == inside { far } else { 0.0 });
    for (axis, step) in [(Axis(2), 1.0), (Axis(1), 1.0), (Axis(0), z_step)] {
        lower_along(&mut squared, axis, step);
    }
    squared.mapv_into(|v| v.sqrt().min(diagonal))
}

fn lower_along(squared: &mut Array3<f64>, axis: Axis, step: f64) {
    let length = squared.len_of(axis);
    // The cells of a line are one apart in the envelope, so heights are taken in units of the step.
    let unit = step * step;
    squared
        .lanes_mut(axis)
        .into_iter()
        .par_bridge()
        .for_each(|mut lane| {
            let mut line: Vec<f64> = lane.iter().map(|v| v / unit).collect();
            Envelope::new(length).lower(&mut line);
            lane.iter_mut()
                .zip(&line)
                .for_each(|(cell, v)| *cell = v * unit);
        });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_search_over_all_voxels() {
        let labels = Array3::from_shape_fn((6, 9, 11), |(z, y, x)| {
            u32::from((z * 7919 + y * 104_729 + x * 31 + x * y * z) % 10 < 6)
        });
        for z_step in [1.0, 2.5, 0.4] {
            let found = signed_distance_3d(labels.view(), z_step).unwrap();
            for ((z, y, x), &label) in labels.indexed_iter() {
                let squared = |((a, b, c), &l): ((usize, usize, usize), &u32)| {
                    let d = [
                        (z.abs_diff(a) as f64) * z_step,
                        y.abs_diff(b) as f64,
                        x.abs_diff(c) as f64,
                    ];
                    ((l > 0) != (label > 0)).then(|| d.iter().map(|v| v * v).sum::<f64>())
                };
                let nearest = labels
                    .indexed_iter()
                    .filter_map(squared)
                    .fold(f64::INFINITY, f64::min)
                    .sqrt();
                let expected = if label > 0 { nearest } else { -nearest };
                assert!((f64::from(found[[z, y, x]]) - expected).abs() < 1e-5);
            }
        }
        assert!(signed_distance_3d(labels.view(), 0.0).is_err());
    }
}

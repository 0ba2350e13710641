//! Erosion, dilation and closing. Pixels outside the image never decide: they neither grow nor eat a region.

use ndarray::{Array2, ArrayView2};

use super::bit_rows::BitRows;

/// Erosion with the 3x3 cross: a pixel stays when it and its four neighbours are set.
///
/// **Shapes** `mask: [h, w]` -> `[h, w]`.
///
/// # Example
/// ```
/// use cytoself_segment::erode_cross;
/// use ndarray::array;
///
/// let mask = array![[true, true, false], [true, true, true], [true, true, true]];
/// let eroded = array![[true, false, false], [true, true, false], [true, true, true]];
/// assert_eq!(erode_cross(mask.view()), eroded);
/// ```
#[must_use]
pub fn erode_cross(mask: ArrayView2<'_, bool>) -> Array2<bool> {
    let holes = BitRows::pack(mask).complement();
    let mut grown = holes.spread_along_rows(1);
    grown.join_rows(&holes, 1);
    grown.complement().unpack()
}

/// Dilation with a disk: a pixel is set when a set pixel lies within `radius` (Euclidean, in pixels).
///
/// **Shapes** `mask: [h, w]` -> `[h, w]`.
///
/// # Example
/// ```
/// use cytoself_segment::dilate_disk;
/// use ndarray::Array2;
///
/// let mut mask = Array2::from_elem((11, 11), false);
/// mask[[5, 5]] = true;
/// assert_eq!(dilate_disk(mask.view(), 2).iter().filter(|&&v| v).count(), 13);
/// ```
#[must_use]
pub fn dilate_disk(mask: ArrayView2<'_, bool>, radius: usize) -> Array2<bool> {
    dilate(&BitRows::pack(mask), radius).unpack()
}

/// Erosion with a disk: a pixel stays when every pixel of the image within `radius` is set.
///
/// **Shapes** `mask: [h, w]` -> `[h, w]`.
#[must_use]
pub fn erode_disk(mask: ArrayView2<'_, bool>, radius: usize) -> Array2<bool> {
    dilate(&BitRows::pack(mask).complement(), radius)
        .complement()
        .unpack()
}

/// Closing with a disk: dilation, then erosion; fills gaps into which the disk does not fit.
///
/// **Shapes** `mask: [h, w]` -> `[h, w]`.
///
/// # Example
/// ```
/// use cytoself_segment::close_disk;
/// use ndarray::Array2;
///
/// let mut mask = Array2::from_elem((9, 20), true);
/// mask.column_mut(9).fill(false);
/// assert!(close_disk(mask.view(), 1).iter().all(|&v| v));
/// ```
#[must_use]
pub fn close_disk(mask: ArrayView2<'_, bool>, radius: usize) -> Array2<bool> {
    let grown = dilate(&BitRows::pack(mask), radius);
    dilate(&grown.complement(), radius).complement().unpack()
}

/// Joins, for each row offset of the disk, the rows spread by the half-width that the disk has there.
fn dilate(mask: &BitRows, radius: usize) -> BitRows {
    let mut out = mask.empty_like();
    let mut spread: Option<(usize, BitRows)> = None;
    for dy in 0..=radius {
        let reach = (radius * radius - dy * dy).isqrt();
        let rows = match spread.take() {
            Some((r, rows)) if r == reach => rows,
            _ => mask.spread_along_rows(reach),
        };
        out.join_rows(&rows, dy);
        spread = Some((reach, rows));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(h: usize, w: usize, percent: usize) -> Array2<bool> {
        Array2::from_shape_fn((h, w), |(y, x)| {
            (y * 7919 + x * 104_729 + y * x * 31) % 100 < percent
        })
    }

    fn dilate_reference(mask: &Array2<bool>, radius: usize) -> Array2<bool> {
        Array2::from_shape_fn(mask.dim(), |(y, x)| {
            mask.indexed_iter().any(|((v, u), &on)| {
                let (dy, dx) = (y.abs_diff(v), x.abs_diff(u));
                on && dy * dy + dx * dx <= radius * radius
            })
        })
    }

    #[test]
    fn disk_operations_equal_their_definitions() {
        for (h, w, radius) in [(23, 71, 3), (9, 130, 5), (4, 4, 6), (1, 1, 1), (12, 65, 0)] {
            let mask = noise(h, w, 12);
            let not = |m: &Array2<bool>| m.mapv(|v| !v);
            let grown = dilate_reference(&mask, radius);
            assert_eq!(dilate_disk(mask.view(), radius), grown);
            assert_eq!(
                erode_disk(mask.view(), radius),
                not(&dilate_reference(&not(&mask), radius))
            );
            assert_eq!(
                close_disk(mask.view(), radius),
                not(&dilate_reference(&not(&grown), radius))
            );
        }
    }

    #[test]
    fn the_cross_equals_a_disk_of_radius_one() {
        let mask = noise(31, 90, 80);
        assert_eq!(erode_cross(mask.view()), erode_disk(mask.view(), 1));
    }
}

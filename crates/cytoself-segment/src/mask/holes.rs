//! Filling of holes.

use ndarray::{Array2, ArrayView2};

use crate::label::{Connectivity, label_components};

/// Fills every 4-connected background region of less than `area` pixels, also those at the edge of the image.
///
/// **Shapes** `mask: [h, w]` -> `[h, w]`. **Units** `area` in pixels.
///
/// # Example
/// ```
/// use cytoself_segment::fill_small_holes;
/// use ndarray::array;
///
/// let mask = array![[true, true, true, false], [true, false, true, false], [true, true, true, false]];
/// let filled = fill_small_holes(mask.view(), 2);
/// assert!(filled[[1, 1]] && !filled[[1, 3]]);
/// ```
#[must_use]
pub fn fill_small_holes(mask: ArrayView2<'_, bool>, area: usize) -> Array2<bool> {
    let holes = label_components(mask.mapv(|v| !v).view(), Connectivity::Four);
    let fill: Vec<bool> = holes.areas().iter().map(|&a| a < area).collect();
    holes.image().mapv(|l| l == 0 || fill[l as usize])
}

/// Fills every 4-connected background region that does not touch the edge of the image.
///
/// **Shapes** `mask: [h, w]` -> `[h, w]`.
#[must_use]
pub fn fill_holes(mask: ArrayView2<'_, bool>) -> Array2<bool> {
    let holes = label_components(mask.mapv(|v| !v).view(), Connectivity::Four);
    let open = crate::label::touching_edge(holes.image().view());
    holes.image().mapv(|l| l == 0 || !open[l as usize])
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn open_holes_stay() {
        let mask = array![
            [true, true, true, true],
            [true, false, true, false],
            [true, true, true, true],
        ];
        let filled = fill_holes(mask.view());
        assert!(filled[[1, 1]] && !filled[[1, 3]]);
        let none = Array2::from_elem((0, 4), true);
        assert_eq!(fill_holes(none.view()).dim(), (0, 4));
    }
}

//! Square windows around nuclei.

use ndarray::{ArrayView2, s};

use crate::label::Region;

/// Where a crop was taken: the square `[top, top + size) x [left, left + size)` of its field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CropWindow {
    /// Label of the nucleus in the middle.
    pub label: u32,
    /// Row of the middle: the nucleus' centroid, rounded half to even.
    pub row: usize,
    /// Column of the middle, likewise.
    pub column: usize,
    /// Side in pixels.
    pub size: usize,
}

impl CropWindow {
    /// First row; the window covers `[row - size / 2, row - size / 2 + size)`.
    #[must_use]
    pub fn top(&self) -> usize {
        self.row - self.size / 2
    }

    /// First column.
    #[must_use]
    pub fn left(&self) -> usize {
        self.column - self.size / 2
    }

    /// The window's part of an image.
    ///
    /// # Panics
    /// If the window leaves the image; [`crop_windows`] makes none that leaves the image it was given.
    #[must_use]
    pub fn cut<'a, T>(&self, image: ArrayView2<'a, T>) -> ArrayView2<'a, T> {
        let (top, left) = (self.top(), self.left());
        image.slice_move(s![top..top + self.size, left..left + self.size])
    }
}

/// Windows of `size` pixels centred on the regions, and the number of regions whose window leaves the image.
///
/// The order of the regions is kept. The paper gives 100 px after downsampling; the rounding is our choice.
///
/// # Example
/// ```
/// use cytoself_segment::{crop_windows, regions};
/// use ndarray::Array2;
///
/// let labels = Array2::from_shape_fn((60, 40), |(y, x)| u32::from(y.abs_diff(30) < 5 && x.abs_diff(20) < 5));
/// let (windows, outside) = crop_windows(&regions(labels.view()), labels.dim(), 20);
/// assert_eq!((windows[0].top(), windows[0].left(), outside), (20, 10, 0));
/// assert_eq!(windows[0].cut(labels.view()).dim(), (20, 20));
/// assert_eq!(crop_windows(&regions(labels.view()), labels.dim(), 50).1, 1);
/// ```
#[must_use]
pub fn crop_windows(
    regions: &[Region],
    (height, width): (usize, usize),
    size: usize,
) -> (Vec<CropWindow>, usize) {
    let fits =
        |centre: usize, length: usize| centre >= size / 2 && centre - size / 2 + size <= length;
    let windows: Vec<CropWindow> = regions
        .iter()
        .map(|r| {
            let [row, column] = r.centroid.map(|c| c.round_ties_even() as usize);
            CropWindow {
                label: r.label,
                row,
                column,
                size,
            }
        })
        .filter(|w| fits(w.row, height) && fits(w.column, width))
        .collect();
    let outside = regions.len() - windows.len();
    (windows, outside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::label::regions;
    use ndarray::Array2;

    #[test]
    fn halves_go_to_the_even_pixel() {
        // Columns 4 and 5: centroid 4.5. Columns 5 and 6: centroid 5.5.
        for (first, expected) in [(4, 4), (5, 6)] {
            let labels = Array2::from_shape_fn((12, 12), |(y, x)| {
                u32::from(y == 6 && (x == first || x == first + 1))
            });
            let (windows, _) = crop_windows(&regions(labels.view()), labels.dim(), 4);
            assert_eq!(windows[0].column, expected);
        }
    }

    #[test]
    fn a_window_may_reach_the_edge_but_not_beyond() {
        let at =
            |y: usize, x: usize| Array2::from_shape_fn((10, 10), move |p| u32::from(p == (y, x)));
        let count = |labels: Array2<u32>| {
            crop_windows(&regions(labels.view()), labels.dim(), 5)
                .0
                .len()
        };
        assert_eq!(
            [
                count(at(2, 2)),
                count(at(7, 7)),
                count(at(1, 5)),
                count(at(8, 5))
            ],
            [1, 1, 0, 0]
        );
    }
}

//! Cell outlines from a marker channel, with nuclei as seeds.

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Zip};

use crate::distance::distance_transform;
use crate::error::{SegmentError, check_image, check_shape};
use crate::filter::gaussian;
use crate::threshold::li_threshold;
use crate::watershed::{WatershedParams, watershed};

/// What the marker stains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Marker {
    /// The inside of cells: bright within, dark between.
    #[default]
    Cytoplasm,
    /// The outline of cells: dark within, bright between.
    Membrane,
}

/// Parameters of [`cell_outlines`].
///
/// # Defaults
/// - `marker` [`Marker::Cytoplasm`];
/// - `blur` 2 px;
/// - `reach` 60 px: farthest that a cell goes from its nucleus;
/// - `compactness` 0.002 of the marker's range per pixel: prefers the nearer nucleus where the marker is flat.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CellParams {
    /// What the marker stains.
    pub marker: Marker,
    /// Standard deviation of the blur before flooding, in pixels.
    pub blur: f64,
    /// Farthest distance of a cell's pixel from its nucleus, in pixels.
    pub reach: f64,
    /// Weight of the distance to the nucleus, in shares of the marker's range per pixel.
    pub compactness: f64,
}

impl Default for CellParams {
    fn default() -> Self {
        Self {
            marker: Marker::Cytoplasm,
            blur: 2.0,
            reach: 60.0,
            compactness: 0.002,
        }
    }
}

/// Cells around nuclei: every cell has the label of its nucleus and contains it wholly.
///
/// The marker is flooded from the nuclei. With a cytoplasmic marker the flood goes downhill in brightness and ends at
/// Li's threshold; with a membrane marker it goes uphill and ends at `reach`.
///
/// **Shapes** `marker: [h, w]`, `nuclei: [h, w]` -> cells `[h, w]`.
///
/// # Errors
/// - [`SegmentError::EmptyImage`], [`SegmentError::NotFinite`]: the marker is empty or has such a pixel;
/// - [`SegmentError::ShapeMismatch`]: the two differ in shape;
/// - [`SegmentError::BadParameter`]: a length or weight is negative or NaN.
///
/// # References
/// - Kobayashi H et al. 2022, Discussion ("additional fiducial channels"), doi:10.1038/s41592-022-01541-z
///
/// # Example
/// ```
/// use cytoself_segment::{CellParams, cell_outlines};
/// use ndarray::Array2;
///
/// // Two bright cells side by side with a dim seam in column 20.
/// let marker = Array2::from_shape_fn((20, 41), |(_, x)| if x == 20 { 60.0 } else { 100.0 });
/// let nuclei = Array2::from_shape_fn((20, 41), |(y, x)| match (y, x) {
///     (8..12, 4..9) => 1,
///     (8..12, 32..37) => 2,
///     _ => 0,
/// });
/// let params = CellParams { blur: 0.5, ..CellParams::default() };
/// let cells = cell_outlines(marker.view(), nuclei.view(), &params)?;
/// assert_eq!((cells[[10, 17]], cells[[10, 23]]), (1, 2));
/// # Ok::<(), cytoself_segment::SegmentError>(())
/// ```
pub fn cell_outlines(
    marker: ArrayView2<'_, f32>,
    nuclei: ArrayView2<'_, u32>,
    params: &CellParams,
) -> Result<Array2<u32>, SegmentError> {
    check_image(marker)?;
    check_shape("nuclei", marker.shape(), nuclei.shape())?;
    params.check()?;
    let blurred = gaussian(marker.mapv(f64::from).view(), params.blur);
    let near = distance_transform(nuclei.mapv(|l| l == 0).view()).mapv(|d| d <= params.reach);
    let (low, high) = blurred
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &v| {
            (v.min(l), v.max(h))
        });
    let threshold = li_threshold(blurred.view());
    let (sign, mask) = match params.marker {
        // A marker without contrast says nothing about where cells end.
        Marker::Cytoplasm if low < high => (-1.0, cytoplasm(&blurred, threshold, &near, nuclei)),
        Marker::Cytoplasm => (-1.0, near),
        Marker::Membrane => (1.0, near),
    };
    // Inside nuclei the surface is below everything, so that each nucleus is flooded by its own label first.
    let surface = Zip::from(&blurred).and(nuclei).map_collect(|&v, &n| {
        if n > 0 {
            sign * v - 2.0 * (high - low)
        } else {
            sign * v
        }
    });
    let flood = WatershedParams {
        compactness: params.compactness * (high - low),
        line: false,
    };
    watershed(surface.view(), nuclei, mask.view(), flood)
}

fn cytoplasm(
    blurred: &Array2<f64>,
    threshold: f64,
    near: &Array2<bool>,
    nuclei: ArrayView2<'_, u32>,
) -> Array2<bool> {
    Zip::from(blurred)
        .and(near)
        .and(nuclei)
        .map_collect(|&v, &near, &n| n > 0 || (near && v > threshold))
}

impl CellParams {
    fn check(&self) -> Result<(), SegmentError> {
        let values = [
            ("blur", self.blur),
            ("reach", self.reach),
            ("compactness", self.compactness),
        ];
        match values.into_iter().find(|(_, v)| v.is_nan() || *v < 0.0) {
            Some((name, value)) => Err(SegmentError::BadParameter {
                name,
                value,
                expected: "a value of at least 0",
            }),
            None => Ok(()),
        }
    }
}

/// Sets every pixel of a crop that belongs to another cell than `label` to `fill`; background stays.
///
/// **Shapes** `crop: [h, w]`, `cells: [h, w]` (the same window of the cell labels); the overlap of the two is used.
///
/// # Example
/// ```
/// use cytoself_segment::mask_neighbours;
/// use ndarray::array;
///
/// let mut crop = array![[5.0, 6.0, 7.0]];
/// mask_neighbours(crop.view_mut(), array![[1, 0, 2]].view(), 1, 0.0);
/// assert_eq!(crop, array![[5.0, 6.0, 0.0]]);
/// ```
pub fn mask_neighbours(
    mut crop: ArrayViewMut2<'_, f32>,
    cells: ArrayView2<'_, u32>,
    label: u32,
    fill: f32,
) {
    for (at, value) in crop.indexed_iter_mut() {
        if cells.get(at).is_some_and(|&c| c > 0 && c != label) {
            *value = fill;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_nuclei() -> Array2<u32> {
        Array2::from_shape_fn((30, 60), |(y, x)| match (y, x) {
            (12..18, 10..16) => 3,
            (12..18, 44..50) => 7,
            _ => 0,
        })
    }

    #[test]
    fn a_membrane_separates() {
        let marker = Array2::from_shape_fn((30, 60), |(_, x)| if x == 24 { 100.0 } else { 5.0 });
        let params = CellParams {
            marker: Marker::Membrane,
            blur: 0.7,
            compactness: 0.0,
            ..CellParams::default()
        };
        let cells = cell_outlines(marker.view(), two_nuclei().view(), &params).unwrap();
        assert_eq!((cells[[15, 22]], cells[[15, 26]], cells[[0, 0]]), (3, 7, 3));
    }

    #[test]
    fn cells_contain_their_nuclei_and_end_at_the_reach() {
        let marker = Array2::from_elem((30, 60), 1.0);
        let params = CellParams {
            reach: 4.0,
            ..CellParams::default()
        };
        let nuclei = two_nuclei();
        let cells = cell_outlines(marker.view(), nuclei.view(), &params).unwrap();
        assert!(nuclei.iter().zip(&cells).all(|(&n, &c)| n == 0 || n == c));
        assert_eq!((cells[[15, 19]], cells[[15, 20]]), (3, 0));
        let bad = CellParams {
            reach: f64::NAN,
            ..CellParams::default()
        };
        assert!(cell_outlines(marker.view(), nuclei.view(), &bad).is_err());
    }
}

//! Local maxima of a real-valued image.

use ndarray::{Array2, ArrayView2, s};

/// A local maximum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peak {
    /// Row.
    pub row: usize,
    /// Column.
    pub column: usize,
    /// Value of the image there.
    pub value: f64,
}

/// Local maxima inside labelled regions, highest first.
///
/// A pixel is a peak of its region when no pixel of the same label in the square of half-width `min_distance` around
/// it is higher, and when it is above the lowest value of the image. Of peaks closer than `min_distance` in both
/// directions, only the highest (then the first, row by row) is kept. Peaks at the edge of the image count.
///
/// **Shapes** `image: [h, w]`, `labels: [h, w]` (0: never a peak); the overlap of the two is used.
/// **Units** `min_distance` in pixels.
///
/// # Example
/// ```
/// use cytoself_segment::find_peaks;
/// use ndarray::{Array2, array};
///
/// let image = array![[0.0, 2.0, 0.0, 1.0, 0.0, 0.0, 3.0]];
/// let labels = Array2::from_elem((1, 7), 1);
/// let columns: Vec<_> = find_peaks(image.view(), labels.view(), 3).iter().map(|p| p.column).collect();
/// assert_eq!(columns, [6, 1]);
/// ```
#[must_use]
pub fn find_peaks(
    image: ArrayView2<'_, f64>,
    labels: ArrayView2<'_, u32>,
    min_distance: usize,
) -> Vec<Peak> {
    let (h, w) = (
        image.nrows().min(labels.nrows()),
        image.ncols().min(labels.ncols()),
    );
    let (image, labels) = (
        image.slice_move(s![..h, ..w]),
        labels.slice_move(s![..h, ..w]),
    );
    let floor = image.fold(f64::INFINITY, |low, &v| if v < low { v } else { low });
    let mut peaks = Vec::new();
    for row in 0..h {
        candidates(image, labels, row, min_distance, |column, value| {
            if value > floor && is_highest(image, labels, [row, column], min_distance) {
                peaks.push(Peak { row, column, value });
            }
        });
    }
    peaks.sort_by(|a, b| b.value.total_cmp(&a.value));
    spaced(&peaks, labels, min_distance)
}

/// Calls `found` for the labelled pixels of a row that none of their eight neighbours of the same label exceeds: few
/// enough for a look at their whole neighbourhood.
fn candidates(
    image: ArrayView2<'_, f64>,
    labels: ArrayView2<'_, u32>,
    row: usize,
    min_distance: usize,
    mut found: impl FnMut(usize, f64),
) {
    let (h, w) = image.dim();
    let reach = min_distance.min(1);
    let rows = [row.saturating_sub(reach), row, (row + reach).min(h - 1)]
        .map(|y| (image.row(y), labels.row(y)));
    let rows = rows
        .each_ref()
        .map(|(values, labels)| (values.as_slice(), labels.as_slice()));
    let [
        (Some(above), Some(labels_above)),
        (Some(here), Some(labels_here)),
        (Some(below), Some(labels_below)),
    ] = rows
    else {
        return (0..w)
            .filter(|&x| labels[[row, x]] > 0)
            .for_each(|x| found(x, image[[row, x]]));
    };
    for x in (0..w).filter(|&x| labels_here[x] > 0) {
        let (value, label) = (here[x], labels_here[x]);
        let lower =
            |values: &[f64], labels: &[u32], x: usize| values[x] <= value || labels[x] != label;
        let near = [x.saturating_sub(reach), x, (x + reach).min(w - 1)];
        if near.iter().all(|&u| {
            lower(here, labels_here, u)
                && lower(above, labels_above, u)
                && lower(below, labels_below, u)
        }) {
            found(x, value);
        }
    }
}

/// Whether no pixel of the same label in the square around a pixel is higher.
fn is_highest(
    image: ArrayView2<'_, f64>,
    labels: ArrayView2<'_, u32>,
    at: [usize; 2],
    reach: usize,
) -> bool {
    let (h, w) = image.dim();
    let square = s![window(at[0], reach, h), window(at[1], reach, w)];
    let (value, label) = (image[at], labels[at]);
    image
        .slice(square)
        .iter()
        .zip(labels.slice(square))
        .all(|(&v, &l)| v <= value || l != label)
}

/// Peaks as a label image: the `i`-th peak is `i + 1`, in row order; peaks that share a side are one seed.
#[must_use]
pub fn seed_image(peaks: &[Peak], shape: (usize, usize)) -> Array2<u32> {
    let mut mask = Array2::from_elem(shape, false);
    for peak in peaks {
        if let Some(pixel) = mask.get_mut((peak.row, peak.column)) {
            *pixel = true;
        }
    }
    crate::label::label_components(mask.view(), crate::label::Connectivity::Four).into_image()
}

fn window(at: usize, reach: usize, length: usize) -> std::ops::Range<usize> {
    at.saturating_sub(reach)..(at + reach + 1).min(length)
}

/// Drops every peak that is closer than `min_distance` (in both directions) to a kept one of the same label.
fn spaced(peaks: &[Peak], labels: ArrayView2<'_, u32>, min_distance: usize) -> Vec<Peak> {
    let label = |p: &Peak| labels[[p.row, p.column]];
    let close = |a: &Peak, b: &Peak| {
        a.row.abs_diff(b.row) < min_distance
            && a.column.abs_diff(b.column) < min_distance
            && label(a) == label(b)
    };
    let mut grid = Grid::new(min_distance);
    for peak in peaks {
        if !grid.near(peak).any(|kept| close(kept, peak)) {
            grid.insert(*peak);
        }
    }
    grid.kept
}

/// Kept peaks by square of the image, so that only the neighbourhood is searched.
struct Grid {
    size: usize,
    cells: std::collections::HashMap<(usize, usize), Vec<usize>>,
    kept: Vec<Peak>,
}

impl Grid {
    fn new(size: usize) -> Self {
        Self {
            size: size.max(1),
            cells: std::collections::HashMap::new(),
            kept: Vec::new(),
        }
    }

    fn cell(&self, peak: &Peak) -> (usize, usize) {
        (peak.row / self.size, peak.column / self.size)
    }

    fn insert(&mut self, peak: Peak) {
        self.cells
            .entry(self.cell(&peak))
            .or_default()
            .push(self.kept.len());
        self.kept.push(peak);
    }

    fn near(&self, peak: &Peak) -> impl Iterator<Item = &Peak> {
        let (y, x) = self.cell(peak);
        let cells = (y.saturating_sub(1)..=y + 1)
            .flat_map(move |v| (x.saturating_sub(1)..=x + 1).map(move |u| (v, u)));
        cells
            .filter_map(|c| self.cells.get(&c))
            .flatten()
            .map(|&i| &self.kept[i])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn labels_have_their_own_peaks() {
        let image = array![[1.0, 5.0, 4.0, 0.0]];
        let labels = array![[1, 1, 2, 2]];
        let found = find_peaks(image.view(), labels.view(), 2);
        assert_eq!(found.iter().map(|p| p.column).collect::<Vec<_>>(), [1, 2]);
        assert!(find_peaks(image.view(), array![[0, 0, 0, 0]].view(), 2).is_empty());
    }

    #[test]
    fn a_plateau_gives_one_peak_per_distance() {
        let mut image = Array2::from_elem((1, 12), 1.0);
        image[[0, 11]] = 0.0;
        let labels = Array2::from_elem((1, 12), 1);
        let found = find_peaks(image.view(), labels.view(), 4);
        assert_eq!(
            found.iter().map(|p| p.column).collect::<Vec<_>>(),
            [0, 4, 8]
        );
    }

    #[test]
    fn neighbouring_peaks_are_one_seed() {
        let peak = |row, column| Peak {
            row,
            column,
            value: 1.0,
        };
        let seeds = seed_image(&[peak(1, 2), peak(0, 0), peak(1, 1), peak(9, 9)], (2, 3));
        assert_eq!(seeds, array![[1, 0, 0], [0, 2, 2]]);
    }
}

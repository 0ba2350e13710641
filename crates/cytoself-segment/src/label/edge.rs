//! Selecting and renumbering labels.

use ndarray::{Array2, ArrayView2};

/// For each label up to the largest, whether one of its pixels lies in the first or last row or column.
#[must_use]
pub fn touching_edge(labels: ArrayView2<'_, u32>) -> Vec<bool> {
    let largest = labels.iter().copied().max().map_or(0, |l| l as usize);
    let mut touching = vec![false; largest + 1];
    let (height, width) = labels.dim();
    if height == 0 || width == 0 {
        return touching;
    }
    let edges = [
        labels.row(0),
        labels.row(height - 1),
        labels.column(0),
        labels.column(width - 1),
    ];
    for &label in edges.iter().flatten() {
        touching[label as usize] = true;
    }
    touching
}

/// Removes every region that touches the edge of the image; the others keep their labels.
///
/// **Shapes** `labels: [h, w]` -> `[h, w]`.
///
/// # Example
/// ```
/// use cytoself_segment::remove_edge_labels;
/// use ndarray::array;
///
/// let labels = array![[1, 1, 0], [0, 0, 0], [0, 2, 0], [0, 0, 0]];
/// assert_eq!(remove_edge_labels(labels.view()), array![[0, 0, 0], [0, 0, 0], [0, 2, 0], [0, 0, 0]]);
/// ```
#[must_use]
pub fn remove_edge_labels(labels: ArrayView2<'_, u32>) -> Array2<u32> {
    let touching = touching_edge(labels);
    keep_labels(labels, |l| !touching[l as usize])
}

/// Sets every label that `keep` refuses to background.
#[must_use]
pub fn keep_labels(labels: ArrayView2<'_, u32>, keep: impl Fn(u32) -> bool) -> Array2<u32> {
    labels.mapv(|l| if l > 0 && keep(l) { l } else { 0 })
}

/// Renumbers the labels 1, 2, ... in their old order, without gaps; returns their count too.
///
/// # Example
/// ```
/// use cytoself_segment::relabel;
/// use ndarray::array;
///
/// assert_eq!(relabel(array![[9, 0, 4]].view()), (array![[2, 0, 1]], 2));
/// ```
#[must_use]
pub fn relabel(labels: ArrayView2<'_, u32>) -> (Array2<u32>, usize) {
    let mut present: Vec<u32> = Vec::new();
    let mut last = 0;
    for &label in labels {
        if label != last && label > 0 {
            present.push(label);
        }
        last = label;
    }
    present.sort_unstable();
    present.dedup();
    let mut previous = (0, 0);
    let renumbered = labels.mapv(|l| {
        if l != previous.0 {
            previous = (l, present.binary_search(&l).map_or(0, |i| i as u32 + 1));
        }
        previous.1
    });
    (renumbered, present.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn renumbering_survives_large_and_missing_labels() {
        let labels = array![[u32::MAX, 0], [7, u32::MAX]];
        assert_eq!(relabel(labels.view()), (array![[2, 0], [1, 2]], 2));
        assert_eq!(relabel(array![[0_u32]].view()).1, 0);
    }
}

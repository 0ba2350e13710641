//! Label images made elsewhere.

use ndarray::{Array2, ArrayView2};

use super::components::{Connectivity, label_components};
use super::{relabel, remove_edge_labels};

/// Prepares a label image of another program (StarDist, Cellpose, an annotator) for cropping.
///
/// Of a label in several 4-connected pieces the largest (then first) is kept, regions below `least_area` pixels are
/// removed, and so are those at the edge of the image unless `keep_edges`. The rest is renumbered 1, 2, ...
///
/// **Shapes** `labels: [h, w]` -> `[h, w]`.
///
/// # Example
/// ```
/// use cytoself_segment::import_labels;
/// use ndarray::array;
///
/// let foreign = array![[7, 7, 0, 7, 0], [7, 7, 0, 0, 3]];
/// assert_eq!(import_labels(foreign.view(), 2, true), array![[1, 1, 0, 0, 0], [1, 1, 0, 0, 0]]);
/// ```
#[must_use]
pub fn import_labels(
    labels: ArrayView2<'_, u32>,
    least_area: usize,
    keep_edges: bool,
) -> Array2<u32> {
    let (labels, count) = relabel(labels);
    let pieces = pieces(&labels);
    let mut largest = vec![(0_usize, 0_u32); count + 1];
    for (piece, &(label, area)) in pieces.kinds.iter().enumerate().skip(1) {
        let best = &mut largest[label as usize];
        if area > best.0 {
            *best = (area, piece as u32);
        }
    }
    let kept = Array2::from_shape_fn(labels.dim(), |at| {
        let (label, piece) = (labels[at], pieces.image[at]);
        let (area, best) = largest[label as usize];
        if label > 0 && piece == best && area >= least_area {
            label
        } else {
            0
        }
    });
    if keep_edges {
        relabel(kept.view()).0
    } else {
        relabel(remove_edge_labels(kept.view()).view()).0
    }
}

struct Pieces {
    image: Array2<u32>,
    /// Label and area of each piece by number.
    kinds: Vec<(u32, usize)>,
}

/// Connected pieces of equal label: components of the image drawn at twice its size, where a gap of background lies
/// between pixels of unequal label.
fn pieces(labels: &Array2<u32>) -> Pieces {
    let (h, w) = labels.dim();
    let joined = Array2::from_shape_fn(
        ((2 * h).saturating_sub(1), (2 * w).saturating_sub(1)),
        |(y, x)| {
            let here = labels[[y / 2, x / 2]];
            here > 0
                && labels[[y.div_ceil(2), x / 2]] == here
                && labels[[y / 2, x.div_ceil(2)]] == here
                && (y % 2 == 0 || x % 2 == 0)
        },
    );
    let components = label_components(joined.view(), Connectivity::Four);
    let image = Array2::from_shape_fn((h, w), |(y, x)| components.image()[[2 * y, 2 * x]]);
    let mut kinds = vec![(0, 0); components.areas().len()];
    for (&piece, &label) in image.iter().zip(labels) {
        let kind = &mut kinds[piece as usize];
        *kind = (label, kind.1 + 1);
    }
    Pieces { image, kinds }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn touching_labels_stay_apart_and_corners_do_not_join() {
        let foreign = array![
            [0, 0, 0, 0, 0, 0],
            [0, 5, 5, 9, 9, 0],
            [0, 5, 5, 9, 0, 0],
            [0, 0, 0, 0, 9, 0],
            [0, 0, 0, 0, 0, 0],
        ];
        let mut expected = foreign.mapv(|l| match l {
            5 => 1,
            9 => 2,
            _ => 0,
        });
        expected[[3, 4]] = 0;
        assert_eq!(import_labels(foreign.view(), 0, false), expected);
        assert_eq!(
            import_labels(foreign.view(), 4, false),
            expected.mapv(|l| u32::from(l == 1))
        );
        assert_eq!(
            import_labels(Array2::zeros((0, 3)).view(), 0, false).dim(),
            (0, 3)
        );
    }
}

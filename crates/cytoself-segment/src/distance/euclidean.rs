//! The distance of every pixel of a mask to the background.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::columns::column_distances;
use super::rows::{Rows, Sides};

/// Rows per parallel task; fixed, so that the work is cut alike at any thread count.
const ROWS_PER_TASK: usize = 32;

/// Exact Euclidean distance from every set pixel to the nearest unset pixel; 0 where the mask is unset.
///
/// Distances are between pixel centres. Where a mask has no unset pixel at all, every distance is the diagonal of
/// the image, `sqrt(h^2 + w^2)`, so that the result is always finite. Linear in the number of pixels.
///
/// **Shapes** `mask: [h, w]` -> `[h, w]`. **Units** pixels.
///
/// # References
/// - Meijster A, Roerdink JBTM, Hesselink WH (2000), doi:10.1007/0-306-47025-X_36
/// - Felzenszwalb PF, Huttenlocher DP (2012), doi:10.4086/toc.2012.v008a019
///
/// # Example
/// ```
/// use cytoself_segment::distance_transform;
/// use ndarray::array;
///
/// let mask = array![[false, true, true], [true, true, true]];
/// let distance = distance_transform(mask.view());
/// assert_eq!(distance[[0, 2]], 2.0);
/// assert_eq!(distance[[1, 2]], 5.0_f64.sqrt());
/// ```
#[must_use]
pub fn distance_transform(mask: ArrayView2<'_, bool>) -> Array2<f64> {
    let mut out = Array2::zeros(mask.dim());
    distances(mask, Sides::Set, &mut out, |_, distance| distance);
    out
}

/// Writes what `value` makes of every pixel's kind and its distance to the nearest pixel of the other kind.
pub(super) fn distances<T: Send>(
    mask: ArrayView2<'_, bool>,
    sides: Sides,
    out: &mut Array2<T>,
    value: impl Fn(bool, f64) -> T + Sync,
) {
    let mask = mask.as_standard_layout();
    let (height, width) = mask.dim();
    let (Some(mask), Some(out)) = (
        mask.as_slice().filter(|m| !m.is_empty()),
        out.as_slice_mut(),
    ) else {
        return;
    };
    let diagonal = ((height * height + width * width) as f64).sqrt();
    let columns = column_distances(mask, width);
    let cells = ROWS_PER_TASK * width;
    out.par_chunks_mut(cells)
        .zip(mask.par_chunks(cells))
        .zip(columns.par_chunks(cells))
        .for_each(|((out, mask), columns)| {
            let mut rows = Rows::new(width);
            let mut squared = vec![0.0; width];
            let lines = mask.chunks(width).zip(columns.chunks(width));
            for (out, (mask, columns)) in out.chunks_mut(width).zip(lines) {
                rows.squared(mask, columns, sides, &mut squared);
                for ((out, &on), &squared) in out.iter_mut().zip(mask).zip(&squared) {
                    *out = value(on, squared.sqrt().min(diagonal));
                }
            }
        });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(mask: &Array2<bool>) -> Array2<f64> {
        let (h, w) = mask.dim();
        Array2::from_shape_fn((h, w), |(y, x)| {
            let squared = |((v, u), &on): ((usize, usize), &bool)| {
                (!on).then(|| y.abs_diff(v).pow(2) + x.abs_diff(u).pow(2))
            };
            let nearest = mask
                .indexed_iter()
                .filter_map(squared)
                .min()
                .unwrap_or(h * h + w * w);
            (nearest as f64).sqrt()
        })
    }

    #[test]
    fn equals_the_search_over_all_pixels() {
        for (size, percent) in [
            ((33, 47), 50),
            ((40, 70), 95),
            ((64, 35), 99),
            ((1, 50), 90),
            ((50, 1), 90),
            ((6, 7), 100),
            ((6, 7), 0),
        ] {
            let mask = Array2::from_shape_fn(size, |(y, x)| {
                (y * 7919 + x * 104_729 + y * x * 31) % 100 < percent
            });
            assert_eq!(
                distance_transform(mask.view()),
                reference(&mask),
                "{size:?} {percent}"
            );
        }
        assert_eq!(
            distance_transform(Array2::from_elem((0, 3), true).view()).dim(),
            (0, 3)
        );
    }

    #[test]
    fn far_pixels_are_found_on_both_sides() {
        for (size, holes) in [
            ((9, 300), vec![(4, 20)]),
            ((140, 37), vec![(0, 0), (139, 30)]),
            ((60, 130), vec![(30, 1), (31, 1), (2, 128)]),
        ] {
            let mask = Array2::from_shape_fn(size, |at| !holes.contains(&at));
            let labels = mask.mapv(u32::from);
            assert_eq!(distance_transform(mask.view()), reference(&mask));
            let outside = reference(&mask.mapv(|on| !on));
            let both = (reference(&mask) - outside).mapv(|d| d as f32);
            assert_eq!(crate::signed_distance(labels.view()), both);
        }
    }

    #[test]
    fn same_bits_at_any_thread_count() {
        let mask = Array2::from_shape_fn((200, 90), |(y, x)| (y / 11 + x / 7) % 4 != 0);
        let run = |n| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(n)
                .build()
                .unwrap();
            pool.install(|| distance_transform(mask.view()))
        };
        assert_eq!(run(1), run(3));
    }
}

//! The distance of every pixel of a mask to the background.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::envelope::Envelope;

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
    let mask = mask.as_standard_layout();
    let (height, width) = mask.dim();
    let mut out = Array2::zeros((height, width));
    let (Some(mask), Some(cells)) = (mask.as_slice(), out.as_slice_mut()) else {
        return out;
    };
    if cells.is_empty() {
        return out;
    }
    let diagonal = ((height * height + width * width) as f64).sqrt();
    column_distances(mask, width, cells);
    cells
        .par_chunks_mut(ROWS_PER_TASK * width)
        .zip(mask.par_chunks(ROWS_PER_TASK * width))
        .for_each(|(cells, mask)| {
            let mut envelope = Envelope::new(width);
            for (cells, mask) in cells.chunks_mut(width).zip(mask.chunks(width)) {
                lower_runs(mask, cells, &mut envelope);
                cells.iter_mut().for_each(|v| *v = v.sqrt().min(diagonal));
            }
        });
    out
}

/// Squared distance of every pixel to the nearest unset pixel of its column.
fn column_distances(mask: &[bool], width: usize, out: &mut [f64]) {
    let height = mask.len() / width;
    // Larger than any distance in the image.
    let far = (height + width) as f64;
    let mut line = vec![far; width];
    let sweep = |y: usize, line: &mut [f64], out: &mut [f64], first: bool| {
        let rows = y * width..(y + 1) * width;
        for ((d, &on), cell) in line.iter_mut().zip(&mask[rows.clone()]).zip(&mut out[rows]) {
            *d = if on { (*d + 1.0).min(far) } else { 0.0 };
            *cell = if first { *d } else { d.min(*cell) };
        }
    };
    (0..height).for_each(|y| sweep(y, &mut line, out, true));
    line.fill(far);
    (0..height)
        .rev()
        .for_each(|y| sweep(y, &mut line, out, false));
    out.iter_mut().for_each(|v| *v *= *v);
}

/// Lowers one row to its envelope, run by run: an unset pixel at the end of a run hides all that lies beyond it.
fn lower_runs(mask: &[bool], cells: &mut [f64], envelope: &mut Envelope) {
    let mut x = 0;
    while let Some(start) = mask[x..].iter().position(|&on| on).map(|i| x + i) {
        let end = mask[start..]
            .iter()
            .position(|&on| !on)
            .map_or(mask.len(), |i| start + i);
        envelope.lower(&mut cells[start.saturating_sub(1)..(end + 1).min(mask.len())]);
        x = end;
    }
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
